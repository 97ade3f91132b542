//! Guests as the shell knows them: defined in files, running, or both; started, adopted, watched and told what to do.

pub mod view;

use phyllome_config::GuestDefinition;
use phyllome_protocol::GuestName;
use phyllome_protocol::runtime::RuntimeDir;
use std::path::PathBuf;

pub use view::{GuestView, Problem};

/// What the registry needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime folder, in which guests are found.
    pub runtime: RuntimeDir,
    /// `--config DIR`, handed on to phyllome-guest.
    pub config_dir: Option<PathBuf>,
    /// The program phyllome-guest; [`Options::default_program`] finds it.
    pub program: PathBuf,
    /// `$XDG_STATE_HOME/phyllome/logs`, in which each guest has a folder.
    pub logs: PathBuf,
}

impl Options {
    /// phyllome-guest beside this program, else the one in `PATH`.
    pub fn default_program() -> PathBuf {
        PathBuf::from("phyllome-guest")
    }
}

/// Every guest that the shell knows.
#[derive(Debug)]
pub struct Guests {
    options: Options,
    definitions: Vec<GuestDefinition>,
    problems: Vec<Problem>,
}

impl Guests {
    /// A registry of these definitions; nothing is started or dialled before [`crate::State::start_guests`].
    pub fn new(options: Options, definitions: Vec<GuestDefinition>, problems: Vec<Problem>) -> Self {
        Self { options, definitions, problems }
    }

    /// Every known guest in order of slot and name.
    pub fn views(&self) -> Vec<GuestView> {
        Vec::new()
    }

    /// Files that could not be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl crate::State {
    /// Adopts the guests that run, starts those with `autostart`, and watches for more. Called once, before the loop runs.
    pub fn start_guests(&mut self) {
        let _ = (&self.guests.options, &self.guests.definitions);
    }

    /// The first picture of this guest since its client was attached is on an output.
    pub fn guest_picture_shown(&mut self, _name: &GuestName) {}
}
