//! What one ELF file says of the libraries that it is, needs and looks for.
//!
//! What is read is what the loader reads: the program headers and the dynamic segment that they name, not the
//! sections. Nothing in a file is believed: every number is checked against the file's size, and of what there may be
//! many only so many are read.
//!
//! What it is not: it looks for no library ([`crate::needs`]).

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadRef, StringTable};

/// More entries of a dynamic segment than any linker makes.
const MOST_ENTRIES: usize = 1 << 16;

/// More needed libraries, or bytes of a name or path, than any file has a use for.
const MOST_NEEDED: usize = 4096;
const LONGEST_TEXT: usize = 16 << 10;

/// More program headers than any linker makes.
const MOST_SEGMENTS: usize = 4096;

/// What a file is to the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElfKind {
    /// It is started.
    Program,
    /// It is loaded.
    Library,
}

/// An ELF file that the loader has work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElfFile {
    /// Program or library.
    pub kind: ElfKind,
    /// Whether it is one of 64 bits.
    pub is_64bit: bool,
    /// The architecture as `$PLATFORM` names it, for example `x86_64`; empty where that is not known.
    pub platform: &'static str,
    /// Its `SONAME`.
    pub soname: Option<String>,
    /// The libraries that it needs, in the order in which they are loaded.
    pub needed: Vec<String>,
    /// The directories of its `RPATH`, as written.
    pub rpath: Vec<String>,
    /// The directories of its `RUNPATH`, as written; where it has one, no `RPATH` counts for what it needs.
    pub runpath: Option<Vec<String>>,
}

/// Why a file that begins as ELF files do cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfFault {
    /// A header, or what it points to, is not in the file.
    #[error("{0}")]
    Damaged(String),
    /// There are more of them than any linker makes.
    #[error("it has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        most: usize,
    },
    /// A name is no text, or longer than any.
    #[error("a name in it is no text, or has more than {LONGEST_TEXT} bytes")]
    Text,
}

impl From<object::read::Error> for ElfFault {
    fn from(error: object::read::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a file; `None` where it is no ELF file, or one that no loader has work with (objects, core files, statically
/// linked programs).
///
/// # Errors
/// When it begins as an ELF file and is none.
pub fn read_elf<'data, R: ReadRef<'data>>(data: R) -> Result<Option<ElfFile>, ElfFault> {
    match data.read_bytes_at(0, 5) {
        Ok(b"\x7fELF\x01") => read::<elf::FileHeader32<Endianness>, R>(data),
        Ok(b"\x7fELF\x02") => read::<elf::FileHeader64<Endianness>, R>(data),
        _ => Ok(None),
    }
}

fn read<'data, Elf, R>(data: R) -> Result<Option<ElfFile>, ElfFault>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let kind = header.e_type(endian);
    if kind != elf::ET_DYN && kind != elf::ET_EXEC {
        return Ok(None);
    }
    let segments = header.program_headers(endian, data)?;
    if segments.len() > MOST_SEGMENTS {
        return Err(ElfFault::TooMany { what: "segments", most: MOST_SEGMENTS });
    }
    let Some(dynamic) = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) else {
        return Ok(None);
    };
    let entries = dynamic.dynamic(endian, data)?.unwrap_or_default();
    let end = entries.iter().position(|entry| entry.tag(endian) == elf::DT_NULL);
    let entries = &entries[..end.unwrap_or(entries.len())];
    if entries.len() > MOST_ENTRIES {
        return Err(ElfFault::TooMany { what: "dynamic entries", most: MOST_ENTRIES });
    }
    let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian));
    let strings = string_table(&value, segments, endian, data);
    let text = |offset: u64| -> Result<String, ElfFault> {
        let strings = strings.as_ref().ok_or(ElfFault::Text)?;
        let bytes = u32::try_from(offset).ok().and_then(|offset| strings.get(offset).ok());
        let text = bytes.filter(|bytes| bytes.len() <= LONGEST_TEXT).map(std::str::from_utf8);
        text.and_then(Result::ok).map(str::to_owned).ok_or(ElfFault::Text)
    };
    let mut needed = Vec::new();
    for entry in entries.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED) {
        if needed.len() == MOST_NEEDED {
            return Err(ElfFault::TooMany { what: "needed libraries", most: MOST_NEEDED });
        }
        needed.push(text(entry.val(endian))?);
    }
    let directories = |tag| -> Result<Option<Vec<String>>, ElfFault> {
        let path = value(tag).map(text).transpose()?;
        Ok(path.map(|path| path.split(':').map(str::to_owned).collect()))
    };
    let is_pie = value(elf::DT_FLAGS_1).is_some_and(|flags| flags & elf::DF_1_PIE.0 != 0);
    // Linkers that know no such flag mark programs alone for debuggers.
    let is_program = kind == elf::ET_EXEC || is_pie || value(elf::DT_DEBUG).is_some();
    Ok(Some(ElfFile {
        kind: if is_program { ElfKind::Program } else { ElfKind::Library },
        is_64bit: header.is_class_64(),
        platform: platform(header.e_machine(endian)),
        soname: value(elf::DT_SONAME).map(text).transpose()?.filter(|soname| !soname.is_empty()),
        needed,
        rpath: directories(elf::DT_RPATH)?.unwrap_or_default(),
        runpath: directories(elf::DT_RUNPATH)?,
    }))
}

