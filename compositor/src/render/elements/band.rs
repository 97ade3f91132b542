//! The band as one piece: what is compared and planned for each frame grows with the number of pieces, and most frames
//! change nothing of the band.
//!
//! The piece reaches over the whole output and is opaque where its strips are; it draws nothing but them, and its
//! damage is theirs.

use super::{Piece, Textures, What};
use crate::outputs::OutputId;
use phyllome_trusted::pixels::Pixels;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::utils::{CommitCounter, DamageSet};
use smithay::backend::renderer::{Frame, Renderer, Texture};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Size, Transform};
use std::rc::Rc;

/// All strips of a band.
#[derive(Debug)]
pub(super) struct Band<T> {
    strips: Vec<Strip<T>>,
    /// Counts how often they changed.
    pub(super) commit: CommitCounter,
}

/// One part of a band.
#[derive(Debug)]
struct Strip<T> {
    texture: T,
    /// Inside the piece.
    place: Rectangle<i32, Physical>,
    /// Holds what the texture reads from.
    _pixels: Rc<Pixels>,
}

/// Most bands that are remembered as one piece.
const MAX_RINGS: usize = 32;

/// A band as one piece.
pub(super) struct Ring {
    /// What it is known by, from frame to frame.
    id: Id,
    /// Its strips.
    of: Vec<Id>,
    /// Counts how often they changed.
    commit: CommitCounter,
}

/// All of a picture of `size`.
pub(super) fn whole_of(size: Size<i32, Physical>) -> Rectangle<f64, Buffer> {
    Rectangle::from_size((f64::from(size.w), f64::from(size.h)).into())
}

impl<T> Band<T> {
    /// Where its strips are, inside the piece; all of them are opaque.
    pub(super) fn places<C: FromIterator<Rectangle<i32, Physical>>>(&self) -> C {
        self.strips.iter().map(|strip| strip.place).collect()
    }

    /// What changed since `commit`: no strip, or all.
    pub(super) fn damage(&self, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        if commit == Some(self.commit) { DamageSet::default() } else { self.places() }
    }

