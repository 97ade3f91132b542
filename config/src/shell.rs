//! `shell.toml`: what a person sets about the shell itself. Every key has a default; a missing file means all of them.

use std::collections::BTreeMap;

/// The shell's settings, checked, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellConfig {
    /// `theme`: the panel's colours. Default dark.
    pub theme: Theme,
    /// `reduce_motion`: no fades at all. Default false.
    pub reduce_motion: bool,
    /// `idle_minutes`: minutes without input until the shell locks; `None` (0 in the file) for never. Default never.
    pub idle_minutes: Option<u32>,
    /// `[keyboard]`.
    pub keyboard: Keyboard,
    /// `[output.NAME]`, by connector name such as `HDMI-A-1`.
    pub outputs: BTreeMap<String, OutputConfig>,
}

/// The panel's colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Light text on dark ground.
    #[default]
    Dark,
    /// Dark text on light ground.
    Light,
}

/// XKB's names of the keyboard of shell and guests' screens, as `setxkbmap` knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyboard {
    /// `layout`, one or several joined by commas. Default `us`.
    pub layout: String,
    /// `variant`. Default none.
    pub variant: String,
    /// `options`, such as `ctrl:nocaps`. Default none.
    pub options: String,
}

/// One output's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputConfig {
    /// `scale` of the shell's own surfaces, 0.5 to 4 in steps of 0.25; `None` to choose by the output's size. Guests' pixels are never scaled.
    pub scale: Option<f64>,
}

impl Default for ShellConfig {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            reduce_motion: false,
            idle_minutes: None,
            keyboard: Keyboard::default(),
            outputs: BTreeMap::new(),
        }
    }
}

impl Default for Keyboard {
    fn default() -> Self {
        Self { layout: "us".to_owned(), variant: String::new(), options: String::new() }
    }
}
