//! A device on a socketpair: how it begins, answers and ends. What QEMU says beyond that is played by the hostile
//! frontend.

use super::*;
use crate::frames::TO_SCREEN_DEPTH;
use crate::gpu::requests::FEATURES;
use std::io::{Read, Write};
use std::time::Duration;

/// GET_FEATURES: request 1, version 1, no body.
const GET_FEATURES: [u8; 12] = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

struct Peer {
    device: DeviceHandle,
    socket: UnixStream,
    screen: tokio::sync::mpsc::Receiver<ToScreen>,
}

fn start() -> Peer {
    start_with(DeviceConfig::default())
}

fn start_with(config: DeviceConfig) -> Peer {
    let (ours, socket) = UnixStream::pair().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (to_screen, screen) = tokio::sync::mpsc::channel(TO_SCREEN_DEPTH);
    let device = spawn(config, None, ours, to_screen, SharedGpuReport::default()).unwrap();
    Peer { device, socket, screen }
}

fn features(socket: &mut UnixStream) -> u64 {
    socket.write_all(&GET_FEATURES).unwrap();
    let mut reply = [0; 20];
    socket.read_exact(&mut reply).unwrap();
    u64::from_le_bytes(reply[12..].try_into().unwrap())
}

fn is_closed(socket: &mut UnixStream) -> bool {
    matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[tokio::test]
async fn a_peer_that_hangs_up_ends_the_device_and_its_channel() {
    let Peer { mut device, mut socket, mut screen } = start();
    assert_eq!(features(&mut socket), FEATURES);
    drop(socket);
    assert_eq!(device.ended().await, DeviceEnd::HungUp);
    assert_eq!(device.ended().await, DeviceEnd::HungUp, "asked again");
    while screen.recv().await.is_some() {}
    device.sender().send(ToDevice::Attached(true));
    assert_eq!(device.shutdown(), DeviceEnd::HungUp);
}

#[test]
fn a_shutdown_ends_a_device_that_waits_for_the_rest_of_a_message() {
    let Peer { device, mut socket, .. } = start();
    assert_eq!(features(&mut socket), FEATURES);
    socket.write_all(&GET_FEATURES[..5]).unwrap();
    assert_eq!(device.shutdown(), DeviceEnd::ShutDown);
    assert!(is_closed(&mut socket));
}

#[test]
fn a_dropped_handle_leaves_no_thread_behind() {
    let Peer { device, mut socket, mut screen } = start();
    drop(device);
    assert!(is_closed(&mut socket));
    while let Ok(message) = screen.try_recv() {
        assert!(matches!(message, ToScreen::Reset));
    }
    assert!(screen.is_closed());
}

#[tokio::test]
async fn a_peer_that_does_not_speak_vhost_user_is_a_failure_with_a_reason() {
    let Peer { mut device, mut socket, .. } = start();
    socket.write_all(&[0xff; 64]).unwrap();
    let DeviceEnd::Failed(reason) = device.ended().await else { panic!("it went on") };
    assert!(reason.contains("vhost-user"), "{reason}");
}

/// QEMU 11.1 ends if it is told of a new configuration while no driver has the device, for instance while firmware
/// runs.
#[test]
fn qemu_is_told_nothing_of_the_configuration_while_no_driver_has_the_device() {
    let config = DeviceConfig { transport: Transport::Generic, ..DeviceConfig::default() };
    let Peer { device, mut socket, .. } = start_with(config);
    let offered = features(&mut socket);
    let (ours, channel) = UnixStream::pair().unwrap();
    channel.set_nonblocking(true).unwrap();
    // SET_FEATURES and SET_PROTOCOL_FEATURES (BACKEND_REQ, BACKEND_SEND_FD), then SET_BACKEND_REQ_FD.
    let with_number = |request: u32, number: u64| {
        let header = [request, 1, 8].map(u32::to_le_bytes).concat();
        [header, number.to_le_bytes().to_vec()].concat()
    };
    socket.write_all(&with_number(2, offered)).unwrap();
    socket.write_all(&with_number(16, 1 << 5 | 1 << 10)).unwrap();
    let header = [SET_BACKEND_REQ_FD, 1, 0].map(u32::to_le_bytes).concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    let files = [std::os::fd::AsFd::as_fd(&ours)];
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&files)));
    let parts = [io::IoSlice::new(&header)];
    rustix::net::sendmsg(&socket, &parts, &mut control, rustix::net::SendFlags::empty()).unwrap();
    drop(ours);
    features(&mut socket);

    let id = phyllome_protocol::ScanoutId::new(0).unwrap();
    let mode =
        crate::frames::PreferredMode { width: 1000, height: 700, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
    device.sender().send(ToDevice::Mode { id, mode });
    // It answers in the same round at the earliest, and once more in a later one.
    assert_eq!((features(&mut socket), features(&mut socket)), (offered, offered));
    let mut byte = [0];
    let heard = (&channel).read(&mut byte).map_err(|error| error.kind());
    assert_eq!(heard, Err(io::ErrorKind::WouldBlock), "it is open, and nothing was said");
    assert_eq!(device.shutdown(), DeviceEnd::ShutDown);
}
