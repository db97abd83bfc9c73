//! Works out the lower directories of the root that some RPMs form:
//! `root_plan STORE COMMON_RPM... [-- RPM...]`; those before `--` are merged into one layer.
//!
//! Prints notes and times to standard error and the lower directories, topmost first, to standard
//! output.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use buildroot::{LayerRequest, LayerStore, RootOptions, SetuidPolicy};
use rpm_model::ContentDigest;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let store = arguments.next().ok_or("usage: root_plan STORE COMMON_RPM... [-- RPM...]")?;
    let mut requests = Vec::new();
    let mut options = RootOptions::default();
    for path in arguments {
        if path.as_os_str() == "--" {
            options.common = requests.iter().map(|request: &LayerRequest| request.sha256.clone()).collect();
            continue;
        }
        let sha256 = ContentDigest::of_bytes(&std::fs::read(&path)?);
        requests.push(LayerRequest { path, sha256, size: None });
    }
    let started = Instant::now();
    let store = LayerStore::open(Path::new(&store), SetuidPolicy::Keep)?;
    let opened = started.elapsed();
    let plan = store.root_plan(&requests, &options)?;
    eprintln!("open {opened:?}, plan {:?}: {:?}", started.elapsed() - opened, plan.outcome);
    for note in &plan.notes {
        eprintln!("{}", serde_json::to_string(note)?);
    }
    for scriptlet in &plan.scriptlets {
        eprintln!("{}", serde_json::to_string(scriptlet)?);
    }
    for lower in &plan.lowers {
        println!("{}", lower.display());
    }
    Ok(())
}
