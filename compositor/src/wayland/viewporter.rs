//! `wp_viewporter`: a scanout that is a part of a larger resource. smithay keeps the state; [`super::content`] checks
//! and uses it.

use super::client::{counted_dispatch, counted_global};
use super::things::Thing;
use smithay::reexports::wayland_protocols::wp::viewporter::server::wp_viewport::WpViewport;
use smithay::reexports::wayland_protocols::wp::viewporter::server::wp_viewporter::{self, WpViewporter};
use smithay::wayland::viewporter::{ViewportState, ViewporterState};

counted_global!(WpViewporter, () => ViewporterState, Thing::Global);
counted_dispatch! {
    WpViewporter, () => ViewporterState, makes |request| {
        matches!(request, wp_viewporter::Request::GetViewport { .. }).then_some(Thing::Viewport)
    };
    WpViewport, ViewportState => ViewportState;
}
