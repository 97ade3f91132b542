//! What the kernel's command line asks of the guest: `phyllome.name=`, `phyllome.color=`, `phyllome.mode=`.
//!
//! Pure: text in, values out. Unknown words belong to the kernel and are passed over.

/// What the guest does once it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A shell prompt below the guest's name.
    Prompt,
    /// A bar that moves, drawn straight on the DRM device with exact damage.
    Animate,
    /// The same by full-frame page flips.
    Flip,
    /// The name, and then nothing is drawn any more.
    Quiet,
    /// Restarts the machine two seconds after it is ready, each time.
    Reboot,
    /// Prints every input event.
    Evdev,
}

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
                Some(("phyllome.color", color)) => options.color = color_of(color).unwrap_or(options.color),
                Some(("phyllome.mode", mode)) => options.mode = mode_of(mode).unwrap_or(options.mode),
                _ => {}
            }
        }
        options
    }
}

fn mode_of(word: &str) -> Option<Mode> {
    Some(match word {
        "prompt" => Mode::Prompt,
        "animate" => Mode::Animate,
        "flip" => Mode::Flip,
        "quiet" => Mode::Quiet,
        "reboot" => Mode::Reboot,
        "evdev" => Mode::Evdev,
        _ => return None,
    })
}

/// The shell's own eight colours by name, or `#rrggbb`, or `rrggbb`.
fn color_of(word: &str) -> Option<[u8; 3]> {
    let rgb = match word {
        "red" => 0xc6_2828,
        "orange" => 0xef_6c00,
        "yellow" => 0xf9_c80e,
        "green" => 0x2e_7d32,
        "blue" => 0x15_65c0,
        "purple" => 0x6a_1b9a,
        "gray" => 0x75_7575,
        "black" => 0x00_0000,
        hex => u32::from_str_radix(hex.strip_prefix('#').unwrap_or(hex), 16).ok().filter(|rgb| *rgb <= 0xff_ffff)?,
    };
    let [_, red, green, blue] = u32::to_be_bytes(rgb);
    Some([red, green, blue])
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

    #[test]
    fn a_color_may_be_a_number() {
        assert_eq!(color_of("#010203"), Some([1, 2, 3]));
        assert_eq!(color_of("c62828"), color_of("red"));
    }
}
