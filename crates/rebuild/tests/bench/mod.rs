//! A spec that was built, and the packages that exist now, to judge triggers with.

use std::collections::{BTreeMap, BTreeSet};

use rebuild::soname::providers_of_sonames;
use rebuild::trigger::{
    Evaluated, ProgramAnswer, ProgramFault, TriggerFacts, TriggerSyntaxError, Verdict, evaluate,
    parse_file_triggers, parse_triggers,
};
use rebuild::{PresentFacts, PublishedState, build_reasons};
use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, LibraryPath, LinkageFacts, LockedPackage, Nevra,
    PackageArtifact, PackageOrigin, RebuildPolicy, RecordedPackage, Requirement, ResourceUsage, SeenAnswer,
    SeenPackage,
};

pub(crate) const FIRES: &str = "fires";
pub(crate) const QUIET: &str = "quiet";
pub(crate) const UNKNOWN: &str = "unknown";

/// Packages are written `version-release`, with `#` and anything where their content is not the usual one.
#[derive(Clone)]
pub(crate) struct Bench {
    record: BuildRecord,
    packages: BTreeMap<String, SeenPackage>,
    files: BTreeMap<String, ContentDigest>,
    /// Libraries that packages have for themselves alone.
    private: BTreeSet<String>,
    /// The specs that published packages are of.
    specs: BTreeMap<String, String>,
    answers: BTreeMap<String, (Vec<String>, ProgramAnswer)>,
}

/// Returns line and column of an error.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, TriggerSyntaxError>) -> (usize, usize) {
    match result {
        Ok(_) => panic!("it is accepted"),
        Err(error) => (error.line, error.column),
    }
}

fn digest(text: &str) -> ContentDigest {
    ContentDigest::of_bytes(text.as_bytes())
}

fn seen(name: &str, text: &str) -> SeenPackage {
    let evr = text.split('#').next().unwrap();
    let nevra = format!("{name}-{evr}.x86_64").parse().unwrap();
    SeenPackage { nevra, sha256: digest(&format!("{name} {text}")), provided: None }
}

fn artifact(nevra: &str) -> PackageArtifact {
    PackageArtifact {
        nevra: nevra.parse().unwrap(),
        path: format!("{nevra}.rpm"),
        sha256: digest(nevra),
        size: 1,
    }
}

impl Default for Bench {
    fn default() -> Self {
        let own = RecordedPackage {
            artifact: artifact("own-1-1.x86_64"),
            provides: vec!["own = 1-1".parse().unwrap()],
            requires: Vec::new(),
        };
        let record = BuildRecord {
            schema: BuildRecord::SCHEMA,
            package: "own".into(),
            source: "own-1-1.src".parse().unwrap(),
            dist_counter: None,
            inputs: digest("inputs"),
            identity: digest("identity"),
            worker: digest("worker"),
            lock: BuildrootLock::new(Vec::new()),
            checked: false,
            reasons: Vec::new(),
            rpms: vec![own],
            unmet: Vec::new(),
            srpm: artifact("own-1-1.src"),
            usage: ResourceUsage::default(),
            phases: Vec::new(),
            usage_source: None,
            check: None,
            generated: Vec::new(),
            caches: Vec::new(),
            triggers: Default::default(),
            cpus: None,
            input_parts: None,
            cascade: None,
            reused: None,
            changes: Vec::new(),
        };
        Self {
            record,
            packages: BTreeMap::new(),
            files: BTreeMap::new(),
            private: BTreeSet::new(),
            specs: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }
}

impl Bench {
    /// The last build saw this package.
    pub(crate) fn recorded(mut self, name: &str, text: &str) -> Self {
        self.record.triggers.packages.insert(name.to_owned(), Some(seen(name, text)));
        self
    }

    /// The last build saw that there was no package of the name.
    pub(crate) fn recorded_absent(mut self, name: &str) -> Self {
        self.record.triggers.packages.insert(name.to_owned(), None);
        self
    }

