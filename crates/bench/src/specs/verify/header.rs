//! The header of the source package as the engine exports it, beside the one that rpmspec prints as XML.
//!
//! The exported form has the tags' numbers and rpmspec's XML their names; both list them in one order, so that they
//! are compared by place and told by name. Binary values are not compared; no header of a parsed spec has any.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::facts::Facts;

/// What stands for values that are not compared.
const BINARY: &str = "(binary)";

/// The version of rpm and the spec's expanded text, which rpm puts into the header only when it packs, and the
/// engine's header has already.
const PACKED: [usize; 2] = [1064, SPEC];
const SPEC: usize = 5099;

/// The values of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Zero where only the name is known.
    number: usize,
    name: String,
    values: Vec<String>,
}

/// rpmspec's account of a header.
#[derive(Clone, Copy)]
pub(super) struct Told<'t> {
    pub(super) tags: &'t [Tag],
    /// The spec's expanded text.
    pub(super) text: &'t str,
}

/// Adds the differences between an exported header and rpmspec's account to the facts of both sides; equal headers
/// add nothing.
pub(super) fn compare(
    name: &str,
    blob: &[u8],
    theirs: Told<'_>,
    ours_facts: &mut Facts,
    their_facts: &mut Facts,
) {
    let Some(ours) = decode(blob) else {
        ours_facts.add(name, "malformed");
        return;
    };
    let (packed, ours): (Vec<Tag>, Vec<Tag>) = ours.into_iter().partition(|tag| PACKED.contains(&tag.number));
    pair(name, &ours, theirs.tags, ours_facts, their_facts);
    for tag in packed.iter().filter(|tag| tag.number == SPEC && tag.values != [theirs.text]) {
        ours_facts.add(format!("{name}/Spec"), &tag.values.join(", "));
        their_facts.add(format!("{name}/Spec"), theirs.text);
    }
}

/// Returns the names of the tags in which two of rpmspec's accounts differ.
pub(super) fn differences(name: &str, one: &[Tag], other: &[Tag]) -> Vec<String> {
    let (mut facts, mut others) = (Facts::default(), Facts::default());
    pair(name, one, other, &mut facts, &mut others);
    facts.differences(&others).into_iter().map(|found| found.fact).collect()
}

fn pair(name: &str, ours: &[Tag], theirs: &[Tag], ours_facts: &mut Facts, their_facts: &mut Facts) {
    for index in 0..ours.len().max(theirs.len()) {
        let (our, their) = (ours.get(index), theirs.get(index));
        let (our_values, their_values) = (our.map(|tag| &tag.values), their.map(|tag| &tag.values));
        if our_values == their_values {
            continue;
        }
        let called = their.or(our).map(|tag| tag.name.as_str()).unwrap_or_default();
        let fact = format!("{name}/{called}");
        our_values.into_iter().for_each(|values| ours_facts.add(&fact, &values.join(", ")));
        their_values.into_iter().for_each(|values| their_facts.add(&fact, &values.join(", ")));
    }
}

/// Takes an exported header apart: number of entries, length of the data, entries, data; `None` where it is none.
fn decode(blob: &[u8]) -> Option<Vec<Tag>> {
    let number = |position: usize| -> Option<usize> {
        let bytes = blob.get(position..position + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    let count = number(0)?;
    let data = blob.get(8 + count.checked_mul(16)?..)?;
    (0..count)
        .map(|index| {
            let entry = 8 + index * 16;
            let (tag, kind, offset, items) =
                (number(entry)?, number(entry + 4)?, number(entry + 8)?, number(entry + 12)?);
            Some(Tag {
                number: tag,
                name: format!("tag {tag}"),
                values: values(data.get(offset..)?, kind, items)?,
            })
        })
        .collect()
}

/// Reads `items` values of one of rpm's types.
fn values(data: &[u8], kind: usize, items: usize) -> Option<Vec<String>> {
    let integers = |width: usize| -> Option<Vec<String>> {
        let bytes = data.get(..items.checked_mul(width)?)?;
        let value = |chunk: &[u8]| {
            chunk.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte)).to_string()
        };
        Some(bytes.chunks(width).map(value).collect())
    };
    match kind {
        1 | 2 => integers(1),
        3 => integers(2),
        4 => integers(4),
        5 => integers(8),
        6 | 8 | 9 => {
            let mut texts = data.split(|byte| *byte == 0);
            (0..items).map(|_| texts.next().map(|text| String::from_utf8_lossy(text).into_owned())).collect()
        }
        _ => Some(vec![BINARY.to_owned()]),
    }
}

