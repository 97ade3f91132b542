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
    /// `position`: beside which other display it lies; `None`: to the right of those that say nothing either, in the
    /// order in which they came.
    pub position: Option<Position>,
}

/// Where a display lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// On which side.
    pub side: Side,
    /// Of which display: its connector, or what it says of itself.
    pub of: String,
}

/// A side of another display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Side {
    LeftOf,
    RightOf,
    Above,
    Below,
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
const SIDES: &[(&str, Side)] =
    &[("left-of", Side::LeftOf), ("right-of", Side::RightOf), ("above", Side::Above), ("below", Side::Below)];
/// What names a display.
pub(crate) const DISPLAY: &str = "a connector, such as HDMI-A-1, or maker, model and serial, such as \"DEL DELL U2720Q 5X4KB13\", as `phyllome status` shows them";
/// Longest name of a display, in bytes.
pub const MAX_DISPLAY: usize = 64;
/// Widest and highest mode, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Highest refresh rate, in millihertz.
const MAX_REFRESH: u32 = 1_000_000;

/// Decodes one `[output.NAME]`; with the line of its `guest`.
pub(crate) fn decode(value: &Value) -> Result<(OutputConfig, Option<usize>), ConfigError> {
    let table = value.table(&["enabled", "mode", "rotation", "scale", "position", "guest"])?;
    let guest = table.get("guest");
    let settings = OutputConfig {
        disabled: !table.get("enabled").map(|v| v.boolean()).transpose()?.unwrap_or(true),
        mode: table.get("mode").map(|v| mode(&v)).transpose()?,
        rotation: table.get("rotation").map(|v| v.one_of(ROTATIONS)).transpose()?.unwrap_or_default(),
        guest: guest.as_ref().map(guest_name).transpose()?,
        scale: table.get("scale").map(|v| scale(&v)).transpose()?,
        position: table.get("position").map(|v| position(&v)).transpose()?,
    };
    Ok((settings, guest.map(|value| value.line())))
}

/// Whether `name` can be that of a display: a connector's, or what a display says of itself, which is made printable
/// ASCII with single spaces.
pub(crate) fn is_display(name: &str) -> bool {
    let printable = name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    printable && (1..=MAX_DISPLAY).contains(&name.len()) && name.split(' ').all(|word| !word.is_empty())
}

fn position(value: &Value) -> Result<Position, ConfigError> {
    const ALLOWED: &str = "left-of, right-of, above or below and a display, such as \"left-of HDMI-A-1\"";
    let text = value.string(ALLOWED)?;
    let (side, of) = text.split_once(' ').ok_or_else(|| value.unknown_word(text, ALLOWED))?;
    let side = SIDES.iter().find(|(word, _)| *word == side).map(|(_, side)| *side);
    match side {
        Some(side) if is_display(of) => Ok(Position { side, of: of.to_owned() }),
        Some(_) | None => Err(value.unknown_word(text, ALLOWED)),
    }
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

pub(crate) fn guest_name(value: &Value) -> Result<GuestName, ConfigError> {
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
