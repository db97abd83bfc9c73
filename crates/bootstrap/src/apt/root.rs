//! The private apt root on disk: `apt.conf`, sources, lists, downloaded packages.

use super::sources::{Source, list_file_prefix, parse_deb822, parse_one_line, to_deb822, unite};
use crate::command::run;
use crate::error::BootstrapError;
use crate::progress::{Event, Reporter};
use rpm_model::ContentDigest;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether to fetch package indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexes {
    /// Use those that are there, when they belong to the host's present sources; fetch otherwise.
    Keep,
    /// Fetch.
    Refresh,
}

/// A binary package of a closure, as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianPackage {
    /// File name in the archive directory.
    pub file_name: String,
    /// SHA-256 as the index has it.
    pub sha256: ContentDigest,
    /// The file itself, where the source is a directory of this host: apt does not copy such files.
    pub local: Option<PathBuf>,
}

/// One file of a Debian source package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// File name without directory.
    pub file_name: String,
    /// SHA-256 as the index has it.
    pub sha256: ContentDigest,
}

/// A private apt root, ready for use.
#[derive(Debug, Clone)]
pub struct AptRoot {
    directory: PathBuf,
    /// The file to set `APT_CONFIG` to.
    pub apt_config: PathBuf,
}

/// Where the host keeps apt's configuration.
const HOST_CONFIGURATION: &str = "/etc/apt";

/// Written last: the root's sources belong to the host's sources of this hash.
const STAMP: &str = "sources.sha256";

impl AptRoot {
    /// Makes `directory` (usually `build/apt`) an apt root for the host's Debian sources and fetches indexes
    /// where they are missing or were fetched for other sources. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`BootstrapError::NoDebianSource`] when the host has none, [`BootstrapError::Command`] when `apt-get`
    /// fails, for example without network.
    pub fn prepare(
        directory: &Path,
        indexes: Indexes,
        reporter: &dyn Reporter,
    ) -> Result<Self, BootstrapError> {
        Self::prepare_from(Path::new(HOST_CONFIGURATION), directory, indexes, reporter)
    }

