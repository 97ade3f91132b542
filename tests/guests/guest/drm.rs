//! The least of KMS that a picture needs: connectors, one dumb buffer or two on each, damage or page flips.
//!
//! The structures are those of the kernel's `include/uapi/drm/drm_mode.h`. Nothing but the guest's own virtio-gpu is
//! behind them.

use crate::sys;
use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;

unsafe extern "C" {
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: c_long) -> *mut c_void;
    fn munmap(at: *mut c_void, length: usize) -> c_int;
}

const fn request<T>(number: c_ulong) -> c_ulong {
    // _IOWR('d', number, T)
    (3 << 30) | ((size_of::<T>() as c_ulong) << 16) | (0x64 << 8) | number
}

#[repr(C)]
#[derive(Default)]
struct Resources {
    fb_ids: u64,
    crtc_ids: u64,
    connector_ids: u64,
    encoder_ids: u64,
    count_fbs: u32,
    count_crtcs: u32,
    count_connectors: u32,
    count_encoders: u32,
    limits: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ModeInfo {
    clock: u32,
    hdisplay: u16,
    horizontal: [u16; 4],
    vdisplay: u16,
    vertical: [u16; 4],
    vrefresh: u32,
    flags: u32,
    kind: u32,
    name: [[u8; 16]; 2],
}

#[repr(C)]
#[derive(Default)]
struct Connector {
    encoders: u64,
    modes: u64,
    props: u64,
    prop_values: u64,
    count_modes: u32,
    count_props: u32,
    count_encoders: u32,
    encoder_id: u32,
    connector_id: u32,
    kind: u32,
    kind_id: u32,
    connection: u32,
    mm: [u32; 2],
    subpixel: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct Crtc {
    connectors: u64,
    count_connectors: u32,
    crtc_id: u32,
    fb_id: u32,
    x: u32,
    y: u32,
    gamma_size: u32,
    mode_valid: u32,
    mode: ModeInfo,
}

#[repr(C)]
#[derive(Default)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapDumb {
    handle: u32,
    pad: u32,
    offset: u64,
}

#[repr(C)]
#[derive(Default)]
struct AddFb {
    fb_id: u32,
    width: u32,
    height: u32,
    pitch: u32,
    bpp: u32,
    depth: u32,
    handle: u32,
}

#[repr(C)]
#[derive(Default)]
struct PageFlip {
    crtc_id: u32,
    fb_id: u32,
    flags: u32,
    reserved: u32,
    user_data: u64,
}

#[repr(C)]
#[derive(Default)]
struct DirtyFb {
    fb_id: u32,
    flags: u32,
    color: u32,
    count_clips: u32,
    clips: u64,
}

/// A rectangle in pixels; the ends are exclusive. `struct drm_clip_rect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clip {
    /// Left edge.
    pub x1: u16,
    /// Top edge.
    pub y1: u16,
    /// Beyond the right edge.
    pub x2: u16,
    /// Beyond the bottom edge.
    pub y2: u16,
}

/// A dumb buffer of 32 bits a pixel (blue, green, red, unused), mapped until it is given back.
pub struct Buffer {
    fb_id: u32,
    handle: u32,
    stride: usize,
    pixels: &'static mut [u32],
}

impl Buffer {
    /// One row's pixels; empty beyond the last.
    pub fn row(&mut self, y: usize) -> &mut [u32] {
        let from = y.saturating_mul(self.stride);
        self.pixels.get_mut(from..from + self.stride).unwrap_or_default()
    }
}

/// A connector that is on, with its buffers.
pub struct Screen {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// One buffer, or two where pages are flipped; the first is on show at the beginning.
    pub buffers: Vec<Buffer>,
    connector_id: u32,
    crtc_id: u32,
    mode: ModeInfo,
}

/// The DRM device.
pub struct Card {
    file: File,
}

impl AsRawFd for Card {
    fn as_raw_fd(&self) -> c_int {
        self.file.as_raw_fd()
    }
}

