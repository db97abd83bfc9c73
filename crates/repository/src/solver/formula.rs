//! Requirements as boolean formulas over packages.
//!
//! A requirement or conflict becomes a formula in negation normal form: leaves say that one of some
//! packages is in the set, or that none of some packages is. `with` and `without` are decided here, because
//! they speak about one single package. Meaning of the operators: rpm 4.18, tried out (`unless` in
//! particular: `(a unless b)` is `a and not b`, `(a unless b else c)` adds `or (b and c)`).

use rpm_model::{Requirement, RichDependency};

use crate::provider::{PackageId, ProviderIndex};

/// A boolean formula over the packages of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Formula {
    /// At least one of these packages is in the set.
    OneOf {
        /// Ids in canonical order.
        packages: Vec<PackageId>,
        /// Whether the formula merely looks at these packages (the condition of `if ... else`) and
        /// should rather be satisfied otherwise than by adding one.
        reluctant: bool,
        /// The name asked for, by which candidates of that name go first.
        name: String,
    },
    /// None of these packages is in the set.
    NoneOf(Vec<PackageId>),
    /// All of these hold.
    All(Vec<Formula>),
    /// At least one of these holds.
    Any(Vec<Formula>),
}

impl Formula {
    /// Returns the formula of "this requirement is satisfied".
    pub(super) fn satisfied(requirement: &Requirement, index: &ProviderIndex<'_>) -> Self {
        Compiler { index, reluctant: false }.formula(requirement, true)
    }

    /// Returns the formula of "this conflict does not apply" for a package that may itself match it.
    pub(super) fn avoided(
        conflict: &Requirement,
        index: &ProviderIndex<'_>,
        owner: Option<PackageId>,
    ) -> Self {
        let mut formula = Compiler { index, reluctant: false }.formula(conflict, false);
        if let Some(owner) = owner {
            formula.forget(owner);
        }
        formula
    }

    /// Returns every package that could help to satisfy the formula.
    pub(super) fn helpful(&self) -> Vec<PackageId> {
        match self {
            Self::OneOf { packages, .. } => packages.clone(),
            Self::NoneOf(_) => Vec::new(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::helpful).collect(),
        }
    }

    /// A package does not conflict with itself.
    fn forget(&mut self, owner: PackageId) {
        match self {
            Self::OneOf { packages, .. } | Self::NoneOf(packages) => packages.retain(|id| *id != owner),
            Self::All(parts) | Self::Any(parts) => parts.iter_mut().for_each(|part| part.forget(owner)),
        }
    }
}

struct Compiler<'i, 'a> {
    index: &'i ProviderIndex<'a>,
    reluctant: bool,
}

impl Compiler<'_, '_> {
    /// Returns the formula of a requirement (`positive`) or of its negation.
    fn formula(&self, requirement: &Requirement, positive: bool) -> Formula {
        let rich = match requirement {
            Requirement::Simple(dependency) => {
                return self.leaf(self.index.provider_ids(dependency), &dependency.name, positive);
            }
            Requirement::Rich(rich) => rich.as_ref(),
        };
        let all = |list: &[Requirement]| list.iter().map(|part| self.formula(part, positive)).collect();
        match rich {
            RichDependency::And(list) if positive => Formula::All(all(list)),
            RichDependency::And(list) => Formula::Any(all(list)),
            RichDependency::Or(list) if positive => Formula::Any(all(list)),
            RichDependency::Or(list) => Formula::All(all(list)),
            RichDependency::With(_) | RichDependency::Without(..) => {
                let name = requirement.leaves().first().map(|leaf| leaf.name.clone()).unwrap_or_default();
                self.leaf(self.single_packages(requirement), &name, positive)
            }
            RichDependency::If(wanted, condition, otherwise) => {
                self.conditional(wanted, condition, otherwise.as_ref(), positive)
            }
            RichDependency::Unless(wanted, exception, otherwise) => {
                self.exceptional(wanted, exception, otherwise.as_ref(), positive)
            }
        }
    }

    /// `(wanted if condition [else otherwise])` is `(wanted or not condition) [and (otherwise or condition)]`.
    fn conditional(
        &self,
        wanted: &Requirement,
        condition: &Requirement,
        otherwise: Option<&Requirement>,
        positive: bool,
    ) -> Formula {
        let not_condition = self.formula(condition, false);
        let condition = self.reluctantly().formula(condition, true);
        let wanted = self.formula(wanted, positive);
        let otherwise = otherwise.map(|otherwise| self.formula(otherwise, positive));
        if positive {
            let mut parts = vec![Formula::Any(vec![not_condition, wanted])];
            parts.extend(otherwise.map(|otherwise| Formula::Any(vec![condition, otherwise])));
            Formula::All(parts)
        } else {
            let mut parts = vec![Formula::All(vec![condition, wanted])];
            parts.extend(otherwise.map(|otherwise| Formula::All(vec![not_condition, otherwise])));
            Formula::Any(parts)
        }
    }

