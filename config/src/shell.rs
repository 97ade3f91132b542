//! `shell.toml`: what a person sets about the shell itself. Every key has a default; a missing file means all of them.

use crate::ConfigError;
use crate::document::{Source, Value};
use phyllome_protocol::GuestName;
use std::collections::BTreeMap;
use std::path::Path;

/// The shell's settings, checked, with every default filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShellConfig {
    /// `theme`: the panel's colours. Default dark. Checked and kept; nothing draws by it yet.
    pub theme: Theme,
    /// `reduce_motion`: no fades at all. Default false. Checked and kept; nothing fades yet.
    pub reduce_motion: bool,
    /// `idle_minutes`: minutes without input until the shell locks; `None` (0 in the file) for never. Default never.
    /// Checked and kept; there is no lock screen yet.
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputConfig {
    /// `enabled`; default true. A display that is not enabled stays dark.
    pub disabled: bool,
    /// `mode`, such as `"1920x1080"` or `"1920x1080@59.94"`; `None` for the one that the display prefers. On the display itself only.
    pub mode: Option<ModeRequest>,
    /// `rotation`: how far the display is turned clockwise. On the display itself only.
    pub rotation: Rotation,
    /// `guest`: this output always shows this guest. The others show the guest that was switched to.
    pub guest: Option<GuestName>,
    /// `scale` of the shell's own surfaces, 0.5 to 4 in steps of 0.25; `None` for 1. Guests' pixels are never scaled. A
    /// nested window takes the scale of the desktop around it instead.
    pub scale: Option<f64>,
}

/// A mode that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeRequest {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz; `None` for the highest that there is at this size.
    pub refresh_mhz: Option<u32>,
}

/// How far a display is turned clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rotation {
    #[default]
    Normal,
    Quarter,
    Half,
    ThreeQuarters,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self { layout: "us".to_owned(), variant: String::new(), options: String::new() }
    }
}

const THEMES: &[(&str, Theme)] = &[("dark", Theme::Dark), ("light", Theme::Light)];
/// Most outputs that the file may name.
const MAX_OUTPUTS: usize = 64;
/// Longest of XKB's names, in bytes.
const MAX_XKB: usize = 128;

/// Decodes the text of `shell.toml`.
pub(crate) fn decode(text: &str, path: &Path) -> Result<ShellConfig, ConfigError> {
    let source = Source { path, guest: None, text };
    let document = source.parse()?;
    let root = source.root(&document, &["theme", "reduce_motion", "idle_minutes", "keyboard", "output"])?;
    let mut config = ShellConfig::default();
    if let Some(theme) = root.get("theme") {
        config.theme = theme.word(THEMES)?;
    }
    if let Some(reduce_motion) = root.get("reduce_motion") {
        config.reduce_motion = reduce_motion.boolean()?;
    }
    if let Some(minutes) = root.get("idle_minutes") {
        config.idle_minutes = Some(minutes.integer(0..=1440)?).filter(|minutes| *minutes > 0);
    }
    if let Some(keyboard) = root.table("keyboard", &["layout", "variant", "options"])? {
        let layout = keyboard.get("layout");
        if let Some(value) = &layout {
            config.keyboard.layout = xkb_names(value)?;
            if config.keyboard.layout.is_empty() {
                return Err(value.bad("an empty layout has no keys; use a layout of XKB, such as \"us\""));
            }
        }
        if let Some(variant) = keyboard.get("variant") {
            config.keyboard.variant = xkb_names(&variant)?;
        }
        if let Some(options) = keyboard.get("options") {
            config.keyboard.options = xkb_names(&options)?;
        }
    }
    if let Some(outputs) = root.get("output") {
        for (name, value) in outputs.any_table()?.entries() {
            let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !clean || !(1..=32).contains(&name.len()) {
                return Err(
                    value.bad("this is no connector's name; use one that `phyllome status` shows, such as HDMI-A-1")
                );
            }
            if config.outputs.len() >= MAX_OUTPUTS {
                return Err(value.bad(format!("there are too many outputs; use at most {MAX_OUTPUTS}")));
            }
            let scale = value.table(&["scale"])?.get("scale").map(|v| scale(&v)).transpose()?;
            config.outputs.insert(name.to_owned(), OutputConfig { scale, ..OutputConfig::default() });
        }
    }
    Ok(config)
}

/// Names as XKB writes them: they become parts of paths and of a keymap's source, so nothing else may pass.
fn xkb_names(value: &Value) -> Result<String, ConfigError> {
    const ALLOWED: &str = "names of XKB joined by commas, such as \"us,de\" or \"ctrl:nocaps\"";
    let text = value.string(ALLOWED)?;
    let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+:,".contains(&b));
    if !clean || text.len() > MAX_XKB {
        return Err(value.unknown_word(text, ALLOWED));
    }
    Ok(text.to_owned())
}

fn scale(value: &Value) -> Result<f64, ConfigError> {
    const ALLOWED: &str = "0.5 to 4 in steps of 0.25";
    let scale = value.number(ALLOWED)?;
    if (0.5..=4.0).contains(&scale) && (scale * 4.0).fract() == 0.0 {
        Ok(scale)
    } else {
        Err(value.bad(format!("{scale} is not possible; use {ALLOWED}")))
    }
}
