//! Identifiers that must not be mistaken for one another, each checked where it is made.

use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest name of a guest, in bytes. Short enough for a socket path and a label.
pub const MAX_NAME: usize = 48;

/// The name of a guest: 1 to [`MAX_NAME`] ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
///
/// Such a name is safe as one component of a path: it cannot be empty, `.`, `..`, hidden or contain a separator.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestName(String);

/// Why a text is not a guest's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "“{shown}” is not a guest name; use 1 to {MAX_NAME} letters, digits, “.”, “_” or “-”, beginning with a letter or digit"
)]
pub struct InvalidName {
    shown: String,
}

impl GuestName {
    /// Checks `text` and makes it a name.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let bytes = text.as_bytes();
        let fits = (1..=MAX_NAME).contains(&bytes.len());
        let starts = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let clean = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
        if fits && starts && clean {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName { shown: printable(text, MAX_NAME) })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GuestName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl std::str::FromStr for GuestName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<GuestName> for String {
    fn from(name: GuestName) -> String {
        name.0
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestName({})", self.0)
    }
}

/// A guest's place on the keyboard: Super+1 to Super+9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u8")]
pub struct Slot(u8);

impl Slot {
    /// A slot from 1 to 9; `None` for any other number.
    pub fn new(number: i64) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=9).contains(n)).map(Self)
    }

    /// The digit that is pressed with Super.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Slot {
    type Error = String;
    fn try_from(number: i64) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("{number} is not a slot; use 1 to 9"))
    }
}

impl From<Slot> for u8 {
    fn from(slot: Slot) -> u8 {
        slot.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Most scanouts that a virtio-gpu device has (virtio 1.3, 5.7.4: `num_scanouts` is 1 to 16).
pub const MAX_SCANOUTS: u32 = 16;

/// A virtio-gpu scanout, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ScanoutId(u32);

impl ScanoutId {
    /// A scanout's id; `None` from [`MAX_SCANOUTS`] on.
    pub fn new(id: u32) -> Option<Self> {
        (id < MAX_SCANOUTS).then_some(Self(id))
    }

    /// The id as a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for ScanoutId {
    type Error = String;
    fn try_from(id: u32) -> Result<Self, String> {
        Self::new(id).ok_or_else(|| format!("{id} is not a scanout; use 0 to 15"))
    }
}

impl From<ScanoutId> for u32 {
    fn from(id: ScanoutId) -> u32 {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_safe_path_component() {
        for good in ["work", "a", "9lives", "win-11.test_2"] {
            assert_eq!(GuestName::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "é", "a\n", long.as_str()] {
            assert!(GuestName::new(bad).is_err(), "{bad:?}");
        }
        // What is shown of it is not a name that would do.
        let said = GuestName::new(&long).unwrap_err().to_string();
        assert!(said.starts_with(&format!("“{}…” is not a guest name", "a".repeat(MAX_NAME))), "{said}");
    }

    #[test]
    fn slots_and_scanouts_have_ends() {
        assert!(Slot::new(0).is_none() && Slot::new(10).is_none() && Slot::new(-1).is_none());
        assert_eq!(Slot::new(9).unwrap().number(), 9);
        assert!(ScanoutId::new(16).is_none());
        assert_eq!(ScanoutId::new(15).unwrap().get(), 15);
    }
}
