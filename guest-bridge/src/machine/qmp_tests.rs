//! QEMU played by hostile peers over a socketpair.

use super::*;
use std::io::{BufRead, BufReader, Write};

const GREETING: &[u8] = b"{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n";
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A peer that greets, answers qmp_capabilities, and then does what it is told with each further line.
fn peer(each: impl Fn(&mut StdUnixStream, Value) + Send + 'static) -> StdUnixStream {
    let (here, mut there) = StdUnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let _ = there.write_all(GREETING);
        let reader = BufReader::new(there.try_clone().unwrap());
        for (count, line) in reader.lines().map_while(Result::ok).enumerate() {
            let command: Value = serde_json::from_str(&line).unwrap();
            if count == 0 {
                let _ = writeln!(there, "{{\"return\": {{}}, \"id\": {}}}", command["id"]);
            } else {
                each(&mut there, command);
            }
        }
    });
    here
}

#[test]
fn commands_are_answered_by_id_and_events_come_in_order() {
    let stream = peer(|out, command| {
        let _ = writeln!(out, "{{\"event\": \"STOP\", \"timestamp\": {{}}}}");
        let _ = writeln!(out, "{{\"event\": \"NIC_RX_FILTER_CHANGED\"}}");
        let _ = writeln!(out, "{{\"return\": {{\"status\": \"paused\"}}, \"id\": 99}}");
        let _ = writeln!(out, "{{\"return\": {{\"status\": \"internal-error\"}}, \"id\": {}}}", command["id"]);
        let _ = writeln!(out, "{{\"event\":\"SHUTDOWN\",\"data\":{{\"guest\":true,\"reason\":\"guest-shutdown\"}}}}");
    });
    block_on(async {
        let (qmp, mut events) = Qmp::open_with(stream, LONG, LONG).await.unwrap();
        assert_eq!(qmp.query_status().await.unwrap(), "internal-error");
        assert_eq!(events.recv().await, Some(QmpEvent::Stop));
        let shutdown = QmpEvent::Shutdown { guest: true, reason: "guest-shutdown".into() };
        assert_eq!(events.recv().await, Some(shutdown));
    });
}

#[test]
fn a_refusal_carries_bounded_words() {
    let stream = peer(|out, command| {
        let words = "no\\u001b[2J".repeat(1000);
        let _ = writeln!(out, "{{\"error\":{{\"class\":\"x\",\"desc\":\"{words}\"}},\"id\":{}}}", command["id"]);
    });
    block_on(async {
        let (qmp, _events) = Qmp::open_with(stream, LONG, LONG).await.unwrap();
        let Err(QmpError::Refused { command: "cont", description }) = qmp.execute("cont", None).await else {
            panic!("not refused")
        };
        assert!(description.chars().count() <= 300 && !description.contains('\u{1b}'));
    });
}

#[test]
fn silence_is_a_timeout_everywhere() {
    let (mute, _other) = StdUnixStream::pair().unwrap();
    let stream = peer(|_, _| {});
    block_on(async {
        let error = Qmp::open_with(mute, SHORT, LONG).await.unwrap_err();
        assert!(matches!(error, QmpError::Timeout { command: "the greeting", .. }));
        let (qmp, _events) = Qmp::open_with(stream, LONG, SHORT).await.unwrap();
        // More commands than may wait: none hangs, and those whose askers gave up make room.
        for _ in 0..MAX_PENDING + 2 {
            let error = tokio::time::timeout(LONG, qmp.clone().with_answer_time(1).execute("stop", None)).await;
            assert!(matches!(error, Ok(Err(QmpError::Timeout { .. } | QmpError::Busy))));
        }
    });
}

impl Qmp {
    fn with_answer_time(mut self, milliseconds: u64) -> Self {
        self.answer_time = Duration::from_millis(milliseconds);
        self
    }
}

#[test]
fn broken_greetings_are_errors() {
    let deep = format!("{}\n", "[".repeat(100_000));
    let half = "{\"QMP\": ";
    for hostile in ["\n", "hello\n", "{}\n", "\u{0}\n", "{\"QMP\": 1}\n{\"return\": [\n", &deep, half] {
        let (here, mut there) = StdUnixStream::pair().unwrap();
        let bytes = hostile.as_bytes().to_vec();
        std::thread::spawn(move || there.write_all(&bytes));
        assert!(block_on(Qmp::open_with(here, LONG, LONG)).is_err(), "{hostile:.40}");
    }
}

