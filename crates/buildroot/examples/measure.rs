//! Measures what a build root costs: `measure RUNS LOWER...` runs `/usr/bin/true` in a sandbox over
//! the lowers (topmost first) and prints medians.
//!
//! The CPU time is that of this process and all it starts, the program included; the cost of
//! starting the same program without a sandbox is printed beside it.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use buildroot::{Outcome, Sandbox, SandboxIo, SandboxSpec, SystemCalls};
use nix::sys::resource::{UsageWho, getrusage};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let runs: usize = arguments
        .next()
        .and_then(|runs| runs.to_str()?.parse().ok())
        .ok_or("usage: measure RUNS LOWER...")?;
    let lowers: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let program = std::env::current_exe()?;
    // Beside the examples directory.
    let init = program.ancestors().nth(2).unwrap_or(Path::new(".")).join(buildroot::INIT_PROGRAM);
    let sandbox = Sandbox::with_init(&init);
    let spec = SandboxSpec::new(lowers, vec!["/usr/bin/true".to_owned()]);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut walls = Vec::new();
    let before = cpu_us()?;
    for _ in 0..runs {
        let started = Instant::now();
        let outcome = sandbox.run(&spec, SandboxIo::null()?)?;
        walls.push(started.elapsed().as_micros());
        if !outcome.is_success() {
            return Err(outcome.end.to_string().into());
        }
        outcomes.push(outcome);
    }
    let sandboxed = (cpu_us()? - before) / runs as i64;
    // They take turns, so that what else the machine does meets both.
    let mut unfiltered = spec.clone();
    unfiltered.system_calls = SystemCalls::All;
    let (mut with, mut without) = (0, 0);
    for _ in 0..runs {
        for (spec, sum) in [(&spec, &mut with), (&unfiltered, &mut without)] {
            let before = cpu_us()?;
            sandbox.run(spec, SandboxIo::null()?)?;
            *sum += cpu_us()? - before;
        }
    }
    let filter = (with - without) / runs as i64;
    let before = cpu_us()?;
    for _ in 0..runs {
        Command::new("/usr/bin/true").status()?;
    }
    let bare = (cpu_us()? - before) / runs as i64;
    let median = |mut values: Vec<u128>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let of = |field: fn(&Outcome) -> u64| {
        median(outcomes.iter().map(|outcome| u128::from(field(outcome))).collect())
    };
    println!(
        "wall, caller         {:6} us (least {})",
        median(walls.clone()),
        walls.iter().min().unwrap_or(&0)
    );
    let least = outcomes.iter().map(|outcome| outcome.usage.setup_us).min().unwrap_or(0);
    println!("set-up               {:6} us (least {least})", of(|outcome| outcome.usage.setup_us));
    println!("wall, helper         {:6} us", of(|outcome| outcome.usage.wall_us));
    println!("CPU, pid 1 and below {:6} us", of(|outcome| outcome.usage.user_us + outcome.usage.system_us));
    println!("CPU, everything      {sandboxed:6} us; the program without a sandbox {bare} us (means)");
    println!("CPU, call filter     {filter:6} us (mean, by difference)");
    Ok(())
}

/// CPU time of this process and its children so far, in microseconds.
fn cpu_us() -> Result<i64, Box<dyn Error>> {
    let mut sum = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += time.tv_sec() * 1_000_000 + time.tv_usec();
        }
    }
    Ok(sum)
}
