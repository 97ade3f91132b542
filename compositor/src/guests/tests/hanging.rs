//! Descriptors whose closing can take for ever, on every connection that strangers have with the shell: whoever sends
//! them loses that connection, and everybody else is served meanwhile.

use super::*;
use crate::event_loop::Served as _;
use crate::guests::life::Exit;
use crate::guests::process::tests as process;
use phyllome_test_support::silent::{Hanging, LIMIT, Lingering};
use std::io::Read;

/// How often one descriptor is sent with one message: more than a message may have, and more than anybody makes room
/// for.
const TIMES: [usize; 3] = [1, 5, 29];

/// Somebody else asks the shell something and is answered, guests' connections are, and programs start.
fn others_are_served(host: &mut Host, play: &mut Peer, started: Instant) {
    assert_eq!(host.ask(Command::Switch { name: name("play") }), Reply::Done);
    host.state.act(Verb::Guest(name("play"), GuestVerb::Pause), Asker::Face).unwrap();
    let asked = play.asked(host);
    assert_eq!(asked.request, Request::Verb(GuestVerb::Pause));
    play.line.send(&FromGuest::Done { id: asked.id });
    play.report(GuestState::Paused);
    host.wait_state("play", GuestState::Paused);
    // A program that starts closes all that it has inherited.
    let logs = tempfile::tempdir().unwrap();
    assert_eq!(process::wait(process::shell("exit 3", logs.path())), Exit::Code(3));
    assert!(started.elapsed() < LIMIT / 2, "{:?}", started.elapsed());
}

/// Both guests, and the peer of the second.
fn two() -> (Host, Peer, Peer) {
    let mut host = Host::new("exit 9");
    let listener = listen(&host, "play");
    host.start();
    let play = Peer::answer(&mut host, &listener, "play");
    let work = Peer::of(&mut host, "work");
    (host, work, play)
}

#[test]
fn on_a_control_link_they_end_it_and_hold_nobody_else_up() {
    for times in TIMES {
        for mut hanging in Hanging::each("on_a_control_link_they_end_it_and_hold_nobody_else_up").unwrap() {
            let (mut host, work, mut play) = two();
            let started = Instant::now();
            let message = framing::encode(&FromGuest::Done { id: 0 }).unwrap();
            hanging.send(&work.line.stream, &message, times).unwrap();
            host.wait("the link to end", |host| host.message("work").contains("file descriptor"));
            others_are_served(&mut host, &mut play, started);
            drop(hanging);
        }
    }
}

#[test]
fn on_the_shells_socket_they_end_a_connection_and_hold_nobody_else_up() {
    for times in TIMES {
        for mut hanging in Hanging::each("on_the_shells_socket_they_end_a_connection_and_hold_nobody_else_up").unwrap()
        {
            let (mut host, _work, mut play) = two();
            let started = Instant::now();
            let mut tool = host.tool();
            let message = framing::encode(&Command::Status).unwrap();
            hanging.send(&tool.stream, &message, times).unwrap();
            let Reply::Refused { reason } = tool.next(&mut host).unwrap() else { panic!("it is cut off") };
            assert!(reason.contains("descriptor"), "{reason}");
            others_are_served(&mut host, &mut play, started);
            drop(hanging);
        }
    }
}

#[test]
fn on_a_screen_they_end_it_and_hold_nobody_else_up() {
    // wl_display.sync
    let request: Vec<u8> = [1u32, 12 << 16, 2].iter().flat_map(|word| word.to_le_bytes()).collect();
    for times in TIMES {
        for mut hanging in Hanging::each("on_a_screen_they_end_it_and_hold_nobody_else_up").unwrap() {
            let (mut host, mut work, mut play) = two();
            let started = Instant::now();
            let mut screen = UnixStream::from(work.screen.take().unwrap());
            screen.set_nonblocking(true).unwrap();
            hanging.send(&screen, &request, times).unwrap();
            host.wait("the screen to be cut off", |host| {
                host.state.flush();
                matches!(screen.read(&mut [0; 64]), Ok(0))
            });
            others_are_served(&mut host, &mut play, started);
            drop(hanging);
        }
    }
}

#[test]
fn who_hangs_twice_is_not_dialled_and_said_to_hang() {
    let mut host = Host::new("exit 9");
    host.start();
    let mut hanging = Vec::new();
    for _ in 0..2 {
        let _ = std::fs::remove_file(host.socket("work"));
        let work = Peer::of(&mut host, "work");
        let (other, socket) = Lingering::new().unwrap();
        hanging.push(Hanging::Socket(Some(socket), other));
        let message = framing::encode(&FromGuest::Done { id: 0 }).unwrap();
        hanging.last_mut().unwrap().send(&work.line.stream, &message, 1).unwrap();
        host.wait("the link to end", |host| host.message("work").contains("file descriptor"));
        let count = hanging.len();
        host.wait("the thread to hang", |host| host.state.guests.relays.hanging("work") == count);
    }
    std::fs::remove_file(host.socket("work")).unwrap();
    let listener = listen(&host, "work");
    host.wait("the shell to leave it alone", |host| host.message("work").contains("hang"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}
