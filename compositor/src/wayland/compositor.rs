//! `wl_compositor` and `wl_surface`: surfaces come, change and go. Subsurfaces are not offered.
//!
//! Regions are accepted and ignored: what is opaque follows from the buffer's format, what takes input from the
//! scanout. Guarded here, before smithay 0.7.0 computes with it: damage that overflows, endless lists of damage and
//! frame callbacks, scales that no picture has.

use super::client::{
    self, GuestClient, admit, admit_thing, counted_dispatch, counted_global, ended, owner_of, remove_thing,
};
use super::quota::{MAX_DAMAGE, MAX_EXTENT, MAX_FRAME_CALLBACKS, MAX_SCALE};
use super::things::Thing;
use crate::State;
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_compositor::{self, WlCompositor};
use smithay::reexports::wayland_server::protocol::wl_region::{self, WlRegion};
use smithay::reexports::wayland_server::protocol::wl_subcompositor::WlSubcompositor;
use smithay::reexports::wayland_server::protocol::wl_subsurface::WlSubsurface;
use smithay::reexports::wayland_server::protocol::wl_surface::{self, WlSurface};
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle};
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, RegionUserData, SubsurfaceUserData, SurfaceAttributes,
    SurfaceUserData, with_states,
};
use std::sync::LazyLock;

impl CompositorHandler for State {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.protocols.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        /// For a client that is not a guest; there is none, and it would not be an error of a guest's making.
        static NOBODY: LazyLock<CompositorClientState> = LazyLock::new(CompositorClientState::default);
        client.get_data::<GuestClient>().map_or(&NOBODY, |guest| &guest.compositor)
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        self.watch_commits(surface);
    }

    fn commit(&mut self, surface: &WlSurface) {
        self.commit_applied(surface);
        self.surface_committed(surface);
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        remove_thing(surface, Thing::Surface);
        self.forget_commits(surface);
        self.surface_destroyed(surface);
    }
}

counted_global!(WlCompositor, () => CompositorState, Thing::Global);
// Asked for by smithay's constructor; the global itself is removed before the first client comes.
smithay::reexports::wayland_server::delegate_global_dispatch!(State: [WlSubcompositor: ()] => CompositorState);
counted_dispatch! {
    WlCallback, () => CompositorState;
    WlSubcompositor, () => CompositorState;
    WlSubsurface, SubsurfaceUserData => CompositorState;
}

impl Dispatch<WlCompositor, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        compositor: &WlCompositor,
        request: wl_compositor::Request,
        data: &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let thing = match request {
            wl_compositor::Request::CreateSurface { .. } => Some(Thing::Surface),
            wl_compositor::Request::CreateRegion { .. } => Some(Thing::Region),
            _ => None,
        };
        if !admit(display, client, compositor) || thing.is_some_and(|thing| !admit_thing(client, compositor, thing)) {
            return;
        }
        <CompositorState as Dispatch<WlCompositor, (), Self>>::request(
            state, client, compositor, request, data, display, init,
        );
    }
}

impl Dispatch<WlRegion, RegionUserData> for State {
    fn request(
        _state: &mut Self,
        client: &Client,
        region: &WlRegion,
        _request: wl_region::Request,
        _data: &RegionUserData,
        display: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        admit(display, client, region);
    }

    fn destroyed(_state: &mut Self, _client: ClientId, region: &WlRegion, _data: &RegionUserData) {
        ended(region);
    }
}

