//! Textures of the shell's own pixels, which each renderer makes in its own way.

use crate::ui::Pixels;
use crate::wayland::mapped::ImportMapped;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::ImportMem;
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer, PixmanTexture};
use smithay::reexports::pixman;
use smithay::utils::{Buffer, Size};
use std::rc::Rc;

/// Makes textures of the shell's own pixels, and of what guests have where only the processor can read it.
pub trait ImportOwn: ImportMem + ImportMapped {
    /// A texture of `pixels`, which the caller keeps for as long as the texture.
    fn import_own(
        &mut self,
        pixels: &Rc<Pixels>,
        format: Fourcc,
        size: Size<i32, Buffer>,
    ) -> Result<Self::TextureId, Self::Error> {
        self.import_memory(&pixels.data, format, size, false)
    }
}

impl ImportOwn for GlesRenderer {}

impl ImportOwn for PixmanRenderer {
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
        // SAFETY: `start` is aligned and `height` rows of `width` pixels of four bytes lie behind it. The pixels of an `Rc<Pixels>` are never
        // changed, and Pixman writes only into the image that it draws to, which this never is. `Textures` and `Piece` keep the `Rc` for
        // as long as they keep the texture, and nothing else gets it.
        let image = unsafe { pixman::Image::from_raw_mut(code, width, height, start.cast_mut(), width * 4, false) };
        image.map(PixmanTexture::from).map_err(|_| PixmanError::ImportFailed)
    }
}
