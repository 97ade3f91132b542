//! phyllome-guest: runs one guest in the foreground, or prints the command line that would.
//!
//! It reads the definition, sets up its log and hands over to the library. Whatever is wrong is one sentence on
//! standard error. Exit status: 0 the guest has ended in order, 1 it has not or could not start, 2 wrong usage.

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use phyllome_config::guest::{Accel as Wish, Transport as Attached};
use phyllome_config::{GuestDefinition, Places, load_guest};
use phyllome_guest_bridge::machine::checks;
use phyllome_guest_bridge::machine::command_line::{Accel, command_line};
use phyllome_guest_bridge::machine::disks;
use phyllome_guest_bridge::machine::graphics;
use phyllome_guest_bridge::machine::logs::{BoundedLog, SharedLog};
use phyllome_guest_bridge::machine::supervisor::{self, Options};
use phyllome_guest_bridge::machine::transport;
use phyllome_protocol::log_line::OneLine;
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::start;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, complain};
use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(version, about = "Runs one guest of Phyllome Shell, in the shell or in any Wayland desktop")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a guest in the foreground until it ends
    Run {
        #[command(flatten)]
        guest: Which,
        /// Size of the guest's display in pixels until a screen says otherwise
        #[arg(long, value_name = "WxH", value_parser = size)]
        size: Option<(u32, u32)>,
        /// Open no window; show the guest only where the control socket says
        #[arg(long)]
        control_only: bool,
        /// How long the guest has to power off once phyllome-guest is asked to end (SIGTERM, Ctrl-C); asked again, it
        /// ends at once
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
        stop_timeout: u64,
    },
    /// Print the QEMU command line of a guest; start nothing
    CommandLine {
        #[command(flatten)]
        guest: Which,
    },
    /// Say what 3D this host can give a guest, as one line of JSON
    #[command(name = "probe-3d", hide = true)]
    Probe3d,
    /// Serve the display device alone, for tests and benchmarks
    #[cfg(feature = "device-server")]
    #[command(hide = true)]
    Device {
        #[arg(long)]
        socket_path: PathBuf,
        #[arg(long, default_value_t = 1)]
        scanouts: u32,
        #[arg(long)]
        present_at_once: bool,
        #[arg(long = "3d")]
        three_d: bool,
        /// Offer this capset alone
        #[arg(long, requires = "three_d")]
        capset: Option<u32>,
        /// As for QEMU's generic vhost-user device
        #[arg(long)]
        generic: bool,
    },
}

#[derive(Args)]
struct Which {
    /// A guest's name, or the path of its file
    #[arg(value_name = "NAME|FILE.toml")]
    guest: PathBuf,
    /// Folder of shell.toml and guests/
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    start::size(text).ok_or_else(|| "use WxH, such as 1280x800".into())
}

