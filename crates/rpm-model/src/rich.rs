//! Boolean ("rich") dependencies: `(a and b)`, `(a or b)`, `(a if b else c)`, `(a unless b)`,
//! `(a with b)`, `(a without b)`, nested at will.
//!
//! Grammar and meaning are those of rpm 4.18 (`rpmrichParse`, `rpm -i --test`), against which the tests of the
//! `repository` crate hold them. Commas count as blanks. Only `or`, `with` and `without` may stand inside `with`
//! and `without`. Two deviations: an `else` without `if` or `unless` is refused, where rpm lets `(a else b)` pass
//! and gives it no meaning; and rpmbuild's further rule, that `if` may not stand directly in `or` nor `unless` in
//! `and`, is not applied, because installed packages may break it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dependency::{Comparison, Dependency, DependencyError, Requirement};

/// A boolean expression over dependencies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RichDependency {
    /// All operands must hold.
    And(Vec<Requirement>),
    /// At least one operand must hold.
    Or(Vec<Requirement>),
    /// One single package must satisfy all operands.
    With(Vec<Requirement>),
    /// One single package must satisfy the first operand and not the second.
    Without(Requirement, Requirement),
    /// The first operand must hold if the second does; otherwise the third, where there is one.
    If(Requirement, Requirement, Option<Requirement>),
    /// The first operand must hold and the second must not; or, where there is a third, the second and the third
    /// must hold.
    Unless(Requirement, Requirement, Option<Requirement>),
}

impl RichDependency {
    /// Returns the operands in the order written.
    pub fn operands(&self) -> Vec<&Requirement> {
        match self {
            Self::And(list) | Self::Or(list) | Self::With(list) => list.iter().collect(),
            Self::Without(a, b) => vec![a, b],
            Self::If(a, b, c) | Self::Unless(a, b, c) => [a, b].into_iter().chain(c.as_ref()).collect(),
        }
    }
}

impl fmt::Display for RichDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |list: &[Requirement], word: &str| {
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(&format!(" {word} "))
        };
        let conditional = |word: &str, a: &Requirement, b: &Requirement, c: &Option<Requirement>| match c {
            Some(c) => format!("{a} {word} {b} else {c}"),
            None => format!("{a} {word} {b}"),
        };
        let inner = match self {
            Self::And(list) => joined(list, "and"),
            Self::Or(list) => joined(list, "or"),
            Self::With(list) => joined(list, "with"),
            Self::Without(a, b) => format!("{a} without {b}"),
            Self::If(a, b, c) => conditional("if", a, b, c),
            Self::Unless(a, b, c) => conditional("unless", a, b, c),
        };
        write!(f, "({inner})")
    }
}

impl Requirement {
    /// Returns whether the requirement holds where `providers` tells which packages provide a dependency.
    pub fn holds<K: Ord>(&self, providers: &dyn Fn(&Dependency) -> BTreeSet<K>) -> bool {
        let Self::Rich(rich) = self else { return !self.candidates(providers).is_empty() };
        match rich.as_ref() {
            RichDependency::And(list) => list.iter().all(|operand| operand.holds(providers)),
            RichDependency::Or(list) => list.iter().any(|operand| operand.holds(providers)),
            RichDependency::With(_) | RichDependency::Without(..) => !self.candidates(providers).is_empty(),
            RichDependency::If(then, condition, otherwise) => {
                if condition.holds(providers) {
                    then.holds(providers)
                } else {
                    otherwise.as_ref().is_none_or(|operand| operand.holds(providers))
                }
            }
            RichDependency::Unless(then, condition, otherwise) => {
                if condition.holds(providers) {
                    otherwise.as_ref().is_some_and(|operand| operand.holds(providers))
                } else {
                    then.holds(providers)
                }
            }
        }
    }

    /// Returns whether `with` and `without` may hold the expression: they speak of one single package.
    fn speaks_of_one_package(&self) -> bool {
        let Self::Rich(rich) = self else { return true };
        match rich.as_ref() {
            RichDependency::Or(list) | RichDependency::With(list) => {
                list.iter().all(Self::speaks_of_one_package)
            }
            RichDependency::Without(wanted, unwanted) => {
                wanted.speaks_of_one_package() && unwanted.speaks_of_one_package()
            }
            RichDependency::And(_) | RichDependency::If(..) | RichDependency::Unless(..) => false,
        }
    }

