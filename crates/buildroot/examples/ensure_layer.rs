//! Puts one RPM into a layer store: `ensure_layer STORE RPM`; prints the outcome as JSON.
//!
//! The tests use it as a process that can be killed and run against another.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::error::Error;
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, SetuidPolicy};
use rpm_model::ContentDigest;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [store, path] = arguments.as_slice() else {
        return Err("usage: ensure_layer STORE RPM".into());
    };
    let store = LayerStore::open(Path::new(store), SetuidPolicy::Strip)?;
    let sha256 = ContentDigest::of_bytes(&std::fs::read(path)?);
    let layer = store.ensure(&LayerRequest { path: path.clone(), sha256, size: None })?;
    println!("{}", serde_json::to_string(&layer.outcome())?);
    Ok(())
}
