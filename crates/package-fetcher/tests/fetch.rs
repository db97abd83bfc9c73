//! Real repositories, made by createrepo_c and served over loopback by servers that misbehave.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod scene;

use std::fs;
use std::time::Duration;

use package_fetcher::{
    FetchReport, PackageLock, Places, RepositoryDefinition, SignaturePolicy, TlsFiles, available, read_list,
    select, write_summary,
};
use rpm_model::{ContentDigest, Nevra, PackageOrigin};
use scene::{Scene, hex};
use testkit::{FileReply, Reply, SourceServer, TestAuthority};

const HELLO: &str = "/r/noarch/hello-1.0-1.mw1.noarch.rpm";
const FILES: [&str; 2] = ["hello-1.0-1.mw1.noarch.rpm", "lib-1~rc1^2-1.mw1.noarch.rpm"];

/// Asserts that all packages of the scene were brought.
#[track_caller]
fn complete(report: &FetchReport, scene: &Scene) {
    assert_eq!(report.failures, [], "{:#?}", report.failures);
    let names: Vec<&str> = report.packages.iter().map(|package| package.file.as_str()).collect();
    assert_eq!(names, FILES);
    for package in &report.packages {
        let bytes = fs::read(scene.cache().join(&package.file)).unwrap();
        assert_eq!(ContentDigest::of_bytes(&bytes), package.sha256);
    }
    let partial = fs::read_dir(scene.cache().join(".partial")).unwrap().count();
    assert_eq!(partial, 0, "nothing half-fetched is left");
}

#[test]
fn what_is_unchanged_is_not_fetched_again() {
    let Some(scene) = Scene::new() else { return };
    let server = scene.serve();
    let repository = RepositoryDefinition::at("base", &format!("{}/r", server.url()));
    let offer = scene.open(std::slice::from_ref(&repository)).unwrap();
    assert_eq!(offer.len(), 2);
    let owners: Vec<u32> = offer.indexes()[0].relevant(["/usr/share/hello"]).into_keys().collect();
    assert_eq!(owners, [0], "filelists are read");
    let report = scene.fetch(&offer);
    complete(&report, &scene);
    assert_eq!(report.fetched, 2);

    let before = server.requests().len();
    let again = scene.open(std::slice::from_ref(&repository)).unwrap();
    let report = scene.fetch(&again);
    complete(&report, &scene);
    let asked: Vec<String> = server.requests().drain(before..).map(|request| request.path).collect();
    assert_eq!((report.fetched, asked), (0, vec!["/r/repodata/repomd.xml".to_owned()]));

    // Without the server everything is as it was.
    drop(server);
    let offline = scene.offline().open(std::slice::from_ref(&repository)).unwrap();
    assert!(offline.packages().eq(again.packages()));
    complete(&scene.offline().fetch(&offline), &scene);
    fs::remove_file(scene.cache().join(FILES[0])).unwrap();
    let report = scene.offline().fetch(&offline);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].to_string().contains("nothing is asked offline"), "{}", report.failures[0]);
    let elsewhere = RepositoryDefinition::at("base", "http://127.0.0.1:9/r");
    let elsewhere = scene.offline().open(&[elsewhere]);
    assert!(elsewhere.is_err(), "another place under the same name is another repository");
    let never = scene.offline().open(&[RepositoryDefinition { id: "never".into(), ..repository }]);
    assert!(never.unwrap_err()[0].to_string().contains("repository `never`"));
}

#[test]
fn changed_metadata_replaces_what_was_kept_and_damaged_is_fetched_again() {
    let Some(scene) = Scene::new() else { return };
    let server = scene.serve();
    let repositories = [RepositoryDefinition::at("base", &format!("{}/r", server.url()))];
    scene.open(&repositories).unwrap();
    let kept = |kind: &str| {
        let mut directories = fs::read_dir(scene.metadata()).unwrap().map(|entry| entry.unwrap().path());
        let directory = directories.find(|path| path.is_dir()).unwrap();
        let entries = fs::read_dir(directory.join("repodata")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_str().unwrap().contains(kind)).collect::<Vec<_>>()
    };
    fs::write(&kept("primary")[0], "damaged").unwrap();
    assert_eq!(scene.open(&repositories).unwrap().len(), 2);
    scene.add("third-1-1.noarch");
    scene.route_all(&server);
    assert_eq!(scene.open(&repositories).unwrap().len(), 3);
    assert_eq!(kept("primary").len(), 1, "the former generation is gone");
    // A repository that is caught in the middle of a change leaves the kept one whole.
    scene.add("fourth-1-1.noarch");
    scene.route_all(&server);
    server.route(&format!("/r/repodata/{}", scene.metadata_file("primary")), [Reply::Status(404)]);
    let error = scene.open(&repositories).unwrap_err();
    assert!(error[0].to_string().contains("not found"), "{}", error[0]);
    assert_eq!(scene.offline().open(&repositories).unwrap().len(), 3);
}