fn main() -> ExitCode {
    // A guest may have 512 resources, and each that is shown costs up to three.
    let _ = start::raise_descriptor_limit();
    match execute(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` keeps the causes on the same line.
            complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Run { guest, size, control_only, stop_timeout } => {
            run(&guest, size, control_only, Duration::from_secs(stop_timeout))
        }
        Task::CommandLine { guest } => print_command_line(&guest),
        Task::Probe3d => probe_3d(),
        #[cfg(feature = "device-server")]
        Task::Device { socket_path, scanouts, present_at_once, three_d, capset, generic } => {
            use phyllome_guest_bridge::gpu::{self, DeviceConfig, NullScreen, Transport};
            let screen = if present_at_once { NullScreen::PresentAtOnce } else { NullScreen::Absent };
            let transport = if generic { Transport::Generic } else { Transport::VhostUserGpu };
            let config = DeviceConfig { scanouts, transport, ..DeviceConfig::default() };
            let three_d = three_d.then_some(gpu::ThreeDOptions { capset });
            gpu::run_device(&socket_path, config, screen, three_d)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load(which: &Which) -> anyhow::Result<(GuestDefinition, PathBuf, Places)> {
    let places = Places::from_env(which.config.as_deref())?;
    let (name, file) = find(&which.guest, &places)?;
    let definition = load_guest(&file, &name, &places)?;
    Ok((definition, file, places))
}

/// A path has a separator or ends in `.toml`; all else is a name.
fn find(guest: &Path, places: &Places) -> anyhow::Result<(GuestName, PathBuf)> {
    let is_file = guest.extension() == Some(OsStr::new("toml")) && guest.file_name().is_some();
    let text = if is_file { guest.file_stem() } else { Some(guest.as_os_str()) };
    let name = GuestName::new(&text.unwrap_or_default().to_string_lossy())?;
    let file = if is_file { guest.to_owned() } else { places.guest_file(&name) };
    Ok((name, file))
}

fn run(which: &Which, size: Option<(u32, u32)>, control_only: bool, patience: Duration) -> anyhow::Result<ExitCode> {
    keep_private();
    let (definition, file, places) = load(which)?;
    let runtime = RuntimeDir::open()?;
    runtime.check_guest(&definition.name)?;
    let window = if control_only { None } else { wayland_display()? };
    let name = definition.name.clone();
    start_log(&places.logs_dir(&name).join("bridge.log"));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    // A shell reads it from the control socket.
    let notice: fn(&str) = if control_only { |_| {} } else { |sentence| complain(format_args!("note: {sentence}")) };
    let options = Options { definition, file, places, runtime, size, window, patience, awaited: control_only, notice };
    let work = tokio::task::LocalSet::new();
    let ending = executor.block_on(work.run_until(supervisor::run(options)));
    // Tasks that still wait for a peer end with the process.
    executor.shutdown_background();
    let ending = ending.map_err(|why| anyhow!(why))?;
    if ending.state == GuestState::Crashed {
        bail!(ending.message.unwrap_or_else(|| format!("guest {name} has crashed; phyllome logs {name} says more")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The guest's memory is mapped here: no core and no other program of the user has it. QEMU and the renderer, which are
/// started later, leave no cores either.
fn keep_private() {
    let mut kept = start::leave_no_cores();
    #[cfg(feature = "test-doors")]
    let hide = std::env::var_os("PHYLLOME_TEST_READABLE").is_none();
    #[cfg(not(feature = "test-doors"))]
    let hide = true;
    if hide {
        kept = kept.and(start::hide_memory());
    }
    if let Err(error) = kept {
        complain(format_args!(
            "warning: a crash may leave the guest's memory on the disk ({error}); mend the limits of this session (ulimit -a)"
        ));
    }
}

/// The desktop that this is started in, if it is one.
fn wayland_display() -> anyhow::Result<Option<UnixStream>> {
    let Some(display) = std::env::var_os("WAYLAND_DISPLAY").filter(|display| !display.is_empty()) else {
        return Ok(None);
    };
    let base = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    // An absolute display replaces the base.
    let path = Path::new(&base).join(display);
    let stream = UnixStream::connect(&path).with_context(|| {
        format!(
            "cannot open a window: no Wayland compositor answers at {}; mend WAYLAND_DISPLAY, or unset it",
            path.display()
        )
    })?;
    Ok(Some(stream))
}

fn start_log(path: &Path) {
    let log = match BoundedLog::open(path) {
        Ok(log) => SharedLog::new(log),
        Err(error) => {
            let path = path.display();
            complain(format_args!(
                "warning: cannot write {path} ({error}), so the guest runs without a log; mend its permissions or make room"
            ));
            return;
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PHYLLOME_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || OneLine(log.clone()))
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug was survived or ended this process")));
    }
}

fn print_command_line(which: &Which) -> anyhow::Result<ExitCode> {
    let (definition, _, places) = load(which)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let mut host = executor.block_on(checks::host_facts(&definition, &places, None)).map_err(|why| anyhow!(why))?;
    match disks::look(&definition) {
        Ok(images) => host.images = images,
        // Where the images lie on another computer, or are still to be made, the line is wanted all the same.
        Err(why) => complain(format_args!("note: {why}")),
    }
    let accel = if definition.machine.accel == Wish::Tcg { Accel::Tcg } else { Accel::Kvm };
    let line = command_line(&definition, &host, accel)?;
    println!("{line}");
    Ok(ExitCode::SUCCESS)
}

fn probe_3d() -> anyhow::Result<ExitCode> {
    let node = graphics::render_node();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let asked = async {
        // Without QEMU nobody can use it, which is another finding's to say.
        let qemu = match checks::find_qemu() {
            Ok(qemu) => checks::qemu_facts(&qemu, None).await.ok(),
            Err(_) => None,
        };
        let virgl_only =
            qemu.and_then(|qemu| transport::why_special(Attached::Auto, qemu.generic_device, qemu.version));
        graphics::prepare(node.clone(), virgl_only).await
    };
    let client = executor.block_on(asked).map_err(|why| anyhow!(why))?;
    let capsets: Vec<u32> = client.capsets().iter().map(|capset| capset.id).collect();
    println!(
        "{}",
        serde_json::json!({ "driver": client.driver(), "capsets": capsets, "node": node, "lacks": client.lacks() })
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_a_name_or_a_file() {
        let vars = |name: &'static str| (name == "HOME").then(|| "/home/a".into());
        let places = Places::from_vars(vars, None).unwrap();
        let found = |text: &str| find(Path::new(text), &places).map(|(n, f)| (n.to_string(), f)).ok();
        assert_eq!(found("work"), Some(("work".into(), "/home/a/.config/phyllome/guests/work.toml".into())));
        assert_eq!(found("x/play.toml"), Some(("play".into(), "x/play.toml".into())));
        for bad in ["../x", "", "x/work", ".toml", "a b.toml"] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_two_sides() {
        assert_eq!(size("1272x768"), Ok((1272, 768)));
        for bad in ["", "0x1", "1x", "x", "1x99999", "-1x1", "1x1x1"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
