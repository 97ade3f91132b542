//! Vulkan in the guest by Venus, on QEMU's generic device: the host's device is lavapipe, which draws with the
//! processor.

use crate::generic::{newer, options};
use crate::names::values;
use crate::{deaths, on_guest};
use anyhow::{Context, Result, ensure};
use phyllome_tests::gl_guest::{GL, GlOptions};
use phyllome_tests::udmabuf;
use std::time::{Duration, Instant};

/// Vulkan's loader looks at this driver alone: the guest has lavapipe too.
const VENUS: &str = "VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json";

/// From the renderer's death until its servers have noticed.
const GONE: Duration = Duration::from_secs(10);

#[test]
fn gpu3d_venus_computes_in_the_guest() -> Result<()> {
    let name = "gpu3d_venus_computes_in_the_guest";
    let Some(newer) = newer(name) else { return Ok(()) };
    if !newer.has("/usr/libexec/virgl_render_server") {
        println!("SKIPPED: {name}: the image has no virgl_render_server");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut environment = Vec::new();
    if !udmabuf::is_there() {
        println!("this kernel has no udmabuf: a stand-in plays it for the renderer");
        let renderer = udmabuf::renderer(folder.path())?;
        environment.push(("PHYLLOME_RENDERER".to_owned(), renderer.display().to_string()));
    }
    on_guest(name, GlOptions { environment, ..options(newer) }, |guest| {
        let gpu = guest.gpu()?;
        ensure!((gpu.transport.as_str(), gpu.renderer.as_str()) == ("generic", "venus+virgl"), "{gpu:?}");
        let said = guest.run_within(&format!("{VENUS} vulkaninfo --summary"), GL)?.ok()?;
        let said = said.replace('=', ":");
        let names = values(&said, "deviceName");
        ensure!(
            names.len() == 1 && names[0].contains("Venus") && names[0].contains("llvmpipe"),
            "vulkaninfo says {said}"
        );
        println!("{}", names[0]);

        let sums = guest.install_sums()?;
        let before = guest.gpu()?;
        let said = guest.run_within(&format!("{VENUS} {sums} 3"), GL)?;
        let rendered = format!("{said:?}; {}", guest.host.shell_log());
        let said = said.ok().context(rendered)?;
        ensure!(said.matches("RIGHT ").count() == 3 && said.ends_with("DONE\n"), "{said}");
        println!("{}", said.replace('\n', ", "));
        let after = guest.gpu()?;
        ensure!(after.errors == before.errors && after.renderer_restarts == 0, "{before:?}, then {after:?}");

        // A program is in the midst of it when the renderer is killed: its servers go too, and a new program computes
        // with another.
        let endless = guest.spawn("sums", &format!("exec env {VENUS} {sums} 4000000000"))?;
        endless.wait_output("RIGHT ", GL)?;
        let renderer = after.renderer_pid.context("no renderer")?;
        let servers = descendants(renderer);
        ensure!(servers.len() >= 2, "no render server with a process for the context: {servers:?}");
        servers.iter().try_for_each(|&pid| is_confined(pid))?;
        // One that does not look at its connection any more is ended all the same.
        servers.iter().try_for_each(|&pid| stop(pid))?;
        deaths::kill(renderer)?;
        deaths::replaced(guest, Some(renderer), 1)?;
        let end = Instant::now() + GONE;
        while servers.iter().any(|&pid| is_server(pid)) {
            ensure!(Instant::now() < end, "servers of a killed renderer are still there: {servers:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        endless.kill()?;
        endless.wait(GL)?;
        let said = guest.run_within(&format!("{VENUS} {sums} 2"), GL)?.ok()?;
        ensure!(said.matches("RIGHT ").count() == 2, "{said}");
        guest.wait_console()?;
        Ok(())
    })
}

/// Processes that a process has started, and those that they have.
fn descendants(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&of) = found.get(next) {
        found.extend(all.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid));
        next += 1;
    }
    found.split_off(1)
}

fn stop(pid: u32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid as i32).context("pid 0")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::STOP)?)
}

fn is_server(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("virgl"))
}

/// What the renderer gave up, the servers that it starts have not either.
fn is_confined(pid: u32) -> Result<()> {
    ensure!(is_server(pid), "{pid} is no render server");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| values(&status, name).first().map(|value| value.to_string()).unwrap_or_default();
    ensure!(field("NoNewPrivs") == "1" && field("Seccomp") == "2" && field("CapEff") == "0000000000000000", "{status}");
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    ensure!(network(&pid.to_string())? != network("self")?, "{pid} is in our network");
    Ok(())
}
