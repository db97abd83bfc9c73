//! The ways among builds and packages as flat lists that only ever become shorter.
//!
//! What it is: which nodes all need one another (knots), the shortest ways within a knot, and what is left of a knot when
//! some of its ways are cut. Breaking a large knot cuts it hundreds of times and asks after each what still hangs
//! together; so nothing is made anew after a cut. Nodes are numbers: builds first, then packages. A list holds only
//! what is in the same knot, for what has left a knot never comes back.
//!
//! What it is not: it knows nothing of requirements, and decides nothing.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

/// No node, no knot.
const NONE: u32 = u32::MAX;

/// A knot: nodes that all need one another, with a build among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Knot {
    /// Sorted, so that its builds come first.
    nodes: Vec<u32>,
    /// How many of them are builds.
    builds: usize,
    number: u32,
    /// The root of its trees; [`NONE`] as long as it has none.
    root: u32,
}

/// The ways within knots.
pub(super) struct Ways {
    /// How many nodes are builds.
    builds: u32,
    /// Where each node's ways lead, sorted.
    targets: Lists,
    /// Where ways to each node come from, sorted.
    sources: Lists,
    /// The number of the knot that each node is in, or [`NONE`].
    knots: Vec<u32>,
    /// How many knots there have been.
    numbers: u32,
    /// By which ways nodes come to the root of their knot.
    onward: Tree,
    /// By which ways the root comes to the nodes of its knot, from their ends.
    backward: Tree,
    /// What a search notes at each node; [`NONE`] everywhere between searches.
    marks: Vec<u32>,
}

/// A tree over the nodes of each knot, which proves that all of them hang together: as long as it is whole, or can be
/// mended where ways were cut, nobody has to walk through the knot.
#[derive(Default)]
struct Tree {
    /// The next node on the way to the root.
    next: Vec<u32>,
    /// Nodes that have lost their next.
    orphans: Vec<u32>,
}

/// A list of numbers for each node, in one piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    starts: Vec<u32>,
    lengths: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// Adds the list of the next node.
    pub(super) fn push(&mut self, list: &[u32]) {
        self.starts.push(self.items.len() as u32);
        self.lengths.push(list.len() as u32);
        self.items.extend_from_slice(list);
    }

    /// Returns how many nodes have a list.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the list of a node.
    pub(super) fn of(&self, node: u32) -> &[u32] {
        let start = self.starts[node as usize] as usize;
        &self.items[start..start + self.lengths[node as usize] as usize]
    }

    /// Takes what does not fit out of the list of a node.
    pub(super) fn retain(&mut self, node: u32, fits: impl Fn(u32) -> bool) {
        let (start, length) = (self.starts[node as usize] as usize, &mut self.lengths[node as usize]);
        let list = &mut self.items[start..start + *length as usize];
        let mut kept = 0;
        for place in 0..list.len() {
            if fits(list[place]) {
                list[kept] = list[place];
                kept += 1;
            }
        }
        *length = kept as u32;
    }

    /// Takes one number out of a sorted list; returns whether the list is empty then.
    fn remove(&mut self, node: u32, item: u32) -> bool {
        let start = self.starts[node as usize] as usize;
        let length = self.lengths[node as usize] as usize;
        let list = &mut self.items[start..start + length];
        if let Ok(place) = list.binary_search(&item) {
            list.copy_within(place + 1.., place);
            self.lengths[node as usize] -= 1;
        }
        self.lengths[node as usize] == 0
    }

    /// Returns the lists the other way round, sorted.
    fn reversed(&self) -> Self {
        let nodes = self.len() as u32;
        let mut lengths = vec![0_u32; self.len()];
        for item in (0..nodes).flat_map(|node| self.of(node)) {
            lengths[*item as usize] += 1;
        }
        let mut end = 0;
        let starts: Vec<u32> = lengths
            .iter()
            .map(|length| {
                end += length;
                end - length
            })
            .collect();
        let mut reversed = Self { lengths: vec![0; starts.len()], items: vec![0; end as usize], starts };
        for node in 0..nodes {
            for item in self.of(node).iter().map(|item| *item as usize) {
                reversed.items[(reversed.starts[item] + reversed.lengths[item]) as usize] = node;
                reversed.lengths[item] += 1;
            }
        }
        reversed
    }
}

impl Knot {
    /// Returns its nodes, builds first, sorted.
    pub(super) fn nodes(&self) -> &[u32] {
        &self.nodes
    }

