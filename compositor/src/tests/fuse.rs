//! A descriptor that its sender can hold up whoever asks or closes it with: nothing that the shell does with it may wait
//! for him.

use super::client::Client;
use super::fixture::{Fixture, name};
use super::show::shown;
use crate::relay::{Admits, Relays};
use phyllome_test_support::silent::{HeldEpoll, LIMIT, Silent, send_with};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use wayland_client::Proxy;
use wayland_client::protocol::wl_shm;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1;

const GREEN: u32 = 0x00_ff_00;

/// Sends these bytes with the descriptor. The library of Wayland clients would close a copy of it here, and wait for
/// ever.
type SendWith<'a> = &'a dyn Fn(BorrowedFd<'_>, &[u8]);

fn send(client: &Client, words: &[u32], send: SendWith<'_>) {
    let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    send(client.connection.backend().poll_fd(), &request);
}

/// A client in place of the guest's phyllome-guest, with or without the thread that stands between.
fn attach(shell: &mut Fixture, relays: Option<&Relays>) -> Client {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    if let Some(relays) = relays {
        ours = relays.relay("red", ours, Admits::Pictures).unwrap().stream;
    }
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    let mut client = Client::new(theirs);
    shell.roundtrip(&mut client);
    client
}

/// Sends the descriptor with each request that takes one, and, where a thread stands between, with one that takes none.
/// Each time who sent it is cut off, and another guest is served.
fn nobody_is_held_up_by(with: SendWith<'_>) {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);
    let relays = Relays::new(usize::MAX);
    for relays in [None, Some(&relays)] {
        for way in 0..3 {
            let started = Instant::now();
            let mut red = attach(&mut shell, relays);
            match way {
                0 => {
                    let shm = red.bind::<wl_shm::WlShm>(1).id().protocol_id();
                    let pool = red.surface().id().protocol_id() + 1;
                    red.flush();
                    // wl_shm.create_pool
                    send(&red, &[shm, 16 << 16, pool, 4096], with);
                }
                1 => {
                    let dmabuf = red.bind::<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>(3);
                    let params = dmabuf.create_params(&red.handle, ()).id().protocol_id();
                    red.flush();
                    // zwp_linux_buffer_params_v1.add
                    send(&red, &[params, 28 << 16 | 1, 0, 0, 64, 0, 0], with);
                }
                _ if relays.is_none() => continue,
                _ => {
                    let surface = red.surface().id().protocol_id();
                    red.flush();
                    // wl_surface.commit
                    send(&red, &[surface, 8 << 16 | 6], with);
                }
            }
            shell.roundtrip(&mut red);
            assert!(red.is_cut(), "way {way}");
            blue.ask_for_frame(&window.surface);
            shell.roundtrip(&mut blue);
            assert!(!blue.is_cut());
            assert!(started.elapsed() < LIMIT / 2, "way {way}: {:?}", started.elapsed());
        }
    }
}

#[test]
fn a_file_that_its_sender_serves_holds_nobody_up() {
    let silent = match Silent::mount() {
        Ok(silent) => silent,
        Err(why) => return println!("SKIPPED: a_file_that_its_sender_serves_holds_nobody_up: {why:#}"),
    };
    nobody_is_held_up_by(&|socket, bytes| silent.send(socket, bytes, 1).unwrap());
}

#[test]
fn a_descriptor_whose_lock_its_sender_holds_holds_nobody_up() {
    let silent = match Silent::mount() {
        Ok(silent) => silent,
        Err(why) => return println!("SKIPPED: a_descriptor_whose_lock_its_sender_holds_holds_nobody_up: {why:#}"),
    };
    let held = HeldEpoll::new(&silent).unwrap();
    nobody_is_held_up_by(&|socket, bytes| send_with(socket, bytes, &[held.as_fd()]).unwrap());
}
