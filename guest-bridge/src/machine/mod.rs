//! machine

pub mod command_line;
