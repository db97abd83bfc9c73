//! Dynamic symbols of ELF files: what a library exports, what a file imports, and what differs between two builds.
//!
//! What it is not: it says nothing of types and arguments, which are in no symbol table. A symbol that is still there
//! may mean something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, ReadRef, SectionIndex, StringTable, SymbolIndex, elf};
use serde::{Serialize, Serializer};

use crate::elf::ElfFault;

/// More symbols than the largest library has, and more versions of them.
const MOST_SYMBOLS: usize = 1 << 22;
const MOST_VERSIONS: usize = 1 << 16;

/// The name of a symbol, with its version where it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolName {
    /// The name.
    pub name: String,
    /// Its version, for example `GLIBC_2.34`.
    pub version: Option<String>,
}

/// What a library exports under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExportedSymbol {
    /// What it is.
    pub kind: SymbolKind,
    /// Bytes that an object takes, which programs may have copied into themselves; 0 for everything else.
    pub size: u64,
    /// Whether it is what a name without a version means: `name@@version`.
    pub is_default: bool,
}

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SymbolKind {
    /// Code.
    Function,
    /// Code that is chosen when it is loaded.
    IndirectFunction,
    /// Data.
    Object,
    /// Data that every thread has.
    ThreadLocal,
    /// It does not say.
    Other,
}

impl fmt::Display for SymbolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::IndirectFunction => "indirect function",
            Self::Object => "object",
            Self::ThreadLocal => "thread-local object",
            Self::Other => "symbol",
        })
    }
}

impl fmt::Display for ExportedSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if self.size > 0 {
            write!(f, " of {} bytes", self.size)?;
        }
        if self.is_default { Ok(()) } else { f.write_str(", not the default version") }
    }
}

impl fmt::Display for SymbolName {
    /// Writes `name`, or `name@version`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

impl Serialize for SymbolName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A symbol that a file cannot do without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportedSymbol {
    /// Its name.
    pub symbol: SymbolName,
    /// The library that has it, where the file says so: it does for symbols with versions.
    pub library: Option<String>,
}

/// The dynamic symbols of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicSymbols {
    /// What others may use.
    pub exported: BTreeMap<SymbolName, ExportedSymbol>,
    /// What it needs of others; what it can do without (weak symbols) is left out.
    pub imported: BTreeSet<ImportedSymbol>,
}

/// Reads the dynamic symbols of a file; none where it is no ELF file or has no table of them.
///
/// # Errors
/// When the table is damaged, or has more entries than any.
pub fn read_symbols<'data, R: ReadRef<'data>>(data: R) -> Result<DynamicSymbols, ElfFault> {
    match data.read_bytes_at(0, 5) {
        Ok(b"\x7fELF\x01") => read::<elf::FileHeader32<Endianness>, R>(data),
        Ok(b"\x7fELF\x02") => read::<elf::FileHeader64<Endianness>, R>(data),
        _ => Ok(DynamicSymbols::default()),
    }
}

fn read<'data, Elf, R>(data: R) -> Result<DynamicSymbols, ElfFault>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let table = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    if table.len() > MOST_SYMBOLS {
        return Err(ElfFault::TooMany { what: "dynamic symbols", most: MOST_SYMBOLS });
    }
    let numbers = sections.gnu_versym(endian, data)?.map(|(numbers, _)| numbers).unwrap_or_default();
    let mut versions: BTreeMap<u16, Version> = BTreeMap::new();
    for section in sections.iter() {
        let strings = |link: SectionIndex| sections.strings(endian, data, link);
        collect_versions::<Elf, R>(section, endian, data, &strings, &mut versions)?;
    }
    let mut symbols = DynamicSymbols::default();
    for (index, symbol) in table.enumerate() {
        let bind = symbol.st_bind();
        let kind = symbol.st_type();
        let is_global = bind != elf::STB_LOCAL && symbol.st_name(endian) != 0;
        if !is_global || kind == elf::STT_SECTION || kind == elf::STT_FILE {
            continue;
        }
        let Ok(name) = std::str::from_utf8(table.symbol_name(endian, symbol)?) else {
            return Err(ElfFault::Text);
        };
        let number = version_number(numbers, endian, index);
        let version = versions.get(&(number & elf::VERSYM_VERSION));
        let name = SymbolName { name: name.to_owned(), version: version.map(|version| version.name.clone()) };
        if symbol.is_undefined(endian) {
            if bind != elf::STB_WEAK {
                let library = version.and_then(|version| version.library.clone());
                symbols.imported.insert(ImportedSymbol { symbol: name, library });
            }
            continue;
        }
        let visibility = symbol.st_visibility();
        let is_visible = visibility != elf::STV_HIDDEN && visibility != elf::STV_INTERNAL;
        // The symbol of a version itself, and what a version script made local.
        let is_marker = symbol.st_shndx(endian) == elf::SHN_ABS && name.version.as_ref() == Some(&name.name);
        if is_visible && !is_marker && number & elf::VERSYM_VERSION != elf::VER_NDX_LOCAL.0 {
            let kind = kind_of(kind);
            let has_size = matches!(kind, SymbolKind::Object | SymbolKind::ThreadLocal);
            let size = if has_size { symbol.st_size(endian).into() } else { 0 };
            let is_default = number & elf::VERSYM_HIDDEN.0 == 0;
            symbols.exported.insert(name, ExportedSymbol { kind, size, is_default });
        }
    }
    Ok(symbols)
}

