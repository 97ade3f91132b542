//! A guest's disks as QEMU is to open them: each image with its format and every file below it, all of them named by
//! the guest's definition.
//!
//! QEMU would open whatever an image names; a person has named a disk, not the files that somebody wrote into it. So
//! headers are read here first, what they name and the definition does not is refused with a sentence, and QEMU is told
//! the whole chain, so that it looks for nothing by itself.

use super::checks::open;
use super::image::{Content, Header};
use phyllome_config::GuestDefinition;
use phyllome_config::guest::{Disk, DiskFormat};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One image of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its file.
    pub path: PathBuf,
    /// How it holds its disk.
    pub format: DiskFormat,
    /// A qcow2's data, where it is in another file.
    pub data: Option<PathBuf>,
}

/// An image with what it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What the guest reads and writes.
    pub top: Layer,
    /// What that stands on, the nearest first; only read.
    pub below: Vec<Layer>,
}

impl Image {
    /// An image that nobody has looked at: what its definition or else its name says, and it stands on nothing.
    pub fn unseen(path: &Path, format: Option<DiskFormat>) -> Self {
        let format = format.unwrap_or_else(|| DiskFormat::of_name(path));
        Self { top: Layer { path: path.to_owned(), format, data: None }, below: Vec::new() }
    }

    /// Looks at a disk of a definition. The error is one sentence.
    pub fn look(disk: &Disk) -> Result<Self, String> {
        let what = if disk.cdrom { "ISO image" } else { "disk" };
        let mut seen = Vec::new();
        let mut parts = 0;
        let mut format = disk.format;
        for (depth, path) in std::iter::once(&disk.path).chain(&disk.backing).enumerate() {
            let (what, write) = if depth == 0 { (what, !disk.cdrom) } else { ("backing image", false) };
            let file = open(what, path, write)?;
            let shown = format!("the {what} {}", path.display());
            let header =
                Header::read(&file).map_err(|error| format!("{shown} cannot be read ({error}); put back a copy"))?;
            let format_here = format.unwrap_or_else(|| DiskFormat::of_name(path));
            check_format(&shown, &header, format_here, format.is_some(), depth == 0)?;
            // In a raw disk, the guest itself writes what a header would be.
            let header = if format_here == DiskFormat::Raw { Header::none() } else { header };
            let data = check_parts(&shown, path, &header, format_here, disk, write)?;
            parts += header.parts.len();
            check_backing(&shown, &header, disk.backing.get(depth))?;
            format = header.backing_format.as_deref().and_then(format_named);
            seen.push(Layer { path: path.clone(), format: format_here, data });
        }
        if let Some(extra) = disk.parts.get(parts) {
            return Err(format!(
                "the {what} {} is not made of {}; remove it from “parts” in its [[disk]]",
                disk.path.display(),
                extra.display()
            ));
        }
        let mut layers = seen.into_iter();
        let top = layers.next().ok_or("a disk has no image; write a path in its [[disk]]")?;
        Ok(Self { top, below: layers.collect() })
    }

    /// QEMU's description of it as a block node of this name. The error is one sentence.
    pub fn node(&self, name: &str, access: Access) -> Result<Value, String> {
        let mut below = Value::Null;
        for layer in self.below.iter().rev() {
            below = layer.node(None, Access::Read, below)?;
        }
        self.top.node(Some(name), access, below)
    }
}

/// What a guest may do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
    /// The same, and give back room that it no longer needs.
    WriteAndDiscard,
}

impl Layer {
    fn node(&self, name: Option<&str>, access: Access, below: Value) -> Result<Value, String> {
        let file = |path: &Path| match path.to_str() {
            Some(path) => Ok(json!({ "driver": "file", "filename": path })),
            None => Err(format!("{} is not UTF-8; rename that file or its folder", path.display())),
        };
        let mut node = Map::new();
        if let Some(name) = name {
            node.insert("node-name".into(), name.into());
        }
        node.insert("driver".into(), self.format.word().into());
        match access {
            Access::Read => drop(node.insert("read-only".into(), true.into())),
            Access::Write => {}
            Access::WriteAndDiscard => drop(node.insert("discard".into(), "unmap".into())),
        }
        node.insert("file".into(), file(&self.path)?);
        if let Some(data) = &self.data {
            node.insert("data-file".into(), file(data)?);
        }
        // Without it, QEMU would open what the image names.
        if matches!(self.format, DiskFormat::Qcow2 | DiskFormat::Vmdk) {
            node.insert("backing".into(), below);
        }
        Ok(Value::Object(node))
    }
}

impl Header {
    fn none() -> Self {
        Self {
            content: Content::Unknown,
            backing: None,
            backing_format: None,
            parts: Vec::new(),
            images: Vec::new(),
            size: None,
        }
    }
}

/// Looks at every disk, and at every other file that the definition names. The error is one sentence.
pub fn look(definition: &GuestDefinition) -> Result<Vec<Image>, String> {
    if let Some(boot) = &definition.boot {
        open("kernel", &boot.kernel, false)?;
        if let Some(initrd) = &boot.initrd {
            open("initrd", initrd, false)?;
        }
    }
    definition.disks.iter().map(Image::look).collect()
}

