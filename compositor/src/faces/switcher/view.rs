//! How the overlay of Super+Tab is drawn.

use super::SwitcherView;
use crate::faces::drawing::generated::{SwitchTile, SwitcherSurface};
use crate::faces::drawing::{DrawError, Pixels, Surface, clean, color, slot_text, swatch, window_start};
use phyllome_trusted::frame::geometry;
use slint::{ModelRc, SharedString};

/// A tile with the gap to the next, its height, and the padding around all, in logical pixels.
const TILE: (f64, f64, f64) = (152.0, 128.0, 16.0);

/// At most `max_w` physical pixels wide; its corners are transparent.
pub(in crate::faces) fn draw_switcher(view: &SwitcherView, max_w: u32, scale: f64) -> Result<Pixels, DrawError> {
    let (entries, selected) = (&view.entries, view.selected);
    let (step, height, padding) = TILE;
    let gap = 8.0;
    let room = (f64::from(max_w) / scale - 2.0 * padding + gap) / step;
    let shown = (room.floor().max(1.0) as usize).min(entries.len());
    let first = window_start(entries.len(), shown, selected);
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
    let width = geometry::physical(shown.max(1) as f64 * step - gap + 2.0 * padding, scale).min(max_w);
    let height = geometry::physical(height + 2.0 * padding, scale);
    Ok(Pixels::new(width, height, surface.draw(width, height)))
}
