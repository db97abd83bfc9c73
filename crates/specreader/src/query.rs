//! The questions that are put to `rpmspec`, and how its answers are taken apart.
//!
//! An answer is a sequence of records; a record is scalar fields, then list fields. Records end with GS
//! (0x1d), fields are separated by RS (0x1e), list items end with US (0x1f): no dependency, version or file
//! name may contain these, so the form is unambiguous, and a wrong number of fields is noticed.

use rpm_model::SpecTriggers;

use crate::failure::FailureKind;

const RECORD_END: char = '\u{1d}';
const FIELD_SEPARATOR: char = '\u{1e}';
const ITEM_END: char = '\u{1f}';

/// One question: the header tags that are asked for.
pub(crate) struct Query {
    /// Tags with one value.
    pub(crate) scalars: &'static [&'static str],
    /// Tags with any number of values.
    pub(crate) lists: &'static [&'static str],
}

/// What the source package says; one record.
pub(crate) const SOURCE: Query = Query {
    scalars: &["NAME", "EPOCHNUM", "VERSION", "RELEASE"],
    lists: &[
        "REQUIRENEVRS",
        "CONFLICTNEVRS",
        "EXCLUSIVEARCH",
        "EXCLUDEARCH",
        "SOURCE",
        "PATCH",
        "NOSOURCE",
        "NOPATCH",
        "BUILDARCHS",
        // Those that a spec may leave out would print `(none)` as scalars.
        "SUMMARY",
        "LICENSE",
        "URL",
    ],
};

/// What each binary package that gets built says; a record each.
pub(crate) const PACKAGES: Query = Query {
    scalars: &["NAME", "EPOCHNUM", "VERSION", "RELEASE", "ARCH"],
    lists: &[
        "PROVIDENEVRS",
        "REQUIRENEVRS",
        // One word list for each of the above.
        "REQUIREFLAGS:deptype",
        "CONFLICTNEVRS",
        "OBSOLETENEVRS",
        "RECOMMENDNEVRS",
        "SUGGESTNEVRS",
        "SUPPLEMENTNEVRS",
        "ENHANCENEVRS",
        "SUMMARY",
        "LICENSE",
    ],
};

/// What is expanded when a spec has been parsed: its trigger macros, each ended by RS, after a GS. Whatever a spec
/// itself prints comes before.
pub(crate) const TRIGGERS: &str = "\u{1d}%{?_mkpkg_depends}\u{1e}%{?_mkpkg_depends_files}\u{1e}\
    %{?_mkpkg_depends_programs}\u{1e}%{?_dep_vers_prog}\u{1e}%{?_mkpkg_version_from}\u{1e}";

/// Returns whether a text may define or use one of the macros of [`TRIGGERS`].
pub(crate) fn names_trigger_macros(text: &[u8]) -> bool {
    ["_mkpkg_", "_dep_vers_prog"].iter().any(|part| memchr::memmem::find(text, part.as_bytes()).is_some())
}

/// The values of the trigger macros, as far as the answer has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TriggerValues {
    pub(crate) triggers: SpecTriggers,
    /// Whether it is mkpkg's own macro that names the programs.
    pub(crate) programs_of_mkpkg: bool,
}

/// Takes the answer to [`TRIGGERS`] apart; an empty one says that there are none.
pub(crate) fn triggers(answer: &[u8]) -> Result<TriggerValues, FailureKind> {
    let malformed = || FailureKind::Malformed {
        field: "the trigger macros".to_owned(),
        message: "a value contains a control character".to_owned(),
    };
    let not_utf8 = |_| FailureKind::NotUtf8 { field: "the trigger macros".to_owned() };
    let text = std::str::from_utf8(answer).map_err(not_utf8)?;
    let Some((_, fields)) = text.rsplit_once(RECORD_END) else { return Ok(TriggerValues::default()) };
    let fields: Vec<String> = fields.split(FIELD_SEPARATOR).map(|field| field.trim().to_owned()).collect();
    let [packages, files, programs, programs_of_mkpkg, version_from, _] =
        <[String; 6]>::try_from(fields).map_err(|_| malformed())?;
    let of_mkpkg = programs.is_empty() && !programs_of_mkpkg.is_empty();
    let programs = if of_mkpkg { programs_of_mkpkg } else { programs };
    let triggers = SpecTriggers { packages, files, programs, version_from };
    Ok(TriggerValues { triggers, programs_of_mkpkg: of_mkpkg })
}

/// One record of an answer; fields stand in the order of the query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) scalars: Vec<&'a str>,
    pub(crate) lists: Vec<Vec<&'a str>>,
}

impl Query {
    /// Returns the text for `--queryformat`.
    pub(crate) fn format(&self) -> String {
        let scalars = self.scalars.iter().map(|tag| format!("%{{{tag}}}"));
        let lists = self.lists.iter().map(|tag| format!("[%{{{tag}}}{ITEM_END}]"));
        let fields: Vec<String> = scalars.chain(lists).collect();
        format!("{}{RECORD_END}", fields.join(&FIELD_SEPARATOR.to_string()))
    }

