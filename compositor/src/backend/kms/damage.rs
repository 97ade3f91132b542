//! What of a picture changed since the last one, and what of it is to be drawn anew: pure, for the few elements that
//! the shell shows.
//!
//! What lies under something opaque is neither drawn nor counts as changed. Every answer may be more than what changed
//! and is never less; its rectangles never overlap, so that what shines through is not drawn twice.

use smithay::backend::renderer::element::{Element, Id};
use smithay::backend::renderer::utils::CommitCounter;
use smithay::utils::{Buffer, Physical, Rectangle, Scale, Size, Transform};
use std::ops::Range;

/// A part of the picture.
pub type PhysicalRect = Rectangle<i32, Physical>;

/// More rectangles than this become the one around them all: each costs, and they are a guest's to choose.
const MAX_PARTS: usize = 16;

/// Rectangles that do not overlap, at most [`MAX_PARTS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    parts: Vec<PhysicalRect>,
}

impl Region {
    /// All of a picture.
    pub fn whole(size: Size<i32, Physical>) -> Self {
        Self { parts: vec![Rectangle::from_size(size)] }
    }

    /// Its rectangles.
    pub fn parts(&self) -> &[PhysicalRect] {
        &self.parts
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Nothing is in it from now on.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// One rectangle more.
    pub fn add(&mut self, part: PhysicalRect) {
        if part.is_empty() || self.parts.iter().any(|own| own.contains_rect(part)) {
            return;
        }
        self.parts.retain(|own| !part.contains_rect(*own));
        let mut new = Vec::new();
        uncovered(part, &self.parts, &mut |part| new.push(part));
        self.parts.append(&mut new);
        if self.parts.len() > MAX_PARTS
            && let Some(bounds) = self.parts.iter().copied().reduce(Rectangle::merge)
        {
            self.parts.clear();
            self.parts.push(bounds);
        }
    }

    /// All of another region more.
    pub fn join(&mut self, other: &Self) {
        other.parts.iter().for_each(|part| self.add(*part));
    }
}

/// Calls `each` with the parts of `part` that lie under none of `covers`.
fn uncovered(part: PhysicalRect, covers: &[PhysicalRect], each: &mut impl FnMut(PhysicalRect)) {
    let over = covers.iter().enumerate().find_map(|(at, cover)| Some((at, part.intersection(*cover)?)));
    let Some((at, hole)) = over.filter(|(_, hole)| !hole.is_empty()) else {
        if !part.is_empty() {
            each(part);
        }
        return;
    };
    let rest = covers.get(at + 1..).unwrap_or_default();
    let rect = |x: i32, y: i32, width: i32, height: i32| PhysicalRect::new((x, y).into(), (width, height).into());
    let (right, bottom) = (part.loc.x + part.size.w, part.loc.y + part.size.h);
    let (hole_right, hole_bottom) = (hole.loc.x + hole.size.w, hole.loc.y + hole.size.h);
    let around = [
        rect(part.loc.x, part.loc.y, part.size.w, hole.loc.y - part.loc.y),
        rect(part.loc.x, hole.loc.y, hole.loc.x - part.loc.x, hole.size.h),
        rect(hole_right, hole.loc.y, right - hole_right, hole.size.h),
        rect(part.loc.x, hole_bottom, part.size.w, bottom - hole_bottom),
    ];
    around.into_iter().filter(|part| !part.is_empty()).for_each(|part| uncovered(part, rest, each));
}

/// An element of a picture, as it was then.
#[derive(Debug)]
struct DrawnElement {
    id: Id,
    commit: CommitCounter,
    place: PhysicalRect,
    source: Rectangle<f64, Buffer>,
    transform: Transform,
    /// Its opaque parts among those of all.
    opaque: Range<usize>,
}

/// A picture, as far as it matters to the next.
#[derive(Debug, Default)]
struct Picture {
    /// Top first.
    elements: Vec<DrawnElement>,
    opaque: Vec<PhysicalRect>,
}

impl Picture {
    fn opaque_of(&self, seen: &DrawnElement) -> &[PhysicalRect] {
        self.opaque.get(seen.opaque.clone()).unwrap_or_default()
    }

    /// Opaque parts of what is above.
    fn above(&self, seen: &DrawnElement) -> &[PhysicalRect] {
        self.opaque.get(..seen.opaque.start).unwrap_or_default()
    }
}

/// Compares each picture with the one before.
#[derive(Debug, Default)]
pub struct Tracker {
    now: Picture,
    before: Picture,
}

/// What is to be drawn of each element.
#[derive(Debug, Default)]
pub struct Plan {
    parts: Vec<PhysicalRect>,
    ends: Vec<usize>,
    ground: Vec<PhysicalRect>,
}

impl Plan {
    /// The parts of element number `index`, counted from its left upper corner.
    pub fn of(&self, index: usize) -> &[PhysicalRect] {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(index).copied()).map(|(start, end)| start..end);
        range.and_then(|range| self.parts.get(range)).unwrap_or_default()
    }

