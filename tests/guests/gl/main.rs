//! Draws a fixed scene with GLES in a guest, so that a test can compare what the guest says it has drawn, what the same
//! scene is in software, and what is on the screen. Runs in guests of the tests only; Mesa's libraries are opened at
//! run time.
//!
//! `phyllome-gl-scene screen FILE [FRAMES]` draws on the first screen by page flips and leaves the last frame there
//! until it is killed;
//! `phyllome-gl-scene pixels FILE WIDTH HEIGHT FRAMES` draws the last frame alone, off screen. FILE is the last frame
//! as the guest reads it back (PPM).
//! `phyllome-gl-scene frames WIDTH HEIGHT SECONDS` draws one frame after another off screen, each to its end, and says
//! `BEGIN` before the
//! first; the last must have the scene's corners. `phyllome-gl-scene stream WIDTH HEIGHT SECONDS` does the same as
//! programs do: each frame ends by a swap of buffers, and the next is begun at once. It prints GL's strings, `FPS
//! figure` and, when all is drawn, `DONE WIDTHxHEIGHT`.

#[path = "../guest/drm.rs"]
#[allow(dead_code, reason = "the tiny guest uses the rest of it")]
mod drm;
mod egl;
mod gles;
mod scene;
#[path = "../guest/sys.rs"]
#[allow(dead_code, reason = "the tiny guest uses the rest of it")]
mod sys;

use std::os::fd::AsRawFd;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() {
    if let Err(error) = run() {
        eprintln!("phyllome-gl-scene: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["screen", file, rest @ ..] => on_screen(file, rest.first().map_or(Ok(1), |frames| frames.parse())?),
        ["pixels", file, width, height, frames] => off_screen(file, width.parse()?, height.parse()?, frames.parse()?),
        [how @ ("frames" | "stream"), width, height, seconds] => {
            many_frames(*how == "stream", width.parse()?, height.parse()?, seconds.parse()?)
        }
        _ => Err(
            "usage: screen FILE [FRAMES] | pixels FILE WIDTH HEIGHT FRAMES | (frames | stream) WIDTH HEIGHT SECONDS"
                .into(),
        ),
    }
}

fn off_screen(file: &str, width: u32, height: u32, frames: u32) -> Result<(), Failure> {
    let _display = egl::Display::off_screen(width, height)?;
    let scene = scene::Scene::new(gles::Gles::open()?)?;
    let start = Instant::now();
    scene.draw(frames.saturating_sub(1), width, height);
    scene.gles.finish();
    report(start, 1);
    save(file, &scene, width, height)?;
    println!("DONE {width}x{height}");
    Ok(())
}

fn many_frames(stream: bool, width: u32, height: u32, seconds: u32) -> Result<(), Failure> {
    let card = drm::Card::open()?;
    let gbm = egl::Gbm::new(card.as_raw_fd(), width, height)?;
    let display = egl::Display::on_gbm(&gbm)?;
    let scene = scene::Scene::new(gles::Gles::open()?)?;
    println!("BEGIN");
    let start = Instant::now();
    let mut frames = 0;
    let mut front = None;
    loop {
        scene.draw(frames, width, height);
        frames += 1;
        if start.elapsed().as_secs() >= u64::from(seconds) {
            break;
        }
        if !stream {
            scene.gles.finish();
            continue;
        }
        display.swap()?;
        if let Some(previous) = front.replace(gbm.lock_front()?) {
            gbm.release(previous);
        }
    }
    scene.gles.finish();
    report(start, frames);
    // The bottom row comes first.
    let pixels = scene.gles.read_pixels(width, height);
    let last = width as usize - 1;
    let top = (height as usize - 1) * width as usize;
    let corners = [top, top + last, 0, last].map(|at| pixels.chunks_exact(4).nth(at).map(|pixel| &pixel[..3]));
    let wanted: [&[u8]; 4] = [&[255, 0, 0], &[0, 255, 0], &[0, 0, 255], &[255, 255, 0]];
    if corners != wanted.map(Some) {
        return Err(format!("this is not the scene: its corners are {corners:?}").into());
    }
    println!("DONE {width}x{height}");
    Ok(())
}

fn on_screen(file: &str, frames: u32) -> Result<(), Failure> {
    let card = drm::Card::open()?;
    let screens = card.screens(0)?;
    let screen = screens.first().ok_or("no screen is connected")?;
    let (width, height) = (screen.width as u32, screen.height as u32);
    let gbm = egl::Gbm::new(card.as_raw_fd(), width, height)?;
    let display = egl::Display::on_gbm(&gbm)?;
    let scene = scene::Scene::new(gles::Gles::open()?)?;
    let start = Instant::now();
    let mut framebuffers = std::collections::HashMap::new();
    let mut shown: Option<egl::Front> = None;
    for frame in 0..frames.max(1) {
        scene.draw(frame, width, height);
        if frame + 1 >= frames.max(1) {
            save(file, &scene, width, height)?;
        }
        display.swap()?;
        let front = gbm.lock_front()?;
        let framebuffer = match framebuffers.get(&front.handle) {
            Some(framebuffer) => *framebuffer,
            None => card.framebuffer(front.handle, width, height, front.stride)?,
        };
        framebuffers.insert(front.handle, framebuffer);
        match shown.replace(front) {
            None => card.show_framebuffer(screen, framebuffer)?,
            Some(previous) => {
                card.flip_to(screen, framebuffer)?;
                gbm.release(previous);
            }
        }
    }
    report(start, frames);
    println!("DONE {width}x{height}");
    loop {
        std::thread::park();
    }
}

fn report(start: Instant, frames: u32) {
    println!("FPS {:.1}", f64::from(frames) / start.elapsed().as_secs_f64());
}

/// Writes what GL reads back, top row first.
fn save(file: &str, scene: &scene::Scene, width: u32, height: u32) -> Result<(), Failure> {
    let pixels = scene.gles.read_pixels(width, height);
    let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
    for row in pixels.chunks_exact(width as usize * 4).rev() {
        ppm.extend(row.chunks_exact(4).flat_map(|pixel| &pixel[..3]));
    }
    Ok(std::fs::write(file, ppm)?)
}