    /// Takes an answer apart.
    pub(crate) fn records<'a>(&self, answer: &'a [u8]) -> Result<Vec<Record<'a>>, FailureKind> {
        let text = std::str::from_utf8(answer).map_err(|error| self.not_utf8(answer, error.valid_up_to()))?;
        let mut records = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (record, after) = rest.split_once(RECORD_END).ok_or_else(|| self.malformed("cut short"))?;
            records.push(self.record(record)?);
            rest = after;
        }
        Ok(records)
    }

    fn record<'a>(&self, text: &'a str) -> Result<Record<'a>, FailureKind> {
        let fields: Vec<&str> = text.split(FIELD_SEPARATOR).collect();
        if fields.len() != self.scalars.len() + self.lists.len() {
            return Err(self.malformed("a value contains a control character"));
        }
        let (scalars, lists) = fields.split_at(self.scalars.len());
        let items = |field: &&'a str| match field.strip_suffix(ITEM_END) {
            Some(items) => Ok(items.split(ITEM_END).collect()),
            None if field.is_empty() => Ok(Vec::new()),
            None => Err(self.malformed("a list is cut short")),
        };
        let lists = lists.iter().map(items).collect::<Result<_, _>>()?;
        Ok(Record { scalars: scalars.to_vec(), lists })
    }

    fn malformed(&self, message: &str) -> FailureKind {
        FailureKind::Malformed { field: "rpmspec's answer".to_owned(), message: message.to_owned() }
    }

    /// Names the field in which the first byte that is not UTF-8 stands.
    fn not_utf8(&self, answer: &[u8], position: usize) -> FailureKind {
        let before = &answer[..position];
        let start = before.iter().rposition(|byte| *byte == RECORD_END as u8).map_or(0, |index| index + 1);
        let index = before[start..].iter().filter(|byte| **byte == FIELD_SEPARATOR as u8).count();
        let field = self.scalars.iter().chain(self.lists).nth(index).copied().unwrap_or("a field");
        FailureKind::NotUtf8 { field: field.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Query = Query { scalars: &["NAME"], lists: &["REQUIRENEVRS", "SOURCE"] };

    fn written(records: &[(String, Vec<String>, Vec<String>)]) -> String {
        let list = |items: &[String]| items.iter().map(|item| format!("{item}\u{1f}")).collect::<String>();
        records.iter().map(|(name, a, b)| format!("{name}\u{1e}{}\u{1e}{}\u{1d}", list(a), list(b))).collect()
    }

    #[test]
    fn the_format_asks_for_every_tag() {
        assert_eq!(SMALL.format(), "%{NAME}\u{1e}[%{REQUIRENEVRS}\u{1f}]\u{1e}[%{SOURCE}\u{1f}]\u{1d}");
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for text in
            ["zlib", "zlib\u{1d}", "zlib\u{1e}a\u{1e}\u{1d}", "a\u{1e}\u{1e}\u{1e}\u{1d}", "a\u{1e}\u{1e}"]
        {
            assert!(matches!(SMALL.records(text.as_bytes()), Err(FailureKind::Malformed { .. })), "{text:?}");
        }
    }

    #[test]
    fn the_field_that_is_not_utf8_is_named() {
        let answer = b"ok\x1e\x1e\x1dzlib\x1ea\xe9\x1f\x1e\x1d";
        assert_eq!(SMALL.records(answer), Err(FailureKind::NotUtf8 { field: "REQUIRENEVRS".to_owned() }));
    }

    #[test]
    fn triggers_come_after_all_that_a_spec_prints() {
        let read = |text: &str| triggers(text.as_bytes());
        let triggers_of = |programs: &str| SpecTriggers {
            packages: "lua > minor".to_owned(),
            files: "a\nb".to_owned(),
            programs: programs.to_owned(),
            version_from: "file V".to_owned(),
        };
        let ours = TriggerValues { triggers: triggers_of("c = d"), programs_of_mkpkg: false };
        let answer = "hello\n\u{1d}old\u{1e}\u{1e}\n\u{1d}lua > minor \u{1e}a\nb\u{1e}c = d\u{1e}x\u{1e}file V\u{1e}\n";
        assert_eq!(read(answer), Ok(ours));
        let of_mkpkg = TriggerValues { triggers: triggers_of("x"), programs_of_mkpkg: true };
        assert_eq!(read(&answer.replace("c = d", " ")), Ok(of_mkpkg));
        assert_eq!(read("\u{1d}\u{1e}\u{1e}\u{1e}\u{1e}\u{1e}"), Ok(TriggerValues::default()));
        assert_eq!(read(""), Ok(TriggerValues::default()));
        assert!(matches!(read("\u{1d}a\u{1e}b\u{1e}c\u{1e}"), Err(FailureKind::Malformed { .. })));
        assert!(matches!(triggers(b"\x1d\xe9\x1e\x1e"), Err(FailureKind::NotUtf8 { .. })));
    }

    proptest! {
        #[test]
        fn records_round_trip(records in proptest::collection::vec(
            ("[a-zé]{0,4}", proptest::collection::vec("[ -~]{0,5}", 0..4), proptest::collection::vec("[ -~]{0,5}", 0..4)),
            0..4,
        )) {
            let text = written(&records);
            let read: Vec<_> = SMALL.records(text.as_bytes()).unwrap().into_iter().map(|record| {
                let owned = |list: &Vec<&str>| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
                (record.scalars[0].to_owned(), owned(&record.lists[0]), owned(&record.lists[1]))
            }).collect();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn nothing_panics(answer in proptest::collection::vec(proptest::sample::select(b"a\x1d\x1e\x1f\xe9".to_vec()), 0..20)) {
            let _ = SMALL.records(&answer);
        }
    }
}