/// Reads what `rpmspec --qf '[%{*:xml}]'` prints.
pub(super) fn read_xml(text: &str) -> Result<Vec<Tag>, quick_xml::Error> {
    let mut reader = Reader::from_str(text);
    let mut tags: Vec<Tag> = Vec::new();
    let mut value: Option<String> = None;
    loop {
        match reader.read_event()? {
            Event::Start(start) if start.name().as_ref() == "rpmTag" => {
                let name = start.attributes().flatten().find(|attribute| attribute.key.as_ref() == "name");
                let name = name.map(|attribute| attribute.value.into_owned());
                tags.push(Tag { number: 0, name: name.unwrap_or_default(), values: Vec::new() });
            }
            Event::Start(start) if is_value(start.name().as_ref()) => value = Some(String::new()),
            Event::Empty(empty) if is_value(empty.name().as_ref()) => {
                tags.last_mut().into_iter().for_each(|tag| tag.values.push(String::new()));
            }
            Event::Text(text) => {
                value.iter_mut().for_each(|value| value.push_str(&text));
            }
            Event::GeneralRef(reference) => {
                let character = match reference.as_ref() {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "apos" => "'",
                    _ => "?",
                };
                value.iter_mut().for_each(|value| value.push_str(character));
            }
            Event::End(end) if is_value(end.name().as_ref()) => {
                let value = value.take().unwrap_or_default();
                let value = if end.name().as_ref() == "base64" { BINARY.to_owned() } else { value };
                tags.last_mut().into_iter().for_each(|tag| tag.values.push(value.clone()));
            }
            Event::Eof => return Ok(tags),
            _ => {}
        }
    }
}

fn is_value(element: &str) -> bool {
    ["string", "integer", "base64"].contains(&element)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One string, two numbers, two texts.
    fn blob() -> Vec<u8> {
        let data = b"a & b\0\0\0\0\0\0\x07\0\0\x01\0x\0\0";
        let entries: [[u32; 4]; 3] = [[1000, 6, 0, 1], [1009, 4, 8, 2], [1049, 8, 16, 2]];
        let mut blob = Vec::new();
        for number in [3, data.len() as u32].into_iter().chain(entries.into_iter().flatten()) {
            blob.extend(number.to_be_bytes());
        }
        blob.extend(data);
        blob
    }

    const XML: &str = "<rpmHeader>\n  <rpmTag name=\"Name\">\n\t<string>a &amp; b</string>  </rpmTag>\n  \
        <rpmTag name=\"Size\">\n\t<integer>7</integer><integer>256</integer>  </rpmTag>\n  \
        <rpmTag name=\"Requirename\">\n\t<string>x</string><string/>  </rpmTag>\n</rpmHeader>\n";

    fn found(blob: &[u8], xml: &str) -> Vec<String> {
        let (mut ours, mut theirs) = (Facts::default(), Facts::default());
        let tags = read_xml(xml).unwrap();
        super::compare("header", blob, Told { tags: &tags, text: "%prep\n" }, &mut ours, &mut theirs);
        ours.differences(&theirs).into_iter().map(|found| found.fact).collect()
    }

    #[test]
    fn equal_headers_have_no_differences() {
        assert!(found(&blob(), XML).is_empty());
    }

    #[test]
    fn the_text_is_compared_with_that_of_the_parse() {
        let with_text = |text: &str| {
            let mut blob = blob();
            let data = blob.split_off(8 + 3 * 16);
            blob.extend([5099, 6, data.len() as u32, 1].into_iter().flat_map(u32::to_be_bytes));
            blob.extend(data);
            blob.extend(text.as_bytes());
            blob.push(0);
            blob[3] = 4;
            blob
        };
        assert!(found(&with_text("%prep\n"), XML).is_empty());
        assert_eq!(found(&with_text("%build\n"), XML), ["header/Spec"]);
    }

    #[test]
    fn differences_are_told_by_name() {
        assert_eq!(found(&blob(), &XML.replace("256", "257")), ["header/Size"]);
        let shorter =
            XML.replace("  <rpmTag name=\"Requirename\">\n\t<string>x</string><string/>  </rpmTag>\n", "");
        assert_eq!(found(&blob(), &shorter), ["header/tag 1049"]);
        assert_eq!(found(b"\0\0\0\x09", XML), ["header"]);
    }
}
