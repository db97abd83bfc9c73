//! Packages of the tree with real scriptlets, in the build roots of others: what they do is there, what fails is told.

use crate::debugging::run;
use crate::spec::Spec;
use crate::tree::Tree;

#[test]
fn what_a_requirements_scriptlets_did_is_there_and_what_failed_is_told_once() {
    let Some(tree) = Tree::new("scriptlets") else { return };
    let user = "svc:x:301:301::/:/bin/sh";
    tree.spec(
        &Spec::data("svc")
            .scriptlet("%pre", &format!("echo '{user}' >> /etc/passwd"))
            .scriptlet("%post", "echo made-by-post > /usr/share/svc/post\necho oh no >&2\nexit 3"),
    );
    let uses = "cat /usr/share/svc/post; grep svc /etc/passwd; id svc";
    for name in ["first", "second"] {
        tree.spec(&Spec::data(name).needs("svc").build(uses));
    }
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(0).says(&["3 built"]);
    // Both have it in their roots.
    ended.says_once(
        "warning: first: in its build root: when the packages were installed, rpm said: warning: %post(svc-",
    );
    ended.never_says(&["second: in its build root"]);
    let log = tree.read("build/logs/pkggen/rpmbuilding/second-1.0-1.mw1.src.rpm.log");
    assert!(log.contains("\nmade-by-post\n") && log.contains("uid=301(svc)"), "{log}");
}

#[test]
fn a_package_that_cannot_be_installed_fails_who_needs_it_and_not_the_host() {
    let Some(tree) = Tree::new("uninstallable") else { return };
    tree.spec(&Spec::data("broken").scriptlet("%pre", "echo no user for you >&2\nexit 4"));
    // As many as would say that a host is at fault.
    let needy = ["needy-1", "needy-2", "needy-3"];
    for name in needy {
        tree.spec(&Spec::data(name).needs("broken"));
    }
    // By its name it comes after them.
    tree.spec(&Spec::data("zzz"));
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(1).says(&[
        "2 built, 3 failed in",
        "needy-3: its build root cannot be made: the packages' own rpm cannot install them: exit code",
        "[package-failure]",
        "| no user for you",
        "%prein(broken-1.0-1.mw1.noarch) scriptlet failed, exit status 4",
    ]);
    ended.never_says(&["trying again", "infrastructure-failure", "host fails"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["broken", "zzz"]);
    // The log holds the same, and there is no root for a shell.
    tree.millwright(&["log", "needy-1"])
        .exits(0)
        .says(&["no user for you", "scriptlet failed, exit status 4"]);
    let ended = run(&tree, &["shell", "needy-1", "--", "true"]);
    ended.exits(1).says(&["its build root cannot be made", "no user for you"]);
}