    /// Returns the packages that satisfy the requirement each by itself.
    fn candidates<K: Ord>(&self, providers: &dyn Fn(&Dependency) -> BTreeSet<K>) -> BTreeSet<K> {
        let Self::Rich(rich) = self else {
            return self.leaves().into_iter().flat_map(providers).collect();
        };
        match rich.as_ref() {
            RichDependency::And(list) | RichDependency::With(list) => {
                let mut sets = list.iter().map(|operand| operand.candidates(providers));
                let first = sets.next().unwrap_or_default();
                sets.fold(first, |common, set| common.into_iter().filter(|key| set.contains(key)).collect())
            }
            RichDependency::Without(wanted, unwanted) => {
                let unwanted = unwanted.candidates(providers);
                wanted.candidates(providers).into_iter().filter(|key| !unwanted.contains(key)).collect()
            }
            RichDependency::Or(list) => {
                list.iter().flat_map(|operand| operand.candidates(providers)).collect()
            }
            RichDependency::If(then, ..) | RichDependency::Unless(then, ..) => then.candidates(providers),
        }
    }
}

/// Nesting beyond this is refused: no real package comes near it and recursion must end.
const MAXIMUM_DEPTH: usize = 64;

/// A recursive-descent parser over one text.
pub(crate) struct RichParser<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> RichParser<'a> {
    /// Parses a text that starts with `(`.
    pub(crate) fn parse(text: &'a str) -> Result<Requirement, DependencyError> {
        let mut parser = Self { text, position: 0 };
        let requirement = parser.operand(0)?;
        parser.blanks();
        if parser.position < text.len() {
            return Err(parser.error("the end of the expression"));
        }
        Ok(requirement)
    }

    fn operand(&mut self, depth: usize) -> Result<Requirement, DependencyError> {
        self.blanks();
        if depth > MAXIMUM_DEPTH {
            return Err(self.error("an expression nested at most 64 deep"));
        }
        if self.rest().starts_with('(') { self.expression(depth) } else { self.simple() }
    }

    fn expression(&mut self, depth: usize) -> Result<Requirement, DependencyError> {
        self.position += 1;
        let first = self.operand(depth + 1)?;
        let Some(operator) = self.operator() else {
            self.close()?;
            return Ok(first);
        };
        let second = self.operand(depth + 1)?;
        let rich = match operator {
            "and" | "or" | "with" => {
                let mut list = vec![first, second];
                while let Some(next) = self.operator() {
                    if next != operator {
                        return Err(self.error("the same operator again, or parentheses"));
                    }
                    list.push(self.operand(depth + 1)?);
                }
                match operator {
                    "and" => RichDependency::And(list),
                    "or" => RichDependency::Or(list),
                    _ => RichDependency::With(list),
                }
            }
            "without" => RichDependency::Without(first, second),
            "if" | "unless" => {
                let third = match self.operator() {
                    Some("else") => Some(self.operand(depth + 1)?),
                    Some(_) => return Err(self.error("`else` or `)`")),
                    None => None,
                };
                if operator == "if" {
                    RichDependency::If(first, second, third)
                } else {
                    RichDependency::Unless(first, second, third)
                }
            }
            _ => return Err(self.error("one of and, or, with, without, if, unless")),
        };
        if matches!(operator, "with" | "without")
            && !rich.operands().into_iter().all(Requirement::speaks_of_one_package)
        {
            return Err(self.error("only or, with and without inside with and without"));
        }
        self.close()?;
        Ok(Requirement::Rich(Box::new(rich)))
    }

    /// Reads `name [op evr]`; parentheses inside a name, as in `pkgconfig(x)`, must balance.
    fn simple(&mut self) -> Result<Requirement, DependencyError> {
        let name = self.word();
        if name.is_empty() {
            return Err(self.error("a name"));
        }
        let before = self.position;
        self.blanks();
        let comparison = Comparison::from_operator(self.word());
        let Some(comparison) = comparison.filter(|comparison| *comparison != Comparison::Unequal) else {
            self.position = before;
            return Ok(Dependency::any(name).into());
        };
        self.blanks();
        let evr = self
            .word()
            .parse()
            .map_err(|source| DependencyError::Version { text: self.text.to_owned(), source })?;
        Ok(Dependency::versioned(name, comparison, evr).into())
    }

    /// Reads an operator word if one stands here; `)` is none.
    fn operator(&mut self) -> Option<&'a str> {
        self.blanks();
        let rest = self.rest();
        // Unlike a name it ends with a blank proper, not with a comma.
        let end = rest.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(rest.len());
        self.position += end;
        (end > 0).then_some(&rest[..end])
    }

    fn close(&mut self) -> Result<(), DependencyError> {
        self.blanks();
        if !self.rest().starts_with(')') {
            return Err(self.error("`)`"));
        }
        self.position += 1;
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let mut open = 0usize;
        let end = rest
            .char_indices()
            .find(|(_, character)| match character {
                '(' => {
                    open += 1;
                    false
                }
                ')' if open > 0 => {
                    open -= 1;
                    false
                }
                ')' => true,
                other => is_blank(*other),
            })
            .map_or(rest.len(), |(index, _)| index);
        self.position += end;
        &rest[..end]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches(is_blank).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn error(&self, expected: &'static str) -> DependencyError {
        let column = self.text[..self.position].chars().count() + 1;
        DependencyError::Rich { text: self.text.to_owned(), column, expected }
    }
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == ','
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_round_trip() {
        for text in [
            "(a or b)",
            "(a >= 1.0 and b < 2 and pkgconfig(c))",
            "(a if b)",
            "(a if (b or c) else d = 1:2-3)",
            "(a unless b else c)",
            "(a with b >= 2)",
            "(a without b)",
            "((a or b) and (c if d))",
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), text);
            let json = serde_json::to_string(&requirement).unwrap();
            assert_eq!(serde_json::from_str::<Requirement>(&json).unwrap(), requirement, "{json}");
        }
        assert_eq!("(a)".parse::<Requirement>().unwrap(), Dependency::any("a").into());
    }

    #[test]
    fn errors_say_where() {
        let check = |text: &str, expected_column: usize| match text.parse::<Requirement>() {
            Err(DependencyError::Rich { column, .. }) => assert_eq!(column, expected_column, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        check("(a or b", 8);
        check("(a or )", 7);
        check("(a or b and c)", 12);
        check("(a or b) c", 10);
        check("(a xor b)", 9);
        check("(a with (b and c))", 18);
        check(&"(".repeat(100), 66);
    }

    #[test]
    fn operators_hold_as_rpm_defines_them() {
        // Package 1 provides a and x, package 2 provides b, package 3 provides b and x; nobody provides z.
        let providers = |dependency: &Dependency| -> BTreeSet<u8> {
            match dependency.name.as_str() {
                "a" => [1].into(),
                "b" => [2, 3].into(),
                "x" => [1, 3].into(),
                _ => BTreeSet::new(),
            }
        };
        for (text, expected) in [
            ("a", true),
            ("z", false),
            ("(a and b)", true),
            ("(a and z)", false),
            ("(z or b)", true),
            ("(a with x)", true),
            ("(a with b)", false),
            ("(b without x)", true),
            ("(a without x)", false),
            ("(z if a)", false),
            ("(z if y)", true),
            ("(z if y else a)", true),
            ("(z if y else w)", false),
            ("(z unless a)", false),
            ("(a unless y)", true),
            ("(z unless y)", false),
            ("(z unless a else w)", false),
            ("(z unless a else b)", true),
            ("((a or z) and (b if a))", true),
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.holds(&providers), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[(]{0,3}[a-c ()<>=0-9]{0,30}(or|and|if|else| ){0,4}[)]{0,3}") {
            if let Ok(requirement) = text.parse::<Requirement>() {
                let again: Requirement = requirement.to_string().parse().unwrap();
                prop_assert_eq!(again, requirement);
            }
        }
    }
}
