//! `toolkit/Makefile`: what docs/azure.md says of each target and variable is what make does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{Ended, start};
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below, program_path, workspace};

/// Returns a make with nothing in its environment that it looks at.
fn plain_make(arguments: &[&str]) -> Command {
    let mut command = Command::new("make");
    command.arg("--silent").args(arguments);
    command.env_clear();
    command.envs(
        std::env::vars_os().filter(|(name, _)| ["PATH", "HOME", "TMPDIR"].iter().any(|kept| name == kept)),
    );
    command
}

/// Returns the same with `program` in the place of millwright.
fn make_command(program: &str, arguments: &[&str]) -> Command {
    let mut command = plain_make(arguments);
    command.arg(format!("MILLWRIGHT={program}"));
    command
}

/// Runs make on the toolkit with `program` in the place of millwright.
fn make(scratch: &Path, program: &str, arguments: &[&str]) -> Ended {
    let mut command = make_command(program, arguments);
    command.arg("--directory").arg(workspace().join("toolkit"));
    start(&mut command, &scratch.join("make")).wait()
}

/// Returns the words with which make calls millwright.
fn call(scratch: &Path, arguments: &[&str]) -> Vec<String> {
    let ended = make(scratch, "printf '%s\\n'", arguments);
    ended.exits(0);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// A row of a table of docs/azure.md.
struct Row {
    name: String,
    class: String,
    text: String,
}

impl Row {
    /// Returns what stands between backquotes, in order.
    fn spans(&self) -> Vec<&str> {
        self.text.split('`').skip(1).step_by(2).collect()
    }
}

/// Returns the rows of the table below a heading of docs/azure.md.
fn table(heading: &str) -> Vec<Row> {
    let document = fs::read_to_string(workspace().join("docs/azure.md")).unwrap();
    let (_, below) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let below = below.split("\n## ").next().unwrap();
    let rows = below.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        Row { name: cells[0].trim_matches('`').into(), class: cells[1].into(), text: cells[2].into() }
    });
    rows.collect()
}

/// Returns the words of a variable of the make front.
fn words(scratch: &Path, variable: &str) -> BTreeSet<String> {
    let ended = make(scratch, "false", &[&format!("printvar-{variable}")]);
    ended.exits(0);
    ended.stdout.split_whitespace().map(str::to_owned).collect()
}

/// Returns the names of the rows of a class, less those that stand for many.
fn names(rows: &[Row], class: &str) -> BTreeSet<String> {
    let of_class = rows.iter().filter(|row| row.class.starts_with(class) && !row.name.contains('<'));
    of_class.map(|row| row.name.clone()).collect()
}

/// Asserts that millwright takes these arguments: with `--help` behind it a command line is parsed and nothing done.
fn assert_parsed(scratch: &Path, called: &[String]) {
    let mut command = Command::new(program_path("millwright"));
    start(command.args(called).arg("--help"), &scratch.join("help")).wait().exits(0);
}

