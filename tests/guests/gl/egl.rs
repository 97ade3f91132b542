//! The least of EGL and GBM that a picture needs, from the libraries of the guest that this runs in.
//!
//! Function types are those of EGL 1.5 (`EGL/egl.h`) and of Mesa's `gbm.h`; every pointer comes from the library that
//! it is given to.

use std::ffi::{CStr, c_char, c_int, c_void};

type Ptr = *mut c_void;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> Ptr;
    fn dlsym(library: Ptr, name: *const c_char) -> Ptr;
}

/// An open library; never closed.
#[derive(Clone, Copy)]
pub struct Library(Ptr);

impl Library {
    /// Opens it by its name.
    pub fn open(name: &CStr) -> Result<Self, String> {
        // SAFETY: the name is a C string; RTLD_NOW is 2. The library's own start-up code is trusted: it is the guest's
        // Mesa.
        let library = unsafe { dlopen(name.as_ptr(), 2) };
        if library.is_null() { Err(format!("there is no {name:?}")) } else { Ok(Self(library)) }
    }

    /// A function of it.
    ///
    /// # Safety
    ///
    /// `T` is the type of a pointer to the function of this name.
    pub unsafe fn function<T: Copy>(self, name: &CStr) -> Result<T, String> {
        assert_eq!(size_of::<T>(), size_of::<Ptr>());
        // SAFETY: the library is open and the name is a C string.
        let function = unsafe { dlsym(self.0, name.as_ptr()) };
        if function.is_null() {
            return Err(format!("there is no function {name:?}"));
        }
        // SAFETY: the sizes are equal, and that the type is right is the caller's promise.
        Ok(unsafe { std::mem::transmute_copy(&function) })
    }
}

/// Gets a function: `function!(library, c"name": fn(argument types) -> result)`.
#[macro_export]
macro_rules! function {
    ($library:expr, $name:literal: fn($($argument:ty),*) $(-> $result:ty)?) => {{
        type Function = unsafe extern "C" fn($($argument),*) $(-> $result)?;
        let (library, name) = ($library, $name);
        // SAFETY: the type is the one that the header has for this name.
        unsafe { library.function::<Function>(name)? }
    }};
}

const FORMAT: u32 = 0x3432_5258; // XR24

/// A GBM device with a surface to draw on.
pub struct Gbm {
    library: Library,
    device: Ptr,
    surface: Ptr,
    width: u32,
    height: u32,
}

/// A drawn buffer.
pub struct Front {
    /// Its GEM handle.
    pub handle: u32,
    /// Bytes of a row.
    pub stride: u32,
    buffer: Ptr,
}

impl Gbm {
    /// Makes a surface for the screen on an open DRM device, which must stay open.
    pub fn new(fd: c_int, width: u32, height: u32) -> Result<Self, String> {
        const SCANOUT_AND_RENDERING: u32 = 1 | 4;
        let library = Library::open(c"libgbm.so.1")?;
        let create_device = function!(library, c"gbm_create_device": fn(c_int) -> Ptr);
        let create_surface = function!(library, c"gbm_surface_create": fn(Ptr, u32, u32, u32, u32) -> Ptr);
        // SAFETY: the descriptor is open.
        let device = unsafe { create_device(fd) };
        if device.is_null() {
            return Err("gbm_create_device failed".to_owned());
        }
        // SAFETY: the device was just made.
        let surface = unsafe { create_surface(device, width, height, FORMAT, SCANOUT_AND_RENDERING) };
        if surface.is_null() {
            return Err("gbm_surface_create failed".to_owned());
        }
        Ok(Self { library, device, surface, width, height })
    }

    /// The buffer that was drawn last; call it after each swap.
    pub fn lock_front(&self) -> Result<Front, String> {
        let lock = function!(self.library, c"gbm_surface_lock_front_buffer": fn(Ptr) -> Ptr);
        // `union gbm_bo_handle` of 8 bytes comes back in a register, as an integer does.
        let handle = function!(self.library, c"gbm_bo_get_handle": fn(Ptr) -> u64);
        let stride = function!(self.library, c"gbm_bo_get_stride": fn(Ptr) -> u32);
        // SAFETY: a swap precedes, and the surface has a buffer to lock.
        let buffer = unsafe { lock(self.surface) };
        if buffer.is_null() {
            return Err("gbm_surface_lock_front_buffer failed".to_owned());
        }
        // SAFETY: the buffer was just locked.
        let (handle, stride) = unsafe { (handle(buffer) as u32, stride(buffer)) };
        Ok(Front { handle, stride, buffer })
    }

    /// Gives a buffer back that is not shown any more.
    pub fn release(&self, front: Front) {
        let release =
            || -> Result<_, String> { Ok(function!(self.library, c"gbm_surface_release_buffer": fn(Ptr, Ptr))) };
        if let Ok(release) = release() {
            // SAFETY: the buffer is locked and of this surface; it is given back once.
            unsafe { release(self.surface, front.buffer) };
        }
    }
}

/// A current GLES context with something to draw on.
pub struct Display {
    library: Library,
    display: Ptr,
    surface: Ptr,
}

const NONE: i32 = 0x3038;
const WINDOW: i32 = 4;
const PBUFFER: i32 = 1;

