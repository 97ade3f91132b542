//! What can be said on the command line; clap answers everything else with exit code 2.

use clap::{Parser, Subcommand, ValueEnum};
use phyllome_protocol::{GuestName, keys};
use std::path::PathBuf;

/// Talks to Phyllome Shell.
#[derive(Clone, Debug, Parser)]
#[command(name = "phyllome", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// The shell's socket, instead of $XDG_RUNTIME_DIR/phyllome/shell.sock.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: ToolCommand,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum ToolCommand {
    /// Show outputs, focus and guests.
    Status,
    /// Print what happens, one line an event, until interrupted.
    Events,
    /// List all guests.
    List,
    /// Start a guest.
    Start {
        /// Its name.
        name: GuestName,
    },
    /// Ask a guest to shut down.
    Shutdown {
        /// Its name.
        name: GuestName,
    },
    /// End a guest at once; what it has not saved is lost.
    Kill {
        /// Its name.
        name: GuestName,
    },
    /// Reset a guest, or start it if it does not run.
    Restart {
        /// Its name.
        name: GuestName,
    },
    /// Pause a guest.
    Pause {
        /// Its name.
        name: GuestName,
    },
    /// Let a paused guest run again.
    Resume {
        /// Its name.
        name: GuestName,
    },
    /// Pause every guest that runs.
    PauseAll,
    /// Let every paused guest run again.
    ResumeAll,
    /// Show a guest and give it the keyboard.
    Switch {
        /// Its name.
        name: GuestName,
    },
    /// Show or hide the list of guests.
    Panel {
        /// Which.
        state: PanelState,
    },
    /// Save a picture of an output, or of one guest without its frame.
    Screenshot {
        /// The PNG file.
        #[arg(value_name = "FILE.png")]
        file: PathBuf,
        /// Another output than the first.
        #[arg(long, value_name = "NAME", conflicts_with = "guest")]
        output: Option<String>,
        /// One guest's picture.
        #[arg(long, value_name = "NAME")]
        guest: Option<GuestName>,
    },
    /// Press keys in a guest, such as ctrl-alt-delete, that would not reach it otherwise.
    SendKeys {
        /// Its name.
        name: GuestName,
        /// Keys by evdev's names, joined by - or +.
        #[arg(value_parser = combination)]
        keys: Keys,
    },
    /// Print the end of a guest's logs; needs no shell.
    Logs {
        /// Its name.
        name: GuestName,
        /// How many lines of each file.
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        lines: u32,
    },
    /// Check what guests need of this host; needs no shell.
    Doctor,
    /// Make input, for tests; the shell must have been started with --allow-test-input.
    Input {
        /// What.
        #[command(subcommand)]
        input: InputCommand,
    },
}

/// Test input.
#[derive(Clone, Debug, Subcommand)]
pub enum InputCommand {
    /// Press or release a key.
    Key {
        /// evdev's name; super is leftmeta.
        key: String,
        /// What to do with it.
        action: PressOrRelease,
    },
    /// Press keys in order, and release them in reverse.
    Tap {
        /// Keys by evdev's names, joined by + or -.
        #[arg(value_parser = combination)]
        keys: Keys,
    },
    /// Type a text on a US keyboard.
    Type {
        /// The text.
        #[arg(allow_hyphen_values = true)]
        text: String,
    },
    /// Move the pointer to a place in physical pixels.
    Move {
        /// From the left.
        #[arg(allow_negative_numbers = true)]
        x: f64,
        /// From the top.
        #[arg(allow_negative_numbers = true)]
        y: f64,
    },
    /// Press or release a pointer button.
    Button {
        /// left, right, middle, side or extra.
        button: String,
        /// What to do with it.
        action: PressOrRelease,
    },
    /// Turn the wheel.
    Wheel {
        /// Positive scrolls down.
        #[arg(allow_negative_numbers = true)]
        notches: i32,
    },
}

/// Show or hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PanelState {
    Show,
    Hide,
}

/// Press or release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PressOrRelease {
    Press,
    Release,
}

/// Names of keys in the order in which they are pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(pub Vec<String>);

fn combination(text: &str) -> Result<Keys, String> {
    keys::combination(text)?;
    Ok(Keys(text.split(['-', '+']).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_and_socket_go_with_every_command_on_either_side() {
        for words in ["phyllome --json status", "phyllome status --json", "phyllome input --socket /s tap a --json"] {
            assert!(Arguments::try_parse_from(words.split(' ')).is_ok(), "{words}");
        }
    }

    #[test]
    fn bad_names_unknown_keys_and_later_commands_are_wrong_usage() {
        let lines = [
            "phyllome start ../x",
            "phyllome start",
            "phyllome lock",
            "phyllome create x",
            "phyllome send-keys work ctrl-nokey",
            "phyllome panel toggle",
            "phyllome screenshot a.png --output X --guest y",
        ];
        for line in lines {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
