//! How a change goes from package to package: how far it has come, what is inside what, who could follow.
//!
//! What it is not: the decision ([`crate::build_reasons`]), which looks at what is, not at what could be.

use std::collections::BTreeSet;

use rpm_model::{BuildReason, BuildRecord, Dependency, RebuildPolicy, Requirement};

use crate::decide::{is_compiled_in, is_direct};
use crate::need::can_be_lost;

/// Returns how many packages lie between the change that began it and a package that is built for these reasons:
/// 0 where one of the reasons is its own, the user's, or comes from outside the tree.
///
/// `layer_of` says the same of the spec that caused a reason.
pub fn layer(reasons: &[BuildReason], layer_of: &dyn Fn(&str) -> u32) -> u32 {
    let layers = reasons.iter().map(|reason| reason.caused_by().map_or(0, |spec| layer_of(spec) + 1));
    layers.min().unwrap_or_default()
}

/// Returns whether the content of a package that provides this ends up inside what is built with it: static
/// libraries and header-only ones (`*-static`), Go modules (`golang(..)`) and Rust crates (`crate(..)`).
pub fn is_compiled_in_by(provided: &Dependency) -> bool {
    let name = provided.name.as_str();
    // rpm adds the architecture in parentheses: `zlib-static(x86-64)`.
    let plain = name.split('(').next().unwrap_or(name);
    plain.ends_with("-static") || name.starts_with("golang(") || name.starts_with("crate(")
}

/// What of a package could be touched by a change of others, by what that could be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitivity<'a> {
    /// Run-time requirements that its own packages do not meet: they could lose their provider.
    pub requirements: Vec<&'a Requirement>,
    /// Packages of its build root that could change.
    pub packages: BTreeSet<&'a str>,
    /// Packages that its triggers watch, by their names and by what they are watched as.
    pub watched: BTreeSet<&'a str>,
}

/// Returns what could make a package due under a policy.
pub fn sensitivity<'a>(
    record: &'a BuildRecord,
    policy: RebuildPolicy,
    build_requires: &[Requirement],
) -> Sensitivity<'a> {
    if policy == RebuildPolicy::Local {
        return Sensitivity::default();
    }
    let requirements = record.rpms.iter().flat_map(|package| {
        package.requires.iter().filter(move |requirement| can_be_lost(record, package, requirement))
    });
    let packages = record.lock.iter().filter(|package| {
        is_compiled_in(package, record)
            || match policy {
                RebuildPolicy::Exact => true,
                RebuildPolicy::Direct => is_direct(&package.nevra.name, record, build_requires),
                RebuildPolicy::Local | RebuildPolicy::Relevant => false,
            }
    });
    let watched = record.triggers.packages.iter().flat_map(|(name, seen)| {
        let seen = seen.as_ref().map(|seen| seen.nevra.name.as_str());
        seen.into_iter().chain([name.as_str()])
    });
    Sensitivity {
        requirements: requirements.collect(),
        packages: packages.map(|package| package.nevra.name.as_str()).collect(),
        watched: watched.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_counted_from_the_nearest_change() {
        let lost = |by: Option<&str>| BuildReason::RequirementLost {
            package: "p".into(),
            requirement: "r".into(),
            by: by.map(str::to_owned),
            library: None,
        };
        let layer_of = |spec: &str| if spec == "near" { 0 } else { 4 };
        assert_eq!(layer(&[], &layer_of), 0);
        assert_eq!(layer(&[lost(Some("far"))], &layer_of), 5);
        assert_eq!(layer(&[lost(Some("far")), lost(Some("near"))], &layer_of), 1);
        assert_eq!(layer(&[lost(Some("near")), BuildReason::Requested], &layer_of), 0);
        assert_eq!(layer(&[lost(None)], &layer_of), 0);
    }

    #[test]
    fn what_is_compiled_in_is_told_by_provides() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_compiled_in_by(&text.parse().unwrap()), expected, "{text}");
        };
        check("zlib-static = 1.2-1", true);
        check("zlib-static(x86-64) = 1.2-1", true);
        check("golang(github.com/pkg/errors) = 0.9", true);
        check("crate(libc) = 0.2", true);
        check("golang", false);
        check("pkgconfig(zlib)", false);
        check("libz.so.1()(64bit)", false);
        check("qemu-user-static-binfmt", false);
    }
}
