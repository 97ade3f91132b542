//! QEMU's machine protocol as a played guest speaks it: enough for phyllome-guest, and every input event as a line on
//! the serial port.
//!
//! The peer is the phyllome-guest under test. What it sends that is no command of this small set is refused as QEMU
//! would.

use super::{News, ToDisplay, Wires, keys};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

/// The connection's writing side; cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Mutex<UnixStream>>);

impl Monitor {
    /// Tells an event.
    pub fn event(&self, name: &str, data: Value) {
        self.send(&json!({ "event": name, "data": data, "timestamp": { "seconds": 0, "microseconds": 0 } }));
    }

    fn send(&self, message: &Value) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A supervisor that is gone is noticed by the reader.
        let _ = stream.write_all(format!("{message}\r\n").as_bytes());
    }
}

/// Greets and serves commands on a thread of its own until the connection is closed.
pub fn serve(stream: UnixStream, wires: Wires) -> std::io::Result<Monitor> {
    let monitor = Monitor(Arc::new(Mutex::new(stream.try_clone()?)));
    let mut commands = Commands::new(wires);
    let answers = monitor.clone();
    std::thread::spawn(move || {
        let version = json!({ "qemu": { "major": 10, "minor": 0, "micro": 2 }, "package": "played" });
        answers.send(&json!({ "QMP": { "version": version, "capabilities": [] } }));
        let mut unread = Vec::new();
        while let Ok(1..) = receive(&stream, &mut unread, &mut commands.received) {
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let Ok(request) = serde_json::from_slice::<Value>(&line) else { continue };
                for message in commands.execute(&request) {
                    answers.send(&message);
                }
                if let Some(news) = commands.news.take() {
                    let _ = commands.wires.news.send(news);
                }
            }
        }
        let _ = commands.wires.news.send(News::Closed);
    });
    Ok(monitor)
}

fn receive(stream: &UnixStream, bytes: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) -> rustix::io::Result<usize> {
    let mut chunk = [0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut chunk)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.extend_from_slice(chunk.get(..got.bytes).unwrap_or_default());
    Ok(got.bytes)
}

/// What the commands act upon.
struct Commands {
    wires: Wires,
    running: bool,
    lights: u32,
    typist: keys::Typist,
    /// Descriptors that came and have no name yet.
    received: Vec<OwnedFd>,
    named: HashMap<String, OwnedFd>,
    /// What the driver is to be told once the answer is out.
    news: Option<News>,
}

impl Commands {
    fn new(wires: Wires) -> Self {
        let (named, typist) = (HashMap::new(), keys::Typist::default());
        Self { wires, running: true, lights: 0, typist, received: Vec::new(), named, news: None }
    }

    /// Carries a command out; the events and the answer, in their order.
    fn execute(&mut self, request: &Value) -> Vec<Value> {
        let argument = |key: &str| request["arguments"][key].as_str().unwrap_or_default().to_owned();
        let mut messages = Vec::new();
        let event = |name: &str| json!({ "event": name, "timestamp": { "seconds": 0, "microseconds": 0 } });
        let result = match request["execute"].as_str().unwrap_or_default() {
            "qmp_capabilities" => Ok(json!({})),
            "query-status" => {
                let word = if self.running { "running" } else { "paused" };
                Ok(json!({ "status": word, "running": self.running }))
            }
            "query-kvm" => Ok(json!({ "enabled": false, "present": false })),
            "stop" | "cont" => {
                let running = request["execute"] == "cont";
                if std::mem::replace(&mut self.running, running) != running {
                    messages.push(event(if running { "RESUME" } else { "STOP" }));
                    self.news = Some(if running { News::Continue } else { News::Stop });
                }
                Ok(json!({}))
            }
            "quit" => {
                self.news = Some(News::Quit);
                Ok(json!({}))
            }
            "system_powerdown" => {
                messages.push(event("POWERDOWN"));
                self.news = Some(News::PowerButton);
                Ok(json!({}))
            }
            "system_reset" => {
                self.news = Some(News::Reset);
                Ok(json!({}))
            }
            "input-send-event" => {
                for input in request["arguments"]["events"].as_array().into_iter().flatten() {
                    self.input(input);
                }
                Ok(json!({}))
            }
            "getfd" => match self.received.pop() {
                Some(fd) => {
                    self.named.insert(argument("fdname"), fd);
                    Ok(json!({}))
                }
                None => Err("No file descriptor supplied via SCM_RIGHTS".to_owned()),
            },
            "closefd" => {
                self.named.remove(&argument("fdname"));
                Ok(json!({}))
            }
            "add_client" => match (argument("protocol").as_str(), self.named.remove(&argument("fdname"))) {
                ("@dbus-display", Some(fd)) => match self.wires.display.send(ToDisplay::Client(fd)) {
                    Ok(()) => Ok(json!({})),
                    Err(_) => Err("this machine was started without a D-Bus display".to_owned()),
                },
                _ => Err("there is no such display or no such descriptor".to_owned()),
            },
            other => Err(format!("The command {other} has not been found")),
        };
        let mut answer = match result {
            Ok(value) => json!({ "return": value }),
            Err(why) => json!({ "error": { "class": "GenericError", "desc": why } }),
        };
        answer["id"] = request["id"].clone();
        messages.push(answer);
        messages
    }

