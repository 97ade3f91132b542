//! The picture on the Linux console: the guest's name in large letters on its colour, kept above a region that scrolls.
//!
//! Pure: sizes in, escape sequences out (console_codes(4)).

use crate::font;
use std::fmt::Write as _;

/// Columns and rows of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// Row, from 1, at which text goes on below a banner that [`banner`] has drawn.
pub fn first_text_row(size: Size) -> usize {
    (font::HEIGHT + 6).min(size.rows.max(2) - 1)
}

/// Clears the console, draws the name and a line of small text, and lets only the rows below them scroll.
///
/// The colours are the palette's: 0 the ground, 7 the text, 4 and 12 the guest's own colour.
pub fn banner(name: &str, note: &str, color: [u8; 3], size: Size) -> String {
    let mut out = String::new();
    // "\e]P" sets a palette entry; the console's own default look comes from it.
    let [r, g, b] = lifted(color);
    let _ = write!(out, "\x1b]P0111417\x1b]P7d5dbe1\x1b]P8707a86");
    let _ = write!(out, "\x1b]P4{r:02x}{g:02x}{b:02x}\x1b]PC{r:02x}{g:02x}{b:02x}");
    out.push_str("\x1b[0m\x1b[r\x1b[2J\x1b[H");

    let room = size.columns.saturating_sub(8);
    let dot = if font::columns(name) * 2 <= room { 2 } else { 1 };
    let blank = " ".repeat(dot);
    font::draw(name, |column, row| {
        if (column + 1) * dot <= room {
            let _ = write!(out, "\x1b[{};{}H\x1b[44m{blank}", row + 3, column * dot + 5);
        }
    });
    let _ = write!(out, "\x1b[0m\x1b[{};5H\x1b[1;30m{note}\x1b[0m", font::HEIGHT + 4);
    let first = first_text_row(size);
    let _ = write!(out, "\x1b[{first};{}r\x1b[{first};1H", size.rows.max(first + 1));
    out
}

/// The colour, light enough to be read on the dark ground.
fn lifted(color: [u8; 3]) -> [u8; 3] {
    let brightest = color.into_iter().max().unwrap_or(0);
    if brightest >= 0xb0 {
        return color;
    }
    let lift = 0xb0 - brightest;
    color.map(|part| part.saturating_add(lift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_stays_within_the_console() {
        let size = Size { columns: 80, rows: 25 };
        let text = banner("a-rather-long-name-of-a-guest", "note", [0, 0, 0], size);
        for part in text.split("\x1b[").filter_map(|part| part.strip_suffix("H")) {
            let column: usize = part.split(';').nth(1).map_or(1, |column| column.parse().unwrap());
            assert!(column <= 80, "{part}");
        }
    }

    #[test]
    fn text_scrolls_below_the_name_only() {
        let size = Size { columns: 159, rows: 48 };
        assert!(banner("work", "note", [198, 40, 40], size).ends_with("\x1b[13;48r\x1b[13;1H"));
    }

    #[test]
    fn a_tiny_console_is_survived() {
        let text = banner("work", "note", [0; 3], Size { columns: 0, rows: 0 });
        assert!(!text.is_empty());
    }
}
