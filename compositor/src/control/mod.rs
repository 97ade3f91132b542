//! The command-line tool's socket.

/// The server.
#[derive(Debug, Default)]
pub struct Server {}
