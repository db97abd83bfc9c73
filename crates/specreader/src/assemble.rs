//! Puts rpm's answers about one spec together to a [`SpecData`]. Pure: bytes in, data out.

use std::collections::{BTreeMap, BTreeSet};

use rebuild::trigger::{
    FILES_MACRO, PACKAGES_MACRO, PROGRAMS_MACRO, PROGRAMS_MACRO_OF_MKPKG, TriggerSyntaxError,
    parse_file_triggers, parse_programs, parse_triggers,
};
use rebuild::upstream::{VERSION_MACRO, parse_version_source};
use rpm_model::{
    Dependency, Evr, Nevra, Requirement, RequirementKind, SourceKind, SourceUse, SpecData, SpecPackage,
    SpecSource, SpecTriggers,
};

use crate::engine::SpecInput;
use crate::failure::{FailureKind, TriggerFault, TriggerPlace};
use crate::file_sections::file_sections;
use crate::query::{self, Record};
use crate::text;

/// What rpm answered about one spec.
pub(crate) struct Answers<'a> {
    /// Answer to [`query::SOURCE`] without `%check`.
    pub(crate) source: &'a [u8],
    /// Answer to [`query::PACKAGES`] without `%check`.
    pub(crate) packages: &'a [u8],
    /// The expanded text without `%check`.
    pub(crate) text: &'a [u8],
    /// Answer to [`query::TRIGGERS`] without `%check`.
    pub(crate) triggers: &'a [u8],
    /// Source answer and text under `with_check 1`, where the spec may differ there.
    pub(crate) with_check: Option<(&'a [u8], &'a [u8])>,
}

/// Returns the spec's data.
pub(crate) fn spec_data(input: &SpecInput, answers: &Answers<'_>) -> Result<SpecData, FailureKind> {
    let source = source_record(answers.source)?;
    let text = String::from_utf8_lossy(answers.text);
    let mut facts = text::facts(&text);
    let build_requires = requirements("BuildRequires", &source.lists[0])?;
    let written = std::mem::take(&mut facts.sources);
    let mut sources = sources(written, &source)?;
    let check_requires = match answers.with_check {
        None => build_requires.clone(),
        Some((answer, text)) => {
            let checked = text::facts(&String::from_utf8_lossy(text));
            facts.has_check |= checked.has_check;
            let record = source_record(answer)?;
            sources = of_both_modes(sources, self::sources(checked.sources, &record)?);
            requirements("BuildRequires", &record.lists[0])?
        }
    };
    let license = first(&source.lists[10]);
    Ok(SpecData {
        build_requires,
        check_requires,
        build_conflicts: requirements("BuildConflicts", &source.lists[1])?,
        exclusive_arch: sorted_texts(&source.lists[2]),
        exclude_arch: sorted_texts(&source.lists[3]),
        sources,
        build_arch: sorted_texts(&source.lists[8]),
        summary: first(&source.lists[9]).to_owned(),
        url: source.lists[11].first().map(|url| (*url).to_owned()),
        packages: packages(answers.packages, &text, source.scalars[0], license)?,
        license: license.to_owned(),
        has_check: facts.has_check,
        triggers: triggers(answers.triggers)?,
        ..SpecData::new(&input.name, input.path.display().to_string(), nevra(&source.scalars, "src")?)
    })
}

/// Returns the triggers, which must be well-formed.
fn triggers(answer: &[u8]) -> Result<SpecTriggers, FailureKind> {
    let query::TriggerValues { triggers, programs_of_mkpkg } = query::triggers(answer)?;
    let malformed = |name: &str, value: &str, error: TriggerSyntaxError| {
        FailureKind::Trigger(Box::new(TriggerFault {
            name: name.to_owned(),
            value: value.to_owned(),
            place: TriggerPlace::Value { line: error.line, column: error.column },
            message: error.to_string(),
        }))
    };
    parse_triggers(&triggers.packages)
        .map_err(|error| malformed(PACKAGES_MACRO, &triggers.packages, error))?;
    parse_file_triggers(&triggers.files).map_err(|error| malformed(FILES_MACRO, &triggers.files, error))?;
    let programs = if programs_of_mkpkg { PROGRAMS_MACRO_OF_MKPKG } else { PROGRAMS_MACRO };
    parse_programs(&triggers.programs).map_err(|error| malformed(programs, &triggers.programs, error))?;
    parse_version_source(&triggers.version_from)
        .map_err(|error| malformed(VERSION_MACRO, &triggers.version_from, error))?;
    Ok(triggers)
}

