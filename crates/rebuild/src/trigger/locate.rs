//! Where in a spec a trigger macro is defined, so that an error can name the place.

/// Where a macro is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefinitionPlace {
    /// The line in the spec, counted from 1.
    pub line: usize,
    /// The column in that line, in characters, counted from 1; `None` where macros make the value, so that no
    /// place in the spec belongs to a place in the value.
    pub column: Option<usize>,
}

/// Returns the place in a spec of a place in a macro's expanded value, both counted from 1; `None` where the spec
/// does not define the macro itself.
///
/// A spec may define a macro several times, for example in the branches of a condition; the definition that is
/// written exactly like the value is taken before the first one.
pub fn locate_definition(
    spec: &str,
    name: &str,
    value: &str,
    line: usize,
    column: usize,
) -> Option<DefinitionPlace> {
    let lines: Vec<&str> = spec.lines().collect();
    let mut first = None;
    for (number, text) in lines.iter().enumerate() {
        let Some(body_at) = body_of(text, name) else { continue };
        first = first.or(Some(DefinitionPlace { line: number + 1, column: None }));
        let written = whole_body(&lines[number..], body_at);
        if written.trim_end() == value.trim_end() {
            let before = if line == 1 { text[..body_at].chars().count() } else { 0 };
            return Some(DefinitionPlace { line: number + line, column: Some(before + column) });
        }
    }
    first
}

/// A line of a spec that defines a macro with a body of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition<'a> {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// Where the body begins in the spec, in bytes.
    pub(crate) start: usize,
    /// The body, without blanks behind it.
    pub(crate) body: &'a str,
}

/// Returns the lines that define a macro, in their order, wherever in a spec they stand.
pub(crate) fn definitions<'a>(spec: &'a str, name: &str) -> Vec<Definition<'a>> {
    let mut found = Vec::new();
    let mut offset = 0;
    for (number, text) in spec.split_inclusive('\n').enumerate() {
        if let Some(body_at) = body_of(text, name) {
            let (start, body) = (offset + body_at, text[body_at..].trim_end());
            found.push(Definition { line: number + 1, start, body });
        }
        offset += text.len();
    }
    found
}

/// Returns where the body begins in a line that defines the macro.
fn body_of(line: &str, name: &str) -> Option<usize> {
    let rest = line.trim_start().strip_prefix('%')?;
    let rest = rest.strip_prefix("global").or_else(|| rest.strip_prefix("define"))?;
    let after = rest.trim_start().strip_prefix(name).filter(|_| rest.starts_with(char::is_whitespace))?;
    let body = after.trim_start();
    (after.len() > body.len()).then(|| line.len() - body.len())
}

/// Returns a body with its continuation lines, as rpm joins them.
fn whole_body(lines: &[&str], body_at: usize) -> String {
    let mut body = String::new();
    for (number, line) in lines.iter().enumerate() {
        let text = if number == 0 { &line[body_at..] } else { line };
        match text.strip_suffix('\\') {
            Some(text) => {
                body.push_str(text);
                body.push('\n');
            }
            None => {
                body.push_str(text);
                break;
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "Name: x\n%if 0\n%global _mkpkg_depends lua\n%else\n\
        %global  _mkpkg_depends lua > minor, \\\n  foo > bad\n%endif\n%global _mkpkg_depends_files a\n";

    fn place(line: usize, column: Option<usize>) -> Option<DefinitionPlace> {
        Some(DefinitionPlace { line, column })
    }

    #[test]
    fn the_definition_that_made_the_value_is_found() {
        let value = "lua > minor, \n  foo > bad";
        assert_eq!(locate_definition(SPEC, "_mkpkg_depends", value, 2, 9), place(6, Some(9)));
        assert_eq!(locate_definition(SPEC, "_mkpkg_depends", value, 1, 5), place(5, Some(29)));
        assert_eq!(locate_definition(SPEC, "_mkpkg_depends_files", "a", 1, 1), place(8, Some(30)));
    }

    #[test]
    fn a_value_that_macros_made_has_a_line_or_nothing() {
        assert_eq!(locate_definition(SPEC, "_mkpkg_depends", "other", 1, 1), place(3, None));
        assert_eq!(locate_definition("Name: x\n", "_mkpkg_depends", "other", 1, 1), None);
    }
}
