//! `cargo xtask demo`: a shell with tiny guests, on the best backend that there is.
//!
//! Headless, it plays a short piece by the command-line tool, checks what it sees, and saves a picture of every step;
//! elsewhere it opens the shell and leaves it to the person.

use crate::stage::{GUESTS, Stage, Tool};
use crate::{cargo, processes, setup};
use anyhow::{Context, Result, bail};
use phyllome_test_guests as guests;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Long enough for two guests to boot without KVM on a slow machine, after a first try with a KVM that does not work.
const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(15);
/// Minutes that the first build takes on two processors.
const FIRST_BUILD: u32 = 8;

/// The task's arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the shell shows itself
    #[arg(long, value_parser = ["auto", "kms", "nested", "headless"], default_value = "auto")]
    backend: String,
    /// How many guests to start
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    guests: u8,
    /// Stop after so many seconds; headless without it: when the piece is over
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Save pictures and status.json there
    #[arg(long, value_name = "DIR")]
    shots: Option<PathBuf>,
    /// Take the programs as they are
    #[arg(long)]
    no_build: bool,
}

/// Runs the demo.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::run_or_warn();
    if !arguments.no_build {
        build()?;
    }
    println!("making {} guests", arguments.guests);
    let mut stage = Stage::new(arguments.guests.into())?;
    let backend = match arguments.backend.as_str() {
        "auto" if has_display() => "nested",
        "auto" if on_console() => "kms",
        "auto" => "headless",
        other => other,
    };
    let shots = match (&arguments.shots, backend) {
        (Some(folder), _) => Some(std::path::absolute(folder)?),
        (None, "headless") => Some(guests::repository().join(".cache/demo")),
        (None, _) => None,
    };
    if let Some(folder) = &shots {
        fs::create_dir_all(folder.join("events")).with_context(|| format!("cannot make {}", folder.display()))?;
    }

    processes::note_interrupts();
    let start = Instant::now();
    stage.open(backend)?;
    println!("the shell is open ({backend})");
    let recorder =
        shots.as_ref().map(|folder| record_events(stage.tool().clone(), folder.join("events"))).transpose()?;

    let names: Vec<_> = GUESTS.iter().take(arguments.guests.into()).map(|guest| guest.0).collect();
    let played = match (&shots, backend) {
        (Some(folder), "headless") => Piece { tool: stage.tool(), shots: folder, start }.play(&names),
        _ => greet(stage.tool(), &names),
    };
    if let Err(error) = played.or_else(|error| if processes::interrupted() { Ok(()) } else { Err(error) }) {
        eprintln!("the shell's last words:\n{}", stage.last_words());
        return Err(error);
    }
    let stops_by_itself = backend == "headless";
    let end =
        arguments.seconds.map(|seconds| start + Duration::from_secs(seconds)).or(stops_by_itself.then_some(start));
    while stage.is_open() && !processes::interrupted() && end.is_none_or(|end| Instant::now() < end) {
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.close()?;
    if let Some(recorder) = recorder {
        let count = recorder.join().unwrap_or_default();
        let folder = shots.unwrap_or_default();
        println!("{count} changes of state recorded; all pictures are in {}", folder.display());
    }
    Ok(())
}

/// Builds what the demo runs and nothing else, and says beforehand how long that takes.
fn build() -> Result<()> {
    if !cargo::target_dir().join("debug/phyllome-shell").exists() {
        println!("compiling: about {FIRST_BUILD} minutes the first time on two processors, seconds from then on");
    }
    let apart: [&[&str]; 2] = [
        &["--package", "phyllome-guest-bridge", "--bins"],
        // Together, so that what both need is compiled once.
        &["--package", "phyllome-compositor", "--package", "phyllome-tool", "--bins"],
    ];
    apart.iter().try_for_each(|arguments| cargo::build(arguments))
}

fn has_display() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Whether this is a text console in front of a display that can be taken.
fn on_console() -> bool {
    let terminal = fs::read_link("/proc/self/fd/0").unwrap_or_default();
    let number = terminal.to_str().and_then(|name| name.strip_prefix("/dev/tty"));
    let console = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    console && fs::read_dir("/dev/dri").is_ok_and(|mut nodes| nodes.next().is_some())
}

/// Starts the guests and says what a person can do.
fn greet(tool: &Tool, names: &[&str]) -> Result<()> {
    for name in names {
        tool.run(&["start", name])?;
    }
    println!("Super+1 to Super+{} shows a guest, Super+Tab the next, Super+Escape the panel", names.len());
    println!("another terminal reaches this shell by: {} status", tool.how_to_reach());
    println!("Ctrl-C ends it");
    Ok(())
}

/// Prints every event and saves a picture of it, until the shell closes the connection; the thread gives their number.
fn record_events(tool: Tool, folder: PathBuf) -> Result<std::thread::JoinHandle<usize>> {
    let mut events = tool
        .command(&["events", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run phyllome")?;
    let lines = events.stdout.take().context("phyllome events prints nothing")?;
    Ok(std::thread::spawn(move || {
        let mut count = 0;
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"].is_null() {
                continue;
            }
            count += 1;
            let words = words_of(&event);
            println!("  event: {}", words.join(" "));
            let file = folder.join(format!("{count:03}-{}.png", words.join("-")));
            // The last events come when the shell is closing; there is no picture of them any more.
            let _ = tool.run(&["screenshot", &file.to_string_lossy()]);
        }
        let _ = events.wait();
        count
    }))
}

