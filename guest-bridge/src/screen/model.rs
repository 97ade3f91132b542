//! What every scanout shows at present, independent of any compositor. Pure.
//!
//! A scanout's flush is owed an answer until it is on the display. Where nothing will be committed any more (another
//! picture came before it), the answer is given at once, so that the device never waits for a frame that cannot come.

use crate::frames::{CursorImage, Picture};
use phyllome_protocol::ScanoutId;
use std::collections::BTreeMap;

/// One scanout.
#[derive(Debug, Default)]
pub(super) struct Scanout {
    /// What it shows, once it is lit.
    pub picture: Option<Picture>,
    /// Whether the picture was flushed; no pixel of it may be shown before.
    pub lit: bool,
    /// The newest flush that no commit has taken along yet.
    pub owed: Option<u64>,
    /// Its cursor.
    pub cursor: Option<CursorImage>,
}

impl Scanout {
    /// The picture, if it may be shown.
    pub fn visible(&self) -> Option<&Picture> {
        self.picture.as_ref().filter(|_| self.lit)
    }
}

/// All scanouts that the device has ever spoken of; at most 16.
#[derive(Debug, Default)]
pub(super) struct Model {
    scanouts: BTreeMap<ScanoutId, Scanout>,
}

impl Model {
    /// Another picture, or none. Returns whether it is another one, and the serial of a flush of the old one that will
    /// not be shown any more.
    pub fn set_picture(&mut self, id: ScanoutId, picture: Option<Picture>) -> (bool, Option<u64>) {
        let scanout = self.scanouts.entry(id).or_default();
        let which = |picture: &Option<Picture>| picture.as_ref().map(|picture| (picture.buffer.id, picture.source));
        if which(&scanout.picture) == which(&picture) {
            return (false, None);
        }
        scanout.picture = picture;
        scanout.lit = false;
        (true, scanout.owed.take())
    }

    /// The picture is complete. Returns the serial if there is nothing to show.
    pub fn flush(&mut self, id: ScanoutId, serial: u64) -> Option<u64> {
        let scanout = self.scanouts.entry(id).or_default();
        if scanout.picture.is_none() {
            return Some(serial);
        }
        scanout.lit = true;
        scanout.owed = Some(serial);
        None
    }

    /// A commit with this serial was lost with its compositor. Returns the serial if there is nothing to show any more.
    pub fn lost(&mut self, id: ScanoutId, serial: u64) -> Option<u64> {
        let scanout = self.scanouts.entry(id).or_default();
        if !scanout.lit {
            return Some(serial);
        }
        scanout.owed = Some(scanout.owed.map_or(serial, |owed| owed.max(serial)));
        None
    }

    /// Another cursor, or none.
    pub fn set_cursor(&mut self, id: ScanoutId, image: Option<CursorImage>) {
        self.scanouts.entry(id).or_default().cursor = image;
    }

    /// Forgets everything. Returns the flushes that will not be shown any more.
    pub fn reset(&mut self) -> Vec<(ScanoutId, u64)> {
        let before = std::mem::take(&mut self.scanouts);
        before.into_iter().filter_map(|(id, scanout)| Some((id, scanout.owed?))).collect()
    }

    /// One scanout, if the device has spoken of it.
    pub fn get(&self, id: ScanoutId) -> Option<&Scanout> {
        self.scanouts.get(&id)
    }

    /// The same, to take what it is owed.
    pub fn get_mut(&mut self, id: ScanoutId) -> Option<&mut Scanout> {
        self.scanouts.get_mut(&id)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ScanoutId, &Scanout)> {
        self.scanouts.iter().map(|(id, scanout)| (*id, scanout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Rect, SharedBuffer};
    use std::sync::Arc;

    fn picture(id: u64) -> Picture {
        let memfd = Some(std::fs::File::open("/dev/null").unwrap().into());
        let buffer =
            SharedBuffer { id, memfd, dmabuf: None, width: 1, height: 1, stride: 256, fourcc: 0, replaceable: false };
        Picture { buffer: Arc::new(buffer), source: Rect { x: 0, y: 0, width: 1, height: 1 } }
    }

    #[test]
    fn nothing_of_a_picture_is_shown_before_its_flush() {
        let (mut model, id) = (Model::default(), ScanoutId::new(0).unwrap());
        assert_eq!(model.set_picture(id, Some(picture(1))), (true, None));
        assert!(model.get(id).unwrap().visible().is_none());
        assert_eq!(model.flush(id, 1), None);
        assert!(model.get(id).unwrap().visible().is_some());
        assert_eq!(model.set_picture(id, Some(picture(1))), (false, None));
        assert!(model.get(id).unwrap().visible().is_some(), "still the same");
        model.set_picture(id, Some(picture(2)));
        assert!(model.get(id).unwrap().visible().is_none());
    }

    #[test]
    fn every_flush_is_answered_though_its_picture_goes() {
        let (mut model, id) = (Model::default(), ScanoutId::new(3).unwrap());
        assert_eq!(model.flush(id, 1), Some(1), "no picture");
        model.set_picture(id, Some(picture(1)));
        assert_eq!(model.flush(id, 2), None);
        assert_eq!(model.set_picture(id, None), (true, Some(2)));
        assert_eq!(model.lost(id, 2), Some(2));
        model.set_picture(id, Some(picture(1)));
        model.flush(id, 4);
        assert_eq!(model.lost(id, 3), None);
        assert_eq!(model.reset(), [(id, 4)]);
        assert_eq!(model.reset(), []);
    }
}
