//! The device alone, without QEMU's supervisor and without a screen: `phyllome-guest device`, for tests and benchmarks.
//!
//! It listens on a path like QEMU's contrib `vhost-user-gpu --socket-path` and serves one frontend after another.
//! Standard input takes lines: `report` answers with one JSON line, `dump SCANOUT FILE` writes what a scanout shows as
//! a PPM image, `cursor SCANOUT FILE` its cursor's bytes as the screen got them, and both answer `dumped` or a reason;
//! `quit` ends. It never shows anything.

use super::formats::Format;
use super::{DeviceConfig, DeviceSender, spawn};
use crate::frames::{CursorImage, GpuReport, Picture, SharedGpuReport, TO_SCREEN_DEPTH, ToDevice, ToScreen};
use crate::renderer::client::Client;
use crate::renderer::launch::Launch;
use anyhow::Context;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::log_line::OneLine;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What stands in for a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullScreen {
    /// Nothing: fenced flushes are answered by the slow timer.
    #[default]
    Absent,
    /// Every flush counts as presented at once.
    PresentAtOnce,
}

/// How 3D is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreeDOptions {
    /// The only capset that is offered (`VIRTIO_GPU_CAPSET_*`), if not all are.
    pub capset: Option<u32>,
}

#[derive(Default)]
struct Seen {
    pictures: BTreeMap<ScanoutId, Picture>,
    cursors: BTreeMap<ScanoutId, CursorImage>,
}

type SharedSeen = Arc<Mutex<Seen>>;

/// Serves the device on `socket_path` (`--socket-path`, `--scanouts`, `--present-at-once`), with 3D by a renderer of
/// its own for each frontend if there is a `three_d` (`--3d`, `--capset`), until standard input says `quit` or the
/// process is ended. Blocks. Needs no tokio runtime.
pub fn run_device(
    socket_path: &Path,
    config: DeviceConfig,
    screen: NullScreen,
    three_d: Option<ThreeDOptions>,
) -> anyhow::Result<()> {
    // Someone else may have set up the log before; theirs serves as well.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let _ = log.with_writer(|| OneLine(std::io::stderr())).try_init();
    if let Ok(kind) = std::fs::symlink_metadata(socket_path).map(|found| found.file_type()) {
        use std::os::unix::fs::FileTypeExt;
        anyhow::ensure!(kind.is_socket(), "{} is there and is no socket; choose another path", socket_path.display());
        std::fs::remove_file(socket_path).with_context(|| format!("cannot replace {}", socket_path.display()))?;
    }
    let listener =
        UnixListener::bind(socket_path).with_context(|| format!("cannot listen on {}", socket_path.display()))?;
    let report = SharedGpuReport::default();
    let shown = SharedSeen::default();
    let words = (report.clone(), shown.clone(), socket_path.to_owned());
    std::thread::Builder::new().name("words".to_owned()).spawn(move || {
        let (report, shown, path) = words;
        if converse(&report, &shown) {
            let _ = std::fs::remove_file(path);
            std::process::exit(0);
        }
    })?;
    for connection in listener.incoming() {
        let connection = connection.context("cannot accept a frontend")?;
        let renderer = three_d.map(renderer).transpose()?;
        serve(config, renderer, connection, screen, &report, &shown)?;
    }
    Ok(())
}

/// A renderer that is ready.
fn renderer(options: ThreeDOptions) -> anyhow::Result<Client> {
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for the renderer")?;
    let launch = Launch::find().map_err(anyhow::Error::msg)?;
    let mut client = executor.block_on(async { Client::start(launch)?.ready().await.map_err(anyhow::Error::msg) })?;
    if let Some(id) = options.capset {
        client.offer_only(id);
    }
    Ok(client)
}

fn serve(
    config: DeviceConfig,
    renderer: Option<Client>,
    connection: UnixStream,
    screen: NullScreen,
    report: &SharedGpuReport,
    shown: &SharedSeen,
) -> anyhow::Result<()> {
    let (to_screen, from_device) = mpsc::channel(TO_SCREEN_DEPTH);
    let device = spawn(config, renderer, connection, to_screen, report.clone()).context("cannot start the device")?;
    let (sender, seen) = (device.sender(), shown.clone());
    let thread = std::thread::spawn(move || watch(from_device, &sender, screen, &seen));
    let end = device.join();
    tracing::info!(?end, "the frontend has gone");
    // The thread ends with the channel, which has ended with the device.
    let _ = thread.join();
    *lock(shown) = Seen::default();
    Ok(())
}

