//! Parts of a wheel's notch that are too small to be told wait for the next ones. Pure.

/// Most parts of a notch that are told at once: a hundred notches.
const MOST: f64 = 12_000.0;

/// What is left over of both axes, in 120ths of a notch.
#[derive(Debug, Default)]
pub struct Wheel {
    horizontal: f64,
    vertical: f64,
}

impl Wheel {
    /// The wheel turned by so many 120ths of a notch; the whole ones of which the guest is told.
    pub fn turn(&mut self, horizontal: f64, vertical: f64) -> (i32, i32) {
        (whole(&mut self.horizontal, horizontal), whole(&mut self.vertical, vertical))
    }
}

fn whole(left_over: &mut f64, parts: f64) -> i32 {
    let sum = *left_over + if parts.is_finite() { parts.clamp(-MOST, MOST) } else { 0.0 };
    let whole = sum.trunc();
    *left_over = sum - whole;
    whole as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_of_a_finger_add_up_and_nothing_is_lost() {
        let mut wheel = Wheel::default();
        let steps: Vec<_> = (0..8).map(|_| wheel.turn(0.0, 0.5).1).collect();
        assert_eq!(steps, [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(wheel.turn(-120.0, 360.0), (-120, 360));
    }

    #[test]
    fn what_no_wheel_can_do_is_bounded() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.turn(f64::NAN, f64::INFINITY), (0, 0));
        assert_eq!(wheel.turn(-1e300, 1e300), (-12_000, 12_000));
    }
}
