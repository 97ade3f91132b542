//! phyllome-renderer: draws what one guest's 3D contexts ask for. phyllome-guest starts it, on a socket that it inherits.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("error: phyllome-renderer is started by phyllome-guest");
    ExitCode::FAILURE
}
