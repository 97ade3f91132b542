//! The files that are shipped beside the programs are what their readers take: login managers, systemd.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// Section, key and value of every line that is no comment, in order.
fn entries(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert_eq!(line, line.trim(), "space around it");
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("neither a section nor a key: {line}"));
        entries.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    entries
}

fn value(entries: &[(String, String, String)], section: &str, key: &str) -> Option<String> {
    let mut found = entries.iter().filter(|(in_section, name, _)| in_section == section && name == key);
    let value = found.next().map(|(_, _, value)| value.clone());
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

#[test]
fn a_login_manager_finds_the_session() {
    let entries = entries(&read("session/phyllome.desktop"));
    assert!(entries.iter().all(|(section, _, _)| section == "Desktop Entry"), "{entries:?}");
    let known = ["Type", "Name", "Comment", "Exec", "TryExec", "DesktopNames"];
    assert!(entries.iter().all(|(_, key, value)| known.contains(&key.as_str()) && !value.is_empty()), "{entries:?}");
    let get = |key| value(&entries, "Desktop Entry", key).unwrap();
    assert_eq!((get("Type"), get("DesktopNames")), ("Application".into(), "Phyllome".into()));
    assert_eq!((get("Exec"), get("TryExec")), ("phyllome-session".into(), "phyllome-session".into()));
}

#[test]
fn the_example_of_greetd_is_toml_that_starts_the_session() {
    let table: toml::Table = read("session/greetd.toml").parse().unwrap();
    assert!(table["terminal"]["vt"].is_integer());
    assert!(table["default_session"]["command"].as_str().unwrap().contains("phyllome-session"));
    assert!(table["default_session"]["user"].is_str());
}

#[test]
fn a_guests_unit_ends_qemu_through_phyllome_guest_and_starts_nothing_again() {
    let entries = entries(&read("systemd/user/phyllome-guest@.service"));
    let get = |key| value(&entries, "Service", key).unwrap();
    assert_eq!(get("KillMode"), "mixed");
    assert_eq!(get("Restart"), "no");
    assert_eq!(get("Slice"), "app-phyllome.slice");
    // %i and not %I: a name with a dash in it is no path.
    assert_eq!(get("ExecStart"), "phyllome-guest run %i --control-only");
    assert!(shipped("systemd/user/app-phyllome.slice").exists());
}

#[test]
fn guests_do_not_end_with_the_session() {
    for unit in ["phyllome-guest@.service", "phyllome-session.target", "app-phyllome.slice"] {
        let entries = entries(&read(&format!("systemd/user/{unit}")));
        let ties = ["PartOf", "BindsTo", "StopPropagatedFrom"];
        assert!(!entries.iter().any(|(_, key, _)| ties.contains(&key.as_str())), "{unit}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let program = path.join("phyllome-guest");
    std::fs::write(&program, "").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut units = Vec::new();
    for file in std::fs::read_dir(shipped("systemd/user")).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let name = file.file_name().into_string().unwrap();
        // The program is where it is installed.
        let absolute = format!("ExecStart={}", program.display());
        std::fs::write(path.join(&name), text.replace("ExecStart=phyllome-guest", &absolute)).unwrap();
        units.push(path.join(name.replace("@.", "@work.")));
    }
    assert_eq!(units.len(), 3);
    let verify = |units: &[PathBuf]| {
        Command::new("systemd-analyze").args(["verify", "--user"]).args(units).env("XDG_RUNTIME_DIR", path).output()
    };
    let Ok(verified) = verify(&units) else {
        println!("SKIPPED: systemd_takes_the_units: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains(&path.display().to_string()), "{said}");
    // The same check sees a mistake.
    let bad = path.join("bad.service");
    std::fs::write(&bad, format!("[Service]\nExecStart={}\nKillMode=some\n", program.display())).unwrap();
    let seen = verify(&[bad]).unwrap();
    assert!(String::from_utf8_lossy(&seen.stderr).contains("kill mode"), "{seen:?}");
}
