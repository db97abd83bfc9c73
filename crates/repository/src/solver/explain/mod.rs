//! Why a request cannot be satisfied, as data and as words.
//!
//! What cannot be satisfied is found by following the request ([`search`]); the nearest candidates and why
//! each is refused are collected in [`candidates`].

mod candidates;
mod search;

use std::fmt;

use rpm_model::{Ban, Dependency, LockedPackage, Nevra, PackageOrigin, Requirement};
use serde::Serialize;

pub(super) use self::search::explain;

/// Why a request cannot be satisfied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What cannot be satisfied; never empty.
    pub problems: Vec<Unsatisfied>,
}

/// Something that cannot be satisfied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsatisfied {
    /// What is asked for.
    pub demand: Demand,
    /// How the request leads to it: each link's requirement brought in its package, the last package has
    /// the demand. Empty when the request itself has it.
    pub chain: Vec<Link>,
    /// The nearest candidates, and why each is refused.
    pub candidates: Vec<Refused>,
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// A requirement of the request or of a package.
    Requirement(Requirement),
    /// A core package, or a replacement of it.
    Core(Nevra),
    /// That a package is not there.
    Absence(Requirement),
}

/// A requirement and the package that it brings in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What is asked for.
    pub demand: Demand,
    /// What it brings in.
    pub package: Nevra,
    /// Where that comes from.
    pub origin: PackageOrigin,
}

/// A candidate that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The package.
    pub package: Nevra,
    /// Where it comes from.
    pub origin: PackageOrigin,
    /// Why it is refused.
    pub why: WhyNot,
}

/// Why a candidate is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNot {
    /// It provides another version.
    OtherVersion {
        /// What it provides.
        provided: Dependency,
    },
    /// It only has a similar name.
    SimilarName {
        /// That name.
        name: String,
    },
    /// The request excludes it.
    Excluded,
    /// The configuration keeps it out.
    Banned(Ban),
    /// It belongs to a spec that nothing requested leads to.
    OtherOwner,
    /// It is for another architecture.
    Arch,
    /// It requires what cannot be satisfied.
    Needs {
        /// The last requirement on the way to what is missing.
        unsatisfied: Box<Unsatisfied>,
    },
    /// It cannot be together with a package that must be in the set.
    Clash {
        /// Why not.
        kind: ClashKind,
        /// That package.
        with: Nevra,
        /// How the request leads to that package.
        chain: Vec<Link>,
    },
    /// It is possible by itself, but not beside what satisfies the other requirements.
    Combination,
    /// The request, or a package that must be in the set, says that it must not be there.
    Conflict {
        /// The conflict.
        conflict: Requirement,
    },
}

/// Why two packages cannot be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClashKind {
    /// They have the same name.
    SameName,
    /// One conflicts with the other.
    Conflicts,
    /// One obsoletes the other.
    Obsoletes,
}

impl Explanation {
    /// A package of the frozen core is in none of the repositories.
    pub(super) fn core_missing(locked: &LockedPackage) -> Self {
        let demand = Demand::Core(locked.nevra.clone());
        Self { problems: vec![Unsatisfied { demand, chain: Vec::new(), candidates: Vec::new() }] }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.write(f, 0)?;
        }
        Ok(())
    }
}

impl std::error::Error for Explanation {}

impl fmt::Display for Unsatisfied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Unsatisfied {
    /// Writes the headline, the way to it, and a line for each candidate.
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        match &self.demand {
            Demand::Requirement(requirement) if self.candidates.iter().all(Refused::is_only_near) => {
                write!(f, "{indent}nothing provides `{requirement}`")?;
            }
            Demand::Requirement(requirement) => write!(f, "{indent}`{requirement}` cannot be satisfied")?,
            Demand::Core(nevra) if self.candidates.is_empty() => {
                write!(f, "{indent}the core package {nevra} is in none of the repositories")?;
            }
            Demand::Core(nevra) => {
                write!(f, "{indent}the core package {nevra} can neither stay nor be replaced")?
            }
            Demand::Absence(conflict) => write!(f, "{indent}`{conflict}` cannot be avoided")?,
        }
        write_chain(f, &self.chain, &indent)?;
        self.candidates.iter().try_for_each(|candidate| candidate.write(f, depth + 1))
    }
}

/// Writes how the request leads somewhere, from the end back to the request.
fn write_chain(f: &mut fmt::Formatter<'_>, chain: &[Link], indent: &str) -> fmt::Result {
    for link in chain.iter().rev() {
        write!(
            f,
            "\n{indent}  needed by {} ({}), there for {}",
            link.package,
            origin(link.origin),
            link.demand
        )?;
    }
    Ok(())
}

impl Refused {
    /// Returns whether it was never a candidate, only the nearest thing to one.
    fn is_only_near(&self) -> bool {
        matches!(
            self.why,
            WhyNot::OtherVersion { .. }
                | WhyNot::SimilarName { .. }
                | WhyNot::Excluded
                | WhyNot::Banned(_)
                | WhyNot::OtherOwner
                | WhyNot::Arch
        )
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        write!(f, "\n{indent}{} ({}) ", self.package, origin(self.origin))?;
        match &self.why {
            WhyNot::OtherVersion { provided } => write!(f, "provides `{provided}`"),
            WhyNot::SimilarName { name } => write!(f, "provides the similar name `{name}`"),
            WhyNot::Excluded => f.write_str("is excluded"),
            WhyNot::Banned(ban) => write!(f, "is kept out by {ban}"),
            WhyNot::OtherOwner => f.write_str("belongs to a spec that the graph does not lead to"),
            WhyNot::Arch => f.write_str("is for another architecture"),
            WhyNot::Needs { unsatisfied } => {
                f.write_str("is refused:\n")?;
                unsatisfied.write(f, depth + 1)
            }
            WhyNot::Clash { kind, with, chain } => {
                write!(f, "cannot be beside {with} ({kind})")?;
                write_clash_chain(f, chain, &indent)
            }
            WhyNot::Combination => f.write_str("cannot be beside what satisfies the other requirements"),
            WhyNot::Conflict { conflict } => write!(f, "is ruled out by the conflict `{conflict}`"),
        }
    }
}

/// Writes how the request leads to the package that a candidate clashes with.
fn write_clash_chain(f: &mut fmt::Formatter<'_>, chain: &[Link], indent: &str) -> fmt::Result {
    for (number, link) in chain.iter().rev().enumerate() {
        let package =
            if number == 0 { "which is".to_owned() } else { format!("needed by {},", link.package) };
        write!(f, "\n{indent}  {package} there for {}", link.demand)?;
    }
    Ok(())
}

fn origin(origin: PackageOrigin) -> &'static str {
    match origin {
        PackageOrigin::Tree => "tree",
        PackageOrigin::Staging => "staging",
        PackageOrigin::Live => "live",
        PackageOrigin::Base => "base",
        PackageOrigin::Toolchain => "toolchain",
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requirement(requirement) => write!(f, "`{requirement}`"),
            Self::Core(nevra) => write!(f, "the core package {nevra}"),
            Self::Absence(conflict) => write!(f, "the conflict `{conflict}`"),
        }
    }
}

impl fmt::Display for ClashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameName => "a set holds one version of a name",
            Self::Conflicts => "they conflict",
            Self::Obsoletes => "one obsoletes the other",
        })
    }
}
