//! All that the shell's one thread owns, as a few structs with one owner each.
//!
//! What joins them lives beside what it is about: what is asked of the shell in [`crate::shell::gate`], connections,
//! keyboard and pointer in [`crate::wayland`], drawing and screenshots in [`crate::render`]. Nothing here blocks.

use crate::backend::Backend;
use crate::backend::headless::Headless;
use crate::backend::kms::Kms;
use crate::backend::nested::{self, Nested};
use crate::event_loop::{Served, Sources};
use crate::faces::drawing::Ui;
use crate::host::Host;
use crate::outputs::{Displays, RendererKind};
use crate::render::Render;
use crate::wayland::Protocols;
use crate::{control, faces, guests, input, shell};
use phyllome_config::ShellConfig;
use phyllome_trusted::chords::Chords;
use smithay::backend::winit::WinitEventLoop;
use smithay::reexports::calloop::EventLoop;
use smithay::reexports::wayland_server::{Display, DisplayHandle};

/// The whole state of the shell.
pub struct State {
    /// The loop that everything runs on.
    pub loop_handle: Sources<State>,
    /// The Wayland server.
    pub display: DisplayHandle,
    /// Wayland's protocols, the seat, and what guests show.
    pub protocols: Protocols,
    /// Outputs and devices.
    pub backend: Backend,
    /// When and what to draw.
    pub render: Render,
    /// The shell's own pictures.
    pub ui: Ui,
    /// The guests.
    pub guests: guests::Guests,
    /// The computer's own keys, battery and disk.
    pub host: Host,
    /// Chords and pressed keys.
    pub input: input::Input,
    /// Focus, faces, and what is known of guests.
    pub shell: shell::Shell,
    /// When the displays are switched off.
    pub idle: shell::idle::Idle,
    /// The command-line tool's socket.
    pub control: control::Server,
    /// `[output.NAME]` of shell.toml.
    pub displays: Displays,
}

/// Which backend to start.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendChoice {
    /// Outputs in memory, of these sizes in physical pixels.
    Headless {
        /// Widths and heights.
        sizes: Vec<(u32, u32)>,
        /// What draws them.
        renderer: RendererKind,
    },
    /// A window of this size.
    Nested {
        /// Width and height.
        size: (u32, u32),
    },
    /// The display itself.
    Kms {
        /// What draws; `None` for what suits the graphics device.
        renderer: Option<RendererKind>,
    },
}

/// Why the shell cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Wayland server.
    #[error("the Wayland server cannot start: {0}")]
    Wayland(String),
    /// The backend.
    #[error("{0}")]
    Backend(String),
    /// The keyboard.
    #[error(transparent)]
    Keyboard(#[from] crate::wayland::seat::NoKeymap),
    /// The shell's own pictures.
    #[error(transparent)]
    Ui(#[from] faces::drawing::DrawError),
    /// The loop.
    #[error("the event loop cannot start: {0}")]
    Loop(String),
}

impl State {
    /// Puts the parts together and starts the Wayland server on `event_loop`. No guest is dialled and no socket is made
    /// yet.
    pub fn new(
        event_loop: &EventLoop<'static, State>,
        choice: &BackendChoice,
        config: &ShellConfig,
        mut guests: guests::Guests,
        control: control::Server,
    ) -> Result<Self, StartError> {
        let display: Display<State> = Display::new().map_err(|error| StartError::Wayland(error.to_string()))?;
        let handle = display.handle();
        let loop_handle = Sources::new(event_loop).map_err(|error| StartError::Loop(error.to_string()))?;
        let mut protocols = Protocols::new(display, &config.keyboard)?;
        guests.say_below(protocols.seat.no_layout());
        let (backend, window) = start_backend(&handle, &loop_handle, choice, config).map_err(StartError::Backend)?;
        protocols.offer_shm(backend.shm_formats());
        let (formats, device) = backend.dmabuf_formats();
        protocols.offer_dmabuf(&handle, formats, device);
        protocols.screens.set_reaches(backend.reaches());
        if backend.is_display() {
            protocols.fences.offer(device);
        }
        if let Some(window) = window {
            nested::watch_window(&loop_handle, window).map_err(StartError::Loop)?;
        }
        let chords = Chords::new(&config.chords);
        let mut state = Self {
            loop_handle,
            display: handle,
            protocols,
            backend,
            render: Render::new(),
            ui: Ui::new()?,
            guests,
            host: Host::default(),
            input: input::Input::new(config.input.clone(), chords.clone(), config.session.new_keyboards),
            shell: shell::Shell::new(chords),
            idle: shell::idle::Idle::from_minutes(config.idle_minutes, std::time::Instant::now()),
            control,
            displays: Displays::new(config.outputs.clone()),
        };
        state.outputs_changed();
        state.watch_person();
        crate::wayland::guard::started();
        Ok(state)
    }
}

impl Served for State {
    fn sources(&self) -> &Sources<State> {
        &self.loop_handle
    }

    /// Draws what is due and sends what waits for the guests.
    fn flush(&mut self) {
        self.draw_due();
        // An error of one client ends that client and is seen when it is read next.
        let _ = self.display.flush_clients();
    }
}

fn start_backend(
    display: &DisplayHandle,
    loop_handle: &Sources<State>,
    choice: &BackendChoice,
    config: &ShellConfig,
) -> Result<(Backend, Option<WinitEventLoop>), String> {
    match choice {
        BackendChoice::Headless { sizes, renderer } => {
            let settings = |number: usize| config.outputs.get(&format!("HEADLESS-{}", number + 1));
            let outputs =
                sizes.iter().enumerate().map(|(number, size)| Headless::info(number, *size, settings(number)));
            Ok((Backend::Headless(Box::new(Headless::new(display, outputs.collect(), *renderer)?)), None))
        }
        BackendChoice::Nested { size } => {
            let (nested, window) = Nested::new(display, *size)?;
            Ok((Backend::Nested(Box::new(nested)), Some(window)))
        }
        BackendChoice::Kms { renderer } => {
            let kms = Kms::new(display, loop_handle, config.outputs.clone(), *renderer)?;
            Ok((Backend::Kms(Box::new(kms)), None))
        }
    }
}
