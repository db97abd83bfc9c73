//! Uses a layer store as a process of its own: `use_store STORE hold|collect|root|run ARGUMENT...`.
//!
//! `run SCRIPT RPM...` runs a shell script in the root of some packages, with scriptlets run, as a build's user;
//! `hold RPM...` has the root of some packages until standard input closes; `root RPM...` the same with
//! scriptlets run, and ends; `collect BYTES` collects down to a budget. Each prints a line when it has
//! what it wants. The tests use it as a process that can be killed and run against others.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::error::Error;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, RootOptions, Sandbox, SandboxSpec, SetuidPolicy};
use rpm_model::ContentDigest;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, action, rest @ ..] = arguments.as_slice() else {
        return Err("usage: use_store STORE hold|collect|root|run ARGUMENT...".into());
    };
    let store = LayerStore::open(Path::new(store), SetuidPolicy::Strip)?;
    match (action.as_str(), rest) {
        ("hold", packages) => {
            let plan = store.root_plan(&requests(packages)?, &RootOptions::default())?;
            println!("held {}", plan.lowers.len());
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        ("root", packages) => {
            let sandbox = Sandbox::discover()?;
            let plan = store.root(&requests(packages)?, &RootOptions::default(), &sandbox)?;
            println!("{}", plan.lowers.first().map_or(Path::new(""), PathBuf::as_path).display());
        }
        ("run", [script, packages @ ..]) => {
            let sandbox = Sandbox::discover()?;
            let plan = store.root(&requests(packages)?, &RootOptions::default(), &sandbox)?;
            let arguments = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            let captured = sandbox.capture(&SandboxSpec::new(plan.lowers.clone(), arguments))?;
            print!("{}", String::from_utf8_lossy(&captured.stdout));
            if !captured.outcome.is_success() {
                return Err(String::from_utf8_lossy(&captured.stderr).into());
            }
        }
        ("collect", [budget]) => {
            println!("{}", serde_json::to_string(&store.collect(budget.parse()?, false)?)?);
        }
        _ => return Err("unknown action".into()),
    }
    Ok(())
}

fn requests(packages: &[String]) -> Result<Vec<LayerRequest>, Box<dyn Error>> {
    let request = |path: &String| {
        let sha256 = ContentDigest::of_bytes(&std::fs::read(path)?);
        Ok(LayerRequest { path: path.into(), sha256, size: None })
    };
    packages.iter().map(request).collect()
}
