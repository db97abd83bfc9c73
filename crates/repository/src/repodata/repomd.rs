//! `repomd.xml`: which metadata files a repository has, and their checksums.

use std::fmt::Write;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use sha2::{Digest, Sha256, Sha512};

use super::BadRepodata;

/// Where it is in a repository.
pub(crate) const NAME: &str = "repodata/repomd.xml";
/// More than any real `repomd.xml` has.
pub(crate) const MAXIMUM_BYTES: u64 = 1 << 20;

/// One metadata file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: String,
    pub(super) location: String,
    pub(super) checksum: Checksum,
    /// Of the decompressed data, where stated.
    pub(super) open_checksum: Option<Checksum>,
    pub(super) timestamp: u64,
    pub(super) size: Option<u64>,
    pub(super) open_size: Option<u64>,
}

/// A checksum with the name of its algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) kind: String,
    pub(super) digits: String,
}

impl Checksum {
    pub(super) fn sha256(bytes: &[u8]) -> Self {
        Self { kind: "sha256".into(), digits: hexadecimal(&Sha256::digest(bytes)) }
    }

    /// Checks that some bytes have this checksum; `which` is `compressed` or `open`.
    pub(super) fn verify(&self, which: &'static str, bytes: &[u8]) -> Result<(), BadRepodata> {
        let found = match self.kind.as_str() {
            "sha256" => hexadecimal(&Sha256::digest(bytes)),
            "sha512" => hexadecimal(&Sha512::digest(bytes)),
            other => return Err(BadRepodata::ChecksumType { kind: other.to_owned() }),
        };
        if found.eq_ignore_ascii_case(&self.digits) {
            Ok(())
        } else {
            Err(BadRepodata::Checksum { kind: which, expected: self.digits.clone(), found })
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Parses `repomd.xml`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Record>, BadRepodata> {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    let mut records = Vec::new();
    let mut record: Option<Record> = None;
    let mut element = String::new();
    let mut text = String::new();
    let mut kind = String::new();
    let mut ended = false;
    loop {
        match reader.read_event().map_err(xml)? {
            Event::Start(start) | Event::Empty(start) => {
                element = name(&start);
                text.clear();
                match (element.as_str(), &mut record) {
                    ("data", _) => {
                        record = Some(Record { kind: attribute(&start, "type")?, ..Record::default() });
                    }
                    ("location", Some(record)) => record.location = attribute(&start, "href")?,
                    ("checksum" | "open-checksum", _) => kind = attribute(&start, "type")?,
                    _ => {}
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::End(end) => {
                let closed = end.name();
                let closed = closed.as_ref();
                if let Some(record) = &mut record {
                    set(record, closed, text.trim(), &kind)?;
                }
                text.clear();
                if closed == "data" {
                    records.extend(record.take());
                }
                ended |= closed == "repomd";
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !ended || element.is_empty() {
        return Err(BadRepodata::CutShort { expected: "</repomd>" });
    }
    Ok(records)
}

fn set(record: &mut Record, element: &str, text: &str, kind: &str) -> Result<(), BadRepodata> {
    let number = |what| text.parse().map_err(|_| BadRepodata::Value { what });
    let checksum = || Checksum { kind: kind.to_owned(), digits: text.to_owned() };
    match element {
        "checksum" => record.checksum = checksum(),
        "open-checksum" => record.open_checksum = Some(checksum()),
        "size" => record.size = Some(number("a size in repomd.xml")?),
        "open-size" => record.open_size = Some(number("an open-size in repomd.xml")?),
        // Some tools write fractions of seconds.
        "timestamp" => {
            record.timestamp = text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0);
        }
        _ => {}
    }
    Ok(())
}

fn name(start: &BytesStart<'_>) -> String {
    start.name().as_ref().to_owned()
}

fn attribute(start: &BytesStart<'_>, name: &'static str) -> Result<String, BadRepodata> {
    let found = start.try_get_attribute(name).map_err(xml)?.ok_or(BadRepodata::Value { what: name })?;
    Ok(found.normalized_value(XmlVersion::Implicit1_0).map_err(xml)?.into_owned())
}

fn xml(error: impl std::fmt::Display) -> BadRepodata {
    BadRepodata::Xml { message: error.to_string() }
}

/// Renders `repomd.xml`; every value is a number, a checksum or a name made here, so nothing needs escaping.
pub(super) fn render(revision: u64, records: &[Record]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str("<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n");
    let mut line = |indent: usize, content: String| {
        text.extend(std::iter::repeat_n(' ', indent));
        text.push_str(&content);
        text.push('\n');
    };
    line(2, format!("<revision>{revision}</revision>"));
    for record in records {
        line(2, format!("<data type=\"{}\">", record.kind));
        line(4, format!("<checksum type=\"{}\">{}</checksum>", record.checksum.kind, record.checksum.digits));
        if let Some(open) = &record.open_checksum {
            line(4, format!("<open-checksum type=\"{}\">{}</open-checksum>", open.kind, open.digits));
        }
        line(4, format!("<location href=\"{}\"/>", record.location));
        line(4, format!("<timestamp>{}</timestamp>", record.timestamp));
        for (name, size) in [("size", record.size), ("open-size", record.open_size)] {
            if let Some(size) = size {
                line(4, format!("<{name}>{size}</{name}>"));
            }
        }
        line(2, "</data>".into());
    }
    line(0, "</repomd>".into());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        Record {
            kind: "primary".into(),
            location: "repodata/abc-primary.xml.zst".into(),
            checksum: Checksum::sha256(b"packed"),
            open_checksum: Some(Checksum::sha256(b"plain")),
            timestamp: 17,
            size: Some(6),
            open_size: Some(5),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let records = vec![record(), Record { kind: "other".into(), ..record() }];
        assert_eq!(parse(render(3, &records).as_bytes()).unwrap(), records);
    }

    /// The parser of rpmrepo_metadata loops for ever on some of these (crates.md, fact 5).
    #[test]
    fn every_truncation_ends_with_an_error() {
        let text = render(3, &[record()]);
        let end = text.trim_end().len();
        for length in 0..end {
            assert!(parse(&text.as_bytes()[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_checksum_is_checked_by_its_kind() {
        let good = Checksum::sha256(b"x");
        good.verify("open", b"x").unwrap();
        assert!(matches!(good.verify("open", b"y"), Err(BadRepodata::Checksum { .. })));
        let weak = Checksum { kind: "md5".into(), digits: String::new() };
        assert!(matches!(weak.verify("open", b"x"), Err(BadRepodata::ChecksumType { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(<(repomd|data|/data|checksum|size|location href=\"x\"/)[ a-z=\"]{0,9}>|[a-z0-9<&;\"]{0,5}){0,12}") {
            let _ = parse(text.as_bytes());
        }
    }
}
