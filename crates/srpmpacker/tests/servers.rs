//! Source servers as a user meets them: several in order, each misbehaving in its own way for each file.
//!
//! With the rpm of this host; skips loudly without.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rpm_model::ContentDigest;
use testkit::{FileReply, RangeSupport, Reply, SourceServer, TestAuthority};

/// A tree of specs that have one source each, and the command line so far.
struct Setting {
    directory: tempfile::TempDir,
    servers: Vec<String>,
}

impl Setting {
    fn new(servers: &[&SourceServer]) -> Option<Self> {
        if Command::new("rpmbuild").arg("--version").output().is_err() {
            eprintln!("SKIPPED: this host has no rpmbuild");
            return None;
        }
        let servers = servers.iter().map(|server| server.url()).collect();
        Some(Self { directory: tempfile::tempdir().unwrap(), servers })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Adds a spec whose source is `NAME.tar`; `listed` is what its signature file says of it.
    fn spec(&self, name: &str, listed: Option<&ContentDigest>) {
        let spec = format!(
            "Name: {name}\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nSource0: {name}.tar\n\
             %description\nx\n%files\n"
        );
        self.write(&format!("SPECS/{name}/{name}.spec"), &spec);
        let entry = listed.map(|listed| format!("\"{name}.tar\": \"{listed}\"")).unwrap_or_default();
        self.write(
            &format!("SPECS/{name}/{name}.signatures.json"),
            &format!("{{\"Signatures\": {{{entry}}}}}"),
        );
    }

    /// Runs the program; returns its exit code, and what it told with the varying parts replaced.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_srpmpacker"));
        command.arg("--dir").arg(self.path("SPECS")).arg("--output-dir").arg(self.path("out"));
        command.arg("--build-dir").arg(self.path("build"));
        command.args([
            "--dist-tag",
            ".mw1",
            "--arch",
            "x86_64",
            "--no-upstream",
            "--concurrent-net-ops",
            "4",
        ]);
        for server in &self.servers {
            command.args(["--source-url", server]);
        }
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        let output = command.args(arguments).output().unwrap();
        let mut text = String::from_utf8(output.stderr).unwrap();
        for (number, server) in self.servers.iter().enumerate() {
            text = text.replace(server, &format!("SERVER{}", number + 1));
        }
        (output.status.code(), text.replace(&self.directory.path().display().to_string(), "DIR"))
    }

    /// Returns the SHA-256 of the source in a spec's SRPM.
    fn packed(&self, name: &str) -> String {
        let srpm = self.path(&format!("out/x86_64/{name}-1-1.src.rpm"));
        let query = ["-qp", "--nosignature", "--qf", "[%{filenames} %{filedigests}\n]"];
        let output = Command::new("rpm").args(query).arg(srpm).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let digest = text.lines().find_map(|line| line.strip_prefix(&format!("{name}.tar ")));
        digest.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    }
}

/// 120,000 bytes that differ for each name and at every place.
fn content(name: &str) -> Vec<u8> {
    let numbers = (0..60_000u32).flat_map(|number| [number as u8, (number >> 8) as u8]);
    numbers.zip(name.bytes().cycle()).map(|(number, letter)| number ^ letter).collect()
}

