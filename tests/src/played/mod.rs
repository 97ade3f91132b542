//! A guest that is played: a program that phyllome-guest starts in QEMU's place, with a driver and a keyboard but no
//! machine.
//!
//! It takes QEMU's arguments, answers QMP, serves QEMU's D-Bus display and drives the real vhost-user device by
//! [`crate::frontend`], so that everything of phyllome-guest is real and only the virtual machine is not. A picture is
//! there in milliseconds, which makes it the test guest of the KMS test machine. Lines on its serial port are those of
//! the tiny guests.

pub mod display;
pub mod driver;
pub mod keys;
pub mod options;
pub mod orders;
pub mod pattern;
pub mod pointer;
pub mod qmp;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to the guest.
#[derive(Debug)]
pub enum News {
    /// QMP `stop`.
    Stop,
    /// QMP `cont`.
    Continue,
    /// QMP `system_reset`.
    Reset,
    /// QMP `system_powerdown`.
    PowerButton,
    /// QMP `quit`.
    Quit,
    /// The QMP connection is closed: the supervisor is gone.
    Closed,
    /// A display's size was set: the driver looks at its monitors again.
    DisplayEvent,
    /// A benchmark wants something measured.
    Order(orders::Order),
}

/// What the display server is told.
#[derive(Debug)]
pub enum ToDisplay {
    /// A client of the D-Bus display.
    Client(OwnedFd),
    /// The lights of the keyboard: 1 scroll, 2 num, 4 caps.
    Leds(u32),
}

/// The guest's serial port; cheap to clone.
#[derive(Clone, Debug)]
pub struct Serial(Arc<Mutex<File>>);

impl Serial {
    /// Writes to this descriptor.
    pub fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Writes one line. A port that nobody reads any more is no concern of the guest.
    pub fn line(&self, text: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(format!("{text}\n").as_bytes());
    }
}

/// Where the parts tell one another what happened.
#[derive(Clone, Debug)]
pub struct Wires {
    /// To the driver.
    pub news: Sender<News>,
    /// To the D-Bus display.
    pub display: tokio::sync::mpsc::UnboundedSender<ToDisplay>,
    /// The serial port.
    pub serial: Serial,
}
