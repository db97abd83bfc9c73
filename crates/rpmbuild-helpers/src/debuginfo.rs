//! Stands for `find-debuginfo`: debug information of each program and library goes to a file of its own.
//!
//! For each ELF file that has symbols: `debugedit` sets the names of its sources and its build id, `objcopy`
//! merges its notes, `eu-strip` moves what debuggers need to `/usr/lib/debug`. Then the sources that it names
//! are copied, and the lists of all this are written that the debug packages are made of. The files are worked on
//! at the same time, as many as `-j` says, by the rules of the script: a worker whose tool fails ends, the others
//! go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::arguments::Options;
use crate::call::{Call, code_of, say};
use crate::content::{Content, content};
use crate::lists;
use crate::oddity::Oddity;
use crate::symlinks;
use crate::tree::{below, inside, is_its_own_pattern, plain, with_ending};

/// Below the build root: where debug files go.
const DEBUG: &str = "usr/lib/debug";

/// Below the build root: where sources go.
const SOURCES: &str = "usr/src/debug";

/// What the script exits with when a worker met an error that counts.
const STRICT_ERROR: u8 = 2;

/// Everything that there is to do.
pub(crate) struct Plan {
    options: Options,
    root: PathBuf,
    /// What paths in debug information begin with that is replaced.
    base: PathBuf,
    debugedit: PathBuf,
    files: Vec<Program>,
}

/// One ELF file with symbols, by the first of its names.
struct Program {
    path: PathBuf,
    /// Its other names.
    links: Vec<PathBuf>,
}

/// How the work on one file ended.
enum End {
    /// Done; the path is to be listed if it was stripped.
    Done(Option<PathBuf>),
    /// The worker ends, with this exit code when it is the only one.
    Failed(u8),
}

/// Plans what `find-debuginfo` does.
pub(crate) fn plan(call: &Call) -> Result<Plan, Oddity> {
    let options = Options::parse(&call.arguments)?;
    let root = call.build_root()?.to_owned();
    let build = env::var_os("RPM_BUILD_DIR").filter(|value| !value.is_empty());
    let build = PathBuf::from(build.ok_or(Oddity::Environment("RPM_BUILD_DIR"))?);
    if env::var_os("RPM_PACKAGE_NAME").is_none_or(|value| value.is_empty()) {
        return Err(Oddity::Environment("RPM_PACKAGE_NAME"));
    }
    if !is_its_own_pattern(&root) || !root.is_dir() || root.is_symlink() {
        return Err(Oddity::RootName);
    }
    let debug = root.join(DEBUG);
    let mut found = Vec::new();
    for entry in below(&root)? {
        let path = &entry.path;
        let is_debug_file =
            path.starts_with(&debug) && path.as_os_str().as_bytes().ends_with(b".debug") && *path != debug;
        if entry.kind.is_symlink()
            && !path.starts_with(&debug)
            && path.as_os_str().as_bytes().contains(&b'\n')
        {
            return Err(Oddity::Name(entry.path));
        }
        if !entry.kind.is_file() || !entry.is_executable() || is_debug_file {
            continue;
        }
        if path.as_os_str().as_bytes().contains(&b'\n') {
            return Err(Oddity::Name(entry.path));
        }
        if let Content::Elf(facts) = content(path)?
            && facts.has_symbols
        {
            plain(path)?;
            found.push(entry);
        }
    }
    found.sort_by(|one, other| one.path.as_os_str().as_bytes().cmp(other.path.as_os_str().as_bytes()));
    let mut files: Vec<Program> = Vec::new();
    let mut first: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for entry in found {
        match first.get(&entry.identity) {
            Some(index) if entry.links > 1 => files[*index].links.push(entry.path),
            _ => {
                first.insert(entry.identity, files.len());
                files.push(Program { path: entry.path, links: Vec::new() });
            }
        }
    }
    let base = if options.source_base.is_some() { options.build_directory.clone() } else { build };
    // The script looks for it beside itself.
    let debugedit = call.script.original().with_file_name("debugedit");
    Ok(Plan { options, root, base, debugedit, files })
}