    /// The parts that no element covers.
    pub fn ground(&self) -> &[PhysicalRect] {
        &self.ground
    }
}

impl Tracker {
    /// Takes note of a picture of `size`, top first, and adds to `changed` what is not as in the one before.
    pub fn note<E: Element>(&mut self, elements: &[E], size: Size<i32, Physical>, changed: &mut Region) {
        let scale = Scale::from(1.0);
        let screen = PhysicalRect::from_size(size);
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.elements.clear();
        self.now.opaque.clear();
        let (now, before) = (&mut self.now, &self.before);
        // What was passed over of those before is gone, or is found no more where it was.
        let mut from = 0;
        for element in elements {
            let place = element.geometry(scale);
            let start = now.opaque.len();
            let inside = |part: &PhysicalRect| PhysicalRect::new(part.loc + place.loc, part.size).intersection(screen);
            now.opaque.extend(element.opaque_regions(scale).iter().filter_map(inside).filter(|part| !part.is_empty()));
            let seen = DrawnElement {
                id: element.id().clone(),
                commit: element.current_commit(),
                place,
                source: element.src(),
                transform: element.transform(),
                opaque: start..now.opaque.len(),
            };
            let covers = now.opaque.get(..start).unwrap_or_default();
            let mut add = |part: PhysicalRect| {
                if let Some(part) = part.intersection(screen) {
                    uncovered(part, covers, &mut |part| changed.add(part));
                }
            };
            let rest = before.elements.get(from..).unwrap_or_default();
            match rest.iter().position(|old| old.id == seen.id).and_then(|at| rest.split_at_checked(at)) {
                Some((gone, [old, ..])) => {
                    gone.iter().for_each(|gone| add(gone.place));
                    from += gone.len() + 1;
                    let same = old.place == place && old.source == seen.source && old.transform == seen.transform;
                    if !same || before.opaque_of(old) != now.opaque_of(&seen) {
                        add(old.place);
                        add(place);
                    } else if old.commit != seen.commit {
                        let damage = element.damage_since(scale, Some(old.commit));
                        damage.iter().for_each(|part| add(PhysicalRect::new(part.loc + place.loc, part.size)));
                    }
                }
                _ => add(place),
            }
            now.elements.push(seen);
        }
        for gone in before.elements.get(from..).unwrap_or_default() {
            if let Some(part) = gone.place.intersection(screen) {
                uncovered(part, &now.opaque, &mut |part| changed.add(part));
            }
        }
    }

    /// What is to be drawn so that `region` shows the picture that was noted last.
    pub fn plan(&self, region: &Region, plan: &mut Plan) {
        let Plan { parts, ends, ground } = plan;
        parts.clear();
        ends.clear();
        ground.clear();
        for seen in &self.now.elements {
            let covers = self.now.above(seen);
            for part in region.parts().iter().filter_map(|part| part.intersection(seen.place)) {
                uncovered(part, covers, &mut |part| {
                    parts.push(PhysicalRect::new(part.loc - seen.place.loc, part.size))
                });
            }
            ends.push(parts.len());
        }
        for part in region.parts() {
            uncovered(*part, &self.now.opaque, &mut |part| ground.push(part));
        }
    }