    /// Returns its builds, sorted.
    pub(super) fn builds(&self) -> &[u32] {
        &self.nodes[..self.builds]
    }
}

impl Ways {
    /// Returns all ways and the knots among them, the one with the first build last. `targets` says for each node where
    /// edges lead, sorted, each once; the first `builds` nodes are builds.
    pub(super) fn new(builds: usize, targets: Lists) -> (Self, Vec<Knot>) {
        let nodes = targets.len();
        let tree = || Tree { next: vec![NONE; nodes], orphans: Vec::new() };
        let mut ways = Self {
            builds: builds as u32,
            targets,
            sources: Lists::default(),
            knots: vec![NONE; nodes],
            numbers: 0,
            onward: tree(),
            backward: tree(),
            marks: vec![NONE; nodes],
        };
        let found = ways.part((0..nodes as u32).collect());
        ways.sources = ways.targets.reversed();
        (ways, found)
    }

    /// Returns whether a node is in a knot.
    pub(super) fn is_in(&self, node: u32, knot: &Knot) -> bool {
        self.knots[node as usize] == knot.number
    }

    /// Returns where a node's ways within its knot lead, sorted.
    pub(super) fn targets(&self, node: u32) -> &[u32] {
        self.targets.of(node)
    }

    /// Cuts a way within a knot; [`Self::split`] tells what that came to.
    pub(super) fn cut(&mut self, from: u32, to: u32) {
        self.targets.remove(from, to);
        self.sources.remove(to, from);
        self.onward.lose(from, to);
        self.backward.lose(to, from);
    }

    /// Returns the knots that are left of one after ways were cut, the one with the first build last.
    pub(super) fn split(&mut self, mut knot: Knot) -> Vec<Knot> {
        self.drop_ends(&knot);
        knot.nodes.retain(|node| self.knots[*node as usize] == knot.number);
        knot.builds = knot.nodes.partition_point(|node| *node < self.builds);
        if knot.builds == 0 {
            return Vec::new();
        }
        if self.hangs_together(&mut knot) {
            return vec![knot];
        }
        let Knot { nodes, .. } = knot;
        let found = self.part(nodes.clone());
        for node in nodes {
            let own = self.knots[node as usize];
            let knots = &self.knots;
            self.sources.retain(node, |source| own != NONE && knots[source as usize] == own);
        }
        found
    }

    /// Returns whether all nodes of a knot still need one another.
    fn hangs_together(&mut self, knot: &mut Knot) -> bool {
        let Self { targets, sources, knots, onward, backward, marks, .. } = self;
        let orphans = [onward.take_orphans(knots, knot), backward.take_orphans(knots, knot)];
        if knot.root != NONE && knots[knot.root as usize] == knot.number {
            let [lost_onward, lost_backward] = orphans;
            if onward.mend(targets, knot, lost_onward, marks)
                && backward.mend(sources, knot, lost_backward, marks)
            {
                return true;
            }
        }
        knot.root = knot.nodes.first().copied().unwrap_or(NONE);
        onward.grow(sources, knot, marks) && backward.grow(targets, knot, marks)
    }

    /// Takes out nodes that have no way on or no way back any more, and then those that have none because of it.
    fn drop_ends(&mut self, knot: &Knot) {
        let is_end = |node: &u32| self.targets.of(*node).is_empty() || self.sources.of(*node).is_empty();
        let mut ends: Vec<u32> = knot.nodes.iter().copied().filter(is_end).collect();
        while let Some(node) = ends.pop() {
            if std::mem::replace(&mut self.knots[node as usize], NONE) == NONE {
                continue;
            }
            let (targets, sources) = (&mut self.targets, &mut self.sources);
            targets.of(node).iter().for_each(|target| self.backward.lose(*target, node));
            sources.of(node).iter().for_each(|source| self.onward.lose(*source, node));
            ends.extend(targets.of(node).iter().filter(|target| sources.remove(**target, node)));
            ends.extend(sources.of(node).iter().filter(|source| targets.remove(**source, node)));
        }
    }

