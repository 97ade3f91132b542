//! Guests' pointers in buffers of a cursor plane.

use super::sheets::Sheet;
use smithay::backend::allocator::Fourcc;
use smithay::backend::drm::DrmDeviceFd;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::reexports::drm::control::framebuffer;
use std::rc::Rc;

/// A pointer in a buffer of the plane's size.
pub struct CursorBuffer {
    sheet: Sheet,
    /// What it is a copy of.
    of: Rc<MemoryBuffer>,
}

impl CursorBuffer {
    /// What the plane is told to show.
    pub fn framebuffer(&self) -> framebuffer::Handle {
        self.sheet.framebuffer()
    }
}

/// The buffers of one cursor plane: as many as there are frames that have one, and one that is written.
pub struct Cursors {
    size: (u32, u32),
    buffers: Vec<Rc<CursorBuffer>>,
}

impl Cursors {
    /// `size`: the one that the plane wants, in pixels.
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, buffers: Vec::new() }
    }

    /// Width and height of its buffers.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// A buffer with this pointer, which is not larger. One that a frame still has is never written to.
    pub fn buffer(&mut self, fd: &DrmDeviceFd, pointer: &Rc<MemoryBuffer>) -> Result<Rc<CursorBuffer>, String> {
        if let Some(known) = self.buffers.iter().find(|buffer| Rc::ptr_eq(&buffer.of, pointer)) {
            return Ok(known.clone());
        }
        let free = self.buffers.iter().position(|buffer| Rc::strong_count(buffer) == 1);
        let free = free.and_then(|at| Rc::into_inner(self.buffers.swap_remove(at)));
        let mut sheet = match free {
            Some(buffer) => buffer.sheet,
            None => Sheet::new(fd, self.size, Fourcc::Argb8888)?,
        };
        let stride = usize::try_from(pointer.stride()).unwrap_or(0).max(1);
        sheet.write(pointer.chunks_exact(stride));
        let buffer = Rc::new(CursorBuffer { sheet, of: pointer.clone() });
        self.buffers.push(buffer.clone());
        Ok(buffer)
    }
}
