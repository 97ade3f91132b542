//! phyllome-renderer: draws what one guest's 3D contexts ask for. phyllome-guest starts it, on a socket that it inherits.
//!
//! Exit status: 0 phyllome-guest has closed the connection, 1 there can be no 3D or something failed, 2 wrong usage. Whatever is
//! wrong is one sentence on standard error; phyllome-guest is told too if 3D cannot start.

use clap::Parser;
use phyllome_guest_bridge::renderer::server::{self, End, LIBRARY, Options, Wishes};
use phyllome_guest_bridge::renderer::wire::SOCKET;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Draws for one guest of Phyllome Shell; phyllome-guest starts it")]
struct Cli {
    /// The descriptor of the socket that phyllome-guest holds the other end of
    #[arg(long, value_name = "NUMBER", default_value_t = SOCKET)]
    socket: i32,
    /// The GPU's render node, `auto` for the first there is, or `none` to draw on the CPU
    #[arg(long, value_name = "PATH", default_value = "auto")]
    render_node: PathBuf,
    /// Offer Vulkan by Venus
    #[arg(long)]
    venus: bool,
    /// Offer the GPU's native contexts
    #[arg(long)]
    drm: bool,
    /// The virglrenderer library
    #[arg(long, value_name = "NAME", default_value = LIBRARY, hide = true)]
    library: String,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), End> {
    let socket = server::inherit(cli.socket)
        .map_err(|_| End::Unable("phyllome-renderer is started by phyllome-guest, which gives it a socket".into()))?;
    let node = render_node(&cli.render_node);
    let options = Options { library: cli.library, node, wishes: Wishes { venus: cli.venus, drm: cli.drm } };
    server::run(&socket, options, || Ok(()))
}

/// The render node that was asked for; a node that does not open is no error, as the CPU can draw too.
fn render_node(wish: &Path) -> Option<OwnedFd> {
    let open = |path: &Path| -> Option<File> { OpenOptions::new().read(true).write(true).open(path).ok() };
    match wish.to_str() {
        Some("none") => None,
        Some("auto") => {
            (128..192).find_map(|number| open(Path::new(&format!("/dev/dri/renderD{number}")))).map(Into::into)
        }
        _ => open(wish).map(Into::into),
    }
}
