//! The frame's patterns, for people who don't see colours. Pure: a place goes in, one of two colours comes out, and
//! the same place has the same colour in every strip, so that a pattern runs around the whole band unbroken.

use crate::frame::label::Pattern;

/// Whether the physical pixel at `x`, `y` of the output has the pattern's second colour. `scale` is the output's.
pub fn is_second(pattern: Pattern, x: u32, y: u32, scale: f64) -> bool {
    let px = |logical: f64| ((logical * scale).round() as u32).max(1);
    match pattern {
        Pattern::Solid => false,
        // 45°, bands 6 px wide measured across the stripe: 6·√2 along a row.
        Pattern::Stripes => {
            let width = px(6.0 * std::f64::consts::SQRT_2);
            (x.wrapping_add(y) / width) % 2 == 1
        }
        Pattern::Dots => {
            let (dot, grid) = (px(4.0), px(10.0));
            x % grid < dot && y % grid < dot
        }
        Pattern::Checks => {
            let side = px(6.0);
            (x / side) % 2 != (y / side) % 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lengths of the runs of one colour along a row, without those that are cut at its ends.
    fn runs(pattern: Pattern, y: u32, scale: f64) -> Vec<u32> {
        let row: Vec<bool> = (0..400).map(|x| is_second(pattern, x, y, scale)).collect();
        let lengths: Vec<u32> = row.chunk_by(|a, b| a == b).map(|run| run.len() as u32).collect();
        lengths[1..lengths.len() - 1].to_vec()
    }

    #[test]
    fn checks_are_squares_of_6_at_every_scale() {
        for (scale, side) in [(1.0, 6), (1.5, 9), (2.0, 12)] {
            assert!(runs(Pattern::Checks, 0, scale).iter().all(|run| *run == side));
            assert_ne!(is_second(Pattern::Checks, 0, 0, scale), is_second(Pattern::Checks, 0, side, scale));
        }
    }

    #[test]
    fn dots_of_4_stand_10_apart_at_every_scale() {
        for (scale, dot, grid) in [(1.0, 4, 10), (1.5, 6, 15), (2.0, 8, 20)] {
            assert!(runs(Pattern::Dots, 0, scale).chunks_exact(2).all(|pair| pair == [grid - dot, dot]));
            assert!((0..grid).all(|x| !is_second(Pattern::Dots, x, dot, scale)), "between two rows of dots");
        }
    }

    #[test]
    fn stripes_are_6_wide_and_go_one_pixel_aside_each_row() {
        // 6 px across a stripe of 45° are 6·√2 along a row.
        for (scale, along) in [(1.0, 8), (1.5, 13), (2.0, 17)] {
            assert!(runs(Pattern::Stripes, 0, scale).iter().all(|run| *run == along), "at {scale}");
            for x in 1..100 {
                assert_eq!(is_second(Pattern::Stripes, x, 0, scale), is_second(Pattern::Stripes, x - 1, 1, scale));
            }
        }
    }

    proptest! {
        #[test]
        fn no_place_and_no_scale_fails(x: u32, y: u32, scale: f64) {
            for pattern in Pattern::ALL {
                let second = is_second(pattern, x, y, scale);
                prop_assert!(!(pattern == Pattern::Solid && second));
            }
        }
    }
}