    fn input(&mut self, event: &Value) {
        let data = &event["data"];
        let down = data["down"] == true;
        let line = match event["type"].as_str().unwrap_or_default() {
            "key" => {
                let word = data["key"]["data"].as_str().unwrap_or_default();
                if let Some(typed) = self.typist.key(word, down) {
                    self.wires.serial.line(&format!("TYPED: {typed}"));
                }
                let light = keys::light(word);
                if down && light != 0 {
                    self.lights ^= light;
                    let _ = self.wires.display.send(ToDisplay::Leds(self.lights));
                }
                keys::code(word).map(|code| format!("EV key {code} {}", u8::from(down)))
            }
            "btn" => keys::button_line(data["button"].as_str().unwrap_or_default(), down),
            "abs" => Some(format!("EV abs {} {}", u8::from(data["axis"] == "y"), data["value"])),
            _ => None,
        };
        if let Some(line) = line {
            self.wires.serial.line(&line);
        }
    }
}

#[cfg(test)]
fn wires() -> (Wires, std::sync::mpsc::Receiver<News>, std::fs::File) {
    let file = tempfile::tempfile().expect("a temporary file can be made");
    let (news, told) = std::sync::mpsc::channel();
    let display = tokio::sync::mpsc::unbounded_channel().0;
    let serial = super::Serial::new(file.try_clone().expect("a descriptor can be copied"));
    (Wires { news, display, serial }, told, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Seek};

    #[test]
    fn a_supervisor_is_answered_and_its_keys_are_lines() {
        let (wires, told, mut serial) = wires();
        let (here, there) = UnixStream::pair().unwrap();
        let _monitor = serve(there, wires).unwrap();
        let mut lines = BufReader::new(here.try_clone().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        assert!(next()["QMP"].is_object());
        let key =
            |down: bool| json!({ "type": "key", "data": { "down": down, "key": { "type": "qcode", "data": "a" } } });
        let say = |command: Value| (&here).write_all(format!("{command}\n").as_bytes()).unwrap();
        say(json!({ "execute": "input-send-event", "arguments": { "events": [key(true), key(false)] }, "id": 7 }));
        assert_eq!(next(), json!({ "return": {}, "id": 7 }));
        say(json!({ "execute": "stop", "id": 8 }));
        assert_eq!([next()["event"].clone(), next()["id"].clone()], [json!("STOP"), json!(8)]);
        assert!(matches!(told.recv().unwrap(), News::Stop));
        say(json!({ "execute": "getfd", "arguments": { "fdname": "x" }, "id": 9 }));
        assert!(next()["error"]["desc"].is_string());
        let mut text = String::new();
        serial.rewind().unwrap();
        serial.read_to_string(&mut text).unwrap();
        assert_eq!(text, "EV key 30 1\nEV key 30 0\n");
    }
}
