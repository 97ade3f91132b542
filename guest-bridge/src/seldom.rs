//! When something that a guest can bring about at will is worth a line of its log. Pure.

/// Whether the `count`th of its kind is told: the first, the tenth, the hundredth, and so on.
pub fn seldom(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|digits| 10u64.checked_pow(digits) == Some(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_are_told_in_seven_lines() {
        assert_eq!((0..=1_000_000).filter(|&count| seldom(count)).count(), 7);
        assert!(seldom(1) && !seldom(2) && !seldom(0) && !seldom(u64::MAX));
    }
}
