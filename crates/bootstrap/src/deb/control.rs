//! Debian control data: paragraphs of `Field: value` and the dependency fields in them.

use std::collections::BTreeMap;

/// One paragraph of a control file; field names compare without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Paragraph {
    fields: BTreeMap<String, String>,
}

impl Paragraph {
    /// Returns all paragraphs of a text; comment lines (`#`) are left out, continuation lines keep their
    /// line breaks and lose their leading blank.
    pub(crate) fn parse_all(text: &str) -> Vec<Self> {
        let mut paragraphs = vec![Self::default()];
        let mut current: Option<String> = None;
        for line in text.lines() {
            if line.starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                paragraphs.push(Self::default());
                current = None;
                continue;
            }
            let paragraph =
                paragraphs.last_mut().expect("the list starts with one paragraph and never shrinks");
            if line.starts_with([' ', '\t']) {
                if let Some(value) = current.as_ref().and_then(|name| paragraph.fields.get_mut(name)) {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let name = name.trim().to_ascii_lowercase();
                paragraph.fields.insert(name.clone(), value.trim().to_owned());
                current = Some(name);
            }
        }
        paragraphs.retain(|paragraph| !paragraph.fields.is_empty());
        paragraphs
    }

    /// Returns a field's value, or an empty text when the field is absent.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(&field.to_ascii_lowercase()).map_or("", String::as_str)
    }

    /// Returns all fields, names in lower case, sorted by name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One dependency with its alternatives (`a | b`), version bounds and architecture qualifiers left out.
///
/// The bounds are dropped on purpose: a bridged set is the closed result of apt's own resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DebDependency {
    /// Names, most preferred first; at least one.
    pub(crate) alternatives: Vec<String>,
}

/// Returns the dependencies of a `Depends`, `Pre-Depends`, `Provides`, ... field.
pub(crate) fn parse_dependencies(field: &str) -> Vec<DebDependency> {
    field
        .split(',')
        .map(|group| {
            let alternatives = group
                .split('|')
                .filter_map(|part| part.split(['(', '[', '<']).next())
                .map(|part| part.trim().split(':').next().unwrap_or("").to_owned())
                .filter(|name| !name.is_empty())
                .collect();
            DebDependency { alternatives }
        })
        .filter(|dependency: &DebDependency| !dependency.alternatives.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paragraphs() {
        let text = "# comment\nPackage: a\nDescription: short\n long 1\n .\n long 2\n\n\nPackage: b\n";
        let paragraphs = Paragraph::parse_all(text);
        assert_eq!(paragraphs.len(), 2);
        assert_eq!(paragraphs[0].get("package"), "a");
        assert_eq!(paragraphs[0].get("Description"), "short\nlong 1\n.\nlong 2");
        assert_eq!(paragraphs[1].get("Package"), "b");
        assert_eq!(paragraphs[1].get("Absent"), "");
    }

    #[test]
    fn reads_dependencies() {
        let parsed = parse_dependencies("libc6 (>= 2.36), perl:any | perl5 [amd64] , ,x <!nocheck>");
        let names: Vec<Vec<String>> = parsed.into_iter().map(|d| d.alternatives).collect();
        assert_eq!(
            names,
            vec![vec!["libc6".to_owned()], vec!["perl".into(), "perl5".into()], vec!["x".into()]]
        );
        assert_eq!(parse_dependencies(""), vec![]);
    }
}
