//! What the device's thread is told and has not taken yet: the newest of each kind. Pure.
//!
//! The thread may take nothing for as long as QEMU likes (half a message on its socket is waited for), while QEMU and
//! the screen go on to speak, so nothing here may grow with what they say.

use crate::frames::{PreferredMode, ToDevice};
use phyllome_protocol::ScanoutId;
use phyllome_protocol::ids::MAX_SCANOUTS;
use std::collections::VecDeque;

/// Most buffers that are remembered as refused: more than scanouts can show. Of more the oldest are forgotten.
const MAX_REFUSED: usize = 256;

/// What waits.
#[derive(Debug, Default)]
pub struct Inbox {
    machine_reset: bool,
    attached: Option<bool>,
    /// A screen has come since the last time, whether it is still there or not.
    came: bool,
    modes: [Option<PreferredMode>; MAX_SCANOUTS as usize],
    presented: [Option<u64>; MAX_SCANOUTS as usize],
    refused: VecDeque<u64>,
}

impl Inbox {
    /// The machine was reset.
    pub fn put_reset(&mut self) {
        self.machine_reset = true;
    }

    /// The screen says this.
    pub fn put(&mut self, message: ToDevice) {
        match message {
            ToDevice::Presented { id, serial } => {
                if let Some(newest) = self.presented.get_mut(id.get() as usize) {
                    *newest = Some(newest.map_or(serial, |newest| newest.max(serial)));
                }
            }
            ToDevice::Mode { id, mode } => {
                if let Some(newest) = self.modes.get_mut(id.get() as usize) {
                    *newest = Some(mode);
                }
            }
            ToDevice::Refused { buffer } => {
                if self.refused.contains(&buffer) {
                    return;
                }
                if self.refused.len() >= MAX_REFUSED {
                    self.refused.pop_front();
                }
                self.refused.push_back(buffer);
            }
            ToDevice::Attached(attached) => {
                self.attached = Some(attached);
                self.came |= attached;
            }
        }
    }

    /// Takes everything: whether the machine was reset, and then what the screen has said. A screen that came is told
    /// everything again, so that it came is said first.
    pub fn take(&mut self) -> (bool, Vec<ToDevice>) {
        let Self { machine_reset, attached, came, modes, presented, refused } = std::mem::take(self);
        let mut said: Vec<ToDevice> = came.then_some(ToDevice::Attached(true)).into_iter().collect();
        said.extend(attached.filter(|attached| !attached).map(ToDevice::Attached));
        let numbered = |number: usize| ScanoutId::new(u32::try_from(number).ok()?);
        said.extend((0..).zip(modes).filter_map(|(at, mode)| Some(ToDevice::Mode { id: numbered(at)?, mode: mode? })));
        said.extend(refused.into_iter().map(|buffer| ToDevice::Refused { buffer }));
        let presented = (0..).zip(presented);
        said.extend(
            presented.filter_map(|(at, serial)| Some(ToDevice::Presented { id: numbered(at)?, serial: serial? })),
        );
        (machine_reset, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ScanoutId {
        ScanoutId::new(number).unwrap()
    }

    fn mode(width: u32) -> PreferredMode {
        PreferredMode { width, height: 600, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 }
    }

    #[test]
    fn a_million_words_that_nobody_takes_are_the_newest_of_each_kind() {
        let mut inbox = Inbox::default();
        for n in 0..1_000_000u64 {
            inbox.put_reset();
            inbox.put(ToDevice::Attached(n % 2 == 0));
            inbox.put(ToDevice::Presented { id: id(3), serial: n });
            inbox.put(ToDevice::Mode { id: id(1), mode: mode(n as u32) });
            inbox.put(ToDevice::Refused { buffer: n });
        }
        let (reset, said) = inbox.take();
        assert!(reset && said.len() == 4 + MAX_REFUSED, "{} messages", said.len());
        assert_eq!(said[..2], [ToDevice::Attached(true), ToDevice::Attached(false)]);
        assert_eq!(said[2], ToDevice::Mode { id: id(1), mode: mode(999_999) });
        assert_eq!(said[3], ToDevice::Refused { buffer: 1_000_000 - MAX_REFUSED as u64 });
        assert_eq!(said.last(), Some(&ToDevice::Presented { id: id(3), serial: 999_999 }));
        assert_eq!(inbox.take(), (false, Vec::new()), "once");
    }

    #[test]
    fn nothing_that_was_said_once_is_lost() {
        let mut inbox = Inbox::default();
        let said = [
            ToDevice::Attached(true),
            ToDevice::Mode { id: id(0), mode: mode(800) },
            ToDevice::Mode { id: id(15), mode: mode(640) },
            ToDevice::Refused { buffer: 7 },
            ToDevice::Refused { buffer: 9 },
            ToDevice::Presented { id: id(0), serial: 5 },
        ];
        said.iter().for_each(|&message| inbox.put(message));
        inbox.put(ToDevice::Presented { id: id(0), serial: 4 });
        assert_eq!(inbox.take(), (false, said.to_vec()));
        inbox.put(ToDevice::Attached(false));
        assert_eq!(inbox.take(), (false, vec![ToDevice::Attached(false)]));
    }
}
