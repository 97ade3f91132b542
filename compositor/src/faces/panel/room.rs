//! What has room in the panel, on a display as small and as large as there are: pure arithmetic, which `panel.slint`
//! follows.
//!
//! A narrow panel has its keys in two lines, a low one less air around title and keys, and neither has a legend. Of
//! guests there is always a row, and two if a sentence about a file has room beside them, and nothing lies over
//! anything else.

/// A row with the gap to the next; two lines of a sentence about a file. Logical pixels.
pub const ROW: f64 = 72.0;
pub const SENTENCE: f64 = 40.0;
/// Sentences that are shown; the last of more says how many there are.
pub const MAX_SENTENCES: usize = 4;
/// One line of keys more.
const KEYS: f64 = 32.0;
/// All keys have room beside one another in a column of this width, and the title and the legend in one of that.
const WIDE: f64 = 736.0;
const LEGEND: f64 = 480.0;
/// A panel as high as this has all its air.
const HIGH: f64 = 480.0;

/// What has room in a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Little air.
    pub low: bool,
    /// Keys are in two lines.
    pub narrow: bool,
    /// The legend is shown.
    pub legend: bool,
    /// Sentences about files.
    pub sentences: usize,
    /// Rows of guests.
    pub rows: usize,
}

impl Room {
    /// Of a panel of this size, in logical pixels, that has so many sentences to show.
    pub fn of(width: f64, height: f64, sentences: usize) -> Self {
        // As in `panel.slint`.
        let column = (((width - 64.0) / 8.0).floor() * 8.0).min(800.0);
        let (low, narrow) = (height < HIGH, column < WIDE);
        let room = height - head(low) - foot(low, narrow);
        // `as` saturates: less than none is none.
        let beside = |rows: f64| ((room - rows * ROW) / SENTENCE).floor() as usize;
        let most = if beside(2.0) > 0 { beside(2.0) } else { beside(1.0) };
        let sentences = most.min(sentences).min(MAX_SENTENCES);
        let rows = (((room - sentences as f64 * SENTENCE) / ROW).floor() as usize).max(1);
        // What is said between the title and the first row of a low panel lies where the legend would.
        Self { low, narrow, legend: column >= LEGEND && !low, sentences, rows }
    }
}

/// From the upper edge to the first row.
pub fn head(low: bool) -> f64 {
    if low { 56.0 } else { 96.0 }
}

/// From the end of what is above the keys to the lower edge.
pub fn foot(low: bool, narrow: bool) -> f64 {
    (if low { 64.0 } else { 104.0 }) + if narrow { KEYS } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_no_display_does_anything_lie_over_anything_else() {
        // From 1024×600 at a scale of 2 on; without the frame.
        for (width, height) in [(504.0, 268.0), (632.0, 448.0), (1016.0, 568.0), (3832.0, 2128.0)] {
            for given in 0..10 {
                let room = Room::of(width, height, given);
                let used = room.rows as f64 * ROW + room.sentences as f64 * SENTENCE;
                let all = head(room.low) + used + foot(room.low, room.narrow);
                assert!(room.rows >= 1 && all <= height, "{room:?} in {width} × {height}");
                assert!(room.sentences <= given.min(MAX_SENTENCES));
            }
        }
    }

    #[test]
    fn what_is_cut_first_is_air_then_sentences() {
        let usual = Room { low: false, narrow: false, legend: true, sentences: 4, rows: 5 };
        assert_eq!(Room::of(1272.0, 768.0, 9), usual);
        assert_eq!(Room::of(1272.0, 768.0, 0), Room { sentences: 0, rows: 7, ..usual });
        let small = Room { low: true, narrow: true, legend: false, sentences: 1, rows: 1 };
        assert_eq!(Room::of(504.0, 268.0, 9), small);
        assert_eq!(Room::of(632.0, 448.0, 9), Room { sentences: 3, rows: 2, ..small });
    }
}
