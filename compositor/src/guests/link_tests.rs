//! What a hostile phyllome-guest can do on its control connection: end it, and nothing else.

use super::*;
use crate::guests::life::tests::report;
use phyllome_protocol::framing::{self, Decoder, MAX_LINE};
use phyllome_protocol::status::GuestState;
use phyllome_test_support::silent::{Hanging, LIMIT};
use std::io::Write;
use std::os::unix::net::UnixListener;

fn pair() -> (Link, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    there.set_nonblocking(true).unwrap();
    (Link::over(here, Instant::now()).unwrap(), there)
}

fn work() -> GuestName {
    GuestName::new("work").unwrap()
}

fn hello() -> FromGuest {
    FromGuest::Hello { version: VERSION, name: work() }
}

fn greeted() -> (Link, UnixStream) {
    let (mut link, there) = pair();
    framing::send_blocking(&there, &hello(), &[]).unwrap();
    assert_eq!(link.receive(Instant::now()).0, [LinkEvent::Greeted]);
    (link, there)
}

/// Writes as much as the socket takes and lets the link read, until the link ends the connection or all is read.
fn feed(link: &mut Link, there: &mut UnixStream, bytes: &[u8]) -> Option<LinkError> {
    let (mut rest, now) = (bytes, Instant::now());
    loop {
        let written = if rest.is_empty() { 0 } else { there.write(rest).unwrap_or(0) };
        rest = &rest[written..];
        if let (_, Some(error)) = link.receive(now) {
            return Some(error);
        }
        if rest.is_empty() {
            return (0..100).find_map(|_| link.receive(now).1);
        }
    }
}

fn misbehaved(error: Option<LinkError>) -> String {
    match error {
        Some(LinkError::Misbehaved(why)) => why,
        other => panic!("the connection should have been ended: {other:?}"),
    }
}

#[test]
fn greeting_reports_and_answers_become_events() {
    let (mut link, there) = greeted();
    let running = report(GuestState::Running);
    framing::send_blocking(&there, &FromGuest::Report(running.clone()), &[]).unwrap();
    framing::send_blocking(&there, &FromGuest::Refused { id: 7, reason: "no".into() }, &[]).unwrap();
    let (events, error) = link.receive(Instant::now());
    assert!(error.is_none());
    let answer = LinkEvent::Answer { id: 7, result: Err("no".into()) };
    assert_eq!(events, [LinkEvent::Report(Box::new(running)), answer]);
}

#[test]
fn an_endless_line_ends_the_connection() {
    let (mut link, mut there) = greeted();
    let why = misbehaved(feed(&mut link, &mut there, &vec![b'x'; MAX_LINE * 2]));
    assert!(why.contains("longer than"), "{why}");
}

#[test]
fn deep_json_ends_the_connection() {
    let (mut link, mut there) = greeted();
    misbehaved(feed(&mut link, &mut there, format!("{}\n", "[".repeat(200_000)).as_bytes()));
}

#[test]
fn wrong_types_and_binary_end_the_connection() {
    for bad in [
        &b"{\"say\":\"report\",\"state\":7}\n"[..],
        b"\x00\xff\xfe\n",
        b"\n",
        b"{}\n",
        b"{\"say\":\"done\",\"id\":-1}\n",
    ] {
        let (mut link, mut there) = greeted();
        misbehaved(feed(&mut link, &mut there, bad));
    }
}

#[test]
fn who_does_not_greet_first_once_and_in_this_version_is_cut_off() {
    let report = FromGuest::Report(report(GuestState::Running));
    let other = FromGuest::Hello { version: VERSION + 1, name: GuestName::new("work").unwrap() };
    for messages in [vec![report], vec![other], vec![hello(), hello()]] {
        let (mut link, mut there) = pair();
        let lines: Vec<u8> = messages.iter().flat_map(|m| framing::encode(m).unwrap()).collect();
        misbehaved(feed(&mut link, &mut there, &lines));
    }
}

#[test]
fn tp20_a_flood_of_good_messages_ends_the_connection() {
    let (mut link, mut there) = greeted();
    let flood = framing::encode(&FromGuest::Done { id: 1 }).unwrap().repeat(10_000);
    let why = misbehaved(feed(&mut link, &mut there, &flood));
    assert!(why.contains("faster"), "{why}");
}

