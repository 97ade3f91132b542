//! The shell's own pictures as pieces: a texture for each that is shown, brought up to date with what changed of it.
//!
//! A renderer that copies pixels keeps its texture and is told which rectangles changed; one that reads them where they
//! are makes its texture for each frame, which is a header, and so lets the picture go as soon as the frame is drawn:
//! whoever draws the picture may then change it in place.

use super::{Piece, Textures, What, on_screen};
use crate::outputs::OutputId;
use crate::render::cut::{crop, extent};
use crate::render::own::ImportOwn;
use crate::render::scene::Key;
use phyllome_protocol::status::Area;
use phyllome_trusted::pixels::Pixels;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::utils::{CommitCounter, DamageBag, DamageSet, DamageSnapshot};
use smithay::backend::renderer::{Frame, Renderer, Texture};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};
use std::rc::Rc;
use std::time::Instant;

/// What is drawn of a picture of the shell's own.
#[derive(Debug)]
pub(super) struct Own<T> {
    pub(super) texture: T,
    /// What the texture reads from, or what it was copied from.
    pub(super) pixels: Rc<Pixels>,
    pub(super) source: Rectangle<f64, Buffer>,
    pub(super) opaque: bool,
    damage: DamageSnapshot<i32, Buffer>,
    /// A strip of the band.
    pub(super) strip: bool,
}

impl<T> Own<T> {
    pub(super) fn commit(&self) -> CommitCounter {
        self.damage.current_commit()
    }

    /// What changed since `commit`, of what is shown `size` pixels large.
    pub(super) fn damage(&self, commit: Option<CommitCounter>, size: Size<i32, Physical>) -> DamageSet<i32, Physical> {
        match self.damage.damage_since(commit) {
            Some(parts) => on_screen(parts, self.source, size),
            None => DamageSet::from_slice(&[Rectangle::from_size(size)]),
        }
    }

    pub(super) fn draw<R>(
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
        frame.render_texture_from_to(&self.texture, source, place, damage, opaque, transform, 1.0)
    }
}

/// What a renderer knows of one of the shell's pictures.
pub(super) struct Known<T> {
    /// What it is known by, for as long as it changes only in parts that are known.
    id: Id,
    /// Which content the texture has.
    generation: u64,
    damage: DamageBag<i32, Buffer>,
    /// `None` with a renderer that reads pixels where they are.
    texture: Option<T>,
    /// The output whose last frame used it.
    pub(super) output: Option<OutputId>,
    pub(super) used: bool,
}

/// A picture and where it is to be drawn.
pub(super) struct OwnLayer<'a> {
    pub(super) key: Key,
    pub(super) pixels: &'a Rc<Pixels>,
    /// Left and upper edge.
    pub(super) at: (i32, i32),
    pub(super) clip: &'a Area,
    pub(super) opaque: bool,
    pub(super) output: Option<OutputId>,
}

