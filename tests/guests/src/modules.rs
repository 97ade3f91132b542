//! The kernel modules that a tiny guest loads, with all that they depend on, in an order that works.
//!
//! Dependencies are read from each module's own `depends=`, because the package as it is downloaded has no
//! `modules.dep` yet.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Module, and the PCI class or device id (hexadecimal, as sysfs has it) without which the guest does not load it.
const WANTED: &[(&str, &str)] = &[
    ("virtio_pci", ""),
    ("virtio_gpu", ""),
    ("evdev", ""),
    ("virtio_input", ""),
    ("atkbd", ""),
    ("i8042", ""),
    ("button", ""),
    ("xhci_pci", "0c0330"),
    ("hid_generic", "0c0330"),
    ("usbhid", "0c0330"),
    ("bochs", "1111"),
];

/// Copies the modules that a tiny guest loads as [`collect_wanted`] does.
pub fn collect(tree: &Path, target: &Path) -> Result<()> {
    collect_wanted(tree, target, WANTED)
}

/// Copies modules of a kernel's tree, decompressed, to `target`, with all that they depend on, and writes `list` there:
/// a line for each, in the order of loading. A wanted module is a name and what the line begins with, if anything.
pub fn collect_wanted(tree: &Path, target: &Path, wanted_modules: &[(&str, &str)]) -> Result<()> {
    let mut files = BTreeMap::new();
    index(&tree.join("kernel"), &mut files)?;
    let built_in = fs::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
    let is_built_in = |name: &str| built_in.lines().any(|line| module_name(Path::new(line)).as_deref() == Some(name));

    let mut done: Vec<String> = Vec::new();
    let mut list = String::new();
    for (wanted, only_with) in wanted_modules {
        let mut order = Vec::new();
        let mut bodies = BTreeMap::new();
        resolve(
            wanted,
            &mut |name| {
                if done.iter().any(|other| other == name) || is_built_in(name) {
                    return Ok(None);
                }
                let file = files.get(name).with_context(|| format!("this kernel has no module {name}"))?;
                let body = decompress(file)?;
                let depends = depends_of(&body);
                bodies.insert(name.to_owned(), body);
                Ok(Some(depends))
            },
            &mut order,
            0,
        )?;
        for name in order {
            let body = bodies.get(&name).map(Vec::as_slice).unwrap_or_default();
            fs::write(target.join(format!("{name}.ko")), body)?;
            list.push_str(only_with);
            list.push_str(if only_with.is_empty() { "" } else { " " });
            list.push_str(&format!("{name}.ko\n"));
            done.push(name);
        }
    }
    fs::write(target.join("list"), list).context("cannot write the list of modules")
}

/// Appends `name` to `order`, after all that it depends on. `look_up` gives a module's dependencies, or nothing where
/// none has to be loaded.
fn resolve(
    name: &str,
    look_up: &mut impl FnMut(&str) -> Result<Option<Vec<String>>>,
    order: &mut Vec<String>,
    depth: usize,
) -> Result<()> {
    if depth > 32 {
        bail!("the dependencies of module {name} go in a circle");
    }
    if order.iter().any(|other| other == name) {
        return Ok(());
    }
    if let Some(depends) = look_up(name)? {
        for other in depends {
            resolve(&other, look_up, order, depth + 1)?;
        }
        order.push(name.to_owned());
    }
    Ok(())
}

/// Finds all module files below a folder, by module name.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio_gpu` of `…/virtio-gpu.ko.xz`: the kernel does not tell `-` from `_`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn decompress(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let done = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("cannot run {program}; run `cargo xtask setup`, which installs it"))?;
    if !done.status.success() {
        bail!("{program} cannot read {}: {}", file.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(done.stdout)
}

/// The names after `depends=` among the zero-ended texts of the module's `.modinfo` section.
fn depends_of(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let names = module.get(at + key.len()..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(
            depends_of(b"\x7fELF\0license=GPL\0depends=drm,drm-kms-helper\0name=x\0"),
            ["drm", "drm_kms_helper"]
        );
        assert!(depends_of(b"license=GPL\0depends=\0").is_empty());
        assert!(depends_of(b"").is_empty());
    }

    #[test]
    fn names_do_not_tell_dash_from_underscore() {
        assert_eq!(module_name(Path::new("kernel/a/virtio-gpu.ko.xz")).as_deref(), Some("virtio_gpu"));
        assert_eq!(module_name(Path::new("modules.order")), None);
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let mut order = Vec::new();
        let mut look_up = |name: &str| {
            Ok(match name {
                "gpu" => Some(vec!["helper".to_owned(), "drm".to_owned()]),
                "helper" => Some(vec!["drm".to_owned()]),
                "drm" => Some(vec!["built_in".to_owned()]),
                _ => None,
            })
        };
        resolve("gpu", &mut look_up, &mut order, 0).unwrap();
        assert_eq!(order, ["drm", "helper", "gpu"]);
    }

    #[test]
    fn a_circle_is_an_error() {
        let mut look_up = |name: &str| Ok(Some(vec![if name == "a" { "b" } else { "a" }.to_owned()]));
        assert!(resolve("a", &mut look_up, &mut Vec::new(), 0).is_err());
    }
}
