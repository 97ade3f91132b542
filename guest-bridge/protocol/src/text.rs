//! Text from strangers made printable: the one rule of what may stand in a sentence, a label, a log line or on a
//! terminal.
//!
//! A guest, QEMU, a file or a peer writes the text; a person reads it beside the program's own words and must not be
//! misled. So nothing that comes out of here ends a line, moves a cursor, reverses what stands beside it, takes no
//! room, or goes on without end. What is refused is a list, by Unicode's control, format, private and blank characters.
//! Pure; nothing here escapes text for a shell, a unit file or HTML.

/// What stands for a character that is not shown.
pub const REPLACEMENT: char = '\u{fffd}';

/// Whether `c` draws nothing, draws differently from place to place, or changes how its neighbours are drawn.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(u32::from(c),
            // soft hyphen, grapheme joiner, Arabic signs that span digits, letter mark
            0xAD | 0x34F | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2
            // fillers, invisible vowels, Mongolian selectors
            | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            // zero-width, bidi marks, embeddings, overrides, isolates, invisible operators
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F
            // blank pattern, filler, variation selectors, byte order mark, half-width filler, annotations, replacement
            | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFF
            // private use, non-characters of the first plane
            | 0xE000..=0xF8FF | 0xFDD0..=0xFDEF
            // format characters of other scripts and of music
            | 0x110BD | 0x110CD | 0x13430..=0x1345F | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A
            // tags, further selectors, private planes
            | 0xE0000..=0x10FFFF)
        || u32::from(c) & 0xFFFE == 0xFFFE
}

/// At most the first `most` characters of `text`, each that [is hidden](is_hidden) replaced by `instead`.
///
/// Promises: no control character, no line end of any kind, no direction mark, embedding, override or isolate, nothing
/// of zero width, no private or unassigned form, and at most `most` characters, each at most four bytes. `instead` is
/// not looked at.
pub fn plain(text: &str, most: usize, instead: char) -> String {
    text.chars().take(most).map(|c| if is_hidden(c) { instead } else { c }).collect()
}

/// [`plain`] text for a sentence to a person: U+FFFD where something was hidden, and … (one character more) where it
/// was cut.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = plain(text, most, REPLACEMENT);
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_of_any_script_stay_as_they_are() {
        for text in ["", "the disk /x is missing", "Büro – 仕事", "עבודה", "🦀"] {
            assert_eq!(printable(text, 300), text);
        }
    }

    #[test]
    fn what_hides_moves_or_breaks_is_seen_to_have_been_there() {
        assert_eq!(printable("a\u{202e}b\n\u{1b}[2J\u{200b}\u{2028}", 300), "a�b��[2J��");
        assert_eq!(plain("a\tb\u{85}c\u{2066}", 300, ' '), "a b c ");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(printable("abcd", 4), "abcd");
        assert_eq!(printable("abcde", 4), "abcd…");
        assert_eq!(plain("abcde", 4, ' '), "abcd");
        assert_eq!((printable("a", 0), printable("", 0)), ("…".into(), String::new()));
    }

    proptest! {
        #[test]
        fn nothing_hidden_and_nothing_endless_comes_out(text in any::<String>(), most in 0usize..40) {
            let (kept, shown) = (plain(&text, most, ' '), printable(&text, most));
            prop_assert!(!kept.chars().any(is_hidden), "{kept:?}");
            prop_assert!(shown.chars().all(|c| c == REPLACEMENT || !is_hidden(c)), "{shown:?}");
            prop_assert!(kept.chars().count() <= most && shown.chars().count() <= most + 1);
        }
    }
}
