//! `phyllome`, the command-line tool: asks the shell on its socket, or looks at logs and host without one.
//!
//! Exit codes: 0 done, 1 refused (one line of reason on standard error), 2 wrong usage, 3 no shell is running.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod arguments;
mod connection;
mod doctor;
mod logs;
mod show;

use arguments::{Arguments, GuestCommand, InputCommand, PanelState, PressOrRelease, ToolCommand};
use clap::Parser;
use connection::Connection;
use phyllome_protocol::complain;
use phyllome_protocol::shell::{CaptureTarget, Command, Event, Reply, TestInput};
use phyllome_protocol::status::Status;
use std::io::Write;
use std::process::ExitCode;

/// Why the tool ends with something else than 0.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: one sentence.
    Refused(String),
    /// Exit code 3: one sentence.
    NoShell(String),
}

impl Failure {
    /// Refused, with this sentence.
    pub fn refused(sentence: impl std::fmt::Display) -> Self {
        Self::Refused(sentence.to_string())
    }
}

fn main() -> ExitCode {
    // clap ends the process itself: 0 for help, 2 for wrong usage.
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            let (sentence, code) = match failure {
                Failure::Refused(sentence) => (sentence, 1),
                Failure::NoShell(sentence) => (sentence, 3),
            };
            let line = sentence.replace(['\n', '\r'], " ");
            if arguments.json {
                print_line(&serde_json::json!({ "done": false, "reason": line }).to_string());
            }
            complain(format_args!("phyllome: {line}"));
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let json = arguments.json;
    let shell = || Connection::open(arguments.socket.as_deref());
    let plain = |command: Command| {
        shell()?.ask(&command)?;
        done(json)
    };
    match arguments.command.clone() {
        ToolCommand::Status => {
            let status = status(&mut shell()?)?;
            print_line((if json { to_json(&status)? } else { show::status(&status) }).trim_end());
        }
        ToolCommand::List => {
            let guests = status(&mut shell()?)?.guests;
            print_line((if json { to_json(&guests)? } else { show::guests(&guests) }).trim_end());
        }
        ToolCommand::Events => events(&mut shell()?, json)?,
        ToolCommand::Guest(GuestCommand { verb, name }) => plain(Command::Guest { verb, name })?,
        ToolCommand::PauseAll => plain(Command::PauseAll)?,
        ToolCommand::ResumeAll => plain(Command::ResumeAll)?,
        ToolCommand::Switch { name } => plain(Command::Switch { name })?,
        ToolCommand::Panel { state } => plain(Command::Panel { show: state == PanelState::Show })?,
        ToolCommand::Screenshot { file, output, guest } => {
            let target = match (output, guest) {
                (Some(output), _) => CaptureTarget::Output(output),
                (None, Some(guest)) => CaptureTarget::Guest(guest),
                (None, None) => CaptureTarget::Default,
            };
            shell()?.screenshot(&target, &file)?;
            done(json)?;
        }
        ToolCommand::SendKeys { name, keys } => plain(Command::SendKeys { name, keys: keys.0 })?,
        ToolCommand::Input { input } => plain(Command::Input { input: test_input(input) })?,
        ToolCommand::Logs { name, lines } => logs::print(&name, lines, json)?,
        ToolCommand::Doctor { gpu: false } => return doctor::print(json),
        ToolCommand::Doctor { gpu: true } => return doctor::print_gpu(json),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(shell: &mut Connection) -> Result<Box<Status>, Failure> {
    match shell.ask(&Command::Status)? {
        Reply::Status(status) => Ok(status),
        Reply::Done | Reply::Refused { .. } | Reply::Screenshot { .. } => {
            Err(Failure::refused("the shell did not answer with its status; install both from the same release"))
        }
    }
}

fn test_input(input: InputCommand) -> TestInput {
    match input {
        InputCommand::Key { key, action: PressOrRelease::Press } => TestInput::KeyPress { key },
        InputCommand::Key { key, action: PressOrRelease::Release } => TestInput::KeyRelease { key },
        InputCommand::Tap { keys } => TestInput::Tap { keys: keys.0 },
        InputCommand::Type { text } => TestInput::Type { text },
        InputCommand::Move { x, y } => TestInput::Move { x, y },
        InputCommand::Button { button, action: PressOrRelease::Press } => TestInput::ButtonPress { button },
        InputCommand::Button { button, action: PressOrRelease::Release } => TestInput::ButtonRelease { button },
        InputCommand::Wheel { notches } => TestInput::Wheel { notches },
    }
}

fn events(shell: &mut Connection, json: bool) -> Result<(), Failure> {
    shell.ask(&Command::Events)?;
    loop {
        let event: Event = shell.next_event()?;
        let line = if json { serde_json::to_string(&event).map_err(Failure::refused)? } else { show::event(&event) };
        // Whoever reads the events may stop at any time.
        if !print_line(&line) {
            return Ok(());
        }
    }
}

fn done(json: bool) -> Result<(), Failure> {
    if json {
        print_line(r#"{"done":true}"#);
    }
    Ok(())
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::refused)
}

/// Prints a line at once; `false` if nobody reads any more.
pub fn print_line(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}
