//! The text console that the session was started on: its modes are remembered and, at the end, put back if they differ.
//!
//! seatd and logind do this when a shell goes away, even by SIGKILL; this is for what they miss, so that nobody is left
//! before a dead screen. While the shell is away after a crash the console has the keyboard: what is typed then is not
//! shown, and is thrown away at the end, since it was meant for a guest. Without a console of its own it does nothing.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// linux/kd.h and linux/vt.h.
const KDSETMODE: libc::Ioctl = 0x4B3A;
const KDGETMODE: libc::Ioctl = 0x4B3B;
const KDGKBMODE: libc::Ioctl = 0x4B44;
const KDSKBMODE: libc::Ioctl = 0x4B45;
const VT_GETMODE: libc::Ioctl = 0x5601;
const VT_SETMODE: libc::Ioctl = 0x5602;

/// `struct vt_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct VtMode {
    mode: libc::c_char,
    waitv: libc::c_char,
    relsig: libc::c_short,
    acqsig: libc::c_short,
    frsig: libc::c_short,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    /// Text or graphics.
    screen: libc::c_int,
    keyboard: libc::c_int,
    /// Who decides about switching away.
    switching: VtMode,
}

/// How lines are edited and shown.
type Line = libc::termios;

/// The console and how it was.
pub struct Console {
    terminal: File,
    before: Modes,
    line: Line,
}

impl Console {
    /// The controlling terminal, if it is a virtual console. It no longer shows what is typed on it.
    pub fn remember() -> Option<Self> {
        let terminal = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty").ok()?;
        let before = modes(&terminal).ok()?;
        let line = line(&terminal).ok()?;
        // Nor does Ctrl+C, Ctrl+\ or Ctrl+Z that was meant for a guest reach the session while the shell is away.
        let quiet = Line { c_lflag: line.c_lflag & !(libc::ECHO | libc::ISIG | libc::ICANON), ..line };
        set_line(&terminal, &quiet);
        Some(Self { terminal, before, line })
    }

    /// Puts the console's modes back where they differ.
    pub fn restore(&self) {
        set_line(&self.terminal, &self.line);
        let Ok(now) = modes(&self.terminal) else { return };
        let Modes { screen, keyboard, switching } = self.before;
        if now.switching != switching {
            // SAFETY: the kernel reads one `vt_mode` from the pointer, which is to a live one.
            let _ = unsafe { libc::ioctl(self.terminal.as_raw_fd(), VT_SETMODE, &raw const switching) };
        }
        if now.keyboard != keyboard {
            // SAFETY: this request takes its argument by value.
            let _ = unsafe { libc::ioctl(self.terminal.as_raw_fd(), KDSKBMODE, libc::c_long::from(keyboard)) };
        }
        if now.screen != screen {
            // SAFETY: this request takes its argument by value.
            let _ = unsafe { libc::ioctl(self.terminal.as_raw_fd(), KDSETMODE, libc::c_long::from(screen)) };
        }
    }
}

fn line(terminal: &File) -> Result<Line> {
    let mut line = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to a `termios`, which the call fills in.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), line.as_mut_ptr()) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the call succeeded, so all of it is filled in.
    Ok(unsafe { line.assume_init() })
}

/// Throws away what was typed and not read.
fn set_line(terminal: &File, line: &Line) {
    // SAFETY: the pointer is to a live `termios`, which the call only reads.
    let _ = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, line) };
}

fn modes(terminal: &File) -> Result<Modes> {
    let fd = terminal.as_raw_fd();
    let (mut screen, mut keyboard, mut switching) = (0, 0, VtMode::default());
    // SAFETY: the kernel writes one int to each of the first two pointers and one `vt_mode`, whose layout is the C one,
    // to the third; all are to live values.
    let failed = unsafe {
        libc::ioctl(fd, KDGETMODE, &raw mut screen) < 0
            || libc::ioctl(fd, KDGKBMODE, &raw mut keyboard) < 0
            || libc::ioctl(fd, VT_GETMODE, &raw mut switching) < 0
    };
    if failed { Err(Error::last_os_error()) } else { Ok(Modes { screen, keyboard, switching }) }
}
