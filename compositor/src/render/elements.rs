//! A scene's layers as textures that a renderer draws, with exact damage.
//!
//! Generic over the renderer; knows two things only: the shell's own pixels ([`own`]), of which what changed is
//! uploaded, and guests' surfaces ([`surface`]), imported when they are drawn and at no other time. A guest's texture
//! that cannot be read leaves the ground's colour in its place, never what was there before.

mod band;
mod own;
mod surface;

use super::cut::damage_on_screen;
use super::own::ImportOwn;
use super::pointers::Pointers;
use super::scene::{Key, Layer, Scene};
use crate::log_limit::LogLimit;
use crate::outputs::OutputId;
use crate::wayland::ids::Table;
use crate::wayland::screens::Screens;
use band::{Band, Ring};
use own::{Known, Own};
use phyllome_trusted::frame::colors;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::backend::renderer::element::{Element, Id, RenderElement};
use smithay::backend::renderer::utils::{Buffer as SurfaceBuffer, CommitCounter, DamageSet, OpaqueRegions};
use smithay::backend::renderer::{Color32F, ImportAll, Renderer, Texture};
use smithay::reexports::wayland_server::backend::ObjectId;
use smithay::utils::{Buffer, Physical, Rectangle, Scale, Size, Transform};
use std::rc::Rc;
use std::time::{Duration, Instant};
use surface::{GuestSurface, Imported};

/// The ground's colour, `#101114`.
pub fn ground() -> Color32F {
    let part = |value: u8| f32::from(value) / 255.0;
    Color32F::new(part(colors::GROUND.0), part(colors::GROUND.1), part(colors::GROUND.2), 1.0)
}

/// Whose a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The shell's.
    Shell,
    /// The guest's picture.
    Picture,
    /// The guest's pointer.
    Pointer,
}

/// What is drawn at one place of an output.
#[derive(Debug)]
pub struct Piece<T> {
    id: Id,
    place: Rectangle<i32, Physical>,
    what: What<T>,
}

/// The kinds of pieces, each with what it alone has.
#[derive(Debug)]
enum What<T> {
    /// A picture of the shell's own.
    Own(Own<T>),
    /// All strips of a band.
    Band(Band<T>),
    /// A guest's surface.
    Surface(GuestSurface<T>),
}

impl<T> Piece<T> {
    /// Whose it is.
    pub fn part(&self) -> Part {
        match &self.what {
            What::Own(_) | What::Band(_) => Part::Shell,
            What::Surface(surface) => surface.part(),
        }
    }

    /// Processor time was spent for it, which is its guest's.
    pub fn charge(&self, took: Duration) {
        match &self.what {
            What::Own(_) | What::Band(_) => {}
            What::Surface(surface) => surface.charge(took),
        }
    }

    /// A guest's picture in memory that a plane may show.
    pub fn buffer(&self) -> Option<&SurfaceBuffer> {
        match &self.what {
            What::Own(_) | What::Band(_) => None,
            What::Surface(surface) => surface.buffer(),
        }
    }

    /// A guest's pointer as a plane may show it.
    pub fn pointer(&self) -> Option<&Rc<MemoryBuffer>> {
        match &self.what {
            What::Own(_) | What::Band(_) => None,
            What::Surface(surface) => surface.pointer(),
        }
    }

    /// Whether it is a guest's, the last attempt to draw it failed, and the ground was drawn instead.
    pub fn failed(&self) -> bool {
        match &self.what {
            What::Own(_) | What::Band(_) => false,
            What::Surface(surface) => surface.failed.get(),
        }
    }
}

/// Damaged parts of a picture whose `source` is shown `size` pixels large, as parts of the place where it is shown.
fn on_screen(
    parts: DamageSet<i32, Buffer>,
    source: Rectangle<f64, Buffer>,
    size: Size<i32, Physical>,
) -> DamageSet<i32, Physical> {
    parts.into_iter().filter_map(|part| damage_on_screen(part, source, size)).collect()
}

