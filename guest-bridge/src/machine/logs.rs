//! Logs whose size is bounded, however much a guest or QEMU says.
//!
//! A full file becomes `FILE.1` (which replaces an older one) and a new one begins: at most twice the bound lies on
//! disk. A disk that is full or gone costs log lines, never the guest.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Most bytes in one log file.
pub const MAX_LOG: u64 = 1024 * 1024;
/// How many of QEMU's last lines are kept to explain its end.
pub const LAST_LINES: usize = 20;
/// Longest line that is kept, in bytes: QEMU repeats a whole option, with paths of 4095 bytes each, before it says what
/// is wrong with it.
const MAX_KEPT_LINE: usize = 16 * 1024;

/// One log file.
#[derive(Debug)]
pub struct BoundedLog {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl BoundedLog {
    /// Opens `path` for appending; its folder is made if need be. Nobody but the user may read it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, MAX_LOG)
    }

    /// The same with another bound, in bytes.
    pub fn open_with(path: &Path, limit: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = open_append(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, written, limit })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut former = self.path.clone().into_os_string();
        former.push(".1");
        match std::fs::rename(&self.path, former) {
            // It was moved before, when the disk was too full for a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.file = open_append(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Write for BoundedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written.saturating_add(bytes.len() as u64) > self.limit {
            self.rotate()?;
        }
        let part = bytes.get(..usize::try_from(self.limit).unwrap_or(usize::MAX)).unwrap_or(bytes);
        let count = self.file.write(part)?;
        self.written = self.written.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A log that several writers share, for tracing. It never fails: what a full disk does not take is lost.
#[derive(Clone, Debug)]
pub struct SharedLog(Arc<Mutex<BoundedLog>>);

impl SharedLog {
    /// Shares `log`.
    pub fn new(log: BoundedLog) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }
}

impl Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.0.lock() {
            Ok(mut log) => log.write(bytes),
            Err(poisoned) => poisoned.into_inner().write(bytes),
        };
        Ok(written.unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last lines of what was written, for the sentence that explains an end.
#[derive(Clone, Debug, Default)]
pub struct LastLines {
    lines: VecDeque<String>,
    unfinished: Vec<u8>,
    kvm: Option<String>,
}

impl LastLines {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = MAX_KEPT_LINE.saturating_sub(self.unfinished.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.unfinished.extend_from_slice(text.get(..room).unwrap_or(text));
            if piece.ends_with(b"\n") {
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        let line = std::mem::take(&mut self.unfinished);
        let text = phyllome_protocol::text::plain(&String::from_utf8_lossy(&line), usize::MAX, ' ');
        if text.trim().is_empty() {
            return;
        }
        if text.contains("KVM internal error") {
            self.kvm = Some(text.clone());
        }
        if self.lines.len() >= LAST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }

    /// KVM's last complaint, which a dump of registers longer than [`LAST_LINES`] follows.
    pub fn kvm_error(&self) -> Option<&str> {
        self.kvm.as_deref()
    }

    /// The last lines, oldest first, an unfinished one included.
    pub fn lines(&self) -> Vec<String> {
        let mut all = self.clone();
        all.finish();
        all.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_grows_beyond_twice_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/qemu.log");
        let mut log = BoundedLog::open_with(&path, 1000).unwrap();
        for number in 0..500 {
            log.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        log.write_all(&[b'x'; 5000]).unwrap();
        log.write_all(b"last\n").unwrap();
        let sizes: u64 =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes <= 2000, "{sizes}");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("last\n"));
    }

    #[test]
    fn a_log_comes_back_after_its_file_was_moved_and_no_new_one_could_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let (path, former) = (dir.path().join("qemu.log"), dir.path().join("qemu.log.1"));
        let mut log = BoundedLog::open_with(&path, 10).unwrap();
        log.write_all(b"first\n").unwrap();
        std::fs::rename(&path, &former).unwrap();
        log.write_all(b"second\n").unwrap();
        let text = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&former).as_str(), text(&path).as_str()), ("first\n", "second\n"));
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_lost_and_no_error() {
        let mut log = SharedLog::new(BoundedLog::open(Path::new("/dev/full")).unwrap());
        assert_eq!(log.write(b"a line\n").unwrap(), 7);
    }

    #[test]
    fn an_existing_log_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qemu.log");
        for _ in 0..10 {
            BoundedLog::open_with(&path, 100).unwrap().write_all(&[b'y'; 60]).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 60);
    }

    #[test]
    fn the_last_lines_are_few_short_and_clean() {
        let mut last = LastLines::default();
        last.push(b"KVM internal error. Suberror: 1\n");
        for number in 0..100 {
            last.push(format!("line {number}").as_bytes());
            last.push(b"\r\n\n");
        }
        last.push(&[b'z'; 100_000]);
        last.push(b"\n\x1b[2Junfinished");
        let lines = last.lines();
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.last().unwrap(), " [2Junfinished");
        assert!(lines.iter().all(|line| line.len() <= MAX_KEPT_LINE));
        assert!(lines.iter().any(|line| line.starts_with("line 99")));
        assert_eq!(last.kvm_error(), Some("KVM internal error. Suberror: 1"));
    }
}
