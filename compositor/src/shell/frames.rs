//! What the displays show of what the shell has to say, told by whoever draws: a face and a card hear nothing before
//! they were seen for a moment ([`Deaf`]), and sleep waits for its line in the bar.
//!
//! [`Deaf`]: phyllome_trusted::deaf::Deaf

use super::Shell;
use crate::outputs::OutputId;
use phyllome_trusted::frame::owner::Inside;
use std::time::Instant;

impl Shell {
    /// All that is to be said now is in a frame that is on its way to this output, which is number `index`.
    pub(crate) fn frame_drawn(&mut self, output: OutputId, index: usize) {
        match self.around(index).1 {
            Inside::Face if !self.locked => self.faces.frames(|deaf| deaf.drawn(output)),
            Inside::Guest
                if self.places().get(index).and_then(|place| place.guest.as_ref()) == self.focus.focused() =>
            {
                if let Some(deaf) = &mut self.card_deaf {
                    deaf.drawn(output);
                }
            }
            Inside::Face | Inside::Elsewhere | Inside::Guest | Inside::Nobody => {}
        }
        self.computer.frame_drawn(output);
    }

    /// An output shows the last frame that was drawn for it, from `now` on.
    pub(crate) fn frame_shown(&mut self, output: OutputId, now: Instant) {
        let now = self.clock(now);
        self.faces.frames(|deaf| deaf.shown(output, now));
        if let Some(deaf) = &mut self.card_deaf {
            deaf.shown(output, now);
        }
        self.computer.frame_shown(output);
    }

    /// An output shows nothing of the last frame that was drawn for it.
    pub(crate) fn frame_lost(&mut self, output: OutputId) {
        self.faces.frames(|deaf| deaf.lost(output));
        if let Some(deaf) = &mut self.card_deaf {
            deaf.lost(output);
        }
        self.computer.frame_lost(output);
    }

    /// Whether what has the keys counts what the person does at `now`.
    pub(crate) fn hears(&self, now: Instant) -> bool {
        let now = self.clock(now);
        match &self.card_deaf {
            Some(deaf) if self.card_has_keys() => deaf.hears(now),
            Some(_) | None => self.faces.hear(now),
        }
    }

    /// Time as deafness counts it.
    pub(super) fn clock(&self, now: Instant) -> Instant {
        #[cfg(test)]
        let now = self.clock.unwrap_or(now);
        now
    }

    /// From now on the clock stands still, so much later than it is, or stood.
    #[cfg(test)]
    pub(crate) fn pass(&mut self, by: std::time::Duration) {
        self.clock = Some(self.clock(Instant::now()) + by);
    }
}
