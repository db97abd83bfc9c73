//! Names that look like a mistyped one.

use std::collections::BTreeSet;

/// More similar names than this help nobody.
const MAXIMUM_NAMES: usize = 3;
/// One letter in so many may be wrong, and one at least.
const LETTERS_PER_ERROR: usize = 4;
/// Letters are counted in so many classes.
const CLASSES: usize = 32;

/// How often each class of letters occurs in a name.
///
/// Counts of two names that differ by more than some number show that their edit distance is larger than that.
type Letters = [u8; CLASSES];

/// Returns the names that look like a mistyped one, best first; at most three.
pub fn near_names<'a>(names: impl IntoIterator<Item = &'a str>, wanted: &str) -> Vec<String> {
    Names::new(names).near(wanted)
}

/// The names that exist, by length, then sorted.
pub(crate) struct Names<'a>(Vec<(&'a str, Letters)>);

impl<'a> Names<'a> {
    pub(crate) fn new(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: BTreeSet<(usize, &str)> = names.into_iter().map(|name| (name.len(), name)).collect();
        Self(names.into_iter().map(|(_, name)| (name, letters(name))).collect())
    }

    /// Returns the most similar names, best first; a `kind(name)` is compared by what is inside.
    pub(crate) fn near(&self, wanted: &str) -> Vec<String> {
        let inner = wanted.split_once('(').map_or(wanted, |(_, rest)| rest.trim_end_matches(')'));
        if inner.len() < 2 {
            return Vec::new();
        }
        let own = letters(inner);
        // Neither much shorter nor much longer ones.
        let shortest = self.0.partition_point(|(name, _)| name.len() + allowed(inner.len()) < inner.len());
        let longest = self.0.partition_point(|(name, _)| name.len() <= inner.len() + allowed(name.len()));
        let mut found: Vec<(usize, &str)> = self.0[shortest..longest]
            .iter()
            .filter_map(|(name, letters)| {
                let longer = name.len().max(inner.len());
                let allowed = allowed(longer);
                // Cheap to see: keeps thousands of names times findings affordable.
                if usize::from(apart(&own, letters)) > allowed {
                    return None;
                }
                let (own, other) = without_common_ends(inner, name);
                let distance = strsim::damerau_levenshtein(own, other);
                (distance <= allowed).then(|| (distance * 1_000_000 / longer, *name))
            })
            .collect();
        found.sort();
        found.into_iter().take(MAXIMUM_NAMES).map(|(_, name)| name.to_owned()).collect()
    }
}

/// Returns how many letters may be wrong in a name of a length.
fn allowed(length: usize) -> usize {
    (length / LETTERS_PER_ERROR).max(1)
}

fn letters(name: &str) -> Letters {
    let mut letters = [0_u8; CLASSES];
    for byte in name.bytes() {
        let class = &mut letters[usize::from(byte) % CLASSES];
        *class = class.saturating_add(1);
    }
    letters
}

/// Returns what is left of two names without their common beginning and end, which add nothing to their distance.
fn without_common_ends<'n>(a: &'n str, b: &'n str) -> (&'n str, &'n str) {
    let same = |(a, b): (char, char)| if a == b { Some(a.len_utf8()) } else { None };
    let beginning: usize = a.chars().zip(b.chars()).map_while(same).sum();
    let (a, b) = (&a[beginning..], &b[beginning..]);
    let end: usize = a.chars().rev().zip(b.chars().rev()).map_while(same).sum();
    (&a[..a.len() - end], &b[..b.len() - end])
}

/// Returns how many letters at least must change to make one name of the other.
fn apart(a: &Letters, b: &Letters) -> u16 {
    let more = |a: &Letters, b: &Letters| -> u16 {
        a.iter().zip(b).map(|(a, b)| u16::from(a.saturating_sub(*b))).sum()
    };
    more(a, b).max(more(b, a))
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

    #[test]
    fn what_is_passed_over_is_never_similar() {
        let names =
            ["zlib", "zlib-devel", "libz", "perl-Test-More", "perl-test-more", "python3-six", "öl", "oel"];
        for a in names {
            for b in names {
                let distance = strsim::damerau_levenshtein(a, b);
                let (left_of_a, left_of_b) = without_common_ends(a, b);
                assert_eq!(strsim::damerau_levenshtein(left_of_a, left_of_b), distance, "{a} {b}");
                // Names of other than ASCII letters are measured in bytes here, which only makes them seem further.
                if a.is_ascii() && b.is_ascii() {
                    assert!(usize::from(apart(&letters(a), &letters(b))) <= distance, "{a} {b}");
                }
            }
        }
    }
}
