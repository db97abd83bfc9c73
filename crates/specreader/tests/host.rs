//! The command engine over the rpm of this host: real `rpmspec`, real `rpmbuild`, hostile specs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

#[allow(dead_code, reason = "only a sandbox may run all of them")]
mod hostile_specs;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rpm_model::{BadSpec, SpecData};
use specreader::{
    EngineLimits, FailureKind, HostEngine, PackError, PackRequest, ReadOptions, ReleaseMacros, SourceDate,
    SpecEngine, SpecFailure, SpecInput,
};

const GOOD: &str = "\
Name: good
Version: 1.2
Release: 3%{?dist}
Summary: A package
License: MIT
Source: https://example.invalid/good-1.2.tar.gz
Source: extra.txt
Patch0: fix.patch
BuildRequires: make, pkgconfig(zlib) >= 1.2
BuildRequires: (python3 or perl >= 5)
%{?with_check:%if %{with_check}
BuildRequires: dejagnu
%endif}
BuildConflicts: evil
%description
Text.
%package devel
Summary: Headers
Requires: %{name}%{?_isa} = %{version}-%{release}
Obsoletes: good-static < 1
%description devel
Text.
%check
make check
%files
%files devel
%changelog
* Fri Nov 20 2026 A Packager <a@example.invalid> - 1.2-3
- First
";

struct Tree {
    directory: tempfile::TempDir,
    inputs: Vec<SpecInput>,
}

impl Tree {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), inputs: Vec::new() }
    }

    fn add(&mut self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let source_dir = self.directory.path().join(name);
        fs::create_dir_all(&source_dir).unwrap();
        let path = source_dir.join(format!("{name}.spec"));
        fs::write(&path, text).unwrap();
        self.inputs.push(SpecInput { name: name.to_owned(), path: path.clone(), source_dir });
        path
    }

    fn engine(&self, change: impl FnOnce(&mut EngineLimits)) -> Option<HostEngine> {
        let mut limits = EngineLimits::usual(NonZeroUsize::new(2).unwrap());
        change(&mut limits);
        match HostEngine::new(self.directory.path().join("scratch"), limits) {
            Ok(engine) => Some(engine),
            Err(error) => {
                eprintln!("SKIPPED: no rpm on this host: {error}");
                None
            }
        }
    }
}

fn options() -> ReadOptions {
    ReadOptions {
        arch: "x86_64".to_owned(),
        defines: BTreeMap::from([("dist".to_owned(), ".t1".to_owned())]),
        macro_files: Vec::new(),
        release_macros: ReleaseMacros::default(),
        source_headers: false,
    }
}

