//! The played compositor's side of every request but those that make buffers.

use super::compositor::{BufferInfo, Commit, OutputFacts, State, SurfaceState, Window};
use phyllome_guest_bridge::frames::Rect;
use std::sync::Arc;
use wayland_protocols::wp::fractional_scale::v1::server::{wp_fractional_scale_manager_v1, wp_fractional_scale_v1};
use wayland_protocols::wp::viewporter::server::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::server::{xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_server::backend::ObjectId;
use wayland_server::protocol::{
    wl_callback, wl_compositor, wl_keyboard, wl_output, wl_pointer, wl_region, wl_seat, wl_surface,
};
use wayland_server::{Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, WEnum};

impl GlobalDispatch<wl_compositor::WlCompositor, ()> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wl_compositor::WlCompositor>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(new, ());
    }
}

impl Dispatch<wl_compositor::WlCompositor, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &wl_compositor::WlCompositor,
        request: wl_compositor::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            wl_compositor::Request::CreateSurface { id } => {
                let surface = init.init(id, ());
                state.surfaces.insert(surface.id(), SurfaceState::default());
            }
            wl_compositor::Request::CreateRegion { id } => {
                init.init(id, ());
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_region::WlRegion, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_region::WlRegion,
        _: wl_region::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl Dispatch<wl_surface::WlSurface, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        surface: &wl_surface::WlSurface,
        request: wl_surface::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let Some(own) = state.surfaces.get_mut(&surface.id()) else { return };
        match request {
            wl_surface::Request::Attach { buffer, .. } => {
                own.pending.buffer = buffer.and_then(|buffer| buffer.data::<Arc<BufferInfo>>().cloned());
            }
            wl_surface::Request::DamageBuffer { x, y, width, height } => {
                let [x, y, width, height] = [x, y, width, height].map(|value| u32::try_from(value).unwrap());
                own.pending.damage.push(Rect { x, y, width, height });
            }
            wl_surface::Request::SetBufferTransform { transform } => {
                own.pending.turned = match transform {
                    WEnum::Value(wl_output::Transform::Normal) => false,
                    WEnum::Value(wl_output::Transform::Flipped180) => true,
                    other => panic!("{other:?}"),
                };
            }
            wl_surface::Request::Frame { callback } => {
                own.callbacks.push(init.init(callback, ()));
                own.pending.frames += 1;
            }
            wl_surface::Request::Commit => {
                let Commit { crop, scaled, turned, .. } = own.pending;
                let next = Commit { crop, scaled, turned, ..Commit::default() };
                let mut commit = std::mem::replace(&mut own.pending, next);
                commit.surface = Some(surface.id());
                state.commits.push(commit);
                let lazy = state.offer.lazy;
                if let Some(window) = state.windows.iter_mut().find(|window| window.surface == *surface)
                    && !window.configured
                    && !lazy
                {
                    window.configured = true;
                    state.serial += 1;
                    let states = state.offer.states.iter().flat_map(|state| u32::from(*state).to_ne_bytes()).collect();
                    window.toplevel.configure(state.offer.size.0, state.offer.size.1, states);
                    window.xdg.configure(state.serial);
                }
            }
            wl_surface::Request::Destroy => {
                state.surfaces.remove(&surface.id());
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_callback::WlCallback,
        _: wl_callback::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl GlobalDispatch<xdg_wm_base::XdgWmBase, ()> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<xdg_wm_base::XdgWmBase>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(new, ());
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &xdg_wm_base::XdgWmBase,
        request: xdg_wm_base::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let xdg_wm_base::Request::GetXdgSurface { id, surface } = request {
            init.init(id, surface);
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, wl_surface::WlSurface> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        xdg: &xdg_surface::XdgSurface,
        request: xdg_surface::Request,
        surface: &wl_surface::WlSurface,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let xdg_surface::Request::GetToplevel { id } = request {
            let toplevel = init.init(id, ());
            state.windows_made += 1;
            state.windows.push(Window {
                surface: surface.clone(),
                xdg: xdg.clone(),
                toplevel,
                app_id: String::new(),
                title: String::new(),
                configured: false,
            });
        }
    }
}

impl Dispatch<xdg_toplevel::XdgToplevel, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        toplevel: &xdg_toplevel::XdgToplevel,
        request: xdg_toplevel::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let Some(window) = state.windows.iter_mut().find(|window| window.toplevel == *toplevel) else { return };
        match request {
            xdg_toplevel::Request::SetAppId { app_id } => window.app_id = app_id,
            xdg_toplevel::Request::SetTitle { title } => window.title = title,
            xdg_toplevel::Request::Destroy => state.windows.retain(|window| window.toplevel != *toplevel),
            _ => {}
        }
    }
}

impl GlobalDispatch<wl_seat::WlSeat, ()> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wl_seat::WlSeat>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        let seat = init.init(new, ());
        seat.capabilities(wl_seat::Capability::Keyboard | wl_seat::Capability::Pointer);
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &wl_seat::WlSeat,
        request: wl_seat::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            wl_seat::Request::GetKeyboard { id } => state.keyboard = Some(init.init(id, ())),
            wl_seat::Request::GetPointer { id } => state.pointer = Some(init.init(id, ())),
            _ => {}
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_keyboard::WlKeyboard,
        _: wl_keyboard::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &wl_pointer::WlPointer,
        request: wl_pointer::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        if let wl_pointer::Request::SetCursor { surface, hotspot_x, hotspot_y, .. } = request {
            state.cursors.push((surface.map(|surface| surface.id()), hotspot_x, hotspot_y));
        }
    }
}

impl GlobalDispatch<wl_output::WlOutput, OutputFacts> for State {
    fn bind(
        state: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wl_output::WlOutput>,
        facts: &OutputFacts,
        init: &mut DataInit<'_, Self>,
    ) {
        let output = init.init(new, ());
        facts.say(&output);
        output.done();
        state.outputs.push(output);
    }
}

impl Dispatch<wl_output::WlOutput, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_output::WlOutput,
        _: wl_output::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl GlobalDispatch<wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1, ()> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(new, ());
    }
}

impl Dispatch<wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1,
        request: wp_fractional_scale_manager_v1::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let wp_fractional_scale_manager_v1::Request::GetFractionalScale { id, .. } = request {
            let scale = init.init(id, ());
            scale.preferred_scale(state.offer.fractional.unwrap());
            state.scales.push(scale);
        }
    }
}

impl Dispatch<wp_fractional_scale_v1::WpFractionalScaleV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wp_fractional_scale_v1::WpFractionalScaleV1,
        _: wp_fractional_scale_v1::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl GlobalDispatch<wp_viewporter::WpViewporter, ()> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wp_viewporter::WpViewporter>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(new, ());
    }
}

impl Dispatch<wp_viewporter::WpViewporter, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wp_viewporter::WpViewporter,
        request: wp_viewporter::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let wp_viewporter::Request::GetViewport { id, surface } = request {
            init.init(id, surface.id());
        }
    }
}

impl Dispatch<wp_viewport::WpViewport, ObjectId> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &wp_viewport::WpViewport,
        request: wp_viewport::Request,
        surface: &ObjectId,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let Some(own) = state.surfaces.get_mut(surface) else { return };
        match request {
            wp_viewport::Request::SetSource { x, y, width, height } => {
                own.pending.crop = (width > 0.0).then_some((x, y, width, height));
            }
            wp_viewport::Request::SetDestination { width, height } => {
                own.pending.scaled = (width > 0).then_some((width, height));
            }
            _ => {}
        }
    }
}
