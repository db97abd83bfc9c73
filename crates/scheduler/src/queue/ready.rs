//! The tasks that may be started, by what they need and then by priority.
//!
//! Needs are few kinds ([`Shape`]: memory counts in steps), tasks are many. So the first task of a shape is at hand,
//! and whether a task fits is asked once for each shape, not once for each task.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::demand::Capacity;

/// What a task must be given. Ordered by memory, then by processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// In bytes, rounded up ([`Shape::new`]).
    memory_bytes: u64,
    cpus: u32,
}

/// Steps that an octave of memory is divided in: rounding up adds an eighth at most.
const STEPS: u64 = 8;

impl Shape {
    /// Returns the shape of a need; memory is rounded up to the next of eight steps between powers of two.
    pub(super) fn new(cpus: u32, memory_bytes: u64) -> Self {
        let step = (memory_bytes.checked_ilog2().map_or(1, |power| (1 << power) / STEPS)).max(1);
        let rounded = memory_bytes.checked_next_multiple_of(step).unwrap_or(memory_bytes);
        Self { memory_bytes: rounded, cpus: cpus.max(1) }
    }

    /// Returns what is to be promised on a machine of this size: what no machine has is asked of all of it.
    pub(super) fn on(self, machine: &Capacity) -> Capacity {
        Capacity { slots: 1, cpus: self.cpus, memory_bytes: self.memory_bytes }.at_most(machine)
    }
}

/// A ready task's place: greater is sooner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The longest way to the end, in microseconds.
    pub(super) way: u64,
    /// How many tasks wait for it.
    pub(super) dependants: usize,
    /// The first of equals by name.
    pub(super) name: Reverse<Arc<str>>,
    /// The task.
    pub(super) node: usize,
}

/// The ready tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    shapes: BTreeMap<Shape, BTreeSet<Rank>>,
    count: usize,
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, shape: Shape, rank: Rank) {
        self.count += usize::from(self.shapes.entry(shape).or_default().insert(rank));
    }

    pub(super) fn remove(&mut self, shape: Shape, rank: &Rank) {
        let Some(ranks) = self.shapes.get_mut(&shape) else { return };
        self.count -= usize::from(ranks.remove(rank));
        if ranks.is_empty() {
            self.shapes.remove(&shape);
        }
    }

    /// Returns the task of highest priority among those whose shape is wanted.
    pub(super) fn first(&self, wanted: impl Fn(Shape) -> bool) -> Option<(Shape, &Rank)> {
        self.shapes
            .iter()
            .filter(|(shape, _)| wanted(**shape))
            .filter_map(|(shape, ranks)| Some((*shape, ranks.last()?)))
            .max_by(|(_, a), (_, b)| a.cmp(b))
    }

    /// Returns how many tasks fit into what is free at most: the smallest first.
    pub(super) fn fitting(&self, free: &Capacity, machine: &Capacity) -> usize {
        let (mut left, mut fitting) = (*free, 0);
        for (shape, ranks) in &self.shapes {
            let needed = shape.on(machine);
            let by_memory = left.memory_bytes.checked_div(needed.memory_bytes).map_or(usize::MAX, saturate);
            let by_cpus = left.cpus.checked_div(needed.cpus).map_or(usize::MAX, |times| times as usize);
            let times = ranks.len().min(left.slots).min(by_memory).min(by_cpus);
            fitting += times;
            left = left.less(&Capacity {
                slots: times,
                // Both products are at most what is left, as the quotients above say.
                cpus: needed.cpus.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)),
                memory_bytes: needed.memory_bytes.saturating_mul(times as u64),
            });
        }
        fitting
    }
}

fn saturate(times: u64) -> usize {
    usize::try_from(times).unwrap_or(usize::MAX)
}
