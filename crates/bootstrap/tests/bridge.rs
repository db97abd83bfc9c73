//! Small Debian packages, made here, through the whole bridge; the RPMs are read back with the `rpm` crate.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use bootstrap::{BRIDGE_VERSION, BootstrapError, BridgeNote, NameTable, Silent, bridge};
use rpm_model::ContentDigest;
use std::collections::BTreeMap;
use std::path::Path;
use support::TinyDeb;

/// What an RPM says, in words.
struct Said {
    provides: Vec<String>,
    requires: Vec<String>,
    recommends: Vec<String>,
    /// Path to type letter, and for links ` -> target`.
    files: BTreeMap<String, String>,
    evr: String,
    license: String,
}

fn read(path: &Path) -> (String, Said) {
    let metadata = rpm::PackageMetadata::open(path).unwrap();
    let words = |list: Vec<rpm::Dependency>| -> Vec<String> {
        let word = |d: &rpm::Dependency| match d.version.is_empty() {
            true => d.name.to_string(),
            false => format!("{} = {}", d.name, d.version),
        };
        list.iter().filter(|d| !d.name.starts_with("rpmlib(")).map(word).collect()
    };
    let files = metadata.get_file_entries().unwrap();
    let files = files
        .iter()
        .map(|file| {
            let kind = match file.mode().file_type() {
                rpm::FileType::Dir => "d".to_owned(),
                rpm::FileType::SymbolicLink => format!("-> {}", file.linkto().unwrap()),
                _ => "f".to_owned(),
            };
            (file.path().to_string_lossy().into_owned(), kind)
        })
        .collect();
    let said = Said {
        provides: words(metadata.get_provides().unwrap()),
        requires: words(metadata.get_requires().unwrap()),
        recommends: words(metadata.get_recommends().unwrap()),
        files,
        evr: format!("{}-{}", metadata.get_version().unwrap(), metadata.get_release().unwrap()),
        license: metadata.get_license().unwrap().to_owned(),
    };
    (metadata.get_name().unwrap().to_owned(), said)
}

/// Bridges the packages and returns what the RPMs say by name, and the notes.
fn bridged(
    debs: &[TinyDeb],
    names: &str,
) -> Result<(BTreeMap<String, Said>, Vec<BridgeNote>), BootstrapError> {
    let directory = tempfile::tempdir().unwrap();
    let debs: Vec<_> = debs.iter().map(|deb| deb.write(directory.path())).collect();
    let names = NameTable::parse("names.toml", names)?;
    let out = directory.path().join("rpms");
    let notes = bridge(&debs, &names, &out, &Silent)?;
    let mut found = BTreeMap::new();
    for arch in ["x86_64", "noarch"] {
        let Ok(entries) = std::fs::read_dir(out.join(arch)) else { continue };
        found.extend(entries.map(|entry| read(&entry.unwrap().path())));
    }
    Ok((found, notes))
}

fn one(deb: TinyDeb, names: &str) -> Said {
    let name = deb.name().to_owned();
    let (mut found, _) = bridged(&[deb], names).unwrap();
    found.remove(&name).unwrap_or_else(|| panic!("no RPM {name}"))
}

#[test]
fn merges_directories_and_keeps_links_right() {
    let deb = TinyDeb::new("a", "1-1")
        .directory("/bin")
        .file("/bin/tool", 0o755, "#!/bin/sh\n")
        .symlink("/usr/bin/tool", "/bin/tool")
        .symlink("/lib/x86_64-linux-gnu/libx.so", "../../usr/lib/x86_64-linux-gnu/libx.so.1")
        .file("/usr/share/doc/a/README", 0o644, "no")
        .file(
            "/usr/share/doc/a/copyright",
            0o644,
            "Format: x\nLicense: GPL-2+\n\nFiles: *\nLicense: MIT or BSD\n text\n",
        );
    let said = one(deb, "");
    let files: Vec<String> = said.files.iter().map(|(path, kind)| format!("{path} {kind}")).collect();
    assert_eq!(
        files,
        [
            "/usr/bin/tool f",
            "/usr/lib/x86_64-linux-gnu/libx.so -> libx.so.1",
            "/usr/share/licenses/a/copyright f"
        ]
    );
    assert!(said.provides.contains(&"/bin/tool".to_owned()), "{:?}", said.provides);
    assert_eq!(said.requires, ["/bin/sh"]);
    assert_eq!(said.license, "(MIT or BSD) AND GPL-2+");
}

