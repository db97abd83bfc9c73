//! Made-up trees of any size, shaped as a real distribution's.
//!
//! What it is: specs of about three packages each; a tenth of a percent of the specs is needed by most others, and
//! most specs by few, as a power law has it (the first by a third of all specs, in the Azure tree as here); chains,
//! because a spec mostly needs specs before it; a bootstrap set whose members need one another and have
//! a toolchain's packages beside them; small knots that nothing breaks; some requirements that nothing serves. Equal
//! for equal sizes.
//!
//! What it is not: a copy of anything. Its numbers per spec are the Azure tree's, rounded.

use std::collections::BTreeSet;

use rpm_model::{
    ContentDigest, Dependency, Evr, Nevra, PackagesDocument, Requirement, SpecData, SpecPackage,
};

use crate::azure::ARCH;

/// Every tree is made from this.
const SEED: u64 = 4;
/// Specs at the beginning that need one another and that the toolchain holds too.
const BOOTSTRAP: usize = 60;
/// One spec in so many begins a knot of three that nothing breaks.
const KNOTS: usize = 1000;
/// Build requirements per spec, and run-time requirements of all its packages together.
const BUILD_REQUIRES: usize = 6;
const REQUIRES: usize = 4;

/// A tree and the file names of the packages that its toolchain holds.
pub(crate) struct Synthetic {
    pub(crate) document: PackagesDocument,
    pub(crate) toolchain: Vec<String>,
}

/// Returns the tree of a size.
pub(crate) fn tree(specs: usize) -> Synthetic {
    let mut maker = Maker { random: fastrand::Rng::with_seed(SEED), specs };
    let made: Vec<SpecData> = (0..specs).map(|index| maker.spec(index)).collect();
    let held = made.iter().take(BOOTSTRAP).flat_map(|spec| &spec.packages);
    let toolchain = held.map(|package| package.nevra.file_name()).collect();
    let document = PackagesDocument {
        schema: PackagesDocument::SCHEMA,
        arch: ARCH.to_owned(),
        macros: ContentDigest::of_bytes(b""),
        specs: made,
        bad: Vec::new(),
    };
    Synthetic { document, toolchain }
}

struct Maker {
    random: fastrand::Rng,
    specs: usize,
}

/// Returns a name that no other of the first 16 million specs has: a usual beginning and four syllables.
pub(crate) fn name(index: usize) -> String {
    const BEGINNINGS: [&str; 8] = ["", "lib", "perl-", "python3-", "", "golang-", "", "texlive-"];
    const CONSONANTS: &[u8] = b"bcdfghklmnprstvz";
    const VOWELS: &[u8] = b"aeio";
    // An odd factor permutes the numbers of 24 bits.
    let scattered = index.wrapping_mul(0x9e_3779) % (1 << 24);
    let mut name = BEGINNINGS[index % BEGINNINGS.len()].to_owned();
    for syllable in 0..4 {
        let bits = scattered >> (6 * syllable);
        name.push(char::from(CONSONANTS[bits % 16]));
        name.push(char::from(VOWELS[bits / 16 % 4]));
    }
    name
}

fn version(index: usize) -> Evr {
    Evr::new(0, format!("{}.{}", 1 + index % 7, index % 13), Some("1.azl3"))
}

impl Maker {
    fn spec(&mut self, index: usize) -> SpecData {
        let name = self::name(index);
        let source = Nevra::new(&name, version(index), "src");
        let mut spec = SpecData::new(&name, format!("SPECS/{name}/{name}.spec"), source);
        let mut requires: BTreeSet<Requirement> = BTreeSet::new();
        while requires.len() < BUILD_REQUIRES.min(self.specs - 1) {
            requires.insert(self.requirement(index));
        }
        if index % KNOTS >= KNOTS - 3 {
            // Three neighbours in a ring.
            let next = if index % KNOTS == KNOTS - 1 { index - 2 } else { index + 1 };
            if next < self.specs {
                requires.insert(Requirement::Simple(Dependency::any(format!("{}-devel", self::name(next)))));
            }
        }
        spec.build_requires = requires.into_iter().collect();
        spec.check_requires = spec.build_requires.clone();
        spec.has_check = self.random.u8(..3) > 0;
        let endings = ["", "-devel", "-libs", "-doc", "-tools"];
        let mut packages: Vec<SpecPackage> =
            endings[..self.number_of_packages()].iter().map(|ending| package(index, &name, ending)).collect();
        let mut chosen: Vec<BTreeSet<Requirement>> = vec![BTreeSet::new(); packages.len()];
        for number in 0..REQUIRES {
            let requirement = if number == 0 && packages.len() > 1 {
                let own = &packages[0].nevra;
                let exactly = Dependency::versioned(&own.name, rpm_model::Comparison::Equal, own.evr.clone());
                chosen[1].insert(exactly.into());
                continue;
            } else {
                self.requirement(index)
            };
            chosen[number % packages.len()].insert(requirement);
        }
        for (package, requires) in packages.iter_mut().zip(chosen) {
            package.requires = requires.into_iter().collect();
        }
        packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
        spec.packages = packages;
        spec
    }

