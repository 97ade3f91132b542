//! The computer itself, as far as a person has to do with it while a guest fills the screen: keys for volume,
//! microphone and brightness, the battery, the room on the disk, and that it is about to sleep or to end.
//!
//! Files of the kernel, programs of the system and its bus may take their time: all is read, and done, on two threads
//! of their own, and the loop hears of it by a channel. Without a battery the one wakes every five minutes; the other
//! ([`logind`]) when it is told something. Both tell only what has changed.

pub mod keys;
pub mod leaving;
mod logind;
pub mod notice;
pub mod power;
mod wishes;

use keys::{HostKey, run};
use leaving::Leave;
use notice::Notice;
use power::{Brink, End, Power, Readings};
use smithay::reexports::calloop::channel;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wishes::{Wishes, Woken};

/// How often a battery is looked at.
const WITH_BATTERY: Duration = Duration::from_secs(30);
/// How often the rest is.
const WITHOUT: Duration = Duration::from_secs(300);
/// Nothing is looked at again before: not at each step of a key that is held.
const RECENT: Duration = Duration::from_secs(1);

/// What the threads tell.
#[derive(Debug)]
pub enum News {
    /// What came of a key, to be seen for a moment.
    Done(Notice),
    /// How power and disk are, whenever that has changed.
    Power(Power),
    /// Whether the computer is about to sleep or to end, and what holds it up until it is closed.
    Leaving(Option<Leave>, Option<OwnedFd>),
}

/// Where the threads look.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/sys`.
    pub sys: PathBuf,
    /// A folder on the disk that guests' disks are on.
    pub disks: PathBuf,
}

/// The threads, for as long as this is kept.
#[derive(Debug, Default)]
pub struct Host {
    wishes: Option<Arc<Wishes>>,
}

impl Host {
    /// Starts the threads, which tell `news`. The error is a sentence.
    pub fn start(places: Places, news: channel::Sender<News>) -> Result<Self, String> {
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let wishes = Arc::new(Wishes::default());
        let (pressed, of_bus) = (wishes.clone(), news.clone());
        let started = thread("host").stack_size(256 << 10).spawn(move || look(&places, &news, &pressed, logind_call));
        started.map_err(|error| format!("keys of the computer and its battery are not heeded: {error}"))?;
        if let Err(error) = thread("logind").spawn(move || logind::watch(&of_bus)) {
            tracing::warn!("that the computer is about to sleep or to end will not be said: {error}");
        }
        Ok(Self { wishes: Some(wishes) })
    }

    /// Without a thread: what is pressed can be read from the other end.
    #[cfg(test)]
    pub(crate) fn fake() -> (Self, Arc<Wishes>) {
        let wishes = Arc::new(Wishes::default());
        (Self { wishes: Some(wishes.clone()) }, wishes)
    }

    /// The key of this code (evdev), if there is a thread that heeds it.
    pub fn key(&self, code: u32) -> Option<HostKey> {
        self.wishes.as_ref().and(HostKey::of(code))
    }

    /// Carries out a key, a little later, and one after the other.
    pub fn press(&self, key: HostKey) {
        if let Some(wishes) = &self.wishes {
            wishes.add(key);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(wishes) = &self.wishes {
            wishes.end();
        }
    }
}

/// One call of logind's manager, without asking anybody; what it answers.
fn logind_call(what: &[&str]) -> Option<String> {
    let call = ["busctl", "--system", "call", logind::NAME, logind::PATH, logind::MANAGER];
    run(&[&call, what].concat())
}

/// What is done for a battery at its end.
fn end_of_battery(logind: impl Fn(&[&str]) -> Option<String>) -> End {
    let yes = logind(&["CanSuspend"]).is_some_and(|said| said.trim() == "s \"yes\"");
    if yes { End::Suspend } else { End::Shutdown }
}

fn look(places: &Places, news: &channel::Sender<News>, wishes: &Wishes, logind: impl Fn(&[&str]) -> Option<String>) {
    let (mut last, mut brink, mut end) = (None::<Notice>, Brink::default(), End::Shutdown);
    let (mut looked, mut pause) = (None::<Instant>, WITHOUT);
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= RECENT) {
            let readings = Readings::of(&places.sys, &places.disks);
            looked = Some(Instant::now());
            pause = if readings.has_battery() { WITH_BATTERY } else { WITHOUT };
            let falls = brink.falls(&readings);
            if falls {
                end = end_of_battery(&logind);
            }
            let mut power = readings.power(end);
            if !falls {
                power.end = None;
            }
            let is_new = power.end.is_some() || power.notice != last;
            let mut told = !is_new || news.send(News::Power(power.clone())).is_ok();
            if falls && end == End::Suspend && logind(&["Suspend", "b", "false"]).is_none() {
                end = End::Shutdown;
                power = readings.power(end);
                told = news.send(News::Power(power.clone())).is_ok();
            }
            if !told {
                return;
            }
            last = power.notice;
        }
        match wishes.wait(pause.saturating_sub(looked.map(|looked| looked.elapsed()).unwrap_or_default())) {
            Woken::Key(key) => {
                if let Some(done) = key.carry_out(&places.sys)
                    && news.send(News::Done(done)).is_err()
                {
                    return;
                }
            }
            Woken::Late => {}
            Woken::Over => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc::TryRecvError;

    #[test]
    fn the_thread_tells_what_the_kernel_says_once_asks_logind_at_the_end_of_a_battery_and_ends_with_its_host() {
        let root = tempfile::tempdir().unwrap();
        let battery = root.path().join("class/power_supply/BAT0");
        std::fs::create_dir_all(&battery).unwrap();
        // As the kernel's files, never half.
        let write = |file: &str, text: &str| {
            std::fs::write(root.path().join("new"), text).unwrap();
            std::fs::rename(root.path().join("new"), battery.join(file)).unwrap();
        };
        for (file, text) in [("type", "Battery"), ("capacity", "4"), ("status", "Discharging")] {
            write(file, text);
        }
        let places = Places { sys: root.path().to_owned(), disks: root.path().to_owned() };
        let (sender, news) = channel::channel();
        let (host, wishes) = Host::fake();
        // It says that it can, and then refuses.
        let thread = std::thread::spawn(move || {
            let asked = RefCell::new(Vec::new());
            let logind = |what: &[&str]| {
                asked.borrow_mut().push(what.join(" "));
                (what == ["CanSuspend"]).then(|| "s \"yes\"\n".to_owned())
            };
            look(&places, &sender, &wishes, logind);
            asked.into_inner()
        });
        let next = || {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                match news.try_recv() {
                    Ok(News::Power(power)) => return power.notice.map(|notice| (notice.text, power.end)),
                    Ok(other) => panic!("{other:?}"),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => assert!(Instant::now() < deadline, "waited in vain"),
                }
                // Whatever wakes it, it looks again; what is as before is not told.
                host.press(HostKey::Radio);
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let says = |text: &str, end| Some((text.to_owned(), end));
        assert_eq!(next(), says("Battery at 4 %: plug it in now", None));
        write("capacity", "3");
        assert_eq!(next(), says("Battery at 3 %: the computer goes to sleep. Plug it in", Some(End::Suspend)));
        assert_eq!(next(), says("Battery at 3 %: guests are shut down. Plug it in", Some(End::Shutdown)));
        drop(host);
        assert_eq!(thread.join().unwrap(), ["CanSuspend", "Suspend b false"]);
        assert!(matches!(news.try_recv(), Err(TryRecvError::Disconnected)), "told once");
    }
}