#[test]
fn every_target_does_what_the_table_says() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = table("Targets");
    assert_eq!(names(&rows, "honoured"), words(scratch.path(), "HONOURED_TARGETS"));
    let images = words(scratch.path(), "image_targets");
    let mut answered = words(scratch.path(), "ANSWERED");
    assert!(answered.remove("images") && images.is_subset(&answered), "the answer that image targets share");
    assert_eq!(names(&rows, "answered"), answered);
    assert_eq!(names(&rows, "nothing to do"), words(scratch.path(), "NOTHING"));
    for row in &rows {
        let name = row.name.replace("<tool>", "grapher");
        match row.class.as_str() {
            "honoured" if row.text.starts_with('`') => {
                let called = call(scratch.path(), &[&name, "PRECACHER_SNAPSHOT=/f", "LICENSE_CHECK_DIRS=/d"]);
                let line = called.join(" ");
                assert!(line.starts_with(row.spans()[0]), "{name}: {line}");
                if name != "go-tools" {
                    assert_parsed(scratch.path(), &called);
                }
            }
            // Introspection: `what_is_shown_holds_and_costs_nothing`.
            "honoured" => assert!(["help", "printvar-", "get-"].iter().any(|begin| name.starts_with(begin))),
            "answered" => {
                let ended = make(scratch.path(), "echo called", &[&name]);
                ended.exits(2).says(&[&format!("{name}: {}", row.text)]);
                assert_eq!(ended.stdout, "", "{name} does nothing");
            }
            "nothing to do" => {
                let ended = make(scratch.path(), "echo called", &[&name]);
                ended.exits(0).says(&[&format!("{name}: nothing to remove: {}", row.text)]);
                assert_eq!(ended.stdout, "", "{name} does nothing");
            }
            other => panic!("{name}: what is `{other}`?"),
        }
    }
    make(scratch.path(), "echo called", &["license-check"])
        .exits(2)
        .says(&["LICENSE_CHECK_DIRS names no directory"]);
    for (targets, told) in [
        (&["build-pakages"][..], "there is no target `build-pakages` (did you mean `build-packages`?);"),
        (
            &["build-packages", "Graph", "nowhere"],
            "there is no target `Graph` (did you mean `graph`?); there is no target `nowhere`;",
        ),
    ] {
        let ended = make(scratch.path(), "echo called", targets);
        ended.exits(2).says(&[told, "`make -C toolkit help` lists what there is"]);
        assert_eq!(ended.stdout, "", "nothing is begun");
    }
    // make passes a failure on.
    make(scratch.path(), "false", &["build-packages"]).exits(2);
}

#[test]
fn every_variable_does_what_the_table_says() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = table("Variables");
    assert_eq!(names(&rows, "honoured"), words(scratch.path(), "HONOURED"));
    assert_eq!(names(&rows, "noted"), words(scratch.path(), "NOTED"));
    assert_eq!(names(&rows, "refused"), ["TARGET_ARCH".to_owned()].into());
    assert_eq!(call(scratch.path(), &["build-packages"]), ["build"]);
    for row in &rows {
        let name = row.name.as_str();
        match row.class.as_str() {
            "honoured" if name == "STOP_ON_WARNING" => {
                let noted = ["build-packages", "REBUILD_TOOLS=y", "STOP_ON_WARNING=y"];
                make(scratch.path(), "echo called", &noted).exits(2).says(&["REBUILD_TOOLS", "notes above"]);
                assert_eq!(call(scratch.path(), &["build-packages", "STOP_ON_WARNING=y"]), ["build"]);
            }
            "honoured" => {
                let spans = row.spans();
                let (value, argument) = (spans[0], spans[1]);
                let target = match name {
                    "PRECACHER_SNAPSHOT" => "pre-cache",
                    name if name.ends_with("_ARCHIVE") => spans[2],
                    name if name.starts_with("LICENSE_CHECK_") && name != "LICENSE_CHECK_MODE" => spans[2],
                    _ => "build-packages",
                };
                let set = format!("{name}= {value} ");
                let called = call(scratch.path(), &[target, &set]);
                assert!(called.iter().any(|word| word == argument), "{set}: {called:?}");
                // What goes before the build is a call of its own.
                for one in called.split(|word| word == "build").filter(|one| one.len() > 1) {
                    let one: Vec<String> = if one[0].starts_with("--") {
                        std::iter::once("build".to_owned()).chain(one.iter().cloned()).collect()
                    } else {
                        one.to_vec()
                    };
                    assert_parsed(scratch.path(), &one);
                }
                let ended = make(scratch.path(), "true", &[target, &set]);
                let hides = "SRPM_PACK_LIST hides all other specs";
                let told = if name == "SRPM_PACK_LIST" {
                    ended.stderr.contains(hides)
                } else {
                    ended.stderr.is_empty()
                };
                assert!(told, "{name}: {}", ended.stderr);
            }
            "noted" => {
                let ended = make(scratch.path(), "echo", &["build-packages", &format!("{name}=other")]);
                ended.exits(0).says(&[&format!("note: {name} has no effect: {}", row.text)]);
                assert_eq!(ended.stdout, "build\n", "{name}");
            }
            _ => {
                let ended = make(scratch.path(), "echo", &["build-packages", "TARGET_ARCH=vax"]);
                ended.exits(2).says(&[&format!("TARGET_ARCH=vax is refused: {}", row.text)]);
                let own = format!("TARGET_ARCH={}", std::env::consts::ARCH);
                assert_eq!(call(scratch.path(), &["build-packages", &own]), ["build"]);
            }
        }
    }
}

