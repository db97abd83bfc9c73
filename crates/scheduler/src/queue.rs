//! Which package is built next: a state machine over plain data.
//!
//! It knows names, what each waits for, estimates and weights; it knows no processes, paths or clocks, so every
//! order of completions can be played in a test and in a simulation. Equal input gives equal order, in whatever
//! order it comes in.
//!
//! Priority is the longest estimated way to the end of the plan (critical path) through tasks that can still be
//! started; of equals, that on which more tasks wait; then the first by name. What a task is given of the machine, and who waits for whom to have room, is
//! at [`Queue::start_next`].
//!
//! Packages that are not to be built, and those that have been, are **passages**: who waits for one waits for
//! everything behind it. So a change deep below reaches a task only after all in between that it may bring into the
//! run, although each names its direct needs alone. A start, an end and a task that joins cost what changes, not
//! what there is.

mod ready;
#[cfg(test)]
mod tests;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::ready::{Rank, Ready, Shape};
use crate::demand::{Capacity, Dispatch};
use crate::weights::Weights;

/// One package that is to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The spec's name.
    pub package: String,
    /// Packages that must have ended well before, as far as they are to be built.
    pub waits_for: BTreeSet<String>,
    /// Expected duration in seconds.
    pub estimate: f64,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Not started.
    Waiting,
    /// Handed out by [`Queue::start_next`].
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Cannot be started: these packages failed. Sorted; the root causes, not the links between.
    Blocked {
        /// The packages that failed.
        by: BTreeSet<String>,
    },
}

/// A package that is known: a task, or a passage to others.
#[derive(Clone, Debug)]
struct Node {
    name: Arc<str>,
    /// `None`: nobody asked to build it.
    state: Option<TaskState>,
    /// In seconds.
    estimate: f64,
    shape: Shape,
    most_cpus: u32,
    /// Whom it waits for.
    before: Vec<usize>,
    /// Who waits for it.
    after: Vec<usize>,
    /// How many of those before it are not settled ([`Node::is_settled`]).
    open: usize,
    /// The longest estimated way from its start to the end, in microseconds.
    way: u64,
    /// Its place among the ready tasks.
    rank: Option<Rank>,
    /// What it was promised, while it runs.
    promised: Option<Capacity>,
    /// The number of the reservation beside which it was started; 0 for none.
    beside: u64,
}

impl Node {
    /// Not to be built, or built: who waits for it waits for those before it.
    fn is_passage(&self) -> bool {
        matches!(self.state, None | Some(TaskState::Done))
    }

    /// Nothing is left to wait for.
    fn is_settled(&self) -> bool {
        self.open == 0 && self.is_passage()
    }

    fn waits(&self) -> bool {
        self.state == Some(TaskState::Waiting)
    }

    fn own_way(&self) -> u64 {
        if self.waits() { microseconds(self.estimate) } else { 0 }
    }
}

/// A task that is kept room for.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    /// Counts from 1.
    number: u64,
    node: usize,
    /// What tasks take that were started after it was made, as long as they run.
    beside: Capacity,
}

/// The tasks of a run and their states.
#[derive(Clone, Debug)]
pub struct Queue {
    nodes: Vec<Node>,
    places: BTreeMap<Arc<str>, usize>,
    weights: Weights,
    ready: Ready,
    reservation: Option<Reservation>,
    reservations: u64,
    /// What running tasks were promised.
    promised: Capacity,
    /// How many tasks are in which state.
    waiting: usize,
    running: usize,
    tasks: usize,
    /// Microseconds of all tasks that have not ended.
    work_left: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            places: BTreeMap::new(),
            weights: Weights::default(),
            ready: Ready::default(),
            reservation: None,
            reservations: 0,
            promised: Capacity::NONE,
            waiting: 0,
            running: 0,
            tasks: 0,
            work_left: 0,
        }
    }
}

