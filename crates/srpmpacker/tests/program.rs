//! The program from outside, with the rpm of this host: real specs, real SRPMs, real servers.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rpm_model::ContentDigest;
use testkit::{FileReply, Reply, SourceServer, TestAuthority};

const SPEC: &str = "\
Name: hello
Version: 1.0
Release: 1%{?dist}
Summary: A greeting
License: MIT
URL: https://example.org/
Source0: https://example.invalid/hello-%{version}.tar.gz
Patch0: hello-1.0-louder.patch

%description
A greeting.

%prep
%build
%install
%files

%changelog
* Tue Jun 03 2025 A Packager <packager@example.org> - 1.0-1
- First
";
const TARBALL: &[u8] = b"not really a tarball, but rpmbuild -bs does not mind";

/// A tree with the spec `hello` and a build directory.
struct Setting {
    directory: tempfile::TempDir,
}

impl Setting {
    /// Returns `None`, loudly, on a host without rpmbuild.
    fn new() -> Option<Self> {
        if Command::new("rpmbuild").arg("--version").output().is_err() {
            eprintln!("skipped: this host has no rpmbuild");
            return None;
        }
        let setting = Self { directory: tempfile::tempdir().unwrap() };
        setting.write("SPECS/hello/hello.spec", SPEC.as_bytes());
        setting.write("SPECS/hello/hello-1.0-louder.patch", b"--- a\n+++ b\n");
        setting.sign(TARBALL);
        Some(setting)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn sign(&self, tarball: &[u8]) {
        let text = format!(
            "{{\n  \"Signatures\": {{\n    \"hello-1.0.tar.gz\": \"{}\"\n  }}\n}}\n",
            ContentDigest::of_bytes(tarball)
        );
        self.write("SPECS/hello/hello.signatures.json", text.as_bytes());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_srpmpacker"));
        command.arg("--dir").arg(self.path("SPECS")).arg("--output-dir").arg(self.path("out"));
        command.arg("--build-dir").arg(self.path("build"));
        command.args(["--dist-tag", ".mw1", "--arch", "x86_64", "--no-upstream"]).args(arguments);
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, told: &[&str]) -> Output {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        for words in told {
            assert!(text.contains(words), "`{words}` is not in\n{text}");
        }
        output
    }

    fn srpm(&self) -> PathBuf {
        self.path("out/x86_64/hello-1.0-1.mw1.src.rpm")
    }
}

fn query(srpm: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new("rpm").args(["-qp", "--nosignature"]).args(arguments).arg(srpm).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn srpm_is_what_rpm_says_and_the_same_everywhere() {
    let (Some(first), Some(second)) = (Setting::new(), Setting::new()) else { return };
    for setting in [&first, &second] {
        setting.write("SPECS/hello/hello-1.0.tar.gz", TARBALL);
    }
    // What must not matter: file times and modes.
    let tarball = second.path("SPECS/hello/hello-1.0.tar.gz");
    Command::new("touch").args(["-d", "2001-02-03"]).arg(&tarball).status().unwrap();
    Command::new("chmod").arg("0600").arg(&tarball).status().unwrap();
    for setting in [&first, &second] {
        setting.check(&[], 0, &["1 packed, 0 current"]);
    }
    assert_eq!(fs::read(first.srpm()).unwrap(), fs::read(second.srpm()).unwrap());
    assert_eq!(
        query(&first.srpm(), &["--qf", "%{nevra} %{sourcepackage} %{payloadcompressor}"]),
        "hello-1.0-1.mw1.x86_64 1 zstd"
    );
    let files: Vec<String> = query(&first.srpm(), &["-l"]).lines().map(str::to_owned).collect();
    assert_eq!(files, ["hello-1.0-louder.patch", "hello-1.0.tar.gz", "hello.spec"]);
    let digests = query(&first.srpm(), &["--qf", "[%{filenames} %{filedigests}\n]"]);
    let digests: BTreeMap<&str, &str> = digests.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(digests["hello-1.0.tar.gz"], ContentDigest::of_bytes(TARBALL).as_str());

    let before = fs::metadata(first.srpm()).unwrap().modified().unwrap();
    first.check(&[], 0, &["nothing to do, 1 SRPM is current"]);
    assert_eq!(fs::metadata(first.srpm()).unwrap().modified().unwrap(), before);
    first.check(&["--repack"], 0, &["1 packed"]);
    assert_eq!(fs::read(first.srpm()).unwrap(), fs::read(second.srpm()).unwrap());
}

#[test]
fn missing_source_is_told_with_every_answer_and_fetched_once_it_is_there() {
    let Some(setting) = Setting::new() else { return };
    let (first, second) = (SourceServer::start(), SourceServer::start());
    first.route("/hello-1.0.tar.gz", [Reply::file(&b"another file"[..])]);
    let servers = ["--source-url", &first.url(), "--source-url", &second.url()].map(str::to_owned);
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let wrong = ContentDigest::of_bytes(b"another file");
    setting.check(
        &servers,
        1,
        &[
            "error: 1 of 1 specs failed",
            &format!(
                "hello: no place has `hello-1.0.tar.gz` with sha256 {}",
                ContentDigest::of_bytes(TARBALL)
            ),
            &format!("source server {}/hello-1.0.tar.gz: wrong hash: sha256 is {wrong}", first.url()),
            &format!("source server {}/hello-1.0.tar.gz: not found", second.url()),
            "help: give a server that has it with `--source-url`",
        ],
    );
    assert!(!setting.srpm().exists());
    let file = FileReply::new(TARBALL);
    second.route("/hello-1.0.tar.gz", [Reply::Cut { file: file.clone(), after: 10 }, Reply::File(file)]);
    setting.check(&servers, 0, &["1 packed"]);
    fs::remove_file(setting.srpm()).unwrap();
    setting.check(&["--offline"], 0, &["1 packed"]);
}

#[test]
fn sources_for_tests_are_packed_where_tests_run() {
    let Some(setting) = Setting::new() else { return };
    setting.write("SPECS/hello/hello-1.0.tar.gz", TARBALL);
    let tests = "%if 0%{?with_check}\nPatch1: tests.patch\n%endif\n\n%description";
    setting.write("SPECS/hello/hello.spec", SPEC.replace("\n%description", tests).as_bytes());
    setting.check(&[], 0, &["1 packed"]);
    let plain = query(&setting.srpm(), &["-l"]);
    setting.check(&["--run-check"], 1, &["no place has `tests.patch`"]);
    setting.write("SPECS/hello/tests.patch", b"--- a\n+++ b\n");
    setting.check(&["--run-check"], 0, &["1 packed"]);
    assert_eq!(query(&setting.srpm(), &["-l"]), format!("{plain}tests.patch\n"));
}

#[test]
fn servers_with_tls_need_a_known_authority_and_may_ask_for_a_certificate() {
    let Some(setting) = Setting::new() else { return };
    let authority = TestAuthority::new();
    let server = SourceServer::start_tls(authority.server_config(Some(&authority)));
    server.route("/hello-1.0.tar.gz", [Reply::file(TARBALL)]);
    let (certificate, key) = authority.issue_client();
    setting.write("ca.pem", authority.certificate_pem().as_bytes());
    setting.write("client.pem", certificate.as_bytes());
    setting.write("client.key", key.as_bytes());
    let paths = ["ca.pem", "client.pem", "client.key"].map(|name| setting.path(name).display().to_string());
    let url = server.url();
    let plain = ["--source-url", url.as_str()];
    let trusting = [&plain[..], &["--ca-cert", &paths[0]]].concat();
    let known = [&trusting[..], &["--tls-cert", &paths[1], "--tls-key", &paths[2]]].concat();
    setting.check(&plain, 1, &["TLS: invalid peer certificate: UnknownIssuer"]);
    setting.check(&trusting, 1, &["TLS: "]);
    setting.check(&known, 0, &["1 packed"]);
    setting.check(&[&plain[..], &["--ca-cert", "/nonexistent", "--repack"]].concat(), 2, &["/nonexistent"]);
}

#[test]
fn update_writes_the_signature_file_and_prints_what_it_changed() {
    let Some(setting) = Setting::new() else { return };
    setting.sign(b"an older tarball");
    setting.write("SPECS/hello/hello-1.0.tar.gz", TARBALL);
    setting.check(&[], 1, &["wrong hash: sha256 is "]);
    let output = setting.check(&["--signature-handling", "update"], 0, &["1 packed"]);
    let diff = String::from_utf8(output.stdout).unwrap();
    let line = |sign: char, text: &[u8]| {
        format!("\n{sign}    \"hello-1.0.tar.gz\": \"{}\"\n", ContentDigest::of_bytes(text))
    };
    assert!(diff.contains(&line('-', b"an older tarball")) && diff.contains(&line('+', TARBALL)), "{diff}");
    setting.check(&[], 0, &["nothing to do"]);
}

/// The worker of this workspace, or the one that `MILLWRIGHT_TEST_WORKER` names; `None`, loudly, without one.
fn worker() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let named = std::env::var_os("MILLWRIGHT_TEST_WORKER").map(PathBuf::from);
    let worker = named.unwrap_or_else(|| workspace.join("build/worker/worker.json"));
    let helper = Path::new(env!("CARGO_BIN_EXE_srpmpacker")).with_file_name("buildroot-init");
    for needed in [&worker, &helper] {
        if !needed.is_file() {
            eprintln!("skipped: there is no {}", needed.display());
            return None;
        }
    }
    Some(worker)
}

#[test]
fn rpm_of_a_worker_packs_in_its_sandbox_the_same_bytes_in_any_directory() {
    let (Some(worker), Some(first), Some(second)) = (worker(), Setting::new(), Setting::new()) else {
        return;
    };
    let layers = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers").display().to_string();
    let worker = worker.display().to_string();
    let arguments = ["--worker", &worker, "--layers", &layers];
    for setting in [&first, &second] {
        // Macros run in the sandbox: not as root, without the host's files.
        let summary = format!("As %(id -u), %(test -e {} && echo seen)\nLicense", env!("CARGO_MANIFEST_DIR"));
        let spec = SPEC.replace("A greeting\nLicense", &summary);
        setting.write("SPECS/hello/hello.spec", spec.as_bytes());
        setting.write("SPECS/hello/hello-1.0.tar.gz", TARBALL);
        setting.check(&arguments, 0, &["1 packed"]);
    }
    assert_eq!(fs::read(first.srpm()).unwrap(), fs::read(second.srpm()).unwrap());
    assert_eq!(
        query(&first.srpm(), &["--qf", "%{summary}|%{buildhost}|%{buildtime}"]),
        "As 1000,|millwright|1748908800"
    );
    first.check(&arguments, 0, &["nothing to do"]);
}

/// A file system of 64 KiB; gone when dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: no right to mount a tmpfs");
        None
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn full_disk_is_told_as_such_and_leaves_nothing_half_written() {
    let Some(setting) = Setting::new() else { return };
    let large = vec![7; 200_000];
    setting.sign(&large);
    let server = SourceServer::start();
    server.route("/hello-1.0.tar.gz", [Reply::file(large.clone())]);
    let url = server.url();
    let Some(disk) = TinyDisk::mount(setting.path("build/sources")) else { return };
    setting.check(&["--source-url", &url], 3, &["No space left on device", "sources/partial/"]);
    assert!(!setting.srpm().exists());
    let objects = walk(&setting.path("build/sources/sha256"));
    assert!(objects.is_empty(), "{objects:?}");
    drop(disk);
    setting.check(&["--source-url", &url], 0, &["1 packed"]);

    // The same for the SRPMs themselves.
    let Some(_disk) = TinyDisk::mount(setting.path("out/x86_64")) else { return };
    setting.write(
        "noise",
        &(0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
    );
    fs::copy(setting.path("noise"), setting.path("SPECS/hello/hello-1.0-louder.patch")).unwrap();
    setting.check(&[], 3, &["No space left on device"]);
    assert!(walk(&setting.path("out")).is_empty());
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn runs_at_the_same_time_do_not_disturb_one_another() {
    let Some(setting) = Setting::new() else { return };
    let server = SourceServer::start();
    server.route("/hello-1.0.tar.gz", [Reply::file(TARBALL)]);
    let url = server.url();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| setting.check(&["--source-url", &url], 0, &[]));
        }
    });
    assert_eq!(server.requests().len(), 1, "the file is fetched once for all");
    setting.check(&["--offline"], 0, &["nothing to do"]);
    assert_eq!(walk(&setting.path("out")), [setting.srpm()]);
}

