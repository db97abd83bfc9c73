//! The ELF files of built packages, read out of their payloads.
//!
//! A package is read once, and only where its header lists ELF files or configuration of the loader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use buildroot::{LayerError, Payload, PayloadFile};
use object::ReadCache;
use rayon::prelude::*;

use crate::elf::{ElfFault, ElfFile, read_elf};
use crate::path::{base_name, plain};
use crate::symbols::{DynamicSymbols, read_symbols};

/// Where packages say in which further directories the loader looks.
const LOADER_CONFIGURATION: &str = "/etc/ld.so.conf.d/";

/// Below this directory lie debug symbols, which are ELF files and for no loader.
const DEBUG: &str = "/usr/lib/debug/";

/// What a larger file contains is held in a file while it is read, not in memory.
const MOST_IN_MEMORY: u64 = 32 << 20;

/// More is no configuration file.
const LONGEST_CONFIGURATION: u64 = 64 << 10;

/// An ELF file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagedElf {
    /// The package's name.
    pub package: String,
    /// Its absolute path.
    pub path: String,
    /// Whether it runs with its owner's or group's rights.
    pub is_set_id: bool,
    /// What it says of libraries.
    pub elf: ElfFile,
    /// Its symbols, where they were asked for.
    pub symbols: Option<DynamicSymbols>,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreadFile {
    /// The package's name.
    pub package: String,
    /// Its absolute path.
    pub path: String,
    /// Why not.
    pub fault: String,
}

/// What the packages of one build contain for the loader; everything is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltFiles {
    /// Their ELF files, by path.
    pub files: Vec<PackagedElf>,
    /// Paths of everything that is named like a library, links included, with the package.
    pub paths: BTreeMap<String, String>,
    /// Directories that their loader configuration adds.
    pub search_directories: BTreeSet<String>,
    /// ELF files that could not be read.
    pub unread: Vec<UnreadFile>,
}

/// Reads the packages of a build, each given by name and file; their symbols only where that is asked for.
///
/// # Errors
/// When a package cannot be read. What is wrong with single ELF files is in [`BuiltFiles::unread`].
pub fn read_built(packages: &[(&str, &Path)], with_symbols: bool) -> Result<BuiltFiles, LayerError> {
    let read = |(name, path): &(&str, &Path)| read_package(name, path, with_symbols);
    let parts: Vec<BuiltFiles> = packages.par_iter().map(read).collect::<Result<_, _>>()?;
    let mut whole = BuiltFiles::default();
    for part in parts {
        whole.files.extend(part.files);
        whole.paths.extend(part.paths);
        whole.search_directories.extend(part.search_directories);
        whole.unread.extend(part.unread);
    }
    whole.files.sort_by(|a, b| (&a.path, &a.package).cmp(&(&b.path, &b.package)));
    whole.unread.sort();
    Ok(whole)
}

fn read_package(name: &str, path: &Path, with_symbols: bool) -> Result<BuiltFiles, LayerError> {
    let payload = Payload::open(path)?;
    let mut found = BuiltFiles::default();
    let has_elf = payload.elf_files().iter().any(|path| !path.starts_with(DEBUG));
    let has_configuration = payload.paths().iter().any(|path| is_configuration(path));
    let like_libraries = payload.paths().iter().filter(|path| base_name(path).contains(".so"));
    found.paths.extend(like_libraries.map(|path| (plain(path), name.to_owned())));
    if !has_elf && !has_configuration {
        return Ok(found);
    }
    payload.read(&mut |file, content| {
        if !file.is_regular() {
            return Ok(());
        }
        if file.paths.iter().any(|path| is_configuration(path)) {
            found.search_directories.extend(configured_directories(&text(content)?));
        } else if has_elf && !file.paths.iter().all(|path| path.starts_with(DEBUG)) {
            match read_content(file.size, content, with_symbols)? {
                Ok(None) => {}
                Ok(Some((elf, symbols))) => found.files.extend(packaged(name, file, &elf, &symbols)),
                Err(fault) => found.unread.extend(file.paths.iter().map(|path| UnreadFile {
                    package: name.to_owned(),
                    path: path.clone(),
                    fault: fault.to_string(),
                })),
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn packaged<'a>(
    package: &'a str,
    file: &'a PayloadFile,
    elf: &'a ElfFile,
    symbols: &'a Option<DynamicSymbols>,
) -> impl Iterator<Item = PackagedElf> + 'a {
    /// `S_ISUID` and `S_ISGID`.
    const SET_ID: u32 = 0o6000;
    file.paths.iter().map(|path| PackagedElf {
        package: package.to_owned(),
        path: path.clone(),
        is_set_id: file.mode & SET_ID != 0,
        elf: elf.clone(),
        symbols: symbols.clone(),
    })
}

fn is_configuration(path: &str) -> bool {
    path.strip_prefix(LOADER_CONFIGURATION).is_some_and(|name| name.ends_with(".conf") && !name.contains('/'))
}

fn text(content: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    content.take(LONGEST_CONFIGURATION).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the directories in a file of loader configuration.
fn configured_directories(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    // An older form has `=libc6` behind the directory.
    let directories = lines.filter_map(|line| line.split(['=', ' ', '\t']).next());
    directories.filter(|directory| directory.starts_with('/')).map(plain).collect()
}

type ReadContent = Result<Option<(ElfFile, Option<DynamicSymbols>)>, ElfFault>;

/// Reads a file's content if it is that of an ELF file.
fn read_content(size: u64, content: &mut dyn Read, with_symbols: bool) -> io::Result<ReadContent> {
    let mut start = Vec::with_capacity(4);
    (&mut *content).take(4).read_to_end(&mut start)?;
    if start != b"\x7fELF" {
        return Ok(Ok(None));
    }
    if size <= MOST_IN_MEMORY {
        content.read_to_end(&mut start)?;
        return Ok(read(&start[..], with_symbols));
    }
    let mut file: File = tempfile::tempfile()?;
    file.write_all(&start)?;
    io::copy(content, &mut file)?;
    file.rewind()?;
    Ok(read(&ReadCache::new(file), with_symbols))
}

fn read<'data, R: object::ReadRef<'data>>(data: R, with_symbols: bool) -> ReadContent {
    let Some(elf) = read_elf(data)? else { return Ok(None) };
    let symbols = if with_symbols { Some(read_symbols(data)?) } else { None };
    Ok(Some((elf, symbols)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_configuration_files_are_found() {
        let text = "# remark\n/usr/lib64/mysql # its own\n\ninclude /etc/other/*.conf\n/opt/x/=libc6\nhwcap 1 x\n/lib64/y\n";
        let expected = ["/opt/x", "/usr/lib64/mysql", "/usr/lib64/y"].map(str::to_owned);
        assert_eq!(configured_directories(text), expected.into());
        assert!(is_configuration("/etc/ld.so.conf.d/mysql.conf"));
        assert!(!is_configuration("/etc/ld.so.conf.d/README"));
    }
}
