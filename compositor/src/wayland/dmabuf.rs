//! `zwp_linux_dmabuf_v1`: pictures in memory that a GPU or the kernel made. Offered only if the renderer can import
//! any.
//!
//! The lists of formats are never believed: every buffer is imported when it is made, by the GPU or else by the
//! processor ([`crate::wayland::mapped`]), and refused with a reason if neither can; the guest's screen then goes over
//! to shared memory. Guarded here, before smithay 0.7.0 computes with it: sizes below 1, offset + stride beyond 32
//! bits, planes out of order. A descriptor that could shrink under the renderer is not accepted.

use super::client::{
    GuestClient, admit, admit_plane, admit_thing, counted_dispatch, counted_global, cut, ended, remove_plane,
};
use super::quota::MAX_EXTENT;
use super::things::Thing;
use crate::State;
use crate::descriptors::close_elsewhere;
use crate::outputs::RendererKind;
use crate::wayland::mapped::{Mapping, READABLE};
use phyllome_protocol::descriptor::{Description, describe};
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::allocator::{Buffer, Format, Modifier};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_buffer_params_v1::{
    self, ZwpLinuxBufferParamsV1,
};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::{
    self, ZwpLinuxDmabufFeedbackV1,
};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::{
    self, ZwpLinuxDmabufV1,
};
use smithay::reexports::wayland_server::backend::{ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle};
use smithay::wayland::dmabuf::{
    DmabufData, DmabufFeedback, DmabufFeedbackBuilder, DmabufFeedbackData, DmabufGlobal, DmabufGlobalData,
    DmabufHandler, DmabufParamsData, DmabufState, ImportNotifier,
};
use std::os::fd::AsFd;
use std::time::Instant;

impl DmabufHandler for State {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.protocols.dmabufs.state
    }

    fn dmabuf_imported(&mut self, _global: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        let client = notifier.client();
        let guest = client.as_ref().and_then(super::client::guest_of);
        match self.import(&dmabuf, guest) {
            // An error means that the client has gone in the meantime.
            Ok(Import::Renderer) => drop(notifier.successful::<State>()),
            Ok(Import::Mapped(mapping)) => {
                if let Ok(buffer) = notifier.successful::<State>() {
                    self.protocols.screens.map_buffer(&buffer, mapping);
                }
            }
            Err(why) => {
                let too_often = guest.is_some_and(|guest| {
                    guest.remove(Thing::Buffer);
                    guest.refusal().is_err()
                });
                if let (true, Some(client)) = (too_often, &client) {
                    self.display.backend_handle().kill_client(client.id(), DisconnectReason::ConnectionClosed);
                }
                let name = guest.map_or("a guest", |guest| guest.name().as_str());
                if self.protocols.refusals.allow(Instant::now()) {
                    tracing::warn!("a dmabuf of {name} is refused, it is to use shared memory: {why}");
                }
                notifier.failed();
            }
        }
    }
}

/// How a dmabuf gets onto the screen.
enum Import {
    /// The renderer has it.
    Renderer,
    /// The processor reads it.
    Mapped(Mapping),
}

impl State {
    /// Imports a dmabuf in the best way that works: by the GPU, else by the processor. The error says why neither can.
    fn import(&mut self, dmabuf: &Dmabuf, guest: Option<&GuestClient>) -> Result<Import, String> {
        let memory = check(dmabuf)?;
        // Pixman's own import would wait for fences, and for memory that can be purged.
        let by_gpu = if self.backend.renderer() == RendererKind::Gles && self.protocols.dmabufs.gpu_imports() {
            self.import_by_gpu(dmabuf, &memory, guest)
        } else {
            Err("the renderer imports none".to_owned())
        };
        match by_gpu {
            Ok(()) => Ok(Import::Renderer),
            Err(gpu) => Mapping::new(dmabuf, &memory).map(Import::Mapped).map_err(|own| format!("{gpu}; {own}")),
        }
    }

    /// What the GPU refused once of a connection is not tried again: smithay 0.7.0 loses an EGL image with each import
    /// that fails.
    fn import_by_gpu(
        &mut self,
        dmabuf: &Dmabuf,
        memory: &Description,
        guest: Option<&GuestClient>,
    ) -> Result<(), String> {
        let exporter = memory.exporter().unwrap_or_default();
        let format = dmabuf.format();
        if guest.is_some_and(|guest| guest.is_refused(exporter, format)) {
            return Err(format!("the renderer imports no {:?} of {memory}", format.code));
        }
        self.protocols.dmabufs.imports += 1;
        if self.protocols.dmabufs.imports >= FORGET_EVERY {
            self.protocols.dmabufs.imports = 0;
            self.backend.forget_imports();
        }
        self.backend.import_dmabuf(dmabuf).inspect_err(|_| {
            if let Some(guest) = guest {
                guest.refused(exporter, format);
            }
        })
    }
}

