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
        let started = thread("host").stack_size(256 << 10).spawn(move || look(&places, &news, &pressed));
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
fn end_of_battery() -> End {
    let yes = logind_call(&["CanSuspend"]).is_some_and(|said| said.trim() == "s \"yes\"");
    if yes { End::Suspend } else { End::Shutdown }
}

fn look(places: &Places, news: &channel::Sender<News>, wishes: &Wishes) {
    let (mut last, mut brink, mut end) = (Power::default(), Brink::default(), End::Shutdown);
    let mut next = Instant::now();
    loop {
        // Not at each step of a key that is held.
        if Instant::now() >= next {
            let readings = Readings::of(&places.sys, &places.disks);
            next = Instant::now() + if readings.has_battery() { WITH_BATTERY } else { WITHOUT };
            let falls = brink.falls(&readings);
            if falls {
                end = end_of_battery();
            }
            let mut power = readings.power(end);
            if !falls {
                power.end = None;
            }
            let mut told = power == last || news.send(News::Power(power.clone())).is_ok();
            if falls && end == End::Suspend && logind_call(&["Suspend", "b", "false"]).is_none() {
                end = End::Shutdown;
                power = readings.power(end);
                told = news.send(News::Power(power.clone())).is_ok();
            }
            if !told {
                return;
            }
            last = power;
        }
        match wishes.wait(next.saturating_duration_since(Instant::now())) {
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
    use super::notice::Sign;
    use super::*;
    use std::sync::mpsc::TryRecvError;

    #[test]
    fn the_thread_tells_what_the_kernel_says_and_ends_with_its_host() {
        let root = tempfile::tempdir().unwrap();
        let battery = root.path().join("class/power_supply/BAT0");
        std::fs::create_dir_all(&battery).unwrap();
        // Not so low that this computer were asked to sleep.
        for (file, text) in [("type", "Battery"), ("capacity", "4"), ("status", "Discharging")] {
            std::fs::write(battery.join(file), text).unwrap();
        }
        let (sender, news) = channel::channel();
        let places = Places { sys: root.path().to_owned(), disks: root.path().to_owned() };
        let wishes = Arc::new(Wishes::default());
        let host = Host { wishes: Some(wishes.clone()) };
        let thread = std::thread::spawn(move || look(&places, &sender, &wishes));
        let deadline = Instant::now() + Duration::from_secs(20);
        let told = loop {
            match news.try_recv() {
                Ok(told) => break told,
                Err(TryRecvError::Disconnected) => panic!("the thread has ended"),
                Err(TryRecvError::Empty) => assert!(Instant::now() < deadline, "waited in vain"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let News::Power(power) = told else { panic!("{told:?}") };
        let notice = Notice::new(Sign::Battery, "Battery at 4 %: plug it in now");
        assert_eq!(power, Power { notice: Some(notice), end: None });
        drop(host);
        thread.join().unwrap();
        assert!(matches!(news.try_recv(), Err(TryRecvError::Disconnected)), "told once");
    }
}