#[test]
fn a_guest_that_is_asked_often_may_answer_often() {
    let (mut link, there) = greeted();
    let now = Instant::now();
    for id in 0..5000 {
        link.send(id, Request::Report, None).unwrap();
        framing::send_blocking(&there, &FromGuest::Report(report(GuestState::Running)), &[]).unwrap();
        framing::send_blocking(&there, &FromGuest::Done { id }, &[]).unwrap();
        assert!(link.receive(now).1.is_none(), "after {id} requests");
        let mut asked = Decoder::new();
        asked.receive(&there).unwrap();
    }
}

#[test]
fn a_descriptor_that_nobody_asked_for_ends_the_connection_even_if_it_cannot_be_closed() {
    let test = "a_descriptor_that_nobody_asked_for_ends_the_connection_even_if_it_cannot_be_closed";
    let message = framing::encode(&FromGuest::Done { id: 1 }).unwrap();
    // More than a message may have, and more than anybody makes room for.
    for times in [1, 5, 29] {
        for mut hanging in Hanging::each(test).unwrap() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("control.sock");
            let listener = UnixListener::bind(&path).unwrap();
            let relays = Relays::new(1);
            let mut link = Link::dial(&path, &work(), &relays, Instant::now()).unwrap();
            let peer = link.take_process().unwrap();
            assert_eq!(peer.pid(), rustix::process::getpid());
            let (there, _) = listener.accept().unwrap();
            hanging.send(&there, &message, times).unwrap();
            let started = Instant::now();
            let why = misbehaved(received(&mut link));
            assert!(why.contains("descriptor"), "{why}");
            drop(link);
            assert!(started.elapsed() < LIMIT / 2, "{:?}", started.elapsed());
            wait("the thread to hang", || !relays.has_room("work"));
            assert!(matches!(Link::dial(&path, &work(), &relays, Instant::now()), Err(DialError::Hanging)));
            drop(hanging);
            wait("the thread to end", || relays.has_room("work"));
            assert!(Link::dial(&path, &work(), &relays, Instant::now()).is_ok());
        }
    }
}

#[test]
fn the_process_of_a_connection_is_the_one_that_listens_and_not_the_shell_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let mut child = crate::guests::process::tests::listening(&path);
    let relays = Relays::new(1);
    let process = Link::dial(&path, &work(), &relays, Instant::now()).unwrap().take_process().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let watch = process.watch().unwrap();
    let mut ask = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
    let most = rustix::time::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ask, Some(&most)), Ok(1), "it has ended");
}

/// The error with which a connection through a thread ends.
fn received(link: &mut Link) -> Option<LinkError> {
    let mut end = None;
    wait("the connection to end", || {
        end = link.receive(Instant::now()).1;
        end.is_some()
    });
    end
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT / 2;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn half_a_message_and_silence_block_nothing() {
    let (mut link, mut there) = greeted();
    assert!(feed(&mut link, &mut there, b"{\"say\":").is_none());
    assert!(matches!(link.receive(Instant::now()), (events, None) if events.is_empty()));
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off_before_memory_grows() {
    let (mut link, _there) = greeted();
    let keys = vec!["leftctrl".to_owned(); 1000];
    let failed = (0..10_000).find_map(|id| link.send(id, Request::SendKeys { keys: keys.clone() }, None).err());
    misbehaved(failed);
}

#[test]
fn a_closed_connection_is_told_apart_from_misbehaviour() {
    let (mut link, there) = greeted();
    drop(there);
    // Not at once: a child that another test is just starting has a copy of it.
    assert!(matches!(received(&mut link), Some(LinkError::Closed)));
}

#[test]
fn dialling_a_socket_that_is_not_there_says_so_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let relays = Relays::new(1);
    let dial = || Link::dial(&path, &work(), &relays, Instant::now());
    assert!(matches!(dial(), Err(DialError::Nobody)));
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(dial(), Err(DialError::Nobody)), "a socket that is left over");
}

#[test]
fn tp20_more_bytes_than_anyone_can_read_end_the_connection_though_they_are_few_messages() {
    let (mut link, mut there) = greeted();
    // A message that is nearly as long as one may be, for the most part of spaces.
    let mut line = framing::encode(&FromGuest::Done { id: 1 }).unwrap();
    let newline = line.pop().unwrap();
    line.resize(MAX_LINE - 1, b' ');
    line.push(newline);
    let sent = (1..=100).find(|_| feed(&mut link, &mut there, &line).is_some());
    assert!(sent.is_some_and(|sent| (8..=16).contains(&sent)), "{sent:?}");
}
