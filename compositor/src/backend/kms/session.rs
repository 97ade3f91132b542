//! The seat: who may use display and input devices now. libseat asks seatd or logind; both open the devices and take
//! them away when another session is switched to.
//!
//! Trusts the seat daemon. Its end is an error that is returned, never a panic (smithay 0.7's own wrapper of libseat
//! panics), and what was opened through it can then only be closed.

use libseat::SeatEvent;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::backend::session::{AsErrno, Session};
use smithay::reexports::rustix::fs::OFlags;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// How long a seat may be held by a shell that has just ended.
const TAKE_OVER: Duration = Duration::from_millis(600);

/// Where seatd listens, if nothing else is said.
const SEATD: &str = "/run/seatd.sock";

/// Names the one seat daemon that libseat is to ask.
const BACKEND_VARIABLE: &str = "LIBSEAT_BACKEND";

fn seatd_socket() -> PathBuf {
    std::env::var_os("SEATD_SOCK").map_or_else(|| PathBuf::from(SEATD), PathBuf::from)
}

/// Chooses the seat daemon for all the life of the process: seatd where it answers, else systemd-logind. Left to itself
/// libseat would go on to be a seat daemon of its own, in a child of the shell and without the rights for it. What the
/// environment says already stays.
///
/// # Safety
///
/// No other thread may be there yet: the environment is changed.
pub unsafe fn choose_daemon() {
    if std::env::var_os(BACKEND_VARIABLE).is_none() {
        let daemon = if UnixStream::connect(seatd_socket()).is_ok() { "seatd" } else { "logind" };
        // SAFETY: the caller promises that no other thread reads the environment.
        unsafe { std::env::set_var(BACKEND_VARIABLE, daemon) };
    }
}

/// What the seat daemon says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatChange {
    /// LibinputDevices can be used.
    Active,
    /// Another session was switched to. To be answered with [`Seat::yield_devices`].
    Paused,
}

/// Why a device cannot be opened.
#[derive(Clone, Copy, Debug)]
pub struct SeatError(i32);

impl SeatError {
    const LOST: Self = Self(libc::ENODEV);
}

impl fmt::Display for SeatError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(formatter)
    }
}

impl AsErrno for SeatError {
    fn as_errno(&self) -> Option<i32> {
        Some(self.0)
    }
}

struct Shared {
    seat: RefCell<libseat::Seat>,
    name: String,
    active: Cell<bool>,
    devices: RefCell<HashMap<RawFd, libseat::Device>>,
    events: Rc<RefCell<VecDeque<SeatEvent>>>,
}

/// The connection to the seat daemon; dropped, all that was opened through it is closed there.
pub struct Seat {
    shared: Rc<Shared>,
}

/// Opens and closes devices for as long as the [`Seat`] is there.
#[derive(Clone)]
pub struct SeatHandle {
    shared: Weak<Shared>,
    name: String,
}

