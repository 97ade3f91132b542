//! In a foreign desktop: weston without a display, asked for a picture of what it shows.

use super::rig::{DEADLINE, Rig, XR24, memory, paint, rect, whole};
use phyllome_guest_bridge::frames::ToDevice;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;

const SIZE: (u32, u32) = (640, 400);

struct Weston {
    folder: TempDir,
    process: Child,
    scale: u32,
}

impl Drop for Weston {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Weston {
    /// `None`, and the test counted as skipped, where there is no weston that draws.
    async fn start(test: &str) -> Option<Self> {
        Self::start_at(test, 1).await
    }

    /// The same with a display of this scale, which has so many times as many pixels.
    async fn start_at(test: &str, scale: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("w").tempdir().unwrap();
        let started = Command::new("weston")
            .args(["--backend=headless-backend.so", "--shell=kiosk-shell.so", "--use-pixman", "--no-config", "--debug"])
            .args(["--socket=wayland-9"])
            .args([format!("--width={}", SIZE.0), format!("--height={}", SIZE.1), format!("--scale={scale}")])
            .env("XDG_RUNTIME_DIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                println!("SKIPPED: {test}: weston cannot be started: {error}");
                return None;
            }
        };
        let mut weston = Self { folder, process, scale };
        let begin = Instant::now();
        while UnixStream::connect(weston.socket()).is_err() {
            assert!(
                begin.elapsed() < DEADLINE && weston.process.try_wait().unwrap().is_none(),
                "weston does not start"
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        if !weston.draws_frames().await {
            println!("SKIPPED: {test}: this weston draws no frames, not for its own demo client either");
            return None;
        }
        Some(weston)
    }

    /// On some virtual machines weston's frame timer stands still for minutes: its own demo client tells.
    async fn draws_frames(&self) -> bool {
        let mut demo = tokio::process::Command::new("weston-simple-shm")
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("WAYLAND_DISPLAY", "wayland-9")
            .env("WAYLAND_DEBUG", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = tokio::io::BufReader::new(demo.stderr.take().unwrap()).lines();
        let frames = async {
            let mut frames = 0;
            while let Ok(Some(line)) = lines.next_line().await {
                frames += u32::from(line.contains("wl_callback") && line.contains(".done("));
                // The first few answer something else.
                if frames > 8 {
                    return true;
                }
            }
            false
        };
        let draws = tokio::time::timeout(DEADLINE / 4, frames).await.unwrap_or(false);
        demo.kill().await.unwrap();
        draws
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("wayland-9")
    }

    /// What weston shows: pixels as R, G, B.
    async fn screenshot(&self) -> Vec<[u8; 3]> {
        let shots = tempfile::tempdir_in(self.folder.path()).unwrap();
        let status = tokio::process::Command::new("weston-screenshooter")
            .current_dir(&shots)
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("WAYLAND_DISPLAY", "wayland-9")
            .env("XDG_PICTURES_DIR", shots.path())
            .env("HOME", shots.path())
            .kill_on_drop(true)
            .status();
        let status = tokio::time::timeout(DEADLINE, status).await.unwrap().unwrap();
        assert!(status.success());
        let file = std::fs::read_dir(&shots).unwrap().next().unwrap().unwrap().path();
        read_png(&file, (SIZE.0 * self.scale, SIZE.1 * self.scale))
    }
}

fn read_png(path: &Path, size: (u32, u32)) -> Vec<[u8; 3]> {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.width, info.height), size);
    let samples = info.color_type.samples();
    bytes.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}

#[tokio::test]
async fn weston_shows_exactly_the_guests_pixels_and_paces_it() {
    let Some(weston) = Weston::start("weston_shows_exactly_the_guests_pixels_and_paces_it").await else { return };
    let mut rig = Rig::new();
    rig.handle.attach(UnixStream::connect(weston.socket()).unwrap());
    rig.until("the mode", |rig| {
        rig.answers
            .iter()
            .any(|answer| matches!(answer, ToDevice::Mode { mode, .. } if (mode.width, mode.height) == SIZE))
    })
    .await;

    // Blue, green, red, and nothing: weston may know this format under wl_shm or not, the picture is the same.
    let buffer = memory(SIZE.0, SIZE.1, XR24, [30, 20, 10, 0], false);
    rig.set(0, Some(whole(&buffer))).await;
    let serial = rig.flush(0, &[]).await;
    rig.until("the first picture", |rig| rig.presented(serial)).await;
    paint(&buffer, rect(100, 50, 7, 9), [1, 2, 200, 0]);
    let serial = rig.flush(0, &[rect(100, 50, 7, 9)]).await;
    rig.until("the second picture", |rig| rig.presented(serial)).await;

    let pixels = weston.screenshot().await;
    for (i, pixel) in pixels.iter().enumerate() {
        let (x, y) = (i as u32 % SIZE.0, i as u32 / SIZE.0);
        let painted = (100..107).contains(&x) && (50..59).contains(&y);
        assert_eq!(*pixel, if painted { [200, 2, 1] } else { [10, 20, 30] }, "at {x}, {y}");
    }

    // 60 Hz: 30 flushes that wait for one another take about half a second, not none.
    let begin = Instant::now();
    for _ in 0..30 {
        let serial = rig.flush(0, &[rect(0, 0, 64, 64)]).await;
        rig.until("a frame", |rig| rig.presented(serial)).await;
    }
    assert!(begin.elapsed().as_millis() >= 300, "{:?}", begin.elapsed());
    assert_eq!(rig.detached(), None);
}

#[tokio::test]
async fn a_desktop_of_scale_two_shows_every_pixel_of_the_guest() {
    let test = "a_desktop_of_scale_two_shows_every_pixel_of_the_guest";
    let Some(weston) = Weston::start_at(test, 2).await else { return };
    let size = (SIZE.0 * 2, SIZE.1 * 2);
    let mut rig = Rig::new();
    rig.handle.attach(UnixStream::connect(weston.socket()).unwrap());
    let wanted = |answer: &ToDevice| matches!(answer, ToDevice::Mode { mode, .. } if (mode.width, mode.height) == size);
    rig.until("the mode", |rig| rig.answers.iter().any(wanted)).await;
    // Columns of one pixel each: blurred they would be grey.
    let buffer = memory(size.0, size.1, XR24, [0; 4], false);
    for x in (0..size.0).step_by(2) {
        paint(&buffer, rect(x, 0, 1, size.1), [255, 255, 255, 0]);
    }
    rig.set(0, Some(whole(&buffer))).await;
    let serial = rig.flush(0, &[]).await;
    rig.until("the picture", |rig| rig.presented(serial)).await;
    for (i, pixel) in weston.screenshot().await.iter().enumerate() {
        let (x, y) = (i as u32 % size.0, i as u32 / size.0);
        assert_eq!(*pixel, if x % 2 == 0 { [255; 3] } else { [0; 3] }, "at {x}, {y}");
    }
    assert_eq!(rig.detached(), None);
}

#[tokio::test]
async fn a_weston_that_dies_is_followed_by_another() {
    let Some(first) = Weston::start("a_weston_that_dies_is_followed_by_another").await else { return };
    let mut rig = Rig::new();
    // Firmware begins smaller than the output; then larger, which no compositor accepts without scaling.
    rig.handle.attach(UnixStream::connect(first.socket()).unwrap());
    for size in [(320, 200), (1280, 800)] {
        let buffer = memory(size.0, size.1, XR24, [0, 0, 90, 0], false);
        rig.set(0, Some(whole(&buffer))).await;
        let serial = rig.flush(0, &[]).await;
        rig.until("a picture", |rig| rig.presented(serial)).await;
    }
    assert_eq!(first.screenshot().await[0], [90, 0, 0]);
    drop(first);
    rig.until("its death", |rig| rig.detached().is_some()).await;
    let late = rig.flush(0, &[]).await;
    let Some(second) = Weston::start("a_weston_that_dies_is_followed_by_another").await else { return };
    rig.handle.attach(UnixStream::connect(second.socket()).unwrap());
    rig.until("the picture again", |rig| rig.presented(late)).await;
    assert_eq!(second.screenshot().await[0], [90, 0, 0]);
}
