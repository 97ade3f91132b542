//! QEMU's D-Bus display as a played guest serves it: the sizes of its consoles, and the lights of its keyboard.
//!
//! The names are those of QEMU's `org.qemu.Display1`. Connections are peer to peer; QEMU's side is the server.

use super::{News, ToDisplay};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use zbus::{Connection, connection, interface};

/// What a size was set to: width and height in millimetres, offset, width and height in pixels.
type UiInfo = (u16, u16, i32, i32, u32, u32);

struct Console {
    news: Sender<News>,
    last: Option<UiInfo>,
}

#[interface(name = "org.qemu.Display1.Console")]
impl Console {
    #[zbus(name = "SetUIInfo")]
    fn set_ui_info(&mut self, width_mm: u16, height_mm: u16, x: i32, y: i32, width: u32, height: u32) {
        let info = (width_mm, height_mm, x, y, width, height);
        // As QEMU does: what changes nothing is no event.
        if self.last.replace(info) != Some(info) {
            let _ = self.news.send(News::DisplayEvent);
        }
    }
}

struct Keyboard {
    modifiers: u32,
}

#[interface(name = "org.qemu.Display1.Keyboard")]
impl Keyboard {
    #[zbus(property)]
    fn modifiers(&self) -> u32 {
        self.modifiers
    }
}

/// Serves clients on a thread of its own for as long as anybody can send to `orders`.
pub fn serve(mut orders: UnboundedReceiver<ToDisplay>, scanouts: u32, news: Sender<News>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let mut clients: Vec<Connection> = Vec::new();
            let mut lights = 0;
            while let Some(order) = orders.recv().await {
                match order {
                    ToDisplay::Client(fd) => match client(fd.into(), scanouts, lights, &news).await {
                        Ok(client) => clients.push(client),
                        Err(error) => eprintln!("a client of the D-Bus display is not served: {error}"),
                    },
                    ToDisplay::Leds(new) => {
                        lights = new;
                        for client in &clients {
                            if let Err(error) = tell_lights(client, lights).await {
                                eprintln!("the lights are not told: {error}");
                            }
                        }
                    }
                }
            }
        });
    });
    Ok(())
}

fn console_path(id: u32) -> String {
    format!("/org/qemu/Display1/Console_{id}")
}

async fn client(stream: UnixStream, scanouts: u32, lights: u32, news: &Sender<News>) -> anyhow::Result<Connection> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let mut builder = connection::Builder::unix_stream(stream).server(zbus::Guid::generate())?.p2p();
    for id in 0..scanouts {
        builder = builder.serve_at(console_path(id), Console { news: news.clone(), last: None })?;
        builder = builder.serve_at(console_path(id), Keyboard { modifiers: lights })?;
    }
    Ok(builder.build().await?)
}

async fn tell_lights(client: &Connection, lights: u32) -> zbus::Result<()> {
    let keyboard = client.object_server().interface::<_, Keyboard>(console_path(0)).await?;
    keyboard.get_mut().await.modifiers = lights;
    keyboard.get().await.modifiers_changed(keyboard.signal_emitter()).await
}
