//! What the computer itself has to say, in the bar of every output: what came of a key for a moment; for as long as it
//! is so, that the battery or the disk is at its end, and that the computer is about to sleep or to end. When the
//! battery is at its end and the computer does not sleep, guests get their power button.
//!
//! Keys, readings and logind are [`crate::host`]'s, on threads of their own. Sleep waits until its line was seen.

use crate::State;
use crate::host::leaving::Leave;
use crate::host::notice::Notice;
use crate::host::power::{AtEnd, Power};
use crate::host::{Host, News, Places};
use crate::outputs::OutputId;
use phyllome_protocol::GuestVerb;
use phyllome_trusted::gate::{Asker, Verb};
use smithay::reexports::calloop::channel;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long what came of a key is seen.
const SEEN: Duration = Duration::from_millis(1500);
/// How long sleep waits for displays that show nothing new.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is said of the computer.
#[derive(Debug, Default)]
pub(super) struct Computer {
    /// What came of a key, and until when it is seen.
    done: Option<(Notice, Instant)>,
    /// What stands for as long as it is so.
    power: Power,
    leave: Option<Leave>,
    unseen: Option<Unseen>,
}

impl Computer {
    /// What hides all other lines for as long as it is said. `panel`: the keys that show all guests.
    pub(super) fn first(&self, panel: &str) -> Option<Notice> {
        let now = self.leave.filter(|leave| leave.is_now()).map(|leave| Notice::leave(leave, panel));
        now.or_else(|| self.done.as_ref().map(|(notice, _)| notice.clone()))
    }

    /// What stands beside other lines. A line that is too long is cut off at its end, so the last percents stand first.
    pub(super) fn lasting(&self, panel: &str) -> impl Iterator<Item = Notice> {
        let soon = self.leave.map(|leave| Notice::leave(leave, panel));
        let (power, urgent) = (&self.power.notice, self.power.urgent);
        let first = power.clone().filter(|_| urgent);
        let last = power.clone().filter(|_| !urgent);
        first.into_iter().chain(soon).chain(last)
    }

    fn let_go(&mut self, seen: impl FnOnce(&mut Unseen)) {
        if let Some(unseen) = &mut self.unseen {
            seen(unseen);
            self.unseen.take_if(|unseen| unseen.outputs.is_empty());
        }
    }
}

/// Keeps the computer from sleeping until each display has shown the line that says so.
#[derive(Debug)]
struct Unseen {
    /// Displays, and whether a frame with the line is on its way to them.
    outputs: BTreeMap<OutputId, bool>,
    _held: OwnedFd,
}

impl Computer {
    /// All that is to be said now is in a frame that is on its way to an output.
    pub(super) fn frame_drawn(&mut self, output: OutputId) {
        self.let_go(|unseen| {
            if let Some(drawn) = unseen.outputs.get_mut(&output) {
                *drawn = true;
            }
        });
    }

    /// An output shows the last frame that was drawn for it.
    pub(super) fn frame_shown(&mut self, output: OutputId) {
        self.let_go(|unseen| {
            if unseen.outputs.get(&output) == Some(&true) {
                unseen.outputs.remove(&output);
            }
        });
    }

    /// An output shows nothing.
    pub(super) fn frame_lost(&mut self, output: OutputId) {
        self.let_go(|unseen| {
            unseen.outputs.remove(&output);
        });
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
                let end = power.end;
                self.shell.computer.power = power;
                match end {
                    Some(AtEnd::Shutdown) => {
                        tracing::warn!("the battery is at its end: guests are shut down");
                        if let Err(why) = self.act(Verb::All(GuestVerb::Shutdown), Asker::Shell) {
                            tracing::warn!("{why}");
                        }
                    }
                    Some(AtEnd::Suspend) => tracing::warn!("the battery is at its end: the computer goes to sleep"),
                    None => {}
                }
            }
            News::Leaving(leave, held) => {
                self.shell.computer.leave = leave;
                let lit = !self.render.is_asleep();
                let outputs: BTreeMap<_, _> =
                    self.backend.outputs().iter().filter(|_| lit).map(|output| (output.id, false)).collect();
                self.shell.computer.unseen =
                    held.filter(|_| !outputs.is_empty()).map(|held| Unseen { outputs, _held: held });
                let waits = self.shell.computer.unseen.is_some();
                if waits && !self.later(PATIENCE, |state| state.shell.computer.unseen = None) {
                    self.shell.computer.unseen = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn sleep_waits_until_every_display_has_shown_its_line_and_not_an_older_frame() {
        let [one, two, three] = [(); 3].map(|()| OutputId::unique());
        let (mut held_up, held) = std::io::pipe().unwrap();
        let outputs = [one, two, three].map(|output| (output, false)).into();
        let unseen = Some(Unseen { outputs, _held: held.into() });
        let mut computer = Computer { unseen, ..Computer::default() };
        // A frame that was on its way before.
        computer.frame_shown(one);
        computer.frame_drawn(one);
        computer.frame_shown(one);
        computer.frame_lost(two);
        computer.frame_drawn(three);
        assert!(computer.unseen.is_some());
        computer.frame_shown(three);
        assert!(computer.unseen.is_none());
        assert_eq!(held_up.read(&mut [0]).unwrap(), 0, "it is let go");
    }
}
