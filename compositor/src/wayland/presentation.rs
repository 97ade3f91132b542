//! `wp_presentation`: when a picture was on the display. Feedback and frame callbacks go to what was shown and to
//! nothing else; a guest that is hidden waits, so that it costs nothing.

use super::client::{counted_dispatch, counted_global};
use super::things::Thing;
use smithay::output::Output;
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation::{self, WpPresentation};
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::{
    Kind, WpPresentationFeedback,
};
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::{SurfaceAttributes, with_states};
use smithay::wayland::presentation::{
    PresentationFeedbackCachedState, PresentationFeedbackCallback, PresentationFeedbackState, PresentationState,
    Refresh,
};
use std::time::Duration;

counted_global!(WpPresentation, u32 => PresentationState, Thing::Global);
counted_dispatch! {
    WpPresentation, u32 => PresentationState, makes |request| {
        matches!(request, wp_presentation::Request::Feedback { .. }).then_some(Thing::Presentation)
    };
    WpPresentationFeedback, () => PresentationFeedbackState;
}

/// One vblank.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// `CLOCK_MONOTONIC`.
    pub time: Duration,
    /// Between two vblanks.
    pub refresh: Duration,
    /// Counts vblanks.
    pub sequence: u64,
}

/// Who waits to hear that the picture that was committed last is on the display.
#[derive(Debug, Default)]
pub struct AwaitingFrame {
    callbacks: Vec<WlCallback>,
    feedback: Vec<PresentationFeedbackCallback>,
}

impl AwaitingFrame {
    /// Takes what waits on these surfaces.
    pub fn take(surfaces: &[WlSurface]) -> Self {
        let mut waiting = Self::default();
        for surface in surfaces {
            with_states(surface, |states| {
                let mut attributes = states.cached_state.get::<SurfaceAttributes>();
                waiting.callbacks.append(&mut attributes.current().frame_callbacks);
                drop(attributes);
                let mut feedback = states.cached_state.get::<PresentationFeedbackCachedState>();
                waiting.feedback.append(&mut feedback.current().callbacks);
            });
        }
        waiting
    }

    /// They are on `output` since `when`. `kind` says how sure that is.
    pub fn presented(self, output: &Output, when: Presented, kind: Kind) {
        for callback in self.feedback {
            callback.presented(output, when.time, Refresh::fixed(when.refresh), when.sequence, kind);
        }
        let milliseconds = when.time.as_millis() as u32;
        for callback in self.callbacks {
            callback.done(milliseconds);
        }
    }

    /// They never came onto a display. They may draw again all the same.
    pub fn discarded(self, time: Duration) {
        for callback in self.feedback {
            callback.discarded();
        }
        for callback in self.callbacks {
            callback.done(time.as_millis() as u32);
        }
    }
}
