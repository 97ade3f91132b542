//! Where files lie: the XDG base folders, each with its fall-back below the home folder.
//!
//! Nothing is read or made here; a variable that is empty or not absolute counts as unset, as the XDG specification
//! wants.

use phyllome_protocol::GuestName;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders of this user, all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Holds `shell.toml` and `guests/`.
    pub config: PathBuf,
    /// Holds `disks/`.
    pub data: PathBuf,
    /// Holds `logs/`.
    pub state: PathBuf,
    /// What `~/` in a guest's file stands for.
    pub home: Option<PathBuf>,
}

/// Why the folders cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacesError {
    /// Neither the XDG variable nor HOME says where.
    #[error("neither {variable} nor HOME is set to an absolute path; set HOME to your home folder")]
    NoHome {
        /// The XDG variable.
        variable: &'static str,
    },
}

impl Places {
    /// The folders as the environment tells them; `config` (the option `--config DIR`) goes before
    /// `$XDG_CONFIG_HOME/phyllome`.
    pub fn from_env(config: Option<&Path>) -> Result<Self, PlacesError> {
        let mut places = Self::from_vars(std::env::var_os::<&str>, config)?;
        if let Ok(absolute) = std::path::absolute(&places.config) {
            places.config = absolute;
        }
        Ok(places)
    }

    /// The same over any set of variables.
    pub fn from_vars(
        var: impl Fn(&'static str) -> Option<OsString>,
        config: Option<&Path>,
    ) -> Result<Self, PlacesError> {
        let absolute = |name| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let base = |variable, below_home: &str| {
            absolute(variable)
                .or_else(|| home.as_ref().map(|home| home.join(below_home)))
                .map(|base| base.join("phyllome"))
                .ok_or(PlacesError::NoHome { variable })
        };
        Ok(Self {
            config: match config {
                Some(folder) => folder.to_owned(),
                None => base("XDG_CONFIG_HOME", ".config")?,
            },
            data: base("XDG_DATA_HOME", ".local/share")?,
            state: base("XDG_STATE_HOME", ".local/state")?,
            home,
        })
    }

    /// The shell's own file.
    pub fn shell_file(&self) -> PathBuf {
        self.config.join("shell.toml")
    }

    /// The folder of guests' files.
    pub fn guests_dir(&self) -> PathBuf {
        self.config.join("guests")
    }

    /// One guest's file.
    pub fn guest_file(&self, name: &GuestName) -> PathBuf {
        self.guests_dir().join(format!("{name}.toml"))
    }

    /// What relative paths in a guest's file stand below.
    pub fn disks_dir(&self) -> PathBuf {
        self.data.join("disks")
    }

    /// The folder of one guest's logs.
    pub fn logs_dir(&self, name: &GuestName) -> PathBuf {
        self.state.join("logs").join(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(vars: &[(&str, &str)], config: Option<&str>) -> Result<Places, PlacesError> {
        let find = |name: &'static str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Places::from_vars(find, config.map(Path::new))
    }

    #[test]
    fn xdg_variables_go_before_the_home_folder() {
        let vars = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "")];
        let places = places(&vars, None).unwrap();
        assert_eq!(places.shell_file(), Path::new("/c/phyllome/shell.toml"));
        assert_eq!(places.disks_dir(), Path::new("/home/a/.local/share/phyllome/disks"));
        let work = GuestName::new("work").unwrap();
        assert_eq!(places.logs_dir(&work), Path::new("/home/a/.local/state/phyllome/logs/work"));
        assert_eq!(places.guest_file(&work), Path::new("/c/phyllome/guests/work.toml"));
    }

    #[test]
    fn the_config_option_holds_shell_toml_and_guests() {
        let places = places(&[("HOME", "/home/a")], Some("/my/conf")).unwrap();
        assert_eq!(places.shell_file(), Path::new("/my/conf/shell.toml"));
        assert_eq!(places.guests_dir(), Path::new("/my/conf/guests"));
    }

    #[test]
    fn a_relative_variable_and_no_home_is_an_error() {
        let error = places(&[("HOME", "home"), ("XDG_CONFIG_HOME", "x")], None).unwrap_err();
        assert_eq!(error, PlacesError::NoHome { variable: "XDG_CONFIG_HOME" });
    }
}
