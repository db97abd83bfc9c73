//! Places nodes in columns so that edges lead from left to right and cross seldom.
//!
//! The method is Sugiyama's: edges that close a cycle are turned round; a node's column is given by the longest
//! way to it; an edge over several columns gets a *waypoint* in each between; columns are ordered by the
//! barycentre of neighbours, back and forth, and the order with fewest crossings is kept; then each column is
//! moved as near to its neighbours as the order allows. It knows nothing of specs: sizes and edges in, places
//! out, the same for the same input.

use std::collections::BTreeMap;

/// Times that the order of all columns is improved.
const ORDER_ROUNDS: usize = 24;
/// Times that all columns are moved.
const PLACE_ROUNDS: usize = 12;
/// How much rather a waypoint than a node stays on a straight line.
const WAYPOINT_WEIGHT: f64 = 4.0;

/// What a drawing leaves free and how large things are, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spacing {
    /// A node's height.
    pub(crate) node_height: f64,
    /// Between two nodes of a column.
    pub(crate) row_gap: f64,
    /// Between two columns, at least.
    pub(crate) column_gap: f64,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// Each node's left edge and middle.
    pub(crate) nodes: Vec<(f64, f64)>,
    /// Each edge's points, from dependent to dependency: in columns it is straight, between them it bends.
    pub(crate) routes: Vec<Vec<(f64, f64)>>,
    pub(crate) columns: usize,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Something in a column: a node, or a waypoint of an edge.
#[derive(Clone, Debug, Default)]
struct Item {
    column: usize,
    is_waypoint: bool,
    left: Vec<usize>,
    right: Vec<usize>,
}

/// Places nodes of these widths, connected by these edges; edges from a node to itself are not drawn.
pub(crate) fn place(widths: &[f64], edges: &[(usize, usize)], spacing: &Spacing) -> Layout {
    let forward = without_cycles(widths.len(), edges);
    let columns_of = columns(widths.len(), &forward);
    let mut items: Vec<Item> =
        columns_of.iter().map(|column| Item { column: *column, ..Item::default() }).collect();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for (from, to) in &forward {
        let mut way = vec![*from];
        if from != to {
            for column in columns_of[*from] + 1..columns_of[*to] {
                items.push(Item { column, is_waypoint: true, ..Item::default() });
                way.push(items.len() - 1);
            }
            way.push(*to);
        }
        for pair in way.windows(2) {
            items[pair[0]].right.push(pair[1]);
            items[pair[1]].left.push(pair[0]);
        }
        ways.push(way);
    }
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        columns.resize(columns.len().max(item.column + 1), Vec::new());
        columns[item.column].push(index);
    }
    order(&items, &mut columns);
    let middles = middles(&items, &columns, spacing);
    let (lefts, rights) = sides(widths, &columns, &forward, &columns_of, spacing);
    let height = |index: usize| middles[index] + spacing.node_height / 2.0;
    let route = |way: &Vec<usize>, turned: bool| {
        let mut points = Vec::new();
        for (place, index) in way.iter().enumerate() {
            let column = items[*index].column;
            if place > 0 {
                points.push((lefts[column], middles[*index]));
            } else if way.len() > 1 {
                points.push((lefts[column] + widths[*index], middles[*index]));
            }
            // Straight past wider nodes of the column.
            if place + 1 < way.len() {
                points.push((rights[column], middles[*index]));
            }
        }
        if turned {
            points.reverse();
        }
        points
    };
    Layout {
        nodes: (0..widths.len()).map(|node| (lefts[items[node].column], middles[node])).collect(),
        routes: ways
            .iter()
            .zip(edges.iter().zip(&forward))
            .map(|(way, (edge, forward))| route(way, edge != forward))
            .collect(),
        columns: columns.len(),
        width: rights.last().copied().unwrap_or(0.0),
        height: (0..items.len()).map(height).fold(0.0, f64::max),
    }
}

