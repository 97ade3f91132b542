//! A descriptor of a file that its sender serves by himself, and does not: nothing that the shell does with it may wait
//! for him.

use super::client::Client;
use super::fixture::Fixture;
use super::show::shown;
use smithay::reexports::rustix;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wayland_client::Proxy;
use wayland_client::protocol::wl_shm;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1;

const GREEN: u32 = 0x00_ff_00;
/// After so long the file system ends and everything that waits for it fails.
const LIMIT: Duration = Duration::from_secs(30);

/// A file system with one file, which answers until the file is open and never again.
struct Silent {
    folder: tempfile::TempDir,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Silent {
    /// `None` where file systems cannot be served or mounted.
    fn mount() -> Option<Self> {
        let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/fuse").ok()?;
        let folder = tempfile::tempdir().unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let [target, name, options] =
            [folder.path().to_str().unwrap(), "fuse", &options].map(|text| CString::new(text).unwrap());
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: all four strings are NUL-terminated and live through the call.
        let mounted =
            unsafe { libc::mount(name.as_ptr(), target.as_ptr(), name.as_ptr(), flags, options.as_ptr().cast()) };
        if mounted != 0 {
            return None;
        }
        let ends = Arc::new(AtomicBool::new(false));
        let stop = ends.clone();
        let server = std::thread::spawn(move || serve(device, &stop));
        Some(Self { folder, ends, server: Some(server) })
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(self.folder.path().join("file")).unwrap()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.server.take().map(JoinHandle::join);
        unmount(self.folder.path());
    }
}

fn unmount(folder: &Path) {
    let folder = CString::new(folder.to_str().unwrap()).unwrap();
    // SAFETY: the string is NUL-terminated and lives through the call.
    unsafe { libc::umount2(folder.as_ptr(), libc::MNT_DETACH) };
}

/// The little of the FUSE protocol (linux/fuse.h, version 7.31) that opening a file takes. Dropping `device` ends the
/// file system.
fn serve(mut device: File, ends: &AtomicBool) {
    let started = Instant::now();
    let mut request = vec![0u8; 1 << 18];
    let mut silent = false;
    while !ends.load(Ordering::Relaxed) && started.elapsed() < LIMIT {
        let mut ask = [rustix::event::PollFd::new(&device, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = rustix::event::poll(&mut ask, Some(&wait));
        let Ok(length) = device.read(&mut request) else { continue };
        if length < 40 || silent {
            continue;
        }
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let (opcode, unique, node) = (word(4), request[8..16].to_vec(), word(16));
        let folder = opcode == 3 && node == 1;
        let mut attributes = vec![0u8; 88];
        attributes[0..8].copy_from_slice(&if folder { 1u64 } else { 2 }.to_le_bytes());
        attributes[8..16].copy_from_slice(&4096u64.to_le_bytes());
        attributes[60..64].copy_from_slice(&if folder { 0o40755u32 } else { 0o100_666 }.to_le_bytes());
        attributes[64..68].copy_from_slice(&1u32.to_le_bytes());
        let (error, answer) = match opcode {
            // LOOKUP: node 2, nothing may be remembered of it.
            1 => (0, [&2u64.to_le_bytes()[..], &[0; 32], &attributes].concat()),
            // GETATTR
            3 => (0, [&[0; 16][..], &attributes].concat()),
            // OPEN
            14 => {
                silent = true;
                (0, vec![0; 16])
            }
            // INIT
            26 => (
                0,
                [&7u32.to_le_bytes()[..], &31u32.to_le_bytes(), &[0; 12], &4096u32.to_le_bytes(), &[0; 40]].concat(),
            ),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let head = [&(16 + answer.len() as u32).to_le_bytes()[..], &error.to_le_bytes(), &unique].concat();
        let _ = device.write(&[head, answer].concat());
    }
}

/// Sends a request with a descriptor. The library of Wayland clients would close a copy of it here, and wait for ever.
fn send(client: &Client, words: &[u32], file: &File) {
    let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let fds = [file.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds)));
    let backend = client.connection.backend();
    let bytes = [std::io::IoSlice::new(&request)];
    let flags = rustix::net::SendFlags::NOSIGNAL;
    assert_eq!(rustix::net::sendmsg(backend.poll_fd(), &bytes, &mut control, flags), Ok(request.len()));
}

#[test]
fn a_file_that_its_sender_serves_holds_nobody_up() {
    let Some(first) = Silent::mount() else {
        println!("SKIPPED: a_file_that_its_sender_serves_holds_nobody_up: no file system can be served here");
        return;
    };
    let second = Silent::mount().unwrap();
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);

    let started = Instant::now();
    let file = first.file();
    let mut red = shell.attach("red");
    let shm = red.bind::<wl_shm::WlShm>(1).id().protocol_id();
    let pool = red.surface().id().protocol_id() + 1;
    red.flush();
    // wl_shm.create_pool
    send(&red, &[shm, 16 << 16, pool, 4096], &file);
    shell.roundtrip(&mut red);
    assert!(red.is_cut());

    let file = (second.file(), file);
    let mut red = shell.attach("red");
    let dmabuf = red.bind::<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>(3);
    let params = dmabuf.create_params(&red.handle, ()).id().protocol_id();
    red.flush();
    // zwp_linux_buffer_params_v1.add
    send(&red, &[params, 28 << 16 | 1, 0, 0, 64, 0, 0], &file.0);
    shell.roundtrip(&mut red);
    assert!(red.is_cut());

    blue.ask_for_frame(&window.surface);
    shell.roundtrip(&mut blue);
    assert!(started.elapsed() < LIMIT / 2, "{:?}", started.elapsed());
    // The test's own descriptors are closed when the file systems have ended.
    drop((first, second));
    drop(file);
}
