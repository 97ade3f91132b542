//! A guest's firmware: which of the host's builds it runs, and its own copy of that build's variables.
//!
//! Variables belong to a build: read by another one they are lost or never stick. So a guest that has some runs the
//! build that they fit; where the host has none that they fit, it is a person who decides. Nothing that is there is
//! ever overwritten, and a copy that cannot be finished leaves nothing.

use super::disks::look_alone;
use super::host::FirmwareFiles;
use super::image::{Content, Header};
use super::room;
use phyllome_config::Places;
use phyllome_config::guest::Firmware;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Endings of the names of variables: what the distributions' templates have.
const ENDINGS: [&str; 3] = ["fd", "qcow2", "bin"];

/// Where the guests' variables lie.
pub fn folder(places: &Places) -> PathBuf {
    places.data.join("firmware")
}

/// The build for this guest, if the host has one of the kind that it wants, and where its variables lie or will lie.
pub fn choose(wanted: Firmware, folder: &Path, stem: &str) -> (Option<FirmwareFiles>, PathBuf) {
    let places = match wanted {
        Firmware::Uefi => phyllome_config::firmware::UEFI,
        Firmware::UefiSecure => phyllome_config::firmware::UEFI_SECURE,
        Firmware::Bios | Firmware::None => &[],
    };
    let builds = places.iter().filter_map(|place| FirmwareFiles::find(&[*place], Path::is_file));
    choose_of(&builds.collect::<Vec<_>>(), folder, stem, wanted == Firmware::UefiSecure)
}

fn choose_of(builds: &[FirmwareFiles], folder: &Path, stem: &str, secure: bool) -> (Option<FirmwareFiles>, PathBuf) {
    let kind = if secure { ".secure" } else { "" };
    let vars = |build: &FirmwareFiles| {
        let ending = build.vars_template.extension().and_then(|ending| ending.to_str()).unwrap_or("fd");
        folder.join(format!("{stem}{kind}.{ending}"))
    };
    let fits = |build: &&FirmwareFiles| {
        let size = disk_size(&vars(build)).ok();
        size.is_some() && size == disk_size(&build.vars_template).ok()
    };
    let build = builds.iter().find(fits).or(builds.first());
    (build.cloned(), build.map_or_else(|| folder.join(format!("{stem}{kind}.fd")), vars))
}

/// Makes the variables ready for a start: those that the guest has, if they fit, else its own copy of the template. The
/// error is one sentence.
pub fn ready(build: &FirmwareFiles, vars: &Path) -> Result<(), String> {
    let shown = vars.display();
    let size = |path: &Path| {
        disk_size(path).map_err(|error| format!("{} cannot be read ({error}); mend its permissions", path.display()))
    };
    let wanted = size(&build.vars_template)?;
    if vars.exists() {
        look_alone("file of the firmware's variables", vars, true)?;
        let found = size(vars)?;
        if found != wanted {
            return Err(format!(
                "{shown} holds firmware settings of another build of OVMF ({} KiB, not {}); install that build, or rename the \
                 file, and the guest starts with new settings",
                found / 1024,
                wanted / 1024
            ));
        }
        return Ok(());
    }
    let other = ENDINGS.iter().map(|ending| vars.with_extension(ending)).find(|path| path.is_file());
    if let Some(other) = other {
        return Err(format!(
            "{} holds firmware settings in a format that the OVMF here does not take; install the build that they are of, or \
             rename the file, and the guest starts with new settings",
            other.display()
        ));
    }
    if let Some(kept) = other_kind(vars).filter(|kept| kept.is_file()) {
        tracing::info!(kept = %kept.display(), "the guest starts with new firmware settings, of another kind");
    }
    copy(&build.vars_template, vars, wanted)
}

/// Where the guest's variables of the other kind lie: with secure boot, and without.
fn other_kind(vars: &Path) -> Option<PathBuf> {
    let (stem, ending) = vars.file_name()?.to_str()?.rsplit_once('.')?;
    let other = stem.strip_suffix(".secure").map_or_else(|| format!("{stem}.secure"), str::to_owned);
    Some(vars.with_file_name(format!("{other}.{ending}")))
}

/// Size of the disk that an image holds, in bytes.
fn disk_size(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let header = Header::read(&file)?;
    match (header.content, header.size) {
        (Content::Image(_), Some(size)) => Ok(size),
        _ => Ok(file.metadata()?.len()),
    }
}

fn copy(template: &Path, vars: &Path, size: u64) -> Result<(), String> {
    let failed = |error: io::Error| {
        format!(
            "cannot make the firmware's variables {} ({error}); mend the permissions of their folder",
            vars.display()
        )
    };
    if let Some(folder) = vars.parent() {
        room::check_folder("the guest's firmware settings", folder, size)?;
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut new = vars.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        io::copy(&mut File::open(template)?, &mut out)?;
        // A full disk may say so only now.
        out.sync_all()?;
        std::fs::rename(&new, vars)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&new);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(dir: &Path, name: &str, size: u64) -> FirmwareFiles {
        let (code, vars_template) = (dir.join(format!("CODE-{name}")), dir.join(format!("VARS-{name}")));
        for file in [&code, &vars_template] {
            File::create(file).unwrap().set_len(size).unwrap();
        }
        FirmwareFiles { code, vars_template }
    }

    #[test]
    fn a_guest_runs_the_build_that_its_variables_are_of() {
        let dir = tempfile::tempdir().unwrap();
        let (large, small) = (build(dir.path(), "4M.fd", 540_672), build(dir.path(), "2M.fd", 131_072));
        let builds = [large.clone(), small.clone()];
        let (chosen, vars) = choose_of(&builds, dir.path(), "work", false);
        assert_eq!((chosen, vars.file_name().unwrap().to_str()), (Some(large.clone()), Some("work.fd")));
        ready(&small, &vars).unwrap();
        assert_eq!(choose_of(&builds, dir.path(), "work", false).0, Some(small), "as when they were made");
        let (chosen, vars) = choose_of(&builds, dir.path(), "work", true);
        assert_eq!((chosen, vars.file_name().unwrap().to_str()), (Some(large), Some("work.secure.fd")));
    }

    #[test]
    fn variables_of_another_build_are_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (large, qcow2) = (build(dir.path(), "4M.fd", 540_672), build(dir.path(), "4M.qcow2", 540_672));
        let vars = dir.path().join("work.fd");
        std::fs::write(&vars, [7; 131_072]).unwrap();
        let why = ready(&large, &vars).unwrap_err();
        assert!(why.contains("work.fd holds firmware settings of another build of OVMF (128 KiB, not 528)"), "{why}");
        let why = ready(&qcow2, &dir.path().join("work.qcow2")).unwrap_err();
        assert!(why.contains("work.fd holds firmware settings in a format that the OVMF here does not take"), "{why}");
        assert_eq!(std::fs::read(&vars).unwrap(), [7; 131_072]);
        assert!(!dir.path().join("work.qcow2").exists());
    }

    #[test]
    fn a_copy_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let vars = dir.path().join("new/work.fd");
        // A folder can be opened and not be read.
        assert!(copy(dir.path(), &vars, 1).unwrap_err().contains("cannot make the firmware's variables"));
        assert_eq!(std::fs::read_dir(vars.parent().unwrap()).unwrap().count(), 0);
    }
}
