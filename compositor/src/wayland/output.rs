//! `wl_output`: the outputs as guests see them. They can look; there is nothing that they could change.

use super::client::counted_dispatch;
use crate::State;
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::output::{OutputHandler, OutputManagerState, OutputUserData, WlOutputData};

impl OutputHandler for State {
    fn output_bound(&mut self, _output: Output, _wl_output: WlOutput) {}
}

smithay::reexports::wayland_server::delegate_global_dispatch!(State: [WlOutput: WlOutputData] => OutputManagerState);
counted_dispatch! {
    WlOutput, OutputUserData => OutputManagerState;
}
