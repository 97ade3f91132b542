//! A fence that has come, for buffers whose own fences have been waited for: a display that is given one waits for none
//! that the buffer's owner puts on it, only for what the kernel itself does with its memory. A guest can put a fence on
//! its dmabuf at any time, also one that comes late or never, and would hold up the whole display.

use super::sheets::Sheet;
use smithay::backend::allocator::Fourcc;
use smithay::backend::drm::DrmDeviceFd;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// DMA_BUF_IOCTL_EXPORT_SYNC_FILE (linux/dma-buf.h), from Linux 6.0 on.
const EXPORT_SYNC_FILE: u32 = 0xc008_6202;
/// DMA_BUF_SYNC_READ: what a reader would wait for.
const SYNC_READ: u32 = 1;

/// struct dma_buf_export_sync_file.
#[repr(C)]
struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

/// The fence of a buffer that nobody has ever drawn into.
pub fn fence(fd: &DrmDeviceFd) -> io::Result<OwnedFd> {
    let sheet = Sheet::new(fd, (64, 64), Fourcc::Xrgb8888).map_err(io::Error::other)?;
    let buffer = sheet.export(fd)?;
    let mut request = ExportSyncFile { flags: SYNC_READ, fd: -1 };
    // SAFETY: the request is the kernel's own struct, which it fills while the call lasts; the descriptor is a dmabuf's.
    let done = unsafe { libc::ioctl(buffer.as_raw_fd(), EXPORT_SYNC_FILE as libc::Ioctl, &raw mut request) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if request.fd < 0 {
        return Err(io::Error::other("the kernel gave no descriptor"));
    }
    // SAFETY: the kernel has just made this descriptor for the caller, who has it nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}
