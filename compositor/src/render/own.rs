//! Textures of the shell's own pixels, which each renderer makes in its own way.

use crate::wayland::mapped::ImportMapped;
use phyllome_trusted::pixels::Pixels;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::ImportMem;
use smithay::backend::renderer::gles::{GlesRenderer, ffi};
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer, PixmanTexture};
use smithay::reexports::pixman;
use smithay::utils::{Buffer, Rectangle, Size};
use std::rc::Rc;

/// Makes textures of the shell's own pixels, and of what guests have where only the processor can read it.
pub trait ImportOwn: ImportMem + ImportMapped {
    /// Whether a texture is a copy of the pixels, which is told what changed of them. One that is not reads them where
    /// they are: it is made anew for each frame, so that between frames nobody but their owner has them.
    const COPIES: bool;

    /// Whether the GPU has refused something since this was last asked, for want of memory most likely. A texture that
    /// was made or changed since then has unknown pixels.
    fn has_failed(&mut self) -> bool {
        false
    }

    /// A texture of `pixels`, which the caller keeps for as long as the texture.
    fn import_own(
        &mut self,
        pixels: &Rc<Pixels>,
        format: Fourcc,
        size: Size<i32, Buffer>,
    ) -> Result<Self::TextureId, Self::Error> {
        self.import_memory(&pixels.data, format, size, false)
    }

    /// Copies `part` of `pixels` to a texture that was made of pixels of the same size, where textures are copies.
    fn update_own(
        &mut self,
        texture: &Self::TextureId,
        pixels: &Rc<Pixels>,
        part: Rectangle<i32, Buffer>,
    ) -> Result<(), Self::Error> {
        self.update_memory(texture, &pixels.data, part)
    }
}

/// Most errors that GL remembers at once, one of each kind.
const GL_ERRORS: usize = 8;

impl ImportOwn for GlesRenderer {
    const COPIES: bool = true;

    fn has_failed(&mut self) -> bool {
        let failed = self.with_context(|gl| {
            // SAFETY: the context is current, and glGetError has no other precondition.
            (0..GL_ERRORS).take_while(|_| unsafe { gl.GetError() } != ffi::NO_ERROR).count() > 0
        });
        failed.unwrap_or(true)
    }
}

impl ImportOwn for PixmanRenderer {
    const COPIES: bool = false;

    /// Pixman reads the pixels where they are: a second copy of a screen is 4 MiB.
    fn import_own(
        &mut self,
        pixels: &Rc<Pixels>,
        format: Fourcc,
        size: Size<i32, Buffer>,
    ) -> Result<PixmanTexture, PixmanError> {
        let start = pixels.data.as_ptr().cast::<u32>();
        let length = pixels.width as usize * pixels.height as usize * 4;
        let Ok(code) = pixman::FormatCode::try_from(format) else {
            return Err(PixmanError::UnsupportedPixelFormat(format));
        };
        if !start.is_aligned() || pixels.data.len() < length {
            return self.import_memory(&pixels.data, format, size, false);
        }
        let (width, height) = (pixels.width as usize, pixels.height as usize);
        // SAFETY: `start` is aligned and `height` rows of `width` pixels of four bytes lie behind it. Pixels are
        // changed only through an `Rc` that nobody else has (`Rc::make_mut`), and whoever keeps this texture keeps a
        // clone: strips and pieces, which last for one frame. Pixman writes only into the image that it draws to, which
        // this never is.
        let image = unsafe { pixman::Image::from_raw_mut(code, width, height, start.cast_mut(), width * 4, false) };
        image.map(PixmanTexture::from).map_err(|_| PixmanError::ImportFailed)
    }
}
