//! Where the outputs lie in the plane that the pointer moves on: where a person wants them, else side by side, left to
//! right in their order, tops in line. Pure.
//!
//! The pointer is always on some output: it slides along an edge that it cannot pass, and where a low output meets a
//! high one it passes only at the height of both. All in physical pixels.

use phyllome_config::shell::Side;

/// One output in the plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// How near to the right and lower edge the pointer comes: the smallest step of Wayland's numbers.
const STEP: f64 = 1.0 / 256.0;

impl Rect {
    fn left(&self) -> f64 {
        f64::from(self.x)
    }

    fn top(&self) -> f64 {
        f64::from(self.y)
    }

    fn right(&self) -> f64 {
        self.left() + f64::from(self.width)
    }

    fn bottom(&self) -> f64 {
        self.top() + f64::from(self.height)
    }

    fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    fn holds(&self, x: f64, y: f64) -> bool {
        x >= self.left() && x < self.right() && y >= self.top() && y < self.bottom()
    }

    /// The nearest place inside.
    fn clamp(&self, x: f64, y: f64) -> (f64, f64) {
        let along = |value: f64, least: f64, most: f64| value.max(least).min(most - STEP);
        (along(x, self.left(), self.right()), along(y, self.top(), self.bottom()))
    }

    /// The place at these fractions (0 to 1) of width and height: what a touch screen or a tablet that belongs to this
    /// output says.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let fraction = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        let (x, y) = (fraction(x) * f64::from(self.width), fraction(y) * f64::from(self.height));
        self.clamp(self.left() + x, self.top() + y)
    }
}

/// The order of outputs: one that comes back gets the place that it had, a new one the last.
#[derive(Debug, Default)]
pub struct Order {
    seen: Vec<String>,
}

/// Most names that are remembered.
const MAX_SEEN: usize = 64;

impl Order {
    /// The place of output `name` among the outputs that there are, which are in order themselves.
    pub fn place<'a>(&mut self, present: impl Iterator<Item = &'a str>, name: &str) -> usize {
        let rank = |seen: &[String], name: &str| seen.iter().position(|other| other == name).unwrap_or(usize::MAX);
        if rank(&self.seen, name) == usize::MAX {
            if self.seen.len() >= MAX_SEEN {
                self.seen.remove(0);
            }
            self.seen.push(name.to_owned());
        }
        let own = rank(&self.seen, name);
        present.filter(|other| rank(&self.seen, other) < own).count()
    }
}

/// Where outputs lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Their left upper corners.
    pub corners: Vec<(i32, i32)>,
    /// Those that do not lie where they were wanted.
    pub refused: Vec<usize>,
}

type Corner = (i64, i64);

/// The corners of outputs of these sizes. `beside`: on which side of which other one each is wanted; those that say
/// nothing stand side by side. What would go round in a circle, or lie over another, stands at the right end.
pub fn places(sizes: &[(u32, u32)], beside: &[Option<(Side, usize)>]) -> Placed {
    let sizes: Vec<Corner> = sizes.iter().map(|(w, h)| (i64::from(*w), i64::from(*h))).collect();
    let wanted = |index: usize| beside.get(index).copied().flatten();
    let mut placed: Vec<(usize, Corner)> = Vec::new();
    let mut refused = Vec::new();
    let mut left = 0;
    for (index, size) in sizes.iter().enumerate().filter(|(index, _)| wanted(*index).is_none()) {
        placed.push((index, (left, 0)));
        left += size.0;
    }
    // Each turn places one more.
    while placed.len() < sizes.len() {
        let mut open = sizes.iter().enumerate().filter(|(index, _)| placed.iter().all(|(other, _)| other != index));
        let Some((first, _)) = open.clone().next() else { break };
        let next = open.find_map(|(index, size)| {
            let (side, of) = wanted(index)?;
            let (_, at) = placed.iter().find(|(other, _)| *other == of)?;
            Some((index, *size, touching(side, *at, sizes.get(of).copied().unwrap_or_default(), *size)))
        });
        let taken = |corner: Corner, size: Corner| {
            placed
                .iter()
                .any(|(other, at)| overlap((corner, size), (*at, sizes.get(*other).copied().unwrap_or_default())))
        };
        let one = match next {
            Some((index, size, corner)) if !taken(corner, size) => (index, corner),
            // What hangs on it follows it.
            other => {
                let index = other.map_or(first, |(index, ..)| index);
                let ends = placed.iter().map(|(other, at)| at.0 + sizes.get(*other).map_or(0, |size| size.0));
                refused.push(index);
                (index, (ends.max().unwrap_or(0), 0))
            }
        };
        placed.push(one);
    }
    let x = placed.iter().map(|(_, at)| at.0).min().unwrap_or(0);
    let y = placed.iter().map(|(_, at)| at.1).min().unwrap_or(0);
    placed.sort_by_key(|(index, _)| *index);
    let signed = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let corners = placed.into_iter().map(|(_, at)| (signed(at.0 - x), signed(at.1 - y))).collect();
    Placed { corners, refused }
}