impl Plan {
    pub(crate) fn carry_out(self) -> io::Result<u8> {
        for list in lists::OWN {
            fs::write(self.options.list(list), "")?;
        }
        let scratch = tempfile::Builder::new().prefix("find-debuginfo.").tempdir()?;
        let (stripped, failure) = self.work(scratch.path());
        if let Some(code) = failure {
            return Ok(code);
        }
        let sources = lists::join(scratch.path(), self.files.len())?;
        fs::write(self.options.list(lists::SOURCES), &sources)?;
        fs::write(self.options.list(lists::PROGRAMS), lists::lines(&stripped, "."))?;
        let links = symlinks::link_debug_files(&self.root, &self.root.join(DEBUG))?;
        fs::write(self.options.list(lists::LINKS), links)?;
        if !sources.is_empty() {
            self.copy_sources(&sources)?;
        }
        lists::write(&self.root, &self.options)?;
        Ok(0)
    }

    /// Returns where sources go, as debuggers will see it.
    fn source_destination(&self) -> PathBuf {
        let all = Path::new("/").join(SOURCES);
        self.options.source_base.as_ref().map_or(all.clone(), |base| all.join(base))
    }

    /// Works on all files; returns the stripped ones, and an exit code when the script would end here.
    fn work(&self, scratch: &Path) -> (Vec<PathBuf>, Option<u8>) {
        let workers = self.options.jobs.min(self.files.len());
        let queue = Mutex::new(self.files.iter().enumerate().collect::<VecDeque<_>>());
        let stripped = Mutex::new(Vec::new());
        let failure = Mutex::new(None);
        let work = || {
            loop {
                let next = locked(&queue).pop_front();
                let Some((number, program)) = next else { return };
                match self.extract(program, &scratch.join(number.to_string())) {
                    End::Done(path) => locked(&stripped).extend(path),
                    End::Failed(code) => {
                        *locked(&failure) = Some(code);
                        return;
                    }
                }
            }
        };
        if workers <= 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(work);
                }
            });
        }
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stripped = stripped.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Among several, a worker that ended leaves its part undone, and the script goes on.
        (stripped, failure.filter(|_| workers <= 1))
    }

    /// Does what is to be done with one file; the sources that it names go to the file `list`.
    fn extract(&self, program: &Program, list: &Path) -> End {
        match self.try_extract(program, list) {
            Ok(end) => end,
            Err(error) => {
                say(&format!("find-debuginfo: `{}`: {error}", program.path.display()));
                End::Failed(1)
            }
        }
    }

    fn try_extract(&self, program: &Program, list: &Path) -> io::Result<End> {
        let path = &program.path;
        fs::write(list, "")?;
        let debug_file = self.debug_file(path);
        if debug_file.is_file() {
            return Ok(End::Done(None));
        }
        lists::tell(&format!("extracting debug info from {}", path.display()));
        let mut debugedit = Command::new(&self.debugedit);
        debugedit.arg("-b").arg(&self.base).arg("-d").arg(self.source_destination()).arg("-i");
        if let Some(seed) = &self.options.seed {
            let mut option = OsString::from("--build-id-seed=");
            option.push(seed);
            debugedit.arg(option);
        }
        debugedit.arg("-l").arg(list).arg(path).stderr(Stdio::inherit());
        let edited = debugedit.output()?;
        if !edited.status.success() {
            return Ok(End::Failed(code_of(edited.status)));
        }
        if edited.stdout.trim_ascii().is_empty() {
            let class = if self.options.strict { "ERROR" } else { "WARNING" };
            say(&format!("*** {class}: No build ID note found in {}", path.display()));
            if self.options.strict {
                return Ok(End::Failed(STRICT_ERROR));
            }
        }
        // Whether it knows the option, and whether there are such notes, does not matter.
        let _ = Command::new("objcopy").arg("--merge-notes").arg(path).stderr(Stdio::null()).status();
        if inside(&self.root, path).as_bytes().starts_with(b"/usr/lib/debug/") {
            return Ok(End::Done(None));
        }
        if let Some(directory) = debug_file.parent() {
            fs::create_dir_all(directory)?;
        }
        if let Some(code) = self.strip(path, &debug_file)? {
            return Ok(End::Failed(code));
        }
        for link in &program.links {
            let other = self.debug_file(link);
            lists::tell(&format!("hard linked {} to {}", debug_file.display(), other.display()));
            if let Some(directory) = other.parent() {
                fs::create_dir_all(directory)?;
            }
            match fs::remove_file(&other) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::hard_link(&debug_file, &other)?,
            }
        }
        Ok(End::Done(Some(PathBuf::from(inside(&self.root, path)))))
    }

    /// Moves debug information from a file to its debug file; returns an exit code on failure.
    fn strip(&self, path: &Path, debug_file: &Path) -> io::Result<Option<u8>> {
        let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        if !writable {
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o200))?;
        }
        let status =
            Command::new("eu-strip").args(["--remove-comment", "-f"]).arg(debug_file).arg(path).status()?;
        if !status.success() {
            return Ok(Some(code_of(status)));
        }
        fs::set_permissions(debug_file, fs::Permissions::from_mode(0o444))?;
        if !writable {
            let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
            fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o200))?;
        }
        Ok(None)
    }

    /// Returns where the debug information of a file goes.
    fn debug_file(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default();
        let stem = name.as_bytes().strip_suffix(b".debug").filter(|stem| !stem.is_empty());
        let mut name = stem.map_or(name, OsStr::from_bytes).to_owned();
        name.push(&self.options.suffix);
        name.push(".debug");
        let below = Path::new(inside(&self.root, path));
        let directory = below.parent().unwrap_or(Path::new("/"));
        with_ending(&self.root.join(DEBUG), directory.as_os_str()).join(name)
    }

    /// Copies the sources that the files name, as `cpio` does it.
    fn copy_sources(&self, names: &[u8]) -> io::Result<()> {
        let destination = with_ending(&self.root, self.source_destination());
        fs::create_dir_all(&destination)?;
        let distinct: BTreeSet<&[u8]> =
            names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !is_made_up(name)).collect();
        let mut list = Vec::new();
        for name in distinct {
            list.extend_from_slice(name);
            list.push(0);
        }
        let mut file = tempfile::tempfile()?;
        io::Write::write_all(&mut file, &list)?;
        io::Seek::rewind(&mut file)?;
        // It complains about sources that are not there and goes on; so does the script.
        Command::new("cpio").arg("-pd0mL").arg(&destination).current_dir(&self.base).stdin(file).status()?;
        let entries = below(&destination).map_err(io::Error::other)?;
        let directories =
            entries.iter().filter(|entry| entry.kind.is_dir()).map(|entry| entry.path.as_path());
        for directory in directories.chain([destination.as_path()]) {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// Returns whether a compiler made a source's name up: `<built-in>`, `<artificial>`, ... as the last component.
fn is_made_up(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let inner = last.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    let usual = |byte: &u8| byte.is_ascii_lowercase() || b" _-".contains(byte);
    inner.is_some_and(|inner| !inner.is_empty() && inner.iter().all(usual))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_make_names_up() {
        for (name, made_up) in [
            (&b"<built-in>"[..], true),
            (b"src/<artificial>", true),
            (b"<__thread_local_inner macros>", true),
            (b"<Upper>", false),
            (b"a<b>", false),
            (b"<>", false),
            (b"src/a.c", false),
        ] {
            assert_eq!(is_made_up(name), made_up, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn debug_files_have_their_places() {
        let plan = |suffix: &str| Plan {
            options: Options { suffix: suffix.into(), ..Options::default() },
            root: "/b/r".into(),
            base: "/b".into(),
            debugedit: "debugedit".into(),
            files: Vec::new(),
        };
        for (path, suffix, debug_file) in [
            ("/b/r/usr/bin/a", "-1-1.x", "/b/r/usr/lib/debug/usr/bin/a-1-1.x.debug"),
            ("/b/r/a", "", "/b/r/usr/lib/debug/a.debug"),
            ("/b/r/usr/bin/a.debug", "-1", "/b/r/usr/lib/debug/usr/bin/a-1.debug"),
            ("/b/r/usr/bin/.debug", "", "/b/r/usr/lib/debug/usr/bin/.debug.debug"),
        ] {
            assert_eq!(plan(suffix).debug_file(Path::new(path)), Path::new(debug_file), "{path}");
        }
    }
}
