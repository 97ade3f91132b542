//! Which files the renderer may open: what drivers read, the render node, nothing to write to.
//!
//! Best effort: older kernels restrict less, and one line says what is left open. Descriptors that are open already
//! stay as they are. Besides the node, /dev/udmabuf can be written to where the host lets this user: what the CPU
//! draws, also behind a node that cannot draw itself, is given out as dmabufs by it alone. Whoever has the renderer can
//! make dmabufs with it of memory that the renderer has anyway, and nothing else. The names and attributes of files are
//! beyond landlock. Folders that the user names to drivers by their environment are readable too, as their drivers lie
//! there.

use super::Plan;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What any of Mesa's drivers, the loaders before them and the C library read. What is not there is no error.
pub const READABLE: [&str; 29] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/run/opengl-driver-32",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/drirc",
    "/etc/glvnd",
    "/etc/egl",
    "/etc/vulkan",
    "/etc/gbm",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/class/drm",
    "/sys/bus/pci/devices",
    "/sys/bus/platform/devices",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/version",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
];
/// Programs that the library starts for Venus, and what starts those.
pub const RUNNABLE: [&str; 7] = [
    "/usr/libexec/virgl_render_server",
    "/usr/lib/virgl_render_server",
    "/usr/lib64/virgl_render_server",
    "/usr/local/libexec/virgl_render_server",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-riscv64-lp64d.so.1",
];
/// The device by which a driver that draws on the CPU makes dmabufs of its memory.
const UDMABUF: &str = "/dev/udmabuf";
/// Listed to find the node, without which libdrm knows no device. Nothing in it can be opened by that.
const NODES: &str = "/dev/dri";
/// Variables that name files or folders of drivers, by colons.
const NAMED: [&str; 9] = [
    "LD_LIBRARY_PATH",
    "LIBGL_DRIVERS_PATH",
    "GBM_BACKENDS_PATH",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "VK_ADD_DRIVER_FILES",
    "VK_LAYER_PATH",
    "__EGL_VENDOR_LIBRARY_FILENAMES",
    "__EGL_VENDOR_LIBRARY_DIRS",
];

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Files are restricted.
    pub confined: bool,
    /// What is left open: a sentence.
    pub missing: Option<String>,
}

/// Restricts the calling thread and those that it starts, for good.
pub fn restrict(plan: Plan<'_>) -> Outcome {
    let named = named(|name| std::env::var_os(name));
    match try_restrict(plan, &named) {
        Ok(status) => judge(&status.ruleset, status.landlock),
        Err(error) => Outcome { confined: false, missing: Some(format!("files are not restricted: {error}")) },
    }
}

fn try_restrict(plan: Plan<'_>, named: &[PathBuf]) -> Result<landlock::RestrictionStatus, RulesetError> {
    let read = BitFlags::from(AccessFs::ReadFile) | AccessFs::ReadDir;
    let device = BitFlags::from(AccessFs::ReadFile) | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::from_all(ABI::V10))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(named.iter().map(PathBuf::as_path).chain(plan.library), read))?;
    if let Ok(nodes) = PathFd::new(NODES) {
        ruleset = ruleset.add_rule(PathBeneath::new(nodes, AccessFs::ReadDir))?;
    }
    if let Some(node) = plan.node {
        ruleset = ruleset.add_rule(PathBeneath::new(node, device))?;
    }
    ruleset = ruleset.add_rules(path_beneath_rules([UDMABUF], device))?;
    if plan.needs.venus {
        ruleset = ruleset.add_rules(path_beneath_rules(RUNNABLE, read | AccessFs::Execute))?;
    }
    ruleset.restrict_self()
}

fn judge(status: &RulesetStatus, landlock: LandlockStatus) -> Outcome {
    let confined = *status != RulesetStatus::NotEnforced;
    let missing = match landlock {
        LandlockStatus::Available { .. } if !confined => Some("files are not restricted".into()),
        LandlockStatus::Available { effective_abi, .. } => lacks(effective_abi).map(|what| {
            format!("this kernel's landlock (ABI {}) does not restrict {what}; seccomp does", effective_abi as i32)
        }),
        _ => Some(
            "this kernel has no landlock, so files can be read until the library runs, and none from then on".into(),
        ),
    };
    Outcome { confined, missing }
}

/// What the older ABIs do not restrict of what is asked for here.
fn lacks(abi: ABI) -> Option<&'static str> {
    if abi >= ABI::V6 {
        None
    } else if abi == ABI::V5 {
        Some("signals and abstract sockets")
    } else if abi == ABI::V4 {
        Some("signals, abstract sockets and commands to devices")
    } else {
        Some("signals, sockets and commands to devices")
    }
}

/// The files and folders that the environment names to drivers; whole paths, and never everything.
fn named(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let values = NAMED.into_iter().filter_map(variable);
    let is_narrow = |path: &&Path| path.is_absolute() && path.components().count() > 1;
    let split = |value: OsString| -> Vec<PathBuf> {
        let parts = value.as_bytes().split(|&byte| byte == b':').map(|part| Path::new(OsStr::from_bytes(part)));
        parts.filter(is_narrow).map(Path::to_owned).collect()
    };
    values.flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_of_the_users_own_are_read_but_not_everything() {
        let found = named(|name| match name {
            "LD_LIBRARY_PATH" => Some("/opt/mesa/lib::relative:/".into()),
            "VK_DRIVER_FILES" => Some("/opt/icd.json".into()),
            _ => None,
        });
        assert_eq!(found, [Path::new("/opt/mesa/lib"), Path::new("/opt/icd.json")]);
    }

    #[test]
    fn no_secrets_lie_beneath_what_is_readable() {
        for secret in [
            "/etc/passwd",
            "/etc/shadow",
            "/home/a/.ssh",
            "/root",
            "/run/user/1000",
            "/tmp",
            "/var",
            "/dev/mem",
            "/proc/1",
        ] {
            let open = READABLE.iter().find(|path| Path::new(secret).starts_with(path));
            assert_eq!(open, None, "{secret}");
        }
    }

    #[test]
    fn older_kernels_are_said_to_restrict_less() {
        let at = |abi| {
            judge(&RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi: abi, kernel_abi: None })
        };
        assert!(at(ABI::V7).missing.is_none() && at(ABI::V7).confined);
        assert!(at(ABI::V3).missing.is_some_and(|line| line.contains("ABI 3") && line.contains("sockets")));
        let absent = judge(&RulesetStatus::NotEnforced, LandlockStatus::NotImplemented);
        assert!(!absent.confined && absent.missing.is_some());
    }
}
