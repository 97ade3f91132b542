use super::*;
use phyllome_test_support::memory;
use phyllome_test_support::silent::{Hanging, Lingering, Silent, send_with};
use std::io::{Read, Write};

/// Generous for a machine that is busy; what hangs does so for longer.
const DEADLINE: Duration = Duration::from_secs(30);

fn relayed(admits: Admits) -> (Relays, Relayed, UnixStream) {
    let (peer, theirs) = UnixStream::pair().unwrap();
    let relays = Relays::new(2);
    let ours = relays.relay("red", peer, admits).unwrap();
    for socket in [&ours.stream, &theirs] {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
    }
    (relays, ours, theirs)
}

fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    send_with(socket, bytes, fds).unwrap();
}

/// Descriptors that came with one byte.
fn receive(socket: &UnixStream) -> Vec<OwnedFd> {
    let mut lane = Lane::new();
    lane.receive(socket);
    assert_eq!(lane.bytes.len(), 1);
    lane.fds
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The shell sees the end of the connection, and the end alone.
fn ends(ours: &Relayed) {
    assert_eq!((&ours.stream).read(&mut [0; 64]).unwrap(), 0);
}

#[test]
fn bytes_pass_both_ways_in_their_order_through_full_sockets() {
    let (_relays, ours, theirs) = relayed(Admits::Pictures);
    let text: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    let ours = &ours.stream;
    for (mut from, mut to) in [(&theirs, ours), (ours, &theirs)] {
        std::thread::scope(|scope| {
            scope.spawn(|| from.write_all(&text).unwrap());
            let mut got = vec![0; text.len()];
            to.read_exact(&mut got).unwrap();
            assert!(got == text);
        });
    }
}

#[test]
fn bytes_that_come_one_by_one_without_end_wake_the_shell_at_a_bounded_rate_and_all_arrive() {
    // More at once than a connection has, and in each second.
    for (admits, at_once, per_second) in [(Admits::Bytes, 500.0, 250.0), (Admits::Pictures, 1000.0, 2000.0)] {
        let (_relays, ours, theirs) = relayed(admits);
        // wl_display.sync, over and over.
        let bytes = [1u32, 12 << 16, 3].map(u32::to_ne_bytes).concat().repeat(1000);
        let started = Instant::now();
        let mut wakes = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| bytes.iter().for_each(|byte| (&theirs).write_all(&[*byte]).unwrap()));
            let (mut got, mut piece) = (Vec::new(), [0; PIECE]);
            while got.len() < bytes.len() {
                let length = (&ours.stream).read(&mut piece).unwrap();
                got.extend_from_slice(&piece[..length]);
                wakes += 1;
            }
            assert!(got == bytes);
        });
        let most = at_once + 1.0 + started.elapsed().as_secs_f64() * per_second;
        assert!(f64::from(wakes) <= most, "{admits:?}: {wakes} wakes where {most} are allowed");
    }
}

#[test]
fn what_a_screen_is_made_of_passes_and_the_shells_own_descriptors_do() {
    let (_relays, ours, theirs) = relayed(Admits::Pictures);
    let memories: Vec<OwnedFd> = (0..MAX_FDS).map(|_| memory::sealed(4096).unwrap()).collect();
    let borrowed: Vec<_> = memories.iter().map(AsFd::as_fd).collect();
    send(&theirs, b"x", &borrowed);
    let got = receive(&ours.stream);
    assert_eq!(got.len(), MAX_FDS);
    assert!(got.iter().all(|fd| describe(fd.as_fd()).bytes == 4096));
    let (socket, _other) = UnixStream::pair().unwrap();
    send(&ours.stream, b"y", &[socket.as_fd()]);
    assert_eq!(receive(&theirs).len(), 1);
    assert!(!ours.signs.is_refused());
}

