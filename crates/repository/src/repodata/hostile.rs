//! Metadata that is wrong on purpose, each with the right checksum: what is refused, and with which words.

use std::io::Write;

use rpm_model::PackageOrigin;

use super::checksum::Checksum;
use super::*;
use crate::IndexedPackage;
use crate::testing::Scratch;

/// A repository of documents as they are given.
struct Documents {
    scratch: Scratch,
    records: Vec<repomd::Record>,
}

impl Documents {
    fn new() -> Self {
        Self { scratch: Scratch::new(), records: Vec::new() }
    }

    /// Adds a file of any content; the checksum announced for it is right.
    fn with(mut self, kind: &str, extension: &str, bytes: &[u8]) -> Self {
        let location = format!("repodata/{kind}.{extension}");
        self.scratch.write(&location, bytes);
        let checksum = Checksum::sha256(bytes);
        self.records.push(repomd::Record { kind: kind.to_owned(), location, checksum, ..Default::default() });
        self
    }

    fn change(mut self, change: impl Fn(&mut repomd::Record)) -> Self {
        self.records.iter_mut().for_each(change);
        self
    }

    fn read(&self, locations: LocationPolicy) -> Result<Vec<IndexedPackage>, String> {
        self.scratch.write("repodata/repomd.xml", repomd::render(1, &self.records).as_bytes());
        let options = ReadOptions { locations, ..ReadOptions::new(PackageOrigin::Base) };
        read_repository_with(&DirectoryFetch::new(self.scratch.path()), &options)
            .map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        let error = self.read(LocationPolicy::BelowRepository).unwrap_err();
        assert!(error.contains(expected), "expected `{expected}` in `{error}`");
        assert!(error.len() < 600 && !error.contains('\n'), "{error}");
    }
}

fn primary(text: &str) -> Documents {
    Documents::new().with("primary", "xml", text.as_bytes())
}

fn metadata(count: usize, packages: &str) -> String {
    format!("<metadata packages=\"{count}\">{packages}</metadata>")
}

const SHA256: &str =
    "<checksum type=\"sha256\">0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef</checksum>";
const VERSION: &str = "<version epoch=\"0\" ver=\"1\" rel=\"1\"/>";
const LOCATION: &str = "<location href=\"a-1-1.noarch.rpm\"/>";

/// A good package but for what is put in the place of its parts.
fn package(replacements: &[(&str, &str)]) -> String {
    let mut text = format!(
        "<package type=\"rpm\"><name>a</name><arch>noarch</arch>{VERSION}{SHA256}{LOCATION}\
         <format><rpm:requires xmlns:rpm=\"x\"><rpm:entry name=\"b\"/></rpm:requires></format></package>"
    );
    for (old, new) in replacements {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

#[test]
fn the_good_package_is_good() {
    let packages = primary(&metadata(1, &package(&[]))).read(LocationPolicy::BelowRepository).unwrap();
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0].header.nevra.to_string(), "a-1-1.noarch");
    assert_eq!(packages[0].header.requires.len(), 1);
}

#[test]
fn every_truncation_ends_with_an_error() {
    let text = metadata(1, &package(&[]));
    for length in 0..text.len() {
        let error = primary(&text[..length]).read(LocationPolicy::BelowRepository).unwrap_err();
        assert!(!error.is_empty());
    }
    primary(&text[..text.len() - 1]).check("not well-formed");
    primary(&text[..text.len() - 11]).check("does not end with `</metadata>`");
    let lists = "<filelists packages=\"1\"><package pkgid=\"12\" name=\"a\" arch=\"x\"><file>/a</file></package></filelists>";
    for length in 0..lists.len() {
        let documents = primary(&text).with("filelists", "xml", &lists.as_bytes()[..length]);
        documents.read(LocationPolicy::BelowRepository).unwrap_err();
    }
}

#[test]
fn what_is_no_document_of_packages_is_refused() {
    for (text, expected) in [
        ("", "cut short"),
        ("not XML", "text outside the root"),
        ("<metadata></metadata>", "packages is missing"),
        ("<metadata packages=\"x\"></metadata>", "the number of packages is missing or malformed"),
        ("<metadata packages=\"-1\"/>", "the number of packages is missing or malformed"),
        ("<metadata packages=\"99999999999\"/>", "the number of packages is missing or malformed"),
        ("<filelists packages=\"0\"/>", "`filelists` stands where only one `metadata` may"),
        ("<metadata packages=\"0\"/><metadata packages=\"0\"/>", "`metadata` stands where only one"),
        ("<metadata packages=\"0\"/>more", "text outside the root"),
        ("<metadata packages=\"0\"></filelists>", "not well-formed"),
        ("<?xml version=\"1.0\" encoding=\"UTF-16\"?><metadata packages=\"0\"/>", "its encoding is `utf-16`"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><metadata packages=\"0\"/>", "it has a document type"),
        ("<metadata packages=\"0\">&lol;</metadata>", "it uses the entity `lol`"),
        ("<metadata packages=\"&lol;\"/>", "entity"),
        ("<metadata packages=\"0\">&#xFFFFFFFF;</metadata>", "not well-formed"),
        ("<metadata packages=\"2\"></metadata>", "0 packages, 2 announced"),
        ("<metadata packages=\"1\"><x/></metadata>", "`x` stands where only packages may"),
    ] {
        primary(text).check(expected);
    }
    primary(&metadata(1, &package(&[]).repeat(2))).check("2 packages, 1 announced");
    Documents::new()
        .with("primary", "xml", b"<metadata packages=\"0\">\xff\xfe</metadata>")
        .check("not well-formed");
}

