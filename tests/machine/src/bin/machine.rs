//! Boots the KMS test machine and does what it is told, by `-e COMMAND` or typed: to try things by hand. See `help`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use phyllome_test_machine::{Gpu, Init, Machine, MachineOptions, Monitors, Planes, Process, Program};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HELP: &str = "\
run COMMAND            run a shell command as person and print what it says
root COMMAND           the same as root
spawn NAME COMMAND     start a shell command as person; its output goes to /share/out/NAME.log
rootspawn NAME COMMAND the same as root
log NAME               what it has written
signal NAME NUMBER     send it a signal
wait NAME              wait for its end (60 s)
until NAME TEXT        wait until it has written TEXT (60 s)
shot FILE.png [HEAD]   what an output shows
colours [HEAD]         size and number of different colours
press KEY KEY …        a chord, such as: press super 1
type TEXT              a text on a US keyboard
enter                  the Enter key
move X Y [W H]         the tablet's pointer, on a screen of W x H (1280 800)
rel X Y                the mouse
click BUTTON           left, middle, right, wheel-up, wheel-down
output HEAD W H        plug in a monitor, or change its size
unplug HEAD            unplug it
sleep SECONDS          wait
qmp COMMAND [JSON]     a command of QEMU's own
dmesg                  the kernel's messages
keep NAME              save screenshots and logs, print where
quit                   end the machine";

/// Boot the KMS test machine; without -e, commands are read from the standard input.
#[derive(Parser)]
struct Arguments {
    /// Commands to do one after the other; the first failure ends all
    #[arg(short, value_name = "COMMAND")]
    execute: Vec<String>,
    /// With phyllome-shell, phyllome and phyllome-guest inside, as they were built last
    #[arg(long)]
    shell: bool,
    /// One more program to put in /usr/local/bin
    #[arg(long, value_name = "FILE")]
    program: Vec<PathBuf>,
    /// One more file to put in /share
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// systemd as the first process
    #[arg(long)]
    systemd: bool,
    /// No display device of QEMU's
    #[arg(long)]
    no_gpu: bool,
    /// With a render node
    #[arg(long)]
    gl: bool,
    /// A display of the kernel's own with so many overlay planes and, if there are any, a cursor plane
    #[arg(long, value_name = "OVERLAYS")]
    vkms: Option<u32>,
    /// No seat daemon
    #[arg(long)]
    no_seat: bool,
    /// Size of the first output
    #[arg(long, value_name = "WxH", default_value = "1280x800")]
    size: String,
    /// Number of outputs
    #[arg(long, default_value_t = 2)]
    outputs: u32,
    /// Also a mouse
    #[arg(long)]
    mouse: bool,
    /// Also a touch screen
    #[arg(long)]
    touch: bool,
    /// Can be suspended
    #[arg(long)]
    suspends: bool,
    /// Make the image where it is not there yet, print where it is, and boot nothing
    #[arg(long)]
    image: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// One more argument of QEMU
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu: Vec<String>,
    /// One more word of the kernel's command line
    #[arg(long, value_name = "WORD")]
    kernel: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.image {
        println!("{}", phyllome_test_machine::image::ensure()?.disk().display());
        return Ok(());
    }
    let (width, height) = arguments.size.split_once('x').context("a size is WxH")?;
    let (width, height, outputs) = (width.parse()?, height.parse()?, arguments.outputs);
    let monitors = Monitors { width, height, outputs, ..Monitors::default() };
    let virtio = if arguments.gl { Gpu::VirtioGl(monitors) } else { Gpu::Virtio(monitors) };
    let mut gpus = if arguments.no_gpu { Vec::new() } else { vec![virtio] };
    gpus.extend(arguments.vkms.map(|overlays| Gpu::Vkms(Planes { overlays, cursor: overlays > 0 })));
    let mut options = if arguments.shell { MachineOptions::with_shell()? } else { MachineOptions::default() };
    options.programs.extend(arguments.program);
    options.files = arguments.file;
    options.gpus = gpus;
    options.init = if arguments.systemd { Init::Systemd } else { Init::Agent };
    options.seatd = !arguments.no_seat;
    (options.mouse, options.touch, options.memory_mib) = (arguments.mouse, arguments.touch, arguments.memory);
    options.suspends = arguments.suspends;
    (options.qemu, options.kernel) = (arguments.qemu, arguments.kernel);

