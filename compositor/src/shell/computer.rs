//! What the computer itself has to say, in the bar of every output: what came of a key for a moment, and for as long as
//! it is so that the battery or the disk is at its end. When the battery is, guests get their power button.
//!
//! Keys and readings themselves are [`crate::host`]'s, on a thread of its own.

use crate::State;
use crate::host::{Host, News, Places};
use phyllome_protocol::GuestVerb;
use phyllome_trusted::gate::{Asker, Verb};
use smithay::reexports::calloop::channel;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long what came of a key is seen.
const SEEN: Duration = Duration::from_millis(1500);

/// What is said of the computer.
#[derive(Debug, Default)]
pub(super) struct Computer {
    /// What came of a key, and until when it is seen.
    done: Option<(String, Instant)>,
    /// What stands for as long as it is so.
    lasting: Option<String>,
}

impl Computer {
    /// The line in the bar.
    pub(super) fn notice(&self) -> Option<&str> {
        self.done.as_ref().map(|(text, _)| text.as_str())
    }

    /// The line in the bar while nothing else has to be said.
    pub(super) fn lasting(&self) -> Option<&str> {
        self.lasting.as_deref()
    }
}

impl State {
    /// Heeds the computer's own keys, its battery and its disk from now on. In a window, or in memory, they are none of
    /// the shell's.
    pub(super) fn watch_computer(&mut self) {
        if !self.backend.is_display() {
            return;
        }
        let places = Places { sys: PathBuf::from("/sys"), disks: self.guests.disks_dir() };
        let (sender, news) = channel::channel();
        let heard = self.loop_handle.insert_source(news, |event, (), state: &mut State| match event {
            channel::Event::Msg(news) => state.hear_of_computer(news),
            channel::Event::Closed => {}
        });
        let started = heard.map_err(|error| error.to_string()).and_then(|_| Host::start(places, sender));
        match started {
            Ok(host) => self.host = host,
            Err(why) => tracing::warn!("{why}"),
        }
    }

    pub(crate) fn hear_of_computer(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Done(text) => {
                self.shell.computer.done = Some((text, now + SEEN));
                let timer = self.loop_handle.insert_source(Timer::from_duration(SEEN), |_, _, state: &mut State| {
                    state.shell.computer.done.take_if(|(_, until)| *until <= Instant::now());
                    state.queue_redraw();
                    TimeoutAction::Drop
                });
                if let Err(error) = timer {
                    self.shell.computer.done = None;
                    tracing::warn!("what came of a key is not shown: {error}");
                }
            }
            News::Power(power) => {
                self.shell.computer.lasting = power.notice;
                if power.over {
                    tracing::warn!("the battery is at its end: guests are shut down");
                    if let Err(why) = self.act(Verb::All(GuestVerb::Shutdown), Asker::Shell) {
                        tracing::warn!("{why}");
                    }
                }
            }
        }
        self.queue_redraw();
    }
}
