//! A window's picture while it is converted: what was shown before stays until it is done.
//!
//! The flush that it shows is answered like any other: by the frame callback of its commit, or, if another picture comes
//! before it or it fails, at once.

use super::super::conversion::Conversion;
use super::{Attached, Buffers, Globals, LinkState, OwnBuffer, Picture, ScanoutReport, Surface};
use crate::frames::Rect;
use wayland_client::QueueHandle;

/// A conversion that is under way for a window.
pub(super) struct Converting {
    conversion: Conversion,
    /// Memory that becomes the window's when it is done; none if it goes to what is attached.
    memory: Option<OwnBuffer>,
    /// The flush that it will show.
    pub(super) serial: Option<u64>,
}

fn is_same(one: &Picture, other: &Picture) -> bool {
    one.buffer.id == other.buffer.id && one.source == other.source
}

impl Surface {
    /// Begins to have a picture converted, if nobody else's is: what cannot be begun now is begun later. `owed` is the
    /// newest flush, which it will show.
    pub(super) fn begin_conversion(
        &mut self,
        picture: Picture,
        owed: &mut Option<u64>,
        globals: &Globals,
        buffers: &Buffers,
        qh: &QueueHandle<LinkState>,
    ) {
        if buffers.worker.is_busy() {
            return;
        }
        let Rect { width, height, .. } = picture.source;
        let is_picture = self.attached.as_ref().is_some_and(|attached| attached.memory.is_some());
        let fits = self.own.as_ref().is_some_and(|own| is_picture && own.size == (width, height));
        let mut memory = None;
        if !fits {
            self.damage.add_all();
            match OwnBuffer::new((width, height), false, globals, &buffers.budget, qh) {
                Ok(own) => memory = Some(own),
                Err(error) => return self.give_up(&error),
            }
        }
        let Some(target) = memory.as_ref().or(self.own.as_ref()).map(OwnBuffer::memory) else { return };
        let damage = self.damage.take(width, height);
        let conversion = buffers.worker.begin(picture, damage, target, width);
        self.conversions = self.conversions.wrapping_add(1);
        self.converting = Some(Converting { conversion, memory, serial: owed.take() });
        self.dirty = false;
    }

    /// Looks after a conversion that is under way, for a scanout that shows this now. Says whether it was committed, and
    /// gives the serial of a flush that will not be shown.
    pub(super) fn look_after_conversion(
        &mut self,
        visible: Option<&Picture>,
        globals: &Globals,
        qh: &QueueHandle<LinkState>,
        report: &mut ScanoutReport,
    ) -> (bool, Option<u64>) {
        let Some(converting) = &self.converting else { return (false, None) };
        let is_wanted = visible.is_some_and(|visible| is_same(visible, &converting.conversion.picture));
        let result = converting.conversion.take_result();
        if is_wanted && result.is_none() {
            return (false, None);
        }
        let Some(Converting { conversion, memory, serial }) = self.converting.take() else { return (false, None) };
        match result {
            Some(Ok(pixels)) if is_wanted => {
                self.show_converted(&conversion, memory, (pixels, serial), globals, qh, report);
                return (true, None);
            }
            Some(Err(error)) if is_wanted => self.give_up(&error),
            // Another picture has come, or none.
            Some(_) | None => self.damage.add_all(),
        }
        self.dirty = true;
        (false, serial)
    }

    fn show_converted(
        &mut self,
        conversion: &Conversion,
        memory: Option<OwnBuffer>,
        (pixels, serial): (u64, Option<u64>),
        globals: &Globals,
        qh: &QueueHandle<LinkState>,
        report: &mut ScanoutReport,
    ) {
        if let Some(memory) = memory {
            self.retire();
            self.own = Some(memory);
        }
        let Some(buffer) = self.own.as_ref().map(|own| own.buffer.clone()) else { return };
        let Picture { buffer: shared, source } = conversion.picture.clone();
        report.buffer = "copy";
        report.copied_pixels = report.copied_pixels.saturating_add(pixels);
        report.commits += 1;
        self.set_view((source.width, source.height), None, false);
        self.turn(false);
        self.attached = Some(Attached { memory: Some(shared), source });
        // What was flushed meanwhile is still to come.
        let dirty = self.dirty;
        self.commit(&buffer, &conversion.damage, (0, 0), serial, globals, qh);
        self.dirty = dirty;
    }
}
