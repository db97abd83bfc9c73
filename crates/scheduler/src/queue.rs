//! Which package is built next: a state machine over plain data.
//!
//! It knows names, what each waits for, and estimates; it knows no processes, paths or clocks, so every
//! order of completions can be played in a test. Priority is the longest estimated way to the end of the
//! plan (critical path), ties broken by name, so equal input gives equal order.

use std::collections::{BTreeMap, BTreeSet};

/// One package that is to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The spec's name.
    pub package: String,
    /// Packages of the same queue that must have ended well before.
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

/// The tasks of a run and their states.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    tasks: BTreeMap<String, Task>,
    states: BTreeMap<String, TaskState>,
    priorities: BTreeMap<String, f64>,
}

impl Queue {
    /// Returns a queue of these tasks; what a task waits for outside the queue counts as done.
    ///
    /// The caller has removed cycles; a cycle that is left is never started and shows in
    /// [`Queue::is_stuck`].
    pub fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        let mut queue = Self::default();
        for task in tasks {
            queue.insert(task);
        }
        queue.weigh();
        queue
    }

    /// Adds a task while others run (a cascade) and returns whether it will be started.
    ///
    /// Does nothing while the package waits or runs already, and after it has failed: one run tries once.
    /// A task that waits for what has failed is blocked at once.
    pub fn add(&mut self, task: Task) -> bool {
        if self.states.get(&task.package).is_some_and(|state| *state != TaskState::Done) {
            return false;
        }
        let by: BTreeSet<String> =
            task.waits_for.iter().flat_map(|before| self.root_causes(before)).collect();
        let package = task.package.clone();
        self.insert(task);
        self.weigh();
        if by.is_empty() {
            return true;
        }
        self.states.insert(package, TaskState::Blocked { by });
        false
    }

    /// Returns the failed packages because of which this one will not be there.
    fn root_causes(&self, package: &str) -> BTreeSet<String> {
        match self.states.get(package) {
            Some(TaskState::Failed) => BTreeSet::from([package.to_owned()]),
            Some(TaskState::Blocked { by }) => by.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Marks the ready task of highest priority as running and returns its name.
    pub fn start_next(&mut self) -> Option<String> {
        let ready = self.tasks.values().filter(|task| self.is_ready(task));
        let best = ready.max_by(|a, b| {
            let weight = |task: &Task| self.priorities.get(&task.package).copied().unwrap_or(0.0);
            weight(a).total_cmp(&weight(b)).then_with(|| b.package.cmp(&a.package))
        })?;
        let package = best.package.clone();
        self.states.insert(package.clone(), TaskState::Running);
        Some(package)
    }

    /// Records that a running task ended well.
    pub fn succeeded(&mut self, package: &str) {
        self.states.insert(package.to_owned(), TaskState::Done);
    }

    /// Records that a running task ended badly and returns the tasks that are blocked by it now.
    pub fn failed(&mut self, package: &str) -> Vec<String> {
        self.states.insert(package.to_owned(), TaskState::Failed);
        let mut blocked = Vec::new();
        let mut frontier = vec![package.to_owned()];
        while let Some(cause) = frontier.pop() {
            let dependants: Vec<String> = self
                .tasks
                .values()
                .filter(|task| task.waits_for.contains(&cause))
                .map(|task| task.package.clone())
                .collect();
            for name in dependants {
                match self.states.get_mut(&name) {
                    Some(TaskState::Blocked { by }) => {
                        by.insert(package.to_owned());
                    }
                    Some(state @ TaskState::Waiting) => {
                        *state = TaskState::Blocked { by: BTreeSet::from([package.to_owned()]) };
                        blocked.push(name.clone());
                        frontier.push(name);
                    }
                    _ => {}
                }
            }
        }
        blocked.sort();
        blocked
    }

    /// Returns a package's state.
    pub fn state(&self, package: &str) -> Option<&TaskState> {
        self.states.get(package)
    }

    /// Returns all states, sorted by package.
    pub fn states(&self) -> &BTreeMap<String, TaskState> {
        &self.states
    }

    /// Returns how many tasks have not been started.
    pub fn waiting(&self) -> usize {
        self.count(|state| *state == TaskState::Waiting)
    }

    /// Returns how many tasks have ended, well, badly or blocked.
    pub fn ended(&self) -> usize {
        self.count(|state| !matches!(state, TaskState::Waiting | TaskState::Running))
    }

    /// Returns how many tasks there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns whether there is no task at all.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Returns whether tasks wait although nothing runs and nothing is ready: a defect of the plan.
    pub fn is_stuck(&self) -> bool {
        self.waiting() > 0
            && self.count(|state| *state == TaskState::Running) == 0
            && !self.tasks.values().any(|task| self.is_ready(task))
    }

    fn count(&self, wanted: impl Fn(&TaskState) -> bool) -> usize {
        self.states.values().filter(|state| wanted(state)).count()
    }

    fn insert(&mut self, task: Task) {
        self.states.insert(task.package.clone(), TaskState::Waiting);
        self.tasks.insert(task.package.clone(), task);
    }

    fn is_ready(&self, task: &Task) -> bool {
        self.states.get(&task.package) == Some(&TaskState::Waiting)
            && task.waits_for.iter().all(|name| matches!(self.states.get(name), None | Some(TaskState::Done)))
    }

    /// Computes each task's longest way to the end, dependants first.
    fn weigh(&mut self) {
        let mut dependants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open: BTreeMap<&str, usize> = self.tasks.keys().map(|name| (name.as_str(), 0)).collect();
        for task in self.tasks.values() {
            for name in task.waits_for.iter().filter(|name| self.tasks.contains_key(*name)) {
                dependants.entry(name).or_default().push(&task.package);
                *open.entry(name).or_default() += 1;
            }
        }
        let mut ready: Vec<&str> =
            open.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
        let mut weights: BTreeMap<String, f64> = BTreeMap::new();
        while let Some(name) = ready.pop() {
            let after = dependants.get(name).into_iter().flatten();
            let longest = after.filter_map(|next| weights.get(*next)).copied().fold(0.0, f64::max);
            weights.insert(name.to_owned(), longest + self.tasks[name].estimate);
            for before in self.tasks[name].waits_for.iter().filter(|before| self.tasks.contains_key(*before))
            {
                if let Some(count) = open.get_mut(before.as_str()) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(before);
                    }
                }
            }
        }
        self.priorities = weights;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn task(package: &str, waits_for: &[&str], estimate: f64) -> Task {
        Task {
            package: package.into(),
            waits_for: waits_for.iter().map(|name| (*name).to_owned()).collect(),
            estimate,
        }
    }

    /// Plays a queue with one worker and returns the order.
    fn play(mut queue: Queue, failing: &[&str]) -> Vec<String> {
        let mut order = Vec::new();
        while let Some(package) = queue.start_next() {
            if failing.contains(&package.as_str()) {
                queue.failed(&package);
            } else {
                queue.succeeded(&package);
            }
            order.push(package);
        }
        assert!(!queue.is_stuck());
        order
    }

    fn diamond() -> Queue {
        Queue::new([
            task("jq", &["oniguruma"], 10.0),
            task("oniguruma", &[], 10.0),
            task("tree", &[], 15.0),
            task("which", &["absent"], 1.0),
        ])
    }

    #[test]
    fn the_longest_way_comes_first() {
        assert_eq!(play(diamond(), &[]), ["oniguruma", "tree", "jq", "which"]);
    }

    #[test]
    fn a_failure_blocks_what_waits_and_nothing_else() {
        let mut queue = Queue::new([
            task("a", &[], 1.0),
            task("b", &["a"], 1.0),
            task("c", &["b"], 1.0),
            task("d", &[], 1.0),
        ]);
        assert_eq!(queue.start_next().as_deref(), Some("a"));
        assert_eq!(queue.failed("a"), ["b", "c"]);
        assert_eq!(queue.state("c"), Some(&TaskState::Blocked { by: BTreeSet::from(["a".to_owned()]) }));
        assert_eq!(queue.start_next().as_deref(), Some("d"));
        assert_eq!((queue.ended(), queue.waiting()), (3, 0));
    }

    #[test]
    fn two_failures_are_both_named() {
        let mut queue = Queue::new([task("a", &[], 2.0), task("b", &[], 1.0), task("c", &["a", "b"], 1.0)]);
        queue.start_next();
        queue.start_next();
        queue.failed("a");
        queue.failed("b");
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(queue.state("c"), Some(&TaskState::Blocked { by: both }));
    }

    #[test]
    fn a_cascade_joins_a_running_queue_once() {
        let mut queue = Queue::new([task("oniguruma", &[], 1.0)]);
        queue.start_next();
        queue.succeeded("oniguruma");
        assert!(queue.add(task("jq", &["oniguruma"], 1.0)));
        assert!(!queue.add(task("jq", &["oniguruma"], 1.0)));
        assert_eq!(queue.start_next().as_deref(), Some("jq"));
    }

    #[test]
    fn a_cascade_neither_repeats_nor_awaits_what_has_failed() {
        let mut queue = Queue::new([task("a", &[], 2.0), task("b", &["a"], 1.0), task("c", &[], 1.0)]);
        assert_eq!(queue.start_next().as_deref(), Some("a"));
        queue.failed("a");
        for name in ["a", "b"] {
            assert!(!queue.add(task(name, &[], 1.0)), "{name}");
        }
        assert!(!queue.add(task("d", &["b", "c"], 1.0)));
        assert_eq!(queue.state("d"), Some(&TaskState::Blocked { by: BTreeSet::from(["a".to_owned()]) }));
        assert_eq!(play(queue, &[]), ["c"]);
    }

    #[test]
    fn a_cycle_is_noticed() {
        let queue = Queue::new([task("a", &["b"], 1.0), task("b", &["a"], 1.0)]);
        assert!(queue.is_stuck());
    }

    proptest! {
        /// Edges go from higher to lower numbers, so there is no cycle: everything must end, each task after
        /// what it waits for, in an order that does not depend on the order of insertion.
        #[test]
        fn everything_ends_in_order(edges in proptest::collection::vec((0usize..20, 0usize..20), 0..60), estimates in proptest::collection::vec(0.1f64..9.0, 20)) {
            let tasks: Vec<Task> = (0..20).map(|number| {
                let waits: Vec<String> = edges.iter().filter(|(a, b)| *a == number && b < a).map(|(_, b)| format!("p{b}")).collect();
                task(&format!("p{number}"), &waits.iter().map(String::as_str).collect::<Vec<_>>(), estimates[number])
            }).collect();
            let order = play(Queue::new(tasks.clone()), &[]);
            prop_assert_eq!(order.len(), 20);
            for task in &tasks {
                let place = |name: &str| order.iter().position(|other| other == name).unwrap();
                for before in &task.waits_for {
                    prop_assert!(place(before) < place(&task.package));
                }
            }
            prop_assert_eq!(play(Queue::new(tasks.into_iter().rev()), &[]), order);
        }
    }
}
