//! What may stand on a guest's kernel command line after `phyllome.mode=` and `phyllome.color=`.
//!
//! Pure, and without a crate: it is compiled into process 1 of the tiny guests, into what makes their command lines,
//! and into guests that are played.

/// What a guest does once it is up; the word of `phyllome.mode=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A shell prompt below the guest's name; each typed line goes to the serial line as `TYPED: line`.
    Prompt,
    /// A moving bar, drawn straight on the DRM device of every connected screen, with exact damage. What is typed still
    /// goes to a shell.
    Animate,
    /// The same by full-frame page flips.
    Flip,
    /// The name, and then nothing is drawn any more.
    Quiet,
    /// Restarts the machine two seconds after it is ready, each time.
    Reboot,
    /// Prints every input event, on the screen and to the serial line: `EV key CODE VALUE`, `EV abs …`, `EV rel …`. Of
    /// several screens each shows a picture of its own instead.
    Evdev,
}

impl Mode {
    const ALL: [Self; 6] = [Self::Prompt, Self::Animate, Self::Flip, Self::Quiet, Self::Reboot, Self::Evdev];

    /// The word on the kernel's command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Animate => "animate",
            Self::Flip => "flip",
            Self::Quiet => "quiet",
            Self::Reboot => "reboot",
            Self::Evdev => "evdev",
        }
    }

    /// What `word` asks for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

/// Red, green and blue of one of the shell's own eight colours by name, of `#rrggbb` or of `rrggbb`.
pub fn color(word: &str) -> Option<[u8; 3]> {
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
    fn a_color_may_be_a_number() {
        assert_eq!(color("#010203"), Some([1, 2, 3]));
        assert_eq!(color("c62828"), color("red"));
        assert_eq!(color("#1234567"), None);
    }

    #[test]
    fn every_mode_has_its_word() {
        for mode in Mode::ALL {
            assert_eq!(Mode::from_word(mode.word()), Some(mode));
        }
        assert_eq!(Mode::from_word("dance"), None);
    }
}
