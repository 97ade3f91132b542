//! `zwp_linux_dmabuf_v1`: pictures in memory that a GPU or the kernel made. Offered only if the renderer can import
//! any.
//!
//! The lists of formats are never believed: every buffer is imported when it is made, by the GPU or else by the
//! processor ([`crate::wayland::mapped`]), and refused with a reason if neither can; the guest's screen then goes over
//! to shared memory. A descriptor that could shrink under the renderer is not accepted.
//!
//! The interfaces are the shell's own, in the place of smithay 0.7.0's: [`params`] says why, and of each feedback
//! smithay keeps a note that only a request takes away, never the end of a connection.

mod import;
mod params;

use super::client::{NO_MEMORY, admit, admit_bound, admit_thing, counted_dispatch, ended};
use super::things::Thing;
use crate::State;
use crate::wayland::mapped::READABLE;
use params::Params;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::allocator::{Format, Fourcc, Modifier};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::{
    self, ZwpLinuxDmabufFeedbackV1,
};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::{
    self, ZwpLinuxDmabufV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource};
use smithay::wayland::dmabuf::{DmabufFeedback, DmabufFeedbackBuilder, DmabufState};

/// The version of `zwp_linux_dmabuf_v1` that is offered.
const VERSION: u32 = 5;

/// What is offered to guests.
#[derive(Default)]
pub(super) struct Dmabufs {
    /// Formats with their layouts, each once, in the renderer's order.
    formats: Vec<Format>,
    /// What guests are told of them; none where there is no global.
    feedback: Option<DmabufFeedback>,
    /// Imports by the GPU since it last forgot what is gone.
    imports: u32,
    #[cfg(test)]
    no_gpu_imports: bool,
}

/// After so many imports the renderer forgets those whose buffers are gone: frames see to that too, but none may be
/// drawn for hours.
const FORGET_EVERY: u32 = 64;

impl Dmabufs {
    /// Whether buffers of this format may be made.
    fn offers(&self, code: Fourcc) -> bool {
        self.formats.iter().any(|format| format.code == code)
    }

    /// One more import by the GPU; whether it is to forget those that are gone.
    fn is_due_to_forget(&mut self) -> bool {
        self.imports += 1;
        let due = self.imports >= FORGET_EVERY;
        if due {
            self.imports = 0;
        }
        due
    }

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
        if self.dmabufs.feedback.is_some() {
            return;
        }
        self.dmabufs.formats = offered(&formats);
        if self.dmabufs.formats.is_empty() {
            return;
        }
        match DmabufFeedbackBuilder::new(device, self.dmabufs.formats.iter().copied()).build() {
            Ok(feedback) => {
                self.dmabufs.feedback = Some(feedback);
                display.create_global::<State, ZwpLinuxDmabufV1, _>(VERSION, Offer);
            }
            Err(error) => tracing::warn!("dmabufs are not offered to guests: {error}"),
        }
    }
}

/// What is offered where a renderer imports these: pixels of 16 or 32 bits, as the renderer says, and as rows where the
/// processor reads those when nothing else does, whatever the renderer says of them; each once.
fn offered(formats: &[Format]) -> Vec<Format> {
    let known: Vec<Format> = formats
        .iter()
        .filter(|format| get_bpp(format.code).is_some_and(|bits| bits == 32 || bits == 16))
        .copied()
        .collect();
    let readable = known.iter().filter(|format| READABLE.contains(&format.code));
    let rows: Vec<Format> = readable.map(|format| Format { modifier: Modifier::Linear, ..*format }).collect();
    let mut offered = Vec::with_capacity(known.len() + rows.len());
    for format in known.into_iter().chain(rows) {
        if !offered.contains(&format) {
            offered.push(format);
        }
    }
    offered
}

/// The data of the global.
#[derive(Debug)]
pub struct Offer;

impl GlobalDispatch<ZwpLinuxDmabufV1, Offer> for State {
    fn bind(
        state: &mut Self,
        _display: &DisplayHandle,
        client: &Client,
        resource: New<ZwpLinuxDmabufV1>,
        _data: &Offer,
        init: &mut DataInit<'_, Self>,
    ) {
        match admit_bound(client, Thing::Global) {
            Ok(()) => tell_formats(&init.init(resource, Offer), &state.protocols.dmabufs.formats),
            Err(why) => init.post_error(resource, NO_MEMORY, why),
        }
    }
}

/// Tells the formats by events, where the version is too old for feedback, and without their layouts, where it is too
/// old for those.
fn tell_formats(dmabuf: &ZwpLinuxDmabufV1, formats: &[Format]) {
    if dmabuf.version() >= zwp_linux_dmabuf_v1::REQ_GET_DEFAULT_FEEDBACK_SINCE {
        return;
    }
    let layouts = dmabuf.version() >= zwp_linux_dmabuf_v1::EVT_MODIFIER_SINCE;
    let mut told = Vec::new();
    for format in formats {
        let code = format.code as u32;
        let modifier = u64::from(format.modifier);
        if layouts {
            dmabuf.modifier(code, (modifier >> 32) as u32, modifier as u32);
        } else if matches!(format.modifier, Modifier::Invalid | Modifier::Linear) && !told.contains(&code) {
            told.push(code);
            dmabuf.format(code);
        }
    }
}

counted_dispatch! {
    WlBuffer, Dmabuf => DmabufState;
}

/// What one feedback has: nothing, it is told once and forgotten.
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

impl Dispatch<ZwpLinuxDmabufV1, Offer> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        dmabuf: &ZwpLinuxDmabufV1,
        request: zwp_linux_dmabuf_v1::Request,
        _data: &Offer,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use zwp_linux_dmabuf_v1::Request;
        if !admit(display, client, dmabuf) {
            return;
        }
        match request {
            // What suits one surface suits all.
            Request::GetDefaultFeedback { id } | Request::GetSurfaceFeedback { id, .. }
                if admit_thing(client, dmabuf, Thing::Feedback) =>
            {
                let feedback = init.init(id, Feedback);
                if let Some(formats) = &state.protocols.dmabufs.feedback {
                    formats.send(&feedback);
                }
            }
            Request::CreateParams { params_id } if admit_thing(client, dmabuf, Thing::Parameters) => {
                init.init(params_id, Params::default());
            }
            _ => {}
        }
    }

    fn destroyed(_state: &mut Self, _client: ClientId, dmabuf: &ZwpLinuxDmabufV1, _data: &Offer) {
        ended(dmabuf);
    }
}
