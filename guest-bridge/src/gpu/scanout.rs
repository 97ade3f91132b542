//! One scanout: what part of which resource it shows, and what the screen was last told about it.
//!
//! Pure but for the channel's messages, which it makes and does not send. A picture that changes is announced only just
//! before its first flush, so that a guest which sets scanouts in a loop costs the screen nothing.

use super::blob::Image;
use super::cursor::Cursor;
use super::edid::clamp;
use super::formats::Format;
use super::pacing::Lane;
use crate::frames::{Dmabuf, Picture, PreferredMode, Rect, SharedBuffer, ToScreen};
use phyllome_protocol::ScanoutId;
use phyllome_protocol::status::ScanoutStatus;
use std::sync::Arc;

/// A scanout's picture, as the guest set it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The resource's id in the guest.
    pub resource: u32,
    /// The part of it that is shown.
    pub source: Rect,
    /// Its memory. None of what the renderer has: that is known when it is first to be seen.
    pub buffer: Option<Arc<SharedBuffer>>,
    /// How the pixels lie in a blob of the renderer's.
    pub image: Option<Image>,
}

/// One scanout.
#[derive(Debug)]
pub struct Scanout {
    /// Its number.
    pub id: ScanoutId,
    /// What it shows, if it is on.
    pub shown: Option<Shown>,
    /// The resource and picture of 3D that was fetched last: what a batch shows whose pixels are there.
    pub staged: Option<(u32, Picture)>,
    /// The same of what is being fetched, and which fetch that is.
    pub coming: Option<(u64, u32, Picture)>,
    /// What its EDID prefers.
    pub mode: PreferredMode,
    /// It lies on a display, or is the first one, which is there before anybody looks.
    pub connected: bool,
    /// Its hardware cursor.
    pub cursor: Cursor,
    /// Buffer and part that the screen was told of last.
    announced: Option<(u64, Rect)>,
}

impl Scanout {
    /// A scanout that is off.
    pub fn new(id: ScanoutId, mode: PreferredMode) -> Self {
        let (connected, cursor) = (id.get() == 0, Cursor::default());
        Self { id, shown: None, staged: None, coming: None, mode, connected, cursor, announced: None }
    }

    /// Its display has this mode, or it has none. Whether the guest would see a difference.
    pub fn set_mode(&mut self, mode: PreferredMode) -> bool {
        let before = (self.mode, self.connected);
        self.connected = mode.has_display() || self.id.get() == 0;
        if mode.has_display() {
            self.mode = clamp(mode);
        }
        (self.mode, self.connected) != before
    }

    /// The part of a flush of `resource` that this scanout shows, in the scanout's own pixels; `None` if it shows
    /// nothing.
    pub fn damage(&self, resource: u32, flushed: &Rect) -> Option<Rect> {
        let shown = self.shown.as_ref().filter(|shown| shown.resource == resource)?;
        let source = &shown.source;
        let overlap = |a: u32, a_length: u32, b: u32, b_length: u32| {
            let start = a.max(b);
            let end = a.saturating_add(a_length).min(b.saturating_add(b_length));
            (start.saturating_sub(b), end.saturating_sub(start))
        };
        let (x, width) = overlap(flushed.x, flushed.width, source.x, source.width);
        let (y, height) = overlap(flushed.y, flushed.height, source.y, source.height);
        (width > 0 && height > 0).then_some(Rect { x, y, width, height })
    }

    /// A screen that has come since is to see what was there last, even if nothing new of it can be had any more.
    pub fn outlives(&self) -> bool {
        self.announced.is_none() && self.staged.is_some()
    }

    /// All of it, in its own pixels.
    pub fn whole(&self) -> Rect {
        let source = self.shown.as_ref().map(|shown| shown.source).unwrap_or_default();
        Rect { x: 0, y: 0, ..source }
    }

    /// The screen knows nothing (any more): everything is to be told again.
    pub fn forgotten(&mut self, lane: &mut Lane) {
        self.announced = None;
        self.cursor.forgotten();
        lane.redraw(self.whole());
    }

    /// What the next batch shows.
    pub fn picture(&self, lane: &Lane) -> Option<Picture> {
        let shown = self.shown.as_ref()?;
        match &self.staged {
            Some((_, picture)) if lane.is_fetched() => Some(picture.clone()),
            _ => Some(Picture { buffer: shown.buffer.clone()?, source: shown.source }),
        }
    }

    /// The next message that the screen is to get, if there is one.
    pub fn next_message(&mut self, lane: &mut Lane) -> Option<ToScreen> {
        let id = self.id;
        if self.shown.is_none() {
            if self.announced.take().is_some() {
                return Some(ToScreen::Scanout { id, picture: None });
            }
            return self.cursor_message();
        }
        if lane.ready() {
            let Some(picture) = self.picture(lane) else {
                // The renderer was lost before it showed anything: nobody is to wait for it.
                if let Some((serial, _)) = lane.take() {
                    lane.presented(serial);
                }
                return self.cursor_message();
            };
            let known = (picture.buffer.id, picture.source);
            if self.announced != Some(known) {
                self.announced = Some(known);
                return Some(ToScreen::Scanout { id, picture: Some(picture) });
            }
            return lane.take().map(|(serial, damage)| ToScreen::Flush { id, serial, damage });
        }
        self.cursor_message()
    }

    fn cursor_message(&mut self) -> Option<ToScreen> {
        self.cursor.changed().then(|| ToScreen::Cursor { id: self.id, image: self.cursor.take() })
    }

    /// Whether [`Self::next_message`] would say something.
    pub fn has_message(&self, lane: &Lane) -> bool {
        match self.shown {
            Some(_) => lane.ready() || self.cursor.changed(),
            None => self.announced.is_some() || self.cursor.changed(),
        }
    }

    /// Whether the screen was told of a picture or cursor.
    pub fn is_announced(&self) -> bool {
        self.announced.is_some() || self.cursor.is_announced()
    }

    /// Another driver: off, no cursor, and the screen was told so by [`ToScreen::Reset`].
    pub fn reset(&mut self, lane: &mut Lane) {
        self.shown = None;
        (self.staged, self.coming) = (None, None);
        self.announced = None;
        self.cursor = Cursor::default();
        lane.abandon();
        lane.reset_counts();
    }
}

/// What of a buffer is in the status.
pub(super) fn looks(buffer: &SharedBuffer) -> (u32, Option<u64>) {
    (buffer.fourcc, buffer.dmabuf.as_ref().map(|dmabuf| dmabuf.modifier))
}

/// A scanout in the status, without its counters; `None` if it is off.
pub(super) fn scanout_status((scanout, lane): (&Scanout, &Lane)) -> Option<ScanoutStatus> {
    let shown = scanout.shown.as_ref()?;
    let picture = scanout.picture(lane);
    let buffer = picture.as_ref().map(|picture| &*picture.buffer);
    let dmabuf = buffer.and_then(|buffer| buffer.dmabuf.as_ref());
    let format = buffer.and_then(|buffer| Format::from_fourcc(buffer.fourcc)).unwrap_or(Format::B8G8R8X8);
    Some(ScanoutStatus {
        id: scanout.id,
        width: shown.source.width,
        height: shown.source.height,
        source: "vhost-user-gpu".to_owned(),
        buffer: if dmabuf.is_some() { "dmabuf" } else { "shm" }.to_owned(),
        format: format.name().to_owned(),
        modifier: dmabuf.map_or_else(|| "LINEAR".to_owned(), Dmabuf::modifier_name),
        flushes: 0,
        presented: 0,
    })
}
