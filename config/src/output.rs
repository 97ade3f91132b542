//! `[output.NAME]` of `shell.toml`: what a person sets about one display.
//!
//! Whether there is such a display, such a mode on it, or such a guest, is not known here: what is impossible at run
//! time is said then, and the shell goes on with what there is.

use crate::ConfigError;
use crate::document::Value;
use phyllome_protocol::GuestName;

/// One output's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputConfig {
    /// `enabled`; default true. A display that is not enabled stays dark.
    pub disabled: bool,
    /// `mode`, such as `"1920x1080"` or `"1920x1080@59.94"`; `None` for the one that the display prefers. On the
    /// display itself only.
    pub mode: Option<ModeRequest>,
    /// `rotation`: how far the display is turned clockwise. A nested window is never turned.
    pub rotation: Rotation,
    /// `guest`: this output always shows this guest. The others show the guest that was switched to.
    pub guest: Option<GuestName>,
    /// `scale` of the shell's own surfaces, 0.5 to 4 in steps of 0.25; `None` for what fits the display's pixels per
    /// inch, or 1 where they are unknown. Guests' pixels are never scaled. A nested window takes the scale of the
    /// desktop around it instead.
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

impl Rotation {
    /// Degrees clockwise: 0, 90, 180 or 270.
    pub fn degrees(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::Quarter => 90,
            Self::Half => 180,
            Self::ThreeQuarters => 270,
        }
    }
}

const ROTATIONS: &[(u32, Rotation)] =
    &[(0, Rotation::Normal), (90, Rotation::Quarter), (180, Rotation::Half), (270, Rotation::ThreeQuarters)];
/// Widest and highest mode, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Highest refresh rate, in millihertz.
const MAX_REFRESH: u32 = 1_000_000;

/// Decodes one `[output.NAME]`; with the line of its `guest`.
pub(crate) fn decode(value: &Value) -> Result<(OutputConfig, Option<usize>), ConfigError> {
    let table = value.table(&["enabled", "mode", "rotation", "scale", "guest"])?;
    let guest = table.get("guest");
    let settings = OutputConfig {
        disabled: !table.get("enabled").map(|v| v.boolean()).transpose()?.unwrap_or(true),
        mode: table.get("mode").map(|v| mode(&v)).transpose()?,
        rotation: table.get("rotation").map(|v| v.one_of(ROTATIONS)).transpose()?.unwrap_or_default(),
        guest: guest.as_ref().map(guest_name).transpose()?,
        scale: table.get("scale").map(|v| scale(&v)).transpose()?,
    };
    Ok((settings, guest.map(|value| value.line())))
}

fn mode(value: &Value) -> Result<ModeRequest, ConfigError> {
    const ALLOWED: &str = "WIDTHxHEIGHT or WIDTHxHEIGHT@HERTZ, such as \"1920x1080\" or \"1920x1080@59.94\"";
    let text = value.string(ALLOWED)?;
    let refused = || value.unknown_word(text, ALLOWED);
    let (size, refresh) = match text.split_once('@') {
        Some((size, refresh)) => (size, Some(millihertz(refresh).ok_or_else(refused)?)),
        None => (text, None),
    };
    let (width, height) = size.split_once('x').ok_or_else(refused)?;
    let side = |digits: &str| whole(digits).filter(|side| (1..=MAX_SIDE).contains(side)).ok_or_else(refused);
    Ok(ModeRequest { width: side(width)?, height: side(height)?, refresh_mhz: refresh })
}

/// Digits only: `parse` takes a sign too.
fn whole(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Hertz with at most three digits after the point, as millihertz.
fn millihertz(text: &str) -> Option<u32> {
    let (hertz, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !(1..=3).contains(&fraction.len()) {
        return None;
    }
    let fraction = whole(&format!("{fraction:0<3}"))?;
    let millihertz = whole(hertz)?.checked_mul(1000)?.checked_add(fraction)?;
    (1..=MAX_REFRESH).contains(&millihertz).then_some(millihertz)
}

fn guest_name(value: &Value) -> Result<GuestName, ConfigError> {
    let text = value.string("a guest's name, which is that of its file without .toml")?;
    GuestName::new(text).map_err(|error| value.bad(error.to_string()))
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