#[test]
fn values_become_arguments_whatever_is_in_them() {
    let scratch = tempfile::tempdir().unwrap();
    for (variables, arguments) in [
        (&["RUN_CHECK=n"][..], &["--run-check=false"][..]),
        // What is neither y nor n is millwright's to refuse.
        (&["RUN_CHECK=maybe"], &["--run-check=maybe"]),
        (&["CLEANUP_PACKAGE_BUILDS=y"], &["--clean=always"]),
        (&["CLEANUP_PACKAGE_BUILDS=on-success"], &["--clean=on-success"]),
        (&["REPO_LIST=/a.repo /b.repo"], &["--repo-file=/a.repo", "--repo-file=/b.repo"]),
        (&["SPECS_DIR=/a /b"], &["--specs-dir=/a", "--specs-dir=/b"]),
        (&["PACKAGE_BUILD_LIST=it's $$HOME `id` \"x\""], &["--build-list=it's $HOME `id` \"x\""]),
        (&["RELEASE_MAJOR_ID=3.0", "RELEASE_MINOR_ID=.7"], &["--release-version=3.0.7"]),
        (&["RELEASE_MAJOR_ID=3.0", "RELEASE_VERSION=4"], &["--release-version=4"]),
        (&["QUICK_REBUILD=n"], &[]),
        (&["QUICK_REBUILD=y", "MAX_CASCADING_REBUILDS=2"], &["--max-cascading-rebuilds=2"]),
        (&["LOG_LEVEL=info"], &[]),
        (&["LICENSE_CHECK_MODE=none"], &[]),
        (&["LOG_LEVEL=error"], &["--quiet"]),
    ] {
        let called = call(scratch.path(), &[&["build-packages"], variables].concat());
        assert_eq!(called, [&["build"], arguments].concat(), "{variables:?}");
    }
    let relative = call(scratch.path(), &["build-packages", "BUILD_DIR=../b"]);
    assert_eq!(relative[1], format!("--build-dir={}", workspace().join("b").display()));
    for (variables, arguments) in [
        (&["PRECACHE=n", "PRECACHER_SNAPSHOT=/p.json"][..], &[][..]),
        (&["PRECACHE=y", "PRECACHER_SNAPSHOT=/p.json"], &["--precache=/p.json"]),
        (&["PRECACHE=y", "OUT_DIR=/o"], &["--out-dir=/o", "--precache=/o/rpms_snapshot.json"]),
    ] {
        let called = call(scratch.path(), &[&["graph-cache"], variables].concat());
        assert_eq!(called, [&["fetch"], arguments].concat(), "{variables:?}");
    }
    let called = call(scratch.path(), &["pre-cache", "PRECACHE=y", "PRECACHER_SNAPSHOT=/p.json"]);
    assert_eq!(called, ["fetch", "--precache=/p.json"]);
}

