//! Who writes to the report that `status` shows: it is there for as long as the guest's supervisor, devices come and go
//! with each QEMU, and the last round of one may come after the next one has begun.

use crate::frames::{GpuReport, SharedGpuReport};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// A device's right to write to a report that outlives it: it ends when the next device begins with the report.
#[derive(Clone, Debug)]
pub struct Reporting {
    report: SharedGpuReport,
    device: u64,
}

impl Reporting {
    /// The report begins anew, with a device of its own.
    pub fn begin(report: SharedGpuReport) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let device = NEXT.fetch_add(1, Ordering::Relaxed);
        *report.lock().unwrap_or_else(PoisonError::into_inner) = GpuReport { device, ..GpuReport::default() };
        Self { report, device }
    }

    /// Changes the report, if it is still this device's.
    pub fn write(&self, change: impl FnOnce(&mut GpuReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.device == self.device {
            change(&mut report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_followed_by_another_says_nothing_of_that_ones_pictures() {
        let report = SharedGpuReport::default();
        let pictured = || report.lock().unwrap().pictured;
        let former = Reporting::begin(report.clone());
        former.write(|report| report.pictured = true);
        assert!(pictured());
        let next = Reporting::begin(report.clone());
        // Its last round comes late.
        former.write(|report| report.pictured = true);
        assert!(!pictured());
        next.write(|report| report.pictured = true);
        assert!(pictured());
    }
}
