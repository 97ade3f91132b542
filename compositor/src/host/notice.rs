//! One line of the computer's own in the bar: signs, how much of something there is, and words. Pure.
//!
//! What it is about is said by a sign, so that it is known at a glance; the words say what a person can do.

use super::leaving::Leave;

/// A sign in front of a line, which the bar draws as a small icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// How bright a display is.
    Brightness,
    /// How loud it is.
    Sound,
    /// Nothing is heard.
    SoundOff,
    /// The microphone is on.
    Microphone,
    /// The microphone is off.
    MicrophoneOff,
    /// Wi-Fi, Bluetooth and their like are on.
    Radios,
    /// They are off.
    RadiosOff,
    /// The battery comes to its end.
    Battery,
    /// The disk is nearly full.
    Disk,
    /// The computer goes to sleep.
    Sleep,
    /// The computer is shut down, or restarted.
    PowerOff,
}

impl Sign {
    /// Every sign.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::Brightness,
        Self::Sound,
        Self::SoundOff,
        Self::Microphone,
        Self::MicrophoneOff,
        Self::Radios,
        Self::RadiosOff,
        Self::Battery,
        Self::Disk,
        Self::Sleep,
        Self::PowerOff,
    ];
}

/// What the bar says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// In front.
    pub signs: Vec<Sign>,
    /// Percents, 100 at most: drawn as a short line that is so full.
    pub level: Option<u8>,
    /// In words.
    pub text: String,
}

impl Notice {
    /// A line with its sign.
    pub fn new(sign: Sign, text: impl Into<String>) -> Self {
        Self { signs: vec![sign], level: None, text: text.into() }
    }

    /// A line without a sign.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { signs: Vec::new(), level: None, text: text.into() }
    }

    /// How much there is of something, in percents. What is over 100 is said, but drawn as 100.
    pub fn level(sign: Sign, percents: u32) -> Self {
        let level = u8::try_from(percents.min(100)).ok();
        Self { signs: vec![sign], level, text: format!("{percents} %") }
    }

    /// That the computer goes to sleep or ends. `panel`: the keys that show all guests.
    pub fn leave(leave: Leave, panel: &str) -> Self {
        match leave {
            Leave::Sleep => Self::new(Sign::Sleep, "The computer goes to sleep. Its power button wakes it up"),
            Leave::End => {
                Self::new(Sign::PowerOff, "The computer shuts down or restarts; guests are asked to power off")
            }
            Leave::Soon { restart, minutes } => {
                let what = if restart { "restarts" } else { "shuts down" };
                let when = match minutes {
                    0 | 1 => "within a minute".to_owned(),
                    more => format!("in {more} minutes"),
                };
                Self::new(Sign::PowerOff, format!("The computer {what} {when}. {panel}: end guests first"))
            }
        }
    }

    /// Several lines as one, in this order.
    pub fn join(lines: impl IntoIterator<Item = Self>) -> Option<Self> {
        lines.into_iter().reduce(|one, other| Self {
            signs: one.signs.into_iter().chain(other.signs).collect(),
            level: None,
            text: format!("{}; {}", one.text, other.text),
        })
    }
}

/// What is said before the computer sleeps or ends. `panel`: the keys that show all guests.
#[cfg(test)]
pub(crate) fn said(panel: &str) -> Vec<(&'static str, Notice)> {
    [
        ("the computer is told to sleep", Leave::Sleep),
        ("the computer is told to power off or to restart", Leave::End),
        ("a shutdown is planned", Leave::Soon { restart: false, minutes: 5 }),
        ("a restart is planned, and near", Leave::Soon { restart: true, minutes: 1 }),
    ]
    .map(|(when, leave)| (when, Notice::leave(leave, panel)))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_said_with_when_and_with_the_keys_that_are_there() {
        let said = |leave| Notice::leave(leave, "Super+Escape").text;
        let soon = |restart, minutes| said(Leave::Soon { restart, minutes });
        assert_eq!(soon(false, 5), "The computer shuts down in 5 minutes. Super+Escape: end guests first");
        assert_eq!(soon(true, 2), "The computer restarts in 2 minutes. Super+Escape: end guests first");
        assert_eq!(soon(true, 1), "The computer restarts within a minute. Super+Escape: end guests first");
        assert_eq!(said(Leave::Sleep), "The computer goes to sleep. Its power button wakes it up");
    }

    #[test]
    fn several_lines_become_one_with_all_their_signs() {
        let lines = [Notice::new(Sign::Battery, "Battery at 5 %"), Notice::plain("work did not answer")];
        let joined = Notice::join(lines.clone()).unwrap();
        assert_eq!((joined.signs, joined.text.as_str()), (vec![Sign::Battery], "Battery at 5 %; work did not answer"));
        assert_eq!(Notice::join([lines[0].clone()]), Some(lines[0].clone()));
        assert_eq!(Notice::join([]), None);
    }

    #[test]
    fn more_than_all_is_said_and_drawn_as_all() {
        let loud = Notice::level(Sign::Sound, 130);
        assert_eq!((loud.level, loud.text.as_str()), (Some(100), "130 %"));
    }
}