    /// Two at least, three on average.
    fn number_of_packages(&mut self) -> usize {
        2 + usize::from(self.random.bool())
            + usize::from(self.random.u8(..3) == 0)
            + usize::from(self.random.u8(..6) == 0)
    }

    /// Returns what a spec asks for.
    fn requirement(&mut self, index: usize) -> Requirement {
        let needed = self.needed(index);
        let name = self::name(needed);
        let evr = || Evr { release: None, ..version(needed) };
        let at_least =
            |name: String| Dependency::versioned(name, rpm_model::Comparison::GreaterOrEqual, evr());
        let dependency = match self.random.u16(..1000) {
            0..400 => Dependency::any(name),
            400..700 => Dependency::any(format!("{name}-devel")),
            700..800 => Dependency::any(format!("pkgconfig({name})")),
            800..850 => at_least(format!("pkgconfig({name})")),
            850..950 => at_least(name),
            950..970 => {
                let text = format!("({name} or {})", self::name(self.needed(index)));
                // Both operands are names.
                return text.parse().expect("a boolean expression of two names");
            }
            970..990 => Dependency::any(format!("/usr/bin/{name}")),
            990..997 => Dependency::any(format!("perl({name}::Generated)")),
            _ => Dependency::any(format!("{name}-lost")),
        };
        dependency.into()
    }

    /// Returns a spec that another needs: one before it, the earlier the likelier.
    fn needed(&mut self, index: usize) -> usize {
        let before = if index < BOOTSTRAP { BOOTSTRAP.min(self.specs) } else { index };
        // Evenly spread logarithms: a rank's share falls as one over the rank.
        let rank = (self.random.f64() * (before as f64).ln()).exp() as usize - 1;
        let rank = rank.min(before - 1);
        if rank == index { (rank + 1) % self.specs } else { rank }
    }
}

/// Returns a package of a spec with what it declares.
fn package(index: usize, spec: &str, ending: &str) -> SpecPackage {
    let nevra = Nevra::new(format!("{spec}{ending}"), version(index), ARCH);
    let equal = |name: String, evr: Evr| Dependency::versioned(name, rpm_model::Comparison::Equal, evr);
    let mut provides = vec![
        equal(nevra.name.clone(), nevra.evr.clone()),
        equal(format!("{}(x86-64)", nevra.name), nevra.evr.clone()),
    ];
    match ending {
        "" => provides.push(Dependency::any(format!("/usr/bin/{spec}"))),
        "-devel" => {
            provides.push(equal(format!("pkgconfig({spec})"), Evr { release: None, ..version(index) }));
        }
        _ => {}
    }
    SpecPackage { provides, ..SpecPackage::new(nevra) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_as_large_as_asked_for_and_always_the_same() {
        let (a, b) = (tree(1000), tree(1000));
        assert_eq!(a.document, b.document);
        let packages = || a.document.specs.iter().flat_map(|spec| &spec.packages);
        let requirements: usize =
            a.document.specs.iter().map(|spec| spec.build_requires.len()).sum::<usize>()
                + packages().map(|package| package.requires.len()).sum::<usize>();
        assert_eq!(a.document.specs.len(), 1000);
        assert!((9_800..10_200).contains(&requirements), "{requirements}");
        assert!((2_800..3_200).contains(&packages().count()), "{}", packages().count());
        assert_eq!(a.toolchain[0], format!("{}-1.0-1.azl3.x86_64.rpm", name(0)));
        assert_eq!((0..40_000).map(name).collect::<BTreeSet<_>>().len(), 40_000);
    }

    #[test]
    fn few_are_needed_by_many() {
        let tree = tree(1000).document;
        let needs = |index: usize| {
            let name = name(index);
            let of =
                |requirement: &Requirement| requirement.leaves().iter().any(|leaf| leaf.name.contains(&name));
            tree.specs.iter().filter(|spec| spec.build_requires.iter().any(of)).count()
        };
        assert!(needs(0) > 250, "{}", needs(0));
        assert!(needs(100) < 60, "{}", needs(100));
    }
}
