//! The orders that others build in: any ready package (the Azure toolkit's scheduler hands its nodes to whoever
//! receives first), and the one that became ready first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::problem::Problem;

/// Which of the ready tasks is started.
pub(crate) enum Order {
    /// Any, by chance of a seed.
    Random(u64),
    /// The one that became ready first; of equals the first by place.
    FirstReady,
}

/// Returns how long all take in this order, in microseconds.
pub(crate) fn makespan(problem: &Problem, workers: usize, order: &Order) -> u64 {
    let mut random = match order {
        Order::Random(seed) => Some(fastrand::Rng::with_seed(*seed)),
        Order::FirstReady => None,
    };
    let mut open: Vec<usize> = problem.waits_for.iter().map(Vec::len).collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); problem.len()];
    for (place, before) in problem.waits_for.iter().enumerate() {
        for before in before {
            after[*before].push(place);
        }
    }
    let mut ready: VecDeque<usize> = (0..problem.len()).filter(|place| open[*place] == 0).collect();
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut clock = 0;
    loop {
        while running.len() < workers && !ready.is_empty() {
            if let Some(random) = &mut random {
                let last = ready.len() - 1;
                ready.swap(random.usize(..=last), 0);
            }
            let Some(place) = ready.pop_front() else { break };
            running.push(Reverse((clock + problem.durations[place], place)));
        }
        let Some(Reverse((end, ended))) = running.pop() else { return clock };
        clock = end;
        for next in &after[ended] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push_back(*next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_build_everything_within_the_bounds_of_list_scheduling() {
        let problem = Problem::made_up(300, 4, 3);
        for workers in [1, 4, 400] {
            for order in [Order::Random(1), Order::Random(2), Order::FirstReady] {
                let makespan = makespan(&problem, workers, &order);
                assert!(makespan >= problem.bound(workers));
                assert!(makespan <= problem.critical_path() + problem.work() / workers as u64);
            }
        }
        assert_eq!(makespan(&problem, 1, &Order::FirstReady), problem.work());
        assert_eq!(makespan(&problem, 400, &Order::FirstReady), problem.critical_path());
    }
}
