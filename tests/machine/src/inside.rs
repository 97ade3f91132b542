//! Programs and files inside a computer whose agent answers: the machine, or a guest of the shell.

use crate::agent::Agent;
use crate::program::{Output, Program};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::time::Duration;

/// The longest that what takes no time may take on a busy computer.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A computer with its agent. Its users are `root` and `person`.
pub struct Inside {
    pub(crate) agent: Arc<Agent>,
    /// What errors call it.
    pub(crate) place: &'static str,
}

impl Inside {
    /// Runs a program to its end, for at most a minute.
    pub fn run(&self, program: &Program) -> Result<Output> {
        self.run_within(program, SOON)
    }

    /// Runs a program to its end. Past the limit it is an error and the program goes on.
    pub fn run_within(&self, program: &Program, limit: Duration) -> Result<Output> {
        let answer = self.ask(&program.request("run", "", ""), limit)?;
        let text =
            |at: usize| answer.get(at).map(|f| String::from_utf8_lossy(f).into_owned()).context("half an answer");
        Ok(Output { status: text(0)?.parse()?, stdout: text(1)?, stderr: text(2)? })
    }

    /// Runs a script for `/bin/sh` as user `person`; gives what it prints, or an error if it does not end with 0.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.run(&Program::script(script))?.ok().with_context(|| format!("`{script}` in the {}", self.place))
    }

    /// The same as root.
    pub fn root(&self, script: &str) -> Result<String> {
        self.run(&Program::script(script).user("root"))?
            .ok()
            .with_context(|| format!("`{script}` in the {}", self.place))
    }

    /// A file's content.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut answer = self.ask(&[b"read".to_vec(), path.as_bytes().to_vec()], SOON)?;
        ensure!(!answer.is_empty(), "the answer for {path} is empty");
        Ok(answer.remove(0))
    }

    /// A file's text without the white space at its ends.
    pub fn read_text(&self, path: &str) -> Result<String> {
        let content = self.read(path).with_context(|| format!("{path} in the {}", self.place))?;
        Ok(String::from_utf8_lossy(&content).trim().to_owned())
    }

    /// Writes a file as root, with this mode.
    pub fn write(&self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mode = format!("{mode:o}");
        let request = [b"write".as_slice(), path.as_bytes(), mode.as_bytes(), content];
        self.agent.ask(&request, SOON).with_context(|| format!("{path} in the {}", self.place)).map(drop)
    }

    pub(crate) fn ask(&self, request: &[Vec<u8>], limit: Duration) -> Result<Vec<Vec<u8>>> {
        let fields: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        self.agent.ask(&fields, limit)
    }
}