/// An event's kind and its short texts, safe as a part of a file's name.
fn words_of(event: &Value) -> Vec<String> {
    ["event", "name", "state", "mode"]
        .iter()
        .filter_map(|field| event[field].as_str())
        .map(|text| text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(48).collect())
        .collect()
}

/// The piece that is played headless.
struct Piece<'a> {
    tool: &'a Tool,
    shots: &'a Path,
    start: Instant,
}

impl Piece<'_> {
    fn play(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.tool.run(&["start", name])?;
        }
        for name in names {
            self.wait(&format!("{name} is ready"), BOOT, || {
                self.tool.serial(name).contains(&guests::ready_line(name))
            })?;
            self.say(&format!("{name} has booted"));
        }
        let first = names.first().context("there is no guest")?;
        let last = names.last().context("there is no guest")?;
        for (place, name) in names.iter().enumerate() {
            self.tool.run(&["switch", name])?;
            self.wait_for_focus(name)?;
            self.shot(&format!("{}-{name}-booted", place + 1), &format!("{name} after its boot"))?;
        }
        self.save_status()?;

        self.tool.run(&["switch", first])?;
        self.wait_for_focus(first)?;
        let text = format!("echo hello from {first}");
        self.tool.run(&["input", "type", &format!("{text}\n")])?;
        let typed = format!("TYPED: {text}");
        self.wait(&format!("{first} has what was typed"), SOON, || self.tool.serial(first).contains(&typed))?;
        for name in names.iter().skip(1) {
            if self.tool.serial(name).contains("TYPED:") {
                bail!("{name} has received keys that were meant for {first}");
            }
        }
        // The line is told before its answer is drawn; the cursor blinks, so that more pictures follow.
        let told = self.flushes(first);
        self.wait(&format!("{first} has drawn its answer"), SOON, || self.flushes(first) >= told + 3)?;
        self.shot("typed", &format!("text typed in {first} and in no other"))?;

        if names.len() > 1 {
            self.tool.run(&["input", "tap", &format!("super+{}", names.len())])?;
            self.wait_for_focus(last)?;
            self.shot("switched", &format!("the switch to {last} by Super+{}", names.len()))?;
        }

        self.tool.run(&["input", "tap", "super+esc"])?;
        self.wait("the panel has the keyboard", SOON, || self.status(|status| status["mode"] == "panel"))?;
        self.shot("panel", "the panel by Super+Escape")?;
        self.tool.run(&["panel", "hide"])?;
        self.wait_for_focus(last)?;

        self.tool.run(&["kill", last])?;
        let gone = |state: &str| state == "crashed" || state == "stopped";
        self.wait(&format!("{last} is gone"), SOON, || gone(&self.state_of(last)))?;
        self.shot("killed", &format!("{last} was killed: {}", self.state_of(last)))
    }

    fn say(&self, words: &str) {
        println!("{:6.1} s  {words}", self.start.elapsed().as_secs_f64());
    }

    fn status(&self, holds: impl FnOnce(&Value) -> bool) -> bool {
        self.tool.status().is_ok_and(|status| holds(&status))
    }

    fn state_of(&self, name: &str) -> String {
        let status = self.tool.status().unwrap_or_default();
        let guests = status["guests"].as_array().cloned().unwrap_or_default();
        let guest = guests.iter().find(|guest| guest["name"] == name);
        guest.and_then(|guest| guest["state"].as_str()).unwrap_or("unknown").to_owned()
    }

    /// How often a guest has drawn.
    fn flushes(&self, name: &str) -> u64 {
        let status = self.tool.status().unwrap_or_default();
        let guests = status["guests"].as_array().cloned().unwrap_or_default();
        let guest = guests.iter().find(|guest| guest["name"] == name);
        guest.and_then(|guest| guest["scanouts"][0]["flushes"].as_u64()).unwrap_or(0)
    }

    fn wait(&self, what: &str, patience: Duration, condition: impl FnMut() -> bool) -> Result<()> {
        let mut condition = condition;
        if !processes::wait_until(patience, || processes::interrupted() || condition()) {
            bail!(
                "waited {} s in vain: {what}; the status is {}",
                patience.as_secs(),
                self.tool.status().unwrap_or_default()
            );
        }
        if processes::interrupted() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits until a guest has the keyboard and its picture is on an output.
    fn wait_for_focus(&self, name: &str) -> Result<()> {
        let shown = |status: &Value| {
            let shows = |output: &Value| output["guest"] == name;
            status["focus"] == name && status["outputs"].as_array().is_some_and(|outputs| outputs.iter().any(shows))
        };
        self.wait(&format!("{name} has the keyboard"), SOON, || self.status(shown))?;
        // The flash of a switch hides a part of the picture for 900 ms.
        std::thread::sleep(Duration::from_millis(1200));
        Ok(())
    }

    fn shot(&self, file: &str, words: &str) -> Result<()> {
        let path = self.shots.join(format!("{file}.png"));
        self.tool.run(&["screenshot", &path.to_string_lossy()])?;
        self.say(&format!("{words}: {file}.png"));
        Ok(())
    }

    fn save_status(&self) -> Result<()> {
        let path = self.shots.join("status.json");
        let text = self.tool.run(&["status", "--json"])?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.say("the status: status.json");
        Ok(())
    }
}