/// The corner of what touches, on this side, what lies at `at` and is `of` wide and high.
fn touching(side: Side, at: Corner, of: Corner, size: Corner) -> Corner {
    match side {
        Side::LeftOf => (at.0 - size.0, at.1),
        Side::RightOf => (at.0 + of.0, at.1),
        Side::Above => (at.0, at.1 - size.1),
        Side::Below => (at.0, at.1 + of.1),
    }
}

/// Whether two places, each a corner and a size, have pixels in common.
fn overlap((at, size): (Corner, Corner), (other, of): (Corner, Corner)) -> bool {
    at.0 < other.0 + of.0 && other.0 < at.0 + size.0 && at.1 < other.1 + of.1 && other.1 < at.1 + size.1
}

/// The output on which a place of the plane lies, and the place on it.
pub fn locate(outputs: &[Rect], x: f64, y: f64) -> Option<(usize, (f64, f64))> {
    let index = outputs.iter().position(|output| output.holds(x, y))?;
    let output = outputs.get(index)?;
    Some((index, (x - output.left(), y - output.top())))
}

/// The place on any output that is nearest; `None` if there is no output.
pub fn nearest(outputs: &[Rect], x: f64, y: f64) -> Option<(f64, f64)> {
    let (x, y) = (if x.is_finite() { x } else { 0.0 }, if y.is_finite() { y } else { 0.0 });
    let places = outputs.iter().filter(|output| !output.is_empty()).map(|output| output.clamp(x, y));
    places.min_by(|one, other| distance(*one, (x, y)).total_cmp(&distance(*other, (x, y))))
}

/// Where the pointer comes to that is at `from` and is moved to `to`; `None` if there is no output.
pub fn clamp(outputs: &[Rect], from: (f64, f64), to: (f64, f64)) -> Option<(f64, f64)> {
    let from = nearest(outputs, from.0, from.1)?;
    if !to.0.is_finite() || !to.1.is_finite() {
        return Some(from);
    }
    if locate(outputs, to.0, to.1).is_some() {
        return Some(to);
    }
    let right_first = {
        let x = slide(outputs, from, to.0, Axis::X);
        (x, slide(outputs, (x, from.1), to.1, Axis::Y))
    };
    let down_first = {
        let y = slide(outputs, from, to.1, Axis::Y);
        (slide(outputs, (from.0, y), to.0, Axis::X), y)
    };
    // The way that comes nearer.
    let nearer = distance(down_first, to) < distance(right_first, to);
    Some(if nearer { down_first } else { right_first })
}

#[derive(Clone, Copy)]
enum Axis {
    X,
    Y,
}

/// How far the pointer gets from `from`, which lies on an output, towards `to` along one axis: through outputs that
/// touch.
fn slide(outputs: &[Rect], from: (f64, f64), to: f64, axis: Axis) -> f64 {
    let at = |value: f64| match axis {
        Axis::X => (value, from.1),
        Axis::Y => (from.0, value),
    };
    let mut value = match axis {
        Axis::X => from.0,
        Axis::Y => from.1,
    };
    // Each turn enters another output.
    for _ in outputs {
        let (x, y) = at(value);
        let Some(output) = outputs.iter().find(|output| output.holds(x, y)) else { return value };
        let (least, most) = match axis {
            Axis::X => (output.left(), output.right()),
            Axis::Y => (output.top(), output.bottom()),
        };
        if to >= least && to < most {
            return to;
        }
        let (edge, beyond) = if to < least { (least, least - STEP) } else { (most - STEP, most) };
        let (x, y) = at(beyond);
        if locate(outputs, x, y).is_none() {
            return edge;
        }
        value = beyond;
    }
    value
}

