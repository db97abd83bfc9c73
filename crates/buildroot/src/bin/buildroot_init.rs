//! `buildroot-init`: sets up one sandbox and runs one program in it. Started by the library
//! `buildroot`, never by hand; everything is in `buildroot::init`.

use std::process::ExitCode;

fn main() -> ExitCode {
    buildroot::init::run()
}
