//! XML as a stream of events that nobody can make endless, deep or huge.
//!
//! What it is: [`Metered`] counts, hashes and limits the plain bytes on their way into the parser, and
//! [`visit`] passes one event at a time on, under limits on its size, the depth and the number of
//! attributes. So memory is bounded by what the visitor keeps, and time by the plain size, whatever the
//! document says about itself. What it is not: it knows nothing about packages.
//!
//! `rpmrepo_metadata` has such visitors too, but its loops do not end when a document does, a missing
//! attribute makes it panic, and nothing limits it.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesStart, Event};

use super::BadRepodata;
use super::checksum::{Checksum, Hasher};

/// The largest tag or text; the longest real ones are descriptions of some ten thousand bytes.
const MAXIMUM_EVENT_BYTES: u64 = 1 << 20;
/// Real documents have five levels.
const MAXIMUM_DEPTH: usize = 16;
/// Real elements have six attributes.
const MAXIMUM_ATTRIBUTES: usize = 32;
const BUFFER_BYTES: usize = 64 << 10;

/// Why bytes are no longer handed out; travels through the parser inside an I/O error.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("it is larger than {limit} bytes when decompressed")]
    Document { limit: u64 },
    #[error("a tag or a text is larger than {MAXIMUM_EVENT_BYTES} bytes")]
    Event,
}

/// A reader that counts, hashes and limits.
pub(super) struct Metered<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes taken from `inner`.
    taken: u64,
    limit: u64,
    hasher: Option<Hasher>,
    /// Bytes that the present event has consumed.
    of_event: u64,
}

impl<R: Read> Metered<R> {
    fn new(inner: R, limit: u64, hasher: Option<Hasher>) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { inner, buffer, start: 0, end: 0, taken: 0, limit, hasher, of_event: 0 }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.of_event > MAXIMUM_EVENT_BYTES {
            return Err(io::Error::other(Stop::Event));
        }
        if self.start == self.end {
            (self.start, self.end) = (0, self.inner.read(&mut self.buffer)?);
            self.taken += self.end as u64;
            if self.taken > self.limit {
                return Err(io::Error::other(Stop::Document { limit: self.limit }));
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.buffer[..self.end]);
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.of_event += count as u64;
    }
}

/// Takes the elements of a document. Depths count from 1 for the root.
pub(super) trait Visitor {
    /// An element begins.
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadRepodata>;

    /// Text directly inside the innermost element, or a part of it.
    fn text(&mut self, depth: usize, text: &str);

    /// An element ends; also told of elements without content.
    fn close(&mut self, depth: usize) -> Result<(), BadRepodata>;
}

/// What a document must be.
#[derive(Clone, Copy)]
pub(super) struct Expected<'c> {
    /// The largest plain size in bytes.
    pub(super) limit: u64,
    /// The checksum of the plain bytes, where one is stated.
    pub(super) checksum: Option<&'c Checksum>,
    /// The root's name without a prefix.
    pub(super) root: &'static str,
}

