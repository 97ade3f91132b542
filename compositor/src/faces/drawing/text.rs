//! Texts before they are drawn: bounded, without tricks, and cut in the middle where they are too long. Pure.

use phyllome_protocol::text::plain;

/// Most characters of a text that are drawn at all.
const MAX_CHARS: usize = 400;

/// `text` in one line of at most 400 characters: controls, line ends and direction overrides become spaces.
pub(crate) fn clean(text: &str) -> String {
    plain(text, MAX_CHARS, ' ').trim().to_owned()
}

/// `text`, or as much of its beginning and end with … between them as `fits` allows.
///
/// `fits` is asked about the whole text first, then a few more times; it must allow every text that is shorter than one
/// that it allows.
pub(in crate::faces) fn cut_middle(text: &str, mut fits: impl FnMut(&str) -> bool) -> String {
    if fits(text) {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let with = |keep: usize| -> String {
        let (head, tail) = (keep - keep / 2, keep / 2);
        let begin: String = chars.iter().take(head).collect();
        let end: String = chars.iter().skip(chars.len() - tail).collect();
        format!("{}…{}", begin.trim_end(), end.trim_start())
    };
    // The most characters that fit lie in low..high.
    let (mut low, mut high) = (0, chars.len());
    while low + 1 < high {
        let middle = (low + high) / 2;
        if fits(&with(middle)) { low = middle } else { high = middle }
    }
    with(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_whole() {
        assert_eq!(cut_middle("work", |text| text.chars().count() <= 4), "work");
        assert_eq!(cut_middle("", |_| true), "");
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let cut = cut_middle("customer-windows-11-east", |text| text.chars().count() <= 11);
        assert_eq!(cut, "custo…-east");
    }

    #[test]
    fn where_nothing_fits_only_the_ellipsis_is_left() {
        assert_eq!(cut_middle("work", |_| false), "…");
        assert_eq!(cut_middle("", |_| false), "…");
    }

    #[test]
    fn no_character_changes_line_or_direction() {
        assert_eq!(clean("a\nb\u{202e}c\u{7}d"), "a b c d");
        assert_eq!(clean("\u{feff}ok\u{200b}"), "ok");
        assert_eq!(clean(&"x".repeat(1000)).len(), MAX_CHARS);
    }
}
