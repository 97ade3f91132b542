//! What the first bytes of a disk image say: which format it is in, and which other files it names.
//!
//! An image may come from anywhere, so it is hostile: a few of its bytes are read, at places that are bounded, and what
//! it says is only compared with what the guest's definition names. Nothing here opens a file because an image names
//! it. Layouts: QEMU's docs/interop/qcow2.rst, VMware's Virtual Disk Format 1.1, VirtualBox's VDICore.h, MS-VHDX.

use phyllome_config::guest::DiskFormat;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much of a file's beginning is read, in bytes; the rest of a header that goes on is not believed to be there.
const FIRST: usize = 64 * 1024;
/// Longest description of a vmdk that QEMU reads, in bytes.
const MAX_DESCRIPTION: usize = 1024 * 1024;
/// Longest name in a qcow2, in bytes.
const MAX_NAME: usize = 1023;
/// A qcow2's data lies in another file: bit 2 of its incompatible features.
const EXTERNAL_DATA: u64 = 1 << 2;
/// Types of a qcow2's header extensions.
const BACKING_FORMAT: u32 = 0xE279_2ACA;
const DATA_FILE: u32 = 0x4441_5441;
/// Most header extensions that are looked at.
const MAX_EXTENSIONS: usize = 64;

/// What a file holds, as its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An image of this format, which is not raw.
    Image(DiskFormat),
    /// An image that is not served, or something that is packed; its name for a sentence, with its article.
    Foreign(&'static str),
    /// Nothing that is known: a raw disk, if anything.
    Unknown,
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub content: Content,
    /// The image that it stands on, by the name that it gives it.
    pub backing: Option<String>,
    /// The format that it says that one is in.
    pub backing_format: Option<String>,
    /// The other files that it is made of, each of them once.
    pub parts: Vec<String>,
    /// Those of them that are images themselves, and not a part of the disk as it is.
    pub images: Vec<String>,
    /// The size of the disk in bytes, where a qcow2 tells it.
    pub size: Option<u64>,
}

impl Header {
    fn of(content: Content) -> Self {
        Self { content, backing: None, backing_format: None, parts: Vec::new(), images: Vec::new(), size: None }
    }

    /// Reads the header of `file`, taken as an image of `format` where its first bytes do not tell.
    pub fn read(file: &File) -> io::Result<Self> {
        let first = read_at(file, 0, FIRST)?;
        let content = content(&first);
        match content {
            Content::Image(DiskFormat::Qcow2) => qcow2(file, &first),
            Content::Image(DiskFormat::Vmdk) => vmdk(file, &first),
            // QEMU refuses those that stand on another one, and they are made of one file.
            Content::Image(DiskFormat::Vdi | DiskFormat::Vhdx | DiskFormat::Raw)
            | Content::Foreign(_)
            | Content::Unknown => Ok(Self::of(content)),
        }
    }
}

/// At most `most` bytes from `offset` on; fewer at the file's end.
fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    // No file is longer, and the kernel takes no larger number, at the end of what is read either.
    if offset.checked_add(most as u64).is_none_or(|end| end > i64::MAX as u64) {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; most];
    let mut got = 0;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(got as u64)) {
            Ok(0) => break,
            Ok(count) => got = got.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

fn content(first: &[u8]) -> Content {
    const MAGICS: &[(&[u8], Content)] = &[
        (b"KDMV", Content::Image(DiskFormat::Vmdk)),
        (b"COWD", Content::Image(DiskFormat::Vmdk)),
        (b"# Disk DescriptorFile", Content::Image(DiskFormat::Vmdk)),
        (b"vhdxfile", Content::Image(DiskFormat::Vhdx)),
        (b"conectix", Content::Foreign("a VHD image")),
        (b"QED\0", Content::Foreign("a QED image")),
        (b"WithoutFreeSpace", Content::Foreign("a Parallels image")),
        (b"WithouFreSpacExt", Content::Foreign("a Parallels image")),
        (b"\xfd7zXZ\0", Content::Foreign("a file packed by xz")),
        (b"\x28\xb5\x2f\xfd", Content::Foreign("a file packed by zstd")),
        (b"\x1f\x8b\x08", Content::Foreign("a file packed by gzip")),
        (b"BZh9", Content::Foreign("a file packed by bzip2")),
        (b"PK\x03\x04", Content::Foreign("a zip archive")),
        (b"7z\xbc\xaf\x27\x1c", Content::Foreign("a 7z archive")),
    ];
    if first.starts_with(b"QFI\xfb") {
        return match number(first, 4) {
            Some(2 | 3) => Content::Image(DiskFormat::Qcow2),
            _ => Content::Foreign("a qcow image of another version than 2 and 3"),
        };
    }
    if first.get(64..68) == Some(&0xbeda_107f_u32.to_le_bytes()) {
        return Content::Image(DiskFormat::Vdi);
    }
    let known = MAGICS.iter().find(|(magic, _)| first.starts_with(magic));
    known.map_or(Content::Unknown, |(_, content)| *content)
}

/// Four bytes, the largest first.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Eight bytes, the largest first.
fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_be_bytes(*chunk))
}

