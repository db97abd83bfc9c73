//! Names that look like a mistyped one.

use std::collections::BTreeSet;

/// More similar names than this help nobody.
const MAXIMUM_NAMES: usize = 3;
/// From 0 (nothing in common) to 1 (equal).
const SIMILAR: f64 = 0.66;

/// The names that exist.
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }

    /// Returns the most similar names, best first; a `kind(name)` is compared by what is inside.
    pub(crate) fn near(&self, wanted: &str) -> Vec<String> {
        let inner = wanted.split_once('(').map_or(wanted, |(_, rest)| rest.trim_end_matches(')'));
        let mut found: Vec<(i64, &String)> = self
            .0
            .iter()
            // Cheap to see and never similar enough: keeps thousands of names times findings affordable.
            .filter(|name| name.len().abs_diff(inner.len()) <= 1 + inner.len() / 3)
            .filter_map(|name| {
                let likeness = strsim::normalized_damerau_levenshtein(inner, name);
                (likeness >= SIMILAR).then_some(((-likeness * 1e6) as i64, name))
            })
            .collect();
        found.sort();
        found.into_iter().take(MAXIMUM_NAMES).map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let names = Names::new(["zlib", "zlib-devel", "oniguruma", "python3", "z"]);
        assert_eq!(names.near("zlib-devle"), ["zlib-devel"]);
        assert_eq!(names.near("onigurma"), ["oniguruma"]);
        assert_eq!(names.near("pkgconfig(onigurma)"), ["oniguruma"]);
        assert!(names.near("completely-else").is_empty());
        assert!(names.near("").is_empty());
    }
}
