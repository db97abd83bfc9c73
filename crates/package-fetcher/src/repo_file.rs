//! `.repo` files, as dnf and tdnf read them.
//!
//! Understood: `name baseurl mirrorlist metalink enabled gpgcheck repo_gpgcheck gpgkey priority excludepkgs
//! exclude includepkgs sslcacert sslclientcert sslclientkey sslverify skip_if_unavailable`. Other keys steer
//! what we do not do (caching times, weights, modules) and are passed over, as tdnf does. `gpgcheck` and
//! `repo_gpgcheck` count as off where a file does not state them.

use std::path::{Path, PathBuf};

use configparser::ini::{Ini, IniDefault};
use repository::{DirectoryFetch, LocationPolicy};
use rpm_model::{PackageOrigin, PackagePattern, PackagePatternError};

use crate::definition::{Places, RepositoryDefinition, TlsFiles, Variables};
use crate::signature::SignaturePolicy;

/// Why a `.repo` file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepoFileError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Reads the enabled repositories of a `.repo` file, in the file's order; all count as of this origin.
///
/// # Errors
/// When the file cannot be read, is no such file, or states something that we cannot do.
pub fn read_repo_file(
    path: &Path,
    origin: PackageOrigin,
    variables: &Variables,
) -> Result<Vec<RepositoryDefinition>, RepoFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RepoFileError::Read { path: path.to_owned(), source })?;
    parse(&text, origin, variables).map_err(|(line, problem)| RepoFileError::Line {
        path: path.to_owned(),
        line,
        problem,
    })
}

fn parse(
    text: &str,
    origin: PackageOrigin,
    variables: &Variables,
) -> Result<Vec<RepositoryDefinition>, (usize, String)> {
    let mut format = IniDefault::default();
    format.default_section = String::new();
    format.case_sensitive = true;
    format.multiline = true;
    format.enable_inline_comments = false;
    let sections = Ini::new_from_defaults(format).read(text.to_owned()).map_err(line_and_problem)?;
    let mut definitions: Vec<RepositoryDefinition> = Vec::new();
    for (id, properties) in &sections {
        let pair = |(key, value): (&'_ String, &'_ Option<String>)| match value {
            Some(value) => Ok((key.clone(), value.clone())),
            None => Err((line_of(text, id, Some(key)), format!("`{key}` is no `key=value`"))),
        };
        let properties: Vec<(String, String)> = properties.iter().map(pair).collect::<Result<_, _>>()?;
        if id.is_empty() {
            return Err((1, "something stands before the first [section]".to_owned()));
        }
        // The settings of the program itself, where a whole dnf.conf is given.
        if id == "main" {
            continue;
        }
        let section = Section { text, id, properties: &properties, variables };
        if !RepositoryDefinition::is_id(id) {
            return Err(section.wrong(None, "this is no name of a repository"));
        }
        // The parser would put both together.
        if text.lines().filter(|line| section_name(line) == Some(id)).count() > 1 {
            return Err(section.wrong(None, "the repository is there twice"));
        }
        if section.switch("enabled")?.unwrap_or(true) {
            definitions.push(section.definition(origin)?);
        }
    }
    Ok(definitions)
}

/// One section of the file.
struct Section<'a> {
    text: &'a str,
    id: &'a str,
    properties: &'a [(String, String)],
    variables: &'a Variables,
}

