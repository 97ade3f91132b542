//! The outside end of the agent's port: requests from any thread, answers by their id.

use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

#[path = "../agent/wire.rs"]
#[allow(dead_code, reason = "the agent uses all of it")]
pub(crate) mod wire;

type Fields = Vec<Vec<u8>>;
type Waiting = Arc<Mutex<HashMap<Vec<u8>, mpsc::Sender<Fields>>>>;

/// A connection to the agent.
pub struct Agent {
    stream: Mutex<Box<dyn Write + Send>>,
    waiting: Waiting,
    next: AtomicU64,
    ready: Mutex<mpsc::Receiver<Fields>>,
}

impl Agent {
    /// Connects to QEMU's end of the port; the agent itself may come later.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("cannot reach {}", socket.display()))?;
        let answers = stream.try_clone()?;
        Ok(Self::over(answers, Box::new(stream)))
    }

    /// An agent at the other end of a stream.
    pub fn over(mut answers: impl Read + Send + 'static, stream: Box<dyn Write + Send>) -> Self {
        let waiting = Waiting::default();
        let (sender, ready) = mpsc::channel();
        lock(&waiting).insert(b"0".to_vec(), sender);
        let others = waiting.clone();
        std::thread::spawn(move || {
            while let Ok(mut answer) = wire::read(&mut answers) {
                if answer.is_empty() {
                    continue;
                }
                let id = answer.remove(0);
                if let Some(sender) = lock(&others).remove(&id) {
                    let _ = sender.send(answer);
                }
            }
            // Dropping the senders tells all who wait.
            lock(&others).clear();
        });
        Self { stream: Mutex::new(stream), waiting, next: AtomicU64::new(1), ready: Mutex::new(ready) }
    }

    /// Whether the agent has said that it listens, within this time. Once only.
    pub fn is_ready(&self, limit: Duration) -> bool {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(limit).is_ok()
    }

    /// Asks and waits for the answer's values. An error is the agent's own word, or that none came in time.
    pub fn ask(&self, request: &[&[u8]], limit: Duration) -> Result<Fields> {
        let verb = String::from_utf8_lossy(request.first().copied().unwrap_or_default()).into_owned();
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string().into_bytes();
        let (sender, answer) = mpsc::channel();
        lock(&self.waiting).insert(id.clone(), sender);
        {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            wire::write(&mut **stream, &[&[id.as_slice()][..], request].concat()).context("the machine is gone")?;
        }
        let mut fields = match answer.recv_timeout(limit) {
            Ok(fields) => fields,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                lock(&self.waiting).remove(&id);
                bail!("the machine did not answer “{verb}” within {limit:?}")
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the machine is gone"),
        };
        if fields.is_empty() {
            bail!("the machine's answer to “{verb}” is empty");
        }
        let verdict = fields.remove(0);
        if verdict == b"ok" {
            return Ok(fields);
        }
        let words: Vec<_> = fields.iter().map(|field| String::from_utf8_lossy(field)).collect();
        bail!("{}", words.join(" "))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