#[test]
fn a_server_that_misbehaves_is_borne() {
    let Some(scene) = Scene::new() else { return };
    let file = || FileReply::new(scene.read("noarch/hello-1.0-1.mw1.noarch.rpm"));
    let wrong = || Reply::file(vec![7; file().content.len()]);
    for (what, replies, requests, expected) in [
        ("right", vec![Reply::File(file())], 1, None),
        ("503, then right", vec![Reply::Status(503), Reply::File(file())], 2, None),
        ("cut, then right", vec![Reply::Cut { file: file(), after: 100 }, Reply::File(file())], 2, None),
        ("slow", vec![Reply::Slow { file: file(), piece: 1000, pause: Duration::from_millis(1) }], 1, None),
        ("redirect", vec![Reply::Redirect("/elsewhere".into())], 1, None),
        ("404", vec![Reply::Status(404), Reply::File(file())], 1, Some("404 not found")),
        ("403", vec![Reply::Status(403), Reply::File(file())], 1, Some("the server answered 403")),
        ("wrong bytes", vec![wrong(), Reply::File(file())], 1, Some("wrong hash")),
        ("too much", vec![Reply::file(vec![7; 1 << 20])], 1, Some("larger than")),
        ("short", vec![Reply::file("x")], 1, Some("wrong hash")),
        ("503 for ever", vec![Reply::Status(503)], 4, Some("the server answered 503")),
    ] {
        let server = scene.serve();
        server.route(HELLO, replies);
        server.route("/elsewhere", [Reply::File(file())]);
        let offer = scene.open(&[RepositoryDefinition::at("base", &format!("{}/r", server.url()))]).unwrap();
        let report = scene.fetch(&offer);
        match expected {
            None => complete(&report, &scene),
            Some(expected) => {
                assert_eq!((report.failures.len(), report.packages.len()), (1, 1), "{what}");
                let said = report.failures[0].to_string();
                assert!(said.contains(expected) && said.contains(HELLO), "{what}: {said}");
                assert!(said.contains("hello-1.0-1.mw1.noarch"), "{what}: {said}");
                assert!(!scene.cache().join(FILES[0]).exists(), "{what}");
            }
        }
        let asked = server.requests().iter().filter(|request| request.path == HELLO).count();
        assert_eq!(asked, requests, "{what}");
        fs::remove_dir_all(scene.cache()).unwrap();
    }
}