fn source_record(answer: &[u8]) -> Result<Record<'_>, FailureKind> {
    let mut records = query::SOURCE.records(answer)?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) => Ok(record),
        _ => Err(FailureKind::Malformed {
            field: "rpmspec's answer".to_owned(),
            message: "expected exactly one source package".to_owned(),
        }),
    }
}

/// Returns the packages that get built, of those in the answer.
fn packages(
    answer: &[u8],
    text: &str,
    main_name: &str,
    main_license: &str,
) -> Result<Vec<SpecPackage>, FailureKind> {
    let mut sections = file_sections(text, main_name);
    let mut packages = Vec::new();
    for record in &query::PACKAGES.records(answer)? {
        let Some(section) = sections.remove(record.scalars[0]) else { continue };
        let license = first(&record.lists[10]);
        packages.push(SpecPackage {
            license: (license != main_license).then(|| license.to_owned()),
            files: section.files,
            file_lists: section.file_lists,
            ..package(record)?
        });
    }
    packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    Ok(packages)
}

fn package(record: &Record<'_>) -> Result<SpecPackage, FailureKind> {
    let arch = record.scalars[4];
    Ok(SpecPackage {
        provides: dependencies("Provides", &record.lists[0])?,
        requires: requirements("Requires", &record.lists[1])?,
        qualified_requires: qualified(&record.lists[1], &record.lists[2])?,
        conflicts: requirements("Conflicts", &record.lists[3])?,
        obsoletes: dependencies("Obsoletes", &record.lists[4])?,
        recommends: requirements("Recommends", &record.lists[5])?,
        suggests: requirements("Suggests", &record.lists[6])?,
        supplements: requirements("Supplements", &record.lists[7])?,
        enhances: requirements("Enhances", &record.lists[8])?,
        summary: first(&record.lists[9]).to_owned(),
        ..SpecPackage::new(nevra(&record.scalars[..4], arch)?)
    })
}

/// Returns the requirements that are declared for something special, by what it is.
fn qualified(
    texts: &[&str],
    deptypes: &[&str],
) -> Result<BTreeMap<RequirementKind, Vec<Requirement>>, FailureKind> {
    if texts.len() != deptypes.len() {
        return Err(malformed("Requires", "there are not as many qualifiers as requirements"));
    }
    let mut by_kind: BTreeMap<RequirementKind, Vec<&str>> = BTreeMap::new();
    for (text, deptype) in texts.iter().zip(deptypes) {
        for word in deptype.split(',') {
            let kind = RequirementKind::from_deptype(word).ok_or_else(|| malformed("Requires", word))?;
            by_kind.entry(kind).or_default().push(text);
        }
    }
    let plain = by_kind.remove(&RequirementKind::Plain).unwrap_or_default();
    let special: BTreeSet<&str> = by_kind.values().flatten().copied().collect();
    let both: Vec<&str> = plain.into_iter().filter(|text| special.contains(text)).collect();
    if !both.is_empty() {
        by_kind.insert(RequirementKind::Plain, both);
    }
    by_kind.into_iter().map(|(kind, texts)| Ok((kind, requirements("Requires", &texts)?))).collect()
}

fn first<'a>(list: &[&'a str]) -> &'a str {
    list.first().copied().unwrap_or_default()
}

/// Returns the NEVRA of name, epoch, version and release.
fn nevra(scalars: &[&str], arch: &str) -> Result<Nevra, FailureKind> {
    let [name, epoch, version, release] = scalars else {
        return Err(malformed("rpmspec's answer", "four parts of a NEVR expected"));
    };
    let epoch: u32 = epoch.parse().map_err(|_| malformed("Epoch", epoch))?;
    Ok(Nevra::new(*name, Evr::new(epoch, *version, Some(release)), arch))
}

fn requirements(field: &str, texts: &[&str]) -> Result<Vec<Requirement>, FailureKind> {
    let parse =
        |text: &str| text.parse::<Requirement>().map_err(|error| malformed(field, &error.to_string()));
    sorted(texts.iter().filter(|text| !is_rpm_feature(text)).map(|text| parse(text)))
}

fn dependencies(field: &str, texts: &[&str]) -> Result<Vec<Dependency>, FailureKind> {
    let parse = |text: &str| text.parse::<Dependency>().map_err(|error| malformed(field, &error.to_string()));
    sorted(texts.iter().map(|text| parse(text)))
}

