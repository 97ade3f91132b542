//! How far two pictures are from one another. GL leaves to each renderer how it rounds, and which pixels an edge
//! covers: a comparison allows a little of both, and no more.

use crate::picture::Picture;
use anyhow::{Result, ensure};

/// The distance of two pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The largest difference of a channel.
    pub largest: u8,
    /// The part of all pixels of which a channel differs by more than [`ROUNDING`], from 0 to 1.
    pub others: f64,
}

/// What rounding may do to a channel of 8 bits: one step in the renderer, one in a conversion.
pub const ROUNDING: u8 = 2;

/// What is taken for the same picture.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// The part of all pixels that may differ by more than rounding.
    pub others: f64,
}

impl Allowed {
    /// The same pixels, moved through memory only.
    pub const SAME: Self = Self { others: 0.0 };
    /// Drawn by two renderers: pixels at edges may be the neighbour's, at most one in two hundred.
    pub const DRAWN: Self = Self { others: 0.005 };

    /// Whether a distance is allowed. Of the same pixels, not even rounding is.
    pub fn holds(self, distance: Distance) -> bool {
        distance.others <= self.others && (self.others > 0.0 || distance.largest == 0)
    }
}

/// The distance; an error where the sizes differ.
pub fn distance(a: &Picture, b: &Picture) -> Result<Distance> {
    ensure!(
        (a.width, a.height) == (b.width, b.height),
        "pictures of {}x{} and {}x{}",
        a.width,
        a.height,
        b.width,
        b.height
    );
    let (mut largest, mut others) = (0, 0u64);
    for y in 0..a.height {
        for x in 0..a.width {
            let (a, b) = (a.at(x, y), b.at(x, y));
            let most = a.iter().zip(b).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0);
            largest = largest.max(most);
            others += u64::from(most > ROUNDING);
        }
    }
    Ok(Distance { largest, others: others as f64 / (f64::from(a.width) * f64::from(a.height)).max(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(pixels: [u8; 6]) -> Picture {
        Picture::parse_ppm(&[b"P6\n2 1\n255\n".as_slice(), &pixels].concat()).unwrap()
    }

    #[test]
    fn rounding_is_told_from_another_pixel() {
        let reference = picture([10, 20, 30, 40, 50, 60]);
        let near = distance(&reference, &picture([11, 18, 30, 40, 50, 60])).unwrap();
        assert_eq!(near, Distance { largest: 2, others: 0.0 });
        assert!(Allowed::DRAWN.holds(near) && !Allowed::SAME.holds(near));
        let far = distance(&reference, &picture([30, 20, 10, 40, 50, 60])).unwrap();
        assert_eq!(far, Distance { largest: 20, others: 0.5 });
        assert!(!Allowed::DRAWN.holds(far));
        assert!(Allowed::SAME.holds(distance(&reference, &reference).unwrap()));
    }
}