    /// What was noted counts no more.
    pub fn forget(&mut self) {
        self.now.elements.clear();
        self.now.opaque.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smithay::backend::renderer::utils::{DamageBag, DamageSet, OpaqueRegions};

    const SIDE: i32 = 24;
    type Pixels = Vec<u64>;

    /// A rectangle of colours, each of which changes with its own damage.
    struct Tile {
        id: Id,
        place: PhysicalRect,
        opaque: bool,
        bag: DamageBag<i32, Buffer>,
        colors: Vec<u64>,
    }

    impl Tile {
        fn new(place: PhysicalRect, opaque: bool, color: u64) -> Self {
            let colors = vec![color; (place.size.w * place.size.h) as usize];
            Self { id: Id::new(), place, opaque, bag: DamageBag::default(), colors }
        }

        fn color(&self, x: i32, y: i32) -> u64 {
            self.colors[((y - self.place.loc.y) * self.place.size.w + x - self.place.loc.x) as usize]
        }

        /// Of something that is not opaque what is below shines through, and twice is not once.
        fn over(&self, below: u64, x: i32, y: i32) -> u64 {
            let own = self.color(x, y);
            if self.opaque { own } else { below.wrapping_mul(31).wrapping_add(own) }
        }
    }

    impl Element for Tile {
        fn id(&self) -> &Id {
            &self.id
        }
        fn current_commit(&self) -> CommitCounter {
            self.bag.current_commit()
        }
        fn src(&self) -> Rectangle<f64, Buffer> {
            Rectangle::from_size((f64::from(self.place.size.w), f64::from(self.place.size.h)).into())
        }
        fn geometry(&self, _: Scale<f64>) -> PhysicalRect {
            self.place
        }
        fn damage_since(&self, _: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
            let Some(parts) = self.bag.damage_since(commit) else {
                return DamageSet::from_slice(&[Rectangle::from_size(self.place.size)]);
            };
            parts
                .into_iter()
                .map(|part| PhysicalRect::new((part.loc.x, part.loc.y).into(), (part.size.w, part.size.h).into()))
                .collect()
        }
        fn opaque_regions(&self, _: Scale<f64>) -> OpaqueRegions<i32, Physical> {
            if self.opaque {
                OpaqueRegions::from_slice(&[Rectangle::from_size(self.place.size)])
            } else {
                OpaqueRegions::default()
            }
        }
    }

    fn points(part: PhysicalRect) -> impl Iterator<Item = (i32, i32)> {
        let (right, bottom) = (part.loc.x + part.size.w, part.loc.y + part.size.h);
        (part.loc.y..bottom).flat_map(move |y| (part.loc.x..right).map(move |x| (x, y)))
    }

    fn at((x, y): (i32, i32)) -> usize {
        (y * SIDE + x) as usize
    }

    fn size() -> Size<i32, Physical> {
        (SIDE, SIDE).into()
    }

    fn everything(tiles: &[Tile]) -> Pixels {
        let mut pixels = vec![7; (SIDE * SIDE) as usize];
        for tile in tiles.iter().rev() {
            for point in tile.place.intersection(PhysicalRect::from_size(size())).into_iter().flat_map(points) {
                pixels[at(point)] = tile.over(pixels[at(point)], point.0, point.1);
            }
        }
        pixels
    }

    fn draw(pixels: &mut Pixels, tiles: &[Tile], plan: &Plan) {
        for point in plan.ground().iter().copied().flat_map(points) {
            pixels[at(point)] = 7;
        }
        for (index, tile) in tiles.iter().enumerate().rev() {
            for part in plan.of(index) {
                for point in points(PhysicalRect::new(part.loc + tile.place.loc, part.size)) {
                    pixels[at(point)] = tile.over(pixels[at(point)], point.0, point.1);
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, PhysicalRect, bool),
        Remove(usize),
        Raise(usize),
        Move(usize, i32, i32),
        Turn(usize),
        Change(usize, Vec<PhysicalRect>),
        Nothing,
    }

    fn rect() -> impl Strategy<Value = PhysicalRect> {
        (-4..SIDE, -4..SIDE, 1..14i32, 1..14i32)
            .prop_map(|(x, y, w, h)| PhysicalRect::new((x, y).into(), (w, h).into()))
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0..6usize;
        prop_oneof![
            3 => (index.clone(), rect(), any::<bool>()).prop_map(|(at, place, opaque)| Step::Add(at, place, opaque)),
            1 => index.clone().prop_map(Step::Remove),
            1 => index.clone().prop_map(Step::Raise),
            2 => (index.clone(), -3..4i32, -3..4i32).prop_map(|(at, x, y)| Step::Move(at, x, y)),
            1 => index.clone().prop_map(Step::Turn),
            4 => (index, proptest::collection::vec(rect(), 0..20)).prop_map(|(at, parts)| Step::Change(at, parts)),
            1 => Just(Step::Nothing),
        ]
    }

    fn apply(tiles: &mut Vec<Tile>, step: &Step, color: u64) {
        let count = tiles.len();
        match step {
            Step::Add(index, place, opaque) => {
                tiles.insert((*index).min(count), Tile::new(*place, *opaque, color));
                tiles.truncate(6);
            }
            Step::Remove(index) if *index < count => drop(tiles.remove(*index)),
            Step::Raise(index) if *index < count => {
                let tile = tiles.remove(*index);
                tiles.insert(0, tile);
            }
            Step::Move(index, x, y) if *index < count => tiles[*index].place.loc += (*x, *y).into(),
            Step::Turn(index) if *index < count => tiles[*index].opaque = !tiles[*index].opaque,
            Step::Change(index, parts) if *index < count => {
                let tile = &mut tiles[*index];
                let own = PhysicalRect::from_size(tile.place.size);
                let parts: Vec<PhysicalRect> = parts.iter().filter_map(|part| part.intersection(own)).collect();
                for (x, y) in parts.iter().copied().flat_map(points) {
                    tile.colors[(y * own.size.w + x) as usize] = color;
                }
                tile.bag.add(
                    parts
                        .iter()
                        .map(|part| Rectangle::new((part.loc.x, part.loc.y).into(), (part.size.w, part.size.h).into())),
                );
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn what_is_drawn_over_many_frames_is_the_whole_picture(
            frames in proptest::collection::vec(proptest::collection::vec(step(), 0..3), 1..24),
        ) {
            let (mut tracker, mut plan, mut tiles) = (Tracker::default(), Plan::default(), Vec::new());
            // Two buffers by turns; what is missing in each. They hold rubbish at first.
            let mut buffers = [vec![1; (SIDE * SIDE) as usize], vec![2; (SIDE * SIDE) as usize]];
            let mut missing = [Region::whole(size()), Region::whole(size())];
            let mut display = buffers[0].clone();
            let mut first = true;
            let mut color = 100;
            for steps in &frames {
                for step in steps {
                    color += 1;
                    apply(&mut tiles, step, color);
                }
                let mut changed = Region::default();
                tracker.note(&tiles, size(), &mut changed);
                if std::mem::take(&mut first) {
                    changed = Region::whole(size());
                }
                prop_assert!(changed.parts().len() <= MAX_PARTS);
                let full = everything(&tiles);
                if changed.is_empty() {
                    prop_assert_eq!(&display, &full, "a frame was left out");
                    continue;
                }
                missing.iter_mut().for_each(|missing| missing.join(&changed));
                tracker.plan(&missing[0], &mut plan);
                draw(&mut buffers[0], &tiles, &plan);
                missing[0].clear();
                prop_assert_eq!(&buffers[0], &full, "a buffer");
                // A display that is told what changed looks at nothing else.
                for point in changed.parts().iter().copied().flat_map(points) {
                    display[at(point)] = buffers[0][at(point)];
                }
                prop_assert_eq!(&display, &full, "the display");
                buffers.swap(0, 1);
                missing.swap(0, 1);
            }
        }

        #[test]
        fn a_region_holds_all_that_was_added_and_nothing_twice(
            parts in proptest::collection::vec(rect(), 0..40),
        ) {
            let mut region = Region::default();
            parts.iter().for_each(|part| region.add(*part));
            prop_assert!(region.parts().len() <= MAX_PARTS);
            for part in &parts {
                for point in points(*part) {
                    let holds = |own: &&PhysicalRect| own.contains(point);
                    prop_assert_eq!(region.parts().iter().filter(holds).count(), 1);
                }
            }
        }
    }

    fn tile(x: i32, y: i32, width: i32, height: i32) -> Tile {
        Tile::new(PhysicalRect::new((x, y).into(), (width, height).into()), true, 1)
    }

    #[test]
    fn nothing_is_drawn_for_nothing() {
        let mut tracker = Tracker::default();
        let mut tiles = vec![tile(0, 0, SIDE, 4), tile(0, 0, SIDE, SIDE)];
        let mut changed = Region::default();
        tracker.note(&tiles, size(), &mut changed);
        assert!(!changed.is_empty());
        changed.clear();
        tracker.note(&tiles, size(), &mut changed);
        assert!(changed.is_empty());
        // What changes behind something opaque is not seen.
        tiles[1].bag.add([Rectangle::new((3, 1).into(), (5, 3).into())]);
        tracker.note(&tiles, size(), &mut changed);
        assert!(changed.is_empty());
        tiles[1].bag.add([Rectangle::new((3, 1).into(), (5, 5).into())]);
        tracker.note(&tiles, size(), &mut changed);
        assert_eq!(changed.parts(), [PhysicalRect::new((3, 4).into(), (5, 2).into())]);
        let mut plan = Plan::default();
        tracker.plan(&changed, &mut plan);
        assert!(plan.of(0).is_empty() && plan.ground().is_empty());
        assert_eq!(plan.of(1), [PhysicalRect::new((3, 4).into(), (5, 2).into())]);
        assert!(plan.of(2).is_empty());
    }

    #[test]
    fn after_all_is_forgotten_everything_is_new() {
        let mut tracker = Tracker::default();
        let tiles = [tile(0, 0, SIDE, SIDE)];
        let mut changed = Region::default();
        tracker.note(&tiles, size(), &mut changed);
        tracker.forget();
        changed.clear();
        tracker.note(&tiles, size(), &mut changed);
        assert_eq!(changed, Region::whole(size()));
    }
}
