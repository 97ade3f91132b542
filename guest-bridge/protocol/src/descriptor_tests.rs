use super::*;
use phyllome_test_support::silent::{HeldEpoll, Silent};
use rustix::fs::{MemfdFlags, Mode};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

/// Generous for a machine that is busy; what waits for its sender waits for ever.
const DEADLINE: Duration = Duration::from_secs(30);

fn memfd(bytes: u64, flags: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | flags)?;
    rustix::fs::ftruncate(&fd, bytes)?;
    Ok(fd)
}

fn sealed(seals: SealFlags) -> OwnedFd {
    let fd = memfd(4096, MemfdFlags::empty()).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// The answer, which another thread is asked for: one that waits is left behind.
fn answer(fd: BorrowedFd<'_>) -> Option<Description> {
    let (here, there) = mpsc::channel();
    let number = fd.as_raw_fd();
    std::thread::spawn(move || {
        // SAFETY: the test's descriptor stays open until the thread has answered or the test has failed.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        here.send(describe(fd))
    });
    there.recv_timeout(DEADLINE).ok()
}

fn is_nothing(description: &Description) -> bool {
    description.kind == Kind::Unknown
        && description.bytes == 0
        && !description.is_steady()
        && description.can_shrink()
        && !description.is_dmabuf()
        && !description.is_sealed_memory()
}

#[test]
fn memory_is_steady_once_nobody_can_make_it_smaller() {
    let fd = memfd(4096, MemfdFlags::empty()).unwrap();
    let open = describe(fd.as_fd());
    assert_eq!(open.kind, Kind::Memory { seals: SealFlags::empty(), ordinary: true });
    assert_eq!((open.bytes, open.can_shrink(), open.is_steady()), (4096, true, false));
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    let sealed = describe(fd.as_fd());
    assert_eq!((sealed.bytes, sealed.can_shrink(), sealed.is_steady()), (4096, false, true));
    assert!(sealed.is_sealed_memory() && !sealed.is_dmabuf());
}

#[test]
fn memory_says_how_it_may_be_mapped() {
    let may_be_written = |fd: &OwnedFd| describe(fd.as_fd()).is_mappable_for_writing();
    let both = sealed(SealFlags::SHRINK);
    assert!(may_be_written(&both));
    for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
        assert!(!may_be_written(&sealed(seal)), "{seal:?}");
    }
    let again = format!("/proc/self/fd/{}", both.as_raw_fd());
    for (flags, readable, writable) in
        [(OFlags::RDONLY, true, false), (OFlags::WRONLY, false, true), (OFlags::RDWR, true, true)]
    {
        let fd = rustix::fs::open(&again, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let description = describe(fd.as_fd());
        assert_eq!((description.readable, description.writable), (readable, writable), "{flags:?}");
        assert_eq!(description.is_mappable_for_writing(), readable && writable, "{flags:?}");
        assert!(description.is_steady(), "{flags:?}");
    }
    let path = rustix::fs::open(&again, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let description = describe(path.as_fd());
    assert!(is_nothing(&description) && !description.readable && !description.writable);
}

#[test]
fn huge_pages_may_run_out_under_a_mapping() {
    let made = memfd(0, MemfdFlags::HUGETLB);
    let Ok(fd) = made else {
        println!("SKIPPED: huge_pages_may_run_out_under_a_mapping: this kernel has none ({made:?})");
        return;
    };
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    let description = describe(fd.as_fd());
    assert_eq!(description.kind, Kind::Memory { seals: SealFlags::SHRINK, ordinary: false });
    assert!(!description.can_shrink() && !description.is_steady());
}

#[test]
fn other_files_are_unknown() {
    let file = tempfile::tempfile_in("/").unwrap();
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    let device = |name: &str| std::fs::File::open(name).unwrap();
    let (zero, null) = (device("/dev/zero"), device("/dev/null"));
    for fd in [file.as_fd(), pipe.as_fd(), zero.as_fd(), null.as_fd()] {
        let description = describe(fd);
        // A file of the root folder is memory where that is a tmpfs.
        assert!(is_nothing(&description) || !description.is_steady(), "{description:?}");
        assert!(description.readable);
    }
}

#[test]
fn an_event_is_told_from_what_can_be_read_as_one() {
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let description = describe(event.as_fd());
    assert_eq!((&description.kind, description.bytes), (&Kind::Event, 0));
    assert!(description.can_shrink() && !description.is_steady());
    assert!([pipe.as_fd(), epoll.as_fd()].into_iter().all(|fd| describe(fd).kind == Kind::Unknown));
}

#[test]
fn names_are_the_kernels_and_of_no_file() {
    for (name, kind) in [
        ("/dmabuf:", Named::Dmabuf),
        ("/dmabuf:x", Named::Dmabuf),
        ("/tmp/dmabuf:x", Named::Other),
        ("anon_inode:syncobj_file", Named::Timeline),
        ("anon_inode:[eventfd]", Named::Event),
        ("/anon_inode:[eventfd]", Named::Other),
        ("/anon_inode:syncobj_file", Named::Other),
        ("anon_inode:[eventpoll]", Named::Other),
        ("", Named::Other),
    ] {
        assert_eq!(kind_of_name(OsStr::new(name)), kind, "{name:?}");
    }
}

#[test]
fn a_dmabuf_is_told_by_the_kernels_notes_and_not_by_its_name() {
    let notes = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t7\nsize:\t8192\ncount:\t2\nexp_name:\tvgem\nname:\tx\nexp_name:\tudmabuf\n";
    assert_eq!(dmabuf_of(notes), Some((Kind::Dmabuf { exporter: "vgem".into() }, 8192)));
    assert_eq!(dmabuf_of("pos:\t0\nflags:\t0\n"), None);
    assert_eq!(dmabuf_of("size:\tmany\nexp_name:\tudmabuf\n"), None);
}

#[test]
fn a_dmabuf_is_steady_if_its_exporters_memory_is() {
    for (exporter, steady) in [("udmabuf", true), ("system", true), ("amdgpu", false), ("", false)] {
        let kind = Kind::Dmabuf { exporter: exporter.into() };
        let description = Description { kind, bytes: 4096, readable: true, writable: true };
        assert_eq!((description.is_steady(), description.can_shrink()), (steady, false), "{exporter:?}");
    }
}

#[test]
fn a_descriptor_whose_lock_its_sender_holds_is_told_at_once() {
    let test = "a_descriptor_whose_lock_its_sender_holds_is_told_at_once";
    let silent = match Silent::mount() {
        Ok(silent) => silent,
        Err(why) => return println!("SKIPPED: {test}: {why}"),
    };
    let held = HeldEpoll::new(&silent).unwrap();
    let description = answer(held.as_fd()).expect("nobody waits for the one who holds the lock");
    assert!(is_nothing(&description), "{description:?}");
}

#[test]
fn a_file_that_its_sender_serves_is_told_at_once_even_with_a_dmabufs_name() {
    let test = "a_file_that_its_sender_serves_is_told_at_once_even_with_a_dmabufs_name";
    let silent = match Silent::mount() {
        Ok(silent) => silent,
        Err(why) => return println!("SKIPPED: {test}: {why}"),
    };
    let file = silent.file().unwrap();
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert_eq!(kind_of_name(name.as_os_str()), Named::Dmabuf, "{name:?}");
    let description = answer(file).expect("nobody waits for the one who serves it");
    assert!(is_nothing(&description) && description.readable, "{description:?}");
}

#[test]
fn pixels_that_are_elsewhere_are_of_one_driver_and_of_any_size() {
    for (exporter, driver) in [("virtio_gpu", Some("virtio_gpu")), ("udmabuf", None), ("amdgpu", None)] {
        let kind = Kind::Dmabuf { exporter: exporter.into() };
        let description = Description { kind, bytes: 4096, readable: true, writable: true };
        assert_eq!(description.only_driver(), driver, "{exporter}");
        assert!(description.holds(4096), "{exporter}");
        assert_eq!(description.holds(4097), driver.is_some(), "{exporter}");
        assert!(driver.is_none() || !description.is_steady(), "no processor reads {exporter}'s");
    }
}
