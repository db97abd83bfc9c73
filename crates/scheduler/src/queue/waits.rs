//! Who waits for whom: what becomes ready when a package has ended, what must wait again when one joins, and how long
//! the way of each to the end is. Every function costs what changes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::ready::Rank;
use super::{Queue, TaskState};

impl Queue {
    /// Makes a task whose turn has come ready.
    pub(super) fn list(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if !node.waits() || node.rank.is_some() {
            return;
        }
        let name = Reverse(Arc::clone(&node.name));
        let rank = Rank { way: node.way, dependants: node.after.len(), name, node: place };
        node.rank = Some(rank.clone());
        self.ready.insert(node.shape, rank);
    }

    /// Returns whether it was ready; it no longer is.
    pub(super) fn unlist(&mut self, place: usize) -> bool {
        let node = &mut self.nodes[place];
        let Some(rank) = node.rank.take() else { return false };
        self.ready.remove(node.shape, &rank);
        true
    }

    /// Tells those after a package that they need not wait for it any longer.
    pub(super) fn settle(&mut self, place: usize) {
        let mut settled = vec![place];
        while let Some(place) = settled.pop() {
            for index in 0..self.nodes[place].after.len() {
                let next = self.nodes[place].after[index];
                self.nodes[next].open -= 1;
                if self.nodes[next].open > 0 {
                    continue;
                }
                if self.nodes[next].is_passage() {
                    settled.push(next);
                } else {
                    self.list(next);
                }
            }
        }
    }

    /// Tells those after a package that was settled that they must wait for it again.
    pub(super) fn unsettle(&mut self, place: usize) {
        let mut unsettled = vec![place];
        while let Some(place) = unsettled.pop() {
            for index in 0..self.nodes[place].after.len() {
                let next = self.nodes[place].after[index];
                self.nodes[next].open += 1;
                if self.nodes[next].open > 1 {
                    continue;
                }
                if self.nodes[next].is_passage() {
                    unsettled.push(next);
                } else {
                    self.unlist(next);
                }
            }
        }
    }

    /// Returns the failed packages because of which this one will not be there: what is before it, seen through
    /// passages.
    pub(super) fn root_causes(&self, place: usize) -> BTreeSet<String> {
        let mut causes = BTreeSet::new();
        let mut seen = BTreeSet::from([place]);
        let mut frontier = vec![place];
        while let Some(place) = frontier.pop() {
            let before = self.nodes[place].before.iter().copied();
            for next in before.filter(|next| !self.nodes[*next].is_settled()) {
                match &self.nodes[next].state {
                    Some(TaskState::Failed) => {
                        causes.insert(self.nodes[next].name.to_string());
                    }
                    Some(TaskState::Blocked { by }) => causes.extend(by.iter().cloned()),
                    _ if seen.insert(next) => frontier.push(next),
                    _ => {}
                }
            }
        }
        causes
    }

    /// Computes each package's longest way to the end, from the end on. Those in a cycle have none.
    pub(super) fn weigh(&mut self) {
        let mut open: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut ended: Vec<usize> = (0..self.nodes.len()).filter(|place| open[*place] == 0).collect();
        while let Some(place) = ended.pop() {
            self.nodes[place].way = self.longest(place);
            for before in &self.nodes[place].before {
                open[*before] -= 1;
                if open[*before] == 0 {
                    ended.push(*before);
                }
            }
        }
    }

    pub(super) fn longest(&self, place: usize) -> u64 {
        let node = &self.nodes[place];
        let after = node.after.iter().map(|next| self.nodes[*next].way).max();
        node.own_way().saturating_add(after.unwrap_or_default())
    }

    /// Passes on that tasks have failed or cannot be started any more: the ways of those that they waited for may be
    /// shorter now.
    pub(super) fn shorten(&mut self, ended: &[usize]) {
        // The shortest ways first, for those before a package have longer ones: see `lengthen`.
        let entry = |queue: &Self, place: usize| Reverse((queue.nodes[place].way, place));
        let mut changed: BinaryHeap<_> = ended.iter().map(|place| entry(self, *place)).collect();
        while let Some(Reverse((_, place))) = changed.pop() {
            let way = self.longest(place);
            if way >= self.nodes[place].way {
                continue;
            }
            let listed = self.unlist(place);
            self.nodes[place].way = way;
            if listed {
                self.list(place);
            }
            let before = self.nodes[place].before.iter().filter(|before| !self.nodes[**before].is_settled());
            changed.extend(before.map(|before| entry(self, *before)));
        }
    }

    /// Passes on that a task has joined: the ways of those that it waits for may be longer now. Who is settled has
    /// no way left.
    pub(super) fn lengthen(&mut self, place: usize) {
        // The shortest ways first: those before a package have longer ones, so most are looked at once.
        let mut changed = BinaryHeap::from([Reverse((self.longest(place), place))]);
        while let Some(Reverse((_, place))) = changed.pop() {
            let way = self.longest(place);
            if way <= self.nodes[place].way {
                continue;
            }
            let listed = self.unlist(place);
            self.nodes[place].way = way;
            if listed {
                self.list(place);
            }
            let before = self.nodes[place].before.iter().filter(|before| !self.nodes[**before].is_settled());
            changed.extend(before.map(|before| {
                let own = self.nodes[*before].own_way();
                Reverse((own.saturating_add(way), *before))
            }));
        }
    }
}
