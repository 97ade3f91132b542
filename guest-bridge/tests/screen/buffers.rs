//! The played compositor's side of buffers: shared memory and dmabufs, with the checks that libwayland-server makes
//! itself.

use super::compositor::{BufferInfo, State};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wayland_protocols::wp::linux_dmabuf::zv1::server::{
    zwp_linux_buffer_params_v1, zwp_linux_dmabuf_feedback_v1, zwp_linux_dmabuf_v1,
};
use wayland_server::backend::ClientId;
use wayland_server::protocol::{wl_buffer, wl_shm, wl_shm_pool};
use wayland_server::{Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource};

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
                planes: Vec::new(),
                modifier: 0,
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

/// Planes as they came: offsets and strides; and the layout.
type Plane = std::sync::Mutex<(Vec<(OwnedFd, u32, u32)>, u64)>;

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
            Request::Add { fd, plane_idx, offset, stride, modifier_hi, modifier_lo } => {
                let (planes, modifier) = &mut *plane.lock().unwrap();
                assert_eq!(plane_idx as usize, planes.len(), "planes in another order");
                planes.push((fd, offset, stride));
                *modifier = u64::from(modifier_hi) << 32 | u64::from(modifier_lo);
            }
            Request::Create { width, height, format, .. } => {
                if !state.offer.dmabuf.is_some_and(|(_, works)| works) {
                    params.failed();
                    return;
                }
                let (planes, modifier) = std::mem::take(&mut *plane.lock().unwrap());
                let all = planes.iter().map(|&(_, offset, stride)| (offset, stride)).collect();
                let (fd, offset, stride) = planes.into_iter().next().unwrap();
                let (offset, stride, size) = (offset as i32, stride as i32, (width, height));
                let info = BufferInfo { fd, dmabuf: true, offset, size, stride, format, planes: all, modifier };
                let info = Arc::new(info);
                let buffer = client.create_resource::<wl_buffer::WlBuffer, _, State>(handle, 1, info).unwrap();
                state.live_buffers.insert(buffer.id());
                params.created(&buffer);
            }
            _ => {}
        }
    }
}
