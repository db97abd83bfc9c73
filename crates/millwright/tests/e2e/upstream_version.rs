//! Specs whose version comes from upstream: taken over before anything is decided, and put back with a failed build.

use std::path::Path;
use std::process::Command;

use crate::mkpkg::{ends, mkpkg};
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .args(["-c", "user.name=A", "-c", "user.email=a@b.invalid"])
        .args(arguments);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_version_in_a_file_is_taken_over_and_undone_with_a_failed_build() {
    let Some(tree) = Tree::new("version-file") else { return };
    let spec = Spec::data("app").tag("%global _mkpkg_version_from file upstream/VERSION");
    let text = spec.build("test %{version} != 2.0").text().replace("Release: 1%", "Release: 3%");
    tree.file("SPECS/app/app.spec", &text);
    // Who needs it takes it over too, although nobody named it.
    tree.spec(&Spec::data("user").needs("app"));
    tree.file("SPECS/app/upstream/VERSION", "v1.0\n");
    ends(&tree, &["app"], 0, "success 1.0-3.mw1").never_says(&["mkp: update"]);
    ends(&tree, &["app"], 0, "current 1.0-3.mw1");
    tree.file("SPECS/app/upstream/VERSION", "v1.1-rc1\n");
    ends(&tree, &["--dry-run", "app"], 0, "due 1.1~rc1-1.mw1").says(&["mkp: update app 1.0 1.1~rc1"]);
    assert_eq!(tree.read("SPECS/app/app.spec"), text, "a dry run only tells");
    ends(&tree, &["user"], 0, "success 1.0-1.mw1").says(&["mkp: update app 1.0 1.1~rc1"]);
    let after = tree.read("SPECS/app/app.spec");
    let entry = after.split("%changelog\n").nth(1).unwrap();
    assert!(entry.contains(" mkpkg <mkpkg@localhost> - 1.1~rc1-1\n- Version 1.1~rc1\n\n"), "{after}");
    let changed = text.replace("Version: 1.0", "Version: 1.1~rc1").replace("Release: 3%", "Release: 1%");
    assert_eq!(after.lines().count(), changed.lines().count() + 3);
    assert!(changed.lines().all(|line| after.lines().any(|other| other == line)), "{after}");
    assert!(
        tree.published().contains_key("noarch/app-1.1~rc1-1.mw1.noarch.rpm"),
        "{:?}",
        tree.published().keys()
    );
    ends(&tree, &["app"], 0, "current 1.1~rc1-1.mw1");
    // What fails leaves the spec as it was.
    tree.file("SPECS/app/upstream/VERSION", "2.0\n");
    ends(&tree, &["app"], 1, "error 1.1~rc1-1.mw1").says(&["mkp: update app 1.1~rc1 2.0"]);
    assert_eq!(tree.read("SPECS/app/app.spec"), after);
    // A version never goes down, and nothing but a version is one; neither stops anything.
    for (content, reason) in
        [("1.0\n", "which is below 1.1~rc1 of the spec"), ("soon\n", "`soon` is no version")]
    {
        tree.file("SPECS/app/upstream/VERSION", content);
        ends(&tree, &["app"], 0, "current 1.1~rc1-1.mw1").says(&["mkp: unknown app: ", reason]);
        assert_eq!(tree.read("SPECS/app/app.spec"), after);
    }
    tree.file("secret", "9.9\n");
    std::fs::remove_file(tree.path("SPECS/app/upstream/VERSION")).unwrap();
    std::os::unix::fs::symlink(tree.path("secret"), tree.path("SPECS/app/upstream/VERSION")).unwrap();
    let document = mkpkg(&tree, &["app", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&document.exits(0).stdout).unwrap();
    assert!(document["unknown"][0].as_str().unwrap().contains("leads out of the directory"), "{document}");
}

#[test]
fn versions_of_repositories_and_commands_are_taken_over_when_that_is_asked_for() {
    let Some(tree) = Tree::new("version-git") else { return };
    tree.spec(&Spec::data("app").tag("%global _mkpkg_version_from git src 'v[0-9]*'"));
    let source = tree.path("SPECS/app/src");
    std::fs::create_dir_all(&source).unwrap();
    git(&source, &["init", "--quiet"]);
    let commit = || git(&source, &["commit", "--quiet", "--allow-empty", "--message=x"]);
    commit();
    git(&source, &["tag", "v1.0"]);
    // A version that a macro makes, from a command that sees nothing but the directory of the spec.
    let tool = Spec::data("tool").tag("%global _mkpkg_version_from command cat NEXT").text();
    let tool = tool.replace("Version: 1.0", "Version: %{tool_version}");
    tree.file("SPECS/tool/tool.spec", &format!("%global tool_version 1.0\n{tool}"));
    tree.file("SPECS/tool/NEXT", "1.0\n");
    tree.millwright(&["build", "--update-versions"])
        .exits(0)
        .says(&["2 built"])
        .never_says(&["upstream has"]);
    commit();
    tree.file("SPECS/tool/NEXT", "1.5\n");
    // Nobody asks upstream unless told to.
    tree.millwright(&["build"]).exits(0).says(&["nothing to do"]).never_says(&["upstream has"]);
    let short = git(&source, &["rev-parse", "--short=10", "HEAD"]);
    let snapshot = format!("1.0^1.git{short}");
    tree.millwright(&["plan", "--update-versions"]).exits(0).says(&[
        &format!("app: upstream has {snapshot}: the spec would be updated from 1.0"),
        "tool: upstream has 1.5: the spec would be updated from 1.0",
    ]);
    tree.millwright(&["build", "--update-versions"]).exits(0).says(&["2 built"]);
    let published = tree.published();
    for file in
        [format!("noarch/app-{snapshot}-1.mw1.noarch.rpm"), "noarch/tool-1.5-1.mw1.noarch.rpm".to_owned()]
    {
        assert!(published.contains_key(&file), "{file}: {:?}", published.keys());
    }
    assert!(tree.read("SPECS/tool/tool.spec").starts_with("%global tool_version 1.5\n"));
    tree.millwright(&["build", "--update-versions"]).exits(0).says(&["nothing to do"]);
    git(&source, &["tag", "v1.1"]);
    tree.millwright(&["build", "--update-versions", "app"]).exits(0).says(&["1 built"]);
    // The repository may be anywhere that the configuration names.
    let spec = tree.read("SPECS/app/app.spec").replace("git src 'v[0-9]*'", "git");
    tree.file("SPECS/app/app.spec", &spec);
    std::fs::rename(&source, tree.path("elsewhere")).unwrap();
    git(&tree.path("elsewhere"), &["tag", "--delete", "v1.1"]);
    git(&tree.path("elsewhere"), &["tag", "v1.2"]);
    tree.millwright(&["plan", "--update-versions", "app"])
        .exits(0)
        .says(&["names no directory, and the configuration no repository (packages.app.version-repository)"]);
    tree.configure(&format!("{OFFLINE}[packages.app]\nversion-repository = 'elsewhere'\n"));
    tree.millwright(&["plan", "--update-versions", "app"])
        .exits(0)
        .says(&["app: upstream has 1.2: the spec would be updated from 1.1"]);
    assert!(
        tree.published().contains_key("noarch/app-1.1-1.mw1.noarch.rpm"),
        "{:?}",
        tree.published().keys()
    );
}
