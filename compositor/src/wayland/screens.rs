//! Which surface is which scanout of which guest, and what every surface shows.
//!
//! A toplevel is a scanout if its app_id says `phyllome.scanout.N`; whose scanout follows from the connection. Every
//! other surface is accepted and never shown. If a guest makes the same scanout twice, the newest counts.

use super::client::owner_of;
use super::content::Content;
use super::ids::Table;
use super::quota::{MAX_CONFIGURES, may_be_drawn};
use super::xdg_shell::unacknowledged;
use crate::wayland::mapped::Mapping;
use phyllome_protocol::{GuestName, ScanoutId};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::ObjectId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::{BufferAssignment, SurfaceAttributes, with_states};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::shell::xdg::{ToplevelSurface, XdgToplevelSurfaceData};
use std::collections::BTreeMap;
use std::rc::Rc;

const SCANOUT_PREFIX: &str = "phyllome.scanout.";

/// Toplevels and contents of every guest.
#[derive(Debug, Default)]
pub struct Screens {
    toplevels: Vec<Toplevel>,
    contents: Table<ObjectId, Content>,
    /// Buffers that the processor reads because the renderer cannot.
    mapped: Table<ObjectId, Rc<Mapping>>,
    /// Buffers whose pixels are with a host, and the driver that alone reaches them.
    elsewhere: Table<ObjectId, String>,
    /// The driver whose pixels with its host the renderer reaches.
    reaches: Option<String>,
    /// A picture was found to be unreadable since this was last asked.
    unreadable: bool,
    /// A frame was drawn without all that there was to upload.
    postponed: bool,
    /// How many were so far.
    #[cfg(test)]
    pub(crate) postponements: u32,
    areas: Areas,
}

/// Sizes that scanouts are told to have, in physical pixels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// Of the outputs that belong to nobody, in order.
    pub free: Vec<(u32, u32)>,
    /// Of the outputs of each guest that has some.
    pub owned: BTreeMap<GuestName, Vec<(u32, u32)>>,
}

impl Areas {
    /// The size for a scanout of `guest`; `None` if it lies on no output. That of a toplevel that is none is the
    /// first's.
    pub fn of(&self, guest: &GuestName, scanout: Option<ScanoutId>) -> Option<(u32, u32)> {
        let areas = self.owned.get(guest).unwrap_or(&self.free);
        areas.get(scanout.map_or(0, |scanout| scanout.get() as usize)).copied()
    }

    /// The largest of the sizes that a scanout of `guest` may have.
    pub fn largest(&self, guest: &GuestName) -> (u32, u32) {
        let areas = self.owned.get(guest).unwrap_or(&self.free);
        areas.iter().copied().max_by_key(|(width, height)| u64::from(*width) * u64::from(*height)).unwrap_or((0, 0))
    }
}

#[derive(Debug)]
struct Toplevel {
    guest: GuestName,
    scanout: Option<ScanoutId>,
    surface: ToplevelSurface,
}

/// The scanout that an app_id names.
fn scanout_of(app_id: &str) -> Option<ScanoutId> {
    let digits = app_id.strip_prefix(SCANOUT_PREFIX)?;
    let plain = digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit());
    ScanoutId::new(digits.parse().ok().filter(|_| plain)?)
}

impl Screens {
    /// Tells every scanout the size of the guest's area on its output, or that it has none.
    pub fn set_areas(&mut self, areas: Areas) {
        if self.areas == areas {
            return;
        }
        self.areas = areas;
        for toplevel in &self.toplevels {
            if toplevel.surface.is_initial_configure_sent() {
                prepare_configure(&toplevel.surface, self.areas.of(&toplevel.guest, toplevel.scanout));
                tell(&toplevel.surface);
            }
        }
    }

    /// A toplevel has acknowledged a configure: it is told what could not be told until then.
    pub fn acknowledged(&self, surface: &WlSurface) {
        if let Some(toplevel) = self.toplevels.iter().find(|t| t.surface.wl_surface() == surface) {
            tell(&toplevel.surface);
        }
    }

    /// The size for the first scanout of `guest`, in physical pixels.
    pub fn area(&self, guest: &GuestName) -> (u32, u32) {
        self.areas.of(guest, None).unwrap_or((0, 0))
    }

    /// A guest made a toplevel.
    pub fn add(&mut self, surface: ToplevelSurface) {
        if let Some(guest) = owner_of(surface.wl_surface()) {
            self.toplevels.push(Toplevel { guest, scanout: None, surface });
        }
    }