/// Returns the edges with those turned round that would close a cycle in a depth-first walk.
fn without_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Closed,
    }
    let mut outgoing: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut incoming = vec![0usize; nodes];
    for (edge, (from, to)) in edges.iter().enumerate() {
        outgoing[*from].push(edge);
        incoming[*to] += 1;
    }
    let mut result = edges.to_vec();
    let mut marks = vec![Mark::New; nodes];
    // From those first that nobody needs: then whatever closes a cycle leads back towards them.
    let mut starts: Vec<usize> = (0..nodes).collect();
    starts.sort_by_key(|node| (incoming[*node], *node));
    for start in starts {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut stack = vec![(start, 0)];
        while let Some((node, next)) = stack.last_mut() {
            let Some(edge) = outgoing[*node].get(*next) else {
                marks[*node] = Mark::Closed;
                stack.pop();
                continue;
            };
            *next += 1;
            let (from, to) = edges[*edge];
            match marks[to] {
                Mark::Open if from != to => result[*edge] = (to, from),
                Mark::New => {
                    marks[to] = Mark::Open;
                    stack.push((to, 0));
                }
                _ => {}
            }
        }
    }
    result
}

/// Returns each node's column: as far to the left as the longest way to it allows; then nodes with more edges
/// to the right than to the left go as far to the right as these allow, so that edges are short.
fn columns(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut right: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut waiting = vec![0usize; nodes];
    let mut incoming = vec![0usize; nodes];
    for (from, to) in edges.iter().filter(|(from, to)| from != to) {
        right[*from].push(*to);
        waiting[*to] += 1;
        incoming[*to] += 1;
    }
    let mut columns = vec![0usize; nodes];
    let mut sorted: Vec<usize> = (0..nodes).filter(|node| waiting[*node] == 0).collect();
    let mut done = 0;
    while done < sorted.len() {
        let node = sorted[done];
        done += 1;
        for to in &right[node] {
            columns[*to] = columns[*to].max(columns[node] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                sorted.push(*to);
            }
        }
    }
    for node in sorted.into_iter().rev() {
        let limit = right[node].iter().map(|to| columns[*to]).min();
        if let Some(limit) = limit
            && right[node].len() > incoming[node]
        {
            columns[node] = limit - 1;
        }
    }
    let first = columns.iter().min().copied().unwrap_or(0);
    columns.into_iter().map(|column| column - first).collect()
}

/// Orders the items of every column so that few edges cross.
fn order(items: &[Item], columns: &mut [Vec<usize>]) {
    let mut best = columns.to_vec();
    let mut least = crossings(items, columns);
    for round in 0..ORDER_ROUNDS {
        let to_right = round % 2 == 0;
        let mut places = vec![0.0; items.len()];
        for column in columns.iter() {
            note_places(column, &mut places);
        }
        let mut walk: Vec<usize> = (0..columns.len()).collect();
        if !to_right {
            walk.reverse();
        }
        for index in walk {
            let column = &mut columns[index];
            let key = |item: usize| {
                let beside = if to_right { &items[item].left } else { &items[item].right };
                let sum: f64 = beside.iter().map(|neighbour| places[*neighbour]).sum();
                if beside.is_empty() { places[item] } else { sum / beside.len() as f64 }
            };
            let keys: BTreeMap<usize, f64> = column.iter().map(|item| (*item, key(*item))).collect();
            column.sort_by(|a, b| keys[a].total_cmp(&keys[b]).then(a.cmp(b)));
            note_places(column, &mut places);
        }
        let found = crossings(items, columns);
        if found < least {
            least = found;
            best = columns.to_vec();
        }
    }
    columns.clone_from_slice(&best);
}

/// Notes where the items of a column are, from 0 to 1, so that columns of different length compare.
fn note_places(column: &[usize], places: &mut [f64]) {
    for (place, item) in column.iter().enumerate() {
        places[*item] = (place as f64 + 0.5) / column.len() as f64;
    }
}

