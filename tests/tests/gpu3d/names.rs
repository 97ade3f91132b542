//! What programs in the guest are told of their GPU.

use crate::{is_rehearsal, on_shared_guest, renderer_name};
use anyhow::{Result, ensure};

/// The values after `key:` in a program's output.
pub fn values<'a>(said: &'a str, key: &str) -> Vec<&'a str> {
    said.lines().filter_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix(':')).map(str::trim).collect()
}

#[test]
fn gpu3d_programs_in_the_guest_name_virgl() -> Result<()> {
    on_shared_guest("gpu3d_programs_in_the_guest_name_virgl", |guest| {
        let kernel = guest.run("dmesg | grep -i 'drm.*features'")?.ok()?;
        ensure!(kernel.contains(if is_rehearsal() { "-virgl" } else { "+virgl" }), "the kernel says {kernel}");

        let said = guest.run("eglinfo -B -p gbm")?.ok()?;
        let renderers = values(&said, "OpenGL ES profile renderer");
        ensure!(!renderers.is_empty() && renderers.iter().all(|r| r.contains(renderer_name())), "eglinfo says {said}");
        let version = values(&said, "OpenGL ES profile version");
        ensure!(version.iter().any(|version| version.contains("OpenGL ES 3")), "eglinfo says {version:?}");
        Ok(())
    })
}
