//! What 3D guests get: phyllome-guest starts a renderer as for a guest, and says what it can do.

use super::{Check, run_for};
use phyllome_protocol::start;
use phyllome_protocol::text::printable;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// What `phyllome-guest probe-3d` prints.
#[derive(Deserialize)]
struct Found {
    driver: String,
    capsets: Vec<u32>,
    node: Option<String>,
    /// What there is not, and why: a sentence each.
    #[serde(default)]
    lacks: Vec<String>,
}

pub(super) fn check() -> Check {
    check_with(&start::program("phyllome-guest"), &["probe-3d"])
}

fn check_with(program: &Path, arguments: &[&str]) -> Check {
    let missing = |finding: &str| {
        let mend = "install virglrenderer (Debian: libvirglrenderer1, Fedora: virglrenderer) and Mesa's EGL";
        let finding = format!("there is no 3D for guests: {}", printable(finding, 300));
        Check::costs("3d", finding, "guests draw in 2D", mend)
    };
    let output = match run_for(program, arguments, Duration::from_secs(20)) {
        Ok(output) => output,
        Err(sentence) => return missing(&sentence),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("the renderer did not start").trim();
        return missing(last.strip_prefix("error: ").unwrap_or(last));
    }
    let Ok(found) = serde_json::from_slice::<Found>(&output.stdout) else {
        return missing("phyllome-guest is of another version");
    };
    describe(&found)
}

fn describe(found: &Found) -> Check {
    let names = [(4, "Venus"), (6, "native contexts"), (2, "virgl"), (1, "virgl")];
    let mut offered: Vec<&str> =
        names.into_iter().filter(|(id, _)| found.capsets.contains(id)).map(|(_, name)| name).collect();
    offered.dedup();
    let finding = format!("3D for guests by {} on {}", offered.join(", "), printable(&found.driver, 120));
    let lacks: String = found.lacks.iter().take(4).map(|lack| format!("; {}", printable(lack, 300))).collect();
    match found.node {
        Some(_) => Check::fine("3d", format!("{finding}{lacks}")),
        None => Check::costs(
            "3d",
            format!("{finding}, which is the processor{lacks}"),
            "guests draw in 2D unless their gpu.mode is \"3d\"",
            "use a machine with a GPU, and see the finding on the render node",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn probed(script: &str) -> Check {
        check_with(Path::new("/bin/sh"), &["-c", script])
    }

    #[test]
    fn what_the_renderer_can_do_is_named() {
        let check = probed(r#"echo '{"driver": "Mesa Intel", "capsets": [1, 2, 4], "node": "/dev/dri/renderD128"}'"#);
        assert_eq!(
            (check.verdict, check.finding.as_str()),
            (Verdict::Fine, "3D for guests by Venus, virgl on Mesa Intel")
        );
        let check = probed(r#"echo '{"driver": "llvmpipe", "capsets": [1, 2], "node": null}'"#);
        assert_eq!(check.verdict, Verdict::Costs);
        assert!(check.finding.ends_with("virgl on llvmpipe, which is the processor"), "{}", check.finding);
    }

    #[test]
    fn why_there_is_nothing_better_is_said() {
        let check = probed(
            r#"echo '{"driver": "GPU", "capsets": [1, 2], "node": "x", "lacks": ["no Venus: of this", "no more"]}'"#,
        );
        assert_eq!(check.finding, "3D for guests by virgl on GPU; no Venus: of this; no more");
        assert_eq!(check.verdict, Verdict::Fine);
    }

    #[test]
    fn without_a_renderer_its_own_words_are_the_finding() {
        let check = probed("echo 'error: virglrenderer is not installed' >&2; exit 1");
        assert_eq!(check.finding, "there is no 3D for guests: virglrenderer is not installed");
        assert_eq!(probed("echo nonsense").verdict, Verdict::Costs);
        assert_eq!(probed("kill -SEGV $$").verdict, Verdict::Costs);
    }
}
