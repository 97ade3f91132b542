//! The on-screen list of guests.
