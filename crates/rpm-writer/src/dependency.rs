//! Dependencies as a header stores them: a name, comparison flags and a version, all uninterpreted.
//!
//! Parsing is only what is needed to write `zlib >= 1.2` by hand; the meaning of dependencies (overlap,
//! rich expressions) belongs to `rpm-model`.

use std::ops::BitOr;

/// Flags of a dependency (`RPMSENSE_*` in `rpmds.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sense(pub u32);

impl Sense {
    /// No comparison: any version will do.
    pub const ANY: Self = Self(0);
    /// Less than.
    pub const LESS: Self = Self(1 << 1);
    /// Greater than.
    pub const GREATER: Self = Self(1 << 2);
    /// Equal.
    pub const EQUAL: Self = Self(1 << 3);
    /// Needed by the interpreter of a scriptlet.
    pub const INTERPRETER: Self = Self(1 << 8);
    /// Needed before `%pre` runs.
    pub const SCRIPT_PRE: Self = Self(1 << 9);
    /// Needed before `%post` runs.
    pub const SCRIPT_POST: Self = Self(1 << 10);
    /// Found by a requirement generator rather than written by a packager.
    pub const FIND_REQUIRES: Self = Self(1 << 14);
    /// Found by a provides generator rather than written by a packager.
    pub const FIND_PROVIDES: Self = Self(1 << 15);
    /// A feature of rpm itself, `rpmlib(...)`.
    pub const RPMLIB: Self = Self(1 << 24);
    /// `config(...)`.
    pub const CONFIG: Self = Self(1 << 28);
}

impl BitOr for Sense {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One dependency: `name`, or `name OP version`, or a rich expression in parentheses as the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// A package name, a capability, an absolute path, or `(a or b)`.
    pub name: String,
    /// Comparison and origin.
    pub sense: Sense,
    /// `[epoch:]version[-release]`, empty when `sense` compares nothing.
    pub version: String,
}

impl Dependency {
    /// Returns a dependency on any version of `name`; `name` may be a rich expression.
    pub fn any(name: impl Into<String>) -> Self {
        Self { name: name.into(), sense: Sense::ANY, version: String::new() }
    }

    /// Returns the dependency `name = version`.
    pub fn equal(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), sense: Sense::EQUAL, version: version.into() }
    }

    /// Returns the dependency written as in a spec: `name`, `name >= version` or `(rich expression)`.
    ///
    /// A text whose second word is no comparison operator is taken as a name as a whole.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text.starts_with('(') {
            return Self::any(text);
        }
        let mut words = text.split_whitespace();
        let (Some(name), Some(operator), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Self::any(text);
        };
        let sense = match operator {
            "<" => Sense::LESS,
            "<=" => Sense::LESS | Sense::EQUAL,
            "=" | "==" => Sense::EQUAL,
            ">=" => Sense::GREATER | Sense::EQUAL,
            ">" => Sense::GREATER,
            "<>" => Sense::LESS | Sense::GREATER,
            _ => return Self::any(text),
        };
        Self { name: name.into(), sense, version: version.into() }
    }

    /// Returns the same dependency with more flags set.
    #[must_use]
    pub fn with(mut self, sense: Sense) -> Self {
        self.sense = self.sense | sense;
        self
    }

    /// Returns true when this is a boolean expression, which rpm calls a rich dependency.
    pub fn is_rich(&self) -> bool {
        self.name.starts_with('(')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, sense: Sense, version: &str) {
        assert_eq!(
            Dependency::parse(text),
            Dependency { name: name.into(), sense, version: version.into() },
            "{text}"
        );
    }

    #[test]
    fn parses_what_a_spec_writes() {
        check("zlib", "zlib", Sense::ANY, "");
        check(" zlib  >=  1:1.2-3 ", "zlib", Sense::GREATER | Sense::EQUAL, "1:1.2-3");
        check("a < 1", "a", Sense::LESS, "1");
        check("a <= 1", "a", Sense::LESS | Sense::EQUAL, "1");
        check("a > 1", "a", Sense::GREATER, "1");
        check("pkgconfig(x) = 1", "pkgconfig(x)", Sense::EQUAL, "1");
        check("(a or b >= 2)", "(a or b >= 2)", Sense::ANY, "");
        check("/bin/sh", "/bin/sh", Sense::ANY, "");
    }
}
