//! `wl_output`: the outputs as guests see them. They can look; there is nothing that they could change.

use super::client::{counted_dispatch, counted_global};
use super::things::Thing;
use crate::State;
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::output::{OutputHandler, OutputManagerState, OutputUserData, WlOutputData};

impl OutputHandler for State {
    fn output_bound(&mut self, _output: Output, _wl_output: WlOutput) {}
}

counted_global!(WlOutput, WlOutputData => OutputManagerState, Thing::Output);
counted_dispatch! {
    WlOutput, OutputUserData => OutputManagerState;
}