    /// Does what [`Self::prepare`] does with another configuration directory than `/etc/apt`.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_from(
        host: &Path,
        directory: &Path,
        indexes: Indexes,
        reporter: &dyn Reporter,
    ) -> Result<Self, BootstrapError> {
        std::fs::create_dir_all(directory).map_err(BootstrapError::file("create", directory))?;
        let directory = directory.canonicalize().map_err(BootstrapError::file("resolve", directory))?;
        let root = Self { apt_config: directory.join("apt.conf"), directory };
        let sources = host_sources(host)?;
        let stamp = root.directory.join(STAMP);
        let identity = identity_of(&sources);
        let is_current = std::fs::read_to_string(&stamp).is_ok_and(|text| text == identity);
        if is_current && indexes == Indexes::Keep && root.apt_config.exists() {
            return Ok(root);
        }
        reporter.report(Event::UpdatingIndexes);
        for name in [
            "lists/partial",
            "archives/partial",
            "nothing/partial",
            "etc/sources.list.d",
            "etc/preferences.d",
        ] {
            let path = root.directory.join(name);
            std::fs::create_dir_all(&path).map_err(BootstrapError::file("create", &path))?;
        }
        root.write("status", "")?;
        root.write("apt.conf", &root.configuration(host)?)?;
        let debian = root.keep_debian(sources)?;
        root.write("etc/sources.list.d/debian.sources", &to_deb822(&debian))?;
        root.update(&[])?;
        root.write(STAMP, &identity)?;
        Ok(root)
    }

    /// Fetches the package indexes again, as when a mirror no longer has what they describe.
    ///
    /// # Errors
    /// [`BootstrapError::Command`] when apt-get fails.
    pub fn refresh(&self, reporter: &dyn Reporter) -> Result<(), BootstrapError> {
        reporter.report(Event::UpdatingIndexes);
        self.update(&[])
    }

    /// Lets the next [`Self::prepare`] fetch the indexes again.
    ///
    /// # Errors
    /// [`BootstrapError::File`] when the stamp cannot be removed.
    pub fn forget_indexes(&self) -> Result<(), BootstrapError> {
        let stamp = self.directory.join(STAMP);
        std::fs::remove_file(&stamp).map_err(BootstrapError::file("remove", &stamp))
    }

    /// Returns the closure of the named Debian packages, without Recommends, sorted.
    ///
    /// # Errors
    /// [`BootstrapError::Command`] when a name is unknown or cannot be installed.
    pub fn closure(&self, names: &[String]) -> Result<Vec<DebianPackage>, BootstrapError> {
        // With an empty archive directory apt lists every package, also those already downloaded.
        let nothing = format!("Dir::Cache::archives={}", self.directory.join("nothing").display());
        let mut command = self.apt_get(&["install", "-qq", "--print-uris", "-o", &nothing]);
        command.args(["-o", "Acquire::ForceHash=SHA256", "--"]).args(names);
        let mut packages: Vec<DebianPackage> = run(&mut command)?
            .lines()
            .filter_map(UriLine::parse)
            .map(|line| DebianPackage {
                local: line.local_path(),
                file_name: line.file_name,
                sha256: line.sha256,
            })
            .collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// Downloads the closure of the named packages; returns the file of each package given by [`Self::closure`].
    ///
    /// # Errors
    /// [`BootstrapError::Command`] when apt-get fails, [`BootstrapError::File`] when a file is missing
    /// afterwards.
    pub fn download(
        &self,
        names: &[String],
        packages: &[DebianPackage],
        reporter: &dyn Reporter,
    ) -> Result<Vec<PathBuf>, BootstrapError> {
        let archives = self.directory.join("archives");
        let path = |package: &DebianPackage| {
            package.local.clone().unwrap_or_else(|| archives.join(&package.file_name))
        };
        let is_here = |package: &DebianPackage| {
            path(package).exists()
                && crate::files::hash(&path(package)).is_ok_and(|found| found == package.sha256)
        };
        use rayon::prelude::*;
        let missing = packages.par_iter().filter(|package| !is_here(package)).count();
        if missing > 0 {
            reporter.report(Event::Downloading { packages: missing });
            let mut command = self.apt_get(&["install", "-qq", "-y", "--download-only", "--"]);
            run(command.args(names))?;
        }
        packages
            .iter()
            .map(|package| {
                let path = path(package);
                path.metadata().map(|_| path.clone()).map_err(BootstrapError::file("find downloaded", &path))
            })
            .collect()
    }

    /// Downloads the files of a Debian source package into `into` and returns them, sorted by name.
    ///
    /// # Errors
    /// [`BootstrapError::Command`] when the package or version is unknown or cannot be fetched.
    pub fn download_source(
        &self,
        name: &str,
        version: Option<&str>,
        into: &Path,
    ) -> Result<Vec<SourceFile>, BootstrapError> {
        std::fs::create_dir_all(into).map_err(BootstrapError::file("create", into))?;
        let package = version.map_or(name.to_owned(), |version| format!("{name}={version}"));
        let options = ["source", "-qq", "--only-source", "-o", "Acquire::ForceHash=SHA256"];
        let mut list = self.apt_get(&options);
        let listed = run(list.arg("--print-uris").arg("--").arg(&package))?;
        let mut command = self.apt_get(&options);
        run(command.arg("--download-only").arg("--").arg(&package).current_dir(into))?;
        let mut files: Vec<SourceFile> = listed
            .lines()
            .filter_map(UriLine::parse)
            .map(|line| SourceFile { file_name: line.file_name, sha256: line.sha256 })
            .collect();
        files.sort();
        Ok(files)
    }

    /// Returns `apt-get` with the private configuration and a fixed language.
    fn apt_get(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", &self.apt_config).env("LC_ALL", "C").args(arguments);
        command
    }

    fn update(&self, options: &[&str]) -> Result<(), BootstrapError> {
        run(self.apt_get(&["update", "-qq"]).args(options)).map(drop)
    }

    /// Returns the sources whose Release file says `Origin: Debian`.
    ///
    /// For that, only the Release files of all sources are fetched; a source that cannot be reached is left
    /// out like one of another origin, as a host may have any number of foreign, dead ones.
    fn keep_debian(&self, sources: Vec<Source>) -> Result<Vec<Source>, BootstrapError> {
        self.write("etc/sources.list.d/debian.sources", &to_deb822(&sources))?;
        let no_indexes = [
            "-o",
            "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
            "-o",
            "Acquire::IndexTargets::deb-src::Sources::DefaultEnabled=false",
        ];
        let probed = self.update(&no_indexes);
        let origins: Vec<String> = sources.iter().map(|source| self.origin(source)).collect();
        let considered = sources.iter().zip(&origins).map(|(source, origin)| {
            let origin = if origin.is_empty() { "no Release file" } else { origin };
            format!("{} {} ({origin})", source.uri, source.suite)
        });
        let considered = considered.collect();
        let debian: Vec<Source> = sources
            .iter()
            .zip(&origins)
            .filter(|(_, origin)| *origin == "Debian")
            .map(|(source, _)| source.clone())
            .collect();
        match (debian.is_empty(), probed) {
            (false, _) => Ok(debian),
            (true, Err(error)) if !sources.is_empty() => Err(error),
            (true, _) => Err(BootstrapError::NoDebianSource { considered }),
        }
    }

    /// Returns the `Origin` of a source's Release file, or nothing when there is no such file.
    fn origin(&self, source: &Source) -> String {
        let prefix = list_file_prefix(source);
        for name in ["InRelease", "Release"] {
            let path = self.directory.join("lists").join(format!("{prefix}{name}"));
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            if let Some(origin) = text.lines().find_map(|line| line.strip_prefix("Origin:")) {
                return origin.trim().to_owned();
            }
        }
        String::new()
    }

    /// Returns the text of `apt.conf`: every place private, the host's keys, credentials and transport kept.
    fn configuration(&self, host: &Path) -> Result<String, BootstrapError> {
        let root = self.directory.display();
        let host = host.display();
        let mut text = format!(
            "Dir::State \"{root}\";\n\
             Dir::State::lists \"lists/\";\n\
             Dir::State::status \"{root}/status\";\n\
             Dir::State::extended_states \"{root}/extended_states\";\n\
             Dir::Cache \"{root}\";\n\
             Dir::Cache::archives \"archives/\";\n\
             Dir::Cache::pkgcache \"pkgcache.bin\";\n\
             Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
             Dir::Etc \"{root}/etc\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::trusted \"{host}/trusted.gpg\";\n\
             Dir::Etc::trustedparts \"{host}/trusted.gpg.d\";\n\
             Dir::Etc::netrc \"{host}/auth.conf\";\n\
             Dir::Etc::netrcparts \"{host}/auth.conf.d\";\n\
             Dir::Log \"{root}/log\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        );
        let mut command = Command::new("apt-config");
        for line in run(command.args(["dump", "Acquire"]).env("LC_ALL", "C"))?.lines() {
            if is_transport_option(line) {
                text.push_str(line);
                text.push('\n');
            }
        }
        Ok(text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), BootstrapError> {
        let path = self.directory.join(name);
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)
            .map_err(BootstrapError::file("create a temporary file for", &path))?;
        std::io::Write::write_all(&mut file, text.as_bytes())
            .map_err(BootstrapError::file("write", &path))?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(BootstrapError::file("make readable", &path))?;
        file.persist(&path).map_err(|error| error.error).map_err(BootstrapError::file("write", &path))?;
        Ok(())
    }
}

/// Tells how to reach servers (proxies, certificates, retries, clocks) from what to fetch from them.
fn is_transport_option(line: &str) -> bool {
    let excluded =
        ["IndexTargets", "Languages", "GzipIndexes", "CompressionTypes", "Changelogs", "cdrom", "ForceHash"];
    let Some(option) = line.strip_prefix("Acquire::") else { return false };
    let name = option.split([':', ' ']).next().unwrap_or("");
    !excluded.iter().any(|excluded| name.eq_ignore_ascii_case(excluded))
}

/// One line of `--print-uris`: `'URI' file-name size SHA256:hash`.
#[derive(Debug, PartialEq, Eq)]
struct UriLine {
    uri: String,
    file_name: String,
    sha256: ContentDigest,
}

impl UriLine {
    fn parse(line: &str) -> Option<Self> {
        let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let mut words = rest.split(' ');
        let (file_name, _size, hash) = (words.next()?, words.next()?, words.next()?);
        let sha256 = hash.strip_prefix("SHA256:")?.parse().ok()?;
        Some(Self { uri: uri.to_owned(), file_name: file_name.to_owned(), sha256 })
    }

    /// Returns the path of a `file:` URI, percent signs decoded.
    fn local_path(&self) -> Option<PathBuf> {
        let path = self.uri.strip_prefix("file:")?;
        let mut bytes = Vec::new();
        let mut rest = path.strip_prefix("//").unwrap_or(path).bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            });
        }
        String::from_utf8(bytes).ok().map(PathBuf::from)
    }
}