#[test]
fn a_package_must_make_sense() {
    for (replacements, expected) in [
        (&[("<name>a</name>", "<name></name>")][..], "package number 1: `` is no name"),
        (&[("<name>a</name>", "<name>../../etc/a</name>")], "`../../etc/a` is no name"),
        (&[("<name>a</name>", "<name>a/b</name>")], "`a/b` is no name"),
        (&[("<name>a</name>", "<name>a&#10;b</name>")], "`a\\nb` is no name"),
        (&[("<name>a</name>", "<name>a b</name>")], "`a b` is no name"),
        (&[("noarch</arch>", "no/arch</arch>")], "`no/arch` is no architecture"),
        (&[("<arch>noarch</arch>", "")], "`` is no architecture"),
        (&[(VERSION, "")], "package a: it has no version"),
        (&[("ver=\"1\"", "ver=\"1-2\"")], "`1-2-1` is no version"),
        (&[("ver=\"1\"", "ver=\"1/2\"")], "`1/2-1` is no version"),
        (&[("rel=\"1\"", "")], "`1-` is no version"),
        (&[("epoch=\"0\"", "epoch=\"x\"")], "the epoch is not a number"),
        (&[(LOCATION, "")], "it has no location"),
        (&[("a-1-1.noarch.rpm", "../a.rpm")], "leads out of the repository"),
        (&[("a-1-1.noarch.rpm", "/a.rpm")], "is absolute"),
        (&[("href", "xml:base=\"https://elsewhere\" href")], "outside the repository"),
        (&[("type=\"sha256\"", "type=\"sha\"")], "package a: its checksum is not a sha256 (type `sha`)"),
        (&[("0123456789abcdef0123", "1")], "package a: its checksum is not a sha256 (type `sha256`)"),
        (&[(SHA256, "")], "package a: its checksum is not a sha256 (type ``)"),
        (&[("name=\"b\"", "name=\"\"")], "`` is no name of a dependency"),
        (&[("name=\"b\"", "name=\"b\" flags=\"XX\" ver=\"1\"")], "the comparison `XX`"),
        (&[("name=\"b\"", "name=\"(b and\"")], "package a: "),
    ] {
        primary(&metadata(1, &package(replacements))).check(expected);
    }
    let long = format!("<name>{}</name>", "a".repeat(300));
    primary(&metadata(1, &package(&[("<name>a</name>", &long)]))).check("longer than a file's may be");
}

#[test]
fn contradictions_between_packages_are_refused_and_repetitions_are_not() {
    let twice = |second: &[(&str, &str)]| primary(&metadata(2, &(package(&[]) + &package(second))));
    let names = |documents: Documents| -> Vec<String> {
        let packages = documents.read(LocationPolicy::BelowRepository).unwrap();
        packages.iter().map(|package| package.path.display().to_string()).collect()
    };
    assert_eq!(names(twice(&[])), ["a-1-1.noarch.rpm"]);
    assert_eq!(names(twice(&[("a-1-1.noarch.rpm", "b/a-1-1.noarch.rpm")])), ["a-1-1.noarch.rpm"]);
    let other_content = ("0123456789abcdef0123", "99999999999999999999");
    let elsewhere = ("a-1-1.noarch.rpm", "b/a-1-1.noarch.rpm");
    assert_eq!(names(twice(&[other_content, elsewhere])).len(), 2, "the same NEVRA built twice");
    twice(&[other_content]).check("it has the location of a-1-1.noarch");
    twice(&[("<name>a", "<name>z")]).check("z-1-1.noarch: it has the checksum of a-1-1.noarch");
    // Source packages count, and are left out.
    assert_eq!(names(twice(&[("noarch</arch>", "src</arch>"), other_content, elsewhere])).len(), 1);
}

#[test]
fn an_address_of_its_own_is_allowed_on_request() {
    let text = package(&[("href", "xml:base=\"https://elsewhere/x\" href")]);
    let packages = primary(&metadata(1, &text)).read(LocationPolicy::OtherAddresses).unwrap();
    assert_eq!(packages[0].path.to_str(), Some("https://elsewhere/x/a-1-1.noarch.rpm"));
}

