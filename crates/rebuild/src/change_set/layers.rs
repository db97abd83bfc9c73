//! In which order the packages of a set come: each in a layer above those of the set that it needs.
//!
//! What it is not: the order of a run, which hands out whatever is ready, by critical path; this is what is told
//! beforehand.

use std::collections::{BTreeMap, BTreeSet};

/// One package of a plan in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The spec.
    pub spec: &'a str,
    /// The specs whose packages it is built with.
    pub needs: Vec<&'a str>,
}

/// Returns the layer of each member, counted from 1: one more than the highest of the members that it needs, however
/// many others stand in between. `places` is in an order in which it can be built; a member without a place has no
/// layer.
pub fn layers<'a>(places: &[Place<'a>], members: &BTreeSet<&str>) -> BTreeMap<&'a str, usize> {
    let mut below: BTreeMap<&str, usize> = BTreeMap::new();
    let mut layers = BTreeMap::new();
    for place in places {
        let highest = place.needs.iter().filter_map(|need| below.get(need)).max().copied().unwrap_or(0);
        let is_member = members.contains(place.spec);
        if is_member {
            layers.insert(place.spec, highest + 1);
        }
        below.insert(place.spec, highest + usize::from(is_member));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_above_all_that_it_needs_through_whomever() {
        let place = |spec, needs: &[&'static str]| Place { spec, needs: needs.to_vec() };
        let places = [
            place("zlib", &[]),
            place("lone", &[]),
            place("between", &["zlib"]),
            place("low", &["between"]),
            place("high", &["low", "zlib", "outside"]),
        ];
        let members = BTreeSet::from(["zlib", "lone", "low", "high", "nowhere"]);
        let found: Vec<(&str, usize)> = layers(&places, &members).into_iter().collect();
        assert_eq!(found, [("high", 3), ("lone", 1), ("low", 2), ("zlib", 1)]);
        let found: Vec<(&str, usize)> = layers(&places, &BTreeSet::from(["high"])).into_iter().collect();
        assert_eq!(found, [("high", 1)]);
    }
}