/// Whether a dmabuf can be looked at without harm: no flags, as large as it says, and of a kind whose memory cannot go
/// away while it is read. Further planes, which some layouts have for themselves, are for the GPU alone, whose driver
/// knows how long they must be.
fn check(dmabuf: &Dmabuf) -> Result<Description, String> {
    if dmabuf.y_inverted() {
        return Err("upside-down buffers are not supported".into());
    }
    let (Some(fd), Some(stride), Some(offset)) =
        (dmabuf.handles().next(), dmabuf.strides().next(), dmabuf.offsets().next())
    else {
        return Err("it has no plane".into());
    };
    let memory = describe(fd);
    if !is_picture(&memory) {
        return Err(format!("it is {memory}"));
    }
    let format = dmabuf.format().code;
    let bytes = get_bpp(format).map(|bits| bits as u64 / 8).ok_or_else(|| format!("{format} is not supported"))?;
    if u64::from(dmabuf.width()) * bytes > u64::from(stride) {
        return Err(format!("a row of {} pixels does not fit into {stride} bytes", dmabuf.width()));
    }
    let needed = u64::from(stride) * u64::from(dmabuf.height()) + u64::from(offset);
    if needed > memory.bytes {
        return Err(format!("it needs {needed} bytes and has {}", memory.bytes));
    }
    let further = dmabuf.handles().zip(dmabuf.offsets()).zip(dmabuf.strides()).skip(1);
    for ((fd, offset), stride) in further {
        let plane = describe(fd);
        let fits = u64::from(offset) + u64::from(stride) <= plane.bytes;
        if !plane.is_dmabuf() || !fits {
            return Err(format!("a further plane of it is {plane}, from byte {offset} on"));
        }
    }
    Ok(memory)
}

/// Whether pixels may lie in it: it stays as large as it is.
fn is_picture(memory: &Description) -> bool {
    memory.is_dmabuf() || memory.is_sealed_memory()
}

/// What is offered to guests.
pub(super) struct Dmabufs {
    state: DmabufState,
    global: Option<DmabufGlobal>,
    /// What guests are told of formats.
    feedback: Option<DmabufFeedback>,
    /// Imports by the GPU since it last forgot what is gone.
    imports: u32,
    #[cfg(test)]
    no_gpu_imports: bool,
}

/// After so many imports the renderer forgets those whose buffers are gone: frames see to that too, but none may be
/// drawn for hours.
const FORGET_EVERY: u32 = 64;

impl Default for Dmabufs {
    fn default() -> Self {
        Self {
            state: DmabufState::new(),
            global: None,
            feedback: None,
            imports: 0,
            #[cfg(test)]
            no_gpu_imports: false,
        }
    }
}

impl Dmabufs {
    /// Whether the GPU is asked at all; only a test ever says no.
    fn gpu_imports(&self) -> bool {
        #[cfg(test)]
        return !self.no_gpu_imports;
        #[cfg(not(test))]
        true
    }
}

impl super::Protocols {
    /// From now on the GPU imports nothing, as where Mesa refuses udmabufs.
    #[cfg(test)]
    pub(crate) fn refuse_gpu_imports(&mut self) {
        self.dmabufs.no_gpu_imports = true;
    }

    /// Offers dmabufs of these formats; without any there is no global. `device`: the render node's number, 0 where
    /// there is none.
    pub fn offer_dmabuf(&mut self, display: &DisplayHandle, formats: Vec<Format>, device: u64) {
        let formats: Vec<Format> =
            formats.into_iter().filter(|f| get_bpp(f.code).is_some_and(|bits| bits == 32 || bits == 16)).collect();
        if formats.is_empty() || self.dmabufs.global.is_some() {
            return;
        }
        // Rows are read by the processor where nothing else reads them, whatever the renderer says of them.
        let known = formats.iter().filter(|format| READABLE.contains(&format.code));
        let rows: Vec<_> = known.map(|format| Format { modifier: Modifier::Linear, ..*format }).collect();
        let formats = formats.into_iter().chain(rows);
        match DmabufFeedbackBuilder::new(device, formats).build() {
            Ok(feedback) => {
                let global = self.dmabufs.state.create_global_with_default_feedback::<State>(display, &feedback);
                self.dmabufs.global = Some(global);
                self.dmabufs.feedback = Some(feedback);
            }
            Err(error) => tracing::warn!("dmabufs are not offered to guests: {error}"),
        }
    }
}

