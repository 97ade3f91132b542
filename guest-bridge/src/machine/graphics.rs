//! Which 3D a guest gets: the choice, which is pure, and the renderer that has to be ready before QEMU starts.
//!
//! `gpu.mode = "auto"` takes 3D where a graphics device draws it. Where only the processor could, the guest's own
//! software does the same work with less that can go wrong, so 3D is made only for `"3d"`. Whatever is missing, a guest
//! that does not insist on 3D starts without it and says why in its status.

use crate::renderer::client::{Client, Patience};
use crate::renderer::launch::Launch;
use phyllome_config::guest::GpuMode;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// A variable for tests: how many deaths within a minute end 3D.
#[cfg(any(test, feature = "test-doors"))]
const DEATHS: &str = "PHYLLOME_TEST_RENDERER_DEATHS";
/// Where the kernel has its graphics devices.
const DRI: &str = "/dev/dri";
/// The first render node's number, and how many there may be (drm_drv.c).
const RENDER_NODES: std::ops::Range<u32> = 128..192;

/// What is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No 3D: one sentence says why.
    None(&'static str),
    /// 3D if it works.
    Try {
        /// The device that draws; the processor if there is none.
        node: Option<PathBuf>,
    },
    /// 3D, or the guest does not start.
    Insist {
        /// The same.
        node: Option<PathBuf>,
    },
}

/// What `mode` means on a host with this render node.
pub fn wish(mode: GpuMode, node: Option<PathBuf>) -> Wish {
    match (mode, node) {
        (GpuMode::TwoD | GpuMode::Vga, _) => {
            Wish::None("the guest's definition asks for no 3D; gpu.mode = \"auto\" does")
        }
        (GpuMode::ThreeD, node) => Wish::Insist { node },
        (GpuMode::Auto, Some(node)) => Wish::Try { node: Some(node) },
        (GpuMode::Auto, None) => Wish::None(
            "no graphics device of this host can be used for 3D; gpu.mode = \"3d\" draws with the processor all the same",
        ),
    }
}

/// The first render node that this process may open.
pub fn render_node() -> Option<PathBuf> {
    RENDER_NODES
        .map(|number| Path::new(DRI).join(format!("renderD{number}")))
        .find(|node| OpenOptions::new().read(true).write(true).open(node).is_ok())
}

/// What the renderer is granted; tests that end it over and over say so.
#[cfg(any(test, feature = "test-doors"))]
fn patience() -> Patience {
    patience_for(std::env::var_os(DEATHS))
}

/// What the renderer is granted.
#[cfg(not(any(test, feature = "test-doors")))]
fn patience() -> Patience {
    Patience::default()
}

#[cfg(any(test, feature = "test-doors"))]
fn patience_for(deaths: Option<OsString>) -> Patience {
    let deaths = deaths.and_then(|deaths| deaths.to_str()?.parse().ok());
    Patience { deaths: deaths.unwrap_or(Patience::default().deaths), ..Patience::default() }
}

/// Starts a renderer and waits until it is ready. It is asked for Venus and native contexts unless there is a reason
/// why the guest could not use them. The error is one sentence.
pub async fn prepare(node: Option<PathBuf>, virgl_only: Option<String>) -> Result<Client, String> {
    prepare_as(Launch::find()?, node, virgl_only).await
}

/// The same of another renderer. One that does not start with Venus and native contexts, whose drivers are others, is
/// started without.
pub async fn prepare_as(
    mut launch: Launch,
    node: Option<PathBuf>,
    virgl_only: Option<String>,
) -> Result<Client, String> {
    let more = ["--venus", "--drm"].into_iter().filter(|&more| more == "--venus" || node.is_some());
    let more: Vec<OsString> = more.map(Into::into).collect();
    if let Some(node) = node {
        launch.arguments.extend(["--render-node".into(), node.into_os_string()]);
    }
    let lack = match virgl_only {
        Some(why) => why,
        None => {
            let mut with_more = launch.clone();
            with_more.arguments.extend(more);
            match start(with_more).await {
                Ok(client) => return Ok(client),
                Err(why) => format!("no Venus and no native contexts: with them 3D does not start ({why})"),
            }
        }
    };
    let mut client = start(launch).await?;
    client.add_lack(lack);
    Ok(client)
}

async fn start(launch: Launch) -> Result<Client, String> {
    let starting =
        Client::start_with(launch, patience()).map_err(|error| format!("cannot start the renderer: {error}"))?;
    let client = starting.ready().await?;
    tracing::info!(driver = client.driver(), pid = client.pid(), "3D is ready");
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_granted_by_number_only() {
        assert_eq!(patience_for(Some("1000".into())).deaths, 1000);
        for other in [None, Some("many".into())] {
            assert_eq!(patience_for(other), Patience::default());
        }
    }

    #[test]
    fn three_d_is_made_where_a_device_draws_it_or_the_person_insists() {
        let node = Some(PathBuf::from("/dev/dri/renderD128"));
        assert_eq!(wish(GpuMode::Auto, node.clone()), Wish::Try { node: node.clone() });
        assert!(matches!(wish(GpuMode::Auto, None), Wish::None(why) if why.contains("gpu.mode = \"3d\"")));
        assert_eq!(wish(GpuMode::ThreeD, None), Wish::Insist { node: None });
        assert!(matches!(wish(GpuMode::TwoD, node.clone()), Wish::None(_)));
        assert!(matches!(wish(GpuMode::Vga, node), Wish::None(_)));
    }
}
