//! The text of `%_mkpkg_depends` to triggers.

use std::fmt;

use rpm_model::Evr;

use super::level::Level;

/// How the two sides of a trigger are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// With what a package's version is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// With what it was at the last build, as far as the level looks.
    Level(Level),
    /// With this version; its release may be missing.
    Literal(Evr),
}

/// One condition on a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trigger {
    /// A package's name, or anything that a package provides, for example `pkgconfig(lua)`.
    pub name: String,
    /// Operator and operand; `None` watches for any change.
    pub condition: Option<(Operator, Operand)>,
    /// The operand as it is written, for messages.
    written: Option<String>,
}

/// A text that is no list of triggers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {}; {grammar}", found.as_deref().map_or("the end".to_owned(), |text| format!("`{text}`")))]
pub struct TriggerSyntaxError {
    /// Line in the text, counted from 1.
    pub line: usize,
    /// Column in the line, in characters, counted from 1.
    pub column: usize,
    /// What stands there; `None` at the end of the text.
    pub found: Option<String>,
    /// What should stand there.
    pub expected: &'static str,
    /// What is accepted as a whole.
    pub grammar: &'static str,
}

/// What `%_mkpkg_depends` accepts.
pub(super) const GRAMMAR: &str = "triggers are separated by commas or blanks; each is `name`, `name operator level` or \
    `name operator version` with an operator of > >= < <= = != and a level of major minor patch micro extra \
    releaselevel serial First_1 First_2 ... last epoch release; a version begins with a digit";

/// Parses the expanded text of `%_mkpkg_depends`.
///
/// # Errors
///
/// Returns an error with line, column and the accepted grammar where the text is malformed.
///
/// # Examples
///
/// ```
/// let triggers = rebuild::trigger::parse_triggers("lua > minor, 'openssl>3.0.6' systemd").unwrap();
/// let texts: Vec<String> = triggers.iter().map(ToString::to_string).collect();
/// assert_eq!(texts, ["lua > minor", "openssl > 3.0.6", "systemd"]);
/// ```
pub fn parse_triggers(text: &str) -> Result<Vec<Trigger>, TriggerSyntaxError> {
    let mut cursor = Cursor::new(text, GRAMMAR);
    let mut triggers = Vec::new();
    let mut quote = None;
    loop {
        cursor.skip(is_separator);
        match cursor.peek() {
            None if quote.is_some() => return Err(cursor.error("the closing quote")),
            None => return Ok(triggers),
            Some(mark @ ('\'' | '"')) if quote.is_none() => {
                quote = Some(mark);
                cursor.advance();
            }
            Some(mark) if quote == Some(mark) => {
                quote = None;
                cursor.advance();
                cursor.expect_separation(is_separator)?;
            }
            Some(_) => {
                triggers.push(trigger(&mut cursor)?);
                cursor.expect_separation(|c| is_separator(c) || quote == Some(c))?;
            }
        }
    }
}

fn trigger(cursor: &mut Cursor<'_>) -> Result<Trigger, TriggerSyntaxError> {
    let name = cursor.name()?;
    let after_name = cursor.clone();
    cursor.skip(char::is_whitespace);
    if !cursor.peek().is_some_and(is_operator) {
        // Blanks that no operator follows separate two triggers.
        *cursor = after_name;
        return Ok(Trigger { name, condition: None, written: None });
    }
    let operator = cursor.operator()?;
    cursor.skip(char::is_whitespace);
    let start = cursor.clone();
    let written = cursor.take(|c| c.is_ascii_alphanumeric() || "._+~^:-".contains(c));
    let literal = written.starts_with(|c: char| c.is_ascii_digit()).then(|| written.parse::<Evr>());
    let operand = match literal {
        Some(Ok(evr)) => Operand::Literal(evr),
        Some(Err(_)) => return Err(start.error("a version `[epoch:]version[-release]`")),
        None => match Level::from_word(written) {
            Some(level) => Operand::Level(level),
            None => return Err(start.error("a level or a version")),
        },
    };
    Ok(Trigger { name, condition: Some((operator, operand)), written: Some(written.to_owned()) })
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '!')
}

/// A place in a text.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    grammar: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, grammar: &'static str) -> Self {
        Self { text, at: 0, grammar }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    pub(crate) fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.take(skipped);
    }

    pub(crate) fn take(&mut self, taken: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !taken(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Takes a name; within its parentheses, as in `python3dist(foo)`, everything but blanks and quotes belongs
    /// to it.
    pub(super) fn name(&mut self) -> Result<String, TriggerSyntaxError> {
        let start = self.clone();
        let mut depth = 0_usize;
        while let Some(c) = self.peek() {
            match c {
                '(' => depth += 1,
                ')' if depth == 0 => break,
                ')' => depth -= 1,
                '\'' | '"' => break,
                c if c.is_whitespace() || c.is_control() => break,
                ',' if depth == 0 => break,
                c if depth == 0 && !(c.is_alphanumeric() || "._+-/:~^".contains(c)) => break,
                _ => {}
            }
            self.advance();
        }
        if depth > 0 {
            return Err(self.error("`)`"));
        }
        let name = &self.text[start.at..self.at];
        let begins_well = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '(');
        if name.starts_with(begins_well) {
            Ok(name.to_owned())
        } else {
            Err(start.error("the name of a package"))
        }
    }

    fn operator(&mut self) -> Result<Operator, TriggerSyntaxError> {
        let start = self.clone();
        Ok(match self.take(is_operator) {
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            "=" => Operator::Equal,
            "!=" => Operator::Unequal,
            ">=" => Operator::GreaterOrEqual,
            ">" => Operator::Greater,
            _ => return Err(start.error("one of the operators > >= < <= = !=")),
        })
    }

    /// Fails unless the text ends here or something follows that separates.
    pub(super) fn expect_separation(
        &self,
        separates: impl Fn(char) -> bool,
    ) -> Result<(), TriggerSyntaxError> {
        match self.peek() {
            Some(c) if !separates(c) => Err(self.error("a comma, a blank or an operator")),
            _ => Ok(()),
        }
    }

    /// Returns an error about this place.
    pub(crate) fn error(&self, expected: &'static str) -> TriggerSyntaxError {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let mut found: &str = self.rest();
        let symbol = found.starts_with(is_operator);
        let end = found.find(|c: char| is_separator(c) || is_operator(c) != symbol).unwrap_or(found.len());
        // A separator is told by itself.
        let end = if end == 0 { found.chars().next().map_or(0, char::len_utf8) } else { end };
        found = &found[..end];
        TriggerSyntaxError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            found: (!found.is_empty()).then(|| found.to_owned()),
            expected,
            grammar: self.grammar,
        }
    }
}