#[test]
fn gives_versions_below_any_built_one_and_provides_the_true_ones() {
    let said = one(TinyDeb::new("libz-dev", "1:1.2.13.dfsg-1+b2").source("z"), "");
    assert_eq!(said.evr, "0~deb.1.2.13.dfsg-1+b2");
    for expected in [
        "libz-dev = 0~deb.1.2.13.dfsg-1+b2",
        "libz-dev = 1.2.13-1+b2",
        "libz-devel = 1.2.13-1+b2",
        "z-devel = 1.2.13-1+b2",
        "deb(libz-dev) = 1.2.13-1+b2",
        "libz-dev(x86-64) = 1.2.13-1+b2",
    ] {
        assert!(said.provides.contains(&expected.to_owned()), "{expected} in {:?}", said.provides);
    }
}

#[test]
fn makes_links_of_the_best_alternative_only() {
    let call = |target: &str, priority: u32| {
        format!("#!/bin/sh\nupdate-alternatives --install /usr/bin/awk awk /usr/bin/{target} {priority}\n")
    };
    let debs = [
        TinyDeb::new("mawk", "1-1").file("/usr/bin/mawk", 0o755, "").postinst(&call("mawk", 5)),
        TinyDeb::new("gawk", "1-1").file("/usr/bin/gawk", 0o755, "").postinst(&call("gawk", 10)),
        TinyDeb::new("other", "1-1").postinst(&call("not-there", 20).replace("/usr/bin/awk", "/usr/bin/x")),
    ];
    let (found, _) = bridged(&debs, "").unwrap();
    assert_eq!(found["gawk"].files["/usr/bin/awk"], "-> /usr/bin/gawk");
    assert!(!found["mawk"].files.contains_key("/usr/bin/awk"));
    assert!(!found["other"].files.contains_key("/usr/bin/x"), "a link to nothing");
}

#[test]
fn words_dependencies() {
    let library = |name: &str, soname: &str| {
        TinyDeb::new(name, "1-1").source("src").file(
            &format!("/usr/lib/{soname}"),
            0o644,
            support::library(soname, &[]),
        )
    };
    let debs = [
        library("libone1", "libone.so.1"),
        library("libtwo1", "libtwo.so.1"),
        // Linked with libone, and loads libtwo without the linker's knowledge.
        TinyDeb::new("user", "1-1")
            .file("/usr/bin/user", 0o755, support::library("user", &["libone.so.1", "libgone.so.1"]))
            .depends("libone1 (>= 1), libtwo1, tool | other-tool, dpkg, libweak1, virtual, missing | gone"),
        TinyDeb::new("tool", "1-1").provides("virtual"),
        TinyDeb::new("other-tool", "1-1"),
        TinyDeb::new("libweak1", "1-1"),
        TinyDeb::new("dpkg", "1-1"),
        TinyDeb::new("libone-dev", "1-1").source("src").depends("libone1 (= 1-1)"),
    ];
    let names = "omit = ['dpkg']\nweak = ['libweak1']\n[names]\ntool = 'instrument'\n[package.tool]\nrequires = ['hand >= 2']\n\
                 provides = ['utensil']\n";
    let (found, notes) = bridged(&debs, names).unwrap();
    assert!(!found.contains_key("dpkg"));
    let user = &found["user"];
    assert_eq!(
        user.requires,
        ["(instrument or other-tool)", "deb(virtual)", "libone.so.1()(64bit)", "libtwo.so.1()(64bit)"]
    );
    assert_eq!(user.recommends, ["libweak1"]);
    assert_eq!(found["libone-dev"].requires, ["deb(libone1)"], "headers are tied to their own library");
    assert_eq!(found["instrument"].requires, ["hand = 2"]);
    assert!(found["instrument"].provides.contains(&"utensil = 1-1".to_owned()));
    assert_eq!(
        notes,
        [
            BridgeNote::MissingLibrary {
                package: "user".into(),
                requirement: "libgone.so.1()(64bit)".into()
            },
            BridgeNote::MissingPackage {
                package: "user".into(),
                alternatives: vec!["missing".into(), "gone".into()]
            },
        ]
    );
}

