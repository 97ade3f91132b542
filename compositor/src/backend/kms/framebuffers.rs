//! Guests' dmabufs as framebuffers: what a display reads by itself, whether or not the GPU does.
//!
//! The kernel's driver decides. Where nothing else of this program has buffers of the device, the kernel is asked by
//! itself, and a buffer's handle is given back as soon as the framebuffer has it; where a GPU's driver has, it keeps
//! count of the handles, which are the same for the same buffer, and is asked in its place.

use crate::backend::elsewhere;
use smithay::backend::allocator::dmabuf::{Dmabuf, WeakDmabuf};
use smithay::backend::allocator::gbm::GbmDevice;
use smithay::backend::allocator::{Buffer as _, Fourcc, Modifier};
use smithay::backend::drm::DrmDeviceFd;
use smithay::backend::drm::gbm::{GbmFramebuffer, framebuffer_from_dmabuf};
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::buffer::{self, PlanarBuffer};
use smithay::reexports::drm::control::{Device as _, FbCmd2Flags, framebuffer};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What was refused is not tried for so long.
pub const AGAIN: Duration = Duration::from_secs(10);

/// A guest's buffer as a display reads it.
#[derive(Debug)]
pub enum Framebuffer {
    /// Of the kernel.
    Own(OwnFramebuffer),
    /// Of GBM.
    Gbm(GbmFramebuffer),
}

/// One that was made without a library.
#[derive(Debug)]
pub struct OwnFramebuffer {
    fd: DrmDeviceFd,
    handle: framebuffer::Handle,
}

impl Framebuffer {
    /// What a plane is told to show.
    pub fn handle(&self) -> framebuffer::Handle {
        match self {
            Self::Own(own) => own.handle,
            Self::Gbm(gbm) => *gbm.as_ref(),
        }
    }
}

impl Drop for OwnFramebuffer {
    fn drop(&mut self) {
        if let Err(error) = self.fd.destroy_framebuffer(self.handle) {
            tracing::debug!("a guest's framebuffer cannot be given back: {error}");
        }
    }
}

/// What is known of a buffer.
#[derive(Debug)]
enum Known<F> {
    /// The device reads it.
    Read(Rc<F>),
    /// It was refused then. That may be of the moment: of memory that was scarce.
    Refused(Instant),
}

/// Those of the buffers that are there, and which of them the device refused. As many as guests may have buffers.
#[derive(Debug)]
pub struct Framebuffers<F = Framebuffer> {
    known: HashMap<WeakDmabuf, Known<F>>,
}

impl<F> Default for Framebuffers<F> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<F> Framebuffers<F> {
    /// That of a buffer, made by `import` where there is none yet; `None` if the device does not take it, which is asked
    /// again after [`AGAIN`].
    pub fn of(
        &mut self,
        dmabuf: &Dmabuf,
        now: Instant,
        import: impl FnOnce(&Dmabuf) -> Result<F, String>,
    ) -> Option<Rc<F>> {
        let key = dmabuf.weak();
        match self.known.get(&key) {
            Some(Known::Read(framebuffer)) => return Some(framebuffer.clone()),
            Some(Known::Refused(when)) if now.saturating_duration_since(*when) < AGAIN => return None,
            _ => {}
        }
        self.sweep();
        match import(dmabuf) {
            Ok(made) => {
                let made = Rc::new(made);
                self.known.insert(key, Known::Read(made.clone()));
                Some(made)
            }
            Err(why) => {
                tracing::debug!("the display takes no such dmabuf: {why}");
                self.known.insert(key, Known::Refused(now));
                None
            }
        }
    }

    /// Forgets those whose buffers are gone. What a display shows stays until it shows another.
    pub fn sweep(&mut self) {
        self.known.retain(|dmabuf, _| !dmabuf.is_gone());
    }
}

/// The driver of a device, if pixels that are with its host can be told from those of another device.
pub fn own_driver(fd: &DrmDeviceFd) -> Option<String> {
    let driver = fd.get_driver().ok()?.name().to_string_lossy().into_owned();
    elsewhere::is_sole(&driver).then_some(driver)
}

/// A dmabuf's planes as the device knows them.
struct Imported {
    size: (u32, u32),
    format: Fourcc,
    modifier: Option<Modifier>,
    handles: [Option<buffer::Handle>; 4],
    pitches: [u32; 4],
    offsets: [u32; 4],
}

impl PlanarBuffer for Imported {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn format(&self) -> Fourcc {
        self.format
    }

