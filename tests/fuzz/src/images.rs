//! Headers of disk images: none names more than it holds, and what QEMU is told to open is what the disk's definition
//! names, whatever its image names.
//!
//! An input is a byte that says which format the definition gives it, if any, and the image.

use crate::{Bytes, new_folder};
use phyllome_config::guest::{Disk, DiskBus, DiskFormat};
use phyllome_guest_bridge::machine::disks::{Access, Image};
use phyllome_guest_bridge::machine::image::{Content, Header};
use phyllome_protocol::text::{REPLACEMENT, is_hidden};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The files of a definition: the image, and what it may stand on or be made of.
const IMAGE: &str = "image.img";
const BASE: &str = "base.img";
const PART: &str = "part.img";

struct Folder {
    folder: tempfile::TempDir,
    image: File,
}

thread_local! {
    static FOLDER: OnceCell<Folder> = const { OnceCell::new() };
}

fn folder() -> Folder {
    let folder = new_folder();
    let image = File::options().create_new(true).read(true).write(true).open(folder.path().join(IMAGE));
    std::fs::write(folder.path().join(BASE), qcow2(3, 0, &[], "")).expect("a file");
    std::fs::write(folder.path().join(PART), [0; 512]).expect("a file");
    Folder { folder, image: image.expect("a file") }
}

/// Reads the header, then looks at the disk twice: as one that names no other file, and as one that names two.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let format = DiskFormat::ALL.get(usize::from(bytes.u8())).map(|(_, format)| *format);
    let image = bytes.take(data.len());
    FOLDER.with(|cell| {
        let Folder { folder, image: file } = cell.get_or_init(folder);
        file.set_len(0).and_then(|()| file.write_all_at(image, 0)).expect("a file");
        let header = Header::read(file).expect("a header");
        names(&header, image.len());
        let path = |name: &str| folder.path().join(name);
        let alone = Disk {
            path: path(IMAGE),
            format,
            backing: Vec::new(),
            parts: Vec::new(),
            bus: DiskBus::Virtio,
            cdrom: false,
        };
        let layers = opened(&alone);
        assert!(layers.is_none_or(|files| files == [path(IMAGE)]));
        if format != Some(DiskFormat::Raw) && (header.backing.is_some() || !header.parts.is_empty()) {
            assert!(Image::look(&alone).is_err(), "{header:?} names files that the definition does not");
        }
        let whole = Disk { backing: vec![path(BASE)], parts: vec![path(PART)], ..alone };
        let named = [path(IMAGE), path(BASE), path(PART)];
        assert!(opened(&whole).is_none_or(|files| files.iter().all(|file| named.contains(file))));
    });
}

/// An image's names are parts of it, none of them there twice.
fn names(header: &Header, length: usize) {
    let all = header.parts.iter().chain(&header.backing).chain(&header.backing_format);
    // What is not UTF-8 takes three bytes for one; a name is a part and a backing image at the most.
    assert!(all.map(String::len).sum::<usize>() <= 2 * 3 * length, "{header:?}");
    let parts: HashSet<_> = header.parts.iter().collect();
    let images: HashSet<_> = header.images.iter().collect();
    assert!(parts.len() == header.parts.len() && images.len() == header.images.len(), "{header:?}");
    assert!(images.is_subset(&parts), "{header:?}");
    if !matches!(header.content, Content::Image(DiskFormat::Qcow2 | DiskFormat::Vmdk)) {
        assert!(parts.is_empty() && header.backing.is_none(), "{header:?}");
    }
}

/// The files that QEMU is told to open, if the disk is not refused.
fn opened(disk: &Disk) -> Option<Vec<PathBuf>> {
    match Image::look(disk).and_then(|image| image.node("disk", Access::Write)) {
        Ok(node) => {
            let mut files = Vec::new();
            files_of(&node, &mut files);
            Some(files)
        }
        Err(sentence) => {
            let hidden = |c: char| c != REPLACEMENT && is_hidden(c);
            assert!(!sentence.is_empty() && !sentence.contains(hidden), "{sentence:?}");
            None
        }
    }
}

fn files_of(node: &Value, files: &mut Vec<PathBuf>) {
    let Value::Object(node) = node else { return };
    files.extend(node.get("filename").and_then(Value::as_str).map(|name| Path::new(name).to_owned()));
    node.values().for_each(|value| files_of(value, files));
}

/// A qcow2 of this version with these incompatible features and header extensions, which stands on `backing`.
fn qcow2(version: u8, features: u64, extensions: &[(u32, &str)], backing: &str) -> Vec<u8> {
    let mut bytes = vec![0; if version == 2 { 72 } else { 104 }];
    bytes[..8].copy_from_slice(&[b'Q', b'F', b'I', 0xfb, 0, 0, 0, version]);
    bytes[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
    if version > 2 {
        bytes[72..80].copy_from_slice(&features.to_be_bytes());
        bytes[100..104].copy_from_slice(&104u32.to_be_bytes());
    }
    for (kind, value) in extensions {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(value.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend([0; 8]);
    if !backing.is_empty() {
        let at = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&at.to_be_bytes());
        bytes[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
        bytes.extend(backing.as_bytes());
    }
    bytes
}

/// A vmdk with this description inside of it, and so many sectors of data.
fn sparse_vmdk(sectors: u64, description: &str) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"KDMV");
    bytes[12..20].copy_from_slice(&sectors.to_le_bytes());
    bytes[28..36].copy_from_slice(&1u64.to_le_bytes());
    bytes.extend(description.as_bytes());
    bytes
}

/// Images of every format, those first that name other files, as the definition does or not.
pub fn seeds() -> Vec<Vec<u8>> {
    const EXTERNAL_DATA: u64 = 1 << 2;
    const FORMAT: u32 = 0xE279_2ACA;
    const DATA_FILE: u32 = 0x4441_5441;
    let parent = format!("# Disk DescriptorFile\nversion=1\nparentFileNameHint=\"{BASE}\"\n");
    let extents = format!("RW 2048 SPARSE \"{PART}\"\nRW 1 FLAT \"{PART}\" 0\nRW\n2\tVMFS\n \"/etc/shadow\"\n");
    let description = [parent.as_str(), &extents].concat();
    let mut vdi = vec![0; 72];
    vdi[64..68].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
    let images = [
        (0, qcow2(3, EXTERNAL_DATA, &[(FORMAT, "qcow2"), (DATA_FILE, PART)], BASE)),
        (0, qcow2(3, EXTERNAL_DATA, &[(0x6803_f857, "names of features")], "")),
        (0, qcow2(2, 0, &[(FORMAT, "raw")], "/etc/shadow")),
        (0, qcow2(3, 0, &[], "json:{\"driver\":\"file\"}")),
        (1, qcow2(3, 0, &[], "")),
        (2, description.clone().into_bytes()),
        (2, format!("{parent}RW 1 FLAT \"{PART}\" 0\n").into_bytes()),
        (2, sparse_vmdk(0, &description)),
        (2, sparse_vmdk(2048, &description)),
        (2, b"COWD\x01\0\0\0".to_vec()),
        (3, vdi),
        (4, b"vhdxfile".to_vec()),
        (5, b"conectix".to_vec()),
        (5, b"\xfd7zXZ\0".to_vec()),
        (5, vec![0; 512]),
    ];
    images.into_iter().map(|(format, image)| [vec![format], image].concat()).collect()
}
