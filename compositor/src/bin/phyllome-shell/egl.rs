//! What EGL draws with, for `phyllome doctor`.
//!
//! Run as a process of its own, which does nothing else: loading EGL loads the GPU's driver, which may crash. It opens
//! no window and no display device.

use smithay::backend::egl::native::EGLSurfacelessDisplay;
use smithay::backend::egl::{EGLContext, EGLDisplay};
use smithay::backend::renderer::gles::{GlesRenderer, ffi};
use std::ffi::CStr;

/// The renderer's name, as GL tells it, such as `llvmpipe (LLVM 15.0.6, 256 bits)`; or one sentence why there is none.
pub fn probe() -> Result<String, String> {
    // SAFETY: loading libEGL runs its initialisers, which is what using it means; smithay panics where it is missing.
    if unsafe { libloading::Library::new("libEGL.so.1") }.is_err() {
        return Err("libEGL.so.1 is not installed".to_owned());
    }
    // SAFETY: the display is made from no native handle that could go away.
    let display = unsafe { EGLDisplay::new(EGLSurfacelessDisplay) }.map_err(|error| error.to_string())?;
    let context = EGLContext::new(&display).map_err(|error| error.to_string())?;
    // SAFETY: the context was just made and is current on no thread.
    let mut renderer = unsafe { GlesRenderer::new(context) }.map_err(|error| error.to_string())?;
    let name = renderer.with_context(|gl| {
        // SAFETY: the context is current; RENDERER is a name that every version of GL knows.
        let text = unsafe { gl.GetString(ffi::RENDERER) };
        if text.is_null() {
            return None;
        }
        // SAFETY: GL gives a string that ends with a zero byte and lives as long as the context.
        Some(unsafe { CStr::from_ptr(text.cast()) }.to_string_lossy().into_owned())
    });
    name.map_err(|error| error.to_string())?.ok_or_else(|| "GL does not tell its renderer's name".to_owned())
}