    fn modifier(&self) -> Option<Modifier> {
        self.modifier
    }

    fn pitches(&self) -> [u32; 4] {
        self.pitches
    }

    fn handles(&self) -> [Option<buffer::Handle>; 4] {
        self.handles
    }

    fn offsets(&self) -> [u32; 4] {
        self.offsets
    }
}

/// By GBM.
pub fn import_by_gbm(gbm: &GbmDevice<DrmDeviceFd>, fd: &DrmDeviceFd, dmabuf: &Dmabuf) -> Result<Framebuffer, String> {
    framebuffer_from_dmabuf(fd, gbm, dmabuf, false, false).map(Framebuffer::Gbm).map_err(|error| error.to_string())
}

/// By the kernel alone, where nothing else here has buffers of the device.
pub fn import_by_prime(fd: &DrmDeviceFd, dmabuf: &Dmabuf) -> io::Result<Framebuffer> {
    let modifier = Some(dmabuf.format().modifier).filter(|modifier| *modifier != Modifier::Invalid);
    let mut imported = Imported {
        size: (dmabuf.width(), dmabuf.height()),
        format: dmabuf.format().code,
        modifier,
        handles: [None; 4],
        pitches: [0; 4],
        offsets: [0; 4],
    };
    let planes = dmabuf.handles().zip(dmabuf.strides()).zip(dmabuf.offsets());
    let mut done = Ok(());
    for (at, ((plane, stride), offset)) in planes.take(4).enumerate() {
        match fd.prime_fd_to_buffer(plane) {
            Ok(handle) => {
                imported.handles[at] = Some(handle);
                (imported.pitches[at], imported.offsets[at]) = (stride, offset);
            }
            Err(error) => {
                done = Err(error);
                break;
            }
        }
    }
    let made = done.and_then(|()| {
        let flags = if modifier.is_some() { FbCmd2Flags::MODIFIERS } else { FbCmd2Flags::empty() };
        let made = fd.add_planar_framebuffer(&imported, flags);
        // A driver without modifiers takes rows for what they are.
        if made.is_err() && modifier == Some(Modifier::Linear) {
            imported.modifier = None;
            return fd.add_planar_framebuffer(&imported, FbCmd2Flags::empty());
        }
        made
    });
    // Planes of one memory have one handle, which goes once.
    let mut handles: Vec<_> = imported.handles.into_iter().flatten().collect();
    handles.sort_unstable_by_key(|handle| u32::from(*handle));
    handles.dedup();
    for handle in handles {
        // An error means that it is gone.
        let _ = fd.close_buffer(handle);
    }
    Ok(Framebuffer::Own(OwnFramebuffer { fd: fd.clone(), handle: made? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::backend::allocator::dmabuf::DmabufFlags;
    use std::cell::Cell;

    fn dmabuf() -> Dmabuf {
        let file = rustix::fs::memfd_create("picture", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut dmabuf = Dmabuf::builder((1, 1), Fourcc::Xrgb8888, Modifier::Linear, DmabufFlags::empty());
        dmabuf.add_plane(file, 0, 0, 4);
        dmabuf.build().unwrap()
    }

    #[test]
    fn a_buffer_is_imported_once_and_one_that_was_refused_again_after_a_while() {
        let (mut all, start, asked) = (Framebuffers::<u32>::default(), Instant::now(), Cell::new(0));
        let (taken, refused) = (dmabuf(), dmabuf());
        let import = |outcome: Result<u32, String>| {
            let asked = &asked;
            move |_: &Dmabuf| {
                asked.set(asked.get() + 1);
                outcome
            }
        };
        assert_eq!(all.of(&taken, start, import(Ok(7))).as_deref(), Some(&7));
        assert_eq!(all.of(&taken, start + 2 * AGAIN, import(Ok(8))).as_deref(), Some(&7));
        assert_eq!(asked.get(), 1);
        assert_eq!(all.of(&refused, start, import(Err("no memory".into()))), None);
        assert_eq!(all.of(&refused, start + AGAIN / 2, import(Ok(9))), None);
        assert_eq!(asked.get(), 2);
        assert_eq!(all.of(&refused, start + AGAIN, import(Ok(9))).as_deref(), Some(&9));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut all = Framebuffers::<u32>::default();
        let picture = dmabuf();
        all.of(&picture, Instant::now(), |_| Ok(1));
        all.sweep();
        assert_eq!(all.known.len(), 1);
        drop(picture);
        all.sweep();
        assert!(all.known.is_empty());
    }
}