impl<T> Element for Piece<T> {
    fn id(&self) -> &Id {
        &self.id
    }

    fn current_commit(&self) -> CommitCounter {
        match &self.what {
            What::Own(own) => own.commit(),
            What::Band(band) => band.commit,
            What::Surface(surface) => surface.commit(),
        }
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        match &self.what {
            What::Own(own) => own.source,
            What::Band(_) => band::whole_of(self.place.size),
            What::Surface(surface) => surface.source,
        }
    }

    fn transform(&self) -> Transform {
        match &self.what {
            What::Own(_) | What::Band(_) => Transform::Normal,
            What::Surface(surface) => surface.transform,
        }
    }

    fn geometry(&self, _scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.place
    }

    fn damage_since(&self, _scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        match &self.what {
            What::Own(own) => own.damage(commit, self.place.size),
            What::Band(band) => band.damage(commit),
            What::Surface(surface) => surface.damage(commit, self.place.size),
        }
    }

    fn opaque_regions(&self, _scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        let opaque = match &self.what {
            What::Own(own) => own.opaque,
            What::Band(band) => return band.places(),
            What::Surface(surface) => surface.opaque,
        };
        if opaque { OpaqueRegions::from_slice(&[Rectangle::from_size(self.place.size)]) } else { Default::default() }
    }
}

impl<T> Piece<T> {
    /// Draws it with `transform` in the place of its own.
    pub(super) fn draw_turned<R>(
        &self,
        frame: &mut R::Frame<'_, '_>,
        source: Rectangle<f64, Buffer>,
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque: &[Rectangle<i32, Physical>],
        transform: Transform,
    ) -> Result<(), R::Error>
    where
        R: Renderer<TextureId = T>,
    {
        match &self.what {
            What::Own(own) => own.draw::<R>(frame, source, place, damage, opaque, transform),
            // Joined only where nothing is turned or cut: its strips have their places.
            What::Band(band) => band.draw::<R>(frame, self.place.loc, damage),
            What::Surface(surface) => surface.draw::<R>(frame, source, place, damage, opaque, transform),
        }
    }
}

impl<R> RenderElement<R> for Piece<R::TextureId>
where
    R: Renderer,
    R::TextureId: Texture + 'static,
{
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        source: Rectangle<f64, Buffer>,
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        self.draw_turned::<R>(frame, source, place, damage, opaque, self.transform())
    }
}

/// Textures of one renderer.
pub struct Textures<T> {
    own: Table<Key, Known<T>>,
    surfaces: Table<ObjectId, Imported<T>>,
    /// Copies of guests' pointers, while they are kept.
    pointers: Option<Pointers>,
    /// The bands that are one piece.
    rings: Table<OutputId, Ring>,
    /// What may still be uploaded.
    uploads: Uploads,
    log: LogLimit,
}

/// Bytes of guests' pictures that are uploaded with one frame: a whole 4K picture and a pointer.
const FRAME_BYTES: i64 = 40 << 20;

/// A budget of bytes to upload: a picture is uploaded whole as long as anything is left, and what it took too much is
/// missing in the next frames.
#[derive(Debug, Default)]
struct Uploads {
    left: i64,
    /// Something waits for the next frame.
    postponed: bool,
    /// A picture of the shell's own was uploaded since this was last asked.
    own: bool,
}

impl Uploads {
    /// A frame begins.
    fn begin(&mut self) {
        self.left = self.left.saturating_add(FRAME_BYTES).min(FRAME_BYTES);
        self.postponed = false;
    }

    /// Whether so many bytes may be uploaded now; they are counted then.
    fn allow(&mut self, bytes: u64) -> bool {
        if bytes > 0 && self.left <= 0 {
            self.postponed = true;
            return false;
        }
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        true
    }
}

