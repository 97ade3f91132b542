//! How a dmabuf gets onto the screen: imported by the GPU, else read by the processor, else refused with the reason.

use crate::State;
use crate::outputs::RendererKind;
use crate::wayland::client::{GuestClient, guest_of};
use crate::wayland::mapped::Mapping;
use crate::wayland::things::Thing;
use phyllome_protocol::descriptor::{Description, describe};
use smithay::backend::allocator::Buffer;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::format::get_bpp;
use smithay::reexports::wayland_server::Client;
use smithay::reexports::wayland_server::backend::DisconnectReason;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use std::time::Instant;

/// How a dmabuf gets onto the screen.
pub(super) enum Import {
    /// The renderer has it, and as long as it reaches the pixels of this driver, where they are not in the memory.
    Renderer(Option<String>),
    /// The processor reads it.
    Mapped(Mapping),
}

impl State {
    /// Imports a dmabuf of `client`, or says in the log why that is impossible; who is refused too often is
    /// disconnected.
    pub(super) fn import_or_say(&mut self, dmabuf: &Dmabuf, client: &Client) -> Option<Import> {
        let guest = guest_of(client);
        let why = match self.import(dmabuf, guest) {
            Ok(import) => return Some(import),
            Err(why) => why,
        };
        let too_often = guest.is_some_and(|guest| {
            guest.remove(Thing::Buffer);
            guest.refusal().is_err()
        });
        if too_often {
            self.display.backend_handle().kill_client(client.id(), DisconnectReason::ConnectionClosed);
        }
        let name = guest.map_or("a guest", |guest| guest.name().as_str());
        if self.protocols.refusals.allow(Instant::now()) {
            tracing::warn!("a dmabuf of {name} is refused, it is to use shared memory: {why}");
        }
        None
    }

    /// `buffer` is of a dmabuf that was imported.
    pub(super) fn imported(&mut self, buffer: &WlBuffer, import: Import) {
        match import {
            Import::Renderer(None) => {}
            Import::Renderer(Some(driver)) => self.protocols.screens.note_elsewhere(buffer, driver),
            Import::Mapped(mapping) => self.protocols.screens.map_buffer(buffer, mapping),
        }
    }

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
            Ok(()) => Ok(Import::Renderer(memory.only_driver().map(str::to_owned))),
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
        if self.protocols.dmabufs.is_due_to_forget() {
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
    if !memory.holds(needed) {
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
pub(super) fn is_picture(memory: &Description) -> bool {
    memory.is_dmabuf() || memory.is_sealed_memory()
}
