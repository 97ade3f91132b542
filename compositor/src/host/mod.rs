//! The computer itself, as far as a person has to do with it while a guest fills the screen: keys for volume,
//! microphone and brightness, the battery, the room on the disk, and that it is about to sleep or to end.
//!
//! Files of the kernel, programs of the system and its bus may take their time: all is read, and done, on two threads
//! of their own, and the loop hears of it by a channel. Without a battery the one wakes every five minutes; the other
//! ([`logind`]) when it is told something. Both tell only what has changed.

mod brink;
pub mod keys;
pub mod leaving;
mod logind;
pub mod notice;
pub mod power;
mod wishes;

use brink::{Brink, Clock, Pace};
use keys::{HostKey, run};
use leaving::Leave;
use notice::Notice;
use power::{AtEnd, Power, Readings};
use smithay::reexports::calloop::channel;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wishes::{Wishes, Woken};

const PACE: Pace = Pace {
    battery: Duration::from_secs(30),
    rest: Duration::from_secs(300),
    recent: Duration::from_secs(1),
    doubt: Duration::from_secs(5),
    refused: Duration::from_secs(10),
    accepted: Duration::from_secs(60),
};

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
        let looks = move || look(&places, &news, &pressed, &PACE, Clock::slept, logind_call);
        let started = thread("host").stack_size(256 << 10).spawn(looks);
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

/// What can be done for a battery at its end.
fn end_of_battery(logind: impl Fn(&[&str]) -> Option<String>) -> AtEnd {
    let yes = logind(&["CanSuspend"]).is_some_and(|said| said.trim() == "s \"yes\"");
    if yes { AtEnd::Suspend } else { AtEnd::Shutdown }
}

/// `slept`: how long the computer has slept since it was started.
fn look(
    places: &Places,
    news: &channel::Sender<News>,
    wishes: &Wishes,
    pace: &Pace,
    slept: impl Fn() -> Duration,
    logind: impl Fn(&[&str]) -> Option<String>,
) {
    let (mut last, mut brink) = (None::<Notice>, Brink::default());
    let (mut looked, mut pause) = (None::<Instant>, pace.rest);
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= pace.recent) {
            let readings = Readings::of(&places.sys, &places.disks);
            let clock = Clock { now: Instant::now(), slept: slept() };
            looked = Some(clock.now);
            let end = brink.step(&readings, clock, pace).map(|due| match due {
                AtEnd::Suspend => end_of_battery(&logind),
                AtEnd::Shutdown => due,
            });
            if let Some(end) = end {
                brink.does(end);
            }
            let power = readings.power(brink.doing(), end);
            if (end.is_some() || power.notice != last) && news.send(News::Power(power.clone())).is_err() {
                return;
            }
            last = power.notice;
            if end == Some(AtEnd::Suspend) {
                let accepted = logind(&["Suspend", "b", "false"]).is_some();
                brink.sent(accepted, clock, Instant::now(), pace);
            }
            pause = brink.pause(&readings, Instant::now(), pace);
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
#[path = "look_tests.rs"]
mod tests;