fn kind_of(kind: elf::SymbolType) -> SymbolKind {
    match kind {
        elf::STT_FUNC => SymbolKind::Function,
        elf::STT_GNU_IFUNC => SymbolKind::IndirectFunction,
        elf::STT_OBJECT | elf::STT_COMMON => SymbolKind::Object,
        elf::STT_TLS => SymbolKind::ThreadLocal,
        _ => SymbolKind::Other,
    }
}

/// A version of symbols: defined, or needed of a library.
struct Version {
    name: String,
    library: Option<String>,
}

/// Returns the number of a symbol's version; that of symbols without one where there is no table.
fn version_number(numbers: &[elf::Versym<Endianness>], endian: Endianness, index: SymbolIndex) -> u16 {
    numbers.get(index.0).map_or(elf::VER_NDX_GLOBAL.0, |number| number.0.get(endian).0)
}

/// Adds the versions that a section defines or needs. What chains of entries say is followed only so far: they can be
/// made to overlap without end.
fn collect_versions<'data, Elf, R>(
    section: &Elf::SectionHeader,
    endian: Endianness,
    data: R,
    strings: &dyn Fn(SectionIndex) -> object::read::Result<StringTable<'data, R>>,
    versions: &mut BTreeMap<u16, Version>,
) -> Result<(), ElfFault>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ElfFault::Text);
    let too_many = ElfFault::TooMany { what: "symbol versions", most: MOST_VERSIONS };
    let mut left = MOST_VERSIONS;
    let mut count = move || {
        left = left.saturating_sub(1);
        if left == 0 { Err(too_many.clone()) } else { Ok(()) }
    };
    if let Some((mut definitions, link)) = section.gnu_verdef(endian, data)? {
        let strings = strings(link)?;
        while let Some((definition, mut names)) = definitions.next()? {
            count()?;
            // The first name is its own; further ones are those of versions that it continues.
            let is_file = definition.vd_flags.get(endian).contains(elf::VER_FLG_BASE);
            if let (false, Some(name)) = (is_file, names.next()?) {
                let name = text(name.name(endian, strings)?)?;
                versions.insert(definition.vd_ndx.get(endian).0, Version { name, library: None });
            }
        }
    }
    if let Some((mut needs, link)) = section.gnu_verneed(endian, data)? {
        let strings = strings(link)?;
        while let Some((need, mut names)) = needs.next()? {
            count()?;
            let library = text(need.file(endian, strings)?)?;
            while let Some(name) = names.next()? {
                count()?;
                let number = name.vna_other.get(endian).0 & elf::VERSYM_VERSION;
                let name = text(name.name(endian, strings)?)?;
                versions.insert(number, Version { name, library: Some(library.clone()) });
            }
        }
    }
    Ok(())
}

/// Returns whether exports contain what somebody imports, as the loader looks for it: under the version that is asked
/// for, and under the default one where none is. A library without any versions serves all.
fn satisfies(exported: &BTreeMap<SymbolName, ExportedSymbol>, wanted: &SymbolName) -> bool {
    if exported.contains_key(wanted) {
        return true;
    }
    let unversioned = SymbolName { name: wanted.name.clone(), version: None };
    if wanted.version.is_some() {
        return exported.contains_key(&unversioned);
    }
    let same_name = exported.range(unversioned..).take_while(|(name, _)| name.name == wanted.name);
    same_name.into_iter().any(|(_, symbol)| symbol.is_default)
}

/// What differs between the exported symbols of a library in two builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SymbolDifference {
    /// Symbols that only the new build has.
    pub added: BTreeSet<SymbolName>,
    /// Symbols that were in the old build and that nobody finds in the new one: who uses one cannot be started, or ends
    /// where it is used.
    pub removed: BTreeSet<SymbolName>,
    /// Symbols that are in both and are not the same: both sides.
    pub changed: BTreeMap<SymbolName, [ExportedSymbol; 2]>,
}

