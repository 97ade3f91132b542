//! Headers as programs write them, as a stranger might, and any bytes at all.

use super::*;
use proptest::prelude::*;
use std::io::Write;

fn header(bytes: &[u8]) -> Header {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Header::read(&file).unwrap()
}

/// A qcow2 of version 3 with these incompatible features and extensions, which stands on `backing`.
fn made(features: u64, extensions: &[(u32, &str)], backing: &str) -> Vec<u8> {
    let mut bytes = vec![0; 104];
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    bytes[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
    bytes[72..80].copy_from_slice(&features.to_be_bytes());
    bytes[100..104].copy_from_slice(&104u32.to_be_bytes());
    for (kind, value) in extensions {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend([0; 8]);
    if !backing.is_empty() {
        let (at, length) = (bytes.len() as u64, u32::try_from(backing.len()).unwrap());
        bytes[8..16].copy_from_slice(&at.to_be_bytes());
        bytes[16..20].copy_from_slice(&length.to_be_bytes());
        bytes.extend(backing.as_bytes());
    }
    bytes
}

#[test]
fn a_qcow2_tells_what_it_stands_on_and_where_its_data_is() {
    let plain = header(&made(0, &[], ""));
    assert_eq!((plain.content, plain.size), (Content::Image(DiskFormat::Qcow2), Some(1 << 30)));
    assert_eq!((plain.backing, plain.parts), (None, vec![]));
    let overlay = header(&made(0, &[(BACKING_FORMAT, "raw"), (0x6803_f857, "")], "/etc/shadow"));
    assert_eq!(overlay.backing.as_deref(), Some("/etc/shadow"));
    assert_eq!(overlay.backing_format.as_deref(), Some("raw"));
    let split = header(&made(EXTERNAL_DATA, &[(DATA_FILE, "data.raw")], ""));
    assert_eq!(split.parts, ["data.raw"]);
    assert_eq!(header(&made(EXTERNAL_DATA, &[], "")).parts, [""], "data is elsewhere, and it does not say where");
}

#[test]
fn a_vmdk_tells_its_extents_however_they_are_written() {
    let flat = "# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"a-flat.vmdk\" 0\nRW\n2048\tFLAT\n \"/etc/shadow\" 0\n";
    let flat = header(flat.as_bytes());
    assert_eq!(flat.content, Content::Image(DiskFormat::Vmdk));
    assert_eq!(flat.parts, ["a-flat.vmdk", "/etc/shadow"]);
    assert!(flat.images.is_empty());
    let description = "# Disk DescriptorFile\nparentFileNameHint=\"base.vmdk\"\nRW 2048 SPARSE \"a.vmdk\"\n";
    // The second place is the first one for QEMU, which lets the number of bytes overflow.
    for (capacity, sector, parts) in
        [(2048u64, 1u64, vec![]), (0, 1, vec!["a.vmdk".to_owned()]), (0, (1 << 55) | 1, vec!["a.vmdk".to_owned()])]
    {
        let mut sparse = vec![0; 512];
        sparse[..4].copy_from_slice(b"KDMV");
        sparse[12..20].copy_from_slice(&capacity.to_le_bytes());
        sparse[28..36].copy_from_slice(&sector.to_le_bytes());
        sparse.extend(description.as_bytes());
        let sparse = header(&sparse);
        assert_eq!((&sparse.images, sparse.backing.as_deref()), (&parts, Some("base.vmdk")), "{capacity} {sector}");
        assert_eq!(sparse.parts, parts);
    }
}

#[test]
fn what_lies_at_the_end_of_all_files_is_not_there() {
    for sector in [1_u64 << 55, (1 << 54) - 1, (1 << 54) - 2] {
        let mut sparse = vec![0; 512];
        sparse[..4].copy_from_slice(b"KDMV");
        sparse[28..36].copy_from_slice(&sector.to_le_bytes());
        assert_eq!(header(&sparse).parts, [""; 0], "{sector}");
    }
}

#[test]
fn what_is_no_disk_is_known_by_its_beginning() {
    let mut vdi = [0; 68];
    vdi[64..].copy_from_slice(&[0x7f, 0x10, 0xda, 0xbe]);
    for (bytes, content) in [
        (&vdi[..], Content::Image(DiskFormat::Vdi)),
        (b"vhdxfile", Content::Image(DiskFormat::Vhdx)),
        (b"QFI\xfb\0\0\0\x01", Content::Foreign("a qcow image of another version than 2 and 3")),
        (b"\xfd7zXZ\0\0", Content::Foreign("a file packed by xz")),
        (b"", Content::Unknown),
        (b"QFI", Content::Unknown),
        (&[0; 4096], Content::Unknown),
    ] {
        assert_eq!(header(bytes).content, content);
    }
}

#[test]
fn a_vmdk_that_asks_a_hundred_thousand_times_for_one_file_names_it_once() {
    let name = "x".repeat(500);
    let long = format!("# Disk DescriptorFile\n{}1 SPARSE \"{name}\"\n", "RW ".repeat(100_000));
    let long = header(long.as_bytes());
    assert_eq!((long.parts.len(), long.images.len()), (1, 1));
    assert_eq!(long.parts, [name]);
    let again = format!("# Disk DescriptorFile\n{}", "RW 1 FLAT \"a\" 0\nRW 1 SPARSE \"a\"\n".repeat(20_000));
    let again = header(again.as_bytes());
    assert_eq!((again.parts.as_slice(), again.images.as_slice()), (&["a".to_owned()][..], &["a".to_owned()][..]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(
        magic in prop::sample::select(vec![&b"QFI\xfb\0\0\0\x03"[..], b"QFI\xfb\0\0\0\x02", b"KDMV", b"# Disk DescriptorFile", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let header = header(&[magic, &rest].concat());
        prop_assert!(header.backing.unwrap_or_default().len() <= 4 * MAX_DESCRIPTION);
    }
}