fn read(tree: &Tree) -> Vec<Result<SpecData, SpecFailure>> {
    let Some(engine) = tree.engine(|limits| limits.seconds = 3) else { return Vec::new() };
    let results = engine.read(&tree.inputs, &options()).unwrap();
    results.into_iter().map(|result| result.map(|parsed| parsed.data)).collect()
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn a_spec_is_read_as_rpm_sees_it() {
    let mut tree = Tree::new();
    tree.add("good", GOOD);
    let Some(result) = read(&tree).pop() else { return };
    let data = result.unwrap();
    assert_eq!(data.source.to_string(), "good-1.2-3.t1.src");
    assert_eq!(texts(&data.build_requires), ["make", "pkgconfig(zlib) >= 1.2", "(python3 or perl >= 5)"]);
    assert_eq!(
        texts(&data.check_requires),
        ["dejagnu", "make", "pkgconfig(zlib) >= 1.2", "(python3 or perl >= 5)"]
    );
    assert_eq!(texts(&data.build_conflicts), ["evil"]);
    let sources: Vec<String> =
        data.sources.iter().map(|s| format!("{:?}{} {}", s.kind, s.number, s.file)).collect();
    assert_eq!(sources, ["Source0 good-1.2.tar.gz", "Source1 extra.txt", "Patch0 fix.patch"]);
    assert_eq!(data.sources[0].url.as_deref(), Some("https://example.invalid/good-1.2.tar.gz"));
    let devel = data.packages.iter().find(|p| p.nevra.name == "good-devel").unwrap();
    assert_eq!(texts(&devel.provides), ["good-devel = 1.2-3.t1", "good-devel(x86-64) = 1.2-3.t1"]);
    assert_eq!(texts(&devel.requires), ["good(x86-64) = 1.2-3.t1"]);
    assert_eq!(texts(&devel.obsoletes), ["good-static < 1"]);
    assert!(data.has_check);
}

/// Everything that a package can say about others, and every form of `%files`.
const DETAILED: &str = "\
Name: main
Version: 1
Release: 1
Summary: The main package
License: MIT
URL: https://example.invalid/
BuildArch: noarch
Source0: https://example.invalid/get?file=main.tar.gz
Source5: not-free.bin
Patch2: big.patch
NoSource: 5
NoPatch: 2
Requires: both, plain >= 1
Requires(pre,postun): both, user-tools
Requires(meta): companion
Requires(verify): checker
Suggests: hint
Enhances: (a and b)
%description
Text.
%package libs
Summary: Libraries
License: LGPL
%description libs
Text.
%package -n other
Summary: Another
%description -n other
Text.
%package unbuilt
Summary: Without a list
%description unbuilt
Text.
%package empty
Summary: With an empty list
%description empty
Text.
%post libs -p /sbin/ldconfig
%files -f main.lang
%defattr(-,root,root)
%license COPYING
%doc README
%{_bindir}/main
%dir %attr(0750, root, root) %{_sysconfdir}/main
%config(noreplace) %{_sysconfdir}/main/*.conf
%ghost /var/log/main.log
%exclude %{_libdir}/*.la
%files -n other -f a -f b
\"/usr/share/a b\"
%files \"libs\"
%files empty
# nothing
";

#[test]
fn every_fact_about_packages_arrives() {
    let mut tree = Tree::new();
    tree.add("main", DETAILED);
    let Some(result) = read(&tree).pop() else { return };
    let data = result.unwrap();
    assert_eq!((data.summary.as_str(), data.license.as_str()), ("The main package", "MIT"));
    assert_eq!(data.url.as_deref(), Some("https://example.invalid/"));
    assert_eq!(data.build_arch, ["noarch"]);
    let sources: Vec<String> =
        data.sources.iter().map(|s| format!("{:?}{} {} {}", s.kind, s.number, s.file, s.left_out)).collect();
    assert_eq!(sources, ["Source0 main.tar.gz false", "Source5 not-free.bin true", "Patch2 big.patch true"]);
    let names: Vec<&str> = data.packages.iter().map(|package| package.nevra.name.as_str()).collect();
    assert_eq!(names, ["main", "main-empty", "main-libs", "other"]);
    let [main, empty, libs, other] = data.packages.as_slice() else { panic!("{names:?}") };
    assert_eq!(main.nevra.arch, "noarch");
    assert_eq!(texts(&main.requires), ["both", "checker", "companion", "plain >= 1", "user-tools"]);
    let qualified = |package: &rpm_model::SpecPackage| -> Vec<String> {
        let line = |(kind, list): (&rpm_model::RequirementKind, &Vec<_>)| {
            format!("{kind:?}: {}", texts(list).join(" "))
        };
        package.qualified_requires.iter().map(line).collect()
    };
    assert_eq!(
        qualified(main),
        [
            "Plain: both",
            "Meta: companion",
            "Pre: both user-tools",
            "PostUn: both user-tools",
            "Verify: checker"
        ]
    );
    assert_eq!(qualified(libs), ["Interp: /sbin/ldconfig", "Post: /sbin/ldconfig"]);
    assert_eq!(
        (texts(&main.suggests), texts(&main.enhances)),
        (vec!["hint".into()], vec!["(a and b)".into()])
    );
    assert_eq!((libs.summary.as_str(), libs.license.as_deref()), ("Libraries", Some("LGPL")));
    assert_eq!(other.license, None);
    let [bin, etc, conf, log, left_out] = main.files.as_slice() else { panic!("{:?}", main.files) };
    assert_eq!(bin.to_string(), "/usr/bin/main");
    assert_eq!(etc.to_string(), "%dir /etc/main");
    assert_eq!(conf.to_string(), "/etc/main/*.conf");
    assert_eq!(log.to_string(), "%ghost /var/log/main.log");
    assert!(left_out.excluded && left_out.path.ends_with("/*.la"), "{left_out}");
    assert_eq!(main.file_lists, ["main.lang"]);
    assert_eq!(
        (texts(&other.files), other.file_lists.as_slice()),
        (vec!["/usr/share/a b".to_owned()], &["a".to_owned(), "b".to_owned()][..])
    );
    assert!(empty.files.is_empty() && libs.files.is_empty());
}

#[test]
fn one_bad_spec_never_hides_the_others() {
    let spec = |body: &str| {
        format!("Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n{body}%description\nx\n%files\n")
    };
    let mut tree = Tree::new();
    tree.add("good", GOOD);
    tree.add("tag", spec("Foo: bar\n"));
    tree.add("noname", "Version: 1\n%description\n");
    tree.add("recursion", spec("%define a %%a\n%a\n"));
    tree.add("hang", spec("%(sleep 1000)\n"));
    tree.add("flood", spec("%{lua: while true do print(string.rep('x', 1048576)) end}\n"));
    tree.add("latin1", [spec("").as_bytes(), b"# ok\nRequires: caf\xe9\n"].concat());
    tree.add("utf8", {
        let mut text = spec("").into_bytes();
        text.splice(text.len() - 9..text.len() - 9, *b"caf\xe9\n");
        text
    });
    tree.add("suicide", spec("%(kill -SEGV $PPID; sleep 5)\n"));
    tree.add("empty", "");
    tree.add("include", spec("%include gone.inc\n"));
    tree.inputs.push(SpecInput {
        name: "absent".to_owned(),
        path: tree.directory.path().join("absent.spec"),
        source_dir: tree.directory.path().to_owned(),
    });
    tree.add("bad name; rm -rf $HOME", GOOD);
    tree.add("last", GOOD.replace("good", "last"));
    let results = read(&tree);
    if results.is_empty() {
        return;
    }
    let outcome: BTreeMap<&str, &Result<SpecData, SpecFailure>> =
        tree.inputs.iter().zip(&results).map(|(input, result)| (input.name.as_str(), result)).collect();
    let kind = |name: &str| outcome[name].as_ref().map(|_| ()).map_err(|failure| failure.kind.clone());
    assert_eq!(kind("good"), Ok(()));
    assert_eq!(kind("last"), Ok(()));
    for name in ["tag", "noname", "recursion", "utf8", "empty", "include"] {
        assert_eq!(kind(name), Err(FailureKind::Rejected), "{name}");
        assert!(!outcome[name].as_ref().unwrap_err().diagnostics.is_empty(), "{name}");
    }
    assert_eq!(kind("hang"), Err(FailureKind::TimeLimit { seconds: 3 }));
    assert!(kind("flood").is_err());
    assert_eq!(kind("suicide"), Err(FailureKind::Crashed { how: "signal 11".to_owned() }));
    assert!(matches!(kind("absent"), Err(FailureKind::Unreadable { .. })));
    assert_eq!(kind("bad name; rm -rf $HOME"), Err(FailureKind::BadName));

    let bad = BadSpec::from(outcome["tag"].clone().unwrap_err());
    assert_eq!((bad.line, bad.message.as_str()), (Some(6), "Unknown tag: Foo: bar"));
}

#[test]
fn harmful_text_harms_itself_only() {
    let mut tree = Tree::new();
    let hostile = hostile_specs::harmless();
    for case in &hostile {
        tree.add(case.name, &case.text);
    }
    tree.add("good", GOOD);
    let Some(engine) = tree.engine(|limits| {
        limits.seconds = 3;
        limits.memory_bytes = 512 << 20;
    }) else {
        return;
    };
    let results = engine.read(&tree.inputs, &options()).unwrap();
    let complaints =
        hostile.iter().zip(&results).filter_map(|(case, result)| hostile_specs::complaint(case, result));
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
    assert!(results.last().unwrap().is_ok());
}

#[test]
fn what_is_no_spec_file_is_told() {
    let mut tree = Tree::new();
    let bad = hostile_specs::not_files(tree.directory.path());
    tree.inputs.extend(bad.iter().cloned());
    let trapped = hostile_specs::in_traps(tree.directory.path());
    tree.inputs.extend(trapped);
    tree.add("huge", hostile_specs::huge());
    tree.add("good", GOOD);
    let results = read(&tree);
    for (input, result) in tree.inputs.iter().zip(&results) {
        let kind = result.as_ref().map(|_| ()).map_err(|failure| &failure.kind);
        match input.name.as_str() {
            "good" => assert_eq!(kind, Ok(())),
            "huge" => assert_eq!(kind, Err(&FailureKind::TooLarge { limit: 16 << 20 })),
            name => {
                let told = matches!(kind, Err(FailureKind::Unreadable { .. }));
                assert!(told || (kind.is_ok() && !bad.contains(input)), "{name}: {kind:?}");
            }
        }
    }
}

#[test]
fn size_is_bounded_on_the_way_in_and_out() {
    let mut tree = Tree::new();
    tree.add("good", GOOD);
    tree.add("huge", GOOD.replace("Text.", &"x\n".repeat(40_000)));
    // A few bytes that expand to megabytes.
    let bomb = "%define a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n%define b %a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a\n\
                %define c %b%b%b%b%b%b%b%b%b%b%b%b%b%b%b%b\n%define d %c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c\n";
    tree.add("bomb", GOOD.replace("Name:", &format!("{bomb}Name:")).replace("Text.", "%d%d%d%d"));
    let Some(engine) = tree.engine(|limits| {
        limits.spec_bytes = 65_536;
        limits.output_bytes = 65_536;
    }) else {
        return;
    };
    let results = engine.read(&tree.inputs, &options()).unwrap();
    assert!(results[0].is_ok());
    for (result, limit) in results[1..].iter().zip([65_536, 65_536]) {
        assert_eq!(result.as_ref().unwrap_err().kind, FailureKind::TooLarge { limit });
    }
}

#[test]
fn large_files_are_seen_by_specs_that_can_read_files() {
    let mut tree = Tree::new();
    let path =
        tree.add("good", GOOD.replace("Version: 1.2", "Version: %(head -c 3 %{_sourcedir}/extra.txt)"));
    fs::write(path.with_file_name("extra.txt"), "9.8".to_owned() + &"x".repeat(2 << 20)).unwrap();
    let Some(result) = read(&tree).pop() else { return };
    let data = result.unwrap();
    assert_eq!(data.source.evr.version, "9.8");
}

#[test]
fn no_state_passes_from_one_spec_to_the_next() {
    let mut tree = Tree::new();
    tree.add("first", GOOD.replace("Name: good", "%global leak leaked\n%{lua:leak='leaked'}Name: good"));
    tree.add("second", GOOD.replace("Name: good", "Name: good%{?leak}%{lua:if leak then print(leak) end}"));
    for result in read(&tree) {
        assert_eq!(result.unwrap().source.name, "good");
    }
}

#[test]
fn macro_files_and_included_files_count() {
    let mut tree = Tree::new();
    let path = tree.add("good", GOOD.replace("Version: 1.2", "%include version.inc"));
    fs::write(path.with_file_name("version.inc"), "Version: %{special}\n").unwrap();
    let macros = tree.directory.path().join("macros.special");
    fs::write(&macros, "%special 7.7\n").unwrap();
    let Some(engine) = tree.engine(|_| ()) else { return };
    let options = ReadOptions { macro_files: vec![macros], ..options() };
    let data = engine.read(&tree.inputs, &options).unwrap().remove(0).unwrap().data;
    assert_eq!(data.source.evr.version, "7.7");
}

fn pack(engine: &HostEngine, spec: &Path, output: &Path) -> Result<PathBuf, PackError> {
    fs::create_dir_all(output).unwrap();
    let directory = spec.parent().unwrap();
    engine.pack(&PackRequest {
        spec: SpecInput {
            name: spec.file_stem().unwrap().to_str().unwrap().to_owned(),
            path: spec.to_owned(),
            source_dir: directory.to_owned(),
        },
        sources: ["good-1.2.tar.gz", "extra.txt", "fix.patch"]
            .into_iter()
            .map(|file| (file.to_owned(), directory.join(file)))
            .filter(|(_, path)| path.exists())
            .collect(),
        output: output.to_owned(),
        arch: "x86_64".to_owned(),
        defines: options().defines,
        macro_files: Vec::new(),
        release_macros: ReleaseMacros::default(),
        source_date: SourceDate::Changelog,
    })
}

#[test]
fn an_srpm_comes_out_whole_or_not_at_all() {
    let mut tree = Tree::new();
    let spec = tree.add("good", GOOD);
    for file in ["good-1.2.tar.gz", "extra.txt"] {
        fs::write(spec.with_file_name(file), file).unwrap();
    }
    let output = tree.directory.path().join("out");
    let Some(engine) = tree.engine(|_| ()) else { return };
    let refused = pack(&engine, &spec, &output).unwrap_err();
    assert!(refused.to_string().contains("fix.patch"), "{refused}");
    assert_eq!(fs::read_dir(&output).unwrap().count(), 0);
    fs::write(spec.with_file_name("fix.patch"), "x").unwrap();
    let srpm = pack(&engine, &spec, &output).unwrap();
    assert_eq!(srpm, output.join("good-1.2-3.t1.src.rpm"));
    let listing = std::process::Command::new("rpm")
        .args(["-qp", "--qf", "[%{FILENAMES} %{FILEUSERNAME} %{FILEMTIMES}\n]%{BUILDTIME} %{BUILDHOST}"])
        .arg(&srpm)
        .output()
        .unwrap();
    // 2026-11-20 00:00 UTC, the day of the changelog.
    let expected = "extra.txt root 1795132800\nfix.patch root 1795132800\ngood-1.2.tar.gz root 1795132800\n\
                    good.spec root 1795132800\n1795132800 millwright";
    assert_eq!(String::from_utf8_lossy(&listing.stdout), expected);
}
