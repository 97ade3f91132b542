//! Tests of the compositor itself that need what only a real kernel has (udmabuf, fences, a GPU's node that refuses),
//! run in the machine.

use crate::rig::on_machine;
use anyhow::{Context, Result, ensure};
use phyllome_test_machine::{MachineOptions, Program};
use std::path::PathBuf;
use std::time::Duration;

/// Everything is drawn by an emulated processor.
const LIMIT: Duration = Duration::from_secs(400);

/// The newest program of the compositor's own tests, beside this one.
fn unit_tests() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = me.parent().context("a program without a folder")?;
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix("phyllome_compositor-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let found = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_it);
    let newest = found.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
    newest.context("the compositor's own tests are not built; run cargo test -p phyllome-compositor --lib --no-run")
}

/// Runs the tests whose names hold `filter` and expects that all pass and none is skipped but for `allowed`.
fn run(test: &str, filter: &str, least: usize) -> Result<()> {
    let program = match unit_tests() {
        Ok(program) => program,
        Err(why) => {
            println!("SKIPPED: {test}: {why:#}");
            return Ok(());
        }
    };
    let options = MachineOptions { programs: vec![program.clone()], ..MachineOptions::default() };
    on_machine(test, options, |machine| {
        machine.root("modprobe vgem; chmod a+rw /dev/dri/*")?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arguments = [filter, "--nocapture", "--test-threads=1"];
        let tests = Program::new(&name, &arguments).env("RUST_BACKTRACE", "0");
        let output = machine.run_within(&tests, LIMIT)?;
        let words = format!("{}{}", output.stdout, output.stderr);
        ensure!(output.status == 0, "{words}");
        ensure!(!words.contains("SKIPPED"), "{words}");
        let result = output.stdout.split_once("test result: ok. ").context("no result")?.1;
        let passed: usize = result.split(' ').next().unwrap_or_default().parse()?;
        ensure!(passed >= least, "only {passed} tests: {words}");
        Ok(())
    })
}

#[test]
fn tp20_fences_keep_nobody_waiting_on_a_real_kernel() -> Result<()> {
    run("tp20_fences_keep_nobody_waiting_on_a_real_kernel", "tests::fences::", 4)
}

#[test]
fn real_udmabufs_are_read_by_the_processor_where_the_gpu_refuses_them() -> Result<()> {
    run("real_udmabufs_are_read_by_the_processor_where_the_gpu_refuses_them", "tests::buffers::", 5)
}
