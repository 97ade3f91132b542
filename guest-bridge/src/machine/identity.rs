//! What belongs to a guest however its file is called: its network address, its SMBIOS UUID, its firmware's settings.
//!
//! All of it comes from the `id` in its file, which is made here at the first start. A guest that has run before it had
//! one keeps its address (the id is chosen so that it gives the same) and its settings (their files get the id's name).
//! One whose file cannot be written goes on as it did: what it has comes from its name.

use phyllome_config::identity::{ids, keep_id, keeps_id};
use phyllome_config::{GuestDefinition, GuestId, Places, shared_id};
use phyllome_protocol::GuestName;
use std::path::Path;

/// The guest's network address, in QEMU's range.
pub fn mac_address(definition: &GuestDefinition) -> String {
    let [a, b, c] = match definition.id {
        Some(id) => last_three(id),
        None => of_name(definition.name.as_str()),
    };
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

/// The UUID that the guest's SMBIOS tells.
pub fn uuid(definition: &GuestDefinition) -> GuestId {
    definition.id.unwrap_or_else(|| {
        let name = definition.name.as_str();
        let (first, second) = (hash(name, 0xcbf2_9ce4_8422_2325), hash(name, 0x6c62_272e_07bb_0142));
        let mut bytes = ((u128::from(first) << 64) | u128::from(second)).to_be_bytes();
        // Version 8, of one's own making (RFC 9562, section 5.8).
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        GuestId::from_bytes(bytes)
    })
}

/// The beginning of the names of the files that are the guest's alone.
pub fn stem(definition: &GuestDefinition) -> String {
    definition.id.map_or_else(|| definition.name.to_string(), |id| id.to_string())
}

/// Sees to it that the guest has an id, and that what it had under its name is found under that. To be called with the
/// guest's lock held. The error is one sentence: another guest has its id.
pub fn settle(definition: &mut GuestDefinition, file: &Path, places: &Places) -> Result<(), String> {
    let own = file.canonicalize().ok();
    let mut others = ids(places);
    others.retain(|(_, path, _)| path.canonicalize().ok() != own);
    let elsewhere = own.as_deref().is_none_or(|own| !is_below(own, &places.guests_dir()));
    match definition.id {
        Some(id) => {
            // As the shell decides it. A file elsewhere is always the copy.
            let mut others =
                others.iter().filter(|(_, path, other)| *other == id && (elsewhere || keeps_id(path, file)));
            if let Some((_, other, _)) = others.next() {
                return Err(format!("{}: {}", file.display(), shared_id(other)));
            }
        }
        None => {
            let others: Vec<_> = others.iter().map(|(_, _, id)| *id).collect();
            make(definition, file, places, &others, elsewhere);
        }
    }
    // What goes by this name is that of the guest whose file is where guests' files are.
    match definition.id.filter(|_| !elsewhere) {
        Some(id) => move_settings(&definition.name, &id.to_string(), places),
        None => Ok(()),
    }
}

fn is_below(path: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| path.parent() == Some(&folder))
}

fn make(definition: &mut GuestDefinition, file: &Path, places: &Places, others: &[GuestId], elsewhere: bool) {
    let made = GuestId::random().map_err(|error| format!("no id can be made: {error}")).and_then(|id| {
        let former = of_name(definition.name.as_str());
        // Only if it has run: a new guest with the name that another once had is another guest. And if that one still
        // has its address, it keeps it.
        let ran = !elsewhere && places.logs_dir(&definition.name).join("qemu.log").exists();
        let id =
            if ran && others.iter().all(|other| last_three(*other) != former) { with_last(id, former) } else { id };
        keep_id(file, &definition.name, places, id).map_err(|error| error.to_string())?;
        Ok(id)
    });
    match made {
        Ok(id) => {
            tracing::info!(%id, file = %file.display(), "the guest was given an id");
            definition.id = Some(id);
        }
        Err(why) => tracing::warn!(why, "the guest has no id: its address and firmware settings go by its name"),
    }
}

/// Gives the firmware settings of a guest that had no id the id's name. The error is one sentence.
fn move_settings(name: &GuestName, id: &str, places: &Places) -> Result<(), String> {
    let folder = places.data.join("firmware");
    // Of a guest that is called so they are the plain ones.
    let secure = !places.guests_dir().join(format!("{name}.secure.toml")).exists();
    let kinds: &[&str] = if secure { &[".", ".secure."] } else { &["."] };
    for (kind, ending) in kinds.iter().flat_map(|kind| ["fd", "qcow2", "bin"].map(|end| (kind, end))) {
        let (old, new) = (folder.join(format!("{name}{kind}{ending}")), folder.join(format!("{id}{kind}{ending}")));
        if !old.is_file() || new.exists() {
            continue;
        }
        std::fs::rename(&old, &new).map_err(|error| {
            format!(
                "the firmware's settings {} cannot be given the name {} ({error}); rename them yourself",
                old.display(),
                new.display()
            )
        })?;
        tracing::info!(from = %old.display(), to = %new.display(), "the firmware's settings were renamed");
    }
    Ok(())
}

fn last_three(id: GuestId) -> [u8; 3] {
    let [.., a, b, c] = id.bytes();
    [a, b, c]
}

fn with_last(id: GuestId, three: [u8; 3]) -> GuestId {
    let mut bytes = id.bytes();
    [bytes[13], bytes[14], bytes[15]] = three;
    GuestId::from_bytes(bytes)
}

