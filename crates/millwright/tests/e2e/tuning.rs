//! Native stand-ins beside the scripts that they stand for, over build roots of every odd kind.
//!
//! A build that compares runs each script on a copy of its build root and ends with an error where a stand-in
//! left anything else. Here a spec makes one small build root after the other and calls all scripts itself.

use std::collections::BTreeMap;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// Defines what the cases use: `program`, `library` and `object` are ELF files with debug information.
const PREPARE: &str = r#"
set +x
package=$RPM_BUILD_ROOT
mkdir -p cases && cd cases
echo 'int answer(void) { return 42; }' > answer.c
echo '#include <stdio.h>
int main(void) { return puts("odd") < 0; }' > main.c
gcc -g -O2 -o program main.c
gcc -g -O2 -no-pie -o fixed main.c
gcc -g -O2 -static -o static main.c || cp fixed static
gcc -g -O2 -shared -fPIC -Wl,-soname,libanswer.so.1 -o library answer.c
gcc -g -O2 -shared -fPIC -o nameless answer.c
gcc -g -O2 -c -o object answer.c
ar rcs archive.a object
ar rcT thin.a object
strip -o bare program
here=$PWD
begin() {
    echo "CASE $1"
    export RPM_BUILD_ROOT=$here/$1/root
    mkdir -p "$RPM_BUILD_ROOT" lists/$1
    cd "$RPM_BUILD_ROOT"
}
finish() {
    cd "$here"
    if test "$RPM_BUILD_DIR" && test ! "$no_debuginfo"; then
        find-debuginfo -j2 --build-id-seed 1 --unique-debug-suffix -1 --unique-debug-src-base odd-1 "$here/lists/$1"
    fi
    /usr/lib/rpm/brp-compress /usr
    /usr/lib/rpm/brp-elfperms
    for tool in "brp-strip /usr/bin/strip" "brp-strip-static-archive /usr/bin/strip" \
        "brp-strip-comment-note /usr/bin/strip /usr/bin/objdump"; do
        code=0; /usr/lib/rpm/$tool || code=$?
        test $code != 90
    done
    /usr/lib/rpm/brp-remove-la-files
    find "$RPM_BUILD_ROOT" -type f -name '*[a-m]*' | /usr/lib/rpm/check-files "$RPM_BUILD_ROOT" || test $? != 90
    chmod -R u+rwX "$here/$1"
}
"#;

