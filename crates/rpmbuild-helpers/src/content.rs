//! What a file is, as far as `file` and the tools for ELF files would tell it apart.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use object::elf;
use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian, ReadCache, ReadRef};

use crate::archive;
use crate::oddity::Oddity;

/// An ELF file with more program or section headers than any compiler makes is left to the script.
const MOST_PROGRAM_HEADERS: u16 = 128;
const MOST_SECTIONS: u16 = 4096;

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Neither of the others, or not to be read by us and so not by the script.
    Other,
    /// An ELF file.
    Elf(ElfFacts),
    /// An archive, as `ar` makes it.
    Archive,
}

/// What is asked of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElfFacts {
    /// A symbol table or debug information is left in it.
    pub(crate) has_symbols: bool,
    /// It has an allocated section that is named `.note` (or any other character before `note`).
    pub(crate) has_allocated_note: bool,
    /// It may be a shared library: its type is that of one, and no flag says that it is a program.
    pub(crate) may_be_library: bool,
}

/// Returns what a regular file is.
pub(crate) fn content(path: &Path) -> Result<Content, Oddity> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // The scripts' tools say so and go on.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Content::Other),
        Err(error) => return Err(Oddity::io("open", path)(error)),
    };
    let mut start = Vec::with_capacity(archive::START);
    file.by_ref().take(archive::START as u64).read_to_end(&mut start).map_err(Oddity::io("read", path))?;
    if start.starts_with(&elf::ELFMAG) {
        let size = file.metadata().map_err(Oddity::io("examine", path))?.len();
        return facts(&ReadCache::new(file), size)
            .map(Content::Elf)
            .ok_or_else(|| Oddity::Elf(path.to_owned()));
    }
    match archive::is_archive(&start) {
        Some(true) => Ok(Content::Archive),
        Some(false) => Ok(Content::Other),
        None => Err(Oddity::Archive(path.to_owned())),
    }
}

/// Returns what is asked of an ELF file, if it is of a common kind and whole.
fn facts<'data, R: ReadRef<'data>>(data: R, size: u64) -> Option<ElfFacts> {
    let header = elf::FileHeader64::<LittleEndian>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let machine = header.e_machine(endian);
    let kind = header.e_type(endian);
    let (sections, programs) = (header.e_shnum(endian), header.e_phnum(endian));
    let table_end = header.e_shoff(endian).checked_add(u64::from(sections) * 64)?;
    let usual = header.e_ident().class == elf::ELFCLASS64
        && [elf::EM_X86_64, elf::EM_AARCH64].contains(&machine)
        && [elf::ET_REL, elf::ET_EXEC, elf::ET_DYN].contains(&kind)
        && (1..=MOST_SECTIONS).contains(&sections)
        && programs <= MOST_PROGRAM_HEADERS
        && table_end <= size;
    if !usual {
        return None;
    }
    let table = header.sections(endian, data).ok()?;
    let mut facts =
        ElfFacts { has_symbols: false, has_allocated_note: false, may_be_library: kind == elf::ET_DYN };
    for section in table.iter() {
        let name = table.section_name(endian, section).ok()?;
        let place = section.sh_offset(endian).checked_add(section.sh_size(endian))?;
        if section.sh_type(endian) != elf::SHT_NOBITS && place > size {
            return None;
        }
        facts.has_symbols |= section.sh_type(endian) == elf::SHT_SYMTAB || name == b".debug_info";
        let is_note = name.strip_suffix(b"note").is_some_and(|rest| rest.len() <= 1);
        let allocated = section.sh_flags(endian) & elf::SHF_ALLOC != elf::SectionFlags(0);
        facts.has_allocated_note |= is_note && allocated;
        if let Some((entries, _)) = section.dynamic(endian, data).ok()? {
            let flagged = |entry: &&elf::Dyn64<LittleEndian>| {
                entry.d_tag.get(endian) == elf::DT_FLAGS_1 && entry.d_val.get(endian) & elf::DF_1_PIE.0 != 0
            };
            facts.may_be_library &= !entries.iter().any(|entry| flagged(&entry));
        }
    }
    Some(facts)
}
