//! The compositors that are compared, and how each is started on the machine's display.

use phyllome_test_machine::Program;

/// What draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renderer {
    /// OpenGL ES, in software on this machine (llvmpipe).
    Gles,
    /// Pixman into dumb buffers.
    Pixman,
}

/// Both.
pub const RENDERERS: [Renderer; 2] = [Renderer::Gles, Renderer::Pixman];

impl Renderer {
    /// At the end of a row's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gles => "gles",
            Self::Pixman => "pixman",
        }
    }
}

/// A program that shows guests on a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compositor {
    /// phyllome-shell.
    Ours,
    /// weston with its kiosk shell.
    Weston,
    /// cage.
    Cage,
}

/// All of them.
pub const COMPOSITORS: [Compositor; 3] = [Compositor::Ours, Compositor::Weston, Compositor::Cage];

impl Compositor {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "phyllome-shell",
            Self::Weston => "weston",
            Self::Cage => "cage",
        }
    }

    /// What it is called beside a figure.
    pub fn title(self) -> &'static str {
        match self {
            Self::Weston => "weston kiosk-shell",
            other => other.name(),
        }
    }

    /// Its command line and environment. Nothing is asked of it but to show one window, or one guest.
    pub fn program(self, renderer: Renderer) -> Program {
        let word = renderer.word();
        match self {
            Self::Ours => {
                let arguments = ["--backend", "kms", "--renderer", word, "--config", super::bed::CONFIG];
                super::bed::with_environment(Program::new("phyllome-shell", &arguments))
            }
            Self::Weston => {
                let renderer = if renderer == Renderer::Gles { "gl" } else { word };
                let renderer = format!("--renderer={renderer}");
                let quiet = ["--backend=drm", "--shell=kiosk", "--idle-time=0", "--socket=wayland-bench"];
                Program::new("weston", &[&quiet[..], &[renderer.as_str()]].concat())
            }
            // It wants a program to run, and ends with it; the guest comes later, as with the others.
            Self::Cage => Program::new("cage", &["--", "sleep", "100000"])
                .env("WLR_RENDERER", if renderer == Renderer::Gles { "gles2" } else { word })
                .env("WLR_RENDERER_ALLOW_SOFTWARE", "1"),
        }
    }

    /// The Wayland display that it opens; none where guests are shown by another way.
    pub fn display(self) -> Option<&'static str> {
        match self {
            Self::Ours => None,
            Self::Weston => Some("wayland-bench"),
            Self::Cage => Some("wayland-0"),
        }
    }
}