impl Dispatch<WlSurface, SurfaceUserData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        surface: &WlSurface,
        request: wl_surface::Request,
        data: &SurfaceUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if !admit(display, client, surface) {
            return;
        }
        let request = match request {
            wl_surface::Request::Damage { x, y, width, height } => {
                let Some((x, y, width, height)) = checked_damage(surface, x, y, width, height) else { return };
                wl_surface::Request::Damage { x, y, width, height }
            }
            wl_surface::Request::DamageBuffer { x, y, width, height } => {
                let Some((x, y, width, height)) = checked_damage(surface, x, y, width, height) else { return };
                wl_surface::Request::DamageBuffer { x, y, width, height }
            }
            wl_surface::Request::SetBufferScale { scale } if scale > MAX_SCALE => {
                client::cut(client, surface, wl_surface::Error::InvalidScale as u32, "a buffer's scale is beyond 8");
                return;
            }
            wl_surface::Request::Frame { .. } if waiting_callbacks(surface) >= MAX_FRAME_CALLBACKS => {
                client::cut(client, surface, 2, "more than 64 frame callbacks wait on one surface");
                return;
            }
            // Where a surface lies is the shell's to say.
            wl_surface::Request::Offset { .. } => return,
            other => other,
        };
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::request(
            state, client, surface, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, surface: &WlSurface, data: &SurfaceUserData) {
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::destroyed(state, client, surface, data);
    }
}

/// Damage with every number between 0 and [`MAX_EXTENT`]; `None` if nothing of it lies there. After [`MAX_DAMAGE`]
/// rectangles of one commit everything counts as damaged.
fn checked_damage(surface: &WlSurface, x: i32, y: i32, width: i32, height: i32) -> Option<(i32, i32, i32, i32)> {
    let waiting = with_states(surface, |states| states.cached_state.get::<SurfaceAttributes>().pending().damage.len());
    if waiting > MAX_DAMAGE {
        return None;
    }
    if waiting == MAX_DAMAGE {
        return Some((0, 0, MAX_EXTENT, MAX_EXTENT));
    }
    clamp_rectangle(x, y, width, height)
}

/// The part of a rectangle that lies between 0 and [`MAX_EXTENT`] both ways; `None` if there is none.
fn clamp_rectangle(x: i32, y: i32, width: i32, height: i32) -> Option<(i32, i32, i32, i32)> {
    let span = |start: i32, length: i32| {
        let end = start.saturating_add(length).clamp(0, MAX_EXTENT);
        let start = start.clamp(0, MAX_EXTENT);
        (length > 0 && end > start).then_some((start, end - start))
    };
    let (x, width) = span(x, width)?;
    let (y, height) = span(y, height)?;
    Some((x, y, width, height))
}

fn waiting_callbacks(surface: &WlSurface) -> usize {
    with_states(surface, |states| {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        let pending = attributes.pending().frame_callbacks.len();
        pending + attributes.current().frame_callbacks.len()
    })
}

impl State {
    fn surface_committed(&mut self, surface: &WlSurface) {
        let Some(name) = owner_of(surface) else { return };
        if !self.protocols.screens.configure_if_new(surface) {
            return;
        }
        self.protocols.screens.update_content(surface);
        if self.protocols.screens.is_scanout(surface) {
            self.scanout_committed(&name, surface);
        } else if self.protocols.cursor_surface().is_some_and(|cursor| cursor == *surface) {
            self.queue_redraw();
        }
    }

    fn surface_destroyed(&mut self, surface: &WlSurface) {
        self.protocols.screens.forget_surface(surface);
        if self.protocols.cursor_surface().is_some_and(|cursor| cursor == *surface) {
            self.protocols.reset_cursor();
        }
        self.queue_redraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_clamped_and_never_overflows() {
        assert_eq!(clamp_rectangle(i32::MAX, 0, i32::MAX, 1), None);
        assert_eq!(clamp_rectangle(i32::MIN, i32::MIN, i32::MAX, i32::MAX), None);
        assert_eq!(clamp_rectangle(-10, 5, 20, i32::MAX), Some((0, 5, 10, MAX_EXTENT - 5)));
        assert_eq!(clamp_rectangle(1, 2, 3, 4), Some((1, 2, 3, 4)));
        assert_eq!(clamp_rectangle(1, 2, -3, 4), None);
    }
}
