//! Text as keys of the US layout, for `phyllome input type`. Pure.

use phyllome_trusted::codes::{ENTER, TAB};

/// Most characters of one command.
pub const MAX_TEXT: usize = 4096;

const LETTERS: [u32; 26] =
    [30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44];
/// Other keys: code, plain, with Shift.
const OTHERS: [(u32, char, char); 22] = [
    (2, '1', '!'),
    (3, '2', '@'),
    (4, '3', '#'),
    (5, '4', '$'),
    (6, '5', '%'),
    (7, '6', '^'),
    (8, '7', '&'),
    (9, '8', '*'),
    (10, '9', '('),
    (11, '0', ')'),
    (12, '-', '_'),
    (13, '=', '+'),
    (26, '[', '{'),
    (27, ']', '}'),
    (39, ';', ':'),
    (40, '\'', '"'),
    (41, '`', '~'),
    (43, '\\', '|'),
    (51, ',', '<'),
    (52, '.', '>'),
    (53, '/', '?'),
    (57, ' ', ' '),
];

/// The key of a character, and whether Shift is held with it.
pub fn key(character: char) -> Option<(u32, bool)> {
    match character {
        '\n' => Some((ENTER, false)),
        '\t' => Some((TAB, false)),
        letter if letter.is_ascii_alphabetic() => {
            let index = usize::from(letter.to_ascii_lowercase() as u8 - b'a');
            Some((*LETTERS.get(index)?, letter.is_ascii_uppercase()))
        }
        other => OTHERS
            .iter()
            .find(|(_, plain, shifted)| other == *plain || other == *shifted)
            .map(|(code, plain, _)| (*code, other != *plain)),
    }
}

/// The keys of a text, or one sentence why it cannot be typed.
pub fn keys(text: &str) -> Result<Vec<(u32, bool)>, String> {
    if text.chars().count() > MAX_TEXT {
        return Err(format!("type at most {MAX_TEXT} characters at once"));
    }
    let unknown = |c: char| format!("“{}” is on no key of the US layout; leave it out", c.escape_default());
    text.chars().map(|c| key(c).ok_or_else(|| unknown(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::keys::{code_from_name, name_from_code};

    #[test]
    fn letters_and_digits_are_the_keys_of_their_names() {
        for c in ('a'..='z').chain('0'..='9') {
            assert_eq!(key(c), Some((code_from_name(&c.to_string()).unwrap(), false)), "{c}");
        }
        assert_eq!(key('Q'), Some((code_from_name("q").unwrap(), true)));
    }

    #[test]
    fn every_printable_ascii_character_can_be_typed_and_nothing_else() {
        let mut keys: Vec<_> = (' '..='~').map(|c| key(c).unwrap()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 95, "no two characters share a key and its Shift");
        assert!(super::keys("ä").unwrap_err().contains("US layout"));
        assert!(super::keys(&"a".repeat(MAX_TEXT + 1)).is_err());
    }

    #[test]
    fn signs_lie_where_the_kernel_says() {
        for (c, name) in
            [('-', "minus"), ('/', "slash"), ('\'', "apostrophe"), ('\n', "enter"), (' ', "space"), ('\\', "backslash")]
        {
            assert_eq!(name_from_code(key(c).unwrap().0).as_deref(), Some(name));
        }
    }
}
