//! A repository as configured: where it is, whose signatures it must bear, which of its packages count.

use std::path::PathBuf;

use repository::LocationPolicy;
use rpm_model::{Nevra, PackageOrigin, PackagePattern};

use crate::signature::SignaturePolicy;

/// A repository that packages may be taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryDefinition {
    /// Its name: letters, digits and `-_.:`, so that it can name files.
    pub id: String,
    /// Where its packages count as coming from: staging, live or base.
    pub origin: PackageOrigin,
    /// Where it is.
    pub places: Places,
    /// Among repositories of one origin the lower number hides packages of the same name in those with
    /// higher ones; 99 where nothing is said, as in dnf.
    pub priority: u32,
    /// Whose signatures are asked for.
    pub signatures: SignaturePolicy,
    /// When not empty, only packages that match one of these count.
    pub include: Vec<PackagePattern>,
    /// Packages that match one of these do not count.
    pub exclude: Vec<PackagePattern>,
    /// Certificates for its servers.
    pub tls: TlsFiles,
    /// Whether a run goes on without it when it cannot be had.
    pub optional: bool,
    /// Where its packages may be.
    pub locations: LocationPolicy,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// At one of these addresses or directories, asked in order.
    Addresses(Vec<String>),
    /// At one of the addresses in the text file at this address.
    MirrorList(String),
    /// At one of the addresses in the metalink document at this address.
    MetaLink(String),
}

/// PEM files for connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsFiles {
    /// Authorities that are trusted beside the system's own.
    pub ca_certificate: Option<PathBuf>,
    /// The client's certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl RepositoryDefinition {
    /// The priority of a repository that states none.
    pub const USUAL_PRIORITY: u32 = 99;

    /// Returns a base repository at an address or directory, trusted as it is.
    pub fn at(id: &str, address: &str) -> Self {
        Self {
            id: id.to_owned(),
            origin: PackageOrigin::Base,
            places: Places::Addresses(vec![address.to_owned()]),
            priority: Self::USUAL_PRIORITY,
            signatures: SignaturePolicy::default(),
            include: Vec::new(),
            exclude: Vec::new(),
            tls: TlsFiles::default(),
            optional: false,
            locations: LocationPolicy::BelowRepository,
        }
    }

    /// Returns whether a text can be the id of a repository.
    pub fn is_id(text: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        !text.is_empty() && text.len() <= 100 && !text.starts_with('.') && text.bytes().all(plain)
    }

    /// Returns whether a package counts.
    pub fn admits(&self, nevra: &Nevra) -> bool {
        let matches = |pattern: &PackagePattern| pattern.matches(nevra);
        (self.include.is_empty() || self.include.iter().any(matches)) && !self.exclude.iter().any(matches)
    }
}

/// The variables that addresses may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// `$releasever`: the release of the base distribution.
    pub release: String,
    /// `$arch`: the architecture that is built for, for example `x86_64`.
    pub arch: String,
}

impl Variables {
    /// Puts values in the place of `$releasever`, `$basearch` and `$arch`, also written `${...}`.
    ///
    /// # Errors
    /// Returns the name of a variable that does not exist.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (name, behind) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or_else(|| after.to_owned())?,
                None => {
                    let word = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
                    after.split_at(after.find(word).unwrap_or(after.len()))
                }
            };
            expanded.push_str(match name {
                "releasever" => &self.release,
                "arch" => &self.arch,
                "basearch" => base_arch(&self.arch),
                other => return Err(other.to_owned()),
            });
            rest = behind;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// Returns the architecture that repositories are named after.
fn base_arch(arch: &str) -> &str {
    match arch {
        "i386" | "i486" | "i586" | "i686" | "athlon" => "i386",
        "x86_64_v2" | "x86_64_v3" | "x86_64_v4" | "amd64" => "x86_64",
        "armv7hl" | "armv7hnl" => "armhfp",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded() {
        let variables = Variables { release: "3.0".into(), arch: "i686".into() };
        for (text, expected) in [
            ("https://h/$releasever/$basearch", Ok("https://h/3.0/i386")),
            ("https://h/${releasever}x/$arch.d", Ok("https://h/3.0x/i686.d")),
            ("no variable", Ok("no variable")),
            ("$releasever_major", Err("releasever_major")),
            ("a $ b", Err("")),
            ("${arch", Err("{arch")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(variables.expand(text), expected, "{text}");
        }
    }

    #[test]
    fn patterns_choose_packages() {
        let nevra: Nevra = "python3-foo-1:1.2-3.x86_64".parse().unwrap();
        let check = |include: &[&str], exclude: &[&str], expected: bool| {
            let patterns = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
            let mut repository = RepositoryDefinition::at("x", "/x");
            (repository.include, repository.exclude) = (patterns(include), patterns(exclude));
            assert_eq!(repository.admits(&nevra), expected, "{include:?} {exclude:?}");
        };
        check(&[], &[], true);
        check(&[], &["python*"], false);
        check(&[], &["python"], true);
        check(&["python?-foo"], &[], true);
        check(&["perl*"], &[], false);
        check(&["python*"], &["*foo*"], false);
    }

    #[test]
    fn an_id_can_name_a_file() {
        for (id, expected) in
            [("base", true), ("a-b_c.d:1", true), ("", false), ("..", false), ("a/b", false), ("a b", false)]
        {
            assert_eq!(RepositoryDefinition::is_id(id), expected, "{id}");
        }
    }
}
