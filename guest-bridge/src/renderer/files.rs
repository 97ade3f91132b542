//! What a renderer's files hold: only what the kernel itself says of them counts, as [`describe`] finds it out without
//! asking the file, whose owner might never answer.

use super::limits::MAX_SIDE;
use super::wire::Export;
use phyllome_protocol::descriptor::{Kind, describe};
use rustix::fs::SealFlags;
use std::os::fd::AsFd;

/// Bytes of a dmabuf; `None` for every other file.
pub fn dmabuf_size(file: impl AsFd) -> Option<u64> {
    let file = describe(file.as_fd());
    file.is_dmabuf().then_some(file.bytes)
}

/// Most bytes of pixels that a dmabuf can have; `None` for every other file.
pub fn pixels_size(file: impl AsFd) -> Option<u64> {
    let file = describe(file.as_fd());
    file.is_dmabuf().then(|| if file.holds(u64::MAX) { u64::MAX } else { file.bytes })
}

/// Bytes of a memfd of ordinary pages that can be mapped for reading and writing and can never shrink, sealed here if
/// need be; `None` for every other file.
pub fn memfd_size(file: impl AsFd) -> Option<u64> {
    let file = file.as_fd();
    let before = describe(file);
    let Kind::Memory { seals, ordinary: true } = before.kind else { return None };
    if !before.is_mappable_for_writing() {
        return None;
    }
    if seals.contains(SealFlags::SHRINK) {
        return Some(before.bytes);
    }
    rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK).ok()?;
    // It may have shrunk until just now.
    Some(describe(file).bytes)
}

/// Whether a picture's numbers can be true at all: sizes, and planes whose first lies within its file. `sizes` are the
/// files'.
pub fn picture_fits(export: &Export, sizes: &[u64]) -> bool {
    let side = 1..=MAX_SIDE;
    side.contains(&export.width)
        && side.contains(&export.height)
        && export.fourcc != 0
        && export.planes.len() == sizes.len()
        && export.planes.iter().zip(sizes).enumerate().all(|(index, (plane, &size))| {
            // Further planes may be of compression, with fewer rows than the picture.
            let rows = if index == 0 { export.height } else { 1 };
            let pixels = u64::from(plane.stride) * u64::from(rows);
            // Beyond 32 bits the shell ends the connection, of further planes too.
            let end = plane.stride.checked_mul(export.height).and_then(|rows| rows.checked_add(plane.offset));
            plane.stride != 0 && end.is_some() && u64::from(plane.offset) + pixels <= size
        })
}

#[cfg(test)]
mod tests {
    use super::super::wire::Plane;
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn export(width: u32, height: u32, planes: &[(u32, u32)]) -> Export {
        let planes = planes.iter().map(|&(offset, stride)| Plane { offset, stride }).collect();
        Export { width, height, fourcc: 0x3432_5258, modifier: 0, bottom_up: false, planes }
    }

    #[test]
    fn pictures_lie_within_their_files() {
        for (export, sizes, fits) in [
            (export(4, 2, &[(0, 16)]), &[32][..], true),
            (export(4, 2, &[(0, 16)]), &[31], false),
            (export(4, 2, &[(1, 16)]), &[32], false),
            (export(4, 2, &[(0, 16), (64, 4)]), &[32, 68], true),
            (export(4, 2, &[(0, 16), (64, 4)]), &[32, 67], false),
            (export(4, 2, &[(0, 16)]), &[], false),
            (export(4, 2, &[(0, 0)]), &[32], false),
            (export(0, 2, &[(0, 16)]), &[32], false),
            (export(4, 0, &[(0, 16)]), &[32], false),
            (export(MAX_SIDE + 1, 1, &[(0, 16)]), &[32], false),
            (export(MAX_SIDE, MAX_SIDE, &[(0, u32::MAX / MAX_SIDE)]), &[u64::MAX], true),
            (export(MAX_SIDE, MAX_SIDE, &[(u32::MAX, u32::MAX / MAX_SIDE)]), &[u64::MAX], false),
            (export(MAX_SIDE, MAX_SIDE, &[(0, u32::MAX / MAX_SIDE + 1)]), &[u64::MAX], false),
            (export(4, MAX_SIDE, &[(0, 16), (0, u32::MAX / MAX_SIDE + 1)]), &[u64::MAX; 2], false),
            (Export { fourcc: 0, ..export(4, 2, &[(0, 16)]) }, &[32], false),
        ] {
            assert_eq!(picture_fits(&export, sizes), fits, "{export:?} in {sizes:?}");
        }
    }

    #[test]
    fn memory_is_taken_only_if_it_cannot_shrink() {
        let memory = memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, 4096).unwrap();
        assert_eq!(memfd_size(&memory), Some(4096));
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        let unsealable = memfd_create("test", MemfdFlags::empty()).unwrap();
        assert_eq!(memfd_size(&unsealable), None);
        // What nobody may write to cannot be mapped by whoever shows it, and huge pages may have run out.
        for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
            let kept = memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::fcntl_add_seals(&kept, seal).unwrap();
            assert_eq!(memfd_size(&kept), None, "{seal:?}");
        }
        match memfd_create("test", MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB) {
            Ok(huge) => assert_eq!(memfd_size(&huge), None),
            Err(error) => println!("SKIPPED: this kernel makes no memory of huge pages: {error}"),
        }
        assert_eq!(dmabuf_size(&memory), None);
        assert_eq!(memfd_size(std::fs::File::open("/dev/null").unwrap()), None);
        assert_eq!(memfd_size(tempfile::tempfile_in("/").unwrap()), None);
    }
}