/// Looks at an image that names no other file; what a QEMU that was taken over may have written into it is refused.
pub fn look_alone(what: &str, path: &Path, write: bool) -> Result<Image, String> {
    let shown = format!("the {what} {}", path.display());
    let header = Header::read(&open(what, path, write)?)
        .map_err(|error| format!("{shown} cannot be read ({error}); put back a copy"))?;
    let format = DiskFormat::of_name(path);
    check_format(&shown, &header, format, false, true)?;
    if format != DiskFormat::Raw && (header.backing.is_some() || !header.parts.is_empty()) {
        return Err(format!(
            "{shown} names another file, which it must not; move it away, and the guest gets a new one"
        ));
    }
    Ok(Image::unseen(path, Some(format)))
}

fn format_named(word: &str) -> Option<DiskFormat> {
    DiskFormat::ALL.iter().find(|(known, _)| *known == word).map(|(_, format)| *format)
}

fn check_format(shown: &str, header: &Header, taken: DiskFormat, stated: bool, top: bool) -> Result<(), String> {
    let word = taken.word();
    let say = |word: &str| match top {
        true => format!("write format = \"{word}\" in its [[disk]]"),
        false => format!("tell the image that stands on it, with qemu-img rebase -u -F {word}"),
    };
    match (header.content, taken) {
        (Content::Image(found), _) if found == taken => Ok(()),
        // What a person says of it is so: a guest may have written an image into its raw disk.
        (_, DiskFormat::Raw) if stated => Ok(()),
        (Content::Unknown, DiskFormat::Raw) => Ok(()),
        (Content::Image(found), DiskFormat::Raw) => Err(format!(
            "{shown} holds a {} image, but its name says that it is raw; {}, or “raw” if it was its guest that put that image \
             there",
            found.word(),
            say(found.word())
        )),
        (Content::Foreign(found), DiskFormat::Raw) => Err(format!(
            "{shown} is {found}; unpack it, or make a qcow2 of it with qemu-img convert -O qcow2, or {} if the guest is to see \
             it as it is",
            say("raw")
        )),
        (Content::Image(found), _) => Err(format!(
            "{shown} is a {} image and not a {word}; {}, or put the right image there",
            found.word(),
            say(found.word())
        )),
        (Content::Foreign(found), _) => Err(format!(
            "{shown} is {found} and not a {word}; unpack it, or make one of it with qemu-img convert -O {word}"
        )),
        (Content::Unknown, _) => Err(format!(
            "{shown} does not begin like a {word}; {} if it is a raw disk, or make one with qemu-img create -f {word}",
            say("raw")
        )),
    }
}

fn check_backing(shown: &str, header: &Header, named: Option<&PathBuf>) -> Result<(), String> {
    match (&header.backing, named) {
        (None, None) => Ok(()),
        (None, Some(named)) => Err(format!(
            "{shown} stands on no other image, and not on {}; remove it from “backing” in its [[disk]]",
            named.display()
        )),
        (Some(found), None) => Err(format!(
            "{shown} wants to open “{}”, which its [[disk]] does not name; if you know that file, write backing = with its \
             path there, else do not use this image",
            short(found)
        )),
        (Some(found), Some(named)) if file_name(found) == named.file_name() => Ok(()),
        (Some(found), Some(named)) => Err(format!(
            "{shown} stands on “{}” and not on {}; mend “backing” in its [[disk]], or the image with qemu-img rebase -u",
            short(found),
            named.display()
        )),
    }
}

/// The files that the image is made of, each of which the definition must name; a qcow2's data file comes back.
fn check_parts(
    shown: &str,
    image: &Path,
    header: &Header,
    format: DiskFormat,
    disk: &Disk,
    write: bool,
) -> Result<Option<PathBuf>, String> {
    let mut last = None;
    for part in &header.parts {
        // QEMU is told where a qcow2's data is, and so a name is enough. A vmdk's extents it finds by itself.
        let whole = image.parent().unwrap_or(Path::new("/")).join(part);
        let is_part = |named: &&PathBuf| match format {
            DiskFormat::Qcow2 => part.is_empty() || file_name(part) == named.file_name(),
            DiskFormat::Vmdk => **named == whole && !part.contains(':'),
            DiskFormat::Raw | DiskFormat::Vdi | DiskFormat::Vhdx => false,
        };
        let Some(named) = disk.parts.iter().find(is_part) else {
            return Err(format!(
                "{shown} wants to open “{}”, which its [[disk]] does not name; if you know that file, write parts = with its \
                 path there, else do not use this image",
                short(part)
            ));
        };
        let file = open("part of a disk", named, write)?;
        if header.images.contains(part) {
            let inner = Header::read(&file)
                .map_err(|error| format!("{} cannot be read ({error}); put back a copy", named.display()))?;
            if !inner.parts.is_empty() {
                return Err(format!(
                    "the part {} of {shown} names other files itself, which no part may; use another image",
                    named.display()
                ));
            }
        }
        last = Some(named.clone());
    }
    Ok(last.filter(|_| format == DiskFormat::Qcow2))
}

/// The last component of a name, which a protocol's prefix or a JSON description has not.
fn file_name(name: &str) -> Option<&std::ffi::OsStr> {
    let name = name.strip_prefix("file:").unwrap_or(name);
    Path::new(name).file_name().filter(|_| !name.contains(':'))
}

/// A name out of an image, for a sentence.
fn short(name: &str) -> String {
    phyllome_protocol::text::printable(name, 80)
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
