//! `xdg_wm_base`: a guest's scanouts are toplevels, always fullscreen in the guest's area. Popups are refused.
//!
//! What a toplevel asks for (to move, to resize, to be minimised, a title, a window geometry) changes nothing. Guarded
//! here because smithay 0.7.0 accepts window geometries and size limits that are no size (a debug build panics) and
//! computes with popup positions without checking.

use super::client::{NO_MEMORY, admit, admit_thing, counted_dispatch, counted_global, cut, ended};
use super::quota::MAX_CONFIGURES;
use super::things::Thing;
use crate::State;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_popup::XdgPopup;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_positioner::{self, XdgPositioner};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_surface::{self, XdgSurface};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::{self, XdgToplevel};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_wm_base::{self, XdgWmBase};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
use smithay::utils::Serial;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{
    Configure, PopupSurface, PositionerState, ToplevelSurface, XdgPositionerUserData, XdgShellHandler, XdgShellState,
    XdgShellSurfaceUserData, XdgSurfaceUserData, XdgToplevelSurfaceData, XdgWmBaseUserData,
};

impl XdgShellHandler for State {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.protocols.xdg_shell
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        self.protocols.screens.add(surface);
    }

    fn app_id_changed(&mut self, surface: ToplevelSurface) {
        self.protocols.screens.name(&surface);
        self.sync_focus();
    }

    fn toplevel_destroyed(&mut self, surface: ToplevelSurface) {
        if self.protocols.screens.remove(&surface) {
            self.sync_focus();
        }
    }

    fn ack_configure(&mut self, surface: WlSurface, _configure: Configure) {
        self.protocols.screens.acknowledged(&surface);
    }

    fn maximize_request(&mut self, surface: ToplevelSurface) {
        answer(&surface);
    }

    fn fullscreen_request(&mut self, surface: ToplevelSurface, _output: Option<WlOutput>) {
        answer(&surface);
    }

    // Popups are refused before smithay makes one.
    fn new_popup(&mut self, surface: PopupSurface, _positioner: PositionerState) {
        surface.send_popup_done();
    }

    fn grab(&mut self, surface: PopupSurface, _seat: WlSeat, _serial: Serial) {
        surface.send_popup_done();
    }

    fn reposition_request(&mut self, surface: PopupSurface, _positioner: PositionerState, _token: u32) {
        surface.send_popup_done();
    }
}

/// The protocol wants a configure after each of these requests; the first one is sent with the first commit.
fn answer(surface: &ToplevelSurface) {
    if unacknowledged(surface) >= MAX_CONFIGURES {
        if let Some(client) = surface.wl_surface().client() {
            let why = format!("{MAX_CONFIGURES} configures of one toplevel wait to be acknowledged");
            cut(&client, surface.xdg_toplevel(), NO_MEMORY, &why);
        }
    } else if surface.is_initial_configure_sent() {
        surface.send_configure();
    }
}

/// How many configures of a toplevel were sent and not acknowledged yet.
pub fn unacknowledged(surface: &ToplevelSurface) -> usize {
    with_states(surface.wl_surface(), |states| {
        let role = states.data_map.get::<XdgToplevelSurfaceData>();
        role.and_then(|role| Some(role.lock().ok()?.pending_configures().len())).unwrap_or(0)
    })
}

counted_global!(XdgWmBase, () => XdgShellState, Thing::Global);
counted_dispatch! {
    XdgWmBase, XdgWmBaseUserData => XdgShellState, makes |request| match request {
        xdg_wm_base::Request::CreatePositioner { .. } => Some(Thing::Positioner),
        xdg_wm_base::Request::GetXdgSurface { .. } => Some(Thing::ShellSurface),
        _ => None,
    };
    XdgPopup, XdgShellSurfaceUserData => XdgShellState;
}

impl Dispatch<XdgPositioner, XdgPositionerUserData> for State {
    fn request(
        _state: &mut Self,
        client: &Client,
        positioner: &XdgPositioner,
        _request: xdg_positioner::Request,
        _data: &XdgPositionerUserData,
        display: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        // Nothing is ever placed by one.
        admit(display, client, positioner);
    }

    fn destroyed(_state: &mut Self, _client: ClientId, positioner: &XdgPositioner, _data: &XdgPositionerUserData) {
        ended(positioner);
    }
}

impl Dispatch<XdgToplevel, XdgShellSurfaceUserData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        toplevel: &XdgToplevel,
        request: xdg_toplevel::Request,
        data: &XdgShellSurfaceUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use xdg_toplevel::Request;
        // A scanout is as large as its area: what a guest would like to be limited to is not even remembered.
        let limits = matches!(request, Request::SetMinSize { .. } | Request::SetMaxSize { .. });
        if !admit(display, client, toplevel) || limits {
            return;
        }
        <XdgShellState as Dispatch<XdgToplevel, XdgShellSurfaceUserData, Self>>::request(
            state, client, toplevel, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, toplevel: &XdgToplevel, data: &XdgShellSurfaceUserData) {
        ended(toplevel);
        <XdgShellState as Dispatch<XdgToplevel, XdgShellSurfaceUserData, Self>>::destroyed(
            state, client, toplevel, data,
        );
    }
}

impl Dispatch<XdgSurface, XdgSurfaceUserData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        surface: &XdgSurface,
        request: xdg_surface::Request,
        data: &XdgSurfaceUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if !admit(display, client, surface) {
            return;
        }
        match &request {
            xdg_surface::Request::GetPopup { .. } => {
                let code = xdg_wm_base::Error::InvalidPopupParent as u32;
                cut(client, surface, code, "a guest's screen has no popups");
                return;
            }
            xdg_surface::Request::SetWindowGeometry { width, height, .. } => {
                if *width < 1 || *height < 1 {
                    let code = xdg_surface::Error::InvalidSize as u32;
                    cut(client, surface, code, "a window geometry is empty");
                }
                return;
            }
            xdg_surface::Request::GetToplevel { .. } if !admit_thing(client, surface, Thing::Toplevel) => return,
            _ => {}
        }
        <XdgShellState as Dispatch<XdgSurface, XdgSurfaceUserData, Self>>::request(
            state, client, surface, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, surface: &XdgSurface, data: &XdgSurfaceUserData) {
        ended(surface);
        <XdgShellState as Dispatch<XdgSurface, XdgSurfaceUserData, Self>>::destroyed(state, client, surface, data);
    }
}