impl<T> Default for Textures<T> {
    fn default() -> Self {
        let (own, surfaces, rings) = (Table::default(), Table::default(), Table::default());
        Self { own, surfaces, pointers: None, rings, uploads: Uploads::default(), log: LogLimit::new(10) }
    }
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// Whether guests' pointers are also to be copied, for a cursor plane. Off at first.
    pub fn keep_pointers(&mut self, keep: bool) {
        self.pointers = keep.then(Pointers::default);
    }

    /// The pieces of `scene`, top first. What cannot be imported is left out, and said so now and then.
    pub fn pieces<R>(&mut self, renderer: &mut R, scene: &Scene, screens: &mut Screens) -> Vec<Piece<T>>
    where
        R: Renderer<TextureId = T> + ImportAll + ImportOwn,
    {
        self.uploads.begin();
        let mut pieces = Vec::with_capacity(scene.layers.len());
        for layer in &scene.layers {
            pieces.extend(match layer {
                Layer::Pixels { key, pixels, x, y, clip, opaque } => {
                    let (at, output) = ((*x, *y), scene.output);
                    let shown = own::OwnLayer { key: *key, pixels, at, clip, opaque: *opaque, output };
                    self.own_piece(renderer, &shown)
                }
                Layer::Surface { surface, x, y, width, height, clip, pointer } => {
                    let (at, size) = ((*x, *y), (*width, *height));
                    let output = scene.output;
                    let shown = surface::SurfaceLayer { surface, at, size, clip, pointer: *pointer, output };
                    self.surface_piece(renderer, &shown, screens)
                }
            });
        }
        if self.uploads.postponed {
            screens.note_postponed();
        }
        pieces
    }

    /// Drops what the last frame of `output` did not use. Called after each of its frames, and when it is gone.
    pub fn sweep(&mut self, output: OutputId) {
        self.own.retain(|_, own| std::mem::take(&mut own.used) || own.output != Some(output));
        // What was made for a picture of one guest goes with the next frame of any output.
        self.surfaces.retain(|_, imported| {
            let stays = imported.output.is_some_and(|other| other != output) || std::mem::take(&mut imported.used);
            stays && imported.surface.upgrade().is_ok()
        });
    }

    /// How many guests' surfaces have one.
    #[cfg(test)]
    pub fn guests(&self) -> usize {
        self.surfaces.len()
    }

    /// Notes pieces that were drawn, and what could not be: each guest pays for its own.
    pub fn note_drawn(&mut self, pieces: &[Piece<T>]) {
        for piece in pieces {
            if let What::Surface(surface) = &piece.what {
                surface.pay();
            }
        }
        if pieces.iter().any(Piece::failed) && self.log.allow(Instant::now()) {
            tracing::warn!("a guest's buffer could not be read; the ground is shown in its place");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In how many of a hundred frames a picture of so many bytes is uploaded if each frame brings a new one.
    fn uploaded(bytes: u64) -> usize {
        let mut uploads = Uploads::default();
        let frames = (0..100).filter(|_| {
            uploads.begin();
            let allowed = uploads.allow(bytes);
            assert_eq!(uploads.postponed, !allowed);
            allowed
        });
        frames.count()
    }

    #[test]
    fn tp20_a_4k_picture_is_uploaded_with_each_frame_and_larger_ones_only_with_some() {
        assert_eq!(uploaded(3840 * 2160 * 4), 100);
        assert!((60..=64).contains(&uploaded(64 << 20)), "{}", uploaded(64 << 20));
        assert!((20..=24).contains(&uploaded(180 << 20)), "{}", uploaded(180 << 20));
        assert_eq!(uploaded(0), 100, "what is not copied never waits");
    }

    #[test]
    fn many_small_uploads_of_one_frame_end_where_the_budget_does() {
        let mut uploads = Uploads::default();
        uploads.begin();
        assert_eq!((0..1000).filter(|_| uploads.allow(1 << 20)).count(), 40);
    }
}
