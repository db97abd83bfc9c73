//! What scheduling costs: a made-up run of many jobs, played in a process of its own that a measurement can watch.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use clap::Args;
use scheduler::{Capacity, Dispatch, Queue, Weight, Weights};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::error::BenchError;
use crate::graph::drawing::peak_mib;

/// What is played.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlayArguments {
    /// Jobs
    #[arg(long)]
    jobs: usize,
    /// Jobs that each waits for
    #[arg(long)]
    needs: usize,
    /// Builds at the same time
    #[arg(long)]
    workers: usize,
}

/// What it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Playing {
    pub(crate) edges: usize,
    /// Seconds to make the queue.
    pub(crate) queue_wall: f64,
    /// Microseconds per job to hand it out and to take its end.
    pub(crate) dispatch_micros: f64,
    /// Microseconds for the slowest of all calls.
    pub(crate) slowest_micros: f64,
    /// Most memory resident, in MiB, the made-up graph included.
    pub(crate) peak_mib: f64,
    /// Of it, what the graph took before there was a queue.
    pub(crate) graph_mib: f64,
}

/// Plays and prints.
pub(crate) fn run(arguments: &PlayArguments) -> Result<(), BenchError> {
    let problem = Problem::made_up(arguments.jobs, arguments.needs, 1);
    let graph_mib = peak_mib()?;
    let machine = Capacity {
        slots: arguments.workers,
        cpus: u32::try_from(arguments.workers).unwrap_or(u32::MAX),
        // So little that large jobs must wait for room.
        memory_bytes: (arguments.workers as u64) << 30,
    };
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(2);
    let weight = |name: &String| {
        // From 16 MiB to 16 GiB, logarithms evenly spread.
        let memory_bytes = ((random.f64() * 10.0).exp2() * (16 << 20) as f64) as u64;
        (name.clone(), Weight { least_cpus: 1, most_cpus: 4, memory_bytes })
    };
    let weights = Weights::new(problem.names.iter().map(weight).collect(), Weight::default());
    let mut queue = Queue::new(problem.tasks()).with_weights(weights);
    let queue_wall = start.elapsed().as_secs_f64();
    let (mut spent, mut slowest) = (0.0, 0.0f64);
    let mut measured = |start: Instant| {
        let micros = start.elapsed().as_secs_f64() * 1e6;
        spent += micros;
        slowest = slowest.max(micros);
    };
    let mut running: Vec<Dispatch> = Vec::new();
    let mut ended = 0;
    loop {
        loop {
            let start = Instant::now();
            let dispatch = queue.start_next(&queue.free(&machine));
            measured(start);
            match dispatch {
                Some(dispatch) => running.push(dispatch),
                None => break,
            }
        }
        if running.is_empty() {
            break;
        }
        let dispatch = running.swap_remove(random.usize(..running.len()));
        let start = Instant::now();
        queue.succeeded(&dispatch.package);
        measured(start);
        ended += 1;
    }
    let playing = Playing {
        edges: problem.edges(),
        queue_wall,
        dispatch_micros: spent / f64::from(u32::try_from(ended.max(1)).unwrap_or(u32::MAX)),
        slowest_micros: slowest,
        peak_mib: peak_mib()?,
        graph_mib,
    };
    if ended != arguments.jobs {
        return Err(BenchError::Unfinished { ended, jobs: arguments.jobs });
    }
    let output = Path::new("standard output");
    let line =
        serde_json::to_string(&playing).map_err(|error| BenchError::io("print", output)(error.into()))?;
    writeln!(std::io::stdout(), "{line}").map_err(BenchError::io("write", output))
}