impl Queue {
    /// Returns a queue of these tasks; what a task waits for outside the queue counts as done.
    ///
    /// The caller has removed cycles; a cycle that is left is never started and shows in
    /// [`Queue::is_stuck`].
    pub fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        Self::with_passages(tasks, [])
    }

    /// Returns a queue of these tasks and of packages that are not to be built, each with what it needs: who waits
    /// for such a package waits for what that needs.
    pub fn with_passages(
        tasks: impl IntoIterator<Item = Task>,
        passages: impl IntoIterator<Item = (String, BTreeSet<String>)>,
    ) -> Self {
        let mut queue = Self::default();
        let mut waits: Vec<(usize, BTreeSet<String>)> = Vec::new();
        for task in tasks {
            let place = queue.place(&task.package);
            let node = &mut queue.nodes[place];
            if node.state.is_none() {
                queue.tasks += 1;
                queue.waiting += 1;
                queue.work_left = queue.work_left.saturating_add(microseconds(task.estimate));
                node.state = Some(TaskState::Waiting);
                node.estimate = task.estimate;
                waits.push((place, task.waits_for));
            }
        }
        for (package, needs) in passages {
            waits.push((queue.place(&package), needs));
        }
        for (place, names) in waits {
            for name in names {
                let before = queue.place(&name);
                queue.nodes[place].before.push(before);
                queue.nodes[before].after.push(place);
            }
            queue.nodes[place].open = queue.nodes[place].before.len();
        }
        queue.weigh();
        let free: Vec<usize> = (0..queue.nodes.len()).filter(|place| queue.nodes[*place].open == 0).collect();
        for place in free {
            if queue.nodes[place].is_passage() {
                queue.settle(place);
            } else {
                queue.list(place);
            }
        }
        queue
    }

    /// Returns the queue with what each of its tasks, and each that will join, needs of a machine.
    #[must_use]
    pub fn with_weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        for place in 0..self.nodes.len() {
            let listed = self.unlist(place);
            let weight = self.weights.of(&self.nodes[place].name);
            self.nodes[place].shape = Shape::new(weight.least_cpus, weight.memory_bytes);
            self.nodes[place].most_cpus = weight.most_cpus;
            if listed {
                self.list(place);
            }
        }
        self
    }

    /// Adds a task while others run (a cascade) and returns whether it will be started.
    ///
    /// Does nothing while the package waits or runs already, and after it has failed: one run tries once.
    /// A task that waits for what has failed is blocked at once.
    pub fn add(&mut self, task: Task) -> bool {
        let place = self.place(&task.package);
        if !self.nodes[place].is_passage() {
            return false;
        }
        let was_settled = self.nodes[place].is_settled();
        let known: BTreeSet<usize> = self.nodes[place].before.iter().copied().collect();
        for name in &task.waits_for {
            let before = self.place(name);
            if before != place && !known.contains(&before) {
                self.nodes[place].before.push(before);
                self.nodes[before].after.push(place);
                self.nodes[place].open += usize::from(!self.nodes[before].is_settled());
            }
        }
        let by = self.root_causes(place);
        let node = &mut self.nodes[place];
        self.tasks += usize::from(node.state.is_none());
        node.estimate = task.estimate;
        let will_start = by.is_empty();
        if will_start {
            node.state = Some(TaskState::Waiting);
            self.waiting += 1;
            self.work_left = self.work_left.saturating_add(microseconds(task.estimate));
        } else {
            node.state = Some(TaskState::Blocked { by });
        }
        if was_settled {
            self.unsettle(place);
        }
        if will_start {
            self.lengthen(place);
            if self.nodes[place].open == 0 {
                self.list(place);
            }
        }
        will_start
    }

    /// Starts the next task, if one may be started, and returns it with what it is promised.
    ///
    /// `free` is what of the machine nobody is promised ([`Queue::free`]). The machine is that and what running
    /// tasks were promised; what a task needs beyond the whole machine is taken as all of it.
    ///
    /// **Who.** The ready task of highest priority, when it fits. When it does not, it has a *reservation*: from
    /// then on another task is started only when it fits now, and when the reserved one would still fit beside it
    /// and beside all others that were started since, on an otherwise empty machine. So small tasks fill what is
    /// free, and a big one waits at most until those have ended that ran when its turn had come.
    ///
    /// **How many processors.** Those that are free, divided by the tasks that may start now; so with many ready
    /// tasks each has one, and one alone has all. A task whose way to the end takes longer than all work divided
    /// among all processors is what the end of the run waits for: it has half of what is free at least. Never less
    /// than its weight asks for, never more than that allows, than is free, or than the reservation leaves.
    pub fn start_next(&mut self, free: &Capacity) -> Option<Dispatch> {
        let machine = free.plus(&self.promised);
        let fits = |room: Capacity| {
            move |shape: Shape| {
                let needed = shape.on(&machine);
                needed.slots <= room.slots
                    && needed.cpus <= room.cpus
                    && needed.memory_bytes <= room.memory_bytes
            }
        };
        if free.slots == 0 || machine.cpus == 0 {
            return None;
        }
        let (shape, best) = self.ready.first(|_| true)?;
        let best = best.node;
        if fits(*free)(shape) {
            self.reservation = self.reservation.filter(|reservation| reservation.node != best);
            return Some(self.start(best, free, &machine));
        }
        let kept = self.reservation.filter(|reservation| reservation.node == best);
        let mut reservation = kept.unwrap_or_else(|| {
            self.reservations += 1;
            Reservation { number: self.reservations, node: best, beside: Capacity::NONE }
        });
        let room = free.at_most(&machine.less(&shape.on(&machine)).less(&reservation.beside));
        let next = self.ready.first(fits(room)).map(|(_, rank)| rank.node);
        let started = next.map(|node| {
            let dispatch = self.start(node, &room, &machine);
            reservation.beside = reservation.beside.plus(&dispatch.promised());
            self.nodes[node].beside = reservation.number;
            dispatch
        });
        self.reservation = Some(reservation);
        started
    }

    /// Starts a task that an earlier run has started and that goes on; `None` when none waits that could.
    pub fn resume(&mut self, package: &str) -> Option<Dispatch> {
        let place = *self.places.get(package)?;
        let node = &self.nodes[place];
        if !node.waits() || node.open > 0 {
            return None;
        }
        let weight = self.weights.of(package);
        let room = Capacity { slots: 1, cpus: weight.least_cpus, memory_bytes: weight.memory_bytes };
        Some(self.start(place, &room, &room))
    }

    /// Returns what is left of a machine beside what running tasks were promised.
    pub fn free(&self, machine: &Capacity) -> Capacity {
        machine.less(&self.promised)
    }

    /// Records that a running task ended well.
    pub fn succeeded(&mut self, package: &str) {
        let Some(place) = self.end(package, TaskState::Done) else { return };
        if self.nodes[place].open == 0 {
            self.settle(place);
        }
    }

    /// Puts a running task back among the waiting ones, to be tried again; with other needs when its memory is
    /// stated.
    pub fn again(&mut self, package: &str, memory_bytes: Option<u64>) {
        let Some(place) = self.end(package, TaskState::Waiting) else { return };
        self.nodes[place].way = self.longest(place);
        self.waiting += 1;
        self.work_left = self.work_left.saturating_add(microseconds(self.nodes[place].estimate));
        if let Some(bytes) = memory_bytes {
            let least_cpus = self.weights.of(package).least_cpus;
            self.nodes[place].shape = Shape::new(least_cpus, bytes);
        }
        if self.nodes[place].open == 0 {
            self.list(place);
        }
    }

    /// Records that a running task ended badly and returns the tasks that are blocked by it now.
    pub fn failed(&mut self, package: &str) -> Vec<String> {
        let Some(place) = self.end(package, TaskState::Failed) else { return Vec::new() };
        let mut blocked = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut frontier = vec![place];
        let mut ended = vec![place];
        while let Some(cause) = frontier.pop() {
            for index in 0..self.nodes[cause].after.len() {
                let next = self.nodes[cause].after[index];
                if std::mem::replace(&mut seen[next], true) {
                    continue;
                }
                frontier.push(next);
                self.unlist(next);
                let node = &mut self.nodes[next];
                match &mut node.state {
                    Some(TaskState::Blocked { by }) => {
                        by.insert(package.to_owned());
                    }
                    Some(state @ TaskState::Waiting) => {
                        *state = TaskState::Blocked { by: BTreeSet::from([package.to_owned()]) };
                        self.waiting -= 1;
                        self.work_left = self.work_left.saturating_sub(microseconds(node.estimate));
                        blocked.push(node.name.to_string());
                        ended.push(next);
                    }
                    _ => {}
                }
            }
        }
        self.shorten(&ended);
        blocked.sort();
        blocked
    }

    /// Returns a package's state.
    pub fn state(&self, package: &str) -> Option<&TaskState> {
        self.nodes[*self.places.get(package)?].state.as_ref()
    }

    /// Returns all tasks with their states, sorted by package.
    pub fn states(&self) -> impl Iterator<Item = (&str, &TaskState)> {
        self.places
            .iter()
            .filter_map(|(name, place)| Some((name.as_ref(), self.nodes[*place].state.as_ref()?)))
    }

    /// Returns how many tasks have not been started.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns how many tasks run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Returns how many tasks could be started if there were room.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Returns how many tasks have ended, well, badly or blocked.
    pub fn ended(&self) -> usize {
        self.tasks - self.waiting - self.running
    }

    /// Returns how many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks
    }

    /// Returns whether there is no task at all.
    pub fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    /// Returns the estimates of all tasks that have not ended, in microseconds.
    pub(crate) fn work(&self) -> u64 {
        self.work_left
    }

    /// Returns the longest way from the start of any task to the end, in microseconds.
    pub(crate) fn longest_way(&self) -> u64 {
        self.nodes.iter().filter(|node| node.state.is_some()).map(|node| node.way).max().unwrap_or_default()
    }

    /// Returns the tasks that a task waited for, through packages that are not built, by name.
    pub(crate) fn tasks_before(&self, package: &str) -> BTreeSet<&str> {
        let mut tasks = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut frontier: Vec<usize> = self.places.get(package).copied().into_iter().collect();
        while let Some(place) = frontier.pop() {
            for before in &self.nodes[place].before {
                let node = &self.nodes[*before];
                if node.state.is_some() {
                    tasks.insert(node.name.as_ref());
                } else if seen.insert(*before) {
                    frontier.push(*before);
                }
            }
        }
        tasks
    }

    /// Returns whether tasks wait although nothing runs and nothing is ready: a defect of the plan.
    pub fn is_stuck(&self) -> bool {
        self.waiting > 0 && self.running == 0 && self.ready.len() == 0
    }
}