impl Card {
    /// Opens the first one.
    pub fn open() -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().read(true).write(true).open("/dev/dri/card0")? })
    }

    fn call<T>(&self, number: c_ulong, argument: &mut T) -> io::Result<()> {
        // SAFETY: every caller below passes the structure of its request, whose pointers are to live vectors of the
        // stated counts.
        unsafe { sys::ioctl_with(&self.file, request::<T>(number), argument) }
    }

    /// All connected connectors, each with a CRTC of its own and `buffers` fresh buffers in its preferred mode.
    pub fn screens(&self, buffers: usize) -> io::Result<Vec<Screen>> {
        let mut count = Resources::default();
        self.call(0xa0, &mut count)?;
        let mut crtcs = vec![0u32; count.count_crtcs as usize];
        let mut connectors = vec![0u32; count.count_connectors as usize];
        let mut resources = Resources {
            crtc_ids: crtcs.as_mut_ptr() as u64,
            connector_ids: connectors.as_mut_ptr() as u64,
            count_crtcs: count.count_crtcs,
            count_connectors: count.count_connectors,
            ..Default::default()
        };
        self.call(0xa0, &mut resources)?;

        // virtio-gpu has one CRTC for each connector, in the same order.
        let mut screens = Vec::new();
        for (connector_id, crtc_id) in connectors.into_iter().zip(crtcs) {
            let mut count = Connector { connector_id, ..Default::default() };
            self.call(0xa7, &mut count)?;
            if count.connection != 1 || count.count_modes == 0 {
                continue;
            }
            let mut modes = vec![ModeInfo::default(); count.count_modes as usize];
            let mut connector = Connector {
                connector_id,
                modes: modes.as_mut_ptr() as u64,
                count_modes: count.count_modes,
                ..Default::default()
            };
            self.call(0xa7, &mut connector)?;
            let Some(mode) = modes.first().copied() else { continue };
            let (width, height) = (u32::from(mode.hdisplay), u32::from(mode.vdisplay));
            let buffers = (0..buffers).map(|_| self.buffer(width, height)).collect::<io::Result<_>>()?;
            screens.push(Screen {
                width: width as usize,
                height: height as usize,
                buffers,
                connector_id,
                crtc_id,
                mode,
            });
        }
        Ok(screens)
    }

    /// The number of a framebuffer of 32 bits a pixel around a buffer (a GEM handle) with rows of `pitch` bytes.
    pub fn framebuffer(&self, handle: u32, width: u32, height: u32, pitch: u32) -> io::Result<u32> {
        let mut fb = AddFb { width, height, pitch, bpp: 32, depth: 24, handle, ..Default::default() };
        self.call(0xae, &mut fb)?;
        Ok(fb.fb_id)
    }

    fn buffer(&self, width: u32, height: u32) -> io::Result<Buffer> {
        let mut dumb = CreateDumb { width, height, bpp: 32, ..Default::default() };
        self.call(0xb2, &mut dumb)?;
        let fb_id = self.framebuffer(dumb.handle, width, height, dumb.pitch)?;
        let mut map = MapDumb { handle: dumb.handle, ..Default::default() };
        self.call(0xb3, &mut map)?;
        let length = dumb.size as usize;
        // SAFETY: a fresh shared mapping (PROT_READ|PROT_WRITE, MAP_SHARED) of the buffer's own length; the kernel
        // chooses the place.
        let at = unsafe { mmap(std::ptr::null_mut(), length, 3, 1, self.file.as_raw_fd(), map.offset as c_long) };
        if at as isize == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is page-aligned, `length` bytes long, unmapped only when the `Buffer` is gone, and
        // nothing else of this process refers to it.
        let pixels = unsafe { std::slice::from_raw_parts_mut(at.cast::<u32>(), length / 4) };
        Ok(Buffer { fb_id, handle: dumb.handle, stride: dumb.pitch as usize / 4, pixels })
    }

    /// Gives the buffers of a screen back. What is on show goes off, unless another buffer was shown before.
    pub fn give_back(&self, screen: Screen) {
        for buffer in screen.buffers {
            let (mut fb_id, mut handle) = (buffer.fb_id, buffer.handle);
            let (at, length) = (buffer.pixels.as_mut_ptr(), size_of_val(buffer.pixels));
            // SAFETY: the mapping was made for this buffer, which is gone, and with it the only reference to it.
            unsafe { munmap(at.cast(), length) };
            let _ = self.call(0xaf, &mut fb_id);
            let _ = self.call(0xb4, &mut handle);
        }
    }

    /// Shows a screen's first buffer.
    pub fn show(&self, screen: &Screen) -> io::Result<()> {
        self.show_framebuffer(screen, screen.buffers.first().map_or(0, |buffer| buffer.fb_id))
    }

    /// Sets a screen's mode with a framebuffer.
    pub fn show_framebuffer(&self, screen: &Screen, fb_id: u32) -> io::Result<()> {
        let mut connector = screen.connector_id;
        let mut crtc = Crtc {
            connectors: std::ptr::from_mut(&mut connector) as u64,
            count_connectors: 1,
            crtc_id: screen.crtc_id,
            fb_id,
            mode_valid: 1,
            mode: screen.mode,
            ..Default::default()
        };
        self.call(0xa2, &mut crtc)
    }

    /// Says which parts of a screen's first buffer have changed.
    pub fn damage(&self, screen: &Screen, clips: &mut [Clip]) -> io::Result<()> {
        let mut dirty = DirtyFb {
            fb_id: screen.buffers.first().map_or(0, |buffer| buffer.fb_id),
            count_clips: clips.len() as u32,
            clips: clips.as_mut_ptr() as u64,
            ..Default::default()
        };
        self.call(0xb1, &mut dirty)
    }

    /// Shows another of a screen's buffers at the next refresh and waits for it.
    pub fn flip(&self, screen: &Screen, buffer: usize) -> io::Result<()> {
        self.flip_to(screen, screen.buffers.get(buffer).map_or(0, |buffer| buffer.fb_id))
    }

    /// Shows a framebuffer at the next refresh and waits for it.
    pub fn flip_to(&self, screen: &Screen, fb_id: u32) -> io::Result<()> {
        const WITH_EVENT: u32 = 1;
        let mut flip = PageFlip { crtc_id: screen.crtc_id, fb_id, flags: WITH_EVENT, ..Default::default() };
        self.call(0xb0, &mut flip)?;
        let mut event = [0; 1024];
        (&self.file).read(&mut event).map(drop)
    }
}