impl Section<'_> {
    fn definition(&self, origin: PackageOrigin) -> Result<RepositoryDefinition, (usize, String)> {
        let key = |key: &str| -> Result<Option<PathBuf>, _> { Ok(self.value(key)?.map(PathBuf::from)) };
        let client_certificate = match (key("sslclientcert")?, key("sslclientkey")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(self.wrong(Some("sslclientcert"), "`sslclientkey` is missing")),
            (None, Some(_)) => return Err(self.wrong(Some("sslclientkey"), "`sslclientcert` is missing")),
        };
        let places = self.places()?;
        // Where there is no server, as in the toolkit's own files, there is nothing to verify.
        if self.switch("sslverify")? == Some(false) && has_servers(&places) {
            let advice = "servers are always verified; name their authority with `sslcacert`";
            return Err(self.wrong(Some("sslverify"), advice));
        }
        let mut exclude = self.patterns("excludepkgs")?;
        exclude.extend(self.patterns("exclude")?);
        let priority = match self.value("priority")? {
            None => RepositoryDefinition::USUAL_PRIORITY,
            Some(text) => text.parse().map_err(|_| self.wrong(Some("priority"), "it is no number"))?,
        };
        Ok(RepositoryDefinition {
            id: self.id.to_owned(),
            origin,
            places,
            priority,
            signatures: self.signatures()?,
            include: self.patterns("includepkgs")?,
            exclude,
            tls: TlsFiles { ca_certificate: key("sslcacert")?, client_certificate },
            optional: self.switch("skip_if_unavailable")?.unwrap_or(false),
            locations: LocationPolicy::BelowRepository,
        })
    }

    fn places(&self) -> Result<Places, (usize, String)> {
        let addresses = self.words("baseurl")?;
        if !addresses.is_empty() {
            return Ok(Places::Addresses(addresses));
        }
        if let Some(address) = self.value("metalink")? {
            return Ok(Places::MetaLink(address));
        }
        match self.value("mirrorlist")? {
            // Some files name a metalink so; dnf tells them by this word too.
            Some(address) if address.contains("metalink") => Ok(Places::MetaLink(address)),
            Some(address) => Ok(Places::MirrorList(address)),
            None => Err(self.wrong(None, "it has none of `baseurl`, `metalink` and `mirrorlist`")),
        }
    }

    fn signatures(&self) -> Result<SignaturePolicy, (usize, String)> {
        let packages = self.switch("gpgcheck")?.unwrap_or(false);
        let metadata = self.switch("repo_gpgcheck")?.unwrap_or(false);
        if !packages && !metadata {
            return Ok(SignaturePolicy::default());
        }
        let mut keys = Vec::new();
        for address in self.words("gpgkey")? {
            let directory = DirectoryFetch::at(&address).ok_or_else(|| {
                let advice = "a key is only as good as the way it came; save it to a file and name that";
                self.wrong(Some("gpgkey"), advice)
            })?;
            keys.push(directory.directory().to_owned());
        }
        if keys.is_empty() {
            let key = if packages { "gpgcheck" } else { "repo_gpgcheck" };
            return Err(self.wrong(Some(key), "signatures are asked for, but there is no `gpgkey`"));
        }
        Ok(SignaturePolicy { metadata, packages, keys })
    }

    /// Returns a value with its variables expanded; empty ones count as absent.
    fn value(&self, key: &str) -> Result<Option<String>, (usize, String)> {
        let found = self.properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        let Some(text) = found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let expanded = self.variables.expand(text).map_err(|name| {
            let known = "known are $releasever, $basearch and $arch";
            self.wrong(Some(key), &format!("the variable `${name}` is not known; {known}"))
        })?;
        Ok(Some(expanded))
    }

    /// Returns the words of a list, separated by blanks, commas or line ends.
    fn words(&self, key: &str) -> Result<Vec<String>, (usize, String)> {
        let text = self.value(key)?.unwrap_or_default();
        let words = text.split(|character: char| character.is_whitespace() || character == ',');
        Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    fn patterns(&self, key: &str) -> Result<Vec<PackagePattern>, (usize, String)> {
        let pattern = |word: &String| {
            word.parse().map_err(|error: PackagePatternError| self.wrong(Some(key), &error.to_string()))
        };
        self.words(key)?.iter().map(pattern).collect()
    }

    fn switch(&self, key: &str) -> Result<Option<bool>, (usize, String)> {
        match self.value(key)?.map(|text| text.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("1" | "yes" | "true" | "on") => Ok(Some(true)),
            Some("0" | "no" | "false" | "off") => Ok(Some(false)),
            Some(other) => Err(self.wrong(Some(key), &format!("`{other}` is neither yes nor no"))),
        }
    }

    fn wrong(&self, key: Option<&str>, problem: &str) -> (usize, String) {
        let place = key.map_or_else(|| format!("[{}]", self.id), |key| format!("[{}] {key}", self.id));
        (line_of(self.text, self.id, key), format!("{place}: {problem}"))
    }
}

fn has_servers(places: &Places) -> bool {
    let is_server = |address: &String| DirectoryFetch::at(address).is_none();
    match places {
        Places::Addresses(addresses) => addresses.iter().any(is_server),
        Places::MirrorList(address) | Places::MetaLink(address) => is_server(address),
    }
}

/// Takes the parser's message apart, which begins with `line N: `.
fn line_and_problem(message: String) -> (usize, String) {
    let parts = message.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    match parts.and_then(|(line, problem)| Some((line.parse().ok()?, problem.to_owned()))) {
        Some(both) => both,
        None => (1, message),
    }
}

/// Returns the line of a section or of a key in it, counted from 1; the parser keeps none with its values.
fn line_of(text: &str, section: &str, key: Option<&str>) -> usize {
    let mut inside = section.is_empty();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(name) = section_name(line) {
            inside = name == section;
            if inside && key.is_none() {
                return number;
            }
        } else if inside {
            let name = line.split_once(['=', ':']).map_or(line, |(name, _)| name);
            if key.is_some_and(|key| name.trim().eq_ignore_ascii_case(key)) {
                return number;
            }
        }
    }
    1
}

