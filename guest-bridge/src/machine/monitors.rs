//! What QEMU is to be told of the monitors of a guest, and when: sizes that change often are told seldom, the last one
//! always.
//!
//! Pure; time is passed in. Per scanout only the newest mode waits, so nothing a compositor does can make this grow.

use crate::frames::PreferredMode;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::ids::MAX_SCANOUTS;
use std::time::{Duration, Instant};

/// A mode is told when it has been the wanted one for so long: somebody may still be dragging a window's edge.
pub const SETTLE: Duration = Duration::from_millis(60);
/// It is told after this time, however often it changes.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// The wanted mode of every scanout; `None` where nobody wants one yet.
pub type Modes = [Option<PreferredMode>; MAX_SCANOUTS as usize];

#[derive(Clone, Copy, Debug, Default)]
struct Monitor {
    wanted: Option<PreferredMode>,
    told: Option<PreferredMode>,
    /// When the first change that is untold came, and when the last did.
    changed: Option<(Instant, Instant)>,
}

impl Monitor {
    fn due(&self) -> Option<Instant> {
        self.changed.map(|(first, last)| (first + PATIENCE).min(last + SETTLE))
    }
}

/// All monitors of a guest.
#[derive(Clone, Debug, Default)]
pub struct Monitors([Monitor; MAX_SCANOUTS as usize]);

impl Monitors {
    /// Monitors whose modes the guest sees already.
    pub fn new(known: &Modes) -> Self {
        Self(known.map(|told| Monitor { wanted: told, told, changed: None }))
    }

    /// These are the modes that are wanted now.
    pub fn want(&mut self, modes: &Modes, now: Instant) {
        for (monitor, mode) in self.0.iter_mut().zip(modes) {
            if mode.is_none() || *mode == monitor.wanted {
                continue;
            }
            monitor.wanted = *mode;
            monitor.changed = match monitor.changed {
                // Back where it was before anybody heard.
                _ if monitor.wanted == monitor.told => None,
                Some((first, _)) => Some((first, now)),
                None => Some((now, now)),
            };
        }
    }

    /// A monitor that is to be told now; it counts as told.
    pub fn take(&mut self, now: Instant) -> Option<(ScanoutId, PreferredMode)> {
        for (id, monitor) in (0..).zip(&mut self.0) {
            if monitor.due().is_some_and(|due| due <= now) {
                monitor.changed = None;
                monitor.told = monitor.wanted;
                if let (Some(id), Some(mode)) = (ScanoutId::new(id), monitor.wanted) {
                    return Some((id, mode));
                }
            }
        }
        None
    }

    /// When the next one is due; `None` while there is nothing to tell.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(Monitor::due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(width: u32) -> PreferredMode {
        PreferredMode { width, height: 768, refresh_mhz: 60_000, width_mm: 300, height_mm: 200 }
    }

    fn modes(widths: &[u32]) -> Modes {
        let mut modes = Modes::default();
        for (place, width) in modes.iter_mut().zip(widths) {
            *place = Some(mode(*width));
        }
        modes
    }

    #[test]
    fn a_mode_is_told_once_when_it_has_settled() {
        let (mut monitors, now) = (Monitors::default(), Instant::now());
        monitors.want(&modes(&[800]), now);
        monitors.want(&modes(&[800]), now + SETTLE / 2);
        assert_eq!(monitors.take(now + SETTLE / 2), None);
        assert_eq!(monitors.deadline(), Some(now + SETTLE));
        assert_eq!(monitors.take(now + SETTLE), ScanoutId::new(0).map(|id| (id, mode(800))));
        assert_eq!((monitors.take(now + SETTLE), monitors.deadline()), (None, None));
        monitors.want(&modes(&[800]), now + PATIENCE);
        assert_eq!(monitors.deadline(), None, "told already");
    }

    #[test]
    fn a_size_that_never_settles_is_told_twice_a_second() {
        let (mut monitors, start) = (Monitors::default(), Instant::now());
        let mut told = Vec::new();
        for ms in 0..2000u32 {
            let now = start + Duration::from_millis(ms.into());
            monitors.want(&modes(&[800 + ms]), now);
            told.extend(monitors.take(now).map(|(_, mode)| mode.width));
        }
        assert!((3..=4).contains(&told.len()), "{told:?}");
        let end = start + Duration::from_secs(3);
        assert_eq!(monitors.take(end).map(|(_, mode)| mode.width), Some(2799), "the last one is told");
    }

    #[test]
    fn a_size_that_comes_back_in_time_is_no_change() {
        let (mut monitors, now) = (Monitors::new(&modes(&[800])), Instant::now());
        monitors.want(&modes(&[900]), now + SETTLE);
        monitors.want(&modes(&[800]), now + SETTLE);
        assert_eq!((monitors.deadline(), monitors.take(now + PATIENCE * 2)), (None, None));
    }

    #[test]
    fn every_scanout_is_told_of_its_own() {
        let (mut monitors, now) = (Monitors::default(), Instant::now());
        monitors.want(&modes(&[800, 900]), now);
        let all: Vec<_> =
            std::iter::from_fn(|| monitors.take(now + SETTLE)).map(|(id, m)| (id.get(), m.width)).collect();
        assert_eq!(all, [(0, 800), (1, 900)]);
    }
}
