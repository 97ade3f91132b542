//! What can be said on the command line; clap answers everything else with exit code 2.

use clap::error::{Error, ErrorKind};
use clap::{Arg, ArgMatches, FromArgMatches, Parser, Subcommand, ValueEnum, value_parser};
use phyllome_protocol::{GuestName, GuestVerb, keys};
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
    /// Do something with one guest: a command for each verb.
    #[command(flatten)]
    Guest(GuestCommand),
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
        #[arg(short = 'n', long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
        lines: u32,
    },
    /// Check what guests need of this host; needs no shell.
    Doctor {
        /// Try what the graphics can do instead, and show test pictures for some seconds where no desktop has the
        /// display.
        #[arg(long)]
        gpu: bool,
    },
    /// Make input, for tests; the shell must have been started with --allow-test-input.
    Input {
        /// What.
        #[command(subcommand)]
        input: InputCommand,
    },
}

/// A command for each verb: its word, and the name of the guest.
#[derive(Clone, Debug)]
pub struct GuestCommand {
    /// What to do.
    pub verb: GuestVerb,
    /// With which guest.
    pub name: GuestName,
}

impl FromArgMatches for GuestCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let found = matches.subcommand().and_then(|(word, given)| Some((GuestVerb::from_word(word)?, given)));
        let (verb, given) = found.ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        let name = given.get_one("name").cloned().ok_or_else(|| Error::new(ErrorKind::MissingRequiredArgument))?;
        Ok(Self { verb, name })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for GuestCommand {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        let name = Arg::new("name").value_name("NAME").help("Its name").required(true);
        let name = name.value_parser(value_parser!(GuestName));
        let one = |verb: GuestVerb| clap::Command::new(verb.word()).about(verb.help()).arg(name.clone());
        command.subcommands(GuestVerb::ALL.map(one))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(word: &str) -> bool {
        GuestVerb::from_word(word).is_some()
    }
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
    fn each_verb_is_a_command_about_one_guest() {
        for verb in GuestVerb::ALL {
            let said = Arguments::try_parse_from(["phyllome", verb.word(), "work", "--json"]).unwrap().command;
            let ToolCommand::Guest(given) = said else { panic!("{said:?}") };
            assert_eq!((given.verb, given.name.as_str()), (verb, "work"));
        }
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("  kill        End a guest at once; what it has not saved is lost\n"), "{help}");
        let kill = Arguments::try_parse_from(["phyllome", "kill", "--help"]).unwrap_err().to_string();
        assert!(kill.contains("Usage: phyllome kill [OPTIONS] <NAME>"), "{kill}");
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
