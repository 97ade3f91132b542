//! The outputs of the shell on which a guest has its heads: pointing at their pixels, and seeing all of them.

use anyhow::{Context, Result, bail};
use phyllome_protocol::status::Area;
use phyllome_tests::gl_guest::cursor::Wanted;
use phyllome_tests::gl_guest::{GL, GlGuest};
use phyllome_tests::picture::Picture;
use std::time::{Duration, Instant};

/// A guest's head on its output.
#[derive(Clone, Debug)]
pub struct Head {
    output: String,
    /// Where the output begins on the plane of all outputs, which lie side by side.
    left: u32,
    area: Area,
}

/// The heads of the guest, which is shown on all outputs.
pub fn heads(guest: &mut GlGuest) -> Result<Vec<Head>> {
    let mut next = 0;
    let outputs = guest.host.status()?.outputs.into_iter();
    let heads = outputs.map(|output| {
        let left = next;
        next += output.width;
        Head { output: output.name, left, area: output.guest_area }
    });
    Ok(heads.collect())
}

impl Head {
    /// Its size in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.area.width, self.area.height)
    }

    /// Moves the person's pointer to one of its pixels.
    pub fn point(&self, guest: &GlGuest, (x, y): (u32, u32)) -> Result<()> {
        let place = [self.left + self.area.x + x, self.area.y + y].map(|number| number.to_string());
        guest.host.run(&["input", "move", &place[0], &place[1]]).map(drop)
    }

    /// Waits until all its pixels are right. `what` is in the error, which names the first pixel that is not.
    pub fn wait_seen(&self, guest: &GlGuest, what: &str, wanted: &Wanted) -> Result<()> {
        let arguments = ["--output", &self.output];
        let right =
            guest.host.wait_capture(what, &arguments, GL, |whole| wanted.difference(&whole.crop(self.area)).is_none());
        right.map(drop).with_context(|| {
            let seen = guest.host.capture(&arguments).map(|whole| wanted.difference(&whole.crop(self.area)));
            format!("{what} on {}: the first wrong pixel, what it is and should be: {seen:?}; {wanted:?}", self.output)
        })
    }

    /// Points at a pixel and waits until all pixels are right. Points again where they are not for a while: where the
    /// pixel is on the guest's desktop changes when another of its heads comes up, and only the hand tells the guest.
    pub fn point_until_seen(&self, guest: &GlGuest, what: &str, at: (u32, u32), wanted: &Wanted) -> Result<()> {
        let end = Instant::now() + GL;
        let right = |whole: &Picture| wanted.difference(&whole.crop(self.area)).is_none();
        loop {
            self.point(guest, (at.0 ^ 1, at.1))?;
            self.point(guest, at)?;
            match guest.host.wait_capture(what, &["--output", &self.output], GL / 20, right) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(error.context(format!("not {wanted:?} on {}", self.output)));
                }
                Err(_) => {}
            }
        }
    }
}

/// Presses a button of the pointer and releases it.
pub fn click(guest: &GlGuest, button: &str) -> Result<()> {
    for action in ["press", "release"] {
        guest.host.run(&["input", "button", button, action])?;
    }
    Ok(())
}

/// Asks until an answer is the right one.
pub fn wait_for<T>(what: &str, ask: impl Fn() -> Result<T>, right: impl Fn(&T) -> bool) -> Result<T>
where
    T: std::fmt::Debug,
{
    let end = Instant::now() + GL;
    loop {
        let answer = ask()?;
        if right(&answer) {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("{what} did not happen within {GL:?}: {answer:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
