//! Where the programs under test are: beside the test, or in `$PHYLLOME_BIN_DIR`.

use std::path::PathBuf;

/// The path of a program that `cargo build --workspace --bins` has made.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("PHYLLOME_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let me = std::env::current_exe()?;
            let mut folder = me.parent().map(PathBuf::from).unwrap_or_default();
            if folder.ends_with("deps") {
                folder.pop();
            }
            folder
        }
    };
    let path = folder.join(name);
    anyhow::ensure!(path.exists(), "{} is not built; run cargo build --workspace --bins", path.display());
    Ok(path)
}
