//! The table of signature modes, the order of places, and reports that have everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpm_model::{ContentDigest, SourceKind};
use testkit::{FileReply, Reply, SourceServer};

use super::{
    HydrateOptions, HydrationFailure, HydrationReport, SignatureMode, SpecSources, WantedFile, hydrate,
};
use crate::download::{DownloadOptions, Downloader, RetryPolicy};
use crate::provider::{Answer, Place, SourceProvider, SourceServerProvider, UpstreamProvider};
use crate::store::SourceStore;

/// A tree, a store and servers of one test.
struct Setting {
    directory: tempfile::TempDir,
    store: SourceStore,
    remote: Vec<Box<dyn SourceProvider>>,
}

impl Setting {
    fn new(servers: &[&SourceServer]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SourceStore::open(&directory.path().join("store")).unwrap();
        let options = DownloadOptions {
            use_proxy: false,
            retries: RetryPolicy {
                retries: 2,
                connection_attempts: 1,
                first_delay: Duration::from_millis(1),
                largest_delay: Duration::from_millis(2),
            },
            ..DownloadOptions::standard(4)
        };
        let downloader = Arc::new(Downloader::new(&options, Box::new(|_| {})).unwrap());
        let mut remote: Vec<Box<dyn SourceProvider>> = Vec::new();
        for server in servers {
            let provider = SourceServerProvider::new(&server.url(), Arc::clone(&downloader)).unwrap();
            remote.push(Box::new(provider));
        }
        remote.push(Box::new(UpstreamProvider::new(downloader)));
        Self { directory, store, remote }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A spec in its own directory; `listed` are the entries of its signature file (no file when `None`).
    fn spec(&self, name: &str, files: &[WantedFile], listed: Option<&[(&str, &[u8])]>) -> SpecSources {
        let signature_file = self.path(&format!("{name}/{name}.signatures.json"));
        if let Some(listed) = listed {
            let entries: serde_json::Map<String, serde_json::Value> = listed
                .iter()
                .map(|(file, content)| {
                    ((*file).to_owned(), ContentDigest::of_bytes(content).to_string().into())
                })
                .collect();
            let text = serde_json::json!({ "Signatures": entries }).to_string();
            self.write(&format!("{name}/{name}.signatures.json"), text.as_bytes());
        }
        SpecSources {
            spec: name.to_owned(),
            directories: vec![self.path(name), self.path(name).join("SOURCES")],
            signature_file,
            files: files.to_vec(),
        }
    }

    fn hydrate(&self, specs: &[SpecSources], mode: SignatureMode, offline: bool) -> HydrationReport {
        let remote = &self.remote;
        let options = HydrateOptions { mode, offline, remote, concurrency: 3, progress: &|_| {} };
        hydrate(specs, &self.store, &options)
    }
}

fn source(file: &str) -> WantedFile {
    WantedFile { kind: SourceKind::Source, file: file.to_owned(), url: None }
}

fn patch(file: &str) -> WantedFile {
    WantedFile { kind: SourceKind::Patch, file: file.to_owned(), url: None }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// What became of one file: its bytes, or the failure's name.
fn outcome(report: &HydrationReport) -> Result<Vec<u8>, &'static str> {
    match (&report.specs[0].files[..], &report.specs[0].failures[..]) {
        ([file], []) => Ok(read(&file.path)),
        ([], [HydrationFailure::NotListed { .. }]) => Err("not listed"),
        ([], [HydrationFailure::Nowhere { .. }]) => Err("nowhere"),
        other => panic!("{other:?}"),
    }
}

/// Azure's table of modes, with the two differences that are meant: `enforce` goes on to the servers after
/// a mismatch in the tree, and `update` loses no entry.
#[test]
fn signature_modes() {
    const RIGHT: &[u8] = b"right";
    const OTHER: &[u8] = b"other";
    use SignatureMode::{Enforce, Skip, Update};
    struct Case {
        name: &'static str,
        kind: SourceKind,
        listed: Option<&'static [(&'static str, &'static [u8])]>,
        tree: Option<&'static [u8]>,
        server: Option<&'static [u8]>,
        /// In the order enforce, skip, update: the bytes taken, or why none were.
        outcomes: [Result<&'static [u8], &'static str>; 3],
        /// What `update` records for the file.
        recorded: Option<&'static [u8]>,
    }
    const LISTED: Option<&[(&str, &[u8])]> = Some(&[("a", RIGHT)]);
    const EMPTY: Option<&[(&str, &[u8])]> = Some(&[]);
    let case = |name, kind, listed, tree, server, outcomes, recorded| Case {
        name,
        kind,
        listed,
        tree,
        server,
        outcomes,
        recorded,
    };
    let (src, pat) = (SourceKind::Source, SourceKind::Patch);
    let cases = [
        case("equal", src, LISTED, Some(RIGHT), None, [Ok(RIGHT); 3], None),
        case(
            "tree differs",
            src,
            LISTED,
            Some(OTHER),
            None,
            [Err("nowhere"), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
        case(
            "tree differs, server right",
            src,
            LISTED,
            Some(OTHER),
            Some(RIGHT),
            [Ok(RIGHT), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
        case("server right", src, LISTED, None, Some(RIGHT), [Ok(RIGHT); 3], None),
        case(
            "server differs",
            src,
            LISTED,
            None,
            Some(OTHER),
            [Err("nowhere"), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
        case("absent", src, LISTED, None, None, [Err("nowhere"); 3], None),
        case(
            "no entry",
            src,
            EMPTY,
            Some(OTHER),
            None,
            [Err("not listed"), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
        case(
            "no entry, server",
            src,
            EMPTY,
            None,
            Some(OTHER),
            [Err("not listed"), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
        case("no file", src, None, Some(OTHER), None, [Err("not listed"), Ok(OTHER), Ok(OTHER)], Some(OTHER)),
        case("patch, no entry", pat, EMPTY, Some(OTHER), None, [Ok(OTHER); 3], None),
        case(
            "patch, no entry, not in tree",
            pat,
            EMPTY,
            None,
            Some(OTHER),
            [Err("nowhere"), Ok(OTHER), Ok(OTHER)],
            None,
        ),
        case(
            "patch differs",
            pat,
            LISTED,
            Some(OTHER),
            None,
            [Err("nowhere"), Ok(OTHER), Ok(OTHER)],
            Some(OTHER),
        ),
    ];
    for case in cases {
        for (mode, expected) in [Enforce, Skip, Update].into_iter().zip(case.outcomes) {
            let server = SourceServer::start();
            if let Some(content) = case.server {
                server.route("/a", [Reply::file(content)]);
            }
            let setting = Setting::new(&[&server]);
            if let Some(content) = case.tree {
                setting.write("pkg/a", content);
            }
            let wanted = WantedFile { kind: case.kind, file: "a".to_owned(), url: None };
            let report = setting.hydrate(&[setting.spec("pkg", &[wanted], case.listed)], mode, false);
            assert_eq!(outcome(&report), expected.map(<[u8]>::to_vec), "{} {mode:?}", case.name);
            let recorded = report.specs[0].update.as_ref().map(|update| update.changes[0].new.clone());
            let expected = case.recorded.filter(|_| mode == Update).map(ContentDigest::of_bytes);
            assert_eq!(recorded, expected, "{} {mode:?}", case.name);
        }
    }
}

#[test]
fn second_server_is_asked_when_the_first_has_it_not() {
    let (first, second) = (SourceServer::start(), SourceServer::start());
    second.route("/a.tar.gz", [Reply::file(&b"right"[..])]);
    let setting = Setting::new(&[&first, &second]);
    let spec = setting.spec("pkg", &[source("a.tar.gz")], Some(&[("a.tar.gz", b"right")]));
    let report = setting.hydrate(std::slice::from_ref(&spec), SignatureMode::Enforce, false);
    let file = &report.specs[0].files[0];
    assert_eq!(read(&file.path), b"right");
    assert_eq!(file.place, Some(Place::SourceServer { url: format!("{}/a.tar.gz", second.url()) }));
    let refused: Vec<Answer> = file.refused.iter().map(|asked| asked.answer.clone()).collect();
    assert_eq!(refused, [Answer::NotFound, Answer::NotFound, Answer::NotFound, Answer::NotFound]);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));

    // Now it is in the store: no server is asked again, and none is needed.
    for offline in [false, true] {
        let report = setting.hydrate(std::slice::from_ref(&spec), SignatureMode::Enforce, offline);
        assert!(matches!(report.specs[0].files[0].place, Some(Place::Store { .. })));
    }
    assert_eq!(second.requests().len(), 1);
}

#[test]
fn upstream_url_is_the_last_resort_and_names_are_encoded() {
    let (server, upstream) = (SourceServer::start(), SourceServer::start());
    server.route("/sources/c%23+%20d.tar", [Reply::file(&b"d"[..])]);
    upstream.route("/v1.tar.gz", [Reply::file(&b"a"[..])]);
    let mut setting = Setting::new(&[]);
    let downloader = Downloader::new(
        &DownloadOptions { use_proxy: false, ..DownloadOptions::standard(1) },
        Box::new(|_| {}),
    );
    let base = format!("{}/sources/", server.url());
    let provider = SourceServerProvider::new(&base, Arc::new(downloader.unwrap())).unwrap();
    setting.remote.insert(0, Box::new(provider));
    let url = Some(format!("{}/v1.tar.gz#/a-1.tar.gz", upstream.url()));
    let wanted = [WantedFile { url, ..source("a-1.tar.gz") }, source("c#+ d.tar")];
    let spec = setting.spec("pkg", &wanted, Some(&[("a-1.tar.gz", b"a"), ("c#+ d.tar", b"d")]));
    let report = setting.hydrate(&[spec], SignatureMode::Enforce, false);
    assert_eq!(report.failures().count(), 0, "{:?}", report.specs[0].failures);
    // The two files are fetched side by side, in either order.
    let mut asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    asked.sort();
    assert_eq!(asked, ["/sources/a-1.tar.gz", "/sources/c%23+%20d.tar"]);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn report_has_every_file_of_every_spec_and_every_answer() {
    let server = SourceServer::start();
    server.route("/wrong.tar", [Reply::file(&b"wrong"[..])]);
    server.route("/broken.tar", [Reply::Status(503)]);
    let half = Reply::Cut { file: FileReply::new(&b"half a file"[..]), after: 4 };
    server.route("/good.tar", [half, Reply::file(&b"half a file"[..])]);
    let setting = Setting::new(&[&server]);
    setting.write("one/wrong.tar", b"also wrong");
    let one = [source("wrong.tar"), source("broken.tar"), source("unlisted.tar"), source("good.tar")];
    let listed: &[(&str, &[u8])] = &[("wrong.tar", b"w"), ("broken.tar", b"b"), ("good.tar", b"half a file")];
    let two = [source("absent.tar"), patch("absent.patch")];
    let specs = [
        setting.spec("one", &one, Some(listed)),
        setting.spec("two", &two, Some(&[("absent.tar", b"a")])),
        setting.spec("three", &[source("a")], None),
    ];
    setting.write("three/three.signatures.json", b"{\n  \"Signatures\": nonsense }");
    let report = setting.hydrate(&specs, SignatureMode::Enforce, false);
    let words: Vec<String> = report.failures().map(ToString::to_string).collect();
    let text = words.join("\n").replace(&setting.directory.path().display().to_string(), "DIR");
    let text = text.replace(&server.url(), "SERVER");
    let hash = |content: &[u8]| ContentDigest::of_bytes(content).to_string();
    let object = |content: &[u8]| format!("sha256/{}/{}", &hash(content)[..2], &hash(content)[2..]);
    let expected = [
        format!("one: no place has `wrong.tar` with sha256 {}", hash(b"w")),
        format!("    tree DIR/one/wrong.tar: wrong hash: sha256 is {}", hash(b"also wrong")),
        "    tree DIR/one/SOURCES/wrong.tar: not found".to_owned(),
        format!("    store DIR/store/{}: not found", object(b"w")),
        format!("    source server SERVER/wrong.tar: wrong hash: sha256 is {}", hash(b"wrong")),
        format!("one: no place has `broken.tar` with sha256 {}", hash(b"b")),
        "    tree DIR/one/broken.tar: not found".to_owned(),
        "    tree DIR/one/SOURCES/broken.tar: not found".to_owned(),
        format!("    store DIR/store/{}: not found", object(b"b")),
        "    source server SERVER/broken.tar: the server answered 503".to_owned(),
        "one: `unlisted.tar` has no entry in DIR/one/one.signatures.json".to_owned(),
        format!("two: no place has `absent.tar` with sha256 {}", hash(b"a")),
        "    tree DIR/two/absent.tar: not found".to_owned(),
        "    tree DIR/two/SOURCES/absent.tar: not found".to_owned(),
        format!("    store DIR/store/{}: not found", object(b"a")),
        "    source server SERVER/absent.tar: not found".to_owned(),
        "two: no place has `absent.patch`".to_owned(),
        "    tree DIR/two/absent.patch: not found".to_owned(),
        "    tree DIR/two/SOURCES/absent.patch: not found".to_owned(),
        "three: DIR/three/three.signatures.json:2: expected ident".to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!(report.specs[0].files.len(), 1);
}

#[test]
fn offline_asks_nobody_and_says_so() {
    let server = SourceServer::start();
    server.route("/a", [Reply::file(&b"a"[..])]);
    let setting = Setting::new(&[&server]);
    let spec = setting.spec("pkg", &[source("a")], Some(&[("a", b"a")]));
    let report = setting.hydrate(&[spec], SignatureMode::Enforce, true);
    let failure = report.failures().next().unwrap();
    assert!(failure.to_string().ends_with("the network was not asked (offline)"), "{failure}");
    assert!(failure.hint().contains("without `--offline`"));
    assert!(server.requests().is_empty());
}

#[test]
fn file_wanted_by_many_specs_is_fetched_once_and_told_for_each() {
    let server = SourceServer::start();
    server.route("/a", [Reply::file(vec![7; 100_000])]);
    let setting = Setting::new(&[&server]);
    let content = vec![7; 100_000];
    let listed: &[(&str, &[u8])] = &[("a", &content)];
    let specs: Vec<SpecSources> = (0..6)
        .map(|number| setting.spec(&format!("pkg{number}"), &[source("a"), source("a")], Some(listed)))
        .collect();
    let told = Mutex::new(Vec::new());
    let options = HydrateOptions {
        mode: SignatureMode::Enforce,
        offline: false,
        remote: &setting.remote,
        concurrency: 4,
        progress: &|progress| told.lock().unwrap().push((progress.spec.to_owned(), progress.found.is_some())),
    };
    let report = hydrate(&specs, &setting.store, &options);
    assert_eq!(report.failures().count(), 0);
    assert_eq!(server.requests().len(), 1);
    let mut told = told.into_inner().unwrap();
    told.sort();
    let all: Vec<(String, bool)> = (0..6).map(|number| (format!("pkg{number}"), true)).collect();
    assert_eq!(told, all);
}

#[test]
fn update_records_nothing_while_a_file_is_missing() {
    let setting = Setting::new(&[]);
    setting.write("pkg/a", b"a");
    let spec = setting.spec("pkg", &[source("a"), source("b")], None);
    let report = setting.hydrate(&[spec], SignatureMode::Update, false);
    assert_eq!(report.specs[0].update, None);
    assert_eq!(report.failures().count(), 1);
}