impl Operator {
    /// Returns the operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    /// Returns whether the operator holds between a left side that is ordered like this to the right side.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.condition, &self.written) {
            (Some((operator, _)), Some(written)) => write!(f, " {} {written}", operator.as_str()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        parse_triggers(text)
            .unwrap_or_else(|error| panic!("`{text}`: {error}"))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn lists_are_separated_and_quoted_in_any_usual_way() {
        for (text, expected) in [
            ("", &[][..]),
            (" , ,\n", &[]),
            ("lua", &["lua"]),
            ("lua, systemd openssl", &["lua", "systemd", "openssl"]),
            ("lua>minor,openssl>3.0.6 systemd", &["lua > minor", "openssl > 3.0.6", "systemd"]),
            ("lua > minor openssl\n>=\t3.0.6", &["lua > minor", "openssl >= 3.0.6"]),
            ("'python>major' 'python-foo'", &["python > major", "python-foo"]),
            ("'pkg < last'", &["pkg < last"]),
            ("\"a > minor, b\" c", &["a > minor", "b", "c"]),
            ("a, , b", &["a", "b"]),
            ("a != MAJOR b = First_2 c <= 1:2.0-3", &["a != MAJOR", "b = First_2", "c <= 1:2.0-3"]),
            ("pkgconfig(lua) > minor libz.so.1()(64bit)", &["pkgconfig(lua) > minor", "libz.so.1()(64bit)"]),
            (
                "python3dist(a[b,c]) /usr/bin/x libstdc++ g++>1",
                &["python3dist(a[b,c])", "/usr/bin/x", "libstdc++", "g++ > 1"],
            ),
        ] {
            assert_eq!(texts(text), expected, "`{text}`");
        }
    }

    #[test]
    fn operators_and_operands_mean_what_they_say() {
        let triggers = parse_triggers("a > minor b<=2.0").unwrap();
        let minor = Level::from_word("minor").unwrap();
        assert_eq!(triggers[0].condition, Some((Operator::Greater, Operand::Level(minor))));
        let literal = Operand::Literal("2.0".parse().unwrap());
        assert_eq!(triggers[1].condition, Some((Operator::LessOrEqual, literal)));
    }

    #[test]
    fn malformed_texts_are_refused_with_place_and_grammar() {
        for (text, line, column, found, expected) in [
            ("lua > nonsense", 1, 7, Some("nonsense"), "a level or a version"),
            ("lua > first_0", 1, 7, Some("first_0"), "a level or a version"),
            ("lua > first_x", 1, 7, Some("first_x"), "a level or a version"),
            ("lua >", 1, 6, None, "a level or a version"),
            ("lua > , foo", 1, 7, Some(","), "a level or a version"),
            ("lua,\n  foo => minor", 2, 7, Some("=>"), "one of the operators"),
            ("foo == minor", 1, 5, Some("=="), "one of the operators"),
            ("foo ! minor", 1, 5, Some("!"), "one of the operators"),
            ("> minor", 1, 1, Some(">"), "the name of a package"),
            ("'foo > minor", 1, 13, None, "the closing quote"),
            ("'foo'bar", 1, 6, Some("bar"), "a comma"),
            ("('foo' 'bar')", 1, 2, Some("'foo'"), "`)`"),
            ("foo > 1.2;bar", 1, 10, Some(";bar"), "a comma"),
            ("pkgconfig(foo", 1, 14, None, "`)`"),
            ("é foo > v2", 1, 9, Some("v2"), "a level or a version"),
            ("foo > 1: bar", 1, 7, Some("1:"), "a version `["),
            ("-foo", 1, 1, Some("-foo"), "the name"),
            ("%{lua_version}", 1, 1, Some("%{lua_version}"), "the name"),
        ] {
            let error = parse_triggers(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "`{text}`: {error}");
            assert_eq!(error.found.as_deref(), found, "`{text}`");
            assert!(error.expected.starts_with(expected), "`{text}`: {error}");
            assert!(error.to_string().contains("`name operator level`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-z0-9<>=!,'\" ().\\n:é-]{0,30}") {
            let _ = parse_triggers(&text);
        }

        #[test]
        fn what_is_printed_is_read_again(text in "[a-z]{1,4} ?(>|>=|<|<=|=|!=) ?(major|LAST|first_3|1\\.2|3:4-5)") {
            let triggers = parse_triggers(&text).unwrap();
            prop_assert_eq!(parse_triggers(&triggers[0].to_string()).unwrap(), triggers);
        }
    }
}