/// A case: its name, how its build root is made, and the scripts that the stand-ins leave their work to.
const CASES: [(&str, &str, &[&str]); 24] = [
    ("empty", "", &[]),
    ("directories", "mkdir -p usr/share/man/man1 usr/share/info usr/lib/debug", &[]),
    (
        "pages",
        r#"mkdir -p usr/share/man/man1 usr/share/man/de/man3 usr/share/info usr/share/doc/x/man/man7 usr/man/man5
           for page in usr/share/man/man1/a.1 usr/share/man/de/man3/Foo::Bar.3pm usr/share/info/x.info \
               usr/share/info/dir usr/share/doc/x/man/man7/b.7 usr/man/man5/c.5; do
               echo ".TH $page" > $page; touch -d @1000000000 $page; done
           : > usr/share/man/man1/empty.1; chmod 444 usr/share/man/man1/a.1; chmod 600 usr/man/man5/c.5
           ln -s a.1 usr/share/man/man1/relative.1; ln -s /usr/share/man/man1/a.1 usr/share/man/man1/absolute.1
           ln -s ../man1/absent.1 usr/share/man/man1/dangling.1; ln -s a.1.gz usr/share/man/man1/compressed.1
           ln -s a.1.bz2 usr/share/man/man1/other.1.xz"#,
        &[],
    ),
    (
        "page-linked-hard",
        "mkdir -p usr/share/man/man1; echo x > usr/share/man/man1/a.1; ln usr/share/man/man1/a.1 usr/share/man/man1/b.1",
        &["brp-compress"],
    ),
    (
        "page-compressed",
        "mkdir -p usr/share/man/man1; echo x | gzip > usr/share/man/man1/a.1.gz; echo y | bzip2 > usr/share/man/man1/b.1.bz2; echo z | xz > usr/share/man/man1/c.1.xz",
        &["brp-compress"],
    ),
    (
        "page-twice",
        "mkdir -p usr/share/man/man1; echo x > usr/share/man/man1/a.1; ln -s b.1 usr/share/man/man1/a.1.gz",
        &["brp-compress"],
    ),
    (
        "page-special",
        "mkdir -p usr/share/man/man1; echo x > usr/share/man/man1/a.1; chmod 4644 usr/share/man/man1/a.1",
        &["brp-compress"],
    ),
    (
        "page-directory-linked",
        "mkdir -p usr/share/man/man1; echo x > usr/share/man/man1/a.1; ln -s man1 usr/share/man/man2",
        &["brp-compress"],
    ),
    (
        "page-with-blank",
        "mkdir -p usr/share/man/man1; echo x > 'usr/share/man/man1/a b.1'",
        &["brp-compress"],
    ),
    (
        "programs",
        r#"mkdir -p usr/bin usr/lib/sub usr/share
           cp $here/program usr/bin/program; cp $here/fixed usr/bin/fixed; cp $here/static usr/bin/static
           cp $here/bare usr/bin/bare; cp $here/program usr/bin/only-me; chmod 500 usr/bin/only-me
           cp $here/program usr/bin/root-only; chmod 4755 usr/bin/root-only
           ln usr/bin/program usr/bin/again; ln usr/bin/program usr/lib/sub/third; ln -s program usr/bin/link
           ln -s ../../bin/program usr/lib/sub/far; ln -s /usr/bin/program usr/lib/sub/absolute; ln -s absent usr/bin/dangling"#,
        &[],
    ),
    (
        "libraries",
        r#"mkdir -p usr/lib/modules usr/lib/go
           cp $here/library usr/lib/libanswer.so.1; ln -s libanswer.so.1 usr/lib/libanswer.so
           cp $here/library usr/lib/plain.so; chmod 644 usr/lib/plain.so; cp $here/nameless usr/lib/nameless.so
           cp $here/object usr/lib/modules/a.ko; chmod 755 usr/lib/modules/a.ko; cp $here/object usr/lib/modules/b.ko
           cp $here/archive.a usr/lib/liba.a; cp $here/thin.a usr/lib/thin.a; cp $here/archive.a usr/lib/executable.a
           chmod 755 usr/lib/executable.a; cp $here/program usr/lib/go/x.go
           echo 'GROUP ( libanswer.so.1 )' > usr/lib/script.so; chmod 755 usr/lib/script.so"#,
        &[],
    ),
    (
        "no-elf",
        r#"mkdir -p usr/bin; echo '#!/no such/interpreter' > usr/bin/a; echo '#!' > usr/bin/b; : > usr/bin/c
           printf 'ELF' > usr/bin/d; printf '\0\0\0\0' > usr/bin/libe.so; chmod 755 usr/bin/*
           printf 'text' > 'usr/bin/with blank'; chmod 755 'usr/bin/with blank'"#,
        &[],
    ),
    (
        "elf-magic-alone",
        r"mkdir -p usr/bin; printf '\177ELF' > usr/bin/a; chmod 755 usr/bin/a",
        &[
            "find-debuginfo",
            "brp-elfperms",
            "brp-strip",
            "brp-strip-comment-note",
            "brp-strip-static-archive",
        ],
    ),
    (
        "elf-truncated",
        "mkdir -p usr/bin; head -c 2000 $here/program > usr/bin/a; chmod 755 usr/bin/a; no_debuginfo=1",
        &["brp-elfperms", "brp-strip", "brp-strip-comment-note", "brp-strip-static-archive"],
    ),
    (
        "elf-foreign",
        r"mkdir -p usr/bin; cp $here/bare usr/bin/a; printf '\10' | dd of=usr/bin/a bs=1 seek=18 conv=notrunc status=none; no_debuginfo=1",
        &["brp-elfperms", "brp-strip", "brp-strip-comment-note", "brp-strip-static-archive"],
    ),
    (
        "elf-with-blank",
        "mkdir -p usr/bin; cp $here/bare 'usr/bin/a b'; chmod 755 'usr/bin/a b'; no_debuginfo=",
        &["brp-strip-comment-note"],
    ),
    (
        "archive-other",
        r"mkdir -p usr/lib; printf '!<arch>\ndebian-binary   ' > usr/lib/a.deb; printf '!<arch>\n' > usr/lib/empty.a",
        &["brp-strip", "brp-strip-static-archive"],
    ),
    (
        "debug-files",
        "mkdir -p usr/lib/debug/usr/bin usr/bin; cp $here/program usr/bin/a; cp $here/program usr/lib/debug/usr/bin/b.debug; cp $here/program usr/lib/debug/usr/bin/c; cp $here/program usr/lib/debug/usr/bin/a-1.debug; chmod 755 usr/lib/debug/usr/bin/*",
        &[],
    ),
    (
        "la-files",
        r#"mkdir -p usr/lib/x.la; echo '# liba.la - a libtool library file' > usr/lib/a.la; echo other > usr/lib/b.la
           ln -s a.la usr/lib/c.la; cp usr/lib/a.la 'usr/lib/with blank.la'
           cp usr/lib/a.la usr/lib/e.LA; printf 'x\0y.la - a libtool library file' > usr/lib/f.la; ln usr/lib/a.la usr/lib/g.la"#,
        &[],
    ),
    (
        "unpackaged",
        "mkdir -p etc; : > etc/zzz; : > etc/aaa; ln -s x etc/xyz; : > 'etc/z z'; mkdir etc/z",
        &[],
    ),
    (
        "unpackaged-foreign",
        r#"mkdir -p etc; : > "$(printf 'etc/z\303\244')"; : > "$(printf 'etc/z\377')""#,
        &["check-files"],
    ),
    ("name-of-two-lines", "mkdir -p etc; : > \"$(printf 'etc/a\\nb')\"", &["check-files"]),
    (
        "executable-of-two-lines",
        "mkdir -p usr/bin; : > \"$(printf 'usr/bin/a\\nb')\"; chmod 755 usr/bin/*",
        &["find-debuginfo", "brp-elfperms", "check-files"],
    ),
    (
        "plus+root",
        "mkdir -p usr/bin; cp $here/program usr/bin/a",
        &["find-debuginfo", "brp-strip", "brp-strip-comment-note", "brp-strip-static-archive"],
    ),
];

#[test]
fn stand_ins_do_what_their_scripts_do_with_whatever_they_find() {
    let Some(tree) = Tree::new("stand-ins") else { return };
    tree.configure(&format!("{OFFLINE}[build]\ntuning = \"compare\"\n"));
    let mut script = PREPARE.to_owned();
    for (name, make, _) in CASES {
        script.push_str(&format!("begin {name}\n{make}\nfinish {name}\nno_debuginfo=\n"));
    }
    // A program, for rpmbuild refuses a package for debugging without files.
    script.push_str("install -m 755 $here/program \"$package/usr/share/odd/program\"\n");
    script.push_str("cd ..; rm -rf cases; echo 'CASE the package itself'");
    let spec = Spec::data("odd").for_one_architecture().needs("gcc").needs("glibc-devel");
    tree.spec(&spec.install(&format!("(\n{}\n)", script.replace('%', "%%"))));
    let ended = tree.millwright(&["build"]);
    let log = tree.read("build/logs/pkggen/rpmbuilding/odd-1.0-1.mw1.src.rpm.log");
    ended.exits(0);
    let mut cases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut case = "";
    for line in log.lines() {
        case = line.strip_prefix("CASE ").unwrap_or(case);
        cases.entry(case).or_default().push(line);
    }
    for (name, _, left) in CASES {
        let lines = cases.get(name).unwrap_or_else(|| panic!("the case {name} did not run:\n{log}"));
        let with = |end: &str| {
            let mut scripts: Vec<_> =
                lines.iter().filter_map(|line| line.split_once(end).map(|(script, _)| script)).collect();
            scripts.sort_unstable();
            scripts
        };
        let mut left = left.to_vec();
        left.sort_unstable();
        assert_eq!(with(": the script itself runs, because"), left, "{name}:\n{}", lines.join("\n"));
        let compared = with(": as the script");
        let known = compared.len() + left.len();
        assert!((7..=8).contains(&known), "{name}: {known} scripts ran:\n{}", lines.join("\n"));
    }
}
