//! What one guest's Wayland connection may hold and how fast it may ask: pure counting, values in and a verdict out.
//!
//! The limits are far above what phyllome-guest needs (16 scanouts, a cursor each, a few buffers per scanout) and far
//! below what could hurt the shell or another guest. Whoever passes one is cut off; nothing here logs, waits or touches
//! a socket.

use super::things::{Thing, Things};
use crate::bucket::Bucket;
use std::time::Instant;

/// Most surfaces that live at once.
pub const MAX_SURFACES: u32 = 64;

/// Most buffers that live at once.
pub const MAX_BUFFERS: u32 = 256;

/// Most shared-memory pools that live at once.
pub const MAX_POOLS: u32 = 128;

/// Most planes that dmabuf parameters hold at once.
pub const MAX_PLANES: u32 = 256;

/// Most descriptors that a connection may make the shell hold before it is asked how many there are in all.
pub const MAX_DESCRIPTORS: usize = 512;

/// Most bytes of one shared-memory pool: a 16384 × 16384 picture.
pub const MAX_POOL_BYTES: i32 = 1 << 30;

/// Most protocol objects of every kind that live at once: more than all that are counted by themselves
/// ([`super::things`]), with frame callbacks.
pub const MAX_OBJECTS: usize = 2048;

/// Most `wl_registry` that live at once; nothing ends one but the end of the connection.
pub const MAX_REGISTRIES: usize = 8;

/// Most configures of one toplevel that wait to be acknowledged. smithay 0.7.0 keeps each until then.
pub const MAX_CONFIGURES: usize = 32;

/// How often one surface may be given fences while it lives: smithay 0.7.0 adds a hook to its commits each time and
/// forgets what it had before.
pub const MAX_FENCED: u32 = 4;

/// Most timelines of fences that a connection may ever bring: smithay 0.7.0 gives none back while the connection lives.
pub const MAX_TIMELINES: u32 = 64;

/// Most commits of one surface that wait for a fence.
pub const MAX_WAITING: usize = 8;

/// Most damage rectangles of one commit; beyond it the whole buffer counts as damaged.
pub const MAX_DAMAGE: usize = 16;

/// Most frame callbacks that wait on one surface.
pub const MAX_FRAME_CALLBACKS: usize = 64;

/// Largest width or height of a buffer, in pixels.
pub const MAX_EXTENT: i32 = 16384;

/// Most pixels of a picture that are copied to be drawn: so many in any case, and so many times the guest's largest
/// area, which is one framebuffer over four displays with room for their bands. What the GPU reads where it is costs
/// nothing but its drawing.
pub const COPIED_PIXELS: u64 = 4096 * 4096;
const COPIED_AREAS: u64 = 5;
const IMPORTED_PIXELS: u64 = 8192 * 8192;

/// Largest scale of a buffer. phyllome-guest uses 1.
pub const MAX_SCALE: i32 = 8;

/// Requests per second that are served for as long as they come.
pub const REQUESTS_PER_SECOND: f64 = 20_000.0;

/// Requests that may come at once after a quiet second.
pub const BURST: f64 = 40_000.0;

/// Most dmabufs that may be refused: smithay 0.7.0 loses an EGL image with each import that fails.
pub const MAX_REFUSALS: u32 = 64;

/// Objects are counted once in so many requests.
const COUNT_EVERY: u32 = 256;

/// Why a connection is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// More of this than is allowed.
    Things(Thing),
    /// More than [`MAX_OBJECTS`].
    Objects,
    /// More than [`MAX_REGISTRIES`].
    Registries,
    /// Requests came faster than [`REQUESTS_PER_SECOND`].
    Requests,
    /// More than [`MAX_REFUSALS`].
    Refusals,
    /// More than [`MAX_DESCRIPTORS`].
    Descriptors,
    /// More of the shell's processor time in one turn than one connection may use.
    Time,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Things(thing) => {
                let (most, of) = thing.limit();
                write!(f, "more than {most} {of}")
            }
            Self::Registries => write!(f, "more than {MAX_REGISTRIES} registries"),
            Self::Objects => write!(f, "more than {MAX_OBJECTS} objects"),
            Self::Requests => write!(f, "more than {REQUESTS_PER_SECOND} requests a second"),
            Self::Refusals => write!(f, "more than {MAX_REFUSALS} buffers that cannot be imported"),
            Self::Descriptors => write!(f, "more than {MAX_DESCRIPTORS} file descriptors"),
            Self::Time => write!(f, "so much of the shell's processor time at once"),
        }
    }
}

/// Counters of one connection.
#[derive(Debug)]
pub struct Quota {
    things: Things,
    descriptors: usize,
    until_count: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a picture of this size may be drawn for a guest whose largest area is `area`; both in pixels. `copied`: not
/// read by the GPU where it is.
pub fn may_be_drawn(size: (u32, u32), copied: bool, area: (u32, u32)) -> bool {
    let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    let most = if copied { COPIED_PIXELS.max(pixels(area) * COPIED_AREAS) } else { IMPORTED_PIXELS };
    pixels(size) <= most
}

/// So many requests were served that could not be asked about one by one: the Wayland library answers
/// `wl_display.sync` by itself.
pub fn requests(left: &mut Bucket, count: usize, now: Instant) -> Result<(), Excess> {
    if left.charge(count as f64, BURST, now) { Ok(()) } else { Err(Excess::Requests) }
}

/// A dmabuf could not be imported.
pub fn refusal(left: &mut Bucket, now: Instant) -> Result<(), Excess> {
    if left.take(1.0, now) { Ok(()) } else { Err(Excess::Refusals) }
}

impl Quota {
    /// Nothing held.
    pub fn new() -> Self {
        Self { things: Things::default(), descriptors: 0, until_count: COUNT_EVERY }
    }

