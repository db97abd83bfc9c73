//! The facts of a host and a build root that tuning is decided by.
//!
//! The root is not mounted yet: each script is looked for in the root's lowers, topmost first, as the overlay
//! will show it. Symbolic links are resolved within a lower.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use buildroot::Sandbox;
use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian, ReadCache, ReadRef, StringTable, elf};
use rpm_model::{ContentDigest, TuningMode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::{Facts, FoundScript, HELPER, KNOWN};

/// Where a root has its C library.
const LIBRARIES: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/libc.so.6", "usr/lib/aarch64-linux-gnu/libc.so.6"];

/// What most scripts fit into, in one read.
const USUAL_SCRIPT: usize = 32 << 10;

/// A larger file is no script that is known.
const LARGEST_SCRIPT: u64 = 1 << 20;

/// What earlier builds of this process have seen that does not change: layers, whose content never does, and the
/// program that stands for scripts.
#[derive(Debug, Default)]
pub struct TuningMemory {
    layers: Mutex<HashMap<PathBuf, Arc<Layer>>>,
    /// The newest version of the C library's interface that the program needs.
    needed_library: OnceLock<Option<(u32, u32)>>,
}

impl TuningMemory {
    fn layer(&self, lower: &Path) -> Arc<Layer> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = layers.get(lower) {
            return Arc::clone(layer);
        }
        let layer = Arc::new(Layer::look(lower));
        layers.insert(lower.to_owned(), Arc::clone(&layer));
        layer
    }

    fn needed_library(&self, helper: &Path) -> Option<(u32, u32)> {
        *self.needed_library.get_or_init(|| versions(File::open(helper).ok()?)?.needed)
    }
}

/// What one lower of a root has.
#[derive(Debug, Default)]
struct Layer {
    scripts: Vec<FoundScript>,
    /// Whether it has a C library, and the newest version of the interface that this defines.
    library: Option<Option<(u32, u32)>>,
}

impl Layer {
    fn look(lower: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let Some(root) = open(CWD, lower, flags, ResolveFlags::empty()) else { return Self::default() };
        // Most packages have neither of the few directories; then their scripts need not be looked for one by one.
        let mut present: BTreeMap<&str, bool> = BTreeMap::new();
        let scripts = KNOWN.iter().filter_map(|known| {
            let directory = known.directory.trim_start_matches('/');
            let is_present = *present
                .entry(directory)
                .or_insert_with(|| open(&root, Path::new(directory), flags, ResolveFlags::IN_ROOT).is_some());
            if !is_present {
                return None;
            }
            let content = read(&root, &Path::new(directory).join(known.name))?;
            Some(FoundScript {
                path: Path::new(known.directory).join(known.name),
                directory: lower.join(directory),
                sha256: ContentDigest::of_bytes(&content),
            })
        });
        let scripts = scripts.collect();
        let library = LIBRARIES
            .iter()
            .find_map(|path| open(&root, Path::new(path), OFlags::RDONLY, ResolveFlags::IN_ROOT))
            .map(|library| versions(File::from(library)).and_then(|versions| versions.defined));
        Self { scripts, library }
    }
}

/// Looks at host and lowers, topmost first. What cannot be read counts as absent: then scripts run themselves.
pub(crate) fn probe(
    mode: TuningMode,
    own_architecture: bool,
    sandbox: &Sandbox,
    lowers: &[PathBuf],
    memory: &TuningMemory,
) -> Facts {
    let mut facts = Facts { own_architecture, ..Facts::default() };
    if mode == TuningMode::Off || !own_architecture {
        return facts;
    }
    facts.helper = sandbox.program_beside(HELPER);
    facts.needed_library = facts.helper.as_deref().and_then(|helper| memory.needed_library(helper));
    let mut library = None;
    for lower in lowers {
        if facts.scripts.len() == KNOWN.len() && library.is_some() {
            break;
        }
        let layer = memory.layer(lower);
        // The same script of a lower one is not seen.
        for script in &layer.scripts {
            if !facts.scripts.iter().any(|found| found.path == script.path) {
                facts.scripts.push(script.clone());
            }
        }
        library = library.or(layer.library);
    }
    facts.root_library = library.flatten();
    facts
}

fn open(
    directory: impl std::os::fd::AsFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Option<OwnedFd> {
    rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
}

/// Returns the content of a script; one that is reached through a link is none that is known.
fn read(root: &OwnedFd, path: &Path) -> Option<Vec<u8>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let file = File::from(open(root, path, OFlags::RDONLY | OFlags::NONBLOCK, resolve)?);
    let mut content = Vec::with_capacity(USUAL_SCRIPT);
    file.take(LARGEST_SCRIPT).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The newest versions of the C library's interface that an ELF file needs and defines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Versions {
    needed: Option<(u32, u32)>,
    defined: Option<(u32, u32)>,
}

fn versions(file: File) -> Option<Versions> {
    read_versions(&ReadCache::new(file))
}

fn read_versions<'data, R: ReadRef<'data>>(data: R) -> Option<Versions> {
    let header = elf::FileHeader64::<LittleEndian>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let mut versions = Versions::default();
    for section in sections.iter() {
        if let Some((mut needs, link)) = section.gnu_verneed(endian, data).ok()? {
            let strings = strings(sections.section(link).ok()?, endian, data)?;
            while let Some((_, mut names)) = needs.next().ok()? {
                while let Some(name) = names.next().ok()? {
                    versions.needed = versions.needed.max(version(name.name(endian, strings).ok()?));
                }
            }
        }
        if let Some((mut definitions, link)) = section.gnu_verdef(endian, data).ok()? {
            let strings = strings(sections.section(link).ok()?, endian, data)?;
            while let Some((_, mut names)) = definitions.next().ok()? {
                if let Some(name) = names.next().ok()? {
                    versions.defined = versions.defined.max(version(name.name(endian, strings).ok()?));
                }
            }
        }
    }
    Some(versions)
}

/// Returns a string table that was read at once; otherwise each string is a read of the file.
fn strings<'data, R: ReadRef<'data>>(
    section: &'data elf::SectionHeader64<LittleEndian>,
    endian: LittleEndian,
    data: R,
) -> Option<StringTable<'data>> {
    let content = section.data(endian, data).ok()?;
    Some(StringTable::new(content, 0, content.len() as u64))
}

/// Returns `(2, 34)` for `GLIBC_2.34`.
fn version(name: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?;
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version(b"GLIBC_2.34"), Some((2, 34)));
        assert_eq!(version(b"GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(version(b"GLIBC_PRIVATE"), None);
        assert_eq!(version(b"GCC_3.0"), None);
    }

    #[test]
    fn this_program_needs_a_c_library() {
        let versions = versions(File::open(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert!(versions.needed.is_some_and(|needed| needed >= (2, 2)), "{versions:?}");
        assert_eq!(versions.defined, None);
    }
}