/// Passes a whole document to a visitor; it is well-formed and has the checksum when this returns.
pub(super) fn visit(
    plain: impl Read,
    expected: Expected<'_>,
    visitor: &mut impl Visitor,
) -> Result<(), BadRepodata> {
    let hasher = expected.checksum.map(Checksum::hasher).transpose()?;
    let mut reader = quick_xml::Reader::from_reader(Metered::new(plain, expected.limit, hasher));
    let mut buffer = Vec::new();
    let mut depth = 0;
    let mut root_ended = false;
    loop {
        buffer.clear();
        reader.get_mut().of_event = 0;
        match reader.read_event_into(&mut buffer).map_err(xml)? {
            Event::Start(start) => {
                let element = Element { start };
                depth += 1;
                check_place(depth, root_ended, &element, expected.root)?;
                visitor.open(depth, &element)?;
            }
            Event::Empty(start) => {
                let element = Element { start };
                check_place(depth + 1, root_ended, &element, expected.root)?;
                visitor.open(depth + 1, &element)?;
                visitor.close(depth + 1)?;
                root_ended |= depth == 0;
            }
            Event::End(_) => {
                visitor.close(depth)?;
                depth -= 1;
                root_ended |= depth == 0;
            }
            Event::Text(text) if depth > 0 => visitor.text(depth, &text),
            Event::Text(text) if text.trim_ascii().is_empty() => {}
            Event::CData(text) if depth > 0 => visitor.text(depth, &text),
            Event::GeneralRef(reference) if depth > 0 => {
                let mut bytes = [0; 4];
                let text = match reference.resolve_char_ref().map_err(xml)? {
                    Some(character) => Some(&*character.encode_utf8(&mut bytes)),
                    None => quick_xml::escape::resolve_xml_entity(&reference),
                };
                visitor.text(
                    depth,
                    text.ok_or_else(|| ill_formed(format!("it uses the entity `{}`", &*reference)))?,
                );
            }
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                return Err(ill_formed("there is text outside the root"));
            }
            Event::DocType(_) => {
                return Err(ill_formed("it has a document type, which could define entities"));
            }
            Event::Decl(declaration) => check_encoding(&declaration)?,
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !root_ended {
        return Err(BadRepodata::CutShort { expected: expected.root });
    }
    let hasher = reader.into_inner().hasher;
    match (expected.checksum, hasher) {
        (Some(checksum), Some(hasher)) => checksum.compare("open", hasher),
        _ => Ok(()),
    }
}

fn check_place(
    depth: usize,
    root_ended: bool,
    element: &Element<'_>,
    root: &'static str,
) -> Result<(), BadRepodata> {
    if depth > MAXIMUM_DEPTH {
        return Err(ill_formed(format!("elements are nested more than {MAXIMUM_DEPTH} deep")));
    }
    if depth == 1 && (root_ended || element.name() != root) {
        return Err(ill_formed(format!("`{}` stands where only one `{root}` may", element.name())));
    }
    Ok(())
}

fn check_encoding(declaration: &BytesDecl<'_>) -> Result<(), BadRepodata> {
    let encoding = declaration.encoding().transpose().map_err(xml)?;
    match encoding.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(other) => Err(ill_formed(format!("its encoding is `{other}`, not UTF-8"))),
    }
}

/// The beginning of an element.
pub(super) struct Element<'b> {
    start: BytesStart<'b>,
}

impl Element<'_> {
    /// Returns the name without its prefix, so that any prefix may stand for a name space.
    pub(super) fn name(&self) -> &str {
        let name = self.start.name().into_inner();
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// Passes each attribute on: its name as written, and its value.
    pub(super) fn attributes(
        &self,
        mut take: impl FnMut(&str, Cow<'_, str>) -> Result<(), BadRepodata>,
    ) -> Result<(), BadRepodata> {
        // The check for repetitions compares each attribute with all earlier ones.
        let mut attributes = self.start.attributes();
        attributes.with_checks(false);
        for (number, attribute) in attributes.enumerate() {
            if number >= MAXIMUM_ATTRIBUTES {
                return Err(ill_formed(format!(
                    "`{}` has more than {MAXIMUM_ATTRIBUTES} attributes",
                    self.name()
                )));
            }
            let attribute = attribute.map_err(xml)?;
            take(
                attribute.key.into_inner(),
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(xml)?,
            )?;
        }
        Ok(())
    }

    /// Returns one attribute.
    pub(super) fn attribute(&self, name: &'static str) -> Result<String, BadRepodata> {
        let mut found = None;
        self.attributes(|key, value| {
            if key == name {
                found = Some(value.into_owned());
            }
            Ok(())
        })?;
        found.ok_or(BadRepodata::Value { what: name })
    }
}

fn ill_formed(message: impl Into<String>) -> BadRepodata {
    BadRepodata::Xml { message: message.into() }
}

/// Sorts the parser's error into ours; what decompression said comes through it as an I/O error.
fn xml(error: impl Into<quick_xml::Error>) -> BadRepodata {
    match error.into() {
        quick_xml::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Stop>()) => {
            BadRepodata::TooLarge { message: error.to_string() }
        }
        quick_xml::Error::Io(error) => BadRepodata::Decompress { message: error.to_string() },
        error => BadRepodata::Xml { message: error.to_string() },
    }
}