impl Queue {
    /// Returns a package's place; one that is not known yet gets one, as a passage to nobody.
    fn place(&mut self, package: &str) -> usize {
        if let Some(place) = self.places.get(package) {
            return *place;
        }
        let name: Arc<str> = package.into();
        let weight = self.weights.of(package);
        self.places.insert(Arc::clone(&name), self.nodes.len());
        self.nodes.push(Node {
            name,
            state: None,
            estimate: 0.0,
            shape: Shape::new(weight.least_cpus, weight.memory_bytes),
            most_cpus: weight.most_cpus,
            before: Vec::new(),
            after: Vec::new(),
            open: 0,
            way: 0,
            rank: None,
            promised: None,
            beside: 0,
        });
        self.nodes.len() - 1
    }

    fn start(&mut self, place: usize, room: &Capacity, machine: &Capacity) -> Dispatch {
        let startable = self.ready.fitting(room, machine).max(1);
        self.unlist(place);
        let node = &self.nodes[place];
        let needed = node.shape.on(machine);
        let share = room.cpus.div_ceil(u32::try_from(startable).unwrap_or(u32::MAX));
        let is_the_end_waiting = node.way.saturating_mul(machine.cpus.into()) >= self.work_left;
        let share = if is_the_end_waiting { share.max(room.cpus.div_ceil(2)) } else { share };
        let cpus = share.min(node.most_cpus).max(needed.cpus).min(room.cpus);
        let dispatch = Dispatch {
            package: node.name.to_string(),
            cpus,
            memory_bytes: needed.memory_bytes,
            estimate: node.estimate,
            priority: i64::try_from(node.way / 1000).unwrap_or(i64::MAX),
        };
        let promised = dispatch.promised();
        self.promised = self.promised.plus(&promised);
        self.waiting -= 1;
        self.running += 1;
        let node = &mut self.nodes[place];
        node.state = Some(TaskState::Running);
        node.promised = Some(promised);
        dispatch
    }

    /// Takes a running task's promise back and returns its place; `None` for what does not run.
    fn end(&mut self, package: &str, state: TaskState) -> Option<usize> {
        let place = *self.places.get(package)?;
        let node = &mut self.nodes[place];
        let promised = node.promised.take()?;
        node.state = Some(state);
        self.running -= 1;
        self.work_left = self.work_left.saturating_sub(microseconds(node.estimate));
        self.promised = self.promised.less(&promised);
        let beside = std::mem::take(&mut node.beside);
        if let Some(reservation) = &mut self.reservation
            && reservation.number == beside
        {
            reservation.beside = reservation.beside.less(&promised);
        }
        Some(place)
    }
}

/// Returns seconds in microseconds; what is no duration is none.
pub(crate) fn microseconds(seconds: f64) -> u64 {
    // A cast of a float ends at the bounds, and is 0 for what is no number.
    (seconds * 1e6).round() as u64
}