#[test]
fn one_bad_spec_does_not_stop_the_others_and_all_are_told() {
    let Some(setting) = Setting::new() else { return };
    setting.write("SPECS/hello/hello-1.0.tar.gz", TARBALL);
    setting.write("SPECS/broken/broken.spec", b"Name: broken\nVersion: 1\n%if\n");
    setting.write("SPECS/nameless/nameless.spec", b"Version: 1\n");
    let elsewhere = SPEC.replace("hello", "elsewhere").replace("\nURL", "\nExclusiveArch: aarch64\nURL");
    setting.write("SPECS/elsewhere/elsewhere.spec", elsewhere.as_bytes());
    let output = setting.check(&["--json"], 1, &["error: 2 of 4 specs failed", "broken", "nameless"]);
    assert!(setting.srpm().exists());
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line.get("result").is_some())
        .collect();
    let told: Vec<(&str, &str)> =
        lines.iter().filter_map(|line| Some((line["spec"].as_str()?, line["outcome"].as_str()?))).collect();
    assert_eq!(
        told,
        [("broken", "failed"), ("elsewhere", "skipped"), ("hello", "packed"), ("nameless", "failed")]
    );
    assert_eq!(lines[4]["counts"]["failed"], 2);
}

#[test]
fn usage_errors_name_what_is_wrong() {
    let Some(setting) = Setting::new() else { return };
    setting.check(&["--pack-list", "hello nobody"], 2, &["no spec is named `nobody`"]);
    setting.check(&["--workers", "0"], 2, &["--workers"]);
    setting.check(&["--source-url", "ftp://a/"], 2, &["the source server `ftp://a/` cannot be used"]);
    setting.write("map.toml", b"[sources.a]\nwhat = 1\n");
    let map = setting.path("map.toml").display().to_string();
    setting.check(&["--debian-sources", &map], 2, &["map.toml"]);
}
