//! Tables of what guests' objects are, by their ids: short, for quotas bound them, and asked several times in every
//! frame.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table whose keys are not hashed against collisions: whoever wanted some could make no more keys than a quota
/// allows.
pub type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Mixes what it is given by multiplication.
#[derive(Debug, Default)]
pub struct Mix(u64);

impl Mix {
    fn add(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        // The table looks at the upper bits too.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.add(u64::from(*byte)));
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_again() {
        let mut table: Table<(u32, String), u32> = Table::default();
        for number in 0..1000 {
            table.insert((number, format!("interface {}", number % 7)), number);
        }
        assert!((0..1000).all(|number| table.get(&(number, format!("interface {}", number % 7))) == Some(&number)));
        assert_eq!(table.get(&(1, "interface 2".to_owned())), None);
    }
}
