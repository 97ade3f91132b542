//! `shell.toml`: what a person sets about the shell itself. Every key has a default; a missing file means all of them.

use crate::ConfigError;
use crate::chords::{self, ChordConfig};
use crate::document::{Source, Value};
use crate::input::{self, InputConfig};
use crate::output;
pub use crate::output::{ModeRequest, OutputConfig, Position, Rotation, Side};
use crate::session::{self, SessionConfig};
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
    /// `idle_minutes`: minutes without input until the displays are switched off; `None` (0 in the file) for never.
    /// Default never.
    pub idle_minutes: Option<u32>,
    /// `start`: the guest that is shown after login, and started if it does not run.
    pub start: Option<GuestName>,
    /// `[chords]`.
    pub chords: ChordConfig,
    /// `[input]`, `[lock]`, `[frame]` and `language`.
    pub session: SessionConfig,
    /// `[keyboard]`.
    pub keyboard: Keyboard,
    /// `[pointer]`, `[touchpad]`, `[tablet]` and `[touch]`.
    pub input: InputConfig,
    /// `[output.NAME]`, by connector name such as `HDMI-A-1`, or by what a display says of itself, such as
    /// `DEL DELL U2720Q 5X4KB13`: maker, model and serial.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyboard {
    /// `layout`, one or several joined by commas; never empty. `None`: the system's, with the system's variant.
    pub layout: Option<String>,
    /// `variant`; may be empty. `None`: the system's where the layout is the system's too, else none.
    pub variant: Option<String>,
    /// `options`, such as `ctrl:nocaps`; may be empty. `None`: the system's.
    pub options: Option<String>,
}

const THEMES: &[(&str, Theme)] = &[("dark", Theme::Dark), ("light", Theme::Light)];
/// Most outputs that the file may name.
const MAX_OUTPUTS: usize = 64;
/// Longest of XKB's names, in bytes.
const MAX_XKB: usize = 128;

/// The settings, with what only the loader of a whole folder asks for.
#[derive(Debug, Default)]
pub(crate) struct ShellFile {
    pub(crate) config: ShellConfig,
    pub(crate) mentions: Vec<Mention>,
}

/// A guest that the file names.
#[derive(Debug)]
pub(crate) struct Mention {
    key: String,
    pub(crate) guest: GuestName,
    line: usize,
    /// What is done while there is no such guest.
    until: &'static str,
}

impl Mention {
    /// The problem of a guest that there is not.
    pub(crate) fn unknown(&self, path: &Path) -> ConfigError {
        ConfigError {
            path: path.to_owned(),
            guest: None,
            line: Some(self.line),
            key: Some(self.key.clone()),
            message: format!(
                "there is no guest “{}”; use the name of a file in guests/, until then {}",
                self.guest, self.until
            ),
        }
    }
}

/// Decodes the text of `shell.toml`.
pub(crate) fn decode(text: &str, path: &Path) -> Result<ShellFile, ConfigError> {
    let source = Source { path, guest: None, text };
    let document = source.parse()?;
    let root = source.root(
        &document,
        &[
            "theme",
            "reduce_motion",
            "idle_minutes",
            "language",
            "start",
            "chords",
            "keyboard",
            "input",
            "lock",
            "frame",
            "pointer",
            "touchpad",
            "tablet",
            "touch",
            "output",
        ],
    )?;
    let mut config = ShellConfig::default();
    let mut mentions = Vec::new();
    if let Some(theme) = root.get("theme") {
        config.theme = theme.word(THEMES)?;
    }
    if let Some(reduce_motion) = root.get("reduce_motion") {
        config.reduce_motion = reduce_motion.boolean()?;
    }
    if let Some(minutes) = root.get("idle_minutes") {
        config.idle_minutes = Some(minutes.integer(0..=1440)?).filter(|minutes| *minutes > 0);
    }
    if let Some(start) = root.get("start") {
        let guest = output::guest_name(&start)?;
        let until = "the guest is shown that is started first";
        mentions.push(Mention { key: "start".to_owned(), guest: guest.clone(), line: start.line(), until });
        config.start = Some(guest);
    }
    config.chords = chords::decode(&root)?;
    config.session = session::decode(&root)?;
    if let Some(keyboard) = root.table("keyboard", &["layout", "variant", "options"])? {
        let names = |key| keyboard.get(key).map(|value| xkb_names(&value)).transpose();
        config.keyboard = Keyboard { layout: names("layout")?, variant: names("variant")?, options: names("options")? };
        if let Some(value) = keyboard.get("layout").filter(|_| config.keyboard.layout.as_deref() == Some("")) {
            return Err(value.bad("an empty layout has no keys; use a layout of XKB, such as \"us\""));
        }
    }
    config.input = input::decode(&root)?;
    if let Some(outputs) = root.get("output") {
        for (name, value) in outputs.any_table()?.entries() {
            if !output::is_display(name) {
                return Err(value.bad(format!("this is no display's name; use {}", output::DISPLAY)));
            }
            if config.outputs.len() >= MAX_OUTPUTS {
                return Err(value.bad(format!("there are too many outputs; use at most {MAX_OUTPUTS}")));
            }
            let (settings, guest_line) = output::decode(&value)?;
            if let (Some(guest), Some(line)) = (&settings.guest, guest_line) {
                let until = "this display shows the guest that was switched to";
                mentions.push(Mention { key: format!("output.{name}.guest"), guest: guest.clone(), line, until });
            }
            config.outputs.insert(name.to_owned(), settings);
        }
    }
    Ok(ShellFile { config, mentions })
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