impl SymbolDifference {
    /// Compares what a library exports in two builds.
    pub fn new(
        old: &BTreeMap<SymbolName, ExportedSymbol>,
        new: &BTreeMap<SymbolName, ExportedSymbol>,
    ) -> Self {
        let removed = old.keys().filter(|name| !satisfies(new, name)).cloned().collect();
        let added = new.keys().filter(|name| !old.contains_key(*name)).cloned().collect();
        let pairs = old.iter().filter_map(|(name, before)| Some((name, [*before, *new.get(name)?])));
        let changed = pairs.filter(|(_, [before, after])| before != after);
        Self { added, removed, changed: changed.map(|(name, sides)| (name.clone(), sides)).collect() }
    }

    /// Returns whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Returns which of the removed symbols of a library a file imports from it.
    pub fn missed(&self, soname: &str, imported: &BTreeSet<ImportedSymbol>) -> BTreeSet<SymbolName> {
        let from_it = |import: &&ImportedSymbol| {
            import.library.as_deref().is_none_or(|library| library == soname)
                && match import.symbol.version {
                    Some(_) => self.removed.contains(&import.symbol),
                    // It meant the default version of then, whichever that was.
                    None => self.removed.iter().any(|removed| removed.name == import.symbol.name),
                }
        };
        imported.iter().filter(from_it).map(|import| import.symbol.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compiled, compile};

    fn library(source: &str) -> DynamicSymbols {
        let bytes = compile(Compiled { source, options: &["-shared", "-nostdlib", "-Wl,-soname,libx.so.1"] });
        read_symbols(&bytes[..]).unwrap()
    }

    fn names(symbols: &BTreeSet<SymbolName>) -> Vec<String> {
        symbols.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn exports_and_imports_are_told_apart_with_their_versions() {
        let symbols = library(
            "// map: X_1 { global: f; table; local: *; };\n\
             int table[4] = {1}; int hidden; extern int other(void); extern int maybe(void) __attribute__((weak));\n\
             int f(void) { return other() + (maybe ? maybe() : 0) + hidden; }",
        );
        let exported: Vec<String> =
            symbols.exported.iter().map(|(name, symbol)| format!("{name}: {symbol}")).collect();
        assert_eq!(exported, ["f@X_1: function", "table@X_1: object of 16 bytes"]);
        let imported: Vec<String> = symbols.imported.iter().map(|import| import.symbol.to_string()).collect();
        assert_eq!(imported, ["other"]);
    }

    #[test]
    fn differences_are_what_somebody_would_notice() {
        let old = library("int a[2] = {1}; int f(void) { return 1; } int g(void) { return 2; }");
        let new = library("int a[4] = {1}; int f(void) { return 3; } int h(void) { return 2; }");
        let difference = SymbolDifference::new(&old.exported, &new.exported);
        assert_eq!(
            (names(&difference.removed), names(&difference.added)),
            (vec!["g".into()], vec!["h".into()])
        );
        let changed: Vec<String> = difference
            .changed
            .iter()
            .map(|(name, [before, after])| format!("{name}: {before} -> {after}"))
            .collect();
        assert_eq!(changed, ["a: object of 8 bytes -> object of 16 bytes"]);
        assert!(SymbolDifference::new(&old.exported, &old.exported).is_empty());
    }

    #[test]
    fn versions_matter_as_they_do_for_the_loader() {
        let plain = library("int f(void) { return 1; }");
        let one = library("// map: X_1 { global: f; local: *; };\nint f(void) { return 1; }");
        let two = library("// map: X_2 { global: f; local: *; };\nint f(void) { return 1; }");
        let removed = |old: &DynamicSymbols, new: &DynamicSymbols| {
            names(&SymbolDifference::new(&old.exported, &new.exported).removed)
        };
        // Who was linked before there were versions finds the default one.
        assert!(removed(&plain, &one).is_empty());
        assert!(removed(&one, &plain).is_empty());
        assert_eq!(removed(&one, &two), ["f@X_1"]);
    }

    #[test]
    fn who_misses_what_is_removed_is_found_by_library_and_version() {
        let import = |name: &str, version: Option<&str>, library: Option<&str>| ImportedSymbol {
            symbol: SymbolName { name: name.to_owned(), version: version.map(str::to_owned) },
            library: library.map(str::to_owned),
        };
        let removed = [("f", Some("X_1")), ("g", None)];
        let difference = SymbolDifference {
            removed: removed.iter().map(|(name, version)| import(name, *version, None).symbol).collect(),
            ..SymbolDifference::default()
        };
        for (name, version, library, expected) in [
            ("f", Some("X_1"), Some("libx.so.1"), true),
            ("f", Some("X_1"), Some("liby.so.1"), false),
            ("f", Some("X_2"), Some("libx.so.1"), false),
            ("f", None, None, true),
            ("g", None, None, true),
            ("h", None, None, false),
        ] {
            let imported = [import(name, version, library)].into();
            assert_eq!(!difference.missed("libx.so.1", &imported).is_empty(), expected, "{name} {version:?}");
        }
    }
}