fn lock(shown: &SharedSeen) -> MutexGuard<'_, Seen> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The screen that shows nothing: remembers pictures and cursors, and answers flushes if it is to.
fn watch(mut messages: mpsc::Receiver<ToScreen>, device: &DeviceSender, screen: NullScreen, shown: &SharedSeen) {
    while let Some(message) = messages.blocking_recv() {
        let mut shown = lock(shown);
        match message {
            ToScreen::Scanout { id, picture: Some(picture) } => drop(shown.pictures.insert(id, picture)),
            ToScreen::Scanout { id, picture: None } => drop(shown.pictures.remove(&id)),
            ToScreen::Cursor { id, image: Some(image) } => drop(shown.cursors.insert(id, image)),
            ToScreen::Cursor { id, image: None } => drop(shown.cursors.remove(&id)),
            ToScreen::Reset => *shown = Seen::default(),
            ToScreen::Flush { id, serial, .. } if screen == NullScreen::PresentAtOnce => {
                device.send(ToDevice::Presented { id, serial });
            }
            ToScreen::Flush { .. } => {}
        }
    }
}

/// Answers standard input's lines; `true` when it says `quit`.
fn converse(report: &SharedGpuReport, shown: &SharedSeen) -> bool {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return false };
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["report"] => json(&report.lock().unwrap_or_else(PoisonError::into_inner)),
            ["dump", scanout, file] => said(dump(scanout, Path::new(file), shown)),
            ["cursor", scanout, file] => said(dump_cursor(scanout, Path::new(file), shown)),
            ["quit"] => return true,
            _ => "use report, dump SCANOUT FILE, cursor SCANOUT FILE or quit".to_owned(),
        };
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return false;
        }
    }
    false
}

fn json(report: &GpuReport) -> String {
    let GpuReport { gpu, scanouts, copied_bytes, resource_bytes, .. } = report;
    serde_json::json!({
        "gpu": gpu, "scanouts": scanouts, "copied_bytes": copied_bytes, "resource_bytes": resource_bytes,
    })
    .to_string()
}

fn said(dumped: anyhow::Result<()>) -> String {
    match dumped {
        Ok(()) => "dumped".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

fn scanout_id(text: &str) -> anyhow::Result<ScanoutId> {
    text.parse().ok().and_then(ScanoutId::new).context("a scanout is a number from 0 to 15")
}

fn dump_cursor(scanout: &str, path: &Path, shown: &SharedSeen) -> anyhow::Result<()> {
    let id = scanout_id(scanout)?;
    let image = lock(shown).cursors.get(&id).cloned().with_context(|| format!("scanout {id:?} has no cursor"))?;
    std::fs::write(path, &*image.pixels).with_context(|| format!("cannot write {}", path.display()))
}

fn dump(scanout: &str, path: &Path, shown: &SharedSeen) -> anyhow::Result<()> {
    let id = scanout_id(scanout)?;
    let picture = lock(shown).pictures.get(&id).cloned();
    let Picture { buffer, source } = picture.with_context(|| format!("scanout {id:?} shows nothing"))?;
    let format = Format::from_fourcc(buffer.fourcc).context("the picture's format is unknown")?;
    let reader = buffer.reader().context("cannot read the picture")?;
    let mut image = format!("P6\n{} {}\n255\n", source.width, source.height).into_bytes();
    let mut row = vec![0; source.width as usize * 4];
    for y in source.y..source.y.saturating_add(source.height) {
        let at = u64::from(y) * u64::from(buffer.stride) + u64::from(source.x) * 4;
        reader.read_exact_at(&mut row, at).context("cannot read the picture")?;
        for pixel in row.chunks_exact(4) {
            if let Ok(pixel) = <[u8; 4]>::try_from(pixel) {
                let [b, g, r, _] = format.to_bgra(pixel);
                image.extend([r, g, b]);
            }
        }
    }
    std::fs::write(path, image).with_context(|| format!("cannot write {}", path.display()))
}
