//! QEMU's own control socket (QMP): one command after the other, each with its answer; events are passed over.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A connection that has said hello.
pub struct Qmp {
    stream: Mutex<BufReader<UnixStream>>,
}

impl Qmp {
    /// Connects and leaves the negotiation behind.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("cannot reach {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut reader = BufReader::new(stream);
        let mut greeting = String::new();
        reader.read_line(&mut greeting)?;
        let qmp = Self { stream: Mutex::new(reader) };
        qmp.call("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Calls a command and gives what it returns.
    pub fn call(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let request = json!({ "execute": command, "arguments": arguments });
        stream.get_mut().write_all(format!("{request}\n").as_bytes()).context("QEMU is gone")?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).with_context(|| format!("QEMU does not answer {command}"))? == 0 {
                bail!("QEMU is gone");
            }
            let mut answer: Value = serde_json::from_str(&line).context("QEMU's answer is not JSON")?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {}", error["desc"].as_str().unwrap_or("no reason"));
            }
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
        }
    }
}