    /// `(wanted unless exception [else otherwise])` is `(wanted and not exception) [or (otherwise and exception)]`.
    fn exceptional(
        &self,
        wanted: &Requirement,
        exception: &Requirement,
        otherwise: Option<&Requirement>,
        positive: bool,
    ) -> Formula {
        let not_exception = self.formula(exception, false);
        let exception = self.reluctantly().formula(exception, true);
        let wanted = self.formula(wanted, positive);
        let otherwise = otherwise.map(|otherwise| self.formula(otherwise, positive));
        if positive {
            let mut parts = vec![Formula::All(vec![wanted, not_exception])];
            parts.extend(otherwise.map(|otherwise| Formula::All(vec![exception, otherwise])));
            Formula::Any(parts)
        } else {
            let mut parts = vec![Formula::Any(vec![wanted, exception])];
            parts.extend(otherwise.map(|otherwise| Formula::Any(vec![not_exception, otherwise])));
            Formula::All(parts)
        }
    }

    fn leaf(&self, packages: Vec<PackageId>, name: &str, positive: bool) -> Formula {
        if positive {
            Formula::OneOf { packages, reluctant: self.reluctant, name: name.to_owned() }
        } else {
            Formula::NoneOf(packages)
        }
    }

    fn reluctantly(&self) -> Self {
        Self { index: self.index, reluctant: true }
    }

    /// Returns the packages that satisfy an expression each on its own.
    fn single_packages(&self, requirement: &Requirement) -> Vec<PackageId> {
        let rich = match requirement {
            Requirement::Simple(dependency) => return self.index.provider_ids(dependency),
            Requirement::Rich(rich) => rich.as_ref(),
        };
        let mut sets = rich.operands().into_iter().map(|part| self.single_packages(part));
        let first = sets.next().unwrap_or_default();
        let mut packages = match rich {
            RichDependency::Or(_) => sets.fold(first, |mut union, set| {
                union.extend(set);
                union
            }),
            RichDependency::Without(..) => sets.fold(first, |kept, set| without(kept, &set)),
            // rpm allows only with, without and or here; of one package, `and` can only mean `with`.
            _ => sets.fold(first, |kept, set| kept.into_iter().filter(|id| set.contains(id)).collect()),
        };
        self.index.sort(&mut packages);
        packages
    }
}

fn without(kept: Vec<PackageId>, removed: &[PackageId]) -> Vec<PackageId> {
    kept.into_iter().filter(|id| !removed.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TinyPackage;

    impl Formula {
        /// Says whether the formula holds in a set of packages.
        fn holds(&self, present: &impl Fn(PackageId) -> bool) -> bool {
            match self {
                Self::OneOf { packages, .. } => packages.iter().any(|id| present(*id)),
                Self::NoneOf(packages) => !packages.iter().any(|id| present(*id)),
                Self::All(parts) => parts.iter().all(|part| part.holds(present)),
                Self::Any(parts) => parts.iter().any(|part| part.holds(present)),
            }
        }
    }

    /// The sets over which rpm 4.18's own answers were recorded (`rpm -i --test`).
    const SETS: [&str; 8] = ["", "a", "b", "c", "ab", "ac", "bc", "abc"];

    fn check(requirement: &str, expected: [bool; 8]) {
        let packages: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|name| TinyPackage::new(name, "1-1", "noarch").provides("p = 1").indexed())
            .collect();
        let index = ProviderIndex::new(&packages);
        let requirement: Requirement = requirement.parse().unwrap();
        let satisfied = Formula::satisfied(&requirement, &index);
        let avoided = Formula::avoided(&requirement, &index, None);
        for (set, expected) in SETS.iter().zip(expected) {
            let present = |id| set.contains(&index.package(id).header.nevra.name);
            assert_eq!(satisfied.holds(&present), expected, "{requirement} in {{{set}}}");
            assert_eq!(avoided.holds(&present), !expected, "not {requirement} in {{{set}}}");
        }
    }

    #[test]
    fn operators_mean_what_they_mean_to_rpm() {
        const T: bool = true;
        const F: bool = false;
        //                                     {} a  b  c  ab ac bc abc
        check("(a or b)", [F, T, T, F, T, T, T, T]);
        check("(a and b)", [F, F, F, F, T, F, F, T]);
        check("(a if b)", [T, T, F, T, T, T, F, T]);
        check("(a if b else c)", [F, F, F, T, T, T, F, T]);
        check("(zz or (a unless b))", [F, T, F, F, F, T, F, F]);
        check("(zz or (a unless b else c))", [F, T, F, F, F, T, T, T]);
        check("(p with b)", [F, F, T, F, T, F, T, T]);
        check("(p without b)", [F, T, F, T, T, T, T, T]);
        check("(p without (a or b))", [F, F, F, T, F, T, T, T]);
        check("((a or b) if c)", [T, T, T, F, T, T, T, T]);
        check("(a if (b or c))", [T, T, F, F, T, T, F, T]);
    }
}
