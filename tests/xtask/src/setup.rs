//! Installs the system packages that the build, the guests and the tests need. The lists are in `packages/`, one a
//! distribution.
//!
//! Looks first without touching the network; says nothing where nothing is missing.

use crate::cargo;
use anyhow::{Context, Result, bail};
use phyllome_test_guests as guests;
use phyllome_test_guests::distribution::Distribution;
use phyllome_test_machine::apt;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

const SOURCES_FILE: &str = "/etc/apt/sources.list.d/phyllome-backports.sources";

/// A line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    name: &'static str,
    least: Option<&'static str>,
}

/// Installs what is missing; silent where nothing is.
pub fn run() -> Result<()> {
    let Some(distribution) = Distribution::detect() else {
        bail!(
            "setup knows Debian 12, Debian 13 and Fedora; on another distribution install by hand what \
             tests/xtask/packages/debian-13.txt and fedora.txt name"
        );
    };
    let wanted = parse(list_of(distribution));
    let missing = missing(distribution, &wanted)?;
    if !missing.is_empty() {
        install(distribution, &wanted, &missing)?;
    }
    fetch_kernel(distribution)
}

/// The same, where going on makes sense even if something is missing: a sentence, no error.
pub fn run_or_warn() {
    if let Err(error) = run() {
        eprintln!("xtask: {error:#}");
    }
}

fn list_of(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Debian12 => include_str!("../packages/debian-12.txt"),
        Distribution::Debian13 => include_str!("../packages/debian-13.txt"),
        Distribution::Fedora => include_str!("../packages/fedora.txt"),
    }
}

fn parse(list: &'static str) -> Vec<Wanted> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(Wanted { name: words.next()?, least: words.next() })
        })
        .collect()
}

/// The names that are not installed, or too old.
fn missing(distribution: Distribution, wanted: &[Wanted]) -> Result<Vec<&'static str>> {
    let names = wanted.iter().map(|package| package.name);
    if distribution == Distribution::Fedora {
        let installed = listed(Command::new("rpm").args(["-q", "--qf", "%{NAME}\n"]).args(names))?;
        return Ok(wanted
            .iter()
            .map(|package| package.name)
            .filter(|name| !installed.lines().any(|line| line == *name))
            .collect());
    }
    let format = "${Package} ${db:Status-Status} ${Version}\n";
    let listed = listed(Command::new("dpkg-query").args(["-W", "-f", format]).args(names))?;
    let installed = installed(&listed);
    let mut missing = Vec::new();
    for package in wanted {
        let there = match (installed.get(package.name), package.least) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(version), Some(least)) => {
                cargo::run(Command::new("dpkg").args(["--compare-versions", version, "ge", least]))?.success()
            }
        };
        if !there {
            missing.push(package.name);
        }
    }
    Ok(missing)
}

/// Package and version of each line `NAME installed VERSION`.
fn installed(listed: &str) -> BTreeMap<&str, &str> {
    let lines = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some("installed"), Some(version)) => Some((name, version)),
            _ => None,
        }
    });
    lines.collect()
}