    /// Finds the knots among some sorted nodes and takes out of their lists of targets what is in no knot with them.
    fn part(&mut self, nodes: Vec<u32>) -> Vec<Knot> {
        let mut part: DiGraph<u32, (), u32> = DiGraph::with_capacity(nodes.len(), 0);
        for node in &nodes {
            self.marks[*node as usize] = part.add_node(*node).index() as u32;
            self.knots[*node as usize] = NONE;
        }
        for node in &nodes {
            let place = |node: u32| self.marks[node as usize];
            for target in self.targets.of(*node).iter().map(|target| place(*target)) {
                if target != NONE {
                    part.add_edge(place(*node).into(), target.into(), ());
                }
            }
        }
        nodes.iter().for_each(|node| self.marks[*node as usize] = NONE);
        let mut found = Vec::new();
        for component in kosaraju_scc(&part) {
            let mut nodes: Vec<u32> = component.into_iter().map(|place| part[place]).collect();
            nodes.sort_unstable();
            let builds = nodes.partition_point(|node| *node < self.builds);
            // Packages that need one another at run time are no knot.
            if nodes.len() > 1 && builds > 0 {
                nodes.iter().for_each(|node| self.knots[*node as usize] = self.numbers);
                found.push(Knot { nodes, builds, number: self.numbers, root: NONE });
                self.numbers += 1;
            }
        }
        for node in nodes {
            let own = self.knots[node as usize];
            let knots = &self.knots;
            self.targets.retain(node, |target| own != NONE && knots[target as usize] == own);
        }
        found.sort_by(|a, b| b.nodes.cmp(&a.nodes));
        found
    }

    /// Returns the shortest cycle through one of some builds of a knot; of equals the first found.
    pub(super) fn shortest_cycle(&mut self, starts: impl Iterator<Item = u32>) -> Option<Vec<u32>> {
        let mut best: Option<Vec<u32>> = None;
        for start in starts {
            let limit = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(cycle) = self.cycle_through(start, limit) {
                best = Some(cycle);
            }
            // Build, package, build, package: two specs; nothing is shorter.
            if best.as_ref().is_some_and(|best| best.len() <= 4) {
                break;
            }
        }
        best
    }

    /// Returns the shortest cycle through a build with at most `limit` nodes, the first by numbers of equals.
    fn cycle_through(&mut self, start: u32, limit: usize) -> Option<Vec<u32>> {
        let Self { targets, marks: parents, .. } = self;
        let mut queue = vec![(start, 1)];
        let mut next = 0;
        let mut found = None;
        'search: while let Some((node, length)) =
            queue.get(next).copied().filter(|(_, length)| *length <= limit)
        {
            next += 1;
            for target in targets.of(node).iter().copied() {
                if target == start {
                    found = Some(node);
                    break 'search;
                }
                if parents[target as usize] == NONE {
                    parents[target as usize] = node;
                    queue.push((target, length + 1));
                }
            }
        }
        let cycle = found.map(|last| {
            let mut cycle = vec![last];
            let mut at = last;
            while at != start {
                at = parents[at as usize];
                cycle.push(at);
            }
            cycle.reverse();
            cycle
        });
        queue.iter().for_each(|(node, _)| parents[*node as usize] = NONE);
        cycle
    }

    /// Returns for each way that a build has within its knot, in their order, the shortest cycle that begins with it;
    /// of equals the first by numbers.
    pub(super) fn cycles_over_each(&mut self, build: u32) -> Vec<Vec<u32>> {
        let Self { targets, sources, marks: distances, .. } = self;
        let first = targets.of(build);
        // How far each node is from the build, as far as the ends of its ways are.
        distances[build as usize] = 0;
        let mut queue = vec![build];
        let (mut next, mut missing) = (0, first.len());
        while let Some(node) = queue.get(next).copied().filter(|_| missing > 0) {
            next += 1;
            for source in sources.of(node) {
                if distances[*source as usize] == NONE {
                    distances[*source as usize] = distances[node as usize] + 1;
                    queue.push(*source);
                    missing -= usize::from(first.binary_search(source).is_ok());
                }
            }
        }
        let cycle = |target: &u32| {
            let mut cycle = vec![build, *target];
            let mut node = *target;
            while distances[node as usize] > 1 {
                let nearer = distances[node as usize] - 1;
                node = *targets.of(node).iter().find(|next| distances[**next as usize] == nearer)?;
                cycle.push(node);
            }
            Some(cycle)
        };
        let reached = first.iter().filter(|target| distances[**target as usize] != NONE);
        let cycles = reached.filter_map(cycle).collect();
        queue.iter().for_each(|node| distances[*node as usize] = NONE);
        cycles
    }
}