#[test]
fn the_next_mirror_is_asked_when_one_fails_or_lies() {
    let Some(scene) = Scene::new() else { return };
    let (bad, good) = (scene.serve(), scene.serve());
    let primary = format!("/r/repodata/{}", scene.metadata_file("primary"));
    bad.route(&primary, [Reply::file("not the file that was announced")]);
    bad.route(HELLO, [Reply::file("nor is this the package")]);
    let mut repository = RepositoryDefinition::at("base", "");
    repository.places = Places::Addresses(vec![
        "http://127.0.0.1:1/r".to_owned(),
        format!("{}/r", bad.url()),
        format!("{}/r", good.url()),
    ]);
    let offer = scene.open(&[repository]).unwrap();
    let report = scene.fetch(&offer);
    complete(&report, &scene);
    assert!(good.requests().iter().any(|request| request.path == primary));
    assert!(good.requests().iter().any(|request| request.path == HELLO));
    let hello = report.packages.iter().find(|package| package.nevra.name == "hello").unwrap();
    assert_eq!(hello.repository.url, format!("{}/r", good.url()), "the lock says who had it");

    // Nobody has it: every place and its answer is told.
    good.route(HELLO, [Reply::Status(404)]);
    fs::remove_file(scene.cache().join(FILES[0])).unwrap();
    let said = scene.fetch(&offer).failures[0].to_string();
    for part in ["cannot connect", "wrong hash", "404 not found", &bad.url(), &good.url()] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn lists_of_mirrors_are_followed() {
    let Some(scene) = Scene::new() else { return };
    let (stale, good) = (scene.serve(), SourceServer::start());
    scene.add("third-1-1.noarch");
    scene.route_all(&good);
    let link = |sha256: &str| {
        format!(
            "<metalink><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">{sha256}</hash>\
             </verification><resources><url preference=\"100\">{}/r/repodata/repomd.xml</url>\
             <url preference=\"50\">{}/r/repodata/repomd.xml</url></resources></file></files></metalink>",
            stale.url(),
            good.url()
        )
    };
    good.route("/link", [Reply::file(link(&hex(&scene.read("repodata/repomd.xml"))))]);
    good.route("/wrong-link", [Reply::file(link(&"0".repeat(64)))]);
    good.route("/list", [Reply::file(format!("# mirrors\n{}/r\n{}/r\n", stale.url(), good.url()))]);
    good.route("/portal", [Reply::file("<html>log in</html>")]);
    let open = |id: &str, places: Places| {
        let repository = RepositoryDefinition { places, ..RepositoryDefinition::at(id, "") };
        scene.open(&[repository]).map_err(|errors| errors[0].to_string())
    };
    let at = |path: &str| format!("{}/{path}", good.url());
    // Only the metalink knows that the first mirror is behind.
    assert_eq!(open("link", Places::MetaLink(at("link"))).unwrap().len(), 3);
    assert_eq!(open("list", Places::MirrorList(at("list"))).unwrap().len(), 2);
    let error = open("wrong", Places::MetaLink(at("wrong-link"))).unwrap_err();
    assert!(error.contains("the metalink's checksum differs") && error.contains(&stale.url()), "{error}");
    let error = open("portal", Places::MirrorList(at("portal"))).unwrap_err();
    assert!(error.contains("names no mirror"), "{error}");
    let error = open("none", Places::MetaLink(at("none"))).unwrap_err();
    assert!(error.contains("cannot get the list of mirrors") && error.contains("404"), "{error}");
}

#[test]
fn servers_are_verified_and_may_ask_who_we_are() {
    let Some(scene) = Scene::new() else { return };
    let (authority, clients) = (TestAuthority::new(), TestAuthority::new());
    let server = SourceServer::start_tls(authority.server_config(Some(&clients)));
    scene.route_all(&server);
    let file = |name: &str, text: &str| {
        let path = scene.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", authority.certificate_pem());
    let (certificate, key) = clients.issue_client();
    let client = (file("client.pem", &certificate), file("client.key", &key));
    let mut repository = RepositoryDefinition::at("base", &format!("{}/r", server.url()));
    let open = |repository: &RepositoryDefinition| {
        scene.open(std::slice::from_ref(repository)).map_err(|errors| errors[0].to_string())
    };
    let error = open(&repository).unwrap_err();
    assert!(error.contains("TLS"), "the authority is not known: {error}");
    repository.tls = TlsFiles { ca_certificate: Some(ca), client_certificate: None };
    open(&repository).unwrap_err();
    repository.tls.client_certificate = Some(client);
    let offer = open(&repository).unwrap();
    complete(&scene.fetch(&offer), &scene);
    repository.tls.ca_certificate = Some(scene.path("absent.pem"));
    assert!(open(&repository).unwrap_err().contains("absent.pem"));
}

#[test]
fn signatures_are_checked_where_they_are_asked_for() {
    let Some(scene) = Scene::new() else { return };
    let Some(key) = scene.make_key("ours") else { return };
    let Some(other) = scene.make_key("theirs") else { return };
    let directory = scene.path("r").display().to_string();
    let open = |signatures: SignaturePolicy| {
        let repository = RepositoryDefinition { signatures, ..RepositoryDefinition::at("base", &directory) };
        scene.open(&[repository]).map_err(|errors| errors[0].to_string())
    };
    assert!(open(SignaturePolicy::metadata(&key)).unwrap_err().contains("cannot get `repomd.xml.asc`"));
    scene.sign("ours", "r/repodata/repomd.xml");
    assert_eq!(open(SignaturePolicy::metadata(&key)).unwrap().len(), 2);
    let both = SignaturePolicy { keys: vec![other.clone(), key.clone()], ..SignaturePolicy::metadata(&key) };
    assert_eq!(open(both).unwrap().len(), 2, "any of the keys will do");
    assert!(open(SignaturePolicy::metadata(&other)).unwrap_err().contains("signature of `repomd.xml`"));
    // Packages without a signature of their own.
    let offer = open(SignaturePolicy::packages(&key)).unwrap();
    let said = scene.fetch(&offer).failures[0].to_string();
    assert!(said.contains("signature: there is none"), "{said}");
}

#[test]
fn priorities_and_patterns_decide_which_packages_count() {
    let Some(scene) = Scene::new() else { return };
    let other = Scene::new().unwrap();
    other.add("hello-9-9.mw1.noarch");
    let at = |id: &str, scene: &Scene| RepositoryDefinition::at(id, &scene.path("r").display().to_string());
    let names = |definitions: &[RepositoryDefinition]| -> Vec<String> {
        let offer = scene.open(definitions).unwrap();
        let names = offer.packages().map(|package| package.header.nevra.nvra());
        let mut names: Vec<String> = names.collect();
        names.sort();
        // Both repositories have some of them.
        names.dedup();
        names
    };
    let [first, second, third] =
        ["hello-1.0-1.mw1.noarch", "hello-9-9.mw1.noarch", "lib-1~rc1^2-1.mw1.noarch"];
    assert_eq!(names(&[at("a", &scene), at("b", &other)]), [first, second, third]);
    let preferred = RepositoryDefinition { priority: 1, ..at("a", &scene) };
    assert_eq!(names(&[preferred.clone(), at("b", &other)]), [first, third]);
    let live = RepositoryDefinition { origin: PackageOrigin::Live, ..at("b", &other) };
    assert_eq!(names(&[preferred, live]), [first, second, third], "priorities count within an origin");
    let without = RepositoryDefinition { exclude: vec!["lib*".parse().unwrap()], ..at("a", &scene) };
    assert_eq!(names(&[without]), [first]);
    let absent = RepositoryDefinition { optional: true, ..RepositoryDefinition::at("c", "/nonexistent") };
    assert_eq!(names(&[absent.clone(), at("a", &scene)]), [first, third]);
    let errors = scene.open(&[
        RepositoryDefinition { optional: false, ..absent.clone() },
        RepositoryDefinition { optional: false, id: "d".into(), ..absent },
    ]);
    assert_eq!(errors.unwrap_err().len(), 2, "every repository's failure is told");
}

#[test]
fn a_lock_restores_what_was_fetched_and_lists_choose_packages() {
    let Some(scene) = Scene::new() else { return };
    let server = scene.serve();
    let repository = RepositoryDefinition::at("base", &format!("{}/r", server.url()));
    let offer = scene.open(&[repository]).unwrap();
    let lock = PackageLock::new(scene.fetch(&offer).packages);
    let path = scene.path("lock.json");
    lock.write(&path).unwrap();
    fs::remove_dir_all(scene.cache()).unwrap();
    let lock = PackageLock::read(&path).unwrap().unwrap();
    let restored = scene.fetch_wanted(&lock.wanted(&[]));
    complete(&restored, &scene);
    assert_eq!(PackageLock::new(restored.packages), lock, "the same lock again");

    let nevras: Vec<&Nevra> = offer.packages().map(|package| &package.header.nevra).collect();
    let summary = scene.path("summary.json");
    write_summary(&summary, nevras).unwrap();
    assert_eq!(select(&read_list(&summary).unwrap(), &offer).unwrap().len(), 2);
    fs::write(&summary, "# a comment\nhello-1.0-1.mw1.noarch\nabsent-1-1.noarch.rpm\nlib-2-2.x86_64\n")
        .unwrap();
    let list = read_list(&summary).unwrap();
    let error = select(&list, &offer).unwrap_err().to_string();
    assert!(error.contains("2 of the packages of the summary: absent-1-1.noarch, lib-2-2.x86_64"), "{error}");
    let (found, missing) = available(&list, &offer);
    assert_eq!((found.len(), missing.len()), (1, 2));
    for (text, part) in [("{\"Repo\":3}", "summary.json"), ("hello\n", "line 1"), ("a-1-1.x\nb\n", "line 2")]
    {
        fs::write(&summary, text).unwrap();
        let error = read_list(&summary).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
