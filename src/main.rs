//! The doorway: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    otpd::cli::run(std::env::args_os()).into()
}
