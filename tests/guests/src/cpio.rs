//! Writes an archive in the "newc" format of cpio, which the kernel unpacks as its first file system
//! (the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Pure: the same entries make the same bytes, owned by root, with time 0.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040755;
const PROGRAM: u32 = 0o100755;
const LINK: u32 = 0o120777;

/// An archive under construction.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    number: u32,
}

impl Archive {
    /// Adds a file that may be executed, and the folders above it. `path` has no leading slash.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.folders_above(path);
        self.entry(path, PROGRAM, content);
    }

    /// Adds a symbolic link, and the folders above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.folders_above(path);
        self.entry(path, LINK, target.as_bytes());
    }

    /// Adds a folder, once.
    pub fn folder(&mut self, path: &str) {
        self.folders_above(path);
        if self.folders.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, &[]);
        }
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn folders_above(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let folder = path.get(..at).unwrap_or_default();
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, DIRECTORY, &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.number += 1;
        let links = 1;
        let fields = [
            self.number,
            mode,
            0,
            0,
            links,
            0,
            content.len() as u32,
            0,
            0,
            0,
            0,
            path.len() as u32 + 1,
            0, // checksum, unused in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn headers_and_contents_are_aligned() {
        let mut archive = Archive::default();
        archive.file("a/b", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes.windows(6).filter(|w| w == b"070701").count(), 3, "a, a/b and the trailer");
    }

    #[test]
    fn busybox_or_cpio_reads_it() {
        let mut archive = Archive::default();
        archive.file("bin/tool", b"text");
        archive.link("bin/other", "tool");
        archive.folder("proc");
        let programs = [("cpio", &["-t"][..]), ("busybox", &["cpio", "-t"][..])];
        let reader = programs.iter().find_map(|(program, arguments)| {
            let mut command = Command::new(program);
            command.args(*arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            command.spawn().ok()
        });
        let Some(mut reader) = reader else {
            println!("SKIPPED: busybox_or_cpio_reads_it: neither cpio nor busybox is installed");
            return;
        };
        reader.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let listed = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["bin", "bin/tool", "bin/other", "proc"]);
    }
}
