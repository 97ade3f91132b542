//! The vhost-user side of the device.

use super::DeviceConfig;
use crate::frames::{SharedGpuReport, ToDevice, ToScreen};
use std::io;
use std::os::unix::net::UnixStream;

/// Why a device ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEnd {
    /// QEMU closed its end: it has ended.
    HungUp,
    /// [`DeviceHandle::shutdown`] was called.
    ShutDown,
    /// QEMU sent what the protocol does not allow, or the host failed; one sentence.
    Failed(String),
}

/// Takes [`ToDevice`] messages and wakes the device for them. Cheap to clone; messages to a device that has ended go nowhere.
#[derive(Clone, Debug)]
pub struct DeviceSender {}

impl DeviceSender {
    /// Hands `message` to the device. Never blocks.
    pub fn send(&self, message: ToDevice) {
        let _ = message;
    }

    /// The machine was reset (QMP event `RESET`): if no driver has the device now, its resources are freed and the screens
    /// go dark at once instead of at the next driver's start.
    pub fn machine_reset(&self) {}
}

/// A running device. Dropping it shuts it down and waits for its thread.
#[derive(Debug)]
pub struct DeviceHandle {}

impl DeviceHandle {
    /// Where messages to the device go.
    pub fn sender(&self) -> DeviceSender {
        DeviceSender {}
    }

    /// Waits until the device has ended by itself. Cancel-safe; needs no particular runtime.
    pub async fn ended(&mut self) -> DeviceEnd {
        std::future::pending().await
    }

    /// Ends the device and waits for its thread: a few milliseconds. Every descriptor is closed afterwards.
    pub fn shutdown(self) -> DeviceEnd {
        DeviceEnd::ShutDown
    }
}

/// Starts a device on `socket`, our end of a vhost-user connection (QEMU has the other).
///
/// `to_screen` is a channel of [`crate::frames::TO_SCREEN_DEPTH`]; the device never waits for it.
/// Fails where the host gives no thread, eventfd, timerfd or epoll.
pub fn spawn(
    config: DeviceConfig,
    socket: UnixStream,
    to_screen: tokio::sync::mpsc::Sender<ToScreen>,
    report: SharedGpuReport,
) -> io::Result<DeviceHandle> {
    let _ = (config, socket, to_screen, report);
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
