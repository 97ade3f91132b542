//! QEMU's display played by this test: a zbus server, or raw bytes where it is hostile.

use super::*;
use crate::machine::monitors::SETTLE;
use std::collections::HashMap;
use std::io::Write;
use zbus::interface;

const LONG: Duration = Duration::from_secs(20);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, work).await.unwrap() })
}

fn mode(width: u32, refresh_mhz: u32) -> PreferredMode {
    PreferredMode { width, height: 768, refresh_mhz, width_mm: 70_000, height_mm: 200 }
}

fn modes(mode: PreferredMode) -> Modes {
    let mut modes = Modes::default();
    modes[1] = Some(mode);
    modes
}

struct Console(mpsc::UnboundedSender<(u16, u16, i32, u32, u32)>);

#[interface(name = "org.qemu.Display1.Console")]
impl Console {
    #[zbus(name = "SetUIInfo")]
    fn set_ui_info(&self, width_mm: u16, height_mm: u16, x: i32, _y: i32, width: u32, height: u32) {
        let _ = self.0.send((width_mm, height_mm, x, width, height));
    }
}

async fn start(socket: StdUnixStream, modes: watch::Receiver<Modes>) -> mpsc::Receiver<MachineEvent> {
    socket.set_nonblocking(true).unwrap();
    let messages = connection(socket).await.unwrap();
    let (events, happened) = mpsc::channel(4);
    let display = Display { generation: 7, connection: Connection::from(&messages), events, nudge: 0, failures: 0 };
    let mut modes = modes;
    tokio::spawn(async move { display.serve(messages, Monitors::default(), &mut modes).await });
    happened
}

async fn server(socket: StdUnixStream) -> (Connection, mpsc::UnboundedReceiver<(u16, u16, i32, u32, u32)>) {
    socket.set_nonblocking(true).unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let builder = zbus::connection::Builder::unix_stream(UnixStream::from_std(socket).unwrap());
    let builder = builder.server(zbus::Guid::generate()).unwrap().p2p();
    let builder = builder.serve_at("/org/qemu/Display1/Console_1", Console(told)).unwrap();
    (builder.build().await.unwrap(), heard)
}

#[test]
fn a_monitors_size_is_told_and_again_when_only_its_refresh_changes() {
    block_on(async {
        let (here, there) = StdUnixStream::pair().unwrap();
        let (sender, receiver) = watch::channel(modes(mode(800, 60_000)));
        let ((_server, mut heard), _happened) = tokio::join!(server(there), start(here, receiver));
        let first = heard.recv().await.unwrap();
        assert_eq!(first, (u16::MAX, 200, 1, 800, 768), "millimetres that do not fit are clamped");
        sender.send_replace(modes(mode(800, 75_000)));
        let second = heard.recv().await.unwrap();
        assert_eq!(second, (u16::MAX, 200, 0, 800, 768), "differs, or QEMU would take it for known");
        for width in 801..900 {
            sender.send_replace(modes(mode(width, 60_000)));
        }
        assert_eq!(heard.recv().await.unwrap().3, 899, "what changes quickly is told once");
        tokio::time::sleep(2 * SETTLE).await;
        assert!(heard.try_recv().is_err());
    });
}

#[test]
fn the_keyboards_lights_are_heard_and_nothing_else_is() {
    block_on(async {
        let (here, there) = StdUnixStream::pair().unwrap();
        let (_sender, receiver) = watch::channel(Modes::default());
        let ((server, _heard), mut happened) = tokio::join!(server(there), start(here, receiver));
        let tell = async |interface: &str, property: &str, value: Value<'_>| {
            let changed = HashMap::from([(property, value)]);
            let body = (interface, changed, Vec::<&str>::new());
            let path = "/org/qemu/Display1/Console_0";
            let properties = "org.freedesktop.DBus.Properties";
            server.emit_signal(None::<&str>, path, properties, "PropertiesChanged", &body).await.unwrap();
        };
        tell("org.qemu.Display1.Mouse", "Modifiers", Value::U32(7)).await;
        tell(KEYBOARD, "Modifiers", Value::Str("caps".into())).await;
        tell(KEYBOARD, "Other", Value::U32(7)).await;
        server.emit_signal(None::<&str>, "/x", "a.b", "PropertiesChanged", &()).await.unwrap();
        tell(KEYBOARD, "Modifiers", Value::U32(5)).await;
        match happened.recv().await {
            Some(MachineEvent::Leds(7, leds)) => assert_eq!(leds, Leds { scroll: true, num: false, caps: true }),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_message_that_is_too_long_ends_the_connection_before_room_is_made() {
    block_on(async {
        let (here, there) = StdUnixStream::pair().unwrap();
        let (_sender, receiver) = watch::channel(Modes::default());
        let mut raw = there.try_clone().unwrap();
        let ((server, _heard), mut happened) = tokio::join!(server(there), start(here, receiver));
        let mut header = vec![b'l', 4, 0, 1];
        header.extend(100_000_000u32.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        header.extend(0u32.to_le_bytes());
        raw.write_all(&header).unwrap();
        assert!(happened.recv().await.is_none(), "the display is given up");
        drop(server);
    });
}

#[test]
fn lengths_are_read_in_either_order_of_bytes() {
    let header = |order: u8, body: [u8; 4], fields: [u8; 4]| [&[order, 1, 0, 1], &body[..], &[0; 4], &fields].concat();
    assert_eq!(message_length(&header(b'l', 8u32.to_le_bytes(), 20u32.to_le_bytes())), Some(44));
    assert_eq!(message_length(&header(b'B', 8u32.to_be_bytes(), 20u32.to_be_bytes())), Some(44));
    assert_eq!(message_length(&[b'l'; 15]), None);
}
