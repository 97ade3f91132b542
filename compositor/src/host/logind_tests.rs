//! What is told of a logind that is played, on a real bus.

use super::super::leaving::Leave;
use super::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const SOON: Duration = Duration::from_secs(20);

/// A bus for as long as this is kept.
struct Bus(Child, String);

impl Bus {
    fn start(folder: &Path) -> Option<Self> {
        let mut daemon = Command::new("dbus-daemon");
        daemon.args(["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        daemon.arg(format!("--address=unix:path={}", folder.join("bus").display()));
        let mut child = daemon.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut address).ok()?;
        Some(Self(child, address.trim().to_owned()))
    }
}

async fn connect(address: &str) -> Connection {
    zbus::connection::Builder::address(address).unwrap().build().await.unwrap()
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Played: the shutdown that is planned, and what holds sleep up.
#[derive(Clone, Default)]
struct Logind {
    planned: Arc<Mutex<(String, u64)>>,
    held: Arc<Mutex<Vec<PipeReader>>>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: &str, _who: &str, _why: &str, mode: &str) -> zvariant::OwnedFd {
        assert_eq!((what, mode), ("sleep:shutdown", "delay"));
        let (reader, writer) = std::io::pipe().unwrap();
        self.held.lock().unwrap().push(reader);
        OwnedFd::from(writer).into()
    }

    #[zbus(property)]
    fn scheduled_shutdown(&self) -> (String, u64) {
        self.planned.lock().unwrap().clone()
    }
}

impl Logind {
    /// Waits until sleep was held up so often, all in all.
    fn wait_held(&self, times: usize) {
        let until = Instant::now() + SOON;
        while self.held.lock().unwrap().len() < times {
            assert!(Instant::now() < until, "sleep is not held up");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether sleep was held up by what was told, and is not once that is closed.
    fn lets_go(&self, time: usize, held: Option<OwnedFd>) -> bool {
        let mut held_up = self.held.lock().unwrap();
        let ended = |reader: &PipeReader| {
            let mut ask = [PollFd::new(reader, PollFlags::IN)];
            let waited = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut ask, Some(&waited)).unwrap() > 0
        };
        let before = ended(&held_up[time]);
        drop(held.unwrap());
        !before && held_up[time].read(&mut [0]).unwrap() == 0
    }

    fn plan(&self, run: &Path, kind: &str, at: u64) {
        *self.planned.lock().unwrap() = (kind.to_owned(), at);
        let file = run.join("shutdown/scheduled");
        if kind.is_empty() {
            std::fs::remove_file(file).unwrap();
        } else {
            std::fs::create_dir_all(run.join("shutdown")).unwrap();
            std::fs::write(run.join("shutdown/.new"), format!("USEC={at}\n")).unwrap();
            std::fs::rename(run.join("shutdown/.new"), file).unwrap();
        }
    }
}

fn told(news: &Receiver<News>) -> (Option<Leave>, Option<OwnedFd>) {
    match news.recv_timeout(SOON) {
        Ok(News::Leaving(leave, held)) => (leave, held),
        other => panic!("{other:?}"),
    }
}

/// What logind is to say: a signal, and whether what it is about starts.
type Say = (&'static str, bool);

/// Serves the bus's clients until nobody can ask for a signal any more.
fn serve(bus: &str, logind: Logind, mut says: UnboundedReceiver<Say>, ready: &Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = connect(bus).await;
        server.object_server().at(PATH, logind).await.unwrap();
        server.request_name(NAME).await.unwrap();
        ready.send(()).unwrap();
        while let Some((signal, starts)) = says.recv().await {
            server.emit_signal(None::<&str>, PATH, MANAGER, signal, &starts).await.unwrap();
        }
    });
}

#[test]
fn what_logind_says_is_told_and_sleep_waits_until_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let Some(bus) = Bus::start(folder.path()) else {
        println!("SKIPPED: what_logind_says_is_told_and_sleep_waits_until_it_was_seen: no dbus-daemon");
        return;
    };
    let logind = Logind::default();
    let (say, says) = unbounded_channel();
    let (ready, is_ready) = channel();
    let (tell, news) = channel();
    // Neither thread is waited for without a deadline; both end with the bus.
    let (address, played) = (bus.1.clone(), logind.clone());
    std::thread::spawn(move || serve(&address, played, says, &ready));
    is_ready.recv_timeout(SOON).unwrap();
    let (ended, heard) = channel();
    let (address, watched) = (bus.1.clone(), run.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = runtime.block_on(async {
            let bus = connect(&address).await;
            listen(&bus, &watched, move |news| tell.send(news).is_ok()).await
        });
        let _ = ended.send(end);
    });
    let minutes = |minutes: u64| (now() + Duration::from_secs(minutes * 60 - 10)).as_micros() as u64;
    // It listens from then on.
    logind.wait_held(1);

    logind.plan(&run, "reboot", minutes(3));
    assert_eq!(told(&news).0, Some(Leave::Soon { restart: true, minutes: 3 }));
    logind.plan(&run, "poweroff", minutes(2));
    assert_eq!(told(&news).0, Some(Leave::Soon { restart: false, minutes: 2 }));

    say.send(("PrepareForSleep", true)).unwrap();
    let (leave, held) = told(&news);
    assert_eq!((leave, logind.lets_go(0, held)), (Some(Leave::Sleep), true));
    say.send(("PrepareForSleep", false)).unwrap();
    assert_eq!(told(&news).0, Some(Leave::Soon { restart: false, minutes: 2 }));
    logind.wait_held(2);

    logind.plan(&run, "", 0);
    assert_eq!(told(&news).0, None);
    say.send(("PrepareForShutdown", true)).unwrap();
    let (leave, held) = told(&news);
    assert_eq!((leave, logind.lets_go(1, held)), (Some(Leave::End), true));

    drop(news);
    say.send(("PrepareForShutdown", false)).unwrap();
    assert!(heard.recv_timeout(SOON).unwrap().is_ok(), "it ends when nobody hears it");
}