    /// A toplevel is gone. Returns whether it was a scanout.
    pub fn remove(&mut self, surface: &ToplevelSurface) -> bool {
        let scanout = self.toplevels.iter().any(|t| t.surface == *surface && t.scanout.is_some());
        self.toplevels.retain(|t| t.surface != *surface);
        self.contents.remove(&surface.wl_surface().id());
        scanout
    }

    /// A toplevel said what it is. Only the first app_id that names a scanout counts.
    pub fn name(&mut self, surface: &ToplevelSurface) {
        let app_id = with_states(surface.wl_surface(), |states| {
            let data = states.data_map.get::<XdgToplevelSurfaceData>()?;
            data.lock().ok()?.app_id.clone()
        });
        let scanout = app_id.as_deref().and_then(scanout_of);
        if let Some(toplevel) = self.toplevels.iter_mut().find(|t| t.surface == *surface)
            && toplevel.scanout.is_none()
        {
            toplevel.scanout = scanout;
            if scanout.is_some() && toplevel.surface.is_initial_configure_sent() {
                prepare_configure(&toplevel.surface, self.areas.of(&toplevel.guest, scanout));
                tell(&toplevel.surface);
            }
        }
    }

    /// Sends the first configure if `surface` is a toplevel that waits for it. `false`: the surface broke the
    /// protocol's order and its client is being disconnected.
    pub fn configure_if_new(&mut self, surface: &WlSurface) -> bool {
        let Some(toplevel) = self.toplevels.iter().find(|t| t.surface.wl_surface() == surface) else { return true };
        if !toplevel.surface.is_initial_configure_sent() {
            prepare_configure(&toplevel.surface, self.areas.of(&toplevel.guest, toplevel.scanout));
            toplevel.surface.send_configure();
            return true;
        }
        // Until the configure is acknowledged anything but a picture may be committed.
        let brings_picture = with_states(surface, |states| {
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            matches!(attributes.current().buffer, Some(BufferAssignment::NewBuffer(_)))
        });
        !brings_picture || toplevel.surface.ensure_configured()
    }

    /// Takes over what a commit of `surface` brought.
    pub fn update_content(&mut self, surface: &WlSurface) {
        let id = surface.id();
        let mut content = self.contents.remove(&id);
        let before = content.as_ref().map(|content| (content.id.clone(), content.serial));
        with_states(surface, |states| Content::update(&mut content, states));
        if let Some(mut content) = content {
            if before.is_none_or(|(id, serial)| id != content.id || serial != content.serial) {
                content.mapping = self.mapped.get(&content.buffer.id()).cloned();
                let copied = content.mapping.is_some() || get_dmabuf(&content.buffer).is_err();
                let size = (content.size.w.unsigned_abs(), content.size.h.unsigned_abs());
                let area = owner_of(surface).map_or((0, 0), |guest| self.areas.largest(&guest));
                let reached = is_reached(&self.elsewhere, self.reaches.as_deref(), &content);
                content.unreadable = !reached || !may_be_drawn(size, copied, area);
            }
            self.contents.insert(id, content);
        }
    }

    /// The renderer could not read what `surface` shows; its message is to be shown instead.
    pub fn note_unreadable(&mut self, surface: &WlSurface) {
        if let Some(content) = self.contents.get_mut(&surface.id()) {
            self.unreadable |= !std::mem::replace(&mut content.unreadable, true);
        }
    }

    /// Whether a picture was found to be unreadable since this was last asked.
    pub fn take_unreadable(&mut self) -> bool {
        std::mem::take(&mut self.unreadable)
    }

    /// Something of a frame is to be uploaded with the next.
    pub fn note_postponed(&mut self) {
        self.postponed = true;
        #[cfg(test)]
        {
            self.postponements += 1;
        }
    }

    /// Whether something is to be uploaded with the next frame of the output that was drawn last.
    pub fn take_postponed(&mut self) -> bool {
        std::mem::take(&mut self.postponed)
    }

    /// The processor is to read this buffer.
    pub fn map_buffer(&mut self, buffer: &WlBuffer, mapping: Mapping) {
        self.mapped.insert(buffer.id(), Rc::new(mapping));
    }

    /// The pixels of this buffer are with a host, and this driver alone reaches them.
    pub fn note_elsewhere(&mut self, buffer: &WlBuffer, driver: String) {
        self.elsewhere.insert(buffer.id(), driver);
    }

    /// The renderer reaches the pixels of this driver from now on, and no other's that are with a host.
    pub fn set_reaches(&mut self, driver: Option<&str>) {
        if self.reaches.as_deref() == driver {
            return;
        }
        self.reaches = driver.map(str::to_owned);
        for content in self.contents.values_mut() {
            if !is_reached(&self.elsewhere, driver, content) {
                self.unreadable |= !std::mem::replace(&mut content.unreadable, true);
            }
        }
    }

