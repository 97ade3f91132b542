//! The trusted shell: reads its options and files, makes sure that it is alone on its runtime folder, and runs the
//! loop.
//!
//! Whatever keeps it from starting is one sentence on standard error and exit code 1; a failure later is exit code 4,
//! which makes phyllome-session start it again.

mod egl;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use phyllome_compositor::backend::kms;
use phyllome_compositor::outputs::RendererKind;
use phyllome_compositor::state::BackendChoice;
use phyllome_compositor::{State, control, descriptors, event_loop, guests};
use phyllome_config::{Places, load_all};
use phyllome_protocol::complain;
use phyllome_protocol::framing::encode;
use phyllome_protocol::log_line::OneLine;
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::start;
use phyllome_trusted::gate::{Asker, Verb};
use rustix::net::{SendFlags, SocketType};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{EventLoop, Interest, Mode, PostAction};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The trusted face of a host that runs virtual machines.
#[derive(Debug, Parser)]
#[command(name = "phyllome-shell", version)]
struct Options {
    /// Where to draw: on the display itself, in a window of another desktop, or in memory.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// Folder with shell.toml and guests/ instead of $XDG_CONFIG_HOME/phyllome.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Size of an output (headless) or of the window (nested) in pixels; headless: once per output.
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Vec<(u32, u32)>,
    /// What draws; auto: Pixman on headless and where GL would be software, else GLES.
    #[arg(long, value_enum, default_value_t = RendererName::Auto)]
    renderer: RendererName,
    /// Accept `phyllome input …`; headless and nested only.
    #[arg(long)]
    allow_test_input: bool,
    /// Come back after a crash: find the guests that run, start none. phyllome-session gives this.
    #[arg(long)]
    after_crash: bool,
    /// The same after N crashes in a minute: come back with the list of guests and a message. phyllome-session gives
    /// this.
    #[arg(long, value_name = "N")]
    recovered: Option<u32>,
    /// Print the name of what EGL draws with, and nothing else. `phyllome doctor` asks so.
    #[arg(long, hide = true)]
    probe_egl: bool,
    /// Try what the graphics can do, print each finding as a line of JSON, and nothing else. `phyllome doctor --gpu`
    /// asks so.
    #[arg(long, hide = true)]
    probe_gpu: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BackendName {
    Auto,
    Kms,
    Nested,
    Headless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RendererName {
    Auto,
    Gles,
    Pixman,
}

/// `WxH`, 1 to 16384 each.
fn size(text: &str) -> Result<(u32, u32), String> {
    start::size(text).ok_or_else(|| "write it as 1280x800, 1 to 16384 each".to_owned())
}

const DEFAULT_SIZE: (u32, u32) = (1280, 800);

/// Most outputs in memory; a guest has no more scanouts.
const MAX_OUTPUTS: usize = 16;

fn choose(options: &Options) -> anyhow::Result<BackendChoice> {
    let window = std::env::var_os("WAYLAND_DISPLAY").is_some() || std::env::var_os("DISPLAY").is_some();
    let backend = match options.backend {
        BackendName::Auto if window => BackendName::Nested,
        BackendName::Auto => BackendName::Kms,
        other => other,
    };
    if options.size.len() > MAX_OUTPUTS {
        bail!("--size was given {} times; give it at most {MAX_OUTPUTS} times", options.size.len());
    }
    if backend == BackendName::Kms {
        return on_display(options);
    }
    match (backend, options.renderer) {
        (BackendName::Headless, renderer) => {
            let sizes = if options.size.is_empty() { vec![DEFAULT_SIZE] } else { options.size.clone() };
            let renderer = if renderer == RendererName::Gles { RendererKind::Gles } else { RendererKind::Pixman };
            Ok(BackendChoice::Headless { sizes, renderer })
        }
        (_, RendererName::Pixman) => bail!("a window is drawn with GLES; leave out --renderer pixman"),
        _ => Ok(BackendChoice::Nested { size: options.size.first().copied().unwrap_or(DEFAULT_SIZE) }),
    }
}

/// The display has the sizes that it has, and input from the devices of its seat alone.
fn on_display(options: &Options) -> anyhow::Result<BackendChoice> {
    if !options.size.is_empty() {
        bail!(
            "--size is for --backend headless and nested; set mode in [output.NAME] of shell.toml for the display itself"
        );
    }
    if options.allow_test_input {
        bail!("--allow-test-input is for --backend headless and nested; leave it out on the display itself");
    }
    let renderer = match options.renderer {
        RendererName::Auto => None,
        RendererName::Gles => Some(RendererKind::Gles),
        RendererName::Pixman => Some(RendererKind::Pixman),
    };
    Ok(BackendChoice::Kms { renderer })
}

/// Locks the runtime folder for as long as the file stays open, so that there is one shell on it.
fn lock(runtime: &RuntimeDir) -> anyhow::Result<File> {
    let path = runtime.path().join("shell.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}; mend its permissions", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("another phyllome-shell runs on {}; end it or set another XDG_RUNTIME_DIR", runtime.path().display())
        }
        Err(error) => bail!("cannot lock {} ({error}); mend its permissions", path.display()),
    }
}

/// Ends the loop on SIGTERM, SIGINT and SIGHUP. A handler that writes to a socket, and not a signal mask, because
/// children inherit a mask.
fn watch_signals(event_loop: &EventLoop<'static, State>) -> anyhow::Result<()> {
    let (told, teller) = UnixStream::pair().context("signals cannot be caught")?;
    told.set_nonblocking(true).context("signals cannot be caught")?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        let teller = teller.try_clone().context("signals cannot be caught")?;
        signal_hook::low_level::pipe::register(signal, teller).context("signals cannot be caught")?;
    }
    let source = Generic::new(told, Interest::READ, Mode::Level);
    let stop = |_, _: &mut _, state: &mut State| {
        state.loop_handle.stop();
        Ok(PostAction::Remove)
    };
    event_loop.handle().insert_source(source, stop).map_err(|e| anyhow::anyhow!("signals cannot be caught: {e}"))?;
    Ok(())
}