impl Tree {
    /// Notes that a way is no longer there.
    fn lose(&mut self, node: u32, next: u32) {
        if self.next[node as usize] == next {
            self.orphans.push(node);
        }
    }

    /// Returns the nodes of a knot that have lost their next.
    fn take_orphans(&mut self, knots: &[u32], knot: &Knot) -> Vec<u32> {
        let (own, others) = std::mem::take(&mut self.orphans)
            .into_iter()
            .filter(|node| knots[*node as usize] != NONE)
            .partition(|node| knots[*node as usize] == knot.number);
        self.orphans = others;
        own
    }

    /// Finds another next for each orphan, if that is easy; `lists` say where nodes can go on to. `false` says nothing
    /// of the knot.
    fn mend(&mut self, lists: &Lists, knot: &Knot, mut orphans: Vec<u32>, is_orphan: &mut [u32]) -> bool {
        orphans.sort_unstable();
        orphans.dedup();
        orphans.retain(|node| *node != knot.root);
        orphans.iter().for_each(|node| is_orphan[*node as usize] = 0);
        // Not more than walking through the knot would take.
        let mut steps = 2 * knot.nodes.len();
        loop {
            let number = orphans.len();
            orphans.retain(|node| {
                let leads_to_root = |next: &&u32| {
                    let mut at = **next;
                    while at != knot.root && is_orphan[at as usize] == NONE && steps > 0 {
                        steps -= 1;
                        at = self.next[at as usize];
                    }
                    at == knot.root
                };
                let Some(next) = lists.of(*node).iter().find(leads_to_root) else { return true };
                self.next[*node as usize] = *next;
                is_orphan[*node as usize] = NONE;
                false
            });
            if orphans.is_empty() || orphans.len() == number || steps == 0 {
                orphans.iter().for_each(|node| is_orphan[*node as usize] = NONE);
                return orphans.is_empty();
            }
        }
    }

