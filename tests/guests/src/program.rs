//! Programs that tests write and then start.
//!
//! A file that is open for writing cannot be started. What this process has open for writing, a child that another
//! thread is just starting has too, for as long as that takes. So another process writes: `sh` and `cp`.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a program of a script's text, `#!` included.
pub fn write(path: &Path, script: &str) -> Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot run sh")?;
    let mut stdin = child.stdin.take().context("sh has no input")?;
    stdin.write_all(script.as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "cannot write {}", path.display());
    Ok(())
}

/// Copies a program.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg(from).arg(to).status().context("cannot run cp")?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_starts_at_once_while_others_start() {
        let folder = std::env::temp_dir().join(format!("phyllome-program-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let folder = &folder;
                scope.spawn(move || {
                    for round in 0..10 {
                        let path = folder.join(format!("{thread}-{round}"));
                        write(&path, "#!/bin/sh\nexit 7\n").unwrap();
                        let copied = path.with_extension("copy");
                        copy(&path, &copied).unwrap();
                        for program in [path, copied] {
                            assert_eq!(Command::new(program).status().unwrap().code(), Some(7));
                        }
                    }
                });
            }
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
