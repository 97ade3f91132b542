//! What the renderer gives out of resources that are shown, so that nothing of them is copied: textures as dmabufs,
//! blobs as the files that they are.
//!
//! A resource is asked for when a scanout is to show it for the first time; until the answer is there the scanout shows
//! what it showed before. What comes is taken for hostile: that the files are what they are said to be, and hold the
//! picture, is found out by [`crate::renderer::client`], sizes and formats are compared here with what the guest was
//! granted. What the renderer does not give out, or the screen does not take, is read back instead; a blob then cannot
//! be shown.

use super::answers::{Purpose, ThreeDEvent};
use super::{ThreeD, unsent};
use crate::frames::{Dmabuf, Plane, SharedBuffer};
use crate::gpu::blob::Image;
use crate::gpu::class::Class;
use crate::gpu::formats::{BYTES_PER_PIXEL, Format};
use crate::gpu::host_image::next_buffer_id;
use crate::gpu::outcome::{Done, Outcome, Refused, Token};
use crate::gpu::resources::{HostBlob, Resource, Resources};
use crate::gpu::texture::Texture;
use crate::gpu::wire::{Header, Status};
use crate::renderer::wire::{self, Request};
use phyllome_protocol::descriptor::describe;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Most resources whose files are kept: more are asked for again when they are shown again.
const MAX_EXPORTS: usize = 40;
/// Most pictures of one blob, which differ in how its bytes are looked at.
const MAX_PICTURES: usize = 4;

/// What is known of one resource.
#[derive(Debug)]
enum Given {
    /// The answer will be that to this.
    Asked(Token),
    /// A texture.
    Texture(Arc<SharedBuffer>),
    /// A blob: a dmabuf, or memory that cannot shrink, and how many bytes of it are there.
    Blob { file: OwnedFd, size: u64, pictures: Vec<(Image, Arc<SharedBuffer>)> },
    /// It is read back, if it can be.
    Refused,
}

/// What is known of all that was shown.
#[derive(Debug, Default)]
pub(super) struct Exports {
    known: HashMap<u32, (u64, Given)>,
    next: u64,
}

impl Exports {
    /// The resource is gone.
    pub fn forget(&mut self, id: u32) {
        self.known.remove(&id);
    }

    fn insert(&mut self, id: u32, state: Given, shown: &[u32]) {
        while self.known.len() >= MAX_EXPORTS {
            let idle = self.known.iter().filter(|(other, _)| !shown.contains(other));
            let Some(oldest) = idle.min_by_key(|(_, (order, _))| *order).map(|(&other, _)| other) else { break };
            self.known.remove(&oldest);
        }
        self.next += 1;
        self.known.insert(id, (self.next, state));
    }

    /// Whether an answer to this was waited for.
    fn awaits(&mut self, id: u32, token: Token) -> Option<&mut Given> {
        let (_, state) = self.known.get_mut(&id)?;
        matches!(state, Given::Asked(asked) if *asked == token).then_some(state)
    }
}

impl ThreeD {
    /// SET_SCANOUT with a texture: asks for it, if that was not done before. `shown` are the resources of all scanouts.
    pub fn prepare(&mut self, id: u32, texture: &Texture, shown: &[u32]) -> Result<(), Refused> {
        let unshown = (Status::ErrInvalidParameter, Class::Format);
        texture.shown_format().ok_or(unshown)?;
        if self.exports.known.contains_key(&id) {
            return Ok(());
        }
        // Of a renderer that cannot be asked now it is read back, and asked for when it is shown again.
        if let Ok(ticket) = self.client.send(&Request::Export(id), &[]) {
            let token = self.answers.expect(ticket, Purpose::Export(id));
            self.exports.insert(id, Given::Asked(token), shown);
        }
        Ok(())
    }

