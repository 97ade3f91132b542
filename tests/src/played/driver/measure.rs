//! What a played guest does when it is ordered to: flush so many pictures and say when each was flushed and when its
//! fence came, or show a part of its picture.
//!
//! Only the flush itself is timed; drawing and transfers lie before it, as in a guest's kernel.

use super::{Driver, Part, Screen};
use crate::frontend::{self, Rect};
use crate::played::orders::{self, Burst, Change, Order, SMALL, What};
use anyhow::{Context, Result};
use std::time::Instant;

impl Driver {
    /// Carries out one order on the first screen.
    pub(super) fn obey(&mut self, order: &Order) -> Result<()> {
        let mut screen = self.screens.pop().context("a guest without a screen has nothing to show")?;
        let times = match &order.what {
            What::Flush(burst) => self.flush_many(&mut screen, burst),
            What::Part(part) => self.show_part(&screen, *part).map(|()| Vec::new()),
        };
        self.screens.push(screen);
        orders::write(&order.report, &times?)
    }

    /// Shows a part of the page that is shown, and waits until it is.
    fn show_part(&mut self, screen: &Screen, part: Rect) -> Result<()> {
        let page = screen.pages.get(screen.shown).context("a screen without a page")?;
        self.done(frontend::set_scanout(screen.scanout, page.resource, part))?;
        self.session.post(0, &frontend::flush(page.resource, part).fenced(1).build(), 24)?;
        self.session.control.wait(&self.session.memory, frontend::session::ANSWER).map(drop)
    }

    fn flush_many(&mut self, screen: &mut Screen, order: &Burst) -> Result<Vec<(u64, u64)>> {
        let mut times = Vec::new();
        let mut last = None;
        for step in 0..order.count {
            if let Some(due) = last.map(|last: Instant| last + order.pace) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let (resource, part) = match order.change {
                Change::Whole => self.step_screen(screen)?,
                Change::Small => self.step_small(screen, step)?,
            };
            let command = frontend::flush(resource, part).fenced(1).build();
            last = Some(Instant::now());
            let flushed = orders::now();
            self.session.post(0, &command, 24)?;
            self.session.control.wait(&self.session.memory, frontend::session::ANSWER)?;
            times.push((flushed, orders::now()));
        }
        Ok(times)
    }

    /// Draws a square on the page that is shown, and transfers it.
    fn step_small(&mut self, screen: &mut Screen, step: u32) -> Result<(u32, Rect)> {
        let (width, height) = (screen.pattern.width, screen.pattern.height);
        let page = screen.pages.get_mut(screen.shown).context("a screen without a page")?;
        let part = Part { x: width / 2, y: height / 2, width: SMALL, height: SMALL };
        let color = [0xff_ffff, 0][step as usize % 2];
        for y in part.y..(part.y + SMALL).min(height) {
            let row = y * width;
            if let Some(row) = page.pixels.get_mut(row + part.x..row + (part.x + SMALL).min(width)) {
                row.fill(color);
            }
        }
        let page = screen.pages.get(screen.shown).context("a screen without a page")?;
        self.write(page, &screen.pattern, part)?;
        let whole = frontend::full(u32::try_from(width)?, u32::try_from(height)?);
        let rect = super::on_screen(part, whole).context("the screen is too small for a square")?;
        self.transfer(page, rect)?;
        Ok((page.resource, rect))
    }
}
