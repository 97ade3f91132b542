//! The played compositor's side of every request.

use super::compositor::{BufferInfo, Commit, OutputFacts, State, SurfaceState, Window};
use phyllome_guest_bridge::frames::Rect;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wayland_protocols::wp::linux_dmabuf::zv1::server::{
    zwp_linux_buffer_params_v1, zwp_linux_dmabuf_feedback_v1, zwp_linux_dmabuf_v1,
};
use wayland_protocols::wp::viewporter::server::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::server::{xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_server::backend::{ClientId, ObjectId};
use wayland_server::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_keyboard, wl_output, wl_pointer, wl_region, wl_seat, wl_shm, wl_shm_pool,
    wl_surface,
};
use wayland_server::{Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource};

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
            wl_surface::Request::Frame { callback } => {
                own.callbacks.push(init.init(callback, ()));
                own.pending.frames += 1;
            }
            wl_surface::Request::Commit => {
                let (crop, scaled) = (own.pending.crop, own.pending.scaled);
                let next = Commit { crop, scaled, ..Commit::default() };
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

impl GlobalDispatch<wl_shm::WlShm, ()> for State {
    fn bind(
        state: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<wl_shm::WlShm>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        let shm = init.init(new, ());
        shm.format(wl_shm::Format::Argb8888);
        shm.format(wl_shm::Format::Xrgb8888);
        state.offer.shm_formats.iter().for_each(|format| shm.format(*format));
    }
}

impl Dispatch<wl_shm::WlShm, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_shm::WlShm,
        request: wl_shm::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let wl_shm::Request::CreatePool { id, fd, size } = request {
            init.init(id, Arc::new((fd, size)));
        }
    }
}

type Pool = Arc<(OwnedFd, i32)>;

impl Dispatch<wl_shm_pool::WlShmPool, Pool> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        pool: &wl_shm_pool::WlShmPool,
        request: wl_shm_pool::Request,
        data: &Pool,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let wl_shm_pool::Request::CreateBuffer { id, offset, width, height, stride, format } = request {
            // libwayland-server's own checks.
            let fits = offset >= 0 && width > 0 && height > 0 && stride >= width && offset <= data.1 - stride * height;
            if !fits {
                pool.post_error(wl_shm::Error::InvalidStride, "invalid width, height or stride");
            }
            let info = BufferInfo {
                fd: data.0.try_clone().unwrap(),
                dmabuf: false,
                offset,
                size: (width, height),
                stride,
                format: format.into(),
            };
            let buffer = init.init(id, Arc::new(info));
            state.live_buffers.insert(buffer.id());
        }
    }
}

impl Dispatch<wl_buffer::WlBuffer, Arc<BufferInfo>> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &wl_buffer::WlBuffer,
        _: wl_buffer::Request,
        _: &Arc<BufferInfo>,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(state: &mut Self, _: ClientId, buffer: &wl_buffer::WlBuffer, _: &Arc<BufferInfo>) {
        state.live_buffers.remove(&buffer.id());
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

impl GlobalDispatch<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1, ()> for State {
    fn bind(
        state: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        new: New<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>,
        _: &(),
        init: &mut DataInit<'_, Self>,
    ) {
        let dmabuf = init.init(new, ());
        if let Some((format, _)) = state.offer.dmabuf {
            dmabuf.modifier(format, 0, 0);
        }
    }
}

impl Dispatch<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1,
        request: zwp_linux_dmabuf_v1::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            zwp_linux_dmabuf_v1::Request::CreateParams { params_id } => {
                init.init(params_id, std::sync::Mutex::default());
            }
            zwp_linux_dmabuf_v1::Request::GetDefaultFeedback { id } => {
                let feedback = init.init(id, ());
                let Some((format, _)) = state.offer.dmabuf else { return };
                // A tiled layout, then ours.
                let mut table = Vec::new();
                for modifier in [0x0100_0000_0000_0001u64, 0] {
                    table.extend(format.to_ne_bytes());
                    table.extend([0; 4]);
                    table.extend(modifier.to_ne_bytes());
                }
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&table).unwrap();
                feedback.format_table(file.as_fd(), 32);
                feedback.main_device(vec![0; 8]);
                feedback.tranche_target_device(vec![0; 8]);
                // The last index is none of the table's.
                feedback.tranche_formats([0u16, 1, 999].iter().flat_map(|index| index.to_ne_bytes()).collect());
                feedback.tranche_done();
                feedback.done();
            }
            _ => {}
        }
    }
}

impl Dispatch<zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1,
        _: zwp_linux_dmabuf_feedback_v1::Request,
        _: &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

type Plane = std::sync::Mutex<Option<(OwnedFd, i32, i32)>>;

impl Dispatch<zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1, Plane> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        params: &zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1,
        request: zwp_linux_buffer_params_v1::Request,
        plane: &Plane,
        handle: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        use zwp_linux_buffer_params_v1::Request;
        match request {
            Request::Add { fd, offset, stride, .. } => {
                *plane.lock().unwrap() = Some((fd, offset as i32, stride as i32));
            }
            Request::Create { width, height, format, .. } => {
                if !state.offer.dmabuf.is_some_and(|(_, works)| works) {
                    params.failed();
                    return;
                }
                let (fd, offset, stride) = plane.lock().unwrap().take().unwrap();
                let info = Arc::new(BufferInfo { fd, dmabuf: true, offset, size: (width, height), stride, format });
                let buffer = client.create_resource::<wl_buffer::WlBuffer, _, State>(handle, 1, info).unwrap();
                state.live_buffers.insert(buffer.id());
                params.created(&buffer);
            }
            _ => {}
        }
    }
}