/// Counts how often edges cross between neighbouring columns.
fn crossings(items: &[Item], columns: &[Vec<usize>]) -> usize {
    let mut places = vec![0usize; items.len()];
    for column in columns {
        for (place, item) in column.iter().enumerate() {
            places[*item] = place;
        }
    }
    let mut count = 0;
    for (index, column) in columns.iter().enumerate().skip(1) {
        // Pairs in order of their left end; an inversion of the right ends is a crossing.
        let mut ends: Vec<(usize, usize)> = column
            .iter()
            .flat_map(|item| items[*item].left.iter().map(|left| (places[*left], places[*item])))
            .collect();
        ends.sort_unstable();
        let mut tree = vec![0usize; columns[index].len() + 1];
        for (seen, (_, right)) in ends.iter().enumerate() {
            let mut at = right + 1;
            let mut not_after = 0;
            while at > 0 {
                not_after += tree[at];
                at &= at - 1;
            }
            count += seen - not_after;
            let mut at = right + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
    }
    count
}

/// Returns the middle of every item: as near to the mean of its neighbours as order and gaps allow.
fn middles(items: &[Item], columns: &[Vec<usize>], spacing: &Spacing) -> Vec<f64> {
    let height = |item: usize| if items[item].is_waypoint { 2.0 } else { spacing.node_height };
    // Lines may lie closer together than nodes.
    let distance = |above: usize, below: usize| {
        let both = items[above].is_waypoint && items[below].is_waypoint;
        let gap = if both { spacing.row_gap / 2.0 } else { spacing.row_gap };
        (height(above) + height(below)) / 2.0 + gap
    };
    let mut middles = vec![0.0; items.len()];
    for column in columns {
        let mut next = 0.0;
        for item in column {
            middles[*item] = next + height(*item) / 2.0;
            next += height(*item) + spacing.row_gap;
        }
        // Around one line, so that the first moves start from somewhere sensible.
        column.iter().for_each(|item| middles[*item] -= next / 2.0);
    }
    for round in 0..PLACE_ROUNDS {
        let last = round + 2 >= PLACE_ROUNDS;
        let mut walk: Vec<usize> = (0..columns.len()).collect();
        if round % 2 == 1 {
            walk.reverse();
        }
        for index in walk {
            let column = &columns[index];
            let wish = |item: &usize| {
                let Item { left, right, .. } = &items[*item];
                // First after one side, in turn; in the end after both.
                let side = if last {
                    [left.as_slice(), right.as_slice()]
                } else if round % 2 == 0 {
                    [left.as_slice(), &[]]
                } else {
                    [right.as_slice(), &[]]
                };
                let neighbours: Vec<f64> =
                    side.into_iter().flatten().map(|neighbour| middles[*neighbour]).collect();
                if neighbours.is_empty() {
                    (middles[*item], 0.1)
                } else {
                    let mean = neighbours.iter().sum::<f64>() / neighbours.len() as f64;
                    (mean, if items[*item].is_waypoint { WAYPOINT_WEIGHT } else { 1.0 })
                }
            };
            let wishes: Vec<(f64, f64)> = column.iter().map(wish).collect();
            let distances: Vec<f64> = column.windows(2).map(|pair| distance(pair[0], pair[1])).collect();
            for (item, middle) in column.iter().zip(nearest(&wishes, &distances)) {
                middles[*item] = middle;
            }
        }
    }
    let top = (0..items.len()).map(|item| middles[item] - height(item) / 2.0).fold(f64::INFINITY, f64::min);
    middles.iter().map(|middle| middle - top).collect()
}

/// Returns the places nearest to wishes (place, weight), by least squares, with at least these distances
/// between each and the next: wishes that would overlap are pooled.
fn nearest(wishes: &[(f64, f64)], distances: &[f64]) -> Vec<f64> {
    /// Neighbours that touch: sum of weights, sum of weighted places without distances, how many.
    struct Pool {
        weight: f64,
        sum: f64,
        count: usize,
    }
    let mut offsets = vec![0.0];
    for distance in distances {
        offsets.push(offsets[offsets.len() - 1] + distance);
    }
    let mut pools: Vec<Pool> = Vec::new();
    for ((place, weight), offset) in wishes.iter().zip(&offsets) {
        let mut pool = Pool { weight: *weight, sum: (place - offset) * weight, count: 1 };
        while let Some(before) = pools.last()
            && before.sum / before.weight >= pool.sum / pool.weight
        {
            pool = Pool {
                weight: pool.weight + before.weight,
                sum: pool.sum + before.sum,
                count: pool.count + before.count,
            };
            pools.pop();
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|pool| std::iter::repeat_n(pool.sum / pool.weight, pool.count));
    places.zip(&offsets).map(|(place, offset)| place + offset).collect()
}

/// Returns every column's left and right side.
fn sides(
    widths: &[f64],
    columns: &[Vec<usize>],
    edges: &[(usize, usize)],
    columns_of: &[usize],
    spacing: &Spacing,
) -> (Vec<f64>, Vec<f64>) {
    let mut crossing = vec![0usize; columns.len() + 1];
    for (from, to) in edges {
        crossing[columns_of[*from]..columns_of[*to]].iter_mut().for_each(|count| *count += 1);
    }
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    let mut next = 0.0;
    for (index, column) in columns.iter().enumerate() {
        let width = column.iter().filter_map(|item| widths.get(*item)).copied().fold(0.0, f64::max);
        lefts.push(next);
        rights.push(next + width);
        // Where many edges pass, their slopes need room.
        next += width + spacing.column_gap + (crossing[index] as f64 * 1.5).min(spacing.column_gap * 1.5);
    }
    (lefts, rights)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPACING: Spacing = Spacing { node_height: 20.0, row_gap: 10.0, column_gap: 50.0 };

    #[test]
    fn a_diamond_has_three_columns_and_no_crossing() {
        let layout = place(&[60.0, 40.0, 80.0, 60.0], &[(0, 2), (0, 1), (1, 3), (2, 3), (0, 3)], &SPACING);
        let lefts: Vec<f64> = layout.nodes.iter().map(|(left, _)| *left).collect();
        assert!(lefts[0] < lefts[1] && lefts[1] < lefts[3]);
        assert_eq!(lefts[1].to_bits(), lefts[2].to_bits());
        // The long edge passes the middle column on its way.
        assert_eq!(layout.routes[4].len(), 5);
        assert_eq!(layout.routes[0].len(), 3);
        assert_eq!(layout.routes[0][0].0.to_bits(), 60f64.to_bits());
    }

    #[test]
    fn an_edge_that_closes_a_cycle_leads_back() {
        let layout = place(&[50.0; 3], &[(0, 1), (1, 2), (2, 0), (1, 1)], &SPACING);
        let back = &layout.routes[2];
        assert!(back[0].0 > back[back.len() - 1].0, "{back:?}");
        assert!(layout.routes[3].is_empty());
    }

    #[test]
    fn wishes_are_met_as_far_as_distances_allow() {
        assert_eq!(nearest(&[(0.0, 1.0), (100.0, 1.0)], &[10.0]), [0.0, 100.0]);
        assert_eq!(nearest(&[(50.0, 1.0), (50.0, 1.0)], &[10.0]), [45.0, 55.0]);
        assert_eq!(nearest(&[(50.0, 1.0), (40.0, 1.0), (45.0, 1.0)], &[10.0, 10.0]), [35.0, 45.0, 55.0]);
        assert!(nearest(&[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_edges_end_at_their_nodes(
            widths in proptest::collection::vec(20.0f64..120.0, 1..20),
            ends in proptest::collection::vec((0usize..20, 0usize..20), 0..50),
        ) {
            let edges: Vec<(usize, usize)> =
                ends.into_iter().map(|(a, b)| (a % widths.len(), b % widths.len())).collect();
            let layout = place(&widths, &edges, &SPACING);
            prop_assert_eq!(&layout, &place(&widths, &edges, &SPACING));
            for (a, (left, middle)) in layout.nodes.iter().enumerate() {
                prop_assert!(*left >= 0.0 && left + widths[a] <= layout.width + 1e-6);
                prop_assert!(*middle >= 10.0 - 1e-6 && middle + 10.0 <= layout.height + 1e-6);
                for (b, (other_left, other_middle)) in layout.nodes.iter().enumerate().skip(a + 1) {
                    let apart = left + widths[a] <= *other_left || other_left + widths[b] <= *left;
                    prop_assert!(apart || (middle - other_middle).abs() >= 30.0 - 1e-6);
                }
            }
            for ((from, to), route) in edges.iter().zip(&layout.routes) {
                if from == to {
                    prop_assert!(route.is_empty());
                    continue;
                }
                for (node, point) in [(from, route[0]), (to, route[route.len() - 1])] {
                    let (left, middle) = layout.nodes[*node];
                    prop_assert!((point.1 - middle).abs() < 1e-6);
                    let sides = [left, left + widths[*node]];
                    prop_assert!(sides.iter().any(|side| (point.0 - side).abs() < 1e-6));
                }
            }
        }
    }
}
