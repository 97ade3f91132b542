//! Whether this host's Vulkan is of use to a guest: Venus gives it every device there is, and a guest's program maps
//! memory of that device, which takes a driver that gives its memory out as dmabufs.
//!
//! Asked of the Vulkan loader, which is opened at run time, before the library is initialised and long before a guest
//! says anything. The declarations are those of vulkan_core.h, as far as they are used.

use libloading::Library;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};

/// The loader's name.
const LOADER: &str = "libvulkan.so.1";
/// More devices than this are not looked at.
const MAX_DEVICES: u32 = 16;
/// `VK_API_VERSION_1_1`.
const VERSION_1_1: u32 = 1 << 22 | 1 << 12;
/// `VK_PHYSICAL_DEVICE_TYPE_CPU`.
const TYPE_CPU: u32 = 4;
/// `VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT`.
const DMABUF: u32 = 0x200;
/// `VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT`.
const EXPORTABLE: u32 = 2;
/// `VK_BUFFER_USAGE_TRANSFER_SRC_BIT`.
const USAGE: u32 = 1;

type Instance = *mut c_void;
type Device = *mut c_void;
type Function = unsafe extern "C" fn();

/// `VkApplicationInfo`.
#[repr(C)]
struct Application {
    kind: u32,
    next: *const c_void,
    name: *const c_char,
    version: u32,
    engine: *const c_char,
    engine_version: u32,
    api: u32,
}

/// `VkInstanceCreateInfo`.
#[repr(C)]
struct Create {
    kind: u32,
    next: *const c_void,
    flags: u32,
    application: *const Application,
    layers: u32,
    layer_names: *const *const c_char,
    extensions: u32,
    extension_names: *const *const c_char,
}

/// `VkPhysicalDeviceProperties`, of which only the beginning is read.
#[repr(C, align(8))]
struct Properties {
    api: u32,
    driver: u32,
    vendor: u32,
    device: u32,
    kind: u32,
    name: [c_char; 256],
    /// At least the rest.
    rest: [u8; 2048],
}

/// `VkPhysicalDeviceExternalBufferInfo`.
#[repr(C)]
struct BufferInfo {
    kind: u32,
    next: *const c_void,
    flags: u32,
    usage: u32,
    handle: u32,
}

/// `VkExternalBufferProperties`.
#[repr(C)]
struct BufferProperties {
    kind: u32,
    next: *mut c_void,
    features: u32,
    from_imported: u32,
    compatible: u32,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    name: String,
    processor: bool,
    shares: bool,
}

/// The name of a device that a guest can use; a processor that draws counts if `processors` says so. The error is why
/// there is none: a part of a sentence.
pub fn probe(processors: bool) -> Result<String, String> {
    judge(&devices()?, processors)
}

fn judge(devices: &[Found], processors: bool) -> Result<String, String> {
    let drawing: Vec<&Found> = devices.iter().filter(|device| processors || !device.processor).collect();
    match drawing.iter().find(|device| device.shares) {
        Some(device) => Ok(device.name.clone()),
        None if devices.is_empty() => {
            Err("there is no Vulkan driver (mesa-vulkan-drivers on Debian and Fedora)".into())
        }
        None if drawing.is_empty() => {
            Err("Vulkan draws with the processor only, which the guest's own can do as well".into())
        }
        None => {
            let names: Vec<&str> = drawing.iter().map(|device| device.name.as_str()).collect();
            let mend = if drawing.iter().any(|device| device.processor) { "; load the module udmabuf" } else { "" };
            Err(format!("the memory of {} cannot be given out as dmabufs{mend}", names.join(", ")))
        }
    }
}