#[test]
fn every_misbehaviour_of_a_server_ends_in_the_right_file() {
    let authority = TestAuthority::new();
    let (untrusted, first, second) = (
        SourceServer::start_tls(authority.server_config(None)),
        SourceServer::start(),
        SourceServer::start(),
    );
    let Some(setting) = Setting::new(&[&untrusted, &first, &second]) else { return };
    let cut = |file: &FileReply, after| Reply::Cut { file: file.clone(), after };
    // What the case is, what the first server answers, whether the second has it, how often the first is asked.
    type Case = (&'static str, fn(&FileReply) -> Vec<Reply>, bool, usize);
    let cases: [Case; 9] = [
        ("right", |file| vec![Reply::File(file.clone())], false, 1),
        ("elsewhere", |_| vec![Reply::Status(404)], true, 1),
        ("bad", |_| vec![Reply::file(&b"other bytes"[..])], true, 1),
        ("forbidden", |_| vec![Reply::Status(403)], true, 1),
        ("late", |file| vec![Reply::Status(500), Reply::File(file.clone())], false, 2),
        ("busy", |file| vec![Reply::RetryAfter(429, 1), Reply::File(file.clone())], false, 2),
        (
            "slow",
            |file| vec![Reply::Slow { file: file.clone(), piece: 12_000, pause: Duration::from_millis(10) }],
            false,
            1,
        ),
        ("moved", |_| vec![Reply::Redirect("/archive/moved.tar".to_owned())], false, 1),
        ("none", |_| vec![], true, 1),
    ];
    for (name, replies, is_second, _) in &cases {
        let file = FileReply::new(content(name));
        let path = format!("/{name}.tar");
        let replies = replies(&file);
        if !replies.is_empty() {
            first.route(&path, replies);
        }
        if *is_second {
            second.route(&path, [Reply::File(file.clone())]);
        }
        setting.spec(name, Some(&ContentDigest::of_bytes(&file.content)));
    }
    first.route("/archive/moved.tar", [Reply::file(content("moved"))]);
    // Those that are cut: what comes afterwards, and whether the bytes at hand are of use.
    for (name, ranges, changed) in [
        ("cut", RangeSupport::Right, false),
        ("unranged", RangeSupport::None, false),
        ("updated", RangeSupport::Right, true),
        ("careless", RangeSupport::IgnoresIfRange, true),
    ] {
        let new = FileReply { ranges, ..FileReply::new(content(name)) };
        let old = FileReply { ranges, ..FileReply::new(vec![7; 110_000]) };
        first.route(
            &format!("/{name}.tar"),
            [cut(if changed { &old } else { &new }, 50_000), Reply::File(new.clone())],
        );
        setting.spec(name, Some(&ContentDigest::of_bytes(&new.content)));
    }

    let (code, told) = setting.run(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("13 packed"), "{told}");
    let requests = first.requests();
    let ranges_asked = |name: &str| -> Vec<Option<String>> {
        let of_file = requests.iter().filter(|request| request.path == format!("/{name}.tar"));
        of_file.map(|request| request.headers.get("range").cloned()).collect()
    };
    for (name, _, is_second, times) in cases {
        assert_eq!(setting.packed(name), ContentDigest::of_bytes(&content(name)).as_str(), "{name}");
        assert_eq!(ranges_asked(name).len(), times, "{name}");
        let of_second = second.requests().iter().filter(|r| r.path == format!("/{name}.tar")).count();
        assert_eq!(of_second, usize::from(is_second), "{name}");
    }
    for name in ["cut", "unranged", "updated", "careless"] {
        assert_eq!(setting.packed(name), ContentDigest::of_bytes(&content(name)).as_str(), "{name}");
        assert_eq!(ranges_asked(name)[..2], [None, Some("bytes=50000-".to_owned())], "{name}");
    }
    // A server whose authority nobody vouches for is told nothing and believed nothing.
    assert!(untrusted.requests().is_empty());
}

#[test]
fn all_failures_of_all_specs_stand_in_one_report() {
    let authority = TestAuthority::new();
    let (first, second) = (SourceServer::start(), SourceServer::start_tls(authority.server_config(None)));
    let Some(setting) = Setting::new(&[&first, &second]) else { return };
    let digest = |name: &str| ContentDigest::of_bytes(&content(name));
    for name in ["absent", "bad", "forbidden", "good", "round"] {
        setting.spec(name, Some(&digest(name)));
    }
    setting.spec("unlisted", None);
    setting.write("SPECS/broken/broken.spec", "Name: broken\nVersion: 1\n%if\n");
    first.route("/bad.tar", [Reply::file(&b"other bytes"[..])]);
    first.route("/forbidden.tar", [Reply::Status(403)]);
    first.route("/good.tar", [Reply::file(content("good"))]);
    first.route("/round.tar", [Reply::Redirect("/round.tar".to_owned())]);
    let (code, told) = setting.run(&[]);
    assert_eq!(code, Some(1), "{told}");
    let report = told.split_once("error: 6 of 7 specs failed").unwrap_or_else(|| panic!("{told}")).1;
    let tls = "SERVER2/NAME.tar: TLS: invalid peer certificate: UnknownIssuer";
    let other = ContentDigest::of_bytes(b"other bytes");
    let expected = [
        ("absent", "not found".to_owned()),
        ("bad", format!("wrong hash: sha256 is {other}")),
        ("forbidden", "the server answered 403".to_owned()),
        ("round", "redirects lead nowhere: too many redirects".to_owned()),
    ];
    let mut from = 0;
    for (name, answer) in expected {
        // In this order, each with everything that was asked.
        for words in [
            format!("{name}: no place has `{name}.tar` with sha256 {}", digest(name)),
            format!("tree DIR/SPECS/{name}/{name}.tar: not found"),
            format!(
                "store DIR/build/sources/sha256/{}/{}: not found",
                &digest(name).as_str()[..2],
                &digest(name).as_str()[2..]
            ),
            format!("source server SERVER1/{name}.tar: {answer}"),
            tls.replace("NAME", name),
        ] {
            let place = report[from..].find(&words);
            from += place.unwrap_or_else(|| panic!("`{words}` is not where it should be in\n{report}"));
        }
    }
    assert!(
        report
            .contains("unlisted: `unlisted.tar` has no entry in DIR/SPECS/unlisted/unlisted.signatures.json")
    );
    assert!(report.contains("SPECS/broken/broken.spec"), "{report}");
    assert_eq!(setting.packed("good"), digest("good").as_str());
}
