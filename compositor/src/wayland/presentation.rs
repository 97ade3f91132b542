//! `wp_presentation`: when a picture was on the display. Feedback and frame callbacks go to what was shown and to nothing else;
//! a guest that is hidden waits, so that it costs nothing.

use super::client::counted_dispatch;
use crate::State;
use smithay::output::Output;
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation::WpPresentation;
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::{
    Kind, WpPresentationFeedback,
};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::{SurfaceAttributes, with_states};
use smithay::wayland::presentation::{
    PresentationFeedbackCachedState, PresentationFeedbackState, PresentationState, Refresh,
};
use std::time::Duration;

smithay::reexports::wayland_server::delegate_global_dispatch!(State: [WpPresentation: u32] => PresentationState);
counted_dispatch! {
    WpPresentation, u32 => PresentationState;
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

/// Tells the client of `surface` that what it had committed is on `output` since `when`.
pub fn tell_presented(surface: &WlSurface, output: &Output, when: Presented) {
    let (callbacks, feedback) = with_states(surface, |states| {
        let callbacks = std::mem::take(&mut states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks);
        let feedback =
            std::mem::take(&mut states.cached_state.get::<PresentationFeedbackCachedState>().current().callbacks);
        (callbacks, feedback)
    });
    for callback in feedback {
        callback.presented(output, when.time, Refresh::fixed(when.refresh), when.sequence, Kind::Vsync);
    }
    let milliseconds = when.time.as_millis() as u32;
    for callback in callbacks {
        callback.done(milliseconds);
    }
}