    /// Makes the tree of a knot anew and returns whether all of its nodes are in it; `lists` say from where nodes can be
    /// come to. `seen` is [`NONE`] everywhere, and again after it.
    fn grow(&mut self, lists: &Lists, knot: &Knot, seen: &mut [u32]) -> bool {
        let mut found = vec![knot.root];
        seen[knot.root as usize] = 0;
        let mut next = 0;
        while let Some(node) = found.get(next).copied() {
            next += 1;
            for source in lists.of(node) {
                if std::mem::replace(&mut seen[*source as usize], 0) == NONE {
                    self.next[*source as usize] = node;
                    found.push(*source);
                }
            }
        }
        found.iter().for_each(|node| seen[*node as usize] = NONE);
        found.len() == knot.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// The same in the simple way: nothing is kept, all is found anew from the set of ways.
    #[derive(Clone, Debug)]
    struct Simple {
        builds: u32,
        nodes: u32,
        ways: BTreeSet<(u32, u32)>,
    }

    impl Simple {
        fn targets(&self, node: u32) -> impl Iterator<Item = u32> {
            self.ways.range((node, 0)..=(node, NONE)).map(|(_, target)| *target)
        }

        /// Returns what a node reaches by at least one way.
        fn reached(&self, node: u32) -> BTreeSet<u32> {
            let mut found = BTreeSet::new();
            let mut queue = vec![node];
            while let Some(node) = queue.pop() {
                queue.extend(self.targets(node).filter(|target| found.insert(*target)));
            }
            found
        }

        /// Returns the nodes of each knot.
        fn knots(&self) -> BTreeSet<Vec<u32>> {
            let reached: Vec<BTreeSet<u32>> = (0..self.nodes).map(|node| self.reached(node)).collect();
            let knot = |node: u32| -> Vec<u32> {
                let both = |other: &u32| {
                    reached[node as usize].contains(other) && reached[*other as usize].contains(&node)
                };
                (0..self.nodes).filter(both).collect()
            };
            (0..self.builds).map(knot).filter(|knot| knot.len() > 1).collect()
        }

        /// Returns the shortest cycle that begins with these nodes; of equals the first that a search breadth first finds.
        fn cycle(&self, prefix: &[u32]) -> Option<Vec<u32>> {
            let (start, last) = (*prefix.first()?, *prefix.last()?);
            let mut paths: BTreeMap<u32, Vec<u32>> = BTreeMap::from([(last, prefix.to_vec())]);
            let mut queue = VecDeque::from([last]);
            while let Some(node) = queue.pop_front() {
                let path = paths[&node].clone();
                for target in self.targets(node) {
                    if target == start {
                        return Some(path);
                    }
                    paths.entry(target).or_insert_with(|| {
                        queue.push_back(target);
                        path.iter().copied().chain([target]).collect()
                    });
                }
            }
            None
        }
    }

    /// Some builds, some packages, and ways among them: from builds to packages, from packages to both, never from a
    /// node to itself. After them what is cut: a way, or all of a build.
    fn webs() -> impl Strategy<Value = (Simple, Vec<(usize, bool)>)> {
        (1_u32..8, 1_u32..12).prop_flat_map(|(builds, packages)| {
            let nodes = builds + packages;
            let way = (0..nodes, 0..nodes);
            let ways = proptest::collection::btree_set(way, 0..(4 * nodes as usize));
            let cuts = proptest::collection::vec((any::<usize>(), proptest::bool::weighted(0.2)), 0..30);
            (ways, cuts).prop_map(move |(ways, cuts)| {
                let is_way = |(from, to): &(u32, u32)| from != to && (*from >= builds || *to >= builds);
                (Simple { builds, nodes, ways: ways.into_iter().filter(is_way).collect() }, cuts)
            })
        })
    }

    fn lists(simple: &Simple) -> Lists {
        let mut lists = Lists::default();
        for node in 0..simple.nodes {
            lists.push(&simple.targets(node).collect::<Vec<_>>());
        }
        lists
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_is_found_anew((mut simple, cuts) in webs()) {
            let (mut ways, mut knots) = Ways::new(simple.builds as usize, lists(&simple));
            let mut cuts = cuts.into_iter();
            loop {
                let nodes: BTreeSet<Vec<u32>> = knots.iter().map(|knot| knot.nodes().to_vec()).collect();
                prop_assert_eq!(&nodes, &simple.knots());
                prop_assert_eq!(nodes.len(), knots.len());
                for knot in &knots {
                    check_cycles(&mut ways, knot, &simple)?;
                }
                let (Some(knot), Some((number, whole))) = (knots.pop(), cuts.next()) else { break };
                let inside: Vec<(u32, u32)> = knot
                    .nodes()
                    .iter()
                    .flat_map(|from| ways.targets(*from).iter().map(|to| (*from, *to)))
                    .collect();
                let (from, to) = inside[number % inside.len()];
                for cut in inside.into_iter().filter(|cut| if whole { cut.0 == from } else { *cut == (from, to) }) {
                    ways.cut(cut.0, cut.1);
                    simple.ways.remove(&cut);
                }
                let left = ways.split(knot);
                prop_assert!(left.windows(2).all(|pair| pair[0].nodes() > pair[1].nodes()));
                knots.extend(left);
            }
        }
    }

    fn check_cycles(ways: &mut Ways, knot: &Knot, simple: &Simple) -> Result<(), TestCaseError> {
        let inside = |node: &u32| knot.nodes().contains(node);
        prop_assert!(knot.builds().iter().all(|build| *build < simple.builds));
        prop_assert_eq!(
            knot.builds().len(),
            knot.nodes().iter().filter(|node| **node < simple.builds).count()
        );
        for node in 0..simple.nodes {
            prop_assert_eq!(ways.is_in(node, knot), inside(&node));
        }
        for node in knot.nodes() {
            let targets: Vec<u32> = simple.targets(*node).filter(|target| inside(target)).collect();
            prop_assert_eq!(ways.targets(*node), targets);
        }
        let mut shortest: Option<Vec<u32>> = None;
        for build in knot.builds() {
            let expected: Vec<Vec<u32>> =
                ways.targets(*build).iter().filter_map(|target| simple.cycle(&[*build, *target])).collect();
            prop_assert_eq!(ways.cycles_over_each(*build), expected);
            let cycle = simple.cycle(&[*build]);
            prop_assert_eq!(ways.shortest_cycle([*build].into_iter()), cycle.clone());
            shortest = match (shortest, cycle) {
                // The search ends where a cycle of two specs was found.
                (Some(best), Some(cycle)) if best.len() <= 4 || cycle.len() >= best.len() => Some(best),
                (best, cycle) => cycle.or(best),
            };
        }
        prop_assert_eq!(ways.shortest_cycle(knot.builds().iter().copied()), shortest);
        Ok(())
    }
}