/// What the address of a guest without an id ends in.
fn of_name(name: &str) -> [u8; 3] {
    let [a, b, c, ..] = hash(name, 0xcbf2_9ce4_8422_2325).to_be_bytes();
    [a, b, c]
}

/// FNV-1a, from `start` on.
fn hash(text: &str, start: u64) -> u64 {
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_config::load_guest;
    use std::path::PathBuf;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for folder in ["guests", "logs/work", "firmware"] {
                std::fs::create_dir_all(home.path(folder)).unwrap();
            }
            home
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        fn places(&self) -> Places {
            let dir = self.0.path().to_owned();
            Places { config: dir.clone(), data: dir.clone(), state: dir, home: None }
        }

        fn settled(&self, name: &str) -> Result<GuestDefinition, String> {
            let (places, guest) = (self.places(), GuestName::new(name).unwrap());
            let file = places.guest_file(&guest);
            let mut definition = load_guest(&file, &guest, &places).unwrap();
            settle(&mut definition, &file, &places)?;
            Ok(definition)
        }
    }

    const LINUX: &str = "profile = \"linux\"\n";

    #[test]
    fn a_guest_keeps_address_and_settings_when_its_file_is_renamed() {
        let home = Home::new();
        home.write("guests/work.toml", LINUX);
        let before = home.settled("work").unwrap();
        std::fs::rename(home.path("guests/work.toml"), home.path("guests/office.toml")).unwrap();
        let after = home.settled("office").unwrap();
        assert!(before.id.is_some() && before.id == after.id);
        assert_eq!((mac_address(&before), uuid(&before)), (mac_address(&after), uuid(&after)));
        assert_eq!(stem(&before), stem(&after));
        home.write("guests/work.toml", LINUX);
        let new = home.settled("work").unwrap();
        assert_ne!(mac_address(&new), mac_address(&after));
    }

    #[test]
    fn a_guest_that_ran_before_it_had_an_id_loses_nothing() {
        let home = Home::new();
        home.write("guests/work.toml", LINUX);
        home.write("logs/work/qemu.log", "");
        home.write("firmware/work.fd", "settings");
        home.write("firmware/work.secure.qcow2", "others");
        home.write("firmware/worker.fd", "another's");
        let work = home.settled("work").unwrap();
        assert_eq!(mac_address(&work), "52:54:00:70:58:ed", "that of its name");
        let id = work.id.unwrap();
        assert_eq!(std::fs::read_to_string(home.path(&format!("firmware/{id}.fd"))).unwrap(), "settings");
        assert!(home.path(&format!("firmware/{id}.secure.qcow2")).exists() && home.path("firmware/worker.fd").exists());
        // Another guest of that name, later: the first has kept its address.
        std::fs::rename(home.path("guests/work.toml"), home.path("guests/office.toml")).unwrap();
        home.write("guests/work.toml", LINUX);
        assert_ne!(mac_address(&home.settled("work").unwrap()), mac_address(&work));
    }

    #[test]
    fn settings_that_the_id_has_already_are_not_replaced() {
        let home = Home::new();
        let id = "6f0c2a5e-0001-4bcd-8eff-0123456789ab";
        home.write("guests/work.toml", &format!("id = \"{id}\"\n{LINUX}"));
        home.write("firmware/work.fd", "old");
        home.write(&format!("firmware/{id}.fd"), "new");
        home.settled("work").unwrap();
        assert_eq!(std::fs::read_to_string(home.path(&format!("firmware/{id}.fd"))).unwrap(), "new");
        assert!(home.path("firmware/work.fd").exists());
    }

    #[test]
    fn a_file_elsewhere_and_a_guest_with_a_like_name_take_nothing() {
        let home = Home::new();
        std::fs::create_dir(home.path("elsewhere")).unwrap();
        for guest in ["guests/work.toml", "guests/work.secure.toml", "elsewhere/work.toml"] {
            home.write(guest, LINUX);
        }
        home.write("firmware/work.fd", "mine");
        home.write("firmware/work.secure.fd", "of the other guest");
        let name = GuestName::new("work").unwrap();
        let (file, places) = (home.path("elsewhere/work.toml"), home.places());
        let mut definition = load_guest(&file, &name, &places).unwrap();
        settle(&mut definition, &file, &places).unwrap();
        assert!(home.path("firmware/work.fd").exists(), "a file elsewhere is another guest");
        let id = home.settled("work").unwrap().id.unwrap();
        assert_eq!(std::fs::read_to_string(home.path(&format!("firmware/{id}.fd"))).unwrap(), "mine");
        assert!(home.path("firmware/work.secure.fd").exists());
    }

    #[test]
    fn a_copy_of_a_file_is_refused_and_both_are_named() {
        let home = Home::new();
        home.write("guests/work.toml", LINUX);
        home.settled("work").unwrap();
        std::fs::copy(home.path("guests/work.toml"), home.path("guests/xcopy.toml")).unwrap();
        let why = home.settled("xcopy").unwrap_err();
        assert!(why.contains("xcopy.toml: ") && why.contains("work.toml has this id too"), "{why}");
        home.settled("work").unwrap();
    }

    #[test]
    fn without_an_id_everything_goes_by_the_name() {
        let home = Home::new();
        home.write("guests/work.toml", LINUX);
        let places = home.places();
        let guest = GuestName::new("work").unwrap();
        let definition = load_guest(&places.guest_file(&guest), &guest, &places).unwrap();
        assert_eq!((mac_address(&definition).as_str(), stem(&definition).as_str()), ("52:54:00:70:58:ed", "work"));
        assert_eq!(uuid(&definition), uuid(&definition));
    }
}
