//! Runs the sandbox that a JSON file describes: `run_sandbox SPEC.json [BUILDROOT_INIT]`.
//!
//! Prints the outcome as JSON to standard error. The tests use it as a caller that can be killed.

#![expect(clippy::print_stderr, reason = "a command-line program")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use buildroot::{Sandbox, SandboxIo, SandboxSpec};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let spec = arguments.next().ok_or("usage: run_sandbox SPEC.json [BUILDROOT_INIT]")?;
    let spec: SandboxSpec = serde_json::from_reader(File::open(spec)?)?;
    let sandbox = match arguments.next() {
        Some(init) => Sandbox::with_init(Path::new(&init)),
        None => Sandbox::discover()?,
    };
    let io = SandboxIo {
        stdin: Some(io::stdin().as_fd().try_clone_to_owned()?),
        stdout: io::stdout().as_fd().try_clone_to_owned()?,
        stderr: io::stderr().as_fd().try_clone_to_owned()?,
    };
    let outcome = sandbox.run(&spec, io)?;
    eprintln!("{}", serde_json::to_string_pretty(&outcome)?);
    Ok(())
}
