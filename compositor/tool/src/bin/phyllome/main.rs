//! `phyllome`, the command-line tool: asks the shell on its socket, or looks at logs and host without one.
//!
//! Exit codes: 0 done, 1 refused (one line of reason on standard error), 2 wrong usage, 3 no shell is running.

mod arguments;
mod connection;
mod doctor;
mod logs;
mod show;

use arguments::{Arguments, InputCommand, PanelState, PressOrRelease, ToolCommand};
use clap::Parser;
use connection::Connection;
use phyllome_protocol::shell::{CaptureTarget, Command, Event, Reply, TestInput};
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
            eprintln!("phyllome: {line}");
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        ToolCommand::Logs { name, lines } => logs::print(name, *lines, arguments.json)?,
        ToolCommand::Doctor => return doctor::print(arguments.json),
        command => ask_the_shell(command, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn ask_the_shell(command: &ToolCommand, arguments: &Arguments) -> Result<(), Failure> {
    let mut shell = Connection::open(arguments.socket.as_deref())?;
    match command {
        ToolCommand::Status | ToolCommand::List => {
            let Reply::Status(status) = shell.ask(&Command::Status)? else {
                return Err(Failure::refused("the shell did not answer with its status"));
            };
            let text = match (command, arguments.json) {
                (ToolCommand::List, true) => to_json(&status.guests)?,
                (ToolCommand::List, false) => show::guests(&status.guests),
                (_, true) => to_json(&status)?,
                (_, false) => show::status(&status),
            };
            print_line(text.trim_end());
            Ok(())
        }
        ToolCommand::Events => events(&mut shell, arguments.json),
        ToolCommand::Screenshot { file, output, guest } => {
            let target = match (output, guest) {
                (Some(output), _) => CaptureTarget::Output(output.clone()),
                (None, Some(guest)) => CaptureTarget::Guest(guest.clone()),
                (None, None) => CaptureTarget::Default,
            };
            shell.screenshot(&target, file)?;
            done(arguments.json)
        }
        other => {
            if let Some(command) = plain_command(other) {
                shell.ask(&command)?;
            }
            done(arguments.json)
        }
    }
}

/// The commands that are answered with done or refused.
fn plain_command(command: &ToolCommand) -> Option<Command> {
    Some(match command.clone() {
        ToolCommand::Start { name } => Command::Start { name },
        ToolCommand::Shutdown { name } => Command::Shutdown { name },
        ToolCommand::Kill { name } => Command::Kill { name },
        ToolCommand::Restart { name } => Command::Restart { name },
        ToolCommand::Pause { name } => Command::Pause { name },
        ToolCommand::Resume { name } => Command::Resume { name },
        ToolCommand::PauseAll => Command::PauseAll,
        ToolCommand::ResumeAll => Command::ResumeAll,
        ToolCommand::Switch { name } => Command::Switch { name },
        ToolCommand::Panel { state } => Command::Panel { show: state == PanelState::Show },
        ToolCommand::SendKeys { name, keys } => Command::SendKeys { name, keys: keys.0 },
        ToolCommand::Input { input } => Command::Input { input: test_input(input) },
        ToolCommand::Status
        | ToolCommand::List
        | ToolCommand::Events
        | ToolCommand::Screenshot { .. }
        | ToolCommand::Logs { .. }
        | ToolCommand::Doctor => return None,
    })
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