fn section_name(line: &str) -> Option<&str> {
    let line = line.trim().strip_prefix('[')?;
    Some(line.rsplit_once(']').map_or(line, |(name, _)| name).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables { release: "3.0".into(), arch: "x86_64".into() }
    }

    fn read(text: &str) -> Result<Vec<RepositoryDefinition>, (usize, String)> {
        parse(text, PackageOrigin::Base, &variables())
    }

    #[test]
    fn everything_that_counts_is_read() {
        let text = "# A comment\n\
            [azurelinux-official-base]\n\
            name=Azure Linux Official Base $releasever $basearch\n\
            baseurl=https://packages.invalid/azurelinux/$releasever/prod/base/$basearch\n    \
                    https://mirror.invalid/$basearch?token=a%3Db\n\
            gpgkey=file:///etc/pki/rpm-gpg/KEY-1 file:///etc/pki/rpm-gpg/KEY-2\n\
            gpgcheck=1\n\
            repo_gpgcheck=True\n\
            enabled=1\n\
            skip_if_unavailable=True\n\
            sslverify=1\n\
            sslcacert=/ca.pem\n\
            sslclientcert = /c.pem\n\
            sslclientkey = /k.pem\n\
            priority=10\n\
            includepkgs=a* b\n\
            excludepkgs=*-debuginfo,kernel*\n\
            exclude=x\n\
            metadata_expire=6h\n\
            \n\
            [off]\n\
            enabled=0\n\
            [list]\n\
            mirrorlist: https://m.invalid/list?repo=$releasever&arch=$arch\n\
            [link]\n\
            metalink=https://m.invalid/link\n\
            [hidden-link]\n\
            mirrorlist=https://m.invalid/metalink?x\n\
            [directory]\n\
            BaseURL=/srv/repo\n\
            sslverify=0\n";
        let found = read(text).unwrap();
        let ids: Vec<&str> = found.iter().map(|definition| definition.id.as_str()).collect();
        assert_eq!(ids, ["azurelinux-official-base", "list", "link", "hidden-link", "directory"]);
        let first = &found[0];
        assert_eq!(
            first.places,
            Places::Addresses(vec![
                "https://packages.invalid/azurelinux/3.0/prod/base/x86_64".into(),
                "https://mirror.invalid/x86_64?token=a%3Db".into()
            ])
        );
        let keys = vec!["/etc/pki/rpm-gpg/KEY-1".into(), "/etc/pki/rpm-gpg/KEY-2".into()];
        assert_eq!(first.signatures, SignaturePolicy { metadata: true, packages: true, keys });
        assert_eq!((first.priority, first.optional, first.exclude.len()), (10, true, 3));
        assert!(first.admits(&"abc-1-1.noarch".parse().unwrap()));
        assert!(!first.admits(&"abc-debuginfo-1-1.noarch".parse().unwrap()));
        assert!(!first.admits(&"z-1-1.noarch".parse().unwrap()));
        assert_eq!(first.tls.ca_certificate.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(first.tls.client_certificate, Some(("/c.pem".into(), "/k.pem".into())));
        assert_eq!(found[1].places, Places::MirrorList("https://m.invalid/list?repo=3.0&arch=x86_64".into()));
        assert_eq!(found[2].places, Places::MetaLink("https://m.invalid/link".into()));
        assert_eq!(found[3].places, Places::MetaLink("https://m.invalid/metalink?x".into()));
        assert_eq!(found[4], RepositoryDefinition::at("directory", "/srv/repo"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, part) in [
            ("baseurl=/x\n", 1, "before the first [section]"),
            ("[a\nbaseurl=/x\n", 1, "no closing bracket"),
            ("[a]\nbaseurl=/x\nnonsense\n", 3, "`nonsense` is no `key=value`"),
            ("\n[a/b]\nbaseurl=/x\n", 2, "this is no name of a repository"),
            ("[a]\nbaseurl=/x\n[a]\nbaseurl=/y\n", 1, "[a]: the repository is there twice"),
            ("[b]\nbaseurl=/x\n\n[a]\nname=x\n", 4, "[a]: it has none of `baseurl`"),
            ("[a]\nbaseurl=/x\nenabled=maybe\n", 3, "[a] enabled: `maybe` is neither yes nor no"),
            ("[a]\nbaseurl=/x\npriority=high\n", 3, "[a] priority: it is no number"),
            ("[a]\nbaseurl=/x/$relver\n", 2, "[a] baseurl: the variable `$relver` is not known"),
            ("[a]\nbaseurl=/x\ngpgcheck=1\n", 3, "there is no `gpgkey`"),
            ("[a]\nbaseurl=/x\ngpgcheck=1\ngpgkey=https://k.invalid/key\n", 4, "save it to a file"),
            ("[a]\nbaseurl=https://x\nsslverify=0\n", 3, "name their authority with `sslcacert`"),
            ("[a]\nbaseurl=/x\nsslclientcert=/c\n", 3, "`sslclientkey` is missing"),
            ("[a]\nbaseurl=/x\nsslclientkey=/c\n", 3, "`sslclientcert` is missing"),
            ("[a]\nbaseurl=/x\nexclude=a[\n", 3, "[a] exclude: `a[`"),
        ] {
            let (found, problem) = read(text).unwrap_err();
            assert!(found == line && problem.contains(part), "{text:?}: {found}: {problem}");
        }
        let error = read_repo_file(Path::new("/nonexistent.repo"), PackageOrigin::Base, &variables());
        assert!(error.unwrap_err().to_string().contains("/nonexistent.repo"));
    }
}