fn distance(one: (f64, f64), other: (f64, f64)) -> f64 {
    (one.0 - other.0).hypot(one.1 - other.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positions(sizes: &[(u32, u32)]) -> Vec<(i32, i32)> {
        places(sizes, &vec![None; sizes.len()]).corners
    }

    fn side_by_side(sizes: &[(u32, u32)]) -> Vec<Rect> {
        rects(sizes, &vec![None; sizes.len()])
    }

    fn rects(sizes: &[(u32, u32)], beside: &[Option<(Side, usize)>]) -> Vec<Rect> {
        let places = places(sizes, beside).corners.into_iter().zip(sizes);
        places.map(|((x, y), (width, height))| Rect { x, y, width: *width, height: *height }).collect()
    }

    /// 1000 × 800, then 600 × 400.
    fn high_and_low() -> Vec<Rect> {
        side_by_side(&[(1000, 800), (600, 400)])
    }

    const LAST: f64 = 1.0 - STEP;

    #[test]
    fn outputs_lie_side_by_side() {
        assert_eq!(positions(&[(1920, 1080), (0, 5), (1280, 800), (1, 1)]), [(0, 0), (1920, 0), (1920, 0), (3200, 0)]);
        assert_eq!(positions(&[]), []);
    }

    #[test]
    fn outputs_lie_beside_others_where_they_are_wanted() {
        let sizes = [(1000, 800), (600, 400), (600, 400), (300, 300)];
        let beside = [None, Some((Side::LeftOf, 0)), Some((Side::Above, 1)), Some((Side::Below, 0))];
        let wanted = Placed { corners: vec![(600, 400), (0, 400), (0, 0), (600, 1200)], refused: vec![] };
        assert_eq!(places(&sizes, &beside), wanted);
        let right = [Some((Side::RightOf, 1)), None];
        assert_eq!(places(&sizes[..2], &right).corners, [(600, 0), (0, 0)]);
    }

    #[test]
    fn circles_and_what_would_lie_over_another_stand_at_the_right_end() {
        let sizes = [(1000, 800), (600, 400), (500, 500)];
        let circle = [None, Some((Side::Above, 2)), Some((Side::LeftOf, 1))];
        let placed = places(&sizes, &circle);
        assert_eq!((placed.corners, placed.refused), (vec![(0, 0), (1000, 0), (1600, 0)], vec![1, 2]));
        let itself = [Some((Side::Above, 0))];
        assert_eq!(places(&sizes[..1], &itself), Placed { corners: vec![(0, 0)], refused: vec![0] });
        let twice = [None, Some((Side::LeftOf, 0)), Some((Side::LeftOf, 0))];
        let placed = places(&sizes, &twice);
        assert_eq!((placed.corners, placed.refused), (vec![(600, 0), (0, 0), (1600, 0)], vec![2]));
    }

    #[test]
    fn the_pointer_passes_to_an_output_above() {
        let outputs = rects(&[(1000, 800), (600, 400)], &[None, Some((Side::Above, 0))]);
        assert_eq!(clamp(&outputs, (100.0, 410.0), (120.0, 390.0)), Some((120.0, 390.0)));
        assert_eq!(clamp(&outputs, (700.0, 410.0), (700.0, 390.0)), Some((700.0, 400.0)), "there is none above");
    }

    #[test]
    fn an_output_that_comes_back_gets_its_place_again() {
        let mut order = Order::default();
        assert_eq!(order.place([].into_iter(), "A"), 0);
        assert_eq!(order.place(["A"].into_iter(), "B"), 1);
        assert_eq!(order.place(["A", "B"].into_iter(), "C"), 2);
        assert_eq!(order.place(["B", "C"].into_iter(), "A"), 0);
        assert_eq!(order.place(["C"].into_iter(), "B"), 0);
        assert_eq!(order.place(["A", "C"].into_iter(), "B"), 1);
        for number in 0..1000 {
            order.place([].into_iter(), &number.to_string());
        }
        assert!(order.seen.len() <= MAX_SEEN);
    }

    #[test]
    fn a_place_is_on_the_output_that_holds_it() {
        let outputs = high_and_low();
        assert_eq!(locate(&outputs, 0.0, 0.0), Some((0, (0.0, 0.0))));
        assert_eq!(locate(&outputs, 999.9, 799.0), Some((0, (999.9, 799.0))));
        assert_eq!(locate(&outputs, 1000.0, 10.0), Some((1, (0.0, 10.0))));
        for nowhere in [(1000.0, 400.0), (1600.0, 0.0), (-0.1, 0.0), (0.0, 800.0), (f64::NAN, 0.0)] {
            assert_eq!(locate(&outputs, nowhere.0, nowhere.1), None, "{nowhere:?}");
        }
    }

    #[test]
    fn the_pointer_passes_from_one_output_to_the_next() {
        let outputs = high_and_low();
        assert_eq!(clamp(&outputs, (990.0, 100.0), (1010.0, 120.0)), Some((1010.0, 120.0)));
        assert_eq!(clamp(&outputs, (1010.0, 100.0), (990.0, 700.0)), Some((990.0, 700.0)));
    }

    #[test]
    fn the_pointer_slides_along_edges() {
        let outputs = high_and_low();
        let rows = [
            ("up and right along the top", (900.0, 10.0), (1100.0, -50.0), (1100.0, 0.0)),
            ("far to the right ends at the last output", (900.0, 10.0), (9000.0, 20.0), (1599.0 + LAST, 20.0)),
            ("below the low output there is a wall", (990.0, 600.0), (1100.0, 610.0), (999.0 + LAST, 610.0)),
            ("and a floor in it", (1100.0, 390.0), (1150.0, 500.0), (1150.0, 399.0 + LAST)),
            ("into the lower left corner", (10.0, 790.0), (-100.0, 900.0), (0.0, 799.0 + LAST)),
        ];
        for (what, from, to, wanted) in rows {
            assert_eq!(clamp(&outputs, from, to), Some(wanted), "{what}");
        }
    }

    #[test]
    fn a_pointer_whose_output_is_gone_comes_to_the_nearest_one() {
        let one = side_by_side(&[(1000, 800)]);
        assert_eq!(nearest(&one, 1500.0, 300.0), Some((999.0 + LAST, 300.0)));
        assert_eq!(clamp(&one, (1500.0, 300.0), (1490.0, 310.0)), Some((999.0 + LAST, 310.0)));
        assert_eq!(nearest(&[], 1.0, 1.0), None);
        assert_eq!(clamp(&[], (1.0, 1.0), (2.0, 2.0)), None);
    }

    #[test]
    fn fractions_of_an_output_are_places_on_it() {
        let low = high_and_low()[1];
        assert_eq!(low.at(0.5, 0.5), (1300.0, 200.0));
        assert_eq!(low.at(1.0, 7.0), (1599.0 + LAST, 399.0 + LAST));
        assert_eq!(low.at(f64::NAN, -1.0), (1000.0, 0.0));
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![-3000.0f64..9000.0, any::<f64>()]
    }

    proptest! {
        #[test]
        fn the_pointer_is_always_on_an_output(
            sizes in proptest::collection::vec((1u32..4000, 1u32..4000), 1..5),
            from in (number(), number()),
            moves in proptest::collection::vec((number(), number()), 1..8),
        ) {
            let outputs = side_by_side(&sizes);
            let mut at = from;
            for to in moves {
                let next = clamp(&outputs, at, to).unwrap();
                prop_assert!(locate(&outputs, next.0, next.1).is_some(), "{at:?} to {to:?} gave {next:?}");
                if locate(&outputs, to.0, to.1).is_some() {
                    prop_assert_eq!(next, to);
                }
                at = next;
            }
        }

        #[test]
        fn outputs_never_overlap(sizes in proptest::collection::vec((0u32..100_000, 0u32..100_000), 0..20)) {
            let outputs = side_by_side(&sizes);
            for pair in outputs.windows(2) {
                prop_assert_eq!(pair[0].right(), pair[1].left());
            }
        }

        #[test]
        fn no_wish_makes_outputs_overlap_and_the_pointer_is_always_on_one(
            sizes in proptest::collection::vec((1u32..4000, 1u32..4000), 1..6),
            wishes in proptest::collection::vec(proptest::option::of((0usize..4, 0usize..7)), 6),
            moves in proptest::collection::vec((number(), number()), 1..6),
        ) {
            const SIDES: [Side; 4] = [Side::LeftOf, Side::RightOf, Side::Above, Side::Below];
            let beside: Vec<_> = wishes.iter().map(|wish| wish.map(|(side, of)| (SIDES[side], of))).collect();
            let outputs = rects(&sizes, &beside[..sizes.len()]);
            for (index, one) in outputs.iter().enumerate() {
                prop_assert!(one.x >= 0 && one.y >= 0);
                for other in &outputs[..index] {
                    let apart = one.right() <= other.left() || other.right() <= one.left()
                        || one.bottom() <= other.top() || other.bottom() <= one.top();
                    prop_assert!(apart, "{one:?} {other:?}");
                }
            }
            let mut at = (0.0, 0.0);
            for to in moves {
                at = clamp(&outputs, at, to).unwrap();
                prop_assert!(locate(&outputs, at.0, at.1).is_some());
            }
        }

        #[test]
        fn any_sizes_have_positions(sizes in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..10)) {
            let outputs = side_by_side(&sizes);
            prop_assert_eq!(outputs.len(), sizes.len());
            if let Some((x, y)) = nearest(&outputs, 5e9, 5e9) {
                prop_assert!(locate(&outputs, x, y).is_some());
            }
        }
    }
}