    /// The last build saw these files, as path and content.
    pub(crate) fn recorded_files(mut self, pattern: &str, files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), digest(text))).collect();
        self.record.triggers.files.insert(pattern.to_owned(), files);
        self
    }

    /// The last build saw that the program for a name gave this version.
    pub(crate) fn answered(mut self, name: &str, version: &str) -> Self {
        let seen = SeenAnswer { command: vec!["version".to_owned()], version: version.parse().unwrap() };
        self.record.triggers.programs.insert(name.to_owned(), Some(seen));
        self
    }

    /// The last build saw that the program for a name gave no version.
    pub(crate) fn answered_nothing(mut self, name: &str) -> Self {
        self.record.triggers.programs.insert(name.to_owned(), None);
        self
    }

    /// The program for a name gives this version now.
    pub(crate) fn answers(mut self, name: &str, version: &str) -> Self {
        let answer = Ok(version.parse().unwrap());
        self.answers.insert(name.to_owned(), (vec!["version".to_owned()], answer));
        self
    }

    /// The program for a name gives no version now.
    pub(crate) fn silent(mut self, name: &str) -> Self {
        self.answers.insert(name.to_owned(), (vec!["version".to_owned()], Err(ProgramFault::Silent)));
        self
    }

    /// The last build root held this package; nothing else is known.
    pub(crate) fn root(mut self, name: &str, text: &str) -> Self {
        let SeenPackage { nevra, sha256, .. } = seen(name, text);
        let origin = PackageOrigin::Tree;
        self.record.lock =
            BuildrootLock::new(vec![LockedPackage { nevra, sha256, size: 1, path: String::new(), origin }]);
        self
    }

    /// This package exists now.
    pub(crate) fn present(mut self, name: &str, text: &str) -> Self {
        self.packages.insert(name.to_owned(), seen(name, text));
        self
    }

    /// A package is published by a spec of the tree.
    pub(crate) fn of_spec(mut self, package: &str, spec: &str) -> Self {
        self.specs.insert(package.to_owned(), spec.to_owned());
        self
    }

    /// These files exist now.
    pub(crate) fn files(mut self, files: &[(&str, &str)]) -> Self {
        self.files = files.iter().map(|(path, text)| ((*path).to_owned(), digest(text))).collect();
        self
    }

    /// The package is linked to a library, which these packages provided then and provide now.
    pub(crate) fn library(mut self, soname: &str, then: &str, now: &str) -> Self {
        self.record.triggers.sonames.insert(soname.to_owned(), seen("library", then));
        self.record.rpms[0].requires.push(soname.parse().unwrap());
        self.beside(soname, now)
    }

    /// A library exists now.
    pub(crate) fn beside(mut self, soname: &str, now: &str) -> Self {
        self.packages.insert(soname.to_owned(), seen("library", now));
        self
    }

    /// The package is linked to a library of its own.
    pub(crate) fn own_library(mut self, soname: &str) -> Self {
        self.record.rpms[0].provides.push(soname.parse().unwrap());
        self.record.rpms[0].requires.push(soname.parse().unwrap());
        self
    }

    /// The files of the last build say this of libraries.
    pub(crate) fn linkage(mut self, say: impl FnOnce(&mut LinkageFacts)) -> Self {
        say(self.record.cascade.get_or_insert_default().linkage.get_or_insert_default());
        self
    }

    /// The library is there now, but only in a directory that its package alone searches.
    pub(crate) fn privately(mut self, soname: &str) -> Self {
        self.private.insert(soname.to_owned());
        self.beside(soname, "1-1")
    }

    /// Nothing provides it any more.
    pub(crate) fn gone(mut self, soname: &str) -> Self {
        self.packages.remove(soname);
        self
    }

    /// The package requires something that nothing provides any more.
    pub(crate) fn requires(mut self, name: &str) -> Self {
        self.record.rpms[0].requires.push(name.parse().unwrap());
        self
    }

    /// Returns the record of the last build.
    pub(crate) fn into_record(self) -> BuildRecord {
        self.record
    }

    fn facts(&self, packages: &str, files: &str) -> TriggerFacts {
        let patterns = parse_file_triggers(files).unwrap();
        TriggerFacts::new(parse_triggers(packages).unwrap(), &patterns, &self.files, self)
            .with_answers(self.answers.clone())
    }

    /// Returns what each trigger says, sorted by the triggers' texts.
    pub(crate) fn verdicts(&self, triggers: &str) -> Vec<&'static str> {
        evaluate(&self.record, &self.facts(triggers, ""), self).into_iter().map(word).collect()
    }

    /// Returns what one trigger says.
    #[track_caller]
    pub(crate) fn verdict(&self, trigger: &str) -> &'static str {
        let verdicts = self.verdicts(trigger);
        assert_eq!(verdicts.len(), 1, "{trigger}");
        verdicts[0]
    }

    /// Returns what one pattern of files says.
    pub(crate) fn file_verdict(&self, pattern: &str) -> &'static str {
        let verdicts: Vec<_> =
            evaluate(&self.record, &self.facts("", pattern), self).into_iter().map(word).collect();
        if verdicts.contains(&FIRES) { FIRES } else { verdicts[0] }
    }

    /// Returns the reasons to build again with these triggers.
    pub(crate) fn reasons(&self, triggers: &str) -> Vec<BuildReason> {
        self.decide(&self.facts(triggers, ""))
    }

    /// Returns whether libraries make a rebuild necessary under a policy.
    pub(crate) fn sonames(&self, policy: &str) -> &'static str {
        if self.soname_reasons(policy).is_empty() { QUIET } else { FIRES }
    }

    /// Returns who provides the libraries that it is linked to.
    pub(crate) fn providers(&self) -> BTreeMap<String, SeenPackage> {
        providers_of_sonames(&self.record, self)
    }

    /// Returns the record's `.mkp_dep_vers`.
    pub(crate) fn dep_vers(&self) -> String {
        rebuild::export::dep_vers(&self.record)
    }

    /// Returns the record's `.mkp_dep_soname`.
    pub(crate) fn dep_soname(&self) -> String {
        rebuild::export::dep_soname(&self.record)
    }

    /// Returns the reasons that libraries are under a policy.
    pub(crate) fn soname_reasons(&self, policy: &str) -> Vec<BuildReason> {
        self.decide(&TriggerFacts::default().with_sonames(policy.parse().unwrap()))
    }

    fn decide(&self, triggers: &TriggerFacts) -> Vec<BuildReason> {
        let present = PresentFacts {
            inputs: &self.record.inputs,
            input_parts: &|| None,
            run_check: false,
            worker: &self.record.worker,
            requested: None,
            policy: RebuildPolicy::Relevant,
            build_requires: &[],
            triggers,
            root: &|| None,
        };
        build_reasons(Some(&self.record), &present, self)
    }
}

