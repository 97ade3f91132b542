//! Outputs came, went or changed: what follows from it for guests and pictures, the same for every backend.

use crate::State;
use crate::outputs::Output;
use crate::wayland::screens::Areas;
use phyllome_protocol::GuestName;

impl State {
    /// To be called after the backend's outputs came, went or changed. With no output left guests keep the sizes that
    /// they have.
    pub fn outputs_changed(&mut self) {
        self.backend.arrange(&mut self.displays);
        let owners = self.output_owners();
        self.shell.set_owners(owners.clone());
        let mut areas = Areas::default();
        for (owner, output) in owners.into_iter().zip(self.backend.outputs()) {
            match owner {
                Some(name) => areas.owned.entry(name).or_default().push(output.area_size()),
                None => areas.free.push(output.area_size()),
            }
        }
        if areas.free.is_empty() {
            // The first output yields to a guest that has none.
            areas.free.extend(self.backend.outputs().first().map(|output| output.area_size()));
        }
        if !areas.free.is_empty() {
            self.protocols.screens.set_areas(areas);
        }
        self.sync_focus();
        self.reset_frames();
    }

    /// The guest that each output belongs to.
    pub(crate) fn output_owners(&self) -> Vec<Option<GuestName>> {
        let owner = |output: &Output| self.displays.of(output).and_then(|settings| settings.guest.clone());
        self.backend
            .outputs()
            .iter()
            .map(|output| owner(output).filter(|name| self.shell.guest(name).is_some()))
            .collect()
    }
}
