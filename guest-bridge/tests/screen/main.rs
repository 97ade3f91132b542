//! The screen as a compositor sees it: against one that this test plays (exact requests, input, odd behaviour), and
//! against weston (real pixels).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod buffers;
mod compositor;
mod monitor;
mod picture;
mod protocol;
mod random;
mod rig;
mod scale;
mod seat;
mod trouble;
mod weston;

use compositor::{Compositor, Offer};
use rig::Rig;
use std::time::{Duration, Instant};

/// A hub and a played compositor, connected.
struct Stage {
    rig: Rig,
    compositor: Compositor,
}

impl Stage {
    /// Connected; the first window is there.
    async fn new(offer: Offer) -> Self {
        Self::with_scanouts(offer, 1).await
    }

    /// The same for a guest with several scanouts.
    async fn with_scanouts(offer: Offer, scanouts: u32) -> Self {
        let rig = Rig::with_scanouts(scanouts);
        let (compositor, stream) = Compositor::new(offer);
        rig.handle.attach(stream);
        let mut stage = Self { rig, compositor };
        stage.until("a window", |_, compositor| !compositor.state.windows.is_empty()).await;
        stage
    }

    async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Rig, &mut Compositor) -> bool) {
        let compositor = &mut self.compositor;
        self.rig
            .until(what, |rig| {
                compositor.pump();
                done(rig, compositor)
            })
            .await;
    }

    /// Until everything that was said is handled on both sides: nothing moves any more.
    async fn quiet(&mut self) {
        let mut last = (0, 0);
        let (mut since, mut rounds) = (Instant::now(), 0);
        self.until("silence", |rig, compositor| {
            let now = (rig.polls(), compositor.requests);
            if now != last {
                (last, since, rounds) = (now, Instant::now(), 0);
            }
            // On a busy machine time passes without anyone having had a turn.
            rounds += 1;
            since.elapsed() > Duration::from_millis(60) && rounds > 20
        })
        .await;
    }

    /// A flush that is shown and answered.
    async fn show(&mut self, id: u32, damage: &[phyllome_guest_bridge::frames::Rect]) {
        let before = self.compositor.shown().len();
        let serial = self.rig.flush(id, damage).await;
        self.until("the picture's commit", |_, compositor| compositor.shown().len() > before).await;
        self.until("its answer", |rig, compositor| {
            compositor.frame();
            rig.presented(serial)
        })
        .await;
    }
}
