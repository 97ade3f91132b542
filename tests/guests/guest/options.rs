//! What the kernel's command line asks of the guest: `phyllome.name=`, `phyllome.color=`, `phyllome.mode=`.
//!
//! Pure: text in, values out. Unknown words belong to the kernel and are passed over.

use super::words::{self, Mode};

/// All that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Shown large.
    pub name: String,
    /// The guest's colour: red, green, blue.
    pub color: [u8; 3],
    /// What to do.
    pub mode: Mode,
}

impl Options {
    /// Reads a kernel command line.
    pub fn parse(line: &str) -> Self {
        let mut options = Self { name: "guest".into(), color: [0x75; 3], mode: Mode::Prompt };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(("phyllome.name", name)) => {
                    options.name = name.chars().filter(char::is_ascii_graphic).take(48).collect();
                }
                Some(("phyllome.color", color)) => options.color = words::color(color).unwrap_or(options.color),
                Some(("phyllome.mode", mode)) => options.mode = Mode::from_word(mode).unwrap_or(options.mode),
                _ => {}
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_among_the_kernels_words() {
        let options =
            Options::parse("quiet phyllome.name=play console=ttyS0 phyllome.color=blue phyllome.mode=animate\n");
        assert_eq!(options, Options { name: "play".into(), color: [0x15, 0x65, 0xc0], mode: Mode::Animate });
    }

    #[test]
    fn what_makes_no_sense_leaves_the_default() {
        let options = Options::parse("phyllome.mode=dance phyllome.color=#1234567");
        assert_eq!(options, Options { name: "guest".into(), color: [0x75; 3], mode: Mode::Prompt });
    }
}
