//! Programs inside the machine: how they are started, and what becomes of them.

use crate::agent::Agent;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A command line with its surroundings. The environment is that of a login: PATH, HOME, USER, SHELL, XDG_RUNTIME_DIR,
/// LANG.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<String>,
    user: String,
    folder: String,
    terminal: String,
    variables: Vec<String>,
}

impl Program {
    /// A program of this name with these arguments, run by user `person` in its home folder, without a terminal.
    pub fn new(name: &str, arguments: &[&str]) -> Self {
        Self {
            words: std::iter::once(&name).chain(arguments).map(|word| (*word).to_owned()).collect(),
            user: "person".to_owned(),
            folder: String::new(),
            terminal: String::new(),
            variables: Vec::new(),
        }
    }

    /// A script for `/bin/sh`.
    pub fn script(text: &str) -> Self {
        Self::new("/bin/sh", &["-c", text])
    }

    /// Another user: `root`.
    pub fn user(mut self, name: &str) -> Self {
        self.user = name.to_owned();
        self
    }

    /// Another folder.
    pub fn folder(mut self, path: &str) -> Self {
        self.folder = path.to_owned();
        self
    }

    /// A controlling terminal, such as `/dev/tty2`, which is also the standard input.
    pub fn terminal(mut self, path: &str) -> Self {
        self.terminal = path.to_owned();
        self
    }

    /// A variable of the environment; an empty value takes it away.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// The request to the agent, with files (paths in the machine) for standard output and error.
    pub(crate) fn request(&self, verb: &str, stdout: &str, stderr: &str) -> Vec<Vec<u8>> {
        let count = self.variables.len().to_string();
        let head = [verb, &self.user, &self.folder, &self.terminal, stdout, stderr, &count];
        let fields = head.into_iter().chain(self.variables.iter().map(String::as_str));
        fields.chain(self.words.iter().map(String::as_str)).map(|field| field.as_bytes().to_vec()).collect()
    }
}

/// What a program that has ended has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code, or 128 and the number of the signal that ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a program that has ended with 0; everything else is an error with all its words.
    pub fn ok(self) -> Result<String> {
        ensure!(self.status == 0, "ended with {}: {}{}", self.status, self.stderr, self.stdout);
        Ok(self.stdout)
    }
}

/// A program that was started and goes on.
pub struct Process {
    pub(crate) agent: Arc<Agent>,
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) log: PathBuf,
}

const SOON: Duration = Duration::from_secs(30);

impl Process {
    /// Its process id in the machine.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What it has written so far, both outputs.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal (its number) to the process.
    pub fn signal(&self, number: i32) -> Result<()> {
        self.send(self.pid, number)
    }

    /// Sends a signal to the process and to all that it has started in its session's first group.
    pub fn signal_group(&self, number: i32) -> Result<()> {
        self.send(-self.pid, number)
    }

    /// SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.signal(9)
    }

    fn send(&self, pid: i32, number: i32) -> Result<()> {
        let (pid, number) = (pid.to_string(), number.to_string());
        self.agent.ask(&[b"signal", pid.as_bytes(), number.as_bytes()], SOON).map(drop)
    }

    /// How it has ended, if it has: exit code, or 128 and the number of the signal.
    pub fn ended(&self) -> Result<Option<i32>> {
        let pid = self.pid.to_string();
        let answer = self.agent.ask(&[b"poll", pid.as_bytes()], SOON)?;
        let status = answer.first().context("no status")?;
        if status.is_empty() { Ok(None) } else { number(status).map(Some) }
    }

    /// Waits for its end.
    pub fn wait(&self, limit: Duration) -> Result<i32> {
        let pid = self.pid.to_string();
        let answer = self.agent.ask(&[b"wait", pid.as_bytes()], limit);
        let answer = answer.with_context(|| format!("{} goes on; it said: {}", self.name, self.output()))?;
        number(answer.first().context("no status")?)
    }

    /// Waits until its output holds a text, and gives all of it. An error if it ends before.
    pub fn wait_output(&self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended()?;
            let output = self.output();
            if output.contains(text) {
                return Ok(output);
            }
            if let Some(status) = ended {
                bail!("{} ended with {status} and had not said {text:?}; it said: {output}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} did not say {text:?} within {limit:?}; it said: {output}", self.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn number(text: &[u8]) -> Result<i32> {
    String::from_utf8_lossy(text).parse().context("not a status")
}
