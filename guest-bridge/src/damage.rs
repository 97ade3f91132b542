//! What of a picture has changed, as a few rectangles: gathered by the device for a batch, and by the screen for a
//! commit.
//!
//! Pure and of a fixed size, so that no guest makes it grow: beyond [`MAX_RECTS`] all rectangles become the one around
//! them. Every pixel that was added stays covered. Every sum saturates.

use crate::frames::Rect;

/// Most rectangles; more become one.
pub const MAX_RECTS: usize = 16;

/// Changed rectangles, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    rects: [Rect; MAX_RECTS],
    count: usize,
}

impl Damage {
    /// Adds a rectangle, in the picture's pixels; one that lies inside another is no more.
    pub fn add(&mut self, rect: Rect) {
        if rect.width == 0 || rect.height == 0 || self.rects().iter().any(|known| covers(known, &rect)) {
            return;
        }
        let mut kept = 0;
        for index in 0..self.count {
            if let Some(&known) = self.rects.get(index).filter(|known| !covers(&rect, known)) {
                self.rects[kept] = known;
                kept += 1;
            }
        }
        self.count = kept;
        if self.count == MAX_RECTS {
            let all = self.rects().iter().copied().fold(rect, union);
            self.rects[0] = all;
            self.count = 1;
        } else {
            self.rects[self.count] = rect;
            self.count += 1;
        }
    }

    /// Everything has changed, however large the picture is.
    pub fn add_all(&mut self) {
        self.add(Rect { x: 0, y: 0, width: u32::MAX, height: u32::MAX });
    }

    /// The rectangles.
    pub fn rects(&self) -> &[Rect] {
        self.rects.get(..self.count).unwrap_or_default()
    }

    /// No damage.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Takes what has changed, clipped to a picture of this size; what lies outside is left out.
    pub fn take(&mut self, width: u32, height: u32) -> Vec<Rect> {
        let whole = Rect { x: 0, y: 0, width, height };
        let taken = self.rects().iter().filter_map(|&rect| intersection(rect, whole)).collect();
        self.clear();
        taken
    }
}

fn covers(outer: &Rect, inner: &Rect) -> bool {
    let within = |a: u32, a_length: u32, b: u32, b_length: u32| {
        a <= b && b.saturating_add(b_length) <= a.saturating_add(a_length)
    };
    within(outer.x, outer.width, inner.x, inner.width) && within(outer.y, outer.height, inner.y, inner.height)
}

/// The smallest rectangle around both.
pub fn union(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = a.x.saturating_add(a.width).max(b.x.saturating_add(b.width));
    let bottom = a.y.saturating_add(a.height).max(b.y.saturating_add(b.height));
    Rect { x, y, width: right - x, height: bottom - y }
}

fn intersection(a: Rect, b: Rect) -> Option<Rect> {
    let (x, y) = (a.x.max(b.x), a.y.max(b.y));
    let right = a.x.saturating_add(a.width).min(b.x.saturating_add(b.width));
    let bottom = a.y.saturating_add(a.height).min(b.y.saturating_add(b.height));
    (right > x && bottom > y).then(|| Rect { x, y, width: right - x, height: bottom - y })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn damage_is_passed_on_exactly_and_clipped() {
        let mut damage = Damage::default();
        for added in [rect(1, 2, 3, 4), rect(90, 90, 20, 20), rect(200, 0, 5, 5), rect(1, 2, 3, 4)] {
            damage.add(added);
        }
        assert_eq!(damage.take(100, 100), [rect(1, 2, 3, 4), rect(90, 90, 10, 10)]);
        assert_eq!(damage.take(100, 100), []);
        damage.add(rect(u32::MAX, u32::MAX, u32::MAX, u32::MAX));
        assert_eq!(damage.take(100, 100), []);
    }

    #[test]
    fn much_damage_becomes_one_rectangle_and_all_of_it_the_picture() {
        let mut damage = Damage::default();
        for i in 0..1000 {
            damage.add(rect(i % 50, i / 50, 1, 1));
            assert!(damage.rects().len() <= MAX_RECTS);
        }
        let taken = damage.take(100, 100);
        let area: u32 = taken.iter().map(|r| r.width * r.height).sum();
        assert!(area >= 1000, "{taken:?}");
        damage.add(rect(3, 3, 1, 1));
        damage.add_all();
        damage.add(rect(0, 0, 1, 1));
        assert_eq!(damage.take(7, 9), [rect(0, 0, 7, 9)]);
        assert!(damage.is_empty());
    }

    proptest! {
        #[test]
        fn damage_covers_all_that_was_added(
            rects in prop::collection::vec((0u32..200, 0u32..200, 0u32..50, 0u32..50), 0..60),
        ) {
            let mut damage = Damage::default();
            for &(x, y, width, height) in &rects {
                damage.add(rect(x, y, width, height));
            }
            prop_assert!(damage.rects().len() <= MAX_RECTS);
            for &(x, y, width, height) in rects.iter().filter(|r| r.2 > 0 && r.3 > 0) {
                prop_assert!(damage.rects().iter().any(|known| covers(known, &rect(x, y, width, height))));
            }
            prop_assert!(damage.rects().iter().all(|known| known.width > 0 && known.height > 0));
        }
    }
}
