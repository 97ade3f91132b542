//! Copies of guests' pointers for the cursor plane, of exactly the size that is shown.
//!
//! What the plane's buffer is written from is never a guest's buffer, whose rows and height are the guest's to say.

use super::scene::MAX_CURSOR;
use crate::wayland::content::Content;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm;
use smithay::wayland::shm::with_buffer_contents;
use std::rc::Rc;

/// The pointer that was shown last.
#[derive(Default)]
pub struct Pointers {
    last: Option<Copied>,
}

struct Copied {
    id: Id,
    serial: u64,
    copy: Option<Rc<MemoryBuffer>>,
}

impl Pointers {
    /// A copy of the pointer that `content` is; `None` if it cannot be read in whole pixels with alpha.
    pub fn copy(&mut self, content: &Content) -> Option<Rc<MemoryBuffer>> {
        if let Some(copied) = &self.last
            && copied.id == content.id
            && copied.serial == content.serial
        {
            return copied.copy.clone();
        }
        let copy = copy_pointer(content).map(Rc::new);
        self.last = Some(Copied { id: content.id.clone(), serial: content.serial, copy: copy.clone() });
        copy
    }
}

/// The shown part of a small buffer, row by row and without padding; `None` if it cannot be read in whole pixels of a
/// known kind.
fn copy_pointer(content: &Content) -> Option<MemoryBuffer> {
    let source = content.source.to_i32_round::<i32>();
    let most = i32::try_from(MAX_CURSOR).ok()?;
    if !(1..=most).contains(&source.size.w) || !(1..=most).contains(&source.size.h) || source.to_f64() != content.source
    {
        return None;
    }
    let rows = |bytes: &[u8], stride: usize| {
        let (x, y) = (usize::try_from(source.loc.x).ok()?, usize::try_from(source.loc.y).ok()?);
        let (width, height) = (usize::try_from(source.size.w).ok()?, usize::try_from(source.size.h).ok()?);
        let mut copy = Vec::with_capacity(width * height * 4);
        for row in y..y + height {
            let start = row.checked_mul(stride)?.checked_add(x * 4)?;
            copy.extend_from_slice(bytes.get(start..start.checked_add(width * 4)?)?);
        }
        Some(copy)
    };
    let pixels = match &content.mapping {
        Some(mapping) if content.has_alpha && mapping.is_argb() => {
            let _reading = mapping.reading();
            rows(mapping.bytes(), mapping.stride() as usize)
        }
        Some(_) => None,
        None => with_buffer_contents(&content.buffer, |start, length, data| {
            if data.format != wl_shm::Format::Argb8888 {
                return None;
            }
            let offset = usize::try_from(data.offset).ok().filter(|offset| *offset <= length)?;
            // SAFETY: smithay maps `length` bytes at `start` while this runs, and survives a file that shrinks
            // meanwhile; what is read is copied once and only ever shown.
            let bytes = unsafe { std::slice::from_raw_parts(start.add(offset), length - offset) };
            rows(bytes, usize::try_from(data.stride).ok()?)
        })
        .ok()
        .flatten(),
    }?;
    Some(MemoryBuffer::from_slice(&pixels, Fourcc::Argb8888, source.size))
}
