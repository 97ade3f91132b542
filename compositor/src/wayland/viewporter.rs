//! `wp_viewporter`: a scanout that is a part of a larger resource. smithay keeps the state; [`super::content`] checks
//! and uses it.

use super::client::counted_dispatch;
use crate::State;
use smithay::reexports::wayland_protocols::wp::viewporter::server::wp_viewport::WpViewport;
use smithay::reexports::wayland_protocols::wp::viewporter::server::wp_viewporter::WpViewporter;
use smithay::wayland::viewporter::{ViewportState, ViewporterState};

smithay::reexports::wayland_server::delegate_global_dispatch!(State: [WpViewporter: ()] => ViewporterState);
counted_dispatch! {
    WpViewporter, () => ViewporterState;
    WpViewport, ViewportState => ViewportState;
}
