//! The moving picture: the guest's name, a track, and a bar that goes to and fro on it, on every connected screen.
//!
//! Drawn straight into DRM buffers, so that frames flow without any toolkit. Speed is by the clock: a slow display
//! shows fewer places.

use crate::drm::{Buffer, Card, Clip, Screen};
use crate::font;
use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const GROUND: [u8; 3] = [0x11, 0x14, 0x17];
const QUIET: [u8; 3] = [0x26, 0x2a, 0x31];
const TEXT: [u8; 3] = [0xd5, 0xdb, 0xe1];
const FRAME: Duration = Duration::from_millis(33);
const THERE_AND_BACK_MS: u128 = 4000;

/// Where things are on one screen, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    dot: usize,
    name: (usize, usize),
    track: Clip,
    bar: u16,
}

impl Layout {
    fn new(width: usize, height: usize, name: &str) -> Self {
        let columns = font::columns(name).max(1);
        let dot = (width / 2 / columns).clamp(1, (height / 4 / font::HEIGHT).max(1));
        let name_at = (width.saturating_sub(columns * dot) / 2, height / 3);
        let thick = (height / 48).max(4);
        let y1 = name_at.1 + (font::HEIGHT + 4) * dot;
        let (x1, x2) = (width / 6, width - width / 6);
        let edge = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        let track = Clip { x1: edge(x1), y1: edge(y1), x2: edge(x2), y2: edge(y1 + thick) };
        Self { dot, name: name_at, track, bar: (track.x2 - track.x1) / 6 }
    }

    /// The bar at a moment since the beginning.
    fn bar_at(&self, elapsed: Duration) -> Clip {
        let phase = (elapsed.as_millis() % THERE_AND_BACK_MS) as u64;
        let half = (THERE_AND_BACK_MS / 2) as u64;
        let place = if phase < half { phase } else { 2 * half - phase };
        let way = u64::from(self.track.x2 - self.track.x1 - self.bar);
        let x1 = self.track.x1 + u16::try_from(way * place / half).unwrap_or(0);
        Clip { x1, x2: x1 + self.bar, ..self.track }
    }
}

fn pixel([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0xff, red, green, blue])
}

fn fill(buffer: &mut Buffer, at: Clip, color: [u8; 3]) {
    for y in at.y1..at.y2 {
        if let Some(part) = buffer.row(y.into()).get_mut(at.x1.into()..at.x2.into()) {
            part.fill(pixel(color));
        }
    }
}

fn draw_still(screen: &mut Screen, layout: &Layout, name: &str, color: [u8; 3]) {
    let edge = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
    let all = Clip { x1: 0, y1: 0, x2: edge(screen.width), y2: edge(screen.height) };
    let (dot, (left, top)) = (layout.dot, layout.name);
    let line = Clip { y1: layout.track.y1 - edge(2 * dot), y2: layout.track.y1 - edge(2 * dot) + 2, ..layout.track };
    for buffer in &mut screen.buffers {
        fill(buffer, all, GROUND);
        fill(buffer, layout.track, QUIET);
        fill(buffer, line, color);
        font::draw(name, |column, row| {
            let (x, y) = (left + column * dot, top + row * dot);
            fill(buffer, Clip { x1: edge(x), y1: edge(y), x2: edge(x + dot), y2: edge(y + dot) }, TEXT);
        });
    }
}

/// What several screens show for as long as this is kept.
pub struct Stills {
    _card: Card,
    _screens: Vec<(Screen, Layout)>,
}

/// Shows the guest's name on every screen, each in a buffer of its own. With one screen or none, nothing is done.
pub fn stills(name: &str, color: [u8; 3]) -> io::Result<Option<Stills>> {
    let card = Card::open()?;
    let screens = card.screens(1)?;
    let several = screens.len() > 1;
    screens.into_iter().for_each(|screen| card.give_back(screen));
    if !several {
        return Ok(None);
    }
    let screens = take_screens(&card, name, color, false)?;
    Ok(Some(Stills { _card: card, _screens: screens }))
}

/// The screens as they are now, with their still pictures, on show.
fn take_screens(card: &Card, name: &str, color: [u8; 3], flips: bool) -> io::Result<Vec<(Screen, Layout)>> {
    let screens = card.screens(if flips { 2 } else { 1 })?;
    let several = screens.len() > 1;
    let mut taken = Vec::new();
    for (number, mut screen) in screens.into_iter().enumerate() {
        let title = if several { format!("{name} {number}") } else { name.to_owned() };
        let layout = Layout::new(screen.width, screen.height, &title);
        draw_still(&mut screen, &layout, &title, color);
        card.show(&screen)?;
        taken.push((screen, layout));
    }
    Ok(taken)
}

/// Draws for ever. Calls `ready` when the first picture is on. With `flips`, every frame is a page flip; else only
/// damage is sent. After a message from `changed` it takes the monitors as they are then, each in the mode that it
/// prefers.
pub fn run(name: &str, color: [u8; 3], flips: bool, ready: impl FnOnce(), changed: &Receiver<()>) -> io::Result<()> {
    let card = Card::open()?;
    let mut screens = take_screens(&card, name, color, flips)?;
    if screens.is_empty() {
        return Err(io::Error::other("no connector is connected"));
    }
    ready();

    let start = Instant::now();
    let still = |screens: &[(Screen, Layout)]| -> Vec<Vec<Clip>> {
        screens.iter().map(|(_, layout)| vec![layout.bar_at(Duration::ZERO); 2]).collect()
    };
    let mut shown = still(&screens);
    let mut back = usize::from(flips);
    loop {
        if changed.try_iter().count() > 0 {
            let new = take_screens(&card, name, color, flips)?;
            for (screen, _) in std::mem::replace(&mut screens, new) {
                card.give_back(screen);
            }
            crate::report_displays();
            (shown, back) = (still(&screens), usize::from(flips));
        }
        let frame = Instant::now();
        for ((screen, layout), shown) in screens.iter_mut().zip(&mut shown) {
            let new = layout.bar_at(start.elapsed());
            let (Some(buffer), Some(old)) = (screen.buffers.get_mut(back), shown.get_mut(back)) else { continue };
            fill(buffer, *old, QUIET);
            fill(buffer, new, color);
            let mut clips = [Clip { x1: old.x1.min(new.x1), x2: old.x2.max(new.x2), ..new }];
            *old = new;
            if flips { card.flip(screen, back)? } else { card.damage(screen, &mut clips)? }
        }
        if flips {
            back = 1 - back;
        }
        std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_stays_on_its_track() {
        for (width, height) in [(1272, 768), (640, 480), (64, 64), (3840, 2160)] {
            let layout = Layout::new(width, height, "play");
            for ms in (0..9000).step_by(7) {
                let bar = layout.bar_at(Duration::from_millis(ms));
                assert!(layout.track.x1 <= bar.x1 && bar.x2 <= layout.track.x2, "{bar:?}");
            }
        }
    }

    #[test]
    fn the_bar_comes_back() {
        let layout = Layout::new(1272, 768, "play");
        assert_eq!(layout.bar_at(Duration::from_millis(300)), layout.bar_at(Duration::from_millis(4300)));
        assert_ne!(layout.bar_at(Duration::from_millis(300)), layout.bar_at(Duration::from_millis(1300)));
    }
}