#[test]
fn nothing_that_is_set_goes_unnoticed() {
    let scratch = tempfile::tempdir().unwrap();
    let notes = |arguments: &[&str]| {
        let ended = make(scratch.path(), "true", &[&["build-packages"], arguments].concat());
        ended.exits(0);
        ended.stderr
    };
    let note = notes(&["PAKAGE_BUILD_LIST=C=d e=F"]);
    assert_eq!(
        note,
        "note: PAKAGE_BUILD_LIST has no effect: there is no such variable; did you mean PACKAGE_BUILD_LIST?\n"
    );
    assert!(notes(&["run_check=y"]).contains("did you mean RUN_CHECK?"));
    assert!(notes(&["SOMETHING_ELSE_ENTIRELY=1"]).contains("`make help` lists what there is"));
    let elsewhere = notes(&["TOOLCHAIN_ARCHIVE=/a.tar"]);
    assert_eq!(
        elsewhere,
        "note: TOOLCHAIN_ARCHIVE has no effect on build-packages: only hydrate-toolchain compress-toolchain look at it\n"
    );
    // Repositories offer what the hidden specs would.
    assert_eq!(notes(&["SRPM_PACK_LIST=zlib", "REPO_LIST=/a.repo"]), "");
    assert_eq!(notes(&["SRPM_PACK_LIST=zlib", "PACKAGE_BUILD_LIST=zlib"]), "");
    // What asks for what is so anyway, and what is empty.
    for silent in ["REBUILD_TOOLS=n", "CONFIG_FILE=", "LOG_COLOR=auto", "DELTA_FETCH= n "] {
        assert_eq!(notes(&[silent]), "", "{silent}");
    }
    // The environment counts, but for names that anybody may use.
    let mut command = make_command("true", &["build-packages"]);
    command.arg("--directory").arg(workspace().join("toolkit"));
    command.env("REBUILD_TOOLS", "y").env("VERSION", "7").env("QUIET", "y");
    let ended = start(&mut command, &scratch.path().join("make")).wait();
    assert!(ended.stderr.contains("REBUILD_TOOLS") && !ended.stderr.contains("VERSION"), "{}", ended.stderr);
}

#[test]
fn what_is_shown_holds_and_costs_nothing() {
    let tree = tempfile::tempdir().unwrap();
    for file in ["toolkit/Makefile", "toolkit/answers.mk", "toolkit/nearest.awk"] {
        let copy = tree.path().join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(workspace().join(file), copy).unwrap();
    }
    fs::create_dir_all(tree.path().join("configs")).unwrap();
    fs::write(
        tree.path().join("configs/millwright.toml"),
        "distribution = { dist = '.own9', release-version = \"7.1.20\" } # not where one would look\n",
    )
    .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let before = files_below(tree.path());
    let program = program_path("millwright").to_string_lossy().into_owned();
    let shown = |arguments: &[&str]| {
        let mut command = make_command(&program, arguments);
        command.arg("--directory").arg(tree.path().join("toolkit"));
        let ended = start(&mut command, &scratch.path().join("make")).wait();
        ended.exits(0);
        assert_eq!(ended.stderr, "", "{arguments:?}");
        ended.stdout.trim_end_matches('\n').to_owned()
    };
    assert_eq!(shown(&["printvar-DIST_TAG"]), ".own9");
    assert_eq!(shown(&["get-dist-tag"]), ".own9");
    assert_eq!(shown(&["get-version"]), "7.1.20");
    assert_eq!(shown(&["get-release-major"]), "7.1");
    assert_eq!(shown(&["get-release-major", "RELEASE_MAJOR_ID=3.0"]), "3.0");
    assert_eq!(shown(&["get-version", "RELEASE_MAJOR_ID=3.0", "RELEASE_MINOR_ID=.5"]), "3.0.5");
    assert_eq!(shown(&["printvar-DIST_TAG", "DIST_TAG=.x"]), ".x");
    assert_eq!(
        shown(&["printvar-RPMS_DIR", "OUT_DIR=/elsewhere"]),
        "/elsewhere/RPMS",
        "what follows from what is set"
    );
    assert_eq!(
        shown(&["printvar-verbose-DIST_TAG"]),
        "DIST_TAG = .own9\nfrom: distribution.dist of the configuration"
    );
    assert_eq!(shown(&["printvar-verbose-DIST_TAG", "DIST_TAG=.x"]), "DIST_TAG = .x\nfrom: command line");
    let all = shown(&["printvar-all-vars", "MAX_CPU=3"]);
    let names: BTreeSet<String> =
        all.lines().map(|line| line.split(" = ").next().unwrap().trim_end_matches(" =").to_owned()).collect();
    assert_eq!(names, words(scratch.path(), "HONOURED"));
    assert!(all.contains("DIST_TAG = .own9\n") && all.contains("MAX_CPU = 3\n"), "{all}");
    let help = shown(&["help"]);
    for name in words(scratch.path(), "HONOURED") {
        assert!(help.contains(&name), "{name} is not in `make help`");
    }
    // Where nothing was compiled, what only the configuration knows is not known, and nothing is compiled for it.
    let uncompiled = |arguments: &[&str]| {
        let mut command = plain_make(arguments);
        command.arg("--directory").arg(tree.path().join("toolkit"));
        start(&mut command, &scratch.path().join("make")).wait()
    };
    uncompiled(&["printvar-DIST_TAG"]).exits(2).says(&["`make go-tools`"]);
    assert_eq!(uncompiled(&["printvar-DIST_TAG", "DIST_TAG=.x"]).exits(0).stdout, ".x\n");
    assert_eq!(files_below(tree.path()), before, "nothing was made");
}