#[test]
fn depth_size_and_attributes_are_limited() {
    let deep = format!("<package>{}", "<x>".repeat(100_000));
    primary(&format!("<metadata packages=\"0\">{deep}")).check("nested more than 16 deep");
    let huge = "x".repeat(2 << 20);
    for text in [
        format!("<metadata packages=\"0\" x=\"{huge}\"/>"),
        format!("<metadata packages=\"0\" x=\"{huge}"),
        format!("<metadata packages=\"0\" x=\"{}\"/>", "<".repeat(2 << 20)),
        format!("<metadata packages=\"0\">{huge}</metadata>"),
        format!("<metadata packages=\"0\"><!--{huge}--></metadata>"),
        format!("<metadata packages=\"0\"><![CDATA[{huge}]]></metadata>"),
        format!("<{huge}"),
    ] {
        primary(&text).check("a tag or a text is larger than 1048576 bytes");
    }
    let many: String = (0..10_000).map(|number| format!(" a{number}=\"\"")).collect();
    primary(&format!("<metadata{many} packages=\"0\"/>")).check("has more than 32 attributes");
}

/// Returns a document that begins well and goes on with `count` blanks, compressed.
fn bomb(extension: &str, count: usize) -> Vec<u8> {
    let mut packed = Vec::new();
    let block = vec![b' '; 1 << 20];
    let fill = |writer: &mut dyn Write| {
        writer.write_all(b"<metadata packages=\"0\">").unwrap();
        for _ in 0..count >> 20 {
            writer.write_all(&block).unwrap();
            writer.write_all(b"<!---->").unwrap();
        }
    };
    match extension {
        "xml.gz" => {
            let mut writer = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::best());
            fill(&mut writer);
            writer.finish().unwrap();
        }
        "xml.zst" => {
            let mut writer = zstd::stream::write::Encoder::new(&mut packed, 3).unwrap();
            fill(&mut writer);
            writer.finish().unwrap();
        }
        "xml.xz" => {
            let mut writer = liblzma::write::XzEncoder::new(&mut packed, 1);
            fill(&mut writer);
            writer.finish().unwrap();
        }
        _ => {
            let mut writer = bzip2::write::BzEncoder::new(&mut packed, bzip2::Compression::best());
            fill(&mut writer);
            writer.finish().unwrap();
        }
    }
    packed
}

#[test]
fn a_bomb_is_stopped_whatever_size_it_announces() {
    for extension in ["xml.gz", "xml.zst", "xml.xz", "xml.bz2"] {
        let packed = bomb(extension, 1 << 26);
        assert!(packed.len() < 1 << 20, "{extension}: {}", packed.len());
        let documents = Documents::new().with("primary", extension, &packed);
        documents.check("bytes when decompressed");
        documents.change(|record| record.open_size = Some(u64::MAX)).check("bytes when decompressed");
    }
    let documents = Documents::new().with("primary", "xml.gz", &bomb("xml.gz", 1 << 21));
    documents.change(|record| record.open_size = Some(100)).check("larger than 100 bytes when decompressed");
}

#[test]
fn what_does_not_decompress_is_refused() {
    for extension in ["xml.gz", "xml.zst", "xml.xz", "xml.bz2"] {
        let packed = bomb(extension, 1 << 20);
        Documents::new()
            .with("primary", extension, b"<metadata packages=\"0\"/>")
            .check("it does not decompress");
        Documents::new().with("primary", extension, &packed[..packed.len() / 2]).check("it ");
    }
    Documents::new().with("primary", "xml.lz4", b"").check("none of zst, gz, xz, bz2");
    Documents::new().with("primary", "sqlite", b"").check("none of zst, gz, xz, bz2");
}

/// An xz stream whose dictionary would take 1 GiB, and a zstd frame that wants as large a window.
#[test]
fn a_decoder_gets_no_more_memory_than_it_needs() {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(1 << 30);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
    let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    writer.write_all(b"<metadata packages=\"0\"/>").unwrap();
    Documents::new().with("primary", "xml.xz", &writer.finish().unwrap()).check("it does not decompress");
    // Magic, a descriptor without a content size, a window of 2^(10 + 20) bytes, one empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00];
    Documents::new().with("primary", "xml.zst", &frame).check("it does not decompress");
}

#[test]
fn the_index_itself_is_not_trusted() {
    let good = || primary(&metadata(0, ""));
    good().change(|record| record.location = "../primary.xml".into()).check("leads out of the repository");
    good().change(|record| record.location = "/etc/passwd".into()).check("is absolute");
    good().change(|record| record.location = "https://a/primary.xml".into()).check("leads out of");
    good().change(|record| record.checksum.kind = "sha1".into()).check("make the metadata again with");
    good()
        .change(|record| record.checksum.digits.replace_range(..4, "0000"))
        .check("compressed checksum differs");
    good().change(|record| record.size = Some(3)).check("larger than 3 bytes");
    let wrong = Checksum::sha256(b"other");
    good().change(|record| record.open_checksum = Some(wrong.clone())).check("the open checksum differs");
}
