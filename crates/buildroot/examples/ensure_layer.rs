//! Puts RPMs into a layer store, one after another: `ensure_layer STORE RPM...`; prints each one's outcome as JSON.
//!
//! Of more than one it also prints to standard error what each took of the processor, in microseconds, and its path.
//! The tests use it as a process that can be killed and run against another.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::error::Error;
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, SetuidPolicy};
use nix::sys::resource::{UsageWho, getrusage};
use rpm_model::ContentDigest;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(store), paths) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        return Err("usage: ensure_layer STORE RPM...".into());
    };
    let store = LayerStore::open(Path::new(&store), SetuidPolicy::Strip)?;
    for path in &paths {
        let sha256 = ContentDigest::of_bytes(&std::fs::read(path)?);
        let before = cpu_us()?;
        let layer = store.ensure(&LayerRequest { path: path.clone(), sha256, size: None })?;
        if paths.len() > 1 {
            eprintln!("{} {}", cpu_us()? - before, path.display());
        }
        println!("{}", serde_json::to_string(&layer.outcome())?);
    }
    Ok(())
}

/// Processor time of this process so far, in microseconds.
fn cpu_us() -> Result<i64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    Ok(times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum())
}
