//! What was measured, and what is made of it: pure.

/// What a burst of pictures cost.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// Processor time of the compositor for each picture that went to the display, in milliseconds.
    pub cpu: f64,
    /// From the guest's flush to the end of the page flip, in milliseconds.
    pub flips: Vec<f64>,
    /// From the guest's flush to its fence, in milliseconds.
    pub fences: Vec<f64>,
}

/// A compositor at rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// Pictures that went to the display.
    pub flips: f64,
    /// Context switches of the compositor.
    pub switches: f64,
}

/// One run of a compositor.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// From exec to its first picture on the display, in milliseconds.
    pub start: f64,
    /// Everything changes.
    pub whole: Burst,
    /// A small square changes.
    pub small: Burst,
    /// Pictures for each refresh while the guest flushes as fast as it can; where it was measured.
    pub flood: Option<f64>,
    /// At rest; where it was measured.
    pub rest: Option<Rest>,
    /// Resident memory in MiB: its own and files'.
    pub resident: f64,
    /// A refresh in milliseconds.
    pub period: f64,
}

/// The smallest figure that so large a part (0 to 1) of all is not above; nothing where there are none.
pub fn percentile(figures: &[f64], part: f64) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Sums the first numbers of the lines that begin with one of these keys.
pub fn sum_of(text: &str, keys: &[&str]) -> u64 {
    let values = text.lines().filter_map(|line| keys.iter().find_map(|key| line.strip_prefix(key)));
    values.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// The pairs of numbers of a report.
pub fn pairs(text: &str) -> Vec<(u64, u64)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let figures: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&figures, 0.5), Some(50.0));
        assert_eq!(percentile(&figures, 0.99), Some(99.0));
        assert_eq!(percentile(&figures, 1.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 0.01), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn every_thread_counts() {
        let text =
            "cpu 5000000 1 2\ncpu 7 1 2\nvoluntary_ctxt_switches:\t4\nnonvoluntary_ctxt_switches:\t2\nVmRSS: 9 kB\n";
        assert_eq!(sum_of(text, &["cpu "]), 5_000_007);
        assert_eq!(sum_of(text, &["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]), 6);
        assert_eq!(pairs("1 2\n\n30 40\n"), [(1, 2), (30, 40)]);
    }
}