fn devices() -> Result<Vec<Found>, String> {
    // SAFETY: the constructors of the loader, which virglrenderer links too where it has Venus.
    let loader = unsafe { Library::new(LOADER) }
        .map_err(|_| format!("{LOADER} is not installed (libvulkan1 on Debian, vulkan-loader on Fedora)"))?;
    // Its drivers may have started threads, so it stays.
    let loader: &'static Library = Box::leak(Box::new(loader));
    type GetProc = unsafe extern "C" fn(Instance, *const c_char) -> Option<Function>;
    // SAFETY: Vulkan declares it so.
    let get: GetProc =
        *unsafe { loader.get(b"vkGetInstanceProcAddr\0") }.map_err(|_| format!("{LOADER} is no Vulkan loader"))?;
    macro_rules! function {
        ($instance:expr, $name:literal, ($($argument:ty),*) -> $result:ty) => {{
            // SAFETY: an instance, or null for the functions that take none; a C string.
            let found = unsafe { get($instance, $name.as_ptr()) };
            let found = found.ok_or_else(|| format!("this Vulkan loader has no {}", $name.to_string_lossy()))?;
            // SAFETY: Vulkan declares the function of this name so.
            unsafe { std::mem::transmute::<Function, unsafe extern "C" fn($($argument),*) -> $result>(found) }
        }};
    }
    let create = function!(null_mut(), c"vkCreateInstance", (*const Create, *const c_void, *mut Instance) -> i32);
    let application = Application {
        kind: 0,
        next: null(),
        name: c"phyllome-renderer".as_ptr(),
        version: 0,
        engine: null(),
        engine_version: 0,
        api: VERSION_1_1,
    };
    let what = Create {
        kind: 1,
        next: null(),
        flags: 0,
        application: &application,
        layers: 0,
        layer_names: null(),
        extensions: 0,
        extension_names: null(),
    };
    let mut instance = null_mut();
    // SAFETY: whole structures that outlive the call, and a place to write to.
    let result = unsafe { create(&what, null(), &mut instance) };
    if result != 0 {
        return Err(format!(
            "there is no Vulkan driver that starts (error {result}; mesa-vulkan-drivers on Debian and Fedora)"
        ));
    }
    let enumerate = function!(instance, c"vkEnumeratePhysicalDevices", (Instance, *mut u32, *mut Device) -> i32);
    let properties = function!(instance, c"vkGetPhysicalDeviceProperties", (Device, *mut Properties) -> ());
    let buffers = function!(
        instance,
        c"vkGetPhysicalDeviceExternalBufferProperties",
        (Device, *const BufferInfo, *mut BufferProperties) -> ()
    );
    let destroy = function!(instance, c"vkDestroyInstance", (Instance, *const c_void) -> ());
    let mut list = [null_mut(); MAX_DEVICES as usize];
    let mut count = MAX_DEVICES;
    // SAFETY: as many places as `count` says.
    let result = unsafe { enumerate(instance, &mut count, list.as_mut_ptr()) };
    let mut found = Vec::new();
    // 5: there are more.
    for &device in list.iter().take(count as usize).filter(|_| result == 0 || result == 5) {
        // SAFETY: numbers and bytes, for which zero is a value.
        let mut what: Properties = unsafe { std::mem::zeroed() };
        let info = BufferInfo { kind: 1_000_071_002, next: null(), flags: 0, usage: USAGE, handle: DMABUF };
        let mut shared =
            BufferProperties { kind: 1_000_071_003, next: null_mut(), features: 0, from_imported: 0, compatible: 0 };
        // SAFETY: a device of this instance; places that are large enough for what Vulkan declares.
        unsafe {
            properties(device, &mut what);
            buffers(device, &info, &mut shared);
        }
        what.name[255] = 0;
        // SAFETY: it ends within the array.
        let name = unsafe { CStr::from_ptr(what.name.as_ptr()) }.to_string_lossy().into_owned();
        let shares = shared.features & EXPORTABLE != 0;
        found.push(Found { name, processor: what.kind == TYPE_CPU, shares });
    }
    // SAFETY: nothing of it is used any more.
    unsafe { destroy(instance, null()) };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, processor: bool, shares: bool) -> Found {
        Found { name: name.into(), processor, shares }
    }

    #[test]
    fn a_device_is_of_use_if_its_memory_can_be_mapped() {
        let (gpu, llvmpipe) = (found("GPU", false, true), found("llvmpipe", true, true));
        assert_eq!(judge(&[llvmpipe.clone(), gpu.clone()], false), Ok("GPU".into()));
        assert_eq!(judge(std::slice::from_ref(&llvmpipe), true), Ok("llvmpipe".into()));
        assert!(judge(&[llvmpipe], false).unwrap_err().contains("processor only"));
        assert!(judge(&[found("GPU", false, false)], false).unwrap_err().ends_with("given out as dmabufs"));
        assert!(judge(&[found("llvmpipe", true, false)], true).unwrap_err().ends_with("load the module udmabuf"));
        assert!(judge(&[], true).unwrap_err().contains("no Vulkan driver"));
    }

    #[test]
    fn whatever_this_computer_has_there_is_an_answer() {
        let answer = probe(true);
        assert!(answer.as_ref().is_ok_and(|name| !name.is_empty()) || answer.is_err_and(|why| !why.is_empty()));
    }
}