    /// Draws what of the strips is damaged, of the piece that lies at `at`.
    pub(super) fn draw<R>(
        &self,
        frame: &mut R::Frame<'_, '_>,
        at: Point<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error>
    where
        R: Renderer<TextureId = T>,
    {
        for strip in &self.strips {
            let inside = damage.iter().filter_map(|part| part.intersection(strip.place));
            let inside: Vec<_> = inside.map(|part| Rectangle::new(part.loc - strip.place.loc, part.size)).collect();
            if inside.is_empty() {
                continue;
            }
            let place = Rectangle::new(at + strip.place.loc, strip.place.size);
            let whole = [Rectangle::from_size(place.size)];
            let source = whole_of(place.size);
            frame.render_texture_from_to(&strip.texture, source, place, &inside, &whole, Transform::Normal, 1.0)?;
        }
        Ok(())
    }
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// Makes the band among the `pieces` of `output` one piece of its `size`: there is less to be done for few pieces
    /// than for many.
    pub fn join_band(&mut self, pieces: &mut Vec<Piece<T>>, output: OutputId, size: Size<i32, Physical>) {
        let is_strip = |piece: &Piece<T>| matches!(&piece.what, What::Own(own) if own.strip);
        let Some(first) = pieces.iter().position(is_strip) else { return };
        let count = pieces.iter().filter(|piece| is_strip(piece)).count();
        let Some(band) = pieces.get(first..first + count) else { return };
        let is_whole = |piece: &Piece<T>| match &piece.what {
            What::Own(own) => own.strip && own.source == whole_of(piece.place.size),
            What::Band(_) | What::Surface(_) => false,
        };
        if !band.iter().all(is_whole) {
            return;
        }
        let ids: Vec<Id> = band.iter().map(|piece| piece.id.clone()).collect();
        if self.rings.len() > MAX_RINGS {
            // Of outputs that are long gone, most of them.
            self.rings.clear();
        }
        let ring = self.rings.entry(output).or_insert_with(|| Ring {
            id: Id::new(),
            of: Vec::new(),
            commit: CommitCounter::default(),
        });
        if ring.of != ids {
            ring.of = ids;
            ring.commit.increment();
        }
        let (id, commit) = (ring.id.clone(), ring.commit);
        let strip = |piece: Piece<T>| match piece.what {
            What::Own(own) => Some(Strip { texture: own.texture, place: piece.place, _pixels: own.pixels }),
            What::Band(_) | What::Surface(_) => None,
        };
        let strips = pieces.splice(first..first + count, []).filter_map(strip).collect();
        let what = What::Band(Band { strips, commit });
        pieces.insert(first, Piece { id, place: Rectangle::from_size(size), what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{Key, Layer, Scene};
    use crate::wayland::screens::Screens;
    use phyllome_config::guest::Rgb;
    use phyllome_protocol::status::Area;
    use smithay::backend::renderer::element::Element;
    use smithay::backend::renderer::pixman::{PixmanRenderer, PixmanTexture};

    const STRIPS: [Area; 4] = [
        Area { x: 0, y: 0, width: 100, height: 10 },
        Area { x: 0, y: 10, width: 4, height: 86 },
        Area { x: 96, y: 10, width: 4, height: 86 },
        Area { x: 0, y: 96, width: 100, height: 4 },
    ];

    fn pixels(at: &Area) -> Rc<Pixels> {
        Rc::new(Pixels::filled(at.width, at.height, Rgb(1, 2, 3)))
    }

    fn scene(output: OutputId, strips: &[Rc<Pixels>]) -> Scene {
        let layer = |(number, (at, pixels)): (usize, (&Area, &Rc<Pixels>))| Layer::Pixels {
            key: Key::Strip(output, number),
            pixels: pixels.clone(),
            x: at.x as i32,
            y: at.y as i32,
            clip: Area { x: 0, y: 0, width: 100, height: 100 },
            opaque: true,
        };
        let layers = STRIPS.iter().zip(strips).enumerate().map(layer).collect();
        Scene { output: Some(output), layers, ..Scene::default() }
    }

    #[test]
    fn a_band_is_one_piece_with_the_damage_and_the_opaque_parts_of_its_strips() {
        let mut renderer = PixmanRenderer::new().unwrap();
        let (mut textures, mut screens) = (Textures::<PixmanTexture>::default(), Screens::default());
        let output = OutputId::unique();
        let mut strips: Vec<_> = STRIPS.iter().map(pixels).collect();
        let mut joined = |strips: &[Rc<Pixels>]| {
            let mut pieces = textures.pieces(&mut renderer, &scene(output, strips), &mut screens);
            textures.join_band(&mut pieces, output, (100, 100).into());
            assert_eq!(pieces.len(), 1);
            pieces.remove(0)
        };
        let places: Vec<Rectangle<i32, Physical>> = STRIPS
            .iter()
            .map(|at| Rectangle::new((at.x as i32, at.y as i32).into(), (at.width as i32, at.height as i32).into()))
            .collect();
        let damage = |piece: &Piece<PixmanTexture>, since| -> Vec<_> {
            piece.damage_since(1.0.into(), since).into_iter().collect()
        };
        let first = joined(&strips);
        assert_eq!(first.opaque_regions(1.0.into()).into_iter().collect::<Vec<_>>(), places);
        assert_eq!(damage(&first, None), places);
        let again = joined(&strips);
        assert_eq!(again.id(), first.id());
        assert!(damage(&again, Some(first.current_commit())).is_empty(), "nothing has changed");
        strips[2] = pixels(&STRIPS[2]);
        let changed = joined(&strips);
        assert_eq!(changed.id(), first.id());
        assert_eq!(damage(&changed, Some(again.current_commit())), places);
    }
}