counted_global!(ZwpLinuxDmabufV1, DmabufGlobalData => DmabufState, Thing::Global);
counted_dispatch! {
    // Of smithay's own; none is ever made.
    ZwpLinuxDmabufFeedbackV1, DmabufFeedbackData => DmabufState;
    WlBuffer, Dmabuf => DmabufState;
}

/// What one feedback has: nothing. smithay 0.7.0 keeps a list of those that it makes, from which only the request to
/// destroy one takes it away, never the end of a connection; these are told once and forgotten.
#[derive(Debug)]
pub struct Feedback;

impl Dispatch<ZwpLinuxDmabufFeedbackV1, Feedback> for State {
    fn request(
        _state: &mut Self,
        client: &Client,
        feedback: &ZwpLinuxDmabufFeedbackV1,
        _request: zwp_linux_dmabuf_feedback_v1::Request,
        _data: &Feedback,
        display: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        admit(display, client, feedback);
    }

    fn destroyed(_state: &mut Self, _client: ClientId, feedback: &ZwpLinuxDmabufFeedbackV1, _data: &Feedback) {
        ended(feedback);
    }
}

impl Dispatch<ZwpLinuxDmabufV1, DmabufData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        dmabuf: &ZwpLinuxDmabufV1,
        request: zwp_linux_dmabuf_v1::Request,
        data: &DmabufData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use zwp_linux_dmabuf_v1::Request;
        if !admit(display, client, dmabuf) {
            return;
        }
        match request {
            // What suits one surface suits all.
            Request::GetDefaultFeedback { id } | Request::GetSurfaceFeedback { id, .. } => {
                if admit_thing(client, dmabuf, Thing::Feedback) {
                    let feedback = init.init(id, Feedback);
                    if let Some(formats) = &state.protocols.dmabufs.feedback {
                        formats.send(&feedback);
                    }
                }
                return;
            }
            Request::CreateParams { .. } if !admit_thing(client, dmabuf, Thing::Parameters) => return,
            _ => {}
        }
        <DmabufState as Dispatch<ZwpLinuxDmabufV1, DmabufData, Self>>::request(
            state, client, dmabuf, request, data, display, init,
        );
    }

    fn destroyed(_state: &mut Self, _client: ClientId, dmabuf: &ZwpLinuxDmabufV1, _data: &DmabufData) {
        ended(dmabuf);
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        params: &ZwpLinuxBufferParamsV1,
        request: zwp_linux_buffer_params_v1::Request,
        data: &DmabufParamsData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use zwp_linux_buffer_params_v1::{Error, Request};
        // First of all what came with it: dropping a descriptor closes it, and of a file that its sender serves that
        // may take for ever.
        let request = match request {
            // smithay seeks in it, which of a file that the sender serves may take for ever.
            Request::Add { fd, .. } if !is_picture(&describe(fd.as_fd())) => {
                let why = "a dmabuf is neither one nor a memfd that is sealed against shrinking";
                cut(client, params, Error::InvalidWlBuffer as u32, why);
                close_elsewhere(fd);
                return;
            }
            other => other,
        };
        if !admit(display, client, params) {
            return;
        }
        match &request {
            Request::Add { plane_idx, offset, stride, .. } => {
                if offset.checked_add(*stride).is_none() {
                    cut(client, params, Error::OutOfBounds as u32, "a dmabuf's offset and stride overflow");
                    return;
                }
                let Some(next) = admit_plane(client, params) else { return };
                // smithay takes planes in the order in which they come.
                if *plane_idx != next {
                    cut(client, params, Error::PlaneIdx as u32, "a dmabuf's planes are not in their order");
                    return;
                }
            }
            Request::Create { width, height, flags, .. } | Request::CreateImmed { width, height, flags, .. } => {
                if !(1..=MAX_EXTENT).contains(width) || !(1..=MAX_EXTENT).contains(height) {
                    let why = "a dmabuf is not between 1 and 16384 pixels wide and high";
                    cut(client, params, Error::InvalidDimensions as u32, why);
                    return;
                }
                // Kept out of `check` only because smithay turns unknown bits into none.
                if u32::from(*flags) & !DmabufFlags::all().bits() != 0 {
                    cut(client, params, Error::InvalidFormat as u32, "a dmabuf has unknown flags");
                    return;
                }
                if !admit_thing(client, params, Thing::Buffer) {
                    return;
                }
            }
            _ => {}
        }
        <DmabufState as Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData, Self>>::request(
            state, client, params, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, params: &ZwpLinuxBufferParamsV1, data: &DmabufParamsData) {
        remove_plane(params);
        ended(params);
        <DmabufState as Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData, Self>>::destroyed(
            state, client, params, data,
        );
    }
}