/// Reads all source lists of the host, in apt's order.
fn host_sources(configuration: &Path) -> Result<Vec<Source>, BootstrapError> {
    let mut files = vec![configuration.join("sources.list")];
    let parts = configuration.join("sources.list.d");
    if let Ok(entries) = std::fs::read_dir(&parts) {
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        files.extend(found);
    }
    let mut sources = Vec::new();
    for path in files {
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_one_line,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => sources.extend(parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(BootstrapError::file("read", &path)(error)),
        }
    }
    Ok(unite(sources))
}

fn identity_of(sources: &[Source]) -> String {
    ContentDigest::of_bytes(to_deb822(sources).as_bytes()).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_uri_lines() {
        let hash = ContentDigest::of_bytes(b"");
        let parse = |uri: &str| UriLine::parse(&format!("'{uri}' a_1+2_amd64.deb 123 SHA256:{hash}"));
        let line = parse("http://h/p/a_1%2b2_amd64.deb").unwrap();
        assert_eq!((line.file_name.as_str(), &line.sha256), ("a_1+2_amd64.deb", &hash));
        assert_eq!(line.local_path(), None);
        for uri in ["file:/m/a_1%2b2.deb", "file:///m/a_1%2b2.deb"] {
            assert_eq!(parse(uri).unwrap().local_path(), Some(PathBuf::from("/m/a_1+2.deb")));
        }
        assert_eq!(parse("file:/m/%2").unwrap().local_path(), None);
        assert_eq!(UriLine::parse("Reading package lists..."), None);
        assert_eq!(UriLine::parse("'x' y 1 MD5Sum:abcd"), None);
        assert_eq!(UriLine::parse("'x' y 1 SHA256:abcd"), None);
    }

    #[test]
    fn keeps_transport_options_only() {
        for (line, expected) in [
            ("Acquire::http::Proxy \"http://p\";", true),
            ("Acquire::Check-Valid-Until \"false\";", true),
            ("Acquire::Retries \"3\";", true),
            ("Acquire::IndexTargets::deb::Packages \"\";", false),
            ("Acquire::GzipIndexes \"true\";", false),
            ("Acquire::Languages:: \"none\";", false),
            ("Acquire \"\";", false),
        ] {
            assert_eq!(is_transport_option(line), expected, "{line}");
        }
    }

    #[test]
    fn reads_the_sources_of_a_host() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir(host.path().join("sources.list.d")).unwrap();
        std::fs::write(host.path().join("sources.list"), "deb http://a s main\n").unwrap();
        std::fs::write(
            host.path().join("sources.list.d/b.sources"),
            "Types: deb\nURIs: http://b\nSuites: s\nComponents: main\n",
        )
        .unwrap();
        std::fs::write(host.path().join("sources.list.d/c.list.save"), "deb http://c s main\n").unwrap();
        let uris: Vec<String> =
            host_sources(host.path()).unwrap().into_iter().map(|source| source.uri).collect();
        assert_eq!(uris, ["http://a", "http://b"]);
    }
}
