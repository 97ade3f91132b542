//! Texts before they are drawn: bounded, without tricks, and cut in the middle where they are too long. Pure.

use phyllome_protocol::text::plain;

/// Most characters of a text that are drawn at all.
const MAX_CHARS: usize = 400;

/// `text` in one line of at most 400 characters: controls, line ends and direction overrides become spaces.
pub(crate) fn clean(text: &str) -> String {
    plain(text, MAX_CHARS, ' ').trim().to_owned()
}

/// What stands for a character of a stranger's that is not drawn.
const UNFAMILIAR: char = '□';

/// Words of a stranger's, a guest's process or a device, in letters that the built-in font has and draws one by one: no
/// font of the host is looked for, nothing is joined or turned round. All others are □. Quotation marks become others
/// than those in which such words stand.
pub(crate) fn familiar(text: &str) -> String {
    let letter = |c: char| match c {
        '“' | '”' | '„' | '‟' | '«' | '»' => '\'',
        c if has_letter(c) => c,
        _ => UNFAMILIAR,
    };
    text.chars().take(MAX_CHARS).map(letter).collect()
}

/// Latin, Greek and Cyrillic, and what stands between their words. A test holds this against the font.
fn has_letter(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{148}' | '\u{14a}'..='\u{17f}'
        | '\u{386}'..='\u{38a}' | '\u{38c}' | '\u{38e}'..='\u{3a1}' | '\u{3a3}'..='\u{3ce}'
        | '\u{400}'..='\u{45f}' | '\u{1e00}'..='\u{1eff}'
        | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{203a}' | '€' | '←'..='↓' | '□')
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
    fn tp07_words_of_strangers_are_drawn_in_letters_of_the_built_in_font_and_no_others() {
        assert_eq!(familiar("Büro – Работа, Ελλάδα: 3 € → “yes”"), "Büro – Работа, Ελλάδα: 3 € → 'yes'");
        assert_eq!(familiar("仕事 עב é\u{301} \u{202e}x\u{1f980}\n\u{ad}"), "□□ □□ é□ □x□□□");
        assert_eq!(familiar(&"x".repeat(1000)).len(), MAX_CHARS);
        let font = characters(ttf_inter::REGULAR);
        let missing: Vec<char> = ('\0'..=char::MAX).filter(|c| has_letter(*c) && !font(*c)).collect();
        assert!(missing.is_empty(), "{missing:?} would be drawn with a font of the host");
    }

    /// Whether a font has a character, by its table of 32-bit ranges (OpenType, cmap, format 12).
    fn characters(font: &'static [u8]) -> impl Fn(char) -> bool {
        let u16_at = |at: usize| usize::from(u16::from_be_bytes(font[at..at + 2].try_into().unwrap()));
        let u32_at = |at: usize| u32::from_be_bytes(font[at..at + 4].try_into().unwrap()) as usize;
        let mut tables = (0..u16_at(4)).map(|table| 12 + 16 * table);
        let cmap = tables.find(|at| font[*at..at + 4] == *b"cmap").map(|at| u32_at(at + 8)).unwrap();
        let mut parts = (0..u16_at(cmap + 2)).map(|part| cmap + u32_at(cmap + 4 + 8 * part + 4));
        let ranges = parts.find(|at| u16_at(*at) == 12).unwrap();
        let count = u32_at(ranges + 12);
        let ranges: Vec<_> = (0..count).map(|n| ranges + 16 + 12 * n).map(|at| u32_at(at)..=u32_at(at + 4)).collect();
        move |c| ranges.iter().any(|range| range.contains(&(c as usize)))
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
