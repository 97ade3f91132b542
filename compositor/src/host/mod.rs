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

use keys::HostKey;
use leaving::Leave;
use notice::Notice;
use power::{Power, Readings};
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

fn look(places: &Places, news: &channel::Sender<News>, wishes: &Wishes) {
    let mut last = Power::default();
    let mut next = Instant::now();
    loop {
        // Not at each step of a key that is held.
        if Instant::now() >= next {
            let readings = Readings::of(&places.sys, &places.disks);
            next = Instant::now() + if readings.has_battery() { WITH_BATTERY } else { WITHOUT };
            let power = readings.power();
            if power != last {
                last = power.clone();
                if news.send(News::Power(power)).is_err() {
                    return;
                }
            }
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
    use super::*;
    use std::sync::mpsc::TryRecvError;
    use std::time::Instant;

    #[test]
    fn the_thread_tells_what_the_kernel_says_once_and_ends_with_its_host() {
        let root = tempfile::tempdir().unwrap();
        let battery = root.path().join("class/power_supply/BAT0");
        std::fs::create_dir_all(&battery).unwrap();
        let write = |file: &str, text: &str| std::fs::write(battery.join(file), text).unwrap();
        for (file, text) in [("type", "Battery"), ("capacity", "4"), ("status", "Discharging")] {
            write(file, text);
        }
        let (sender, news) = channel::channel();
        let places = Places { sys: root.path().to_owned(), disks: root.path().to_owned() };
        let host = Host::start(places, sender).unwrap();
        let next = || {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                match news.try_recv() {
                    Ok(news) => return Some(news),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => assert!(Instant::now() < deadline, "waited in vain"),
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let says = |text: &str, over| Some(News::Power(Power { notice: Some(text.to_owned()), over }));
        assert_eq!(next(), says("Battery at 4 %: plug it in now", false));
        // Whatever wakes it, it looks again; what is as before is not told.
        host.press(HostKey::Radio);
        write("capacity", "3");
        host.press(HostKey::Radio);
        assert_eq!(next(), says("Battery at 3 %: guests are shut down", true));
        drop(host);
        assert_eq!(next(), None);
    }
}