/// What a shell that has crashed so often says in its list of guests.
fn recovered(times: u32) -> String {
    format!(
        "The shell stopped {times} times in a minute; its guests still run. Choose one to go on. If the shell stops again, the \
         session ends."
    )
}

/// Exit code of a shell that was up and failed.
const FAILED: u8 = 4;
/// Exit code after a panic, as Rust's own.
const PANICKED: u8 = 101;

/// Tells phyllome-session, which listens on the standard input of the shell that it has started, how this one ends: a
/// thread that closes what a guest has sent may keep the process for as long as that guest likes, whatever is done.
/// Another starter gets that byte too if standard input is a stream socket of his.
fn has_ended(code: u8) {
    let input = std::io::stdin();
    if rustix::net::sockopt::socket_type(&input).is_ok_and(|kind| kind == SocketType::STREAM) {
        // One who does not read has gone, or waits for the process.
        let _ = rustix::net::send(&input, &[code], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

/// `Err`: why it cannot start. Else the exit code.
fn run(options: &Options) -> anyhow::Result<u8> {
    let choice = choose(options)?;
    let runtime = RuntimeDir::open()?;
    let _lock = lock(&runtime)?;
    let places = Places::from_env(options.config.as_deref())?;
    let loaded = load_all(&places);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    let mut event_loop: EventLoop<'static, State> = EventLoop::try_new().context("the event loop cannot start")?;
    let of_guests = guests::Options::new(runtime.clone(), places, guests::process::default_program());
    let of_guests = guests::Options { config_dir: options.config.clone(), ..of_guests };
    let guests = guests::Guests::new(of_guests, loaded.guests, problems);
    let control = control::Server::new(runtime.shell_socket(), options.allow_test_input);
    watch_signals(&event_loop)?;
    let mut state = State::new(&event_loop, &choice, &loaded.shell, guests, control)?;
    let socket = runtime.shell_socket();
    state.start_control().with_context(|| format!("cannot listen at {}; remove what is there", socket.display()))?;
    state.start_guests(options.after_crash || options.recovered.is_some(), loaded.shell.start.as_ref());
    if let Some(times) = options.recovered
        && let Err(why) = state.act(Verb::Tell(recovered(times)), Asker::Shell)
    {
        tracing::warn!("{why}");
    }
    state.queue_redraw();
    tracing::info!(
        "{} outputs, backend {}, renderer {}",
        state.backend.outputs().len(),
        state.backend.name(),
        state.backend.renderer().word()
    );
    // A window of another desktop needs calloop in charge.
    let lane = state.backend.is_display();
    let ended = event_loop::run(&mut event_loop, &mut state, lane);
    state.stop_control();
    state.detach_all_clients();
    if let Err(error) = ended {
        complain(format_args!("phyllome-shell: the event loop failed: {error}"));
        return Ok(FAILED);
    }
    Ok(0)
}

/// What EGL draws with, on standard output; or one sentence on standard error.
fn probe_egl() -> ExitCode {
    match egl::probe() {
        Ok(name) => {
            println!("{name}");
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            complain(sentence);
            ExitCode::from(1)
        }
    }
}

/// What the graphics can do, a finding a line on standard output; or one sentence on standard error.
fn probe_gpu() -> ExitCode {
    // SAFETY: no thread has been started yet.
    unsafe { kms::choose_daemon() };
    let tell = |finding| {
        if let Ok(line) = encode(&finding) {
            print!("{}", String::from_utf8_lossy(&line));
        }
    };
    match kms::self_test::run(tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            complain(sentence);
            ExitCode::from(1)
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.probe_egl {
        return probe_egl();
    }
    if options.probe_gpu {
        return probe_gpu();
    }
    let filter = EnvFilter::try_from_env("PHYLLOME_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,smithay=warn,smithay::backend::drm=error,smithay::backend::egl=error")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLine(std::io::stderr()))
        // They would go to the same place, and end the shell where that is full or gone.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false)
        .init();
    // As one line of the log, also where it is survived.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug was survived or ended the shell")));
    descriptors::raise_limit();
    if let Err(error) = start::hide_memory() {
        tracing::warn!("other programs of this user can read the shell's memory: {error}");
    }
    // SAFETY: no thread has been started yet.
    unsafe { kms::choose_daemon() };
    let ended = std::panic::catch_unwind(|| run(&options));
    let code = match &ended {
        Ok(Ok(code)) => *code,
        Ok(Err(error)) => {
            complain(format_args!("phyllome-shell: {error:#}"));
            1
        }
        Err(_) => PANICKED,
    };
    has_ended(code);
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(size("1280x800"), Ok((1280, 800)));
        for bad in ["", "x", "0x1", "1x0", "16385x1", "1280", "-1x5", "1280×800"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
