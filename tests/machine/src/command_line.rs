//! QEMU's command line for a machine: its devices, where its sockets are, and what its kernel is told.
//!
//! Pure but for the speed of this computer's clock. Names files only below the machine's own folder and the image's.

use crate::options::{Gpu, Init, MachineOptions};
use crate::{clock, image};
use std::path::Path;

/// The arguments. `folder` is the machine's own.
pub(crate) fn arguments(options: &MachineOptions, folder: &Path, image: &image::Image, initrd: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut kernel = vec!["console=ttyS0", "loglevel=4", "panic=-1", "mitigations=off", "nokaslr", "tsc=reliable"];
    // Whether the timer ticks is found out against the processor's speed, which on a busy computer is none: the kernel
    // then takes the timer for broken, and comes up no further.
    kernel.push("no_timer_check");
    // Counted, time is right by itself.
    let speed = clock::kilohertz().filter(|_| !options.counted).map(|speed| format!("tsc_early_khz={speed}"));
    kernel.extend(speed.as_deref());
    kernel.push(match options.init {
        Init::Agent => "machine.init=agent",
        Init::Systemd => "machine.init=systemd",
    });
    kernel.extend(["systemd.unit=multi-user.target", "systemd.show_status=0", "audit=0", "selinux=0", "apparmor=0"]);
    if !options.seatd {
        kernel.push("machine.seat=none");
    }
    let planes: Vec<_> = options.gpus.iter().filter_map(planes).collect();
    kernel.extend(planes.iter().map(String::as_str));
    kernel.extend(options.kernel.iter().map(String::as_str));

    let mut arguments: Vec<String> = [
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-machine",
        "q35,i8042=off,vmport=off,hpet=off,smbus=off,sata=off",
        "-cpu",
        "max",
        "-vga",
        "none",
        "-device",
        "virtio-rng-pci",
        "-device",
        "virtio-serial-pci",
        "-device",
        "virtserialport,chardev=agent,name=agent",
        "-device",
        "virtio-blk-pci,drive=root",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut add = |name: &str, value: String| arguments.extend([format!("-{name}"), value]);
    // Devices that lose and regain their power change the machine's memory map, which QEMU 10.0's processors cannot all
    // survive at once (iotlb_to_section's assertion).
    let one_by_one = options.counted || options.suspends;
    add("accel", format!("tcg,thread={}", if one_by_one { "single" } else { "multi" }));
    if options.counted {
        add("icount", "shift=0,sleep=on".to_owned());
    }
    add("display", if draws(options) { "sdl,gl=on" } else { "none" }.to_owned());
    add("smp", options.cpus.to_string());
    add("m", options.memory_mib.to_string());
    add("kernel", image.kernel().display().to_string());
    add("initrd", initrd.display().to_string());
    add("append", kernel.join(" "));
    add("drive", format!("id=root,file={},format=raw,if=none,snapshot=on,discard=unmap", image.disk().display()));
    add("fsdev", format!("local,id=share,path={},security_model=none,multidevs=remap", path("share")));
    add("device", "virtio-9p-pci,fsdev=share,mount_tag=share".to_owned());
    add("chardev", format!("socket,id=agent,path={},server=on,wait=off", path("agent")));
    add("qmp", format!("unix:{},server=on,wait=off", path("qmp")));
    add("serial", format!("file:{}", path("serial.log")));
    for (number, gpu) in options.gpus.iter().enumerate() {
        let Some(monitors) = gpu.monitors() else { continue };
        let edid = if monitors.edid { "on" } else { "off" };
        let (width, height, outputs) = (monitors.width, monitors.height, monitors.outputs);
        let size = format!("xres={width},yres={height},max_outputs={outputs},edid={edid}");
        let draws = matches!(gpu, Gpu::VirtioGl(_));
        let kind = if draws { "virtio-gpu-gl-pci" } else { "virtio-gpu-pci" };
        add("device", format!("{kind},id=gpu{number},{size}"));
        // Where monitors are told to be; QEMU has no such display of a device that draws.
        for head in 0..if draws { 0 } else { outputs } {
            add("vnc", format!("unix:{},display=gpu{number},head={head}", path(&format!("vnc-{number}-{head}"))));
        }
    }
    for (wanted, device) in [
        (options.keyboard, "virtio-keyboard-pci"),
        (options.tablet, "virtio-tablet-pci"),
        (options.mouse, "virtio-mouse-pci"),
        (options.touch, "virtio-multitouch-pci"),
    ] {
        if wanted {
            add("device", device.to_owned());
        }
    }
    if options.suspends {
        behind_ports(&mut arguments);
    }
    arguments.extend(options.qemu.iter().cloned());
    arguments
}

/// Whether QEMU draws with GL, for which it needs a display of its own.
pub(crate) fn draws(options: &MachineOptions) -> bool {
    options.gpus.iter().any(|gpu| matches!(gpu, Gpu::VirtioGl(_)))
}

/// The kernel's word for a display that `start.sh` makes.
fn planes(gpu: &Gpu) -> Option<String> {
    let Gpu::Vkms(planes) = gpu else { return None };
    Some(format!("machine.vkms={}{}", planes.overlays, if planes.cursor { "c" } else { "" }))
}

/// Puts every device behind a PCIe port of its own: only there it has power states. Displays and input devices are
/// reset on a suspend, as real ones are; all others are not, because the kernel cannot set up a shared folder or a port
/// again that programs use.
fn behind_ports(arguments: &mut Vec<String>) {
    let mut ports = Vec::new();
    for device in arguments.iter_mut().filter(|argument| argument.starts_with("virtio-")) {
        let Some((kind, _)) = device.split_once("-pci") else { continue };
        let is_reset =
            ["gpu", "keyboard", "tablet", "mouse", "multitouch"].contains(&kind.trim_start_matches("virtio-"));
        let number = ports.len() / 2 + 1;
        device.push_str(&format!(",bus=port{number}"));
        if !is_reset {
            device.push_str(",x-pcie-pm-no-soft-reset=on");
        }
        let chassis = 100 + number;
        ports.extend(["-device".to_owned(), format!("pcie-root-port,id=port{number},chassis={chassis}")]);
    }
    // A port is there before what is behind it.
    arguments.splice(0..0, ports);
}
