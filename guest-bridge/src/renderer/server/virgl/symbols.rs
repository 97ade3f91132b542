//! What virglrenderer.h declares, as far as the renderer uses it: structures, numbers, and the table of functions that
//! were found in the library that this machine has.
//!
//! Versions 0.10 to 1.3 are meant. A function that not all of them have is an `Option`. Nothing is linked: without the
//! library, this process says so and ends.

use libloading::Library;
use std::ffi::{c_char, c_int, c_void};

/// `VIRGL_RENDERER_USE_EGL`: the library makes its own EGL display.
pub const USE_EGL: c_int = 1;
/// `VIRGL_RENDERER_THREAD_SYNC`: a thread waits for fences, and a descriptor says so.
pub const THREAD_SYNC: c_int = 1 << 1;
/// `VIRGL_RENDERER_USE_SURFACELESS`.
pub const USE_SURFACELESS: c_int = 1 << 3;
/// `VIRGL_RENDERER_USE_GLES`.
pub const USE_GLES: c_int = 1 << 4;
/// `VIRGL_RENDERER_USE_EXTERNAL_BLOB`: blobs must be descriptors, because another process maps them.
pub const USE_EXTERNAL_BLOB: c_int = 1 << 5;
/// `VIRGL_RENDERER_VENUS`.
pub const VENUS: c_int = 1 << 6;
/// `VIRGL_RENDERER_ASYNC_FENCE_CB`: fences are told from the library's own threads.
pub const ASYNC_FENCE_CB: c_int = 1 << 8;
/// `VIRGL_RENDERER_RENDER_SERVER`.
pub const RENDER_SERVER: c_int = 1 << 9;
/// `VIRGL_RENDERER_DRM`.
pub const DRM: c_int = 1 << 10;

/// `VIRGL_RENDERER_STRUCTURE_TYPE_EXPORT_QUERY`.
pub const EXPORT_QUERY: u32 = 1;
/// `VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF`.
pub const FD_DMABUF: u32 = 1;
/// `VIRGL_RENDERER_BLOB_FD_TYPE_SHM`.
pub const FD_SHM: u32 = 3;
/// `VIRGL_RENDERER_MAP_CACHE_MASK`.
pub const MAP_CACHE_MASK: u32 = 0xf;

/// `struct virgl_renderer_callbacks`, version 3.
#[repr(C)]
#[allow(missing_docs, reason = "the header's names")]
pub struct Callbacks {
    pub version: c_int,
    pub write_fence: Option<extern "C" fn(*mut c_void, u32)>,
    pub create_gl_context: *const c_void,
    pub destroy_gl_context: *const c_void,
    pub make_current: *const c_void,
    pub get_drm_fd: Option<extern "C" fn(*mut c_void) -> c_int>,
    pub write_context_fence: Option<extern "C" fn(*mut c_void, u32, u32, u64)>,
    pub get_server_fd: *const c_void,
    pub get_egl_display: *const c_void,
}

/// `struct virgl_renderer_resource_create_args`.
#[repr(C)]
#[allow(missing_docs, reason = "the header's names")]
pub struct CreateArgs {
    pub handle: u32,
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub array_size: u32,
    pub last_level: u32,
    pub nr_samples: u32,
    pub flags: u32,
}

/// `struct virgl_box`.
#[repr(C)]
#[allow(missing_docs, reason = "the header's names")]
pub struct VirglBox {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub w: u32,
    pub h: u32,
    pub d: u32,
}

/// `struct virgl_renderer_export_query`.
#[repr(C)]
#[derive(Default)]
#[allow(missing_docs, reason = "the header's names")]
pub struct ExportQuery {
    pub stype: u32,
    pub stype_version: u32,
    pub size: u32,
    pub in_resource_id: u32,
    pub out_num_fds: u32,
    pub in_export_fds: u32,
    pub out_fourcc: u32,
    pub pad: u32,
    pub out_fds: [i32; 4],
    pub out_strides: [u32; 4],
    pub out_offsets: [u32; 4],
    pub out_modifier: u64,
}