    /// A buffer is gone. What is shown of it stays until another takes its place.
    pub fn forget_buffer(&mut self, buffer: &WlBuffer) {
        self.mapped.remove(&buffer.id());
        self.elsewhere.remove(&buffer.id());
    }

    /// Forgets a surface that is gone.
    pub fn forget_surface(&mut self, surface: &WlSurface) {
        self.contents.remove(&surface.id());
        self.toplevels.retain(|t| t.surface.wl_surface() != surface);
    }

    /// Forgets everything of a guest.
    pub fn forget_guest(&mut self, guest: &GuestName) {
        let gone: Vec<ObjectId> = self
            .contents
            .keys()
            .filter(|id| self.toplevels.iter().any(|t| t.guest == *guest && t.surface.wl_surface().id() == **id))
            .cloned()
            .collect();
        for id in gone {
            self.contents.remove(&id);
        }
        self.toplevels.retain(|t| t.guest != *guest);
    }

    /// The surface of a scanout, if it shows something.
    pub fn scanout(&self, guest: &GuestName, scanout: ScanoutId) -> Option<&WlSurface> {
        self.toplevels
            .iter()
            .rev()
            .filter(|t| t.guest == *guest && t.scanout == Some(scanout))
            .map(|t| t.surface.wl_surface())
            .find(|surface| self.contents.contains_key(&surface.id()))
    }

    /// Whether a guest has this scanout, with a picture or without.
    pub fn has_scanout(&self, guest: &GuestName, scanout: ScanoutId) -> bool {
        self.toplevels.iter().any(|t| t.guest == *guest && t.scanout == Some(scanout))
    }

    /// The surface that a guest's keys go to: its first scanout that has a toplevel, whether or not it shows something
    /// yet.
    pub fn keyboard_surface(&self, guest: &GuestName) -> Option<&WlSurface> {
        self.toplevels
            .iter()
            .rev()
            .filter(|t| t.guest == *guest)
            .filter_map(|t| t.scanout.map(|scanout| (scanout, t.surface.wl_surface())))
            .min_by_key(|(scanout, _)| *scanout)
            .map(|(_, surface)| surface)
    }

    /// Whether `surface` is a scanout of a guest.
    pub fn is_scanout(&self, surface: &WlSurface) -> bool {
        self.toplevels.iter().any(|t| t.scanout.is_some() && t.surface.wl_surface() == surface)
    }

    /// What `surface` shows.
    pub fn content(&self, surface: &WlSurface) -> Option<&Content> {
        self.contents.get(&surface.id())
    }

    /// What `surface` shows, for a renderer that notes what it has copied.
    pub fn content_mut(&mut self, surface: &WlSurface) -> Option<&mut Content> {
        self.contents.get_mut(&surface.id())
    }
}

/// Whether what is shown is reached by a renderer that reaches the pixels of `driver`.
fn is_reached(elsewhere: &Table<ObjectId, String>, driver: Option<&str>, content: &Content) -> bool {
    elsewhere.get(&content.buffer.id()).is_none_or(|only| Some(only.as_str()) == driver)
}

/// Sends what has changed since the last configure, if the toplevel has not left too many unacknowledged: smithay 0.7.0
/// keeps each until then, and a guest may have been stopped while outputs come and go.
fn tell(surface: &ToplevelSurface) {
    if unacknowledged(surface) < MAX_CONFIGURES {
        surface.send_pending_configure();
    }
}

/// A scanout without an output has no size and is suspended: so phyllome-guest knows that no monitor is plugged in
/// there.
fn prepare_configure(surface: &ToplevelSurface, area: Option<(u32, u32)>) {
    use xdg_toplevel::State::{Activated, Fullscreen, Suspended};
    let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX).max(1);
    surface.with_pending_state(|state| {
        state.size = area.map(|(width, height)| (extent(width), extent(height)).into());
        for (which, shown) in [(Fullscreen, true), (Activated, true), (Suspended, false)] {
            if shown == area.is_some() {
                state.states.set(which);
            } else {
                state.states.unset(which);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_app_ids_are_scanouts() {
        assert_eq!(scanout_of("phyllome.scanout.0"), ScanoutId::new(0));
        assert_eq!(scanout_of("phyllome.scanout.15"), ScanoutId::new(15));
        for other in
            ["", "phyllome.scanout.", "phyllome.scanout.16", "phyllome.scanout.+1", "phyllome.scanout.001", "x"]
        {
            assert_eq!(scanout_of(other), None, "{other}");
        }
    }
}