fn word(evaluated: Evaluated) -> &'static str {
    match evaluated.verdict {
        Verdict::Fires(_) => FIRES,
        Verdict::Quiet => QUIET,
        Verdict::Unknown(_) => UNKNOWN,
    }
}

impl PublishedState for Bench {
    fn content(&self, path: &str) -> Option<ContentDigest> {
        let own = self.record.rpms.iter().find(|rpm| rpm.artifact.path == path);
        own.map(|rpm| rpm.artifact.sha256.clone())
    }

    fn satisfied(&self, requirement: &Requirement) -> bool {
        requirement.leaves().iter().all(|leaf| self.packages.contains_key(&leaf.name))
    }

    fn linkable(&self, requirement: &Requirement) -> bool {
        self.satisfied(requirement) && !self.private.contains(&requirement.to_string())
    }

    fn libraries_of(&self, _spec: &str) -> Vec<(String, Nevra)> {
        Vec::new()
    }

    fn library_path(&self, _library: &str) -> Option<LibraryPath> {
        None
    }

    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
        self.packages.get(name).map(|seen| (&seen.nevra, &seen.sha256))
    }

    fn trigger_target(&self, name: &str) -> Option<SeenPackage> {
        self.packages.get(name).cloned()
    }

    fn spec_of(&self, name: &str) -> Option<&str> {
        self.specs.get(name).map(String::as_str)
    }

    fn withdrew(&self, _requirement: &Requirement) -> Option<&str> {
        None
    }
}
