//! The words of a label: bounded, printable, and without anything that hides, moves or reorders what stands beside it.
//!
//! A label is how a person knows a guest, so two texts that look the same must be the same, and nothing invisible may
//! make them differ. What is refused beside them is [`phyllome_protocol::text`]'s list of hidden characters.

use phyllome_protocol::text::is_hidden;

/// Longest text of a label, in bytes.
pub const MAX_LABEL: usize = 128;

/// Whether `c` is drawn onto the character before it.
fn is_combining(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36F | 0x483..=0x489 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFE20..=0xFE2F)
}

/// Checks a label's text; the error says what is wrong and what is allowed.
pub(crate) fn check(text: &str) -> Result<(), String> {
    const ALLOWED: &str = "use 1 to 128 bytes of printable text";
    if text.trim().is_empty() {
        return Err(format!("an empty label tells nothing; {ALLOWED}"));
    }
    if text.len() > MAX_LABEL {
        return Err(format!("the text has {} bytes; {ALLOWED}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
        return Err(format!("the text has the invisible or reordering character U+{:04X}; {ALLOWED}", u32::from(c)));
    }
    if text.starts_with(' ') || text.ends_with(' ') || text.contains("  ") {
        return Err("the text has spaces that nobody sees; use single spaces between words".to_owned());
    }
    let mut marks = 0;
    for (index, c) in text.chars().enumerate() {
        marks = if is_combining(c) { marks + 1 } else { 0 };
        if marks > 2 || (marks == 1 && index == 0) {
            return Err(format!("the text heaps combining marks on one letter; {ALLOWED}"));
        }
    }
    if fold(text) == "host" {
        return Err("“Host” is how the shell marks itself; choose another text".to_owned());
    }
    Ok(())
}

/// What two texts share if a person cannot tell them apart at a glance.
pub(crate) fn fold(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_words_of_any_script_pass() {
        for good in ["work", "Büro 2", "работа", "仕事", "עבודה", "e\u{301}te\u{301}", "a (b) – c", "🦀"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn tp07_nothing_invisible_or_reordering_passes() {
        for bad in [
            '\0',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fffd}',
            '\u{e000}',
            '\u{e0041}',
            '\u{10ffff}',
            '\u{1fffe}',
        ] {
            assert!(check(&format!("wo{bad}rk")).is_err(), "U+{:04X}", u32::from(bad));
        }
    }

    #[test]
    fn tp07_a_label_is_bounded_in_bytes() {
        assert!(check(&"ü".repeat(64)).is_ok());
        assert!(check(&"ü".repeat(65)).is_err());
        assert!(check("").is_err() && check(" ").is_err() && check(" a").is_err() && check("a  b").is_err());
        assert!(check("a\u{300}\u{300}\u{300}").is_err() && check("\u{300}a").is_err());
    }

    #[test]
    fn tp21_no_guest_is_called_host() {
        assert!(check("Host").is_err() && check("HOST").is_err() && check("h o s t").is_err());
        assert!(check("hosting").is_ok());
    }
}
