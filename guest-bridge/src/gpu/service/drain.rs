//! What becomes of the commands that the renderer has when the guest's queue stops.
//!
//! This is the only place where the device waits for its renderer, since QEMU waits for the queue at that moment. It
//! waits in slices, of which one at most passes while a frozen guest stands still.

use super::{Answered, Service, Status, Token};
use crate::still::RunningTime;
use std::time::{Duration, Instant};

/// How long a queue that stops waits for the renderer, and QEMU's whole main loop with it. Three times at most: a
/// renderer that takes longer is ended.
const DRAIN: Duration = Duration::from_secs(4);

impl Service {
    /// Waits, not for long, until the renderer has answered all that was forwarded: the driver may go on later, and
    /// must find every answer. A renderer that does not answer in time has failed and is ended: nothing touches the
    /// guest's pages any more then, and no command is said to be done that is not.
    ///
    /// QEMU waits for us now, so it will not answer what it is asked. Commands that wait for that stay with the device:
    /// a driver that goes on is answered when QEMU has said what became of them, and one that begins forgets them.
    pub(super) fn drain(&mut self) {
        let mut left = RunningTime::new(DRAIN);
        loop {
            let now = Instant::now();
            // Sends what was forwarded in this round of the device's, too: nobody answers what has not been sent.
            self.renderer_turn(now);
            self.answer_mappings(now);
            if !self.waits_for_renderer() {
                break;
            }
            let slice = left.slice();
            if slice.is_zero() || !self.device.wait_for_renderer(slice) {
                self.device.give_up_renderer(now, "the renderer did not answer before the guest's queue had to stop");
                self.renderer_turn(now);
                break;
            }
            left.spend(now.elapsed());
        }
        // Nobody is left who could answer these.
        let unanswered: Vec<Token> =
            self.forwarded.keys().copied().filter(|&token| !self.device.shmem.is_at_qemu(token)).collect();
        for token in unanswered {
            self.finish(token, Answered::Status(Status::ErrUnspec), Instant::now());
        }
    }

    fn waits_for_renderer(&self) -> bool {
        self.forwarded.keys().any(|&token| !self.device.shmem.is_at_qemu(token))
    }
}