impl Seat {
    /// Asks seatd or logind for the seat. The error is a sentence to a person.
    pub fn open() -> Result<Self, String> {
        let events = Rc::new(RefCell::new(VecDeque::new()));
        let queue = events.clone();
        let opened = libseat::Seat::open(move |_, event| queue.borrow_mut().push_back(event));
        let mut seat = opened.map_err(|error| no_seat(i32::from(error)))?;
        let name = seat.name().to_owned();
        let shared = Shared {
            seat: RefCell::new(seat),
            name,
            active: Cell::new(false),
            devices: RefCell::new(HashMap::new()),
            events,
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// The same for a shell that starts: one that has just ended may hold the seat for a moment more.
    pub fn open_at_start() -> Result<Self, String> {
        let until = Instant::now() + TAKE_OVER;
        loop {
            match Self::open() {
                Err(_) if Instant::now() < until && UnixStream::connect(seatd_socket()).is_ok() => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => return other,
            }
        }
    }

    /// Waits until the session is active, for at most so long.
    pub fn wait_until_active(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.is_active() && Instant::now() < until {
            let dispatched = self.shared.seat.borrow_mut().dispatch(50);
            if dispatched.is_err() {
                return;
            }
            if matches!(self.shared.events.borrow_mut().pop_front(), Some(SeatEvent::Enable)) {
                self.shared.active.set(true);
            }
        }
    }

    /// Whether devices can be used now.
    pub fn is_active(&self) -> bool {
        self.shared.active.get()
    }

    /// The seat's name, such as `seat0`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Opens devices.
    pub fn handle(&self) -> SeatHandle {
        SeatHandle { shared: Rc::downgrade(&self.shared), name: self.shared.name.clone() }
    }

    /// Readable when there is something to [`Seat::read`].
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        let mut seat = self.shared.seat.borrow_mut();
        let descriptor = seat.get_fd().map_err(|error| io::Error::from_raw_os_error(i32::from(error)))?;
        descriptor.try_clone_to_owned()
    }

    /// What has happened since the last call. An error means that the seat daemon is gone.
    pub fn read(&self) -> Result<Vec<SeatChange>, String> {
        let dispatched = self.shared.seat.borrow_mut().dispatch(0);
        dispatched.map_err(|error| io::Error::from_raw_os_error(i32::from(error)).to_string())?;
        // libseat 0.9 does not say that its peer has closed the connection, and would be called again and again.
        if self.is_hung_up() {
            return Err("it has closed the connection".to_owned());
        }
        let events = std::mem::take(&mut *self.shared.events.borrow_mut());
        let change = |event: SeatEvent| match event {
            SeatEvent::Enable => SeatChange::Active,
            SeatEvent::Disable => SeatChange::Paused,
        };
        let changes: Vec<_> = events.into_iter().map(change).collect();
        if let Some(last) = changes.last() {
            self.shared.active.set(*last == SeatChange::Active);
        }
        Ok(changes)
    }

    fn is_hung_up(&self) -> bool {
        let mut seat = self.shared.seat.borrow_mut();
        let Ok(descriptor) = seat.get_fd() else { return true };
        let mut ask = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        let asked = poll(&mut ask, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let flags = ask.first().map_or(PollFlags::empty(), |fd| fd.revents());
        asked.is_ok() && flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }

    /// LibinputDevices are not used any more: the other session may have them.
    pub fn yield_devices(&self) {
        if let Err(error) = self.shared.seat.borrow_mut().disable() {
            tracing::warn!("the seat cannot be given away: {}", io::Error::from_raw_os_error(i32::from(error)));
        }
    }

    /// Switches to session (virtual terminal) `number`.
    pub fn switch_to(&self, number: i32) {
        if let Err(error) = self.shared.seat.borrow_mut().switch_session(number) {
            let error = io::Error::from_raw_os_error(i32::from(error));
            tracing::warn!("virtual terminal {number} cannot be switched to: {error}");
        }
    }
}

impl Session for SeatHandle {
    type Error = SeatError;

    fn open(&mut self, path: &Path, _flags: OFlags) -> Result<OwnedFd, SeatError> {
        let shared = self.shared.upgrade().ok_or(SeatError::LOST)?;
        // libseat's wrapper takes no other paths, and panics.
        if path.to_str().is_none_or(|path| path.contains('\0')) {
            return Err(SeatError(libc::EINVAL));
        }
        let opened = shared.seat.borrow_mut().open_device(&path);
        let device = opened.map_err(|error| SeatError(i32::from(error)))?;
        let number = device.as_fd().as_raw_fd();
        // SAFETY: libseat made this descriptor for its caller; neither it nor `libseat::Device` closes it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        shared.devices.borrow_mut().insert(number, device);
        Ok(descriptor)
    }

    fn close(&mut self, descriptor: OwnedFd) -> Result<(), SeatError> {
        let shared = self.shared.upgrade().ok_or(SeatError::LOST)?;
        let device = shared.devices.borrow_mut().remove(&descriptor.as_raw_fd());
        match device {
            Some(device) => {
                let closed = shared.seat.borrow_mut().close_device(device);
                closed.map_err(|error| SeatError(i32::from(error)))
            }
            None => Ok(()),
        }
    }

    fn change_vt(&mut self, number: i32) -> Result<(), SeatError> {
        let shared = self.shared.upgrade().ok_or(SeatError::LOST)?;
        let switched = shared.seat.borrow_mut().switch_session(number);
        switched.map_err(|error| SeatError(i32::from(error)))
    }

    fn is_active(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| shared.active.get())
    }

    fn seat(&self) -> String {
        self.name.clone()
    }
}

/// What a person can do about a seat that cannot be opened.
fn no_seat(errno: i32) -> String {
    let reason = io::Error::from_raw_os_error(errno);
    let socket = seatd_socket();
    match UnixStream::connect(&socket) {
        Ok(_) => {
            "no seat can be used: another session is on it; end that one, or switch to a console of your own and start \
                  there (seatd's log says more)"
                .to_owned()
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
            "no seat can be used: this user may not talk to seatd at {}; add the user to the group of that file and log in anew",
            socket.display()
        ),
        Err(_) => format!(
            "no seat can be used ({reason}); start seatd, or log in on a console or by a display manager, so that systemd-logind \
             gives one, or choose --backend headless"
        ),
    }
}
