//! `phyllome doctor`: prints what the checks found. Exit code 1 if guests cannot run at all.

use super::{Verdict, run};
use crate::{Failure, print_line};
use std::process::ExitCode;

/// Checks and prints.
pub fn print(json: bool) -> Result<ExitCode, Failure> {
    let checks = run();
    let broken = checks.iter().any(|check| check.verdict == Verdict::Broken);
    if json {
        let value = serde_json::json!({ "guests_can_run": !broken, "checks": checks });
        print_line(&serde_json::to_string_pretty(&value).map_err(Failure::refused)?);
    } else {
        for check in &checks {
            let word = match check.verdict {
                Verdict::Fine => "fine  ",
                Verdict::Costs => "costs ",
                Verdict::Broken => "broken",
            };
            print_line(&format!("{word}  {}", check.finding));
            for (what, text) in [("cost", &check.cost), ("mend", &check.mend)] {
                if let Some(text) = text {
                    print_line(&format!("        {what}: {text}"));
                }
            }
        }
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