    /// One more of `thing`.
    pub fn add(&mut self, thing: Thing) -> Result<(), Excess> {
        if self.things.add(thing) { Ok(()) } else { Err(Excess::Things(thing)) }
    }

    /// One fewer of `thing`.
    pub fn remove(&mut self, thing: Thing) {
        self.things.remove(thing);
    }

    /// One request came, of those that are `left`. `Ok(true)`: it is time to count the connection's objects and call
    /// [`Quota::objects`].
    pub fn request(&mut self, left: &mut Bucket, now: Instant) -> Result<bool, Excess> {
        if !left.take(1.0, now) {
            return Err(Excess::Requests);
        }
        self.until_count -= 1;
        if self.until_count == 0 {
            self.until_count = COUNT_EVERY;
            return Ok(true);
        }
        Ok(false)
    }

    /// While this connection was served, the descriptors that are open went from `before` to `after`, of at most
    /// `limit`.
    ///
    /// Whose they are nobody can say: what the connection held may have been closed at another time. So a connection
    /// that seems to hold many is at fault only if there are many.
    pub fn descriptors(&mut self, before: usize, after: usize, limit: usize) -> Result<(), Excess> {
        self.descriptors = (self.descriptors + after).saturating_sub(before);
        let most = MAX_DESCRIPTORS.min(limit / 4);
        if self.descriptors <= most {
            return Ok(());
        }
        if after > 2 * most {
            return Err(Excess::Descriptors);
        }
        self.descriptors = 0;
        Ok(())
    }

    /// The connection holds this many objects, so many of which are registries.
    pub fn objects(&self, count: usize, registries: usize) -> Result<(), Excess> {
        if registries > MAX_REGISTRIES {
            return Err(Excess::Registries);
        }
        if count > MAX_OBJECTS { Err(Excess::Objects) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_picture_over_four_displays_may_be_drawn_and_one_that_would_hold_the_shell_up_may_not() {
        let four = (4 * 3840, 2160);
        assert!(may_be_drawn(four, true, (3832, 2128)) && may_be_drawn(four, false, (1272, 768)));
        assert!(may_be_drawn((4096, 4096), true, (0, 0)) && !may_be_drawn((4097, 4096), true, (0, 0)));
        assert!(!may_be_drawn((16384, 16384), true, (7672, 4288)));
        assert!(!may_be_drawn((16384, 16384), false, (7672, 4288)));
        assert!(!may_be_drawn((u32::MAX, u32::MAX), true, (16384, 16384)));
    }

    fn left(now: Instant) -> Bucket {
        Bucket::new(BURST, REQUESTS_PER_SECOND, now)
    }

    #[test]
    fn things_are_bounded_and_come_back() {
        let mut quota = Quota::new();
        for _ in 0..MAX_SURFACES {
            quota.add(Thing::Surface).unwrap();
        }
        assert_eq!(quota.add(Thing::Surface), Err(Excess::Things(Thing::Surface)));
        quota.remove(Thing::Surface);
        assert_eq!(quota.add(Thing::Surface), Ok(()));
        assert_eq!(quota.add(Thing::Buffer), Ok(()));
    }

    #[test]
    fn a_flood_is_an_excess_and_an_ordinary_pace_never_is() {
        let start = Instant::now();
        let (mut flood, mut pipe) = (Quota::new(), left(start));
        let served = (0..1_000_000).take_while(|_| flood.request(&mut pipe, start).is_ok()).count();
        assert_eq!(served, BURST as usize);
        let (mut calm, mut pipe) = (Quota::new(), left(start));
        for step in 0..200_000u32 {
            calm.request(&mut pipe, start + Duration::from_micros(100) * step).unwrap();
        }
    }

    #[test]
    fn what_could_not_be_asked_about_is_charged_afterwards() {
        let start = Instant::now();
        let mut left = left(start);
        assert_eq!(requests(&mut left, BURST as usize, start), Ok(()));
        assert_eq!(requests(&mut left, 1, start), Err(Excess::Requests));
        assert_eq!(requests(&mut left, 1, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn descriptors_that_stay_are_an_excess_and_those_that_go_elsewhere_are_none() {
        let limit = 65_536;
        let mut hoarder = Quota::new();
        let cut = (100..5000).step_by(28).find(|open| hoarder.descriptors(*open, *open + 28, limit).is_err());
        assert!(cut.is_some_and(|open| open < 100 + 3 * MAX_DESCRIPTORS), "{cut:?}");
        // Closed when it is not served: the next turn begins with as few as this one.
        let mut calm = Quota::new();
        for _ in 0..10_000 {
            calm.descriptors(100, 101, limit).unwrap();
        }
        // Few may be opened at all.
        let mut hoarder = Quota::new();
        assert!((100..1000).step_by(28).any(|open| hoarder.descriptors(open, open + 28, 1024).is_err()));
    }

    #[test]
    fn objects_are_counted_now_and_then() {
        let now = Instant::now();
        let (mut quota, mut left) = (Quota::new(), left(now));
        let counts = (0..1024).filter(|_| quota.request(&mut left, now).unwrap()).count();
        assert_eq!(counts, 4);
        assert!(quota.objects(MAX_OBJECTS, MAX_REGISTRIES).is_ok());
        assert_eq!(quota.objects(MAX_OBJECTS + 1, 0), Err(Excess::Objects));
        assert_eq!(quota.objects(1, MAX_REGISTRIES + 1), Err(Excess::Registries));
    }
}
