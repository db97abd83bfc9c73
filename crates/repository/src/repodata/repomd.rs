//! `repomd.xml`: which metadata files a repository has, and their checksums.

use super::BadRepodata;
use super::checksum::Checksum;
use super::location::{check_relative, shown};
use super::stream::{Element, Expected, Visitor, visit};

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

/// Parses `repomd.xml`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Record>, BadRepodata> {
    let mut collector = RecordCollector::default();
    let expected = Expected { limit: MAXIMUM_BYTES, checksum: None, root: "repomd" };
    visit(bytes, expected, &mut collector)?;
    Ok(collector.records)
}

/// Collects the records of `repomd.xml`.
#[derive(Default)]
struct RecordCollector {
    records: Vec<Record>,
    record: Option<Record>,
    /// The element inside a record, and its `type`.
    element: String,
    kind: String,
    text: String,
}

impl Visitor for RecordCollector {
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadRepodata> {
        match (depth, element.name(), &mut self.record) {
            (2, "data", _) => {
                self.record = Some(Record { kind: element.attribute("type")?, ..Record::default() });
            }
            (3, name, Some(record)) => {
                name.clone_into(&mut self.element);
                match name {
                    "location" => {
                        let href = element.attribute("href")?;
                        check_relative(&href)
                            .map_err(|problem| BadRepodata::Record { kind: shown(&record.kind), problem })?;
                        record.location = href;
                    }
                    "checksum" | "open-checksum" => self.kind = element.attribute("type")?,
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, depth: usize, text: &str) {
        if depth == 3 {
            self.text.push_str(text);
        }
    }

    fn close(&mut self, depth: usize) -> Result<(), BadRepodata> {
        match depth {
            2 => self.records.extend(self.record.take()),
            3 => {
                if let Some(record) = &mut self.record {
                    set(record, &self.element, self.text.trim(), &self.kind)?;
                }
                self.text.clear();
            }
            _ => {}
        }
        Ok(())
    }
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

    /// Other parsers loop for ever on some of these.
    #[test]
    fn every_truncation_ends_with_an_error() {
        let text = render(3, &[record()]);
        let end = text.trim_end().len();
        for length in 0..end {
            assert!(parse(&text.as_bytes()[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(<(repomd|data|/data|checksum|size|location href=\"x\"/)[ a-z=\"]{0,9}>|[a-z0-9<&;\"]{0,5}){0,12}") {
            let _ = parse(text.as_bytes());
        }
    }
}
