//! Renderers that are processes: what they are started with, and that they end, in every way, without anybody waiting.

use crate::stage::{block_on, leaking_nothing, until};
use phyllome_guest_bridge::machine::graphics;
use phyllome_guest_bridge::renderer::client::{Client, Patience, RendererEvent};
use phyllome_guest_bridge::renderer::launch::{Launch, LaunchLimits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// Says that it is ready.
const READY: &str = r"printf '\001\004test' >&3; ";

/// A shell that plays the renderer; `$OUT` is a folder.
fn launch(script: &str, out: &Path) -> Launch {
    let mut launch = Launch::new("/bin/sh".into());
    launch.arguments = vec!["-c".into(), script.into()];
    launch.environment.push(("OUT".into(), out.into()));
    launch
}

fn start(launch: Launch, patience: Patience) -> Result<Client, String> {
    block_on(Client::start_with(launch, patience).unwrap().ready())
}

/// Runs `test` with a renderer that is `script`.
fn with(script: &str, test: impl FnOnce(Client, &Path)) {
    leaking_nothing(|| {
        let out = tempfile::tempdir().unwrap();
        let client = start(launch(script, out.path()), Patience::default()).unwrap();
        test(client, out.path());
    });
}

/// What happens next.
fn next(client: &mut Client) -> RendererEvent {
    let start = Instant::now();
    loop {
        if let Some(events) = client.turn(Instant::now()).into_iter().next() {
            return events;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing happens");
        let wait =
            client.deadline().map_or(Duration::from_secs(1), |end| end.saturating_duration_since(Instant::now()));
        let wait = Timespec { tv_sec: wait.as_secs().min(1) as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        poll(&mut [PollFd::from_borrowed_fd(client.fd(), PollFlags::IN)], Some(&wait)).unwrap();
    }
}

fn death(client: &mut Client) -> String {
    match next(client) {
        RendererEvent::Died { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// A process that runs: not one that merely waits to be reaped by whoever adopted it.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The content of a file that the renderer writes, once its last line is there.
fn written(path: &Path) -> String {
    let mut text = String::new();
    until("the renderer's file", || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text
}

#[test]
fn it_gets_its_socket_and_nothing_else() {
    let script = r#"
        /usr/bin/find /proc/$$/fd -type l -fprintf $OUT/new '%f %l\n'; /bin/mv $OUT/new $OUT/fds
        /usr/bin/env >$OUT/new; /bin/mv $OUT/new $OUT/env"#;
    leaking_nothing(|| {
        let stray = std::fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let script = format!("{script}\n{READY} exec /bin/cat <&3");
        let client = start(launch(&script, out), Patience::default()).unwrap();
        let fds = written(&out.join("fds"));
        let mut fds: Vec<&str> = fds.lines().collect();
        fds.sort_unstable();
        let kinds: Vec<&str> = fds.iter().map(|line| line.split_once('[').map_or(*line, |(kind, _)| kind)).collect();
        assert_eq!(kinds, ["0 /dev/null", "1 pipe:", "2 pipe:", "3 socket:"], "{fds:?}");
        let env = written(&out.join("env"));
        for absent in ["\nPATH=", "\nHOME=", "\nLANG=", "\nXDG_RUNTIME_DIR=", "\nCARGO_"] {
            assert!(!format!("\n{env}").contains(absent), "{env}");
        }
        assert!(client.pid().is_some_and(exists));
    });
}

#[test]
fn it_is_held_to_its_limits_and_deaf_to_polite_signals() {
    leaking_nothing(|| {
        let out = tempfile::tempdir().unwrap();
        let mut launch = launch(&format!("{READY} exec /bin/cat <&3"), out.path());
        launch.limits = LaunchLimits { descriptors: 77, address_space: Some(1 << 32) };
        let client = start(launch, Patience::default()).unwrap();
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", client.pid().unwrap())).unwrap();
        let limits = read("limits");
        for (name, value) in
            [("Max open files", "77"), ("Max core file size", "0"), ("Max address space", "4294967296")]
        {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert!(line.split_whitespace().take(2).all(|limit| limit == value), "{name}{line}");
        }
        let status = read("status");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        assert_eq!(blocked & (1 << (libc::SIGTERM - 1)), 1 << (libc::SIGTERM - 1));
    });
}

#[test]
fn killed_in_mid_stream_it_is_started_again() {
    with(&format!("{READY} exec /bin/cat <&3 >/dev/null"), |mut client, _| {
        for round in 1..=2 {
            let pid = client.pid().unwrap();
            let mut asked = Vec::new();
            for _ in 0..20 {
                asked.push(client.submit(1, &vec![7; 1 << 18]).unwrap());
                client.flush(Instant::now());
            }
            kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
            match next(&mut client) {
                RendererEvent::Died { why, tickets, .. } => {
                    assert_eq!(why, "the renderer was ended by signal 9");
                    assert_eq!(tickets, asked);
                }
                other => panic!("{other:?}"),
            }
            assert!(client.pid().is_none());
            until("the reaping", || !exists(pid));
            client.restart(Instant::now()).unwrap();
            assert!(matches!(next(&mut client), RendererEvent::Ready));
            assert_eq!(client.restarts(), round);
        }
    });
}

#[test]
fn a_child_that_keeps_the_connection_open_saves_nobody() {
    // It lives until it was seen to be ready: what ends before that was never ready.
    let script = "/bin/sleep 1000 & echo $! >$OUT/pid; until test -e $OUT/seen; do /bin/sleep 0.01; done; exit 3";
    with(&format!("{READY} {script}"), |mut client, out| {
        std::fs::write(out.join("seen"), "").unwrap();
        assert_eq!(death(&mut client), "the renderer ended with code 3");
        let child = written(&out.join("pid")).trim().parse().unwrap();
        until("the child's end", || !runs(child));
    });
}

#[test]
fn one_that_closes_its_connection_and_lives_is_ended() {
    with(&format!("{READY} exec 3>&-; exec /bin/sleep 1000"), |mut client, _| {
        let pid = client.pid().unwrap();
        let why = death(&mut client);
        assert!(why.contains("closed its connection and did not end"), "{why}");
        until("its end", || !exists(pid));
    });
}

#[test]
fn one_that_breaks_the_protocol_is_ended() {
    with(&format!("{READY} /usr/bin/head -c 1 <&3; echo garbage >&3; exec /bin/sleep 1000"), |mut client, _| {
        let pid = client.pid().unwrap();
        client.submit(1, &[1, 2, 3, 4]).unwrap();
        client.flush(Instant::now());
        let why = death(&mut client);
        assert!(why.contains("broke its protocol"), "{why}");
        until("its end", || !exists(pid));
    });
}

#[test]
fn a_client_that_is_dropped_ends_its_renderer_however_much_it_talks() {
    for chatter in ["/bin/sleep 1000", "/usr/bin/yes warning", "/bin/cat /dev/zero"] {
        with(&format!("{READY} exec {chatter}"), |client, _| {
            let pid = client.pid().unwrap();
            assert!(runs(pid));
            drop(client);
            until("its end", || !exists(pid));
        });
    }
}

#[test]
fn a_start_that_fails_is_one_sentence() {
    let patience = Patience { start: Duration::from_millis(300), ..Patience::default() };
    let out = tempfile::tempdir().unwrap();
    for (what, launch, why) in [
        ("no program", Launch::new("/nowhere/phyllome-renderer".into()), "/nowhere/phyllome-renderer"),
        ("no executable", Launch::new("/etc/passwd".into()), "/etc/passwd"),
        ("an end at once", launch("exit 7", out.path()), "ended with code 7"),
        ("silence", launch("exec /bin/sleep 1000", out.path()), "did not get ready"),
        ("an excuse", launch(r"printf '\002\004oops' >&3; exec /bin/sleep 1000", out.path()), "oops"),
    ] {
        let error = leaking_nothing(|| start(launch, patience).err());
        assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{what}: {error:?}");
    }
}

#[test]
fn one_that_does_not_start_with_venus_is_started_without() {
    let out = tempfile::tempdir().unwrap();
    // The arguments that are added are the script's.
    let prepare = |script: &str, why: Option<String>| {
        let mut launch = launch(script, out.path());
        launch.arguments.push("sh".into());
        leaking_nothing(|| block_on(graphics::prepare_as(launch, None, why)).map(|client| client.lacks().to_vec()))
    };
    let picky = format!("test \"$*\" = '' || exit 7; {READY} exec /bin/sleep 1000");
    let lacks = prepare(&picky, None).unwrap();
    assert!(lacks.len() == 1 && lacks[0].contains("no Venus") && lacks[0].contains("ended with code 7"), "{lacks:?}");
    assert_eq!(prepare(&picky, Some("no Venus: why".into())).unwrap(), ["no Venus: why"]);
    let asked = format!("test \"$*\" = --venus || exit 7; {READY} exec /bin/sleep 1000");
    assert_eq!(prepare(&asked, None).unwrap(), [""; 0]);
    assert!(prepare("exit 7", None).unwrap_err().contains("ended with code 7"));
}
