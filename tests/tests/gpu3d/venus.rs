//! Vulkan in the guest by Venus, on QEMU's generic device: the host's device is lavapipe, which draws with the processor.

use crate::generic::{newer, options};
use crate::names::values;
use crate::on_guest;
use anyhow::{Context, Result, ensure};
use phyllome_tests::gl_guest::{GL, GlOptions};
use phyllome_tests::udmabuf;

/// Vulkan's loader looks at this driver alone: the guest has lavapipe too.
const VENUS: &str = "VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json";

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
        ensure!(names.len() == 1 && names[0].contains("Venus") && names[0].contains("llvmpipe"), "vulkaninfo says {said}");
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
        Ok(())
    })
}