impl Display {
    /// On a screen's buffers.
    pub fn on_gbm(gbm: &Gbm) -> Result<Self, String> {
        Self::new(0x31d7, gbm.device, WINDOW, Some(gbm))
            .map_err(|error| format!("{error} ({}x{})", gbm.width, gbm.height))
    }

    /// On a buffer of its own that nobody sees.
    pub fn off_screen(width: u32, height: u32) -> Result<Self, String> {
        let mut display = Self::new(0x31dd, std::ptr::null_mut(), PBUFFER, None)?;
        display.make_pbuffer(width, height)?;
        Ok(display)
    }

    fn new(platform: u32, native: Ptr, kind: i32, gbm: Option<&Gbm>) -> Result<Self, String> {
        let library = Library::open(c"libEGL.so.1")?;
        let get_display = function!(library, c"eglGetPlatformDisplay": fn(u32, Ptr, *const isize) -> Ptr);
        let initialize = function!(library, c"eglInitialize": fn(Ptr, *mut i32, *mut i32) -> u32);
        let bind = function!(library, c"eglBindAPI": fn(u32) -> u32);
        // SAFETY: the native display is a live GBM device, or none where the platform has none.
        let display = unsafe { get_display(platform, native, std::ptr::null()) };
        // SAFETY: the versions may be null; 0x30a0 is EGL_OPENGL_ES_API.
        if display.is_null() || unsafe { initialize(display, std::ptr::null_mut(), std::ptr::null_mut()) == 0 } {
            return Err("EGL does not start".to_owned());
        }
        // SAFETY: takes a number.
        unsafe { bind(0x30a0) };
        let mut this = Self { library, display, surface: std::ptr::null_mut() };
        if let Some(gbm) = gbm {
            let config = this.config(kind)?;
            let create = function!(library, c"eglCreateWindowSurface": fn(Ptr, Ptr, Ptr, *const i32) -> Ptr);
            // SAFETY: the configuration is this display's and the surface that of the GBM device.
            this.surface = unsafe { create(display, config, gbm.surface, [NONE].as_ptr()) };
            this.make_current(config)?;
        }
        Ok(this)
    }

    fn make_pbuffer(&mut self, width: u32, height: u32) -> Result<(), String> {
        let config = self.config(PBUFFER)?;
        let create = function!(self.library, c"eglCreatePbufferSurface": fn(Ptr, Ptr, *const i32) -> Ptr);
        let size = [0x3057, width as i32, 0x3056, height as i32, NONE];
        // SAFETY: the configuration is this display's and the list is ended.
        self.surface = unsafe { create(self.display, config, size.as_ptr()) };
        self.make_current(config)
    }

    /// A configuration of 8 bits a colour and a depth buffer; for a window, one of the screen's format.
    fn config(&self, kind: i32) -> Result<Ptr, String> {
        let choose = function!(self.library, c"eglChooseConfig": fn(Ptr, *const i32, *mut Ptr, i32, *mut i32) -> u32);
        let attribute = function!(self.library, c"eglGetConfigAttrib": fn(Ptr, Ptr, i32, *mut i32) -> u32);
        // EGL_SURFACE_TYPE, EGL_RENDERABLE_TYPE (GLES 2), red, green, blue, depth.
        let wanted = [0x3033, kind, 0x3040, 4, 0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3025, 16, NONE];
        let mut configs = [std::ptr::null_mut(); 256];
        let mut count = 0;
        // SAFETY: the list is ended and the array has the stated length.
        if unsafe { choose(self.display, wanted.as_ptr(), configs.as_mut_ptr(), 256, &mut count) } == 0 {
            return Err("eglChooseConfig failed".to_owned());
        }
        let of_screen = |config: &&Ptr| {
            let mut visual = 0;
            // SAFETY: the configuration was just given by this display; 0x302e is EGL_NATIVE_VISUAL_ID.
            unsafe { attribute(self.display, **config, 0x302e, &mut visual) };
            kind != WINDOW || visual as u32 == FORMAT
        };
        let given = configs.get(..count.max(0) as usize).unwrap_or_default();
        given.iter().find(of_screen).copied().ok_or_else(|| "EGL has no configuration for this screen".to_owned())
    }

    fn make_current(&self, config: Ptr) -> Result<(), String> {
        let create = function!(self.library, c"eglCreateContext": fn(Ptr, Ptr, Ptr, *const i32) -> Ptr);
        let make_current = function!(self.library, c"eglMakeCurrent": fn(Ptr, Ptr, Ptr, Ptr) -> u32);
        // SAFETY: the configuration is this display's; 0x3098 is EGL_CONTEXT_CLIENT_VERSION.
        let context = unsafe { create(self.display, config, std::ptr::null_mut(), [0x3098, 2, NONE].as_ptr()) };
        if self.surface.is_null() || context.is_null() {
            return Err("EGL has no surface or no context".to_owned());
        }
        // SAFETY: all are this display's own.
        let done = unsafe { make_current(self.display, self.surface, self.surface, context) };
        if done == 0 { Err("eglMakeCurrent failed".to_owned()) } else { Ok(()) }
    }

    /// Ends a frame.
    pub fn swap(&self) -> Result<(), String> {
        let swap = function!(self.library, c"eglSwapBuffers": fn(Ptr, Ptr) -> u32);
        // SAFETY: the surface is this display's own and current.
        if unsafe { swap(self.display, self.surface) } == 0 { Err("eglSwapBuffers failed".to_owned()) } else { Ok(()) }
    }
}