#[test]
fn an_endless_line_closes_the_connection_and_fails_what_waits() {
    let stream = peer(|out, _| while out.write_all(&[b'x'; 4096]).is_ok() {});
    block_on(async {
        let (qmp, mut events) = Qmp::open_with(stream, LONG, LONG).await.unwrap();
        assert!(matches!(qmp.execute("stop", None).await, Err(QmpError::Protocol(_))));
        assert!(matches!(events.recv().await, Some(QmpEvent::Closed(QmpError::Protocol(_)))));
        assert_eq!(qmp.execute("stop", None).await, Err(QmpError::Closed));
    });
}

#[test]
fn a_qemu_that_dies_fails_what_waits() {
    let stream = peer(|out, _| drop(out.shutdown(std::net::Shutdown::Both)));
    block_on(async {
        let (qmp, mut events) = Qmp::open_with(stream, LONG, LONG).await.unwrap();
        assert_eq!(qmp.execute("stop", None).await, Err(QmpError::Closed));
        assert_eq!(events.recv().await, Some(QmpEvent::Closed(QmpError::Closed)));
    });
}

#[test]
fn a_flood_of_events_waits_for_its_reader() {
    let stream = peer(|out, _| {
        for _ in 0..10_000 {
            let _ = out.write_all(b"{\"event\": \"RESET\", \"data\": {\"guest\": true}}\n");
        }
    });
    block_on(async {
        let (qmp, mut events) = Qmp::open_with(stream, LONG, SHORT).await.unwrap();
        let _ = qmp.execute("system_reset", None).await;
        for _ in 0..10_000 {
            assert_eq!(events.recv().await, Some(QmpEvent::Reset { guest: true }));
        }
    });
}

#[test]
fn a_descriptor_arrives_with_its_own_command_among_others() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (here, mut there) = StdUnixStream::pair().unwrap();
    let received = std::thread::spawn(move || {
        let _ = there.write_all(GREETING);
        let mut text = String::new();
        let mut fds: Vec<(usize, OwnedFd)> = Vec::new();
        let mut answered = 0;
        while answered < 5 {
            let mut chunk = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [std::io::IoSliceMut::new(&mut chunk)];
            let got = rustix::net::recvmsg(&there, &mut parts, &mut control, RecvFlags::empty()).unwrap();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights.map(|fd| (text.len(), fd)));
                }
            }
            text.push_str(std::str::from_utf8(&chunk[..got.bytes]).unwrap());
            for line in text.lines().skip(answered).filter(|line| line.ends_with('}')) {
                let command: Value = serde_json::from_str(line).unwrap();
                let _ = writeln!(there, "{{\"return\": {{}}, \"id\": {}}}", command["id"]);
                answered += 1;
            }
        }
        (text, fds)
    });
    block_on(async {
        let (qmp, _events) = Qmp::open_with(here, LONG, LONG).await.unwrap();
        let fd = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (a, b, c, d) = tokio::join!(
            qmp.execute("stop", None),
            qmp.execute_with_fd("getfd", Some(json!({ "fdname": "one" })), fd()),
            qmp.execute("cont", None),
            qmp.execute_with_fd("getfd", Some(json!({ "fdname": "two" })), fd()),
        );
        assert!([a, b, c, d].iter().all(Result::is_ok));
    });
    let (text, fds) = received.join().unwrap();
    assert_eq!(fds.len(), 2, "{text}");
    // A descriptor comes with the first byte of its command or with bytes before it, never later: QEMU keeps the last
    // one.
    let commands: Vec<usize> = text.match_indices("\"getfd\"").map(|(at, _)| at).collect();
    assert!(fds.iter().zip(&commands).all(|((at, _), command)| at <= command), "{text}");
    assert!(fds[1].0 > commands[0], "the second one comes after the first command");
}

#[test]
fn commands_that_go_out_together_have_each_its_own_descriptor() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (here, there) = StdUnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    block_on(async {
        let stream = UnixStream::from_std(here).unwrap();
        let mut connection = Connection::new(stream);
        let answers = ["one", "two", "three"].map(|name| {
            let (answer, waiting) = oneshot::channel();
            let fd = Some(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
            connection.send(Command { name: "getfd", arguments: Some(json!({ "fdname": name })), fd, answer });
            waiting
        });
        connection.stream.writable().await.unwrap();
        connection.write().unwrap();
        assert!(connection.unsent.is_empty() && connection.fds.is_empty());
        drop(answers);
    });
    let mut text = String::new();
    for name in ["one", "two", "three"] {
        let mut chunk = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [std::io::IoSliceMut::new(&mut chunk)];
        let got = rustix::net::recvmsg(&there, &mut parts, &mut control, RecvFlags::empty()).unwrap();
        let fds = control.drain().map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.count(),
            _ => 0,
        });
        assert_eq!(fds.sum::<usize>(), 1);
        text.push_str(std::str::from_utf8(&chunk[..got.bytes]).unwrap());
        assert!(text.ends_with("}\n") && text.contains(name), "{text}");
    }
}
