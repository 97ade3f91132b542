//! What the compositor says about a scanout's window: passed on to its [`Surface`](super::surface::Surface), where it
//! is acted on later.

use super::geometry::{Configured, Scale};
use super::link::{LinkEvent, LinkState};
use super::surface::FrameOf;
use phyllome_protocol::ScanoutId;
use wayland_client::protocol::{wl_callback, wl_surface};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1;
use wayland_protocols::wp::presentation_time::client::wp_presentation_feedback;
use wayland_protocols::wp::viewporter::client::wp_viewport;
use wayland_protocols::xdg::decoration::zv1::client::zxdg_toplevel_decoration_v1;
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel};

impl Dispatch<xdg_toplevel::XdgToplevel, ScanoutId> for LinkState {
    fn event(
        state: &mut Self,
        _: &xdg_toplevel::XdgToplevel,
        event: xdg_toplevel::Event,
        id: &ScanoutId,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, states } => {
                let Some(surface) = state.surfaces.get_mut(id) else { return };
                let has = |wanted: xdg_toplevel::State| {
                    states.as_chunks::<4>().0.iter().any(|state| u32::from_ne_bytes(*state) == u32::from(wanted))
                };
                surface.propose(Configured {
                    width: u32::try_from(width).unwrap_or(0),
                    height: u32::try_from(height).unwrap_or(0),
                    maximized: has(xdg_toplevel::State::Maximized),
                    fullscreen: has(xdg_toplevel::State::Fullscreen),
                    suspended: has(xdg_toplevel::State::Suspended),
                });
            }
            xdg_toplevel::Event::Close => state.events.push_back(LinkEvent::Close),
            _ => {}
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, ScanoutId> for LinkState {
    fn event(
        state: &mut Self,
        _: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        id: &ScanoutId,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event
            && let Some(surface) = state.surfaces.get_mut(id)
        {
            surface.configure(serial);
        }
    }
}

impl Dispatch<wp_fractional_scale_v1::WpFractionalScaleV1, ScanoutId> for LinkState {
    fn event(
        state: &mut Self,
        _: &wp_fractional_scale_v1::WpFractionalScaleV1,
        event: wp_fractional_scale_v1::Event,
        id: &ScanoutId,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_fractional_scale_v1::Event::PreferredScale { scale } = event
            && let Some(surface) = state.surfaces.get_mut(id)
        {
            surface.prefer_scale(Scale::new(scale));
        }
    }
}

impl Dispatch<wl_surface::WlSurface, Option<ScanoutId>> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_surface::WlSurface,
        event: wl_surface::Event,
        id: &Option<ScanoutId>,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(surface) = id.and_then(|id| state.surfaces.get_mut(&id)) else { return };
        match event {
            wl_surface::Event::Enter { output } => *surface.output() = state.globals.output_name(&output),
            wl_surface::Event::Leave { output } if *surface.output() == state.globals.output_name(&output) => {
                *surface.output() = None;
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_callback::WlCallback, FrameOf> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        FrameOf(id, commit): &FrameOf,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let Some(serial) = state.surfaces.get_mut(id).and_then(|surface| surface.frame_done(*commit)) {
            state.events.push_back(LinkEvent::Presented { id: *id, serial });
        }
    }
}

impl Dispatch<wp_presentation_feedback::WpPresentationFeedback, ScanoutId> for LinkState {
    fn event(
        state: &mut Self,
        _: &wp_presentation_feedback::WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        id: &ScanoutId,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_presentation_feedback::Event::Presented { .. } = event {
            state.events.push_back(LinkEvent::Displayed(*id));
        }
    }
}

impl Dispatch<zxdg_toplevel_decoration_v1::ZxdgToplevelDecorationV1, ()> for LinkState {
    fn event(
        _: &mut Self,
        _: &zxdg_toplevel_decoration_v1::ZxdgToplevelDecorationV1,
        event: zxdg_toplevel_decoration_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zxdg_toplevel_decoration_v1::Event::Configure { mode: WEnum::Value(mode) } = event {
            tracing::trace!(?mode, "decorations");
        }
    }
}

delegate_noop!(LinkState: wp_viewport::WpViewport);
