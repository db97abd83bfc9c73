//! Lists of mirrors: plain text, and metalink documents that also say what `repomd.xml` must be.

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use rpm_model::ContentDigest;

/// The largest list that is read.
pub(crate) const MAXIMUM_BYTES: u64 = 1 << 20;
/// More mirrors than this are never asked.
const MAXIMUM_MIRRORS: usize = 50;

/// Why a list of mirrors cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMirrorList {
    /// It has no address that can be asked.
    #[error("it names no mirror over http or https")]
    Empty,
    /// It is something else.
    #[error("it is no metalink document: {message}")]
    Xml {
        /// What the parser found.
        message: String,
    },
}

/// The mirrors of a repository, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorList {
    pub(crate) addresses: Vec<String>,
    /// The SHA-256 of `repomd.xml`, where the list says it.
    pub(crate) index: Option<ContentDigest>,
}

/// Reads a text with an address in each line.
pub(crate) fn parse_list(bytes: &[u8]) -> Result<MirrorList, BadMirrorList> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let addresses = lines.filter(|line| is_address(line)).map(str::to_owned).collect();
    finish(addresses, None)
}

/// Reads a metalink document of version 3, which repositories use, or 4.
pub(crate) fn parse_metalink(bytes: &[u8]) -> Result<MirrorList, BadMirrorList> {
    let failed = |message: String| BadMirrorList::Xml { message };
    let mut reader = quick_xml::Reader::from_reader(bytes);
    let (mut path, mut text) = (Vec::<String>::new(), String::new());
    let (mut hash_kind, mut rank) = (String::new(), 0i64);
    let mut mirrors: Vec<(i64, String)> = Vec::new();
    let mut index = None;
    loop {
        match reader.read_event().map_err(|error| failed(error.to_string()))? {
            Event::Start(start) => {
                path.push(start.local_name().into_inner().to_owned());
                text.clear();
                let attribute = |name: &str| -> Result<Option<String>, BadMirrorList> {
                    let found = start.try_get_attribute(name).map_err(|error| failed(error.to_string()))?;
                    let value = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0));
                    let value = value.transpose().map_err(|error| failed(error.to_string()))?;
                    Ok(value.map(|value| value.into_owned()))
                };
                match path.last().map(String::as_str) {
                    Some("hash") => hash_kind = attribute("type")?.unwrap_or_default(),
                    Some("url") => {
                        let number = |text: String| text.parse::<i64>().ok();
                        // A high preference is good (version 3), a high priority bad (version 4).
                        let preference = attribute("preference")?.and_then(number).map(|value| -value);
                        rank = preference.or(attribute("priority")?.and_then(number)).unwrap_or(0);
                    }
                    _ => {}
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(reference) => {
                let entity = quick_xml::escape::resolve_xml_entity(&reference);
                text.push_str(entity.ok_or_else(|| failed(format!("the entity `{}`", &*reference)))?);
            }
            Event::End(_) => {
                // What older versions of the file were is told inside `alternates`.
                let counts = !path.iter().any(|name| name == "alternates");
                match path.pop().as_deref() {
                    Some("url") if counts => {
                        let base = text.trim().strip_suffix("repodata/repomd.xml");
                        mirrors
                            .extend(base.filter(|base| is_address(base)).map(|base| (rank, base.to_owned())));
                    }
                    Some("hash") if counts && matches!(hash_kind.as_str(), "sha256" | "sha-256") => {
                        let digest = text.trim().to_ascii_lowercase().parse();
                        index = Some(digest.map_err(|_| failed("its sha256 is malformed".to_owned()))?);
                    }
                    _ => {}
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !path.is_empty() {
        return Err(failed("it is cut short".to_owned()));
    }
    // Stable, so that mirrors of one rank stay in the list's order.
    mirrors.sort_by_key(|(rank, _)| *rank);
    finish(mirrors.into_iter().map(|(_, address)| address).collect(), index)
}

fn finish(mut addresses: Vec<String>, index: Option<ContentDigest>) -> Result<MirrorList, BadMirrorList> {
    if addresses.is_empty() {
        return Err(BadMirrorList::Empty);
    }
    addresses.truncate(MAXIMUM_MIRRORS);
    Ok(MirrorList { addresses, index })
}

fn is_address(text: &str) -> bool {
    let behind = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    behind.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c == '<'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_text_is_read_line_by_line() {
        let text = "# repo = x arch = y\nhttp://a/x/\n\n  https://b/x\nrsync://c/x\nftp://d\n";
        assert_eq!(parse_list(text.as_bytes()).unwrap().addresses, ["http://a/x/", "https://b/x"]);
        for text in ["", "# nothing", "<html>Please log in at <a href=\"http://portal\">", "\u{0}\u{1}"] {
            assert_eq!(parse_list(text.as_bytes()), Err(BadMirrorList::Empty), "{text}");
        }
    }

    fn version_3(urls: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\"><files>\
             <file name=\"repomd.xml\"><size>3</size><verification><hash type=\"md5\">x</hash>\
             <hash type=\"sha256\">{SHA256}</hash></verification><mm0:alternates xmlns:mm0=\"y\">\
             <mm0:alternate><verification><hash type=\"sha256\">{}</hash></verification></mm0:alternate>\
             </mm0:alternates><resources>{urls}</resources></file></files></metalink>",
            SHA256.replace('0', "9")
        )
    }

    #[test]
    fn metalinks_are_read_best_first() {
        let text = version_3(
            "<url protocol=\"rsync\" preference=\"100\">rsync://a/repodata/repomd.xml</url>\
             <url preference=\"98\">http://b/x/repodata/repomd.xml</url>\
             <url preference=\"99\">https://c/x/repodata/repomd.xml?a=1&amp;b=2</url>\
             <url preference=\"100\">https://d/x/repodata/repomd.xml</url>",
        );
        let list = parse_metalink(text.as_bytes()).unwrap();
        assert_eq!(list.addresses, ["https://d/x/", "http://b/x/"]);
        assert_eq!(list.index.unwrap().as_str(), SHA256);
        let text = format!(
            "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"repomd.xml\">\
             <hash type=\"sha-256\">{SHA256}</hash><url priority=\"2\">https://a/repodata/repomd.xml</url>\
             <url priority=\"1\">https://b/repodata/repomd.xml</url></file></metalink>"
        );
        let list = parse_metalink(text.as_bytes()).unwrap();
        assert_eq!(list.addresses, ["https://b/", "https://a/"]);
        assert_eq!(list.index.unwrap().as_str(), SHA256);
    }

    #[test]
    fn what_is_no_metalink_is_refused() {
        let whole = version_3("<url>http://b/repodata/repomd.xml</url>");
        for length in 0..whole.len() {
            assert!(parse_metalink(&whole.as_bytes()[..length]).is_err(), "{length}");
        }
        for text in [version_3(""), whole.replace(SHA256, "12"), whole.replace("http://b", "&lol;")] {
            assert!(parse_metalink(text.as_bytes()).is_err(), "{text}");
        }
    }
}
