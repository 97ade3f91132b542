//! Pictures as dmabufs: asks the library in the ways that its versions know, best first.
//!
//! Nothing that it says is taken for granted: a picture with a plane that has no descriptor or no stride is refused,
//! and then it is read back instead.

use super::Virgl;
use super::symbols::{EXPORT_QUERY, ExportQuery, ResourceInfo, ResourceInfoExt};
use crate::renderer::limits::MAX_PLANES;
use crate::renderer::wire::{Export, Plane};
use phyllome_protocol::complain;
use rustix::io::Errno;
use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Once;

/// `DRM_FORMAT_MOD_INVALID`: whatever the driver means by it.
const MODIFIER_INVALID: u64 = 0x00ff_ffff_ffff_ffff;
/// `DRM_FORMAT_MOD_LINEAR`.
const MODIFIER_LINEAR: u64 = 0;
/// `VIRGL_RESOURCE_Y_0_TOP`.
const Y_0_TOP: u32 = 1;

/// What the library says of a texture.
struct About {
    texture: u32,
    size: (u32, u32),
    fourcc: u32,
    modifier: u64,
    planes: usize,
    y_0_top: bool,
}

impl Virgl {
    /// A texture as dmabufs, one descriptor per plane. EOPNOTSUPP if the driver or the library cannot.
    pub fn export(&self, resource: u32) -> Result<(Export, Vec<OwnedFd>), Errno> {
        self.context_0();
        let about = self.about(resource)?;
        self.export_by_query(resource, &about).or_else(|by_query| {
            self.export_texture(&about).inspect_err(|error| {
                static SAID: Once = Once::new();
                // Once is enough: it is the driver that cannot, not the picture.
                SAID.call_once(|| {
                    let driver = self.driver();
                    complain(format_args!(
                        "pictures are read back: {driver} gives out no dmabuf ({error}, {by_query})"
                    ));
                });
            })
        })
    }

    fn about(&self, resource: u32) -> Result<About, Errno> {
        let (info, modifier, planes) = match self.symbols.resource_get_info_ext {
            Some(get_info) => {
                let mut info = ResourceInfoExt::default();
                // SAFETY: a place to write to, with room for what later versions add.
                super::outcome(unsafe { get_info(resource as c_int, &mut info) })?;
                (info.base, info.modifiers, usize::try_from(info.planes).unwrap_or(0))
            }
            None => {
                let mut info = ResourceInfo::default();
                // SAFETY: a place to write to, greater than 0.10 wants.
                super::outcome(unsafe { (self.symbols.resource_get_info)(resource as c_int, &mut info) })?;
                (info, MODIFIER_INVALID, 1)
            }
        };
        // What the processor draws lies in rows, whether its driver says so or not.
        let by_cpu = || self.driver().contains("llvmpipe") || self.driver().contains("softpipe");
        let modifier = if modifier == MODIFIER_INVALID && by_cpu() { MODIFIER_LINEAR } else { modifier };
        Ok(About {
            texture: info.tex_id,
            size: (info.width, info.height),
            fourcc: info.drm_fourcc as u32,
            modifier,
            planes,
            // The first row of such a texture is the last of what is shown.
            y_0_top: info.flags & Y_0_TOP != 0,
        })
    }

    /// Libraries that allocate by GBM themselves.
    fn export_by_query(&self, resource: u32, about: &About) -> Result<(Export, Vec<OwnedFd>), Errno> {
        let execute = self.symbols.execute.ok_or(Errno::OPNOTSUPP)?;
        let size = size_of::<ExportQuery>() as u32;
        let mut query = ExportQuery { stype: EXPORT_QUERY, size, in_resource_id: resource, ..ExportQuery::default() };
        query.in_export_fds = 1;
        query.out_fds = [-1; MAX_PLANES];
        // SAFETY: a structure of the size that it says, for the library to read and write.
        let result = unsafe { execute((&raw mut query).cast(), size) };
        // Where it fails it has closed what it had opened.
        super::outcome(result)?;
        let fds = owned(query.out_fds);
        let count = query.out_num_fds as usize;
        let fds = complete(fds, count)?;
        let planes = query.out_offsets.into_iter().zip(query.out_strides).take(count);
        let planes = planes.map(|(offset, stride)| Plane { offset, stride }).collect();
        finish(about, query.out_fourcc, query.out_modifier, false, planes, fds)
    }

    /// EGL_MESA_image_dma_buf_export.
    fn export_texture(&self, about: &About) -> Result<(Export, Vec<OwnedFd>), Errno> {
        let get = self.symbols.get_fd_for_texture2.ok_or(Errno::OPNOTSUPP)?;
        if about.texture == 0 || !(1..=MAX_PLANES).contains(&about.planes) {
            return Err(Errno::OPNOTSUPP);
        }
        let (mut fds, mut strides, mut offsets) = ([-1; MAX_PLANES], [0; MAX_PLANES], [0; MAX_PLANES]);
        // SAFETY: EGL writes one of each per plane, and there is room for as many as any driver has.
        let result = unsafe { get(about.texture, fds.as_mut_ptr(), strides.as_mut_ptr(), offsets.as_mut_ptr()) };
        super::outcome(result)?;
        let fds = complete(owned(fds), about.planes)?;
        let planes = offsets.into_iter().zip(strides).take(about.planes);
        let planes = planes
            .map(|(offset, stride)| Some(Plane { offset: offset.try_into().ok()?, stride: stride.try_into().ok()? }));
        let planes = planes.collect::<Option<Vec<_>>>().ok_or(Errno::OPNOTSUPP)?;
        finish(about, about.fourcc, about.modifier, about.y_0_top, planes, fds)
    }
}

/// Takes over what the library has opened, so that nothing leaks.
fn owned(fds: [c_int; MAX_PLANES]) -> Vec<Option<OwnedFd>> {
    let mut seen = Vec::with_capacity(MAX_PLANES);
    fds.into_iter()
        .map(|fd| {
            let new = fd >= 0 && !seen.contains(&fd);
            seen.push(fd);
            // SAFETY: a new descriptor that is ours now, and not the one of another plane.
            new.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
        })
        .collect()
}

/// The descriptors of the first `count` planes, if each has one.
fn complete(fds: Vec<Option<OwnedFd>>, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    let fds: Option<Vec<_>> = fds.into_iter().take(count).collect();
    fds.filter(|fds| !fds.is_empty() && fds.len() == count).ok_or(Errno::OPNOTSUPP)
}

fn finish(
    about: &About,
    fourcc: u32,
    modifier: u64,
    bottom_up: bool,
    planes: Vec<Plane>,
    fds: Vec<OwnedFd>,
) -> Result<(Export, Vec<OwnedFd>), Errno> {
    if fourcc == 0 || planes.iter().any(|plane| plane.stride == 0) {
        return Err(Errno::OPNOTSUPP);
    }
    let (width, height) = about.size;
    Ok((Export { width, height, fourcc, modifier, bottom_up, planes }, fds))
}
