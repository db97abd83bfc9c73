//! Dependencies of ELF files, equal to what rpm's `elfdeps --assume-exec` prints.
//!
//! `elfdeps` itself is not used: it would be one process per file, needs rpm on the host, and drops the last
//! character of a last input line that has no newline. The rules followed are those of rpm 4.18
//! `tools/elfdeps.c`; `tests/elfdeps.rs` compares both over the libraries of the host.

use object::Endianness;
use object::elf;
use object::read::StringTable;
use object::read::elf::{FileHeader, SectionHeader};
use std::collections::BTreeSet;

/// What one ELF file, or several, provide and require.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElfDependencies {
    /// `libx.so.1()(64bit)`, `libx.so.1(VERSION)(64bit)`.
    pub provides: BTreeSet<String>,
    /// The same of needed libraries, and `rtld(GNU_HASH)`.
    pub requires: BTreeSet<String>,
    /// The `DT_SONAME` of a shared library, or of a library without one nothing.
    pub soname: Option<String>,
}

/// Returns the dependencies of a file's content, nothing when it is no dynamic ELF file or is damaged.
///
/// A library without a soname provides nothing here; rpm would make one up from the file's name, which for
/// private plug-ins is a name that nobody may require.
pub fn elf_dependencies(content: &[u8]) -> ElfDependencies {
    let found = match content.get(..5) {
        Some(b"\x7fELF\x01") => read::<elf::FileHeader32<Endianness>>(content),
        Some(b"\x7fELF\x02") => read::<elf::FileHeader64<Endianness>>(content),
        _ => None,
    };
    found.unwrap_or_default()
}

/// Facts collected from the dynamic section and the version tables.
#[derive(Default)]
struct Facts {
    soname: Option<String>,
    needed: Vec<String>,
    /// (library, version) pairs defined here.
    defined: Vec<(String, String)>,
    /// (library, version) pairs needed from elsewhere.
    wanted: Vec<(String, String)>,
    has_hash: bool,
    has_gnu_hash: bool,
    /// Position-independent programs are `ET_DYN` too; only they have `DT_DEBUG`.
    has_debug: bool,
}

fn read<Elf: FileHeader<Endian = Endianness>>(content: &[u8]) -> Option<ElfDependencies> {
    let header = Elf::parse(content).ok()?;
    let endian = header.endian().ok()?;
    let kind = header.e_type(endian);
    if kind != elf::ET_DYN && kind != elf::ET_EXEC {
        return None;
    }
    let facts = collect(header, endian, content)?;
    // rpm keeps the marker off on two architectures where 64 bits came first; neither is built here.
    let marker = if header.is_class_64() { "(64bit)" } else { "" };
    let mut found = ElfDependencies::default();
    let name = |soname: &str, version: &str| match (version, marker) {
        ("", "") => soname.to_owned(),
        _ => format!("{soname}({version}){marker}"),
    };
    for (soname, version) in &facts.defined {
        found.provides.insert(name(soname, version));
    }
    for (soname, version) in &facts.wanted {
        found.requires.insert(name(soname, version));
    }
    for soname in &facts.needed {
        found.requires.insert(name(soname, ""));
    }
    if facts.has_gnu_hash && !facts.has_hash {
        found.requires.insert("rtld(GNU_HASH)".into());
    }
    if kind == elf::ET_DYN
        && !facts.has_debug
        && let Some(soname) = facts.soname
    {
        found.provides.insert(name(&soname, ""));
        found.soname = Some(soname);
    }
    Some(found)
}

fn collect<Elf: FileHeader<Endian = Endianness>>(
    header: &Elf,
    endian: Endianness,
    content: &[u8],
) -> Option<Facts> {
    let mut facts = Facts::default();
    let sections = header.sections(endian, content).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let table = sections.dynamic_table(endian, content).ok()?;
    for entry in &table {
        let string = || table.string(entry).ok().map(text);
        match entry.tag {
            elf::DT_HASH => facts.has_hash = true,
            elf::DT_GNU_HASH => facts.has_gnu_hash = true,
            elf::DT_DEBUG => facts.has_debug = true,
            elf::DT_SONAME => facts.soname = string(),
            elf::DT_NEEDED => facts.needed.extend(string()),
            _ => {}
        }
    }
    for section in sections.iter() {
        let strings = || -> Option<StringTable<'_>> {
            sections.strings(endian, content, object::SectionIndex(section.sh_link(endian) as usize)).ok()
        };
        if let Ok(Some((mut definitions, _))) = section.gnu_verdef(endian, content) {
            let strings = strings()?;
            let mut soname = String::new();
            while let Ok(Some((definition, mut names))) = definitions.next() {
                let is_base = definition.vd_flags.get(endian).0 & elf::VER_FLG_BASE.0 != 0;
                while let Ok(Some(auxiliary)) = names.next() {
                    let value = text(auxiliary.name(endian, strings).ok()?);
                    if is_base {
                        soname = value;
                    } else if !soname.is_empty() {
                        facts.defined.push((soname.clone(), value));
                    }
                }
            }
        }
        if let Ok(Some((mut needs, _))) = section.gnu_verneed(endian, content) {
            let strings = strings()?;
            while let Ok(Some((need, mut names))) = needs.next() {
                let soname = text(need.file(endian, strings).ok()?);
                while let Ok(Some(auxiliary)) = names.next() {
                    facts.wanted.push((soname.clone(), text(auxiliary.name(endian, strings).ok()?)));
                }
            }
        }
    }
    Some(facts)
}
