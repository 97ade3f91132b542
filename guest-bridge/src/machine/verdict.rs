//! Whether KVM could run a guest, remembered for that guest alone.
//!
//! A guest can make KVM fail at will, so its failure says nothing of the host: another guest tries KVM for itself, which
//! on a host where KVM opens and does not work costs it a few seconds once an hour. There is a small file for each guest
//! in the runtime folder, which only its user can write. It is a hint: missing, torn, or of another boot of the host it
//! counts as no verdict, and a failure is forgotten after [`LASTS`]. Once a guest has run well, no failure of its own is
//! remembered.

use phyllome_protocol::GuestName;
use rustix::time::{ClockId, clock_gettime};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a failure is remembered. A guest that was mended, or a host, need not be started again to be tried again.
const LASTS: Duration = Duration::from_secs(60 * 60);
/// Most bytes of a file that are read.
const MAX_BYTES: u64 = 4096;

/// A verdict on KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest ran well.
    Works,
    /// The guest could not run; why, in one sentence.
    Broken(String),
}

/// Where the verdict on one guest's KVM is kept.
#[derive(Clone, Debug)]
pub struct Verdicts {
    file: PathBuf,
    boot_id: String,
}

impl Verdicts {
    /// Verdicts on the KVM of `guest` in this boot of the host, kept in `runtime_dir`.
    pub fn new(runtime_dir: &Path, guest: &GuestName) -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::of_boot(runtime_dir, guest, boot_id.trim())
    }

    /// The same of the boot that this text names.
    pub fn of_boot(runtime_dir: &Path, guest: &GuestName, boot_id: &str) -> Self {
        Self { file: runtime_dir.join(format!("kvm-{guest}")), boot_id: boot_id.to_owned() }
    }

    /// What is remembered.
    pub fn recall(&self) -> Option<Verdict> {
        self.recall_at(now())
    }

    /// `now`: seconds since the host was started.
    fn recall_at(&self, now: u64) -> Option<Verdict> {
        let mut text = String::new();
        std::fs::File::open(&self.file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        if self.boot_id.is_empty() || lines.next() != Some(self.boot_id.as_str()) {
            return None;
        }
        let (word, since, reason) = (lines.next()?, lines.next()?.parse::<u64>().ok()?, lines.next());
        match (word, reason) {
            ("works", _) => Some(Verdict::Works),
            // One of the future is no more to be believed than an old one.
            ("broken", Some(reason)) if now.checked_sub(since).is_some_and(|age| age < LASTS.as_secs()) => {
                Some(Verdict::Broken(reason.to_owned()))
            }
            _ => None,
        }
    }

    /// Remembers `verdict`, unless KVM is already known to run this guest.
    pub fn remember(&self, verdict: &Verdict) {
        self.remember_at(verdict, now());
    }

    fn remember_at(&self, verdict: &Verdict, now: u64) {
        if self.recall_at(now) == Some(Verdict::Works) {
            return;
        }
        let (word, reason) = match verdict {
            Verdict::Works => ("works", String::new()),
            Verdict::Broken(reason) => ("broken", reason.replace(char::is_control, " ")),
        };
        let new = self.file.with_added_extension(format!("new-{}", std::process::id()));
        let text = format!("{}\n{word}\n{now}\n{reason}\n", self.boot_id);
        if let Err(error) = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.file)) {
            tracing::warn!(%error, file = %self.file.display(), "cannot remember whether KVM works");
        }
    }
}

/// Seconds since the host was started, those in which it slept included.
fn now() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dir: &Path, guest: &str, boot: &str) -> Verdicts {
        Verdicts::of_boot(dir, &GuestName::new(guest).unwrap(), boot)
    }

    #[test]
    fn a_failure_is_that_guests_alone_and_forgotten_after_an_hour_or_a_boot() {
        let dir = tempfile::tempdir().unwrap();
        let broken = Verdict::Broken("emulation failure".into());
        let work = of(dir.path(), "work", "boot-1");
        assert_eq!(work.recall(), None);
        work.remember_at(&broken, 1000);
        let at = |hours: u64| work.recall_at(1000 + hours * LASTS.as_secs());
        assert_eq!((work.recall_at(1000), at(1), work.recall_at(999)), (Some(broken.clone()), None, None));
        for other in
            [of(dir.path(), "play", "boot-1"), of(dir.path(), "wor", "boot-1"), of(dir.path(), "work", "boot-2")]
        {
            assert_eq!(other.recall_at(1000), None);
        }
        work.remember_at(&broken, 90_000);
        assert_eq!(work.recall_at(90_000), Some(broken));
    }

    #[test]
    fn a_guest_that_ran_well_may_fail_later() {
        let dir = tempfile::tempdir().unwrap();
        let work = of(dir.path(), "work", "boot-1");
        work.remember(&Verdict::Broken("line\nbreak".into()));
        assert_eq!(work.recall(), Some(Verdict::Broken("line break".into())));
        work.remember(&Verdict::Works);
        work.remember(&Verdict::Broken("a bug of its own".into()));
        assert_eq!(work.recall(), Some(Verdict::Works));
    }

    #[test]
    fn a_torn_or_binary_file_is_no_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let work = of(dir.path(), "work", "boot-1");
        for bytes in [
            &b""[..],
            b"boot-1",
            b"boot-1\nbroken\n",
            b"boot-1\nbroken\nx\nwhy\n",
            b"boot-1\nmaybe\n1\n",
            &[0xff; 100_000],
        ] {
            std::fs::write(&work.file, bytes).unwrap();
            assert_eq!(work.recall_at(1), None);
        }
    }
}
