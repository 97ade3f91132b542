//! What the computer itself has to say, in the bar of every output: what came of a key for a moment, and for as long as
//! it is so that the battery or the disk is at its end. When the battery is, guests get their power button.
//!
//! Keys and readings themselves are [`crate::host`]'s, on a thread of its own.

use crate::State;
use crate::host::notice::Notice;
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
    done: Option<(Notice, Instant)>,
    /// What stands for as long as it is so.
    lasting: Option<Notice>,
}

impl Computer {
    /// What hides all other lines for as long as it is said.
    pub(super) fn first(&self) -> Option<Notice> {
        self.done.as_ref().map(|(notice, _)| notice.clone())
    }

    /// What stands beside other lines.
    pub(super) fn lasting(&self) -> Option<Notice> {
        self.lasting.clone()
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
            News::Done(notice) => {
                self.shell.computer.done = Some((notice, now + SEEN));
                let over = self.later(SEEN, |state| {
                    state.shell.computer.done.take_if(|(_, until)| *until <= Instant::now());
                    state.queue_redraw();
                });
                if !over {
                    self.shell.computer.done = None;
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

    /// Does something a little later; whether it will be done.
    fn later(&mut self, time: Duration, what: impl Fn(&mut State) + 'static) -> bool {
        let timer = self.loop_handle.insert_source(Timer::from_duration(time), move |_, _, state: &mut State| {
            what(state);
            TimeoutAction::Drop
        });
        if let Err(error) = &timer {
            tracing::warn!("a line in the bar is not shown as long as it should be: {error}");
        }
        timer.is_ok()
    }
}
