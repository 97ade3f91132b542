//! `[pointer]`, `[touchpad]`, `[tablet]` and `[touch]` of `shell.toml`: what a person sets about devices that point.
//!
//! What is not said is as the device has it, but for what people expect of a touchpad: it clicks when tapped, scrolls
//! like paper and rests while keys are typed. A setting that a device does not have means nothing for it.

use crate::ConfigError;
use crate::document::{Table, Value};
use crate::output;

/// Settings of all devices that point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputConfig {
    /// `[pointer]`: mice and whatever else moves the pointer by steps, but for touchpads.
    pub pointer: PointerConfig,
    /// `[touchpad]`.
    pub touchpad: TouchpadConfig,
    /// `[tablet] output`: the display that tablets cover, graphics tablets and absolute pointers of virtual
    /// machines alike. `None`: the first display of the guest that has the focus.
    pub tablet_output: Option<String>,
    /// `[touch] output`: the display that touch screens cover. `None`: the built-in display, else the first.
    pub touch_output: Option<String>,
}

/// `[pointer]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointerConfig {
    /// `acceleration`: how fast it is, from -1 to 1.
    pub acceleration: Option<f64>,
    /// `profile`: whether fast motion counts for more.
    pub profile: Option<Profile>,
    /// `natural_scroll`: what is seen moves with the wheel. Default false.
    pub natural_scroll: bool,
    /// `left_handed`: left and right button are exchanged. Default false.
    pub left_handed: bool,
}

/// How motion of the hand becomes motion of the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Always by the same factor.
    Flat,
    /// By a larger factor where the hand is fast.
    Adaptive,
}

/// `[touchpad]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TouchpadConfig {
    /// `tap`: a tap is a click. Default true.
    pub tap: bool,
    /// `natural_scroll`: what is seen moves with the fingers. Default true.
    pub natural_scroll: bool,
    /// `disable_while_typing`. Default true.
    pub disable_while_typing: bool,
    /// `left_handed`: left and right are exchanged. Default false.
    pub left_handed: bool,
    /// `acceleration`: how fast it is, from -1 to 1.
    pub acceleration: Option<f64>,
    /// `scroll`: how it scrolls.
    pub scroll: Option<Scroll>,
    /// `click`: which button a touchpad without buttons presses.
    pub click: Option<Click>,
}

/// How a touchpad scrolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scroll {
    /// With two fingers.
    TwoFinger,
    /// At its edge.
    Edge,
    /// Not at all.
    None,
}

/// Which button a touchpad presses that is one large button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// That of the area where it is pressed.
    Areas,
    /// Left, right, middle by the number of fingers on it.
    Fingers,
}

impl Default for TouchpadConfig {
    fn default() -> Self {
        Self {
            tap: true,
            natural_scroll: true,
            disable_while_typing: true,
            left_handed: false,
            acceleration: None,
            scroll: None,
            click: None,
        }
    }
}

const PROFILES: &[(&str, Profile)] = &[("flat", Profile::Flat), ("adaptive", Profile::Adaptive)];
const SCROLLS: &[(&str, Scroll)] = &[("two-finger", Scroll::TwoFinger), ("edge", Scroll::Edge), ("none", Scroll::None)];
const CLICKS: &[(&str, Click)] = &[("areas", Click::Areas), ("fingers", Click::Fingers)];

/// Decodes these tables of `shell.toml`.
pub(crate) fn decode(root: &Table) -> Result<InputConfig, ConfigError> {
    let mut config = InputConfig::default();
    if let Some(table) = root.table("pointer", &["acceleration", "profile", "natural_scroll", "left_handed"])? {
        let pointer = &mut config.pointer;
        pointer.acceleration = table.get("acceleration").map(|value| acceleration(&value)).transpose()?;
        pointer.profile = table.get("profile").map(|value| value.word(PROFILES)).transpose()?;
        flag(&table, "natural_scroll", &mut pointer.natural_scroll)?;
        flag(&table, "left_handed", &mut pointer.left_handed)?;
    }
    const TOUCHPAD: &[&str] =
        &["tap", "natural_scroll", "disable_while_typing", "left_handed", "acceleration", "scroll", "click"];
    if let Some(table) = root.table("touchpad", TOUCHPAD)? {
        let touchpad = &mut config.touchpad;
        flag(&table, "tap", &mut touchpad.tap)?;
        flag(&table, "natural_scroll", &mut touchpad.natural_scroll)?;
        flag(&table, "disable_while_typing", &mut touchpad.disable_while_typing)?;
        flag(&table, "left_handed", &mut touchpad.left_handed)?;
        touchpad.acceleration = table.get("acceleration").map(|value| acceleration(&value)).transpose()?;
        touchpad.scroll = table.get("scroll").map(|value| value.word(SCROLLS)).transpose()?;
        touchpad.click = table.get("click").map(|value| value.word(CLICKS)).transpose()?;
    }
    let covered = |name| {
        let table = root.table(name, &["output"])?;
        table.and_then(|table| table.get("output")).map(|value| display(&value)).transpose()
    };
    config.tablet_output = covered("tablet")?;
    config.touch_output = covered("touch")?;
    Ok(config)
}