#[test]
fn no_package_provides_the_name_of_another() {
    let debs = [
        TinyDeb::new("pkgconf", "1-1").depends("pkgconf-bin"),
        TinyDeb::new("pkgconf-bin", "1-1"),
        TinyDeb::new("libx-dev", "1-1").source("libx"),
        TinyDeb::new("x-devel", "1-1"),
    ];
    let names = "[names]\npkgconf = 'pkgconf-pkg-config'\npkgconf-bin = 'pkgconf'\n";
    let (found, _) = bridged(&debs, names).unwrap();
    let names = |package: &str| -> Vec<&str> {
        let bare =
            found[package].provides.iter().filter(|name| name.ends_with(" = 1-1") && !name.contains('('));
        bare.map(|name| name.split(' ').next().unwrap()).collect()
    };
    assert_eq!(names("pkgconf-pkg-config"), ["pkgconf-pkg-config"]);
    assert_eq!(names("pkgconf"), ["pkgconf", "pkgconf-bin"]);
    assert_eq!(names("libx-dev"), ["libx-dev", "libx-devel"]);
    assert_eq!(found["pkgconf-pkg-config"].requires, ["pkgconf"]);
}

#[test]
fn refuses_what_it_cannot_bridge() {
    let names = "[names]\na = 'b'\n";
    let error = bridged(&[TinyDeb::new("a", "1"), TinyDeb::new("b", "1")], names).err().unwrap();
    assert!(matches!(error, BootstrapError::NameTaken { name, .. } if name == "b"));

    let directory = tempfile::tempdir().unwrap();
    let table = NameTable::parse("names.toml", "").unwrap();
    let mut deb = TinyDeb::new("a", "1").write(directory.path());
    let good = std::fs::read(&deb.path).unwrap();
    let run = |deb: &bootstrap::DebFileReference| {
        bridge(std::slice::from_ref(deb), &table, &directory.path().join("out"), &Silent)
    };
    deb.sha256 = ContentDigest::of_bytes(b"another");
    assert!(matches!(run(&deb), Err(BootstrapError::Digest { .. })));
    for length in [0, 8, 100, good.len() - 30] {
        std::fs::write(&deb.path, &good[..length]).unwrap();
        let error = run(&deb).unwrap_err();
        let is_clear = matches!(&error, BootstrapError::Deb { .. } | BootstrapError::Digest { .. });
        assert!(is_clear && error.to_string().contains("a_1_amd64.deb"), "{length}: {error}");
    }
    std::fs::remove_file(&deb.path).unwrap();
    assert!(matches!(run(&deb), Err(BootstrapError::File { .. })));
}

/// Guards [`BRIDGE_VERSION`]: a toolchain is made anew only when that number, or its input, changes.
#[test]
fn changed_bytes_need_a_changed_version() {
    let directory = tempfile::tempdir().unwrap();
    let deb = TinyDeb::new("libx-dev", "1:2+dfsg-3")
        .source("x")
        .depends("gone | other, libx1")
        .provides("virtual")
        .postinst("update-alternatives --install /usr/bin/y y /usr/bin/x 5\n")
        .directory("/usr/lib/x")
        .file("/bin/x", 0o755, "#!/bin/bash\n")
        .file("/usr/lib/pkgconfig/x.pc", 0o644, "Version: 2\n")
        .file("/lib/x86_64-linux-gnu/libx.so.1", 0o644, support::library("libx.so.1", &["libc.so.6"]))
        .file("/usr/share/doc/libx-dev/copyright", 0o644, "text")
        .symlink("/usr/lib/libx.so", "../../lib/x86_64-linux-gnu/libx.so.1");
    let debs = [deb.write(directory.path())];
    let table = NameTable::parse("n", "[names]\n'libx-dev' = 'x-devel'\n").unwrap();
    bridge(&debs, &table, &directory.path().join("out"), &Silent).unwrap();
    let rpm = std::fs::read(directory.path().join("out/x86_64/x-devel-0~deb.2+dfsg-3.x86_64.rpm")).unwrap();
    let found = (BRIDGE_VERSION, ContentDigest::of_bytes(&rpm).as_str()[..16].to_owned());
    assert_eq!(found, (2, "42b3cf2d140296ea".to_owned()), "raise BRIDGE_VERSION and write the new pair here");
}

#[test]
fn gives_equal_bytes_every_time() {
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let debs: Vec<_> = (0..20)
            .map(|n| {
                TinyDeb::new(&format!("p{n}"), "1-1")
                    .file(&format!("/usr/bin/p{n}"), 0o755, "x")
                    .depends("p0, p1 | p2")
            })
            .map(|deb| deb.write(directory.path()))
            .collect();
        let out = directory.path().join("out");
        bridge(&debs, &NameTable::parse("n", "").unwrap(), &out, &Silent).unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(out.join("x86_64")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(make(), make());
}