/// Returns the strings that dynamic entries refer to. Their place is given as it is in memory.
fn string_table<'data, Segment, R>(
    value: &dyn Fn(elf::DynamicTag) -> Option<u64>,
    segments: &[Segment],
    endian: Endianness,
    data: R,
) -> Option<StringTable<'data, R>>
where
    Segment: ProgramHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let (address, size) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let start =
        segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).find_map(|segment| {
            let (begin, bytes): (u64, u64) =
                (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into());
            let inside = address.checked_sub(begin).filter(|inside| *inside < bytes)?;
            let offset: u64 = segment.p_offset(endian).into();
            offset.checked_add(inside)
        })?;
    let end = start.checked_add(size)?.min(data.len().ok()?);
    (start < end).then(|| StringTable::new(data, start, end))
}

fn platform(machine: elf::Machine) -> &'static str {
    match machine {
        elf::EM_X86_64 => "x86_64",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_386 => "i686",
        elf::EM_RISCV => "riscv64",
        elf::EM_PPC64 => "ppc64le",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Compiled, compile};

    #[test]
    fn what_a_linker_writes_is_read() {
        let library = compile(Compiled {
            source: "int f(void) { return 1; }",
            options: &[
                "-shared",
                "-Wl,-soname,libx.so.1",
                "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../p:/opt/q",
            ],
        });
        let read = read_elf(&library[..]).unwrap().unwrap();
        assert_eq!(
            (read.kind, read.soname.as_deref(), read.is_64bit),
            (ElfKind::Library, Some("libx.so.1"), true)
        );
        assert_eq!(read.runpath.unwrap(), ["$ORIGIN/../p", "/opt/q"]);
        assert!(read.rpath.is_empty());
        let old = compile(Compiled {
            source: "int main(void) { return 0; }",
            options: &["-Wl,--disable-new-dtags,-rpath,/opt/q"],
        });
        let read = read_elf(&old[..]).unwrap().unwrap();
        assert_eq!((read.kind, read.soname), (ElfKind::Program, None));
        assert_eq!((read.rpath, read.runpath), (vec!["/opt/q".to_owned()], None));
        assert!(read.needed.iter().any(|name| name.starts_with("libc.so.")), "{:?}", read.needed);
    }

    #[test]
    fn what_no_loader_reads_is_nothing() {
        let object = compile(Compiled { source: "int f(void) { return 1; }", options: &["-c"] });
        let fixed = compile(Compiled {
            source: "void _start(void) {}",
            options: &["-static", "-nostdlib", "-no-pie"],
        });
        for bytes in [&object[..], &fixed[..], b"#!/bin/sh\n", b"", b"\x7fELF"] {
            assert_eq!(read_elf(bytes), Ok(None));
        }
    }

    fn sample() -> Vec<u8> {
        compile(Compiled {
            source: "int f(void) { return 1; }",
            options: &["-shared", "-nostdlib", "-Wl,-soname,libx.so.1", "-Wl,-rpath,$ORIGIN"],
        })
    }

    #[test]
    fn a_file_that_is_cut_short_ends_with_an_answer() {
        let whole = sample();
        for kept in 0..whole.len() {
            if let Ok(Some(read)) = read_elf(&whole[..kept]) {
                assert_eq!(read.soname.as_deref(), Some("libx.so.1"), "cut at {kept}");
            }
        }
        assert!(read_elf(&whole[..64]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end_with_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for class in [1, 2] {
                let start = [&b"\x7fELF"[..], &[class, 1, 1]].concat();
                let _ = read_elf(&[&start[..], &bytes].concat()[..]);
            }
            let _ = read_elf(&bytes[..]);
        }

        /// Offsets outside the file, counts that are huge, texts without an end: wherever the damage is.
        #[test]
        fn any_damage_ends_with_an_answer(
            damage in proptest::collection::vec((any::<u16>(), any::<u64>()), 1..8)
        ) {
            thread_local!(static SAMPLE: Vec<u8> = sample());
            let mut bytes = SAMPLE.with(Clone::clone);
            let dynamic = dynamic_segment(&bytes);
            for (place, value) in damage {
                // Half of the damage hits the headers and the dynamic segment, word by word.
                let at = match place % 4 {
                    0 => usize::from(place) % 512 / 8 * 8,
                    1 => dynamic + usize::from(place) % 400 / 8 * 8,
                    _ => usize::from(place) % (bytes.len() - 8),
                };
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            let _ = read_elf(&bytes[..]);
            let _ = crate::symbols::read_symbols(&bytes[..]);
        }
    }

    /// Returns where the dynamic segment lies.
    fn dynamic_segment(bytes: &[u8]) -> usize {
        let header = elf::FileHeader64::<Endianness>::parse(bytes).unwrap();
        let endian = header.endian().unwrap();
        let segments = header.program_headers(endian, bytes).unwrap();
        let dynamic = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC).unwrap();
        dynamic.p_offset(endian) as usize
    }
}