    let machine = Machine::boot(options)?;
    println!("up after {:.1} s; shared folder {}", machine.boot_time().as_secs_f64(), machine.share().display());
    let mut processes = BTreeMap::new();
    if !arguments.execute.is_empty() {
        for line in &arguments.execute {
            println!("> {line}");
            perform(&machine, &mut processes, line)?;
        }
        return Ok(());
    }
    println!("{HELP}");
    let mut lines = std::io::stdin().lock().lines();
    loop {
        print!("> ");
        std::io::stdout().flush()?;
        let Some(line) = lines.next().transpose()?.filter(|line| line.trim() != "quit") else { return Ok(()) };
        if let Err(error) = perform(&machine, &mut processes, &line) {
            println!("{error:#}");
        }
    }
}

fn perform(machine: &Machine, processes: &mut BTreeMap<String, Process>, line: &str) -> Result<()> {
    let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let word = |at: usize| words.get(at).copied().with_context(|| format!("“{verb}” needs more words"));
    let number = |at: usize| -> Result<u32> { Ok(word(at)?.parse()?) };
    let minute = Duration::from_secs(60);
    match verb {
        "" => {}
        "help" => println!("{HELP}"),
        "run" | "root" => {
            let user = if verb == "run" { "person" } else { "root" };
            let output = machine.run(&Program::script(rest).user(user))?;
            print!("{}{}", output.stdout, output.stderr);
            if output.status != 0 {
                println!("(ended with {})", output.status);
            }
        }
        "spawn" | "rootspawn" => {
            let user = if verb == "spawn" { "person" } else { "root" };
            let (name, command) = rest.split_once(' ').context("spawn NAME COMMAND")?;
            // exec: signals go to the program, not to a shell around it.
            let process = machine.spawn(name, &Program::script(&format!("exec {command}")).user(user))?;
            println!("process {}", process.pid());
            processes.insert(name.to_owned(), process);
        }
        "log" | "signal" | "wait" | "until" => {
            let process = processes.get(word(0)?).context("nothing of that name was started")?;
            match verb {
                "log" => print!("{}", process.output()),
                "signal" => process.signal(number(1)? as i32)?,
                "wait" => println!("ended with {}", process.wait(minute)?),
                _ => drop(process.wait_output(rest.split_once(' ').context("until NAME TEXT")?.1, minute)?),
            }
        }
        "shot" => machine.screendump(number(1).unwrap_or(0))?.write(Path::new(word(0)?))?,
        "colours" => {
            let picture = machine.screendump(number(0).unwrap_or(0))?;
            println!("{}x{}, {} colours", picture.width, picture.height, picture.colours());
        }
        "press" => machine.press(&words)?,
        "type" => machine.type_text(rest)?,
        "enter" => machine.press(&["enter"])?,
        "move" => {
            let size = (number(2).unwrap_or(1280), number(3).unwrap_or(800));
            machine.move_pointer((number(0)?, number(1)?), size)?;
        }
        "rel" => machine.move_pointer_by(word(0)?.parse()?, word(1)?.parse()?)?,
        "click" => machine.click(word(0)?)?,
        "output" => machine.set_output(number(0)?, Some((number(1)? as u16, number(2)? as u16)))?,
        "unplug" => machine.set_output(number(0)?, None)?,
        "sleep" => std::thread::sleep(Duration::from_secs_f64(word(0)?.parse()?)),
        "qmp" => {
            let json = rest.split_once(' ').map_or("{}", |(_, json)| json);
            println!("{}", machine.qmp(word(0)?, serde_json::from_str(json)?)?);
        }
        "dmesg" => print!("{}", machine.root("dmesg")?),
        "keep" => println!("{}", machine.keep(word(0)?).display()),
        other => bail!("no such command: {other}; try help"),
    }
    Ok(())
}