/// `struct virgl_renderer_resource_info`; 1.0 has `fd` at its end, 0.10 has not.
#[repr(C)]
#[derive(Default)]
#[allow(missing_docs, reason = "the header's names")]
pub struct ResourceInfo {
    pub handle: u32,
    pub virgl_format: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub flags: u32,
    pub tex_id: u32,
    pub stride: u32,
    pub drm_fourcc: c_int,
    pub fd: c_int,
}

/// `struct virgl_renderer_resource_info_ext` of 1.0, with room for what later versions append.
#[repr(C)]
#[derive(Default)]
#[allow(missing_docs, reason = "the header's names")]
pub struct ResourceInfoExt {
    pub version: c_int,
    pub base: ResourceInfo,
    pub has_dmabuf_export: bool,
    pub planes: c_int,
    pub modifiers: u64,
    pub later: [u64; 8],
}

/// `struct virgl_renderer_resource_create_blob_args`.
#[repr(C)]
#[allow(missing_docs, reason = "the header's names")]
pub struct BlobArgs {
    pub res_handle: u32,
    pub ctx_id: u32,
    pub blob_mem: u32,
    pub blob_flags: u32,
    pub blob_id: u64,
    pub size: u64,
    pub iovecs: *const libc::iovec,
    pub num_iovs: u32,
}

/// `virgl_renderer_transfer_read_iov` and `virgl_renderer_transfer_write_iov` (whose level and count differ in sign
/// only).
pub type Transfer = unsafe extern "C" fn(u32, u32, u32, u32, u32, *mut VirglBox, u64, *mut libc::iovec, u32) -> c_int;

/// The library's functions, without their prefix `virgl_renderer_`. They stay valid for as long as the process lives.
#[allow(missing_docs, reason = "the header's names")]
pub struct Symbols {
    pub init: unsafe extern "C" fn(*mut c_void, c_int, *mut Callbacks) -> c_int,
    pub poll: unsafe extern "C" fn(),
    pub get_poll_fd: unsafe extern "C" fn() -> c_int,
    pub force_ctx_0: unsafe extern "C" fn(),
    pub get_cap_set: unsafe extern "C" fn(u32, *mut u32, *mut u32),
    pub fill_caps: unsafe extern "C" fn(u32, u32, *mut c_void),
    pub context_create: unsafe extern "C" fn(u32, u32, *const c_char) -> c_int,
    pub context_destroy: unsafe extern "C" fn(u32),
    pub ctx_attach_resource: unsafe extern "C" fn(c_int, c_int),
    pub ctx_detach_resource: unsafe extern "C" fn(c_int, c_int),
    pub submit_cmd: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    pub resource_create: unsafe extern "C" fn(*mut CreateArgs, *mut libc::iovec, u32) -> c_int,
    pub resource_unref: unsafe extern "C" fn(u32),
    pub resource_attach_iov: unsafe extern "C" fn(c_int, *mut libc::iovec, c_int) -> c_int,
    pub resource_detach_iov: unsafe extern "C" fn(c_int, *mut *mut libc::iovec, *mut c_int),
    pub transfer_read_iov: Transfer,
    pub transfer_write_iov: Transfer,
    pub create_fence: unsafe extern "C" fn(c_int, u32) -> c_int,
    pub resource_get_info: unsafe extern "C" fn(c_int, *mut ResourceInfo) -> c_int,
    pub resource_get_info_ext: Option<unsafe extern "C" fn(c_int, *mut ResourceInfoExt) -> c_int>,
    pub get_fd_for_texture2: Option<unsafe extern "C" fn(u32, *mut c_int, *mut c_int, *mut c_int) -> c_int>,
    pub execute: Option<unsafe extern "C" fn(*mut c_void, u32) -> c_int>,
    pub context_create_with_flags: Option<unsafe extern "C" fn(u32, u32, u32, *const c_char) -> c_int>,
    pub context_create_fence: Option<unsafe extern "C" fn(u32, u32, u32, u64) -> c_int>,
    pub resource_create_blob: Option<unsafe extern "C" fn(*const BlobArgs) -> c_int>,
    pub resource_export_blob: Option<unsafe extern "C" fn(u32, *mut u32, *mut c_int) -> c_int>,
    pub resource_get_map_info: Option<unsafe extern "C" fn(u32, *mut u32) -> c_int>,
}

