//! Makes tiny Debian packages and ELF libraries for tests.

#![allow(dead_code, reason = "not every test needs everything")]

use bootstrap::DebFileReference;
use object::write::elf::{FileHeader, Writer};
use rpm_model::ContentDigest;
use std::path::Path;

/// A Debian package under construction.
pub(crate) struct TinyDeb {
    name: String,
    control: String,
    postinst: String,
    data: tar::Builder<Vec<u8>>,
}

impl TinyDeb {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        let control =
            format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nDescription: {name}\n long\n");
        Self { name: name.into(), control, postinst: String::new(), data: tar::Builder::new(Vec::new()) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the control fields, as a package index repeats them.
    pub(crate) fn control(&self) -> &str {
        &self.control
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.control.push_str(&format!("{name}: {value}\n"));
        self
    }

    pub(crate) fn source(self, source: &str) -> Self {
        self.field("Source", source)
    }

    pub(crate) fn depends(self, depends: &str) -> Self {
        self.field("Depends", depends)
    }

    pub(crate) fn provides(self, provides: &str) -> Self {
        self.field("Provides", provides)
    }

    pub(crate) fn postinst(mut self, script: &str) -> Self {
        self.postinst = script.into();
        self
    }

    fn add(mut self, path: &str, kind: tar::EntryType, mode: u32, target: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_username("root").unwrap();
        let path = format!(".{path}");
        match target {
            "" => self.data.append_data(&mut header, path, content).unwrap(),
            _ => self.data.append_link(&mut header, path, target).unwrap(),
        }
        self
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.add(path, tar::EntryType::Regular, mode, "", content.as_ref())
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.add(path, tar::EntryType::Directory, 0o755, "", &[])
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Symlink, 0o777, target, &[])
    }

    /// Writes the package into a directory under its usual name.
    pub(crate) fn write(&self, directory: &Path) -> DebFileReference {
        let mut control = tar::Builder::new(Vec::new());
        for (name, text) in [("./control", &self.control), ("./postinst", &self.postinst)] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            control.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        let mut deb = ar::Builder::new(Vec::new());
        let mut data = self.data.get_ref().clone();
        data.extend([0; 1024]);
        let control = zstd::encode_all(&control.into_inner().unwrap()[..], 1).unwrap();
        let data = zstd::encode_all(&data[..], 1).unwrap();
        for (name, bytes) in
            [("debian-binary", &b"2.0\n"[..]), ("control.tar.zst", &control[..]), ("data.tar.zst", &data[..])]
        {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            deb.append(&header, bytes).unwrap();
        }
        let bytes = deb.into_inner().unwrap();
        let version = self.control.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap();
        let path = directory.join(format!("{}_{}_amd64.deb", self.name, version.replace(':', "%3a")));
        std::fs::write(&path, &bytes).unwrap();
        let sha256 = ContentDigest::of_bytes(&bytes);
        DebFileReference { path, sha256 }
    }
}

/// Returns a shared library with this soname that needs these others and contains nothing else.
pub(crate) fn library(soname: &str, needed: &[&str]) -> Vec<u8> {
    use object::elf;
    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut bytes);
    let soname = writer.add_dynamic_string(soname.as_bytes());
    let needed: Vec<_> = needed.iter().map(|name| writer.add_dynamic_string(name.as_bytes())).collect();
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    writer.reserve_dynstr_section_index();
    writer.reserve_dynamic_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_dynstr().unwrap();
    writer.reserve_dynamic(2 + needed.len());
    writer.reserve_shstrtab().unwrap();
    writer.reserve_section_headers();
    writer
        .write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: elf::EM_X86_64,
            e_entry: 0,
            e_flags: elf::FileFlags(0),
        })
        .unwrap();
    writer.write_dynstr();
    writer.write_align_dynamic();
    for name in needed {
        writer.write_dynamic_string(elf::DT_NEEDED, name).unwrap();
    }
    writer.write_dynamic_string(elf::DT_SONAME, soname).unwrap();
    writer.write_dynamic(elf::DT_NULL, 0).unwrap();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_dynstr_section_header(0);
    writer.write_dynamic_section_header(0);
    writer.write_shstrtab_section_header();
    bytes
}
