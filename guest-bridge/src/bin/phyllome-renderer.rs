//! phyllome-renderer: draws what one guest's 3D contexts ask for. phyllome-guest starts it, on a socket that it
//! inherits.
//!
//! Exit status: 0 phyllome-guest has closed the connection, 1 there can be no 3D or something failed, 2 wrong usage.
//! Whatever is wrong is one sentence on standard error; phyllome-guest is told too if 3D cannot start. Before it loads
//! the library it takes from itself whatever drawing does not need ([`cage`]), and more before it reads anything of the
//! guest's.

use clap::Parser;
#[cfg(feature = "test-doors")]
use phyllome_guest_bridge::cage::tries::{self, Stage};
use phyllome_guest_bridge::cage::{self, Limits, Needs, Plan};
use phyllome_guest_bridge::renderer::server::{self, End, LIBRARY, Options, Wishes};
use phyllome_guest_bridge::renderer::wire::SOCKET;
use phyllome_protocol::complain;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
#[cfg(feature = "test-doors")]
use std::time::Instant;

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
    /// Most MiB of memory of its own, beside the guest's and the GPU's
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory >> 20, value_parser = clap::value_parser!(u64).range(256..=1 << 20))]
    memory: u64,
    /// Most MiB of address space; as much as there is if not given
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1024..=1 << 27))]
    address_space: Option<u64>,
    /// Try what the sandbox forbids, for tests
    #[cfg(feature = "test-doors")]
    #[arg(long, value_name = "STAGE", hide = true)]
    r#try: Option<Stage>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), End> {
    let socket = server::inherit(cli.socket)
        .map_err(|_| End::Unable("phyllome-renderer is started by phyllome-guest, which gives it a socket".into()))?;
    let node = render_node(&cli.render_node);
    // What it would keep on the disk cannot be written.
    // SAFETY: there is one thread.
    unsafe { std::env::set_var("MESA_SHADER_CACHE_DISABLE", "true") };
    let limits =
        Limits { memory: cli.memory << 20, address_space: cli.address_space.map(|mib| mib << 20), ..Limits::default() };
    let needs = Needs { venus: cli.venus, native: cli.drm };
    let library = Some(Path::new(&cli.library)).filter(|path| path.is_absolute());
    #[cfg(feature = "test-doors")]
    let start = Instant::now();
    let plan = Plan { node: node.as_ref().map(AsFd::as_fd), library, needs, limits };
    let entered = cage::enter(plan).map_err(|error| server::refuse(&socket, error.to_string()))?;
    #[cfg(feature = "test-doors")]
    let took = start.elapsed();
    for missing in &entered.missing {
        eprintln!("sandbox: {missing}");
    }
    #[cfg(feature = "test-doors")]
    if cli.r#try == Some(Stage::Early) {
        tries::run(Stage::Early);
    }
    let options = Options { library: cli.library, node, wishes: Wishes { venus: cli.venus, drm: cli.drm } };
    server::run(&socket, options, |offered| {
        #[cfg(feature = "test-doors")]
        let start = Instant::now();
        let needs = Needs { venus: offered.venus, native: offered.drm };
        entered.tighten(needs).map_err(|error| error.to_string())?;
        #[cfg(feature = "test-doors")]
        if let Some(stage) = cli.r#try {
            eprintln!("sandbox: took {} + {} µs", took.as_micros(), start.elapsed().as_micros());
            if stage != Stage::Early {
                tries::run(stage);
            }
        }
        Ok(())
    })
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