impl Symbols {
    /// Opens the library called `name`. The error is a sentence with what to do.
    pub fn load(name: &str) -> Result<Self, String> {
        // SAFETY: the name is our parent's, not a guest's; the library's constructors are those of any program that
        // links it.
        let library = unsafe { Library::new(name) }.map_err(|error| {
            format!("3D needs virglrenderer, and {name} cannot be opened ({error}); install it (libvirglrenderer1 on Debian)")
        })?;
        // Its threads run until the process ends.
        let library: &'static Library = Box::leak(Box::new(library));
        let missing = |symbol: &str| {
            format!("{name} has no function virgl_renderer_{symbol}; install virglrenderer 0.10 or later")
        };
        macro_rules! find {
            ($symbol:literal) => {
                // SAFETY: the field that this is assigned to has the type that virglrenderer.h declares for it.
                unsafe { library.get(concat!("virgl_renderer_", $symbol, "\0").as_bytes()) }.ok().map(|found| *found)
            };
        }
        macro_rules! need {
            ($symbol:literal) => {
                find!($symbol).ok_or_else(|| missing($symbol))?
            };
        }
        Ok(Self {
            init: need!("init"),
            poll: need!("poll"),
            get_poll_fd: need!("get_poll_fd"),
            force_ctx_0: need!("force_ctx_0"),
            get_cap_set: need!("get_cap_set"),
            fill_caps: need!("fill_caps"),
            context_create: need!("context_create"),
            context_destroy: need!("context_destroy"),
            ctx_attach_resource: need!("ctx_attach_resource"),
            ctx_detach_resource: need!("ctx_detach_resource"),
            submit_cmd: need!("submit_cmd"),
            resource_create: need!("resource_create"),
            resource_unref: need!("resource_unref"),
            resource_attach_iov: need!("resource_attach_iov"),
            resource_detach_iov: need!("resource_detach_iov"),
            transfer_read_iov: need!("transfer_read_iov"),
            transfer_write_iov: need!("transfer_write_iov"),
            create_fence: need!("create_fence"),
            resource_get_info: need!("resource_get_info"),
            resource_get_info_ext: find!("resource_get_info_ext"),
            get_fd_for_texture2: find!("get_fd_for_texture2"),
            execute: find!("execute"),
            context_create_with_flags: find!("context_create_with_flags"),
            context_create_fence: find!("context_create_fence"),
            resource_create_blob: find!("resource_create_blob"),
            resource_export_blob: find!("resource_export_blob"),
            resource_get_map_info: find!("resource_get_map_info"),
        })
    }
}

/// What OpenGL calls the driver of the current context, such as `llvmpipe (LLVM 19.1.7, 256 bits)`.
pub fn gl_renderer() -> Option<String> {
    type GetProcAddress = unsafe extern "C" fn(*const c_char) -> *const c_void;
    type GetString = unsafe extern "C" fn(u32) -> *const c_char;
    const GL_RENDERER: u32 = 0x1f01;
    // SAFETY: virglrenderer has loaded the same library already.
    let egl: &'static Library = Box::leak(Box::new(unsafe { Library::new("libEGL.so.1") }.ok()?));
    // SAFETY: EGL 1.5 declares it so.
    let get_proc_address: GetProcAddress = *unsafe { egl.get(b"eglGetProcAddress\0") }.ok()?;
    // SAFETY: a C string.
    let get_string = unsafe { get_proc_address(c"glGetString".as_ptr()) };
    if get_string.is_null() {
        return None;
    }
    // SAFETY: EGL gave it for this name, and OpenGL declares it so.
    let get_string: GetString = unsafe { std::mem::transmute(get_string) };
    // SAFETY: without a current context it returns null.
    let name = unsafe { get_string(GL_RENDERER) };
    if name.is_null() {
        return None;
    }
    // SAFETY: a static C string of the driver.
    let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned();
    Some(name)
}