fn rectangle(area: &Area) -> Rectangle<i32, Buffer> {
    Rectangle::new((extent(area.x), extent(area.y)).into(), (extent(area.width), extent(area.height)).into())
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// The piece of a picture of the shell's own; `None` where nothing of it can be seen, or it cannot be imported.
    pub(super) fn own_piece<R>(&mut self, renderer: &mut R, shown: &OwnLayer<'_>) -> Option<Piece<T>>
    where
        R: Renderer<TextureId = T> + ImportOwn,
    {
        let pixels = shown.pixels;
        if pixels.width == 0 || pixels.height == 0 {
            return None;
        }
        let mut texture = self.own_texture(renderer, shown);
        let uploaded = std::mem::take(&mut self.uploads.own);
        if R::COPIES && (texture.is_err() || uploaded && renderer.has_failed()) {
            // The shell's own pictures come first: guests' give their memory back, and come again later.
            self.own.remove(&shown.key);
            self.surfaces.clear();
            // An error means that the memory comes back later.
            let _ = renderer.cleanup_texture_cache();
            texture = self.own_texture(renderer, shown);
        }
        let texture = match texture {
            Ok(texture) => texture,
            Err(error) => {
                // What the texture holds is not known any longer.
                self.own.remove(&shown.key);
                if self.log.allow(Instant::now()) {
                    tracing::error!("a part of the shell's own picture cannot be drawn: {error}");
                }
                return None;
            }
        };
        let size: Size<i32, Physical> = (extent(pixels.width), extent(pixels.height)).into();
        let place = Rectangle::new(shown.at.into(), size);
        let (place, source) = crop(place, Rectangle::from_size((size.w, size.h).into()).to_f64(), shown.clip)?;
        let known = self.own.get(&shown.key)?;
        let own = Own {
            texture,
            pixels: pixels.clone(),
            source,
            opaque: shown.opaque,
            damage: known.damage.snapshot(),
            strip: matches!(shown.key, Key::Strip(..)),
        };
        Some(Piece { id: known.id.clone(), place, what: What::Own(own) })
    }

    /// The texture with the pixels of now, and all that is known of it in its place in the table.
    fn own_texture<R>(&mut self, renderer: &mut R, shown: &OwnLayer<'_>) -> Result<T, R::Error>
    where
        R: Renderer<TextureId = T> + ImportOwn,
    {
        let OwnLayer { key, pixels, output, .. } = *shown;
        // Without an alpha channel what is said to be opaque is opaque, whatever the pixels say.
        let format = if shown.opaque { Fourcc::Xrgb8888 } else { Fourcc::Argb8888 };
        let size: Size<i32, Buffer> = (extent(pixels.width), extent(pixels.height)).into();
        let known = self.own.get_mut(&key);
        let known = known.and_then(|known| Some((pixels.changed_since(known.generation)?, known)));
        let Some((changed, known)) = known else {
            let texture = renderer.import_own(pixels, format, size)?;
            self.uploads.own = true;
            let known = Known {
                id: Id::new(),
                generation: pixels.generation(),
                damage: DamageBag::default(),
                texture: R::COPIES.then(|| texture.clone()),
                output,
                used: true,
            };
            self.own.insert(key, known);
            return Ok(texture);
        };
        known.used = true;
        known.output = output;
        known.generation = pixels.generation();
        let changed: Vec<_> = changed.iter().map(rectangle).collect();
        let texture = match &known.texture {
            Some(texture) => {
                self.uploads.own |= !changed.is_empty();
                for part in &changed {
                    renderer.update_own(texture, pixels, *part)?;
                }
                texture.clone()
            }
            None => renderer.import_own(pixels, format, size)?,
        };
        known.damage.add(changed);
        Ok(texture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{Layer, Scene};
    use crate::wayland::screens::Screens;
    use phyllome_config::guest::Rgb;
    use smithay::backend::renderer::element::Element;
    use smithay::backend::renderer::pixman::{PixmanRenderer, PixmanTexture};

    fn piece(
        renderer: &mut PixmanRenderer,
        textures: &mut Textures<PixmanTexture>,
        pixels: &Rc<Pixels>,
    ) -> Piece<PixmanTexture> {
        let clip = Area { x: 0, y: 0, width: 100, height: 100 };
        let layer = Layer::Pixels { key: Key::Cover, pixels: pixels.clone(), x: 10, y: 20, clip, opaque: true };
        let scene = Scene { layers: vec![layer], ..Scene::default() };
        textures.pieces(renderer, &scene, &mut Screens::default()).remove(0)
    }

    #[test]
    fn a_picture_that_changes_in_parts_stays_one_element_and_its_damage_is_theirs() {
        let mut renderer = PixmanRenderer::new().unwrap();
        let mut textures = Textures::<PixmanTexture>::default();
        let mut piece = |pixels: &Rc<Pixels>| piece(&mut renderer, &mut textures, pixels);
        let mut pixels = Rc::new(Pixels::filled(30, 30, Rgb(1, 2, 3)));
        let first = piece(&pixels);
        let since = |piece: &Piece<PixmanTexture>, other: &Piece<PixmanTexture>| -> Vec<_> {
            piece.damage_since(1.0.into(), Some(other.current_commit())).into_iter().collect()
        };
        assert!(since(&piece(&pixels), &first).is_empty(), "nothing has changed");
        let (one, two) = (Area { x: 1, y: 2, width: 3, height: 4 }, Area { x: 5, y: 6, width: 7, height: 8 });
        Pixels::change(&mut pixels, |_| vec![one]);
        let second = piece(&pixels);
        Pixels::change(&mut pixels, |_| vec![two]);
        let third = piece(&pixels);
        assert_eq!((first.id(), first.id()), (second.id(), third.id()));
        let place =
            |at: &Area| Rectangle::new((at.x as i32, at.y as i32).into(), (at.width as i32, at.height as i32).into());
        assert_eq!(since(&second, &first), [place(&one)]);
        assert_eq!(since(&third, &second), [place(&two)]);
        assert_eq!(since(&third, &first), [place(&two), place(&one)]);
        let other = piece(&Rc::new(Pixels::filled(30, 30, Rgb(4, 5, 6))));
        assert_ne!(other.id(), first.id(), "another picture is another element");
    }
}
