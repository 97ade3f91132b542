//! What one guest's Wayland connection may hold and how fast it may ask: pure counting, values in and a verdict out.
//!
//! The limits are far above what phyllome-guest needs (16 scanouts, a cursor each, a few buffers per scanout) and far
//! below what could hurt the shell or another guest. Whoever passes one is cut off; nothing here logs, waits or touches
//! a socket.

use super::things::{Thing, Things};
use std::time::Instant;

/// Most surfaces that live at once.
pub const MAX_SURFACES: u32 = 64;

/// Most buffers that live at once.
pub const MAX_BUFFERS: u32 = 256;

/// Most shared-memory pools that live at once.
pub const MAX_POOLS: u32 = 128;

/// Most planes that dmabuf parameters hold at once.
pub const MAX_PLANES: usize = 256;

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
    /// More than [`MAX_PLANES`].
    Planes,
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
            Self::Planes => write!(f, "more than {MAX_PLANES} planes of unfinished buffers"),
            Self::Descriptors => write!(f, "more than {MAX_DESCRIPTORS} file descriptors"),
            Self::Time => write!(f, "so much of the shell's processor time at once"),
        }
    }
}

/// Counters of one connection.
#[derive(Debug)]
pub struct Quota {
    things: Things,
    refusals: u32,
    descriptors: usize,
    tokens: f64,
    refilled: Instant,
    until_count: u32,
}

impl Quota {
    /// Nothing held, a full burst allowed.
    pub fn new(now: Instant) -> Self {
        Self {
            things: Things::default(),
            refusals: 0,
            descriptors: 0,
            tokens: BURST,
            refilled: now,
            until_count: COUNT_EVERY,
        }
    }

    /// One more of `thing`.
    pub fn add(&mut self, thing: Thing) -> Result<(), Excess> {
        if self.things.add(thing) { Ok(()) } else { Err(Excess::Things(thing)) }
    }

    /// One fewer of `thing`.
    pub fn remove(&mut self, thing: Thing) {
        self.things.remove(thing);
    }

    /// So many requests were served that could not be asked about one by one: the Wayland library answers
    /// `wl_display.sync` by itself.
    pub fn requests(&mut self, count: usize, now: Instant) -> Result<(), Excess> {
        self.refill(now);
        self.tokens -= count as f64;
        if self.tokens < 0.0 {
            return Err(Excess::Requests);
        }
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * REQUESTS_PER_SECOND).min(BURST);
        self.refilled = now;
    }

    /// One request came. `Ok(true)`: it is time to count the connection's objects and call [`Quota::objects`].
    pub fn request(&mut self, now: Instant) -> Result<bool, Excess> {
        if self.tokens < 1.0 {
            self.refill(now);
            if self.tokens < 1.0 {
                return Err(Excess::Requests);
            }
        }
        self.tokens -= 1.0;
        self.until_count -= 1;
        if self.until_count == 0 {
            self.until_count = COUNT_EVERY;
            return Ok(true);
        }
        Ok(false)
    }

    /// A dmabuf could not be imported.
    pub fn refusal(&mut self) -> Result<(), Excess> {
        self.refusals += 1;
        if self.refusals > MAX_REFUSALS { Err(Excess::Refusals) } else { Ok(()) }
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
    fn things_are_bounded_and_come_back() {
        let mut quota = Quota::new(Instant::now());
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
        let mut flood = Quota::new(start);
        let served = (0..1_000_000).take_while(|_| flood.request(start).is_ok()).count();
        assert_eq!(served, BURST as usize);
        let mut calm = Quota::new(start);
        for step in 0..200_000u32 {
            calm.request(start + Duration::from_micros(100) * step).unwrap();
        }
    }

    #[test]
    fn what_could_not_be_asked_about_is_charged_afterwards() {
        let start = Instant::now();
        let mut quota = Quota::new(start);
        assert_eq!(quota.requests(BURST as usize, start), Ok(()));
        assert_eq!(quota.requests(1, start), Err(Excess::Requests));
        assert_eq!(quota.requests(1, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn descriptors_that_stay_are_an_excess_and_those_that_go_elsewhere_are_none() {
        let limit = 65_536;
        let mut hoarder = Quota::new(Instant::now());
        let cut = (100..5000).step_by(28).find(|open| hoarder.descriptors(*open, *open + 28, limit).is_err());
        assert!(cut.is_some_and(|open| open < 100 + 3 * MAX_DESCRIPTORS), "{cut:?}");
        // Closed when it is not served: the next turn begins with as few as this one.
        let mut calm = Quota::new(Instant::now());
        for _ in 0..10_000 {
            calm.descriptors(100, 101, limit).unwrap();
        }
        // Few may be opened at all.
        let mut hoarder = Quota::new(Instant::now());
        assert!((100..1000).step_by(28).any(|open| hoarder.descriptors(open, open + 28, 1024).is_err()));
    }

    #[test]
    fn objects_are_counted_now_and_then() {
        let now = Instant::now();
        let mut quota = Quota::new(now);
        let counts = (0..1024).filter(|_| quota.request(now).unwrap()).count();
        assert_eq!(counts, 4);
        assert!(quota.objects(MAX_OBJECTS, MAX_REGISTRIES).is_ok());
        assert_eq!(quota.objects(MAX_OBJECTS + 1, 0), Err(Excess::Objects));
        assert_eq!(quota.objects(1, MAX_REGISTRIES + 1), Err(Excess::Registries));
    }
}
