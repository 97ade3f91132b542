//! What this host's KVM has turned out to be, remembered until the host boots again.
//!
//! One small file in the runtime folder, which only its user can write. It is a hint: missing, torn or stale it counts
//! as no verdict. Once a guest has run well under KVM, no guest's failure turns the verdict for the others.

use std::io::Read;
use std::path::{Path, PathBuf};

/// The file's name in the runtime folder.
const FILE: &str = "kvm-verdict";
/// Most bytes of it that are read.
const MAX_BYTES: u64 = 4096;

/// A verdict on KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A guest ran well.
    Works,
    /// A guest could not run; why, in one sentence.
    Broken(String),
}

/// Where verdicts are kept.
#[derive(Clone, Debug)]
pub struct Verdicts {
    file: PathBuf,
    boot_id: String,
}

impl Verdicts {
    /// Verdicts of this boot of the host, kept in `runtime_dir`.
    pub fn new(runtime_dir: &Path) -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::of_boot(runtime_dir, boot_id.trim())
    }

    /// Verdicts of the boot that this text names.
    pub fn of_boot(runtime_dir: &Path, boot_id: &str) -> Self {
        Self { file: runtime_dir.join(FILE), boot_id: boot_id.to_owned() }
    }

    /// What is remembered.
    pub fn recall(&self) -> Option<Verdict> {
        let mut text = String::new();
        std::fs::File::open(&self.file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        if self.boot_id.is_empty() || lines.next() != Some(self.boot_id.as_str()) {
            return None;
        }
        match (lines.next()?, lines.next()) {
            ("works", _) => Some(Verdict::Works),
            ("broken", Some(reason)) => Some(Verdict::Broken(reason.to_owned())),
            _ => None,
        }
    }

    /// Remembers `verdict`, unless KVM is already known to work.
    pub fn remember(&self, verdict: &Verdict) {
        let known = self.recall();
        if known == Some(Verdict::Works) || known.as_ref() == Some(verdict) {
            return;
        }
        let words = match verdict {
            Verdict::Works => "works\n".to_owned(),
            Verdict::Broken(reason) => format!("broken\n{}\n", reason.replace(char::is_control, " ")),
        };
        let new = self.file.with_extension(format!("new-{}", std::process::id()));
        let text = format!("{}\n{words}", self.boot_id);
        if let Err(error) = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.file)) {
            tracing::warn!(%error, file = %self.file.display(), "cannot remember whether KVM works");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_lasts_until_the_host_boots_again() {
        let dir = tempfile::tempdir().unwrap();
        let broken = Verdict::Broken("emulation failure".into());
        let before = Verdicts::of_boot(dir.path(), "boot-1");
        assert_eq!(before.recall(), None);
        before.remember(&broken);
        assert_eq!(before.recall(), Some(broken));
        assert_eq!(Verdicts::of_boot(dir.path(), "boot-2").recall(), None);
    }

    #[test]
    fn one_bad_guest_does_not_take_kvm_from_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::of_boot(dir.path(), "boot-1");
        verdicts.remember(&Verdict::Works);
        verdicts.remember(&Verdict::Broken("line\nbreak".into()));
        assert_eq!(verdicts.recall(), Some(Verdict::Works));
    }

    #[test]
    fn a_torn_or_binary_file_is_no_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::of_boot(dir.path(), "boot-1");
        for bytes in [&b""[..], b"boot-1", b"boot-1\nbroken", b"boot-1\nmaybe\n", &[0xff; 100_000]] {
            std::fs::write(dir.path().join(FILE), bytes).unwrap();
            assert_eq!(verdicts.recall(), None);
        }
    }
}