/// What a query prints; its exit status only says that some package is not known.
fn listed(query: &mut Command) -> Result<String> {
    let program = query.get_program().to_string_lossy().into_owned();
    let done = query.env("LC_ALL", "C").output().with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn install(distribution: Distribution, wanted: &[Wanted], missing: &[&str]) -> Result<()> {
    let Some(root) = Root::find() else {
        bail!("not root, and no sudo: as root install {}", missing.join(" "));
    };
    let from = distribution.suite().map(|suite| format!(" from {suite}")).unwrap_or_default();
    println!("setup installs{from}: {}", missing.join(" "));
    if distribution == Distribution::Fedora {
        return root.run(&["dnf", "-q", "-y", "install", "--setopt=install_weak_deps=False"], missing);
    }
    if let Some(suite) = distribution.suite() {
        add_suite(&root, suite)?;
    }
    root.run(&["apt-get", "-qq", "update"], &[])?;
    // All in one call, also what is already there: run-time and development packages of two suites do not mix.
    let mut call = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"];
    call.extend(["-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold"]);
    call.extend(["install", "--no-install-recommends"]);
    if let Some(suite) = distribution.suite() {
        call.extend(["-t", suite]);
    }
    let names: Vec<_> = wanted.iter().map(|package| package.name).collect();
    root.run(&call, &names)
}

/// Adds a suite to apt's sources, from the archive that they name already.
fn add_suite(root: &Root, suite: &str) -> Result<()> {
    let sources = apt::read();
    if apt::has_suite(&sources, suite) {
        return Ok(());
    }
    let base = suite.split('-').next().unwrap_or(suite);
    let stanza = apt::stanza_for(&sources, base, suite)
        .with_context(|| format!("apt's sources name no archive of {base} main; add {suite} to them by hand"))?;
    root.write(SOURCES_FILE, &stanza)
}

/// Fetches the guests' kernel package where the cache has none. Old lists of packages name files that are gone, hence
/// the second try.
fn fetch_kernel(distribution: Distribution) -> Result<()> {
    if guests::kernel_is_here() {
        return Ok(());
    }
    println!("setup downloads the kernel package for the demo guests (it is not installed)");
    let first = guests::guest_kernel();
    if first.is_ok() || distribution == Distribution::Fedora {
        return first.map(drop);
    }
    let Some(root) = Root::find() else { return first.map(drop) };
    if let Some(suite) = distribution.suite() {
        add_suite(&root, suite)?;
    }
    root.run(&["apt-get", "-qq", "update"], &[])?;
    guests::guest_kernel().map(drop)
}

/// How to become root.
struct Root {
    prefix: &'static [&'static str],
}

impl Root {
    fn find() -> Option<Self> {
        let me = Command::new("id").arg("-u").output().ok()?;
        if String::from_utf8_lossy(&me.stdout).trim() == "0" {
            return Some(Self { prefix: &[] });
        }
        // Without a terminal nobody can type a password.
        let prefix: &[&str] = if std::io::stdin().is_terminal() { &["sudo"] } else { &["sudo", "-n"] };
        let (program, options) = prefix.split_first()?;
        let works = Command::new(program).args(options).arg("true").stderr(Stdio::null()).status().ok()?.success();
        works.then_some(Self { prefix })
    }

    fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Command> {
        let mut words = self.prefix.iter().copied().chain(words);
        let mut command = Command::new(words.next().context("there is nothing to run")?);
        command.args(words);
        Ok(command)
    }

    fn run(&self, call: &[&str], arguments: &[&str]) -> Result<()> {
        let mut command = self.command(call.iter().chain(arguments).copied())?;
        // What a package manager tells of its progress is of no interest unless it fails.
        let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", call.join(" ")))?;
        if done.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("`{}` failed ({}): {}", call.join(" "), done.status, words.trim());
    }

    fn write(&self, path: &str, content: &str) -> Result<()> {
        let mut tee = self.command(["tee", path])?;
        let mut child = tee.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot run tee")?;
        child.stdin.take().context("tee takes no input")?.write_all(content.as_bytes())?;
        if !child.wait()?.success() {
            bail!("cannot write {path}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_names_and_least_versions() {
        let list = parse("# remark\n\nqemu 1:10.0\nweston # a compositor\n");
        let qemu = Wanted { name: "qemu", least: Some("1:10.0") };
        assert_eq!(list, [qemu, Wanted { name: "weston", least: None }]);
    }

    #[test]
    fn no_list_names_a_package_twice() {
        for distribution in [Distribution::Debian12, Distribution::Debian13, Distribution::Fedora] {
            let mut names: Vec<_> = parse(list_of(distribution)).into_iter().map(|package| package.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{distribution}");
        }
    }

    #[test]
    fn a_package_that_was_removed_is_not_installed() {
        let listed = "weston installed 10.0.1-1\nqemu config-files 1:7.2\ncpio not-installed \n";
        assert_eq!(installed(listed).into_iter().collect::<Vec<_>>(), [("weston", "10.0.1-1")]);
    }
}