fn flag(table: &Table, key: &'static str, into: &mut bool) -> Result<(), ConfigError> {
    if let Some(value) = table.get(key) {
        *into = value.boolean()?;
    }
    Ok(())
}

fn acceleration(value: &Value) -> Result<f64, ConfigError> {
    const ALLOWED: &str = "-1 (slow) to 1 (fast)";
    let speed = value.number(ALLOWED)?;
    if (-1.0..=1.0).contains(&speed) {
        Ok(speed)
    } else {
        Err(value.bad(format!("{speed} is not possible; use {ALLOWED}")))
    }
}

fn display(value: &Value) -> Result<String, ConfigError> {
    let text = value.string(output::DISPLAY)?;
    if !output::is_display(text) {
        return Err(value.unknown_word(text, output::DISPLAY));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Source;
    use std::path::Path;

    fn read(text: &str) -> Result<InputConfig, String> {
        let source = Source { path: Path::new("shell.toml"), guest: None, text };
        let document = source.parse().unwrap();
        let root = source.root(&document, &["pointer", "touchpad", "tablet", "touch"]).unwrap();
        decode(&root).map_err(|error| error.to_string())
    }

    #[test]
    fn a_touchpad_taps_scrolls_naturally_and_rests_while_keys_are_typed_unless_told_otherwise() {
        let config = read("").unwrap();
        assert_eq!(config, InputConfig::default());
        assert!(config.touchpad.tap && config.touchpad.natural_scroll && config.touchpad.disable_while_typing);
        assert!(!config.pointer.natural_scroll && !config.pointer.left_handed);
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            "[pointer]\nacceleration = -0.5\nprofile = \"flat\"\nnatural_scroll = true\nleft_handed = true\n[touchpad]\ntap = \
             false\nnatural_scroll = false\ndisable_while_typing = false\nleft_handed = true\nacceleration = 1\nscroll = \
             \"edge\"\nclick = \"fingers\"\n[tablet]\noutput = \"HDMI-A-1\"\n[touch]\noutput = \"eDP-1\"",
        )
        .unwrap();
        let wanted = InputConfig {
            pointer: PointerConfig {
                acceleration: Some(-0.5),
                profile: Some(Profile::Flat),
                natural_scroll: true,
                left_handed: true,
            },
            touchpad: TouchpadConfig {
                tap: false,
                natural_scroll: false,
                disable_while_typing: false,
                left_handed: true,
                acceleration: Some(1.0),
                scroll: Some(Scroll::Edge),
                click: Some(Click::Fingers),
            },
            tablet_output: Some("HDMI-A-1".to_owned()),
            touch_output: Some("eDP-1".to_owned()),
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn what_is_impossible_is_said_with_what_is_allowed() {
        for (text, wanted) in [
            (
                "[pointer]\nacceleration = 1.5",
                "line 2, pointer.acceleration: 1.5 is not possible; use -1 (slow) to 1 (fast)",
            ),
            (
                "[pointer]\nacceleration = nan",
                "line 2, pointer.acceleration: NaN is not possible; use -1 (slow) to 1 (fast)",
            ),
            (
                "[pointer]\nprofile = \"fast\"",
                "line 2, pointer.profile: “fast” is not possible; use one of flat, adaptive",
            ),
            ("[touchpad]\ntap = 1", "line 2, touchpad.tap: this is an integer; use true or false"),
            (
                "[touchpad]\nscroll = \"up\"",
                "line 2, touchpad.scroll: “up” is not possible; use one of two-finger, edge, none",
            ),
            (
                "[pointer]\ntap = true",
                "line 2, pointer.tap: this key is unknown; allowed here: acceleration, profile, natural_scroll, left_handed",
            ),
            (
                "[tablet]\noutput = \"a  b\"",
                "line 2, tablet.output: “a  b” is not possible; use a connector, such as HDMI-A-1, or maker, model and \
                 serial, such as \"DEL DELL U2720Q 5X4KB13\", as `phyllome status` shows them",
            ),
            ("touch = 1", "line 1, touch: this is an integer; use [touch]"),
        ] {
            assert_eq!(read(text), Err(format!("shell.toml, {wanted}")), "{text}");
        }
    }
}