/// Eight bytes, the smallest first.
fn little_long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn qcow2(file: &File, first: &[u8]) -> io::Result<Header> {
    let mut header = Header::of(Content::Image(DiskFormat::Qcow2));
    header.size = long(first, 24);
    let (offset, length) = (long(first, 8).unwrap_or(0), number(first, 16).unwrap_or(0));
    if offset != 0 && length != 0 {
        let length = usize::try_from(length).unwrap_or(MAX_NAME).min(MAX_NAME);
        header.backing = Some(text(&read_at(file, offset, length)?));
    }
    let new = number(first, 4) == Some(3);
    let features = if new { long(first, 72).unwrap_or(0) } else { 0 };
    let mut at = if new { number(first, 100).unwrap_or(0) } else { 72 } as usize;
    let mut data = None;
    for _ in 0..MAX_EXTENSIONS {
        let (Some(kind), Some(length)) = (number(first, at), number(first, at.saturating_add(4))) else { break };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let start = at.saturating_add(8);
        let value = || first.get(start..start.saturating_add(length.min(MAX_NAME))).map(text);
        match kind {
            0 => break,
            BACKING_FORMAT => header.backing_format = value(),
            DATA_FILE => data = value(),
            _ => {}
        }
        at = start.saturating_add(length).saturating_add(7) & !7;
    }
    if features & EXTERNAL_DATA != 0 {
        // One that does not name it has it all the same.
        header.parts.push(data.unwrap_or_default());
    }
    Ok(header)
}

fn vmdk(file: &File, first: &[u8]) -> io::Result<Header> {
    let mut header = Header::of(Content::Image(DiskFormat::Vmdk));
    let sparse = first.starts_with(b"KDMV");
    let description = match sparse {
        false if first.starts_with(b"COWD") => return Ok(header),
        false => read_at(file, 0, MAX_DESCRIPTION)?,
        true => match little_long(first, 28).unwrap_or(0) {
            0 => return Ok(header),
            // As QEMU counts: what is beyond 2^64 begins anew.
            sector => read_at(file, sector.wrapping_mul(512), MAX_DESCRIPTION)?,
        },
    };
    let description = text(&description);
    header.backing = after(&description, "parentFileNameHint").map(str::to_owned);
    // The description inside an image is about that image itself, unless it has no data.
    if !sparse || little_long(first, 12) == Some(0) {
        // QEMU's parser takes any blanks between the words, ends of lines too; so whatever comes next in quotes counts.
        // It is kept once, or a few bytes each would name a long one again.
        let (mut parts, mut images) = (HashSet::new(), HashSet::new());
        for (words, name) in description.split('"').zip(description.split('"').skip(1)) {
            let Some(image) = extent(words) else { continue };
            if parts.insert(name) {
                header.parts.push(name.to_owned());
            }
            if image && images.insert(name) {
                header.images.push(name.to_owned());
            }
        }
    }
    Ok(header)
}

/// Whether the file whose name stands behind these words is an image itself; `None` if they are not an extent's.
fn extent(words: &str) -> Option<bool> {
    let behind = words.match_indices("RW").filter_map(|(at, word)| words.get(at.saturating_add(word.len())..));
    let extents = behind.filter(|behind| behind.starts_with(char::is_whitespace));
    let kinds = extents.map(|behind| behind.split_whitespace().nth(1));
    kinds.map(|kind| !matches!(kind, Some("FLAT" | "VMFS"))).reduce(|one, other| one || other)
}

/// What stands in quotes behind `key`.
fn after<'t>(description: &'t str, key: &str) -> Option<&'t str> {
    quoted(description.split_once(key)?.1).filter(|name| !name.is_empty())
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
