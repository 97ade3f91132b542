//! Memory that a test shares with what it tests.

use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A memfd of so many zeros that anybody can make smaller, larger, or seal.
pub fn zeros(bytes: u64) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, bytes)?;
    Ok(memory)
}

/// A memfd of so many zeros that can be made neither smaller nor larger.
pub fn sealed(bytes: u64) -> io::Result<OwnedFd> {
    seal(zeros(bytes)?)
}

/// A memfd that holds this and can be made neither smaller nor larger.
pub fn sealed_with(content: &[u8]) -> io::Result<OwnedFd> {
    let file = File::from(zeros(content.len() as u64)?);
    file.write_all_at(content, 0)?;
    seal(file.into())
}

fn seal(memory: OwnedFd) -> io::Result<OwnedFd> {
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_keeps_its_size() {
        let file = File::from(sealed_with(b"abc").unwrap());
        let mut held = [0; 3];
        file.read_exact_at(&mut held, 0).unwrap();
        assert_eq!((&held, file.metadata().unwrap().len()), (b"abc", 3));
        assert!(file.set_len(1).is_err() && file.set_len(9).is_err());
        assert!(File::from(sealed(4096).unwrap()).set_len(0).is_err());
        assert!(File::from(zeros(4096).unwrap()).set_len(0).is_ok());
    }
}