    /// SET_SCANOUT_BLOB with a blob of host memory: asks for its file, if that was not done before.
    pub fn prepare_blob(&mut self, header: &Header, id: u32, blob: &HostBlob, image: &Image, shown: &[u32]) -> Done {
        if image.end() > blob.what.size {
            return Err((Status::ErrInvalidParameter, Class::BlobImage));
        }
        match self.exports.known.get(&id) {
            Some((_, Given::Refused)) => Err((Status::ErrUnspec, Class::BlobKind)),
            Some(_) => Ok(Outcome::Answer),
            None => {
                let ticket = self.client.send(&Request::Map(id), &[]).map_err(unsent)?;
                let (outcome, token) = self.expect(header, ticket, Purpose::Picture(id));
                self.exports.insert(id, Given::Asked(token), shown);
                Ok(outcome)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn knows(&self, id: u32) -> bool {
        self.exports.known.contains_key(&id)
    }

    /// Whether it is not known yet what a resource can be shown with.
    pub fn is_asked(&self, id: u32) -> bool {
        matches!(self.exports.known.get(&id), Some((_, Given::Asked(_))))
    }

    /// What a resource is shown with, if the renderer has given it out.
    pub(super) fn given(&mut self, id: u32, image: Option<&Image>) -> Option<Arc<SharedBuffer>> {
        match (self.exports.known.get_mut(&id), image) {
            (Some((_, Given::Texture(buffer))), None) => Some(buffer.clone()),
            (Some((_, Given::Blob { file, size, pictures })), Some(image)) => {
                if let Some((_, known)) = pictures.iter().find(|(known, _)| known == image) {
                    return Some(known.clone());
                }
                let buffer = Arc::new(of_blob(file, *size, image)?);
                pictures.truncate(MAX_PICTURES - 1);
                pictures.insert(0, (*image, buffer.clone()));
                Some(buffer)
            }
            _ => None,
        }
    }

    /// The screen does not take this buffer.
    pub fn refuse(&mut self, buffer: u64) {
        for (&id, (_, state)) in &mut self.exports.known {
            match state {
                Given::Texture(texture) if texture.id == buffer => *state = Given::Refused,
                Given::Blob { pictures, .. } if pictures.iter().any(|(_, picture)| picture.id == buffer) => {
                    *state = Given::Refused;
                    self.answers.push(ThreeDEvent::Unshowable(id));
                }
                Given::Texture(_) | Given::Blob { .. } | Given::Asked(_) | Given::Refused => {}
            }
        }
    }

    pub(super) fn exported(
        &mut self,
        id: u32,
        token: Token,
        export: wire::Export,
        files: Vec<OwnedFd>,
        resources: &Resources,
    ) {
        let Ok(what) = resources.texture(id).map(|texture| texture.what) else { return };
        let Some(state) = self.exports.awaits(id, token) else { return };
        *state = match of_texture((what.width, what.height), &export, files) {
            Some(buffer) => Given::Texture(Arc::new(buffer)),
            None => {
                tracing::debug!(
                    ?export,
                    "a texture was given out that is not the one that was asked for; it is read back"
                );
                Given::Refused
            }
        };
    }

    pub(super) fn picture_given(&mut self, id: u32, token: Token, file: OwnedFd, size: u64) {
        if let Some(state) = self.exports.awaits(id, token) {
            *state = Given::Blob { file, size, pictures: Vec::new() };
        }
    }

    pub(super) fn export_refused(&mut self, id: u32, token: Token, resources: &Resources) {
        let Some(state) = self.exports.awaits(id, token) else { return };
        *state = Given::Refused;
        if matches!(resources.get(id), Ok(Resource::HostBlob(_))) {
            self.answers.push(ThreeDEvent::Unshowable(id));
        }
    }
}

/// A texture of this size, as it was given out.
fn of_texture(size: (u32, u32), export: &wire::Export, files: Vec<OwnedFd>) -> Option<SharedBuffer> {
    let wire::Export { width, height, fourcc, modifier, bottom_up, ref planes } = *export;
    let stride = planes.first()?.stride;
    let row = u64::from(width) * u64::from(BYTES_PER_PIXEL);
    let sane = (width, height) == size && Format::from_fourcc(fourcc).is_some() && files.len() == planes.len();
    // Only of pixels in rows is it known what a row is; drivers check the rest.
    if !sane || (modifier == Dmabuf::LINEAR && (u64::from(stride) < row || planes.len() != 1)) {
        return None;
    }
    let planes =
        planes.iter().zip(files).map(|(plane, file)| Plane { file, offset: plane.offset, stride: plane.stride });
    let dmabuf = Some(Dmabuf { planes: planes.collect(), modifier, bottom_up });
    Some(SharedBuffer { id: next_buffer_id(), memfd: None, dmabuf, width, height, stride, fourcc, replaceable: true })
}

/// A picture in a blob's file of `size` bytes.
fn of_blob(file: &OwnedFd, size: u64, image: &Image) -> Option<SharedBuffer> {
    if image.end() > size {
        return None;
    }
    let is_dmabuf = describe(file.as_fd()).is_dmabuf();
    let file = file.try_clone().ok()?;
    if is_dmabuf {
        return Some(image.buffer(None, Some(Dmabuf::linear(file, image.offset(), image.stride()))));
    }
    // Shared memory begins with the picture.
    (image.offset() == 0).then(|| image.buffer(Some(file), None))
}
