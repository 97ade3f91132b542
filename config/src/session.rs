//! What `shell.toml` sets about a session as a whole: `[input]`, `[lock]`, `[frame]` and `language`.
//!
//! Every key has a default. What has no effect yet is checked all the same, so that a file that is good now stays good.

use crate::ConfigError;
use crate::document::Table;

/// `[input] new_keyboards`: what becomes of a keyboard that comes after the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewKeyboards {
    /// It types nothing until somebody has said on another keyboard, or by a code, that it is theirs.
    #[default]
    Ask,
    /// It types at once.
    Allow,
}

/// `[lock]`. Checked and kept; there is no lock screen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockConfig {
    /// `idle_minutes`: minutes without input until the screen is locked, 1 to 1440; `None` (0 in the file) for never.
    /// Default never.
    pub idle_minutes: Option<u32>,
    /// `before_sleep`: it is locked before the computer sleeps. Default true.
    pub before_sleep: bool,
    /// `lid`: it is locked when the lid is closed. Default true.
    pub lid: bool,
    /// `pause_guests`: guests stand still while it is locked. Default false.
    pub pause_guests: bool,
    /// `terminals`: other virtual terminals can be switched to while it is locked. Default true.
    pub terminals: bool,
}

impl Default for LockConfig {
    fn default() -> Self {
        Self { idle_minutes: None, before_sleep: true, lid: true, pause_guests: false, terminals: true }
    }
}

/// `[frame]`, in logical pixels. Checked and kept; frames have these defaults yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameConfig {
    /// `bar`: height of the bar, 16 to 64. Default 28.
    pub bar: u32,
    /// `side`: width of the other sides, 2 to 16. Default 4.
    pub side: u32,
}

impl Default for FrameConfig {
    fn default() -> Self {
        Self { bar: 28, side: 4 }
    }
}

/// `language` of the shell's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
}

/// All of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionConfig {
    /// `[input] new_keyboards`. Default ask.
    pub new_keyboards: NewKeyboards,
    /// `[lock]`.
    pub lock: LockConfig,
    /// `[frame]`.
    pub frame: FrameConfig,
    /// `language`. Default English, which is the only one yet.
    pub language: Language,
}

const NEW_KEYBOARDS: &[(&str, NewKeyboards)] = &[("ask", NewKeyboards::Ask), ("allow", NewKeyboards::Allow)];
const LANGUAGES: &[(&str, Language)] = &[("en", Language::English)];

/// Decodes these keys of `shell.toml`.
pub(crate) fn decode(root: &Table) -> Result<SessionConfig, ConfigError> {
    let mut config = SessionConfig::default();
    if let Some(value) = root.table("input", &["new_keyboards"])?.and_then(|table| table.get("new_keyboards")) {
        config.new_keyboards = value.word(NEW_KEYBOARDS)?;
    }
    const LOCK: &[&str] = &["idle_minutes", "before_sleep", "lid", "pause_guests", "terminals"];
    if let Some(table) = root.table("lock", LOCK)? {
        let lock = &mut config.lock;
        if let Some(minutes) = table.get("idle_minutes") {
            lock.idle_minutes = Some(minutes.integer(0..=1440)?).filter(|minutes| *minutes > 0);
        }
        let flags = [
            ("before_sleep", &mut lock.before_sleep),
            ("lid", &mut lock.lid),
            ("pause_guests", &mut lock.pause_guests),
            ("terminals", &mut lock.terminals),
        ];
        for (key, flag) in flags {
            if let Some(value) = table.get(key) {
                *flag = value.boolean()?;
            }
        }
    }
    if let Some(table) = root.table("frame", &["bar", "side"])? {
        let size = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer(range));
        config.frame = FrameConfig { bar: size("bar", 16..=64, 28)?, side: size("side", 2..=16, 4)? };
    }
    if let Some(value) = root.get("language") {
        config.language = value.word(LANGUAGES)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Source;
    use std::path::Path;

    fn read(text: &str) -> Result<SessionConfig, String> {
        let source = Source { path: Path::new("shell.toml"), guest: None, text };
        let document = source.parse().unwrap();
        let root = source.root(&document, &["input", "lock", "frame", "language"]).unwrap();
        decode(&root).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read_and_has_a_default() {
        assert_eq!(read(""), Ok(SessionConfig::default()));
        let config = read(
            "language = \"en\"\n[input]\nnew_keyboards = \"allow\"\n[lock]\nidle_minutes = 10\nbefore_sleep = false\nlid = \
             false\npause_guests = true\nterminals = false\n[frame]\nbar = 32\nside = 6\n",
        )
        .unwrap();
        let lock = LockConfig {
            idle_minutes: Some(10),
            before_sleep: false,
            lid: false,
            pause_guests: true,
            terminals: false,
        };
        let frame = FrameConfig { bar: 32, side: 6 };
        let new_keyboards = NewKeyboards::Allow;
        assert_eq!(config, SessionConfig { new_keyboards, lock, frame, language: Language::English });
        assert_eq!(read("[lock]\nidle_minutes = 0").unwrap().lock.idle_minutes, None);
    }

    #[test]
    fn what_is_impossible_is_said_with_what_is_allowed() {
        for (text, wanted) in [
            ("language = \"de\"", "line 1, language: “de” is not possible; use one of en"),
            (
                "[input]\nnew_keyboards = \"never\"",
                "line 2, input.new_keyboards: “never” is not possible; use one of ask, allow",
            ),
            ("[input]\nkeyboards = 1", "line 2, input.keyboards: this key is unknown; allowed here: new_keyboards"),
            ("[lock]\nidle_minutes = 2000", "line 2, lock.idle_minutes: 2000 is not possible; use 0 to 1440"),
            ("[lock]\nlid = \"lock\"", "line 2, lock.lid: this is a string; use true or false"),
            ("[frame]\nbar = 8", "line 2, frame.bar: 8 is not possible; use 16 to 64"),
            ("[frame]\nside = 20", "line 2, frame.side: 20 is not possible; use 2 to 16"),
        ] {
            assert_eq!(read(text), Err(format!("shell.toml, {wanted}")), "{text}");
        }
    }
}
