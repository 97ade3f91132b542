//! Memory that a test shares with what it tests.

use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Write};

/// A memfd that holds these bytes and can be made neither smaller nor larger.
pub fn sealed(bytes: &[u8]) -> io::Result<File> {
    let file = open(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// A sealed memfd of so many zeros.
pub fn sealed_zeros(size: u64) -> io::Result<File> {
    let file = open(&[])?;
    file.set_len(size)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// A memfd that holds these bytes and whose size is anybody's.
pub fn open(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_keeps_its_size() {
        let file = sealed(b"abc").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
        assert!(file.set_len(1).is_err() && file.set_len(9).is_err());
        assert_eq!(sealed_zeros(4096).unwrap().metadata().unwrap().len(), 4096);
        assert!(open(b"abc").unwrap().set_len(1).is_ok());
    }
}