/// `rpmlib(...)` names a feature of rpm itself; no package provides it.
fn is_rpm_feature(text: &str) -> bool {
    text.starts_with("rpmlib(")
}

fn sorted<T: Ord>(items: impl Iterator<Item = Result<T, FailureKind>>) -> Result<Vec<T>, FailureKind> {
    Ok(items.collect::<Result<BTreeSet<T>, _>>()?.into_iter().collect())
}

fn sorted_texts(texts: &[&str]) -> Vec<String> {
    let set: BTreeSet<&str> = texts.iter().copied().collect();
    set.into_iter().map(str::to_owned).collect()
}

fn malformed(field: &str, message: &str) -> FailureKind {
    FailureKind::Malformed { field: field.to_owned(), message: message.to_owned() }
}

/// Returns the sources: the header decides which there are, the text which number and URL they have.
///
/// A source that the header has and the text does not show (rpm may learn new ways to declare one) gets the
/// next number.
fn sources(written: Vec<SpecSource>, record: &Record<'_>) -> Result<Vec<SpecSource>, FailureKind> {
    let mut all = Vec::new();
    for (kind, files, left_out) in [
        (SourceKind::Source, &record.lists[4], &record.lists[6]),
        (SourceKind::Patch, &record.lists[5], &record.lists[7]),
    ] {
        let left_out = left_out
            .iter()
            .map(|number| number.parse().map_err(|_| malformed("NoSource", number)))
            .collect::<Result<BTreeSet<u32>, _>>()?;
        let files: BTreeSet<&str> = files.iter().copied().collect();
        let of_kind = written.iter().filter(|source| source.kind == kind);
        let mut known: Vec<SpecSource> =
            of_kind.filter(|source| files.contains(source.file.as_str())).cloned().collect();
        let mut next = known.iter().map(|source| source.number.saturating_add(1)).max().unwrap_or(0);
        let shown: BTreeSet<&str> = known.iter().map(|source| source.file.as_str()).collect();
        for file in files.difference(&shown) {
            all.push(SpecSource::new(kind, next, *file));
            next = next.saturating_add(1);
        }
        known.iter_mut().for_each(|source| source.left_out = left_out.contains(&source.number));
        all.extend(known);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Puts the sources of both check modes together; both are sorted.
fn of_both_modes(plain: Vec<SpecSource>, checked: Vec<SpecSource>) -> Vec<SpecSource> {
    let (plain, checked) = (BTreeSet::from_iter(plain), BTreeSet::from_iter(checked));
    let only = |used| move |source: &SpecSource| SpecSource { used, ..source.clone() };
    let mut all: Vec<SpecSource> = plain.intersection(&checked).cloned().collect();
    all.extend(plain.difference(&checked).map(only(SourceUse::WithoutCheck)));
    all.extend(checked.difference(&plain).map(only(SourceUse::WithCheck)));
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const SOURCE: &str = "zlib\x1e1\x1e1.2\x1e3.mw1\x1emake\x1f(a or b >= 2)\x1fmake\x1f\x1eold\x1f\x1ex86_64\x1f\x1e\
        \x1ez.pc\x1fz-1.2.tgz\x1f\x1efix.patch\x1f\x1e4\x1f\x1e\x1enoarch\x1f\x1eA library\x1f\x1eMIT\x1f\x1ehttp://h\x1f\x1d";
    const PACKAGES: &str = "zlib-devel\x1e1\x1e1.2\x1e3.mw1\x1ex86_64\x1ezlib-devel = 1:1.2-3.mw1\x1f\x1e\
        zlib = 1:1.2-3.mw1\x1frpmlib(X) <= 1\x1f\x1emanual\x1frpmlib\x1f\x1e\x1ezlib-static < 1\x1f\x1e\x1e\x1e\x1e\x1e\
        Headers\x1f\x1eGPL\x1f\x1d\
        zlib-unbuilt\x1e1\x1e1.2\x1e3.mw1\x1ex86_64\x1e\x1e\x1e\x1e\x1e\x1e\x1e\x1e\x1e\x1e\x1e\x1d\
        zlib\x1e1\x1e1.2\x1e3.mw1\x1ex86_64\x1ezlib = 1:1.2-3.mw1\x1f\x1e\
        /bin/sh\x1fuser\x1fuser\x1fzlib-data\x1f\x1epost,interp\x1fpre\x1fmanual\x1fmanual\x1f\x1e\x1e\x1edoc\x1f\x1e\
        hint\x1f\x1e(a and b)\x1f\x1eback\x1f\x1eA library\x1f\x1eMIT\x1f\x1d";
    const TEXT: &str = "Source0: http://h/z-1.2.tgz\nSource4: z.pc\nPatch: fix.patch\nSource9: gone\n%check\n\
        %files -f z.lang\n%attr(755,root,root) /usr/bin/z\n%files devel\n%dir /usr/include/z\n%exclude /usr/x\n";

    fn read_with_triggers(
        source: &str,
        packages: &str,
        with_check: Option<(&str, &str)>,
        triggers: &[u8],
    ) -> Result<SpecData, FailureKind> {
        let input = SpecInput {
            name: "zlib".to_owned(),
            path: PathBuf::from("SPECS/zlib/zlib.spec"),
            source_dir: PathBuf::from("SPECS/zlib"),
        };
        let answers = Answers {
            source: source.as_bytes(),
            packages: packages.as_bytes(),
            text: TEXT.as_bytes(),
            triggers,
            with_check: with_check.map(|(answer, text)| (answer.as_bytes(), text.as_bytes())),
        };
        spec_data(&input, &answers)
    }

    fn read(source: &str, packages: &str, with_check: Option<(&str, &str)>) -> Result<SpecData, FailureKind> {
        read_with_triggers(source, packages, with_check, b"")
    }

    fn texts<T: ToString>(items: &[T]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_arrives() {
        let data = read(SOURCE, PACKAGES, None).unwrap();
        assert_eq!(data.source.to_string(), "zlib-1:1.2-3.mw1.src");
        assert_eq!(texts(&data.build_requires), ["make", "(a or b >= 2)"]);
        assert_eq!(data.check_requires, data.build_requires);
        assert_eq!(texts(&data.build_conflicts), ["old"]);
        assert_eq!(
            (data.exclusive_arch.as_slice(), data.exclude_arch.len()),
            (&["x86_64".to_owned()][..], 0)
        );
        assert!(data.has_check);
        let sources: Vec<String> =
            data.sources.iter().map(|s| format!("{:?}{} {}", s.kind, s.number, s.file)).collect();
        assert_eq!(sources, ["Source0 z-1.2.tgz", "Source4 z.pc", "Patch0 fix.patch"]);
        let packages: Vec<String> = data.packages.iter().map(|p| p.nevra.to_string()).collect();
        assert_eq!(packages, ["zlib-1:1.2-3.mw1.x86_64", "zlib-devel-1:1.2-3.mw1.x86_64"]);
        assert_eq!(texts(&data.packages[0].recommends), ["doc"]);
        assert_eq!(texts(&data.packages[1].requires), ["zlib = 1:1.2-3.mw1"]);
        assert_eq!(texts(&data.packages[1].obsoletes), ["zlib-static < 1"]);
        assert_eq!(texts(&data.packages[0].suggests), ["hint"]);
        assert_eq!(texts(&data.packages[0].supplements), ["(a and b)"]);
        assert_eq!(texts(&data.packages[0].enhances), ["back"]);
        let left_out: Vec<u32> = data.sources.iter().filter(|s| s.left_out).map(|s| s.number).collect();
        assert_eq!(left_out, [4]);
        assert_eq!(data.build_arch, ["noarch"]);
        assert_eq!(
            (data.summary.as_str(), data.license.as_str(), data.url.as_deref()),
            ("A library", "MIT", Some("http://h"))
        );
        let licenses: Vec<Option<&str>> = data.packages.iter().map(|p| p.license.as_deref()).collect();
        assert_eq!(licenses, [None, Some("GPL")]);
        assert_eq!(data.packages[1].summary, "Headers");
    }

    #[test]
    fn triggers_arrive_or_are_refused() {
        let read = |triggers: &str| read_with_triggers(SOURCE, PACKAGES, None, triggers.as_bytes());
        let data = read("\x1dlua > minor\x1econf/*\x1e\x1e\x1e\x1e").unwrap();
        assert_eq!(
            (data.triggers.packages.as_str(), data.triggers.files.as_str()),
            ("lua > minor", "conf/*")
        );
        assert!(read("\x1d\x1e\x1e\x1e\x1e\x1e").unwrap().triggers.is_empty());
        for (triggers, name, column) in [
            ("\x1dlua > x\x1e\x1e\x1e\x1e\x1e", PACKAGES_MACRO, 7),
            ("\x1d\x1e/a\x1e\x1e\x1e\x1e", FILES_MACRO, 1),
            ("\x1d\x1e\x1ea = |\x1e\x1e\x1e", PROGRAMS_MACRO, 5),
            ("\x1d\x1e\x1e\x1ea = |\x1e\x1e", PROGRAMS_MACRO_OF_MKPKG, 5),
            ("\x1d\x1e\x1e\x1e\x1efile ../x\x1e", VERSION_MACRO, 6),
        ] {
            let Err(FailureKind::Trigger(fault)) = read(triggers) else { panic!("{triggers}") };
            assert_eq!((fault.name.as_str(), fault.place), (name, TriggerPlace::Value { line: 1, column }));
        }
    }

    #[test]
    fn requirements_keep_what_they_are_for() {
        let data = read(SOURCE, PACKAGES, None).unwrap();
        assert_eq!(texts(&data.packages[0].requires), ["/bin/sh", "user", "zlib-data"]);
        let qualified: Vec<String> = data.packages[0]
            .qualified_requires
            .iter()
            .map(|(kind, list)| format!("{kind:?}: {}", texts(list).join(" ")))
            .collect();
        assert_eq!(qualified, ["Plain: user", "Interp: /bin/sh", "Pre: user", "Post: /bin/sh"]);
        assert!(data.packages[1].qualified_requires.is_empty());
        for damage in ["post;interp", "later"] {
            let packages = PACKAGES.replace("post,interp", damage);
            assert!(matches!(read(SOURCE, &packages, None), Err(FailureKind::Malformed { .. })), "{damage}");
        }
        let packages = PACKAGES.replace("post,interp\x1f", "");
        assert!(matches!(read(SOURCE, &packages, None), Err(FailureKind::Malformed { .. })));
    }

    #[test]
    fn listed_files_belong_to_their_package() {
        let data = read(SOURCE, PACKAGES, None).unwrap();
        assert_eq!(texts(&data.packages[0].files), ["/usr/bin/z"]);
        assert_eq!(data.packages[0].file_lists, ["z.lang"]);
        assert_eq!(texts(&data.packages[1].files), ["%dir /usr/include/z", "%exclude /usr/x"]);
    }

    #[test]
    fn the_check_pass_has_its_own_requirements() {
        let with_check = SOURCE.replace("make\x1f(a", "make\x1fdejagnu\x1f(a");
        let data = read(SOURCE, PACKAGES, Some((&with_check, TEXT))).unwrap();
        assert_eq!(texts(&data.build_requires), ["make", "(a or b >= 2)"]);
        assert_eq!(texts(&data.check_requires), ["dejagnu", "make", "(a or b >= 2)"]);
    }

    #[test]
    fn sources_of_the_check_pass_are_marked() {
        let with_check =
            SOURCE.replace("fix.patch\x1f", "fix.patch\x1ftest.patch\x1f").replace("z.pc\x1f", "");
        let text = TEXT.replace("Source4: z.pc\n", "").replace("Source9: gone", "Patch7: test.patch");
        let data = read(SOURCE, PACKAGES, Some((&with_check, &text))).unwrap();
        let sources: Vec<String> = data.sources.iter().map(|s| format!("{} {:?}", s.file, s.used)).collect();
        assert_eq!(
            sources,
            ["z-1.2.tgz Always", "z.pc WithoutCheck", "fix.patch Always", "test.patch WithCheck"]
        );
        let files =
            |run_check| data.sources.iter().filter(move |source| source.used.applies(run_check)).count();
        assert_eq!((files(false), files(true)), (3, 3));
    }

    #[test]
    fn a_source_that_the_text_hides_is_kept() {
        let data = read(&SOURCE.replace("z.pc\x1f", "z.pc\x1fhidden\x1f"), PACKAGES, None).unwrap();
        assert!(data.sources.iter().any(|source| source.file == "hidden" && source.number == 5));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let bad = read(&SOURCE.replace("(a or b", "(a xor b"), PACKAGES, None);
        assert!(matches!(bad, Err(FailureKind::Malformed { field, .. }) if field == "BuildRequires"));
        assert!(read("", PACKAGES, None).is_err());
        assert!(read(&format!("{SOURCE}{SOURCE}"), PACKAGES, None).is_err());
    }
}