#[test]
fn what_no_screen_is_made_of_ends_the_connection() {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let memory = memory::sealed(4096).unwrap();
    let many = vec![memory.as_fd(); MAX_FDS + 1];
    let cases: [(Admits, &[BorrowedFd<'_>]); 7] = [
        (Admits::Pictures, &[zero.as_fd()]),
        (Admits::Pictures, &[event.as_fd()]),
        (Admits::Pictures, &[memory.as_fd(), pipe.as_fd()]),
        (Admits::Pictures, &many),
        (Admits::Bytes, &[memory.as_fd()]),
        (Admits::Bytes, &[zero.as_fd(); 5]),
        (Admits::Bytes, &[zero.as_fd(); MAX_FDS + 1]),
    ];
    for (admits, fds) in cases {
        let (relays, ours, theirs) = relayed(admits);
        send(&theirs, b"x", fds);
        ends(&ours);
        assert!(ours.signs.is_refused() && ours.signs.is_drained());
        // What the shell says in farewell still arrives.
        (&ours.stream).write_all(b"why").unwrap();
        drop(ours);
        let mut farewell = String::new();
        (&theirs).read_to_string(&mut farewell).unwrap();
        assert_eq!(farewell, "why");
        wait("the thread to end", || relays.hanging("red") == 0);
    }
}

#[test]
fn what_a_peer_said_before_it_went_arrives() {
    let (_relays, ours, theirs) = relayed(Admits::Bytes);
    // The shell says something to one who has gone.
    (&theirs).write_all(b"last words").unwrap();
    drop(theirs);
    let _ = (&ours.stream).write_all(b"hello");
    let mut words = String::new();
    (&ours.stream).read_to_string(&mut words).unwrap();
    assert_eq!(words, "last words");
    assert!(ours.signs.is_drained() && !ours.signs.is_refused());
}

#[test]
fn a_descriptor_whose_closing_can_take_for_ever_holds_its_own_thread_alone() {
    for admits in [Admits::Bytes, Admits::Pictures] {
        for mut hanging in
            Hanging::each("a_descriptor_whose_closing_can_take_for_ever_holds_its_own_thread_alone").unwrap()
        {
            let (relays, ours, theirs) = relayed(admits);
            hanging.send(&theirs, b"x", 1).unwrap();
            ends(&ours);
            drop(ours);
            wait("the thread to hang", || relays.hanging("red") == 1);
            drop(hanging);
            wait("the thread to end", || relays.hanging("red") == 0);
        }
    }
}

#[test]
fn what_nobody_has_read_when_the_shell_leaves_holds_its_own_thread_alone() {
    let (relays, ours, theirs) = relayed(Admits::Bytes);
    theirs.set_nonblocking(true).unwrap();
    // Until the thread has no more room either, and then until there is some at this end.
    while (&theirs).write(&[0; 4096]).is_ok() || takes_more(&theirs, 50) {}
    while !takes_more(&theirs, 0) {
        let _ = (&ours.stream).read(&mut [0; 4096]).unwrap();
    }
    let (other, socket) = Lingering::new().unwrap();
    send(&theirs, b"x", &[socket.as_fd()]);
    drop((socket, ours));
    wait("the thread to close it", || relays.hanging("red") == 1);
    drop(other);
    wait("the thread to end", || relays.hanging("red") == 0);
}

/// Whether there is room in the socket's queue, within so many milliseconds.
fn takes_more(socket: &UnixStream, milliseconds: i64) -> bool {
    let mut ask = [PollFd::new(socket, PollFlags::OUT)];
    let most = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    matches!(poll(&mut ask, Some(&most)), Ok(1))
}

#[test]
fn who_hangs_twice_gets_no_third_connection_until_one_is_over() {
    let Ok(silent) = Silent::mount().inspect_err(|why| {
        println!("SKIPPED: who_hangs_twice_gets_no_third_connection_until_one_is_over: {why:#}");
    }) else {
        return;
    };
    let relays = Relays::new(2);
    let mut connections = Vec::new();
    for hanging in 1..=2 {
        assert!(relays.has_room("red"));
        let (peer, theirs) = UnixStream::pair().unwrap();
        let ours = relays.relay("red", peer, Admits::Pictures).unwrap();
        silent.send(&theirs, b"x", 1).unwrap();
        wait("the connection to end", || matches!((&ours.stream).read(&mut [0]), Ok(0)));
        drop(ours);
        wait("the thread to hang", || relays.hanging("red") == hanging);
        connections.push(theirs);
    }
    assert!(!relays.has_room("red") && relays.has_room("blue"));
    drop(silent);
    wait("the threads to end", || relays.has_room("red") && relays.hanging("red") == 0);
}

#[test]
fn a_request_that_the_library_cannot_read_ends_the_connection_and_is_not_passed_on() {
    let (_relays, ours, theirs) = relayed(Admits::Pictures);
    let registry = [1, 12 << 16 | 1, 2].map(u32::to_ne_bytes).concat();
    send(&theirs, &registry, &[]);
    let mut passed = [0; 12];
    (&ours.stream).read_exact(&mut passed).unwrap();
    assert_eq!(passed, *registry);
    // wl_registry.bind without the name of an interface.
    send(&theirs, &[2, 24 << 16, 5, 0, 1, 3].map(u32::to_ne_bytes).concat(), &[]);
    ends(&ours);
    // Of a tool, the same bytes are bytes.
    let (_relays, ours, theirs) = relayed(Admits::Bytes);
    send(&theirs, &registry, &[]);
    send(&theirs, &[2, 24 << 16, 5, 0, 1, 3].map(u32::to_ne_bytes).concat(), &[]);
    (&ours.stream).read_exact(&mut [0; 36]).unwrap();
}

#[test]
fn a_peer_that_does_not_read_keeps_no_thread_once_the_shell_has_gone() {
    let (relays, ours, theirs) = relayed(Admits::Pictures);
    ours.stream.set_nonblocking(true).unwrap();
    // Until nothing goes on any more: the thread has a piece in its hands, and both sockets are full.
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(200) {
        if (&ours.stream).write(&[0; 4096]).is_ok() {
            last = Instant::now();
        }
    }
    drop(ours);
    theirs.set_nonblocking(true).unwrap();
    let closed = |error: io::Error| matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
    wait("the thread to end", || (&theirs).write(&[0]).is_err_and(closed));
    wait("it to be counted no longer", || relays.hanging("red") == 0);
}
