//! How the overlay of Super+Tab is drawn, and which guest's tile lies where in it.

use super::SwitcherView;
use crate::faces::drawing::generated::{SwitchTile, SwitcherSurface};
use crate::faces::drawing::{DrawError, Pixels, Surface, clean, color, slot_text, swatch, window_start};
use phyllome_trusted::frame::geometry;
use slint::{ModelRc, SharedString};

/// A tile with the gap to the next, its height, and the padding around all, in logical pixels.
const TILE: (f64, f64, f64) = (152.0, 128.0, 16.0);
/// Between two tiles, in logical pixels.
const GAP: f64 = 8.0;

/// How many tiles there is room for, and the first of them.
fn window(view: &SwitcherView, max_w: u32, scale: f64) -> (usize, usize) {
    let (step, _, padding) = TILE;
    let room = (f64::from(max_w) / scale - 2.0 * padding + GAP) / step;
    let shown = (room.floor().max(1.0) as usize).min(view.entries.len());
    (shown, window_start(view.entries.len(), shown, view.selected))
}

/// Which entry's tile lies at a place, in physical pixels from the overlay's upper left corner.
pub(in crate::faces) fn tile_at(view: &SwitcherView, max_w: u32, scale: f64, (x, y): (f64, f64)) -> Option<usize> {
    let (step, height, padding) = TILE;
    let (x, y) = (x / scale - padding, y / scale - padding);
    let (shown, first) = window(view, max_w, scale);
    let inside = x >= 0.0 && x % step < step - GAP && (0.0..height).contains(&y);
    // `as` saturates.
    let tile = (x / step) as usize;
    (inside && tile < shown).then_some(first + tile)
}

/// At most `max_w` physical pixels wide; its corners are transparent.
pub(in crate::faces) fn draw_switcher(view: &SwitcherView, max_w: u32, scale: f64) -> Result<Pixels, DrawError> {
    let (entries, selected) = (&view.entries, view.selected);
    let (step, height, padding) = TILE;
    let (shown, first) = window(view, max_w, scale);
    let tiles: Vec<SwitchTile> = entries
        .iter()
        .skip(first)
        .take(shown)
        .map(|entry| SwitchTile {
            picture: swatch(&entry.label, 48.0, scale),
            slot: slot_text(&entry.label),
            plate: color(entry.label.rgb),
            ink: color(entry.label.text_rgb),
            label: clean(&entry.label.text).into(),
            state: if entry.state == "running" { SharedString::new() } else { clean(&entry.state).into() },
        })
        .collect();
    let surface = Surface::new(SwitcherSurface::new, scale)?;
    surface.component.set_tiles(ModelRc::from(tiles.as_slice()));
    surface.component.set_selected(i32::try_from(selected.saturating_sub(first)).unwrap_or(-1));
    let width = geometry::physical(shown.max(1) as f64 * step - GAP + 2.0 * padding, scale).min(max_w);
    let height = geometry::physical(height + 2.0 * padding, scale);
    Ok(Pixels::new(width, height, surface.draw(width, height)))
}
