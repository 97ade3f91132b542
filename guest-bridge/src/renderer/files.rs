//! What kind of file a renderer gave, found out without asking the file: a descriptor may be of a file system whose
//! owner never answers, and this process would wait for it.
//!
//! The kernel alone writes `/proc/self/fdinfo`, and keeps the seals of a memfd; neither can be made up by whoever made
//! the file.

use super::limits::MAX_SIDE;
use super::wire::Export;
use rustix::fs::SealFlags;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of a dmabuf; `None` for every other file.
pub fn dmabuf_size(file: impl AsFd) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    described_dmabuf(&text)
}

/// What the kernel writes of a dmabuf: `size:` and `exp_name:`, which it writes for no other kind of file.
fn described_dmabuf(text: &str) -> Option<u64> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    field("exp_name:")?;
    field("count:")?;
    field("size:")?.parse().ok()
}

/// Bytes of a memfd that can never shrink, sealed here if need be; `None` for every other file.
pub fn memfd_size(file: impl AsFd) -> Option<u64> {
    // Only files in memory have seals, and those are this kernel's own.
    let seals = rustix::fs::fcntl_get_seals(&file).ok()?;
    if !seals.contains(SealFlags::SHRINK) {
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).ok()?;
    }
    u64::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()
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
            plane.stride != 0 && u64::from(plane.offset) + pixels <= size
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
            (export(MAX_SIDE, MAX_SIDE, &[(u32::MAX, u32::MAX)]), &[u64::MAX], true),
            (Export { fourcc: 0, ..export(4, 2, &[(0, 16)]) }, &[32], false),
        ] {
            assert_eq!(picture_fits(&export, sizes), fits, "{export:?} in {sizes:?}");
        }
    }

    #[test]
    fn the_kernel_says_what_a_dmabuf_is() {
        let described = "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t7\nsize:\t8192\ncount:\t2\nexp_name:\tudmabuf\n";
        assert_eq!(described_dmabuf(described), Some(8192));
        for other in ["", "pos:\t0\nsize:\t8192\n", "exp_name:\tx\ncount:\t1\nsize:\t-1\n", "exp_name:\tx\nsize:\t1\n"]
        {
            assert_eq!(described_dmabuf(other), None, "{other:?}");
        }
        assert_eq!(dmabuf_size(std::fs::File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn memory_is_taken_only_if_it_cannot_shrink() {
        let memory = memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, 4096).unwrap();
        assert_eq!(memfd_size(&memory), Some(4096));
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        let unsealable = memfd_create("test", MemfdFlags::empty()).unwrap();
        assert_eq!(memfd_size(&unsealable), None);
        assert_eq!(memfd_size(std::fs::File::open("/dev/null").unwrap()), None);
        assert_eq!(memfd_size(tempfile::tempfile_in("/").unwrap()), None);
    }
}