#[test]
fn make_builds_packages() {
    let Some(tree) = Tree::new("make") else { return };
    tree.configure(&format!("{OFFLINE}[distribution]\nrelease-version = \"3.0\"\n"));
    tree.spec(&Spec::data("good").install(
        "echo %{distro_release_version} %{distro_build_number} > %{buildroot}/usr/share/good/version",
    ));
    tree.spec(&Spec::data("other"));
    let variable = |name: &str, path: &str| format!("{name}={}", tree.path(path).display());
    let variables = [
        variable("CONFIG", "configs/millwright.toml"),
        variable("SPECS_DIR", "SPECS"),
        variable("BUILD_DIR", "build"),
        variable("OUT_DIR", "out"),
        "PACKAGE_BUILD_LIST=good".to_owned(),
        "DIST_TAG=.azl3".to_owned(),
        "BUILD_NUMBER=42".to_owned(),
    ];
    let program = program_path("millwright").to_string_lossy().into_owned();
    let mut arguments = vec!["build-packages"];
    arguments.extend(variables.iter().map(String::as_str));
    make(&tree.path(""), &program, &arguments).exits(0).says(&["1 built"]);
    tree.assert_clean();
    assert_eq!(tree.published().keys().collect::<Vec<_>>(), ["noarch/good-1.0-1.azl3.noarch.rpm"]);
    make(&tree.path(""), &program, &arguments).exits(0).says(&["nothing to do"]);
    let state = fs::read_to_string(tree.path("build/pkg_artifacts/build_state.csv")).unwrap();
    assert_eq!(state, "Package,State,Blocker,IsTest\ngood,Built,,0\n");
    // The repository and its records, carried as one file, are worth as much as what was built here.
    let run = |target: &str| {
        let variables = variables.iter().map(String::as_str).filter(|set| !set.starts_with("PACKAGE_BUILD"));
        make(&tree.path(""), &program, &std::iter::once(target).chain(variables).collect::<Vec<_>>())
    };
    let published = tree.published();
    run("compress-rpms").exits(0).says(&["saved", "out/rpms.tar.gz"]);
    run("clean-build-packages").exits(0);
    assert!(tree.published().is_empty() && tree.records().is_empty());
    run("hydrate-rpms").exits(0).says(&["put"]);
    assert_eq!(tree.published(), published);
    make(&tree.path(""), &program, &arguments).exits(0).says(&["nothing to do"]);
    tree.assert_clean();
    run("clean-compress-rpms").exits(0);
    run("hydrate-rpms").exits(2).says(&["there is no archive"]);
    // Every package of every spec is listed, built or not.
    run("rpms-snapshot").exits(0);
    let snapshot = fs::read_to_string(tree.path("out/rpms_snapshot.json")).unwrap();
    let snapshot: rpm_model::AzureSummary = serde_json::from_str(&snapshot).unwrap();
    let listed: Vec<_> = snapshot.repo.iter().map(|entry| (&*entry.name, &*entry.distribution)).collect();
    assert_eq!(listed, [("good", "azl3"), ("other", "azl3")]);
    // A clean target removes its part of this build directory and nothing else.
    arguments[0] = "clean-input-srpms";
    arguments.retain(|argument| !argument.starts_with("PACKAGE_BUILD_LIST"));
    make(&tree.path(""), &program, &arguments).exits(0);
    assert!(!tree.path("build/INTERMEDIATE_SRPMS").exists() && tree.path("build/records").exists());
}
