//! The tiny Linux guests of the tests under a real QEMU. Where their kernel is not there yet, it is fetched.

use super::bridge::{Bridge, eventually};
use phyllome_test_guests::Mode;

/// The file of a guest named `work` that does this.
pub fn linux(mode: Mode, scanouts: u32) -> String {
    let kernel = phyllome_test_guests::guest_kernel().expect("the guest kernel, or the network to fetch it");
    let initrd = phyllome_test_guests::guest_initrd().expect("the guest image can be made");
    let cmdline = phyllome_test_guests::cmdline("work", "red", mode);
    format!(
        "profile = \"linux\"\nmemory = \"256MiB\"\ncpus = 1\n[machine]\naccel = \"tcg\"\nfirmware = \"none\"\n[boot]\nkernel = \"{}\"\n\
         initrd = \"{}\"\ncmdline = \"{cmdline}\"\n[network]\nmode = \"none\"\n[gpu]\nscanouts = {scanouts}\n",
        kernel.display(),
        initrd.display()
    )
}

/// What it has written to its serial line.
pub fn serial(bridge: &Bridge) -> String {
    std::fs::read(bridge.state_folder().join("serial.log"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Waits until it has written this there.
pub fn wait_for(bridge: &Bridge, line: &str) {
    eventually(line, || serial(bridge).contains(line));
}
