//! Stores of each kind, good ones and liars.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use testkit::{BLOB_ACCOUNT, BLOB_KEY, ObjectFault, ObjectRequest, ObjectServer};

use super::*;
use crate::collect::{collect, statistics};
use crate::document::tests::{digest, example};
use crate::publisher::Publisher;

/// A store that a test can look into.
enum Kind {
    Directory(tempfile::TempDir),
    Server(ObjectServer, &'static str),
}

impl Kind {
    fn all() -> Vec<Self> {
        vec![
            Self::Directory(tempfile::tempdir().unwrap()),
            Self::Server(ObjectServer::start(), "http"),
            Self::Server(ObjectServer::start(), "s3"),
            Self::Server(ObjectServer::start(), "azure"),
        ]
    }

    fn settings(&self, name: &str) -> StoreSettings {
        let location = match self {
            Self::Directory(directory) => Location::Directory(directory.path().join("store")),
            Self::Server(server, "http") => url(&format!("{}/results/azure", server.url()), &[]),
            Self::Server(server, "azure") => blobs(server, BLOB_KEY),
            Self::Server(server, _) => url(
                "s3://bucket/azure",
                &[
                    ("aws_endpoint", server.url().as_str()),
                    ("aws_region", "eu-1"),
                    ("aws_access_key_id", "id"),
                    ("aws_secret_access_key", "secret"),
                ],
            ),
        };
        StoreSettings {
            name: name.to_owned(),
            location,
            access: Access::ReadWrite,
            trusted_keys: Vec::new(),
            signing_key: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Changes the bytes of the object whose name ends so; they become `None` when it is to vanish.
    fn damage(&self, name: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        match self {
            Self::Directory(directory) => {
                let path = directory.path().join("store").join(name);
                let changed = change(&fs::read(&path).unwrap());
                fs::remove_file(&path).unwrap();
                if let Some(bytes) = changed {
                    fs::write(&path, bytes).unwrap();
                }
            }
            Self::Server(server, _) => server.change(|objects| {
                let path = objects.keys().find(|path| path.ends_with(name)).unwrap().clone();
                match change(&objects[&path]) {
                    Some(bytes) => drop(objects.insert(path, bytes)),
                    None => drop(objects.remove(&path)),
                }
            }),
        }
    }
}

/// The place of an emulator of Azure's Blob service.
fn blobs(server: &ObjectServer, key: &str) -> Location {
    url(
        "az://container/azure",
        &[
            ("azure_storage_account_name", BLOB_ACCOUNT),
            ("azure_storage_account_key", key),
            ("azure_storage_endpoint", &format!("{}/{BLOB_ACCOUNT}", server.url())),
        ],
    )
}

fn url(text: &str, options: &[(&str, &str)]) -> Location {
    Location::Url {
        url: text.parse().unwrap(),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        environment: BTreeMap::new(),
    }
}

/// Returns a result of a package whose files lie in a directory.
fn result(name: &str, directory: &Path) -> NewResult {
    let (document, bytes) = example(name);
    let files = document.files().into_iter().zip(bytes).map(|(file, bytes)| {
        let path = directory.join(file.sha256.as_str());
        fs::write(&path, bytes).unwrap();
        (file, path)
    });
    NewResult { files: files.collect(), document }
}

fn open_one(settings: StoreSettings) -> ResultStores {
    ResultStores::open(vec![settings]).unwrap()
}

#[test]
fn what_was_put_there_comes_back() {
    for kind in Kind::all() {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stores = open_one(kind.settings("a"));
        let result = result("zlib", from.path());
        let identity = result.document.identity.clone();
        assert_eq!(stores.find(0, &identity).unwrap_err(), MissReason::Absent);
        stores.publish(0, &Publication::built(result.clone())).unwrap();
        let found = stores.find(0, &identity).unwrap();
        assert_eq!((&found.document, &found.signed_by), (&result.document, &None));
        let files = stores.fetch(0, &found.document, into.path()).unwrap();
        assert_eq!(files.len(), 3);
        for (file, path) in &result.files {
            assert_eq!(fs::read(&files[&file.sha256]).unwrap(), fs::read(path).unwrap());
        }
        assert_eq!(stores.find(0, &digest("other")).unwrap_err(), MissReason::Absent);
        if let Kind::Server(server, protocol) = &kind {
            let requests = server.requests();
            assert!(
                requests.iter().all(|request| request.authorized == (*protocol != "http")),
                "{requests:?}"
            );
        }
    }
}

#[test]
fn lies_are_misses_and_are_mended_by_the_next_build() {
    for kind in Kind::all() {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let result = result("zlib", from.path());
        let identity = result.document.identity.clone();
        let content = result.files[1].0.sha256.clone();
        let publication = Publication::built(result);
        let of_file = |change: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
            let stores = open_one(kind.settings("a"));
            stores.publish(0, &publication).unwrap();
            kind.damage(&content_name(&content), change);
            let found = stores.find(0, &identity).unwrap();
            let reason = stores.fetch(0, &found.document, into.path()).unwrap_err();
            assert!(!into.path().join(content.as_str()).exists(), "what is not verified has no name");
            // The package is built, and put there over what is wrong.
            stores.publish(0, &publication).unwrap();
            stores.fetch(0, &stores.find(0, &identity).unwrap().document, into.path()).unwrap();
            fs::remove_file(into.path().join(content.as_str())).unwrap();
            reason
        };
        let same_length = |bytes: &[u8]| Some(vec![b'x'; bytes.len()]);
        assert!(matches!(of_file(&same_length), MissReason::WrongContent { found: Some(_), .. }));
        for wrong in [|bytes: &[u8]| Some(bytes[1..].to_vec()), |bytes: &[u8]| Some([bytes, b"x"].concat())] {
            assert_eq!(of_file(&wrong), MissReason::WrongContent { content: content.clone(), found: None });
        }
        assert_eq!(of_file(&|_| None), MissReason::FileMissing { content: content.clone() });

        let of_document = |change: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
            let stores = open_one(kind.settings("a"));
            stores.publish(0, &publication).unwrap();
            kind.damage(&document_name(&identity), change);
            stores.find(0, &identity).unwrap_err()
        };
        let cut = |bytes: &[u8]| Some(bytes[..bytes.len() / 2].to_vec());
        assert!(matches!(of_document(&cut), MissReason::NotADocument { .. }));
        let (other, _) = example("jq");
        let foreign = seal(&serde_json::to_vec(&other).unwrap(), None);
        let wrong = MissReason::WrongIdentity { found: other.identity };
        assert_eq!(of_document(&|_| Some(foreign.clone())), wrong);
    }
}

#[test]
fn with_keys_only_their_results_count_also_when_passed_on() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (near, far) = (Kind::Directory(near), Kind::Directory(far));
    let (publisher, stranger) = (SigningKey::of_seed(1), SigningKey::of_seed(2));
    let from = tempfile::tempdir().unwrap();
    let result = result("zlib", from.path());
    let identity = result.document.identity.clone();
    let signing = |kind: &Kind, key: Option<&SigningKey>| StoreSettings {
        signing_key: key.cloned(),
        trusted_keys: vec![publisher.public()],
        ..kind.settings("a")
    };
    open_one(signing(&far, Some(&publisher))).publish(0, &Publication::built(result.clone())).unwrap();
    let stores = ResultStores::open(vec![signing(&near, None), signing(&far, None)]).unwrap();
    let found = stores.find(1, &identity).unwrap();
    assert_eq!(found.signed_by, Some(publisher.public().id()));
    // The near store gets it as the publisher has signed it.
    stores.publish(0, &Publication::relayed(result.clone(), found)).unwrap();
    assert_eq!(stores.find(0, &identity).unwrap().signed_by, Some(publisher.public().id()));
    for (key, reason) in [
        (None, MissReason::Unsigned),
        (Some(&stranger), MissReason::UnknownKey { ids: vec![stranger.public().id()] }),
    ] {
        open_one(signing(&far, key)).publish(0, &Publication::built(result.clone())).unwrap();
        assert_eq!(stores.find(1, &identity).unwrap_err(), reason);
    }
}

#[test]
fn who_does_not_answer_is_left_alone() {
    let from = tempfile::tempdir().unwrap();
    let result = result("zlib", from.path());
    let identity = result.document.identity.clone();
    let mut settings = Kind::Server(ObjectServer::start(), "http").settings("a");
    // A port where nothing listens, nor ever will: the server's own is free again and could be another test's now.
    settings.location = url("http://127.0.0.1:1/results", &[]);
    settings.timeout = Duration::from_secs(5);
    let stores = open_one(settings);
    let reason = stores.find(0, &identity).unwrap_err();
    assert!(matches!(reason, MissReason::Access(AccessError::Unreachable { .. })), "{reason}");
    assert_eq!(stores.find(0, &identity).unwrap_err(), MissReason::LeftAlone);
    assert_eq!(stores.publish(0, &Publication::built(result)), Err(AccessError::LeftAlone));

    for fault in [ObjectFault::Silence, ObjectFault::Cut(10)] {
        let kind = Kind::Server(ObjectServer::start(), "http");
        let Kind::Server(server, _) = &kind else { unreachable!() };
        let from = tempfile::tempdir().unwrap();
        let publication = Publication::built(self::result("zlib", from.path()));
        open_one(kind.settings("a")).publish(0, &publication).unwrap();
        server.fail("GET", "results/", fault.clone());
        let stores = open_one(StoreSettings { timeout: Duration::from_secs(1), ..kind.settings("a") });
        let reason = stores.find(0, &identity).unwrap_err();
        let is_silence = matches!(
            reason,
            MissReason::Access(AccessError::TimedOut { .. } | AccessError::Unreachable { .. })
        );
        assert!(is_silence, "{fault:?}: {reason}");
        server.recover();
        assert_eq!(stores.find(0, &identity).unwrap_err(), MissReason::LeftAlone);
    }
}

#[test]
fn who_takes_nothing_still_gives() {
    let kind = Kind::Server(ObjectServer::start(), "http");
    let Kind::Server(server, _) = &kind else { unreachable!() };
    let from = tempfile::tempdir().unwrap();
    let result = result("zlib", from.path());
    let stores = Arc::new(open_one(kind.settings("a")));
    stores.publish(0, &Publication::built(result.clone())).unwrap();
    server.fail("PUT", "", ObjectFault::Status(403));
    let publisher = Publisher::start(&stores).unwrap();
    for name in ["jq", "onig"] {
        let publication = Publication::built(self::result(name, from.path()));
        publisher.publish(publication, vec![0], || {});
    }
    let failures = publisher.finish();
    assert_eq!(failures.len(), 1, "told once: {failures:?}");
    assert!(matches!(failures[0].error, AccessError::Denied { .. }), "{failures:?}");
    assert!(stores.find(0, &result.document.identity).is_ok());
}

#[test]
fn an_upload_that_is_cut_leaves_no_result() {
    for kind in Kind::all().into_iter().filter(|kind| matches!(kind, Kind::Server(..))) {
        let Kind::Server(server, _) = &kind else { unreachable!() };
        let from = tempfile::tempdir().unwrap();
        let result = result("zlib", from.path());
        let last = content_name(&result.files[2].0.sha256);
        server.fail("PUT", &last, ObjectFault::Status(400));
        let stores = open_one(kind.settings("a"));
        stores.publish(0, &Publication::built(result.clone())).unwrap_err();
        assert_eq!(server.objects().len(), 2, "two files, no document");
        server.recover();
        let stores = open_one(kind.settings("a"));
        assert_eq!(stores.find(0, &result.document.identity).unwrap_err(), MissReason::Absent);
        stores.publish(0, &Publication::built(result.clone())).unwrap();
        let puts = |name: &str| {
            server
                .requests()
                .iter()
                .filter(|request| request.method == "PUT" && request.path.ends_with(name))
                .count()
        };
        assert_eq!(puts(&content_name(&result.files[0].0.sha256)), 1, "what is there is not sent again");
        assert!(stores.find(0, &result.document.identity).is_ok());
    }
}

#[test]
fn large_files_go_up_in_parts_and_appear_whole() {
    let bytes: Vec<u8> = (0..40_000_000u32).map(|number| (number >> 8) as u8).collect();
    let large = StoredFile { sha256: ContentDigest::of_bytes(&bytes), size: bytes.len() as u64 };
    for protocol in ["s3", "azure"] {
        let kind = Kind::Server(ObjectServer::start(), protocol);
        let Kind::Server(server, _) = &kind else { unreachable!() };
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut result = result("zlib", from.path());
        let path = from.path().join("large");
        fs::write(&path, &bytes).unwrap();
        result.document.log = Some(large.clone());
        result.files[2] = (large.clone(), path.clone());
        let stores = open_one(kind.settings("a"));
        stores.publish(0, &Publication::built(result.clone())).unwrap();
        let files = stores.fetch(0, &result.document, into.path()).unwrap();
        assert!(fs::read(&files[&large.sha256]).unwrap() == bytes, "{protocol}");
        let of_it = |request: &&ObjectRequest| {
            request.path.ends_with(&content_name(&large.sha256)) && request.method == "PUT"
        };
        // Three pieces; the Blob service is sent the list of them besides.
        let puts = server.requests().iter().filter(of_it).count();
        assert_eq!(puts, if protocol == "s3" { 3 } else { 4 }, "{protocol}");

        // A file that is not what was accepted never becomes an object.
        server.change(BTreeMap::clear);
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = stores.publish(0, &Publication::built(result)).unwrap_err();
        assert!(matches!(error, AccessError::Local { .. }), "{protocol}: {error}");
        assert!(!server.objects().keys().any(|path| path.ends_with(&content_name(&large.sha256))));
    }
}

#[test]
fn a_key_that_is_not_the_accounts_is_denied() {
    let server = ObjectServer::start();
    let other = format!("A{}", &BLOB_KEY[1..]);
    let location = blobs(&server, &other);
    let kind = Kind::Server(server, "azure");
    let stores = open_one(StoreSettings { location, ..kind.settings("a") });
    let reason = stores.find(0, &digest("zlib")).unwrap_err();
    assert!(matches!(reason, MissReason::Access(AccessError::Denied { .. })), "{reason}");
}

#[test]
fn the_longest_unused_result_goes_first() {
    let (directory, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kind = Kind::Directory(directory);
    let stores = open_one(kind.settings("a"));
    let Kind::Directory(directory) = &kind else { unreachable!() };
    let root = directory.path().join("store");
    let results = ["zlib", "jq", "onig"].map(|name| result(name, from.path()));
    for result in &results {
        stores.publish(0, &Publication::built(result.clone())).unwrap();
    }
    let set_use = |result: &NewResult, seconds: u64| {
        let path = root.join(document_name(&result.document.identity));
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    };
    for (result, seconds) in results.iter().zip([300, 100, 200]) {
        set_use(result, seconds);
    }
    // Using it makes it the youngest.
    stores.find(0, &results[1].document.identity).unwrap();
    fs::write(root.join("temporary/left-behind"), "rubbish").unwrap();
    let before = statistics(&root).unwrap();
    assert_eq!((before.results, before.files, before.unnamed_bytes), (3, 9, 7));
    assert_eq!(before.oldest_use, Some(200));
    let would = collect(&root, before.bytes - 8, true).unwrap();
    assert_eq!((would.removed.len(), statistics(&root).unwrap()), (1, before.clone()));
    let collected = collect(&root, before.bytes - 8, false).unwrap();
    assert_eq!(collected.removed, [results[2].document.identity.clone()]);
    let after = statistics(&root).unwrap();
    assert_eq!((after.results, after.files, after.unnamed_bytes), (2, 6, 0));
    assert_eq!(after.bytes, collected.bytes_after);
    assert_eq!(stores.find(0, &results[2].document.identity).unwrap_err(), MissReason::Absent);
    assert_eq!(collect(&root, 0, false).unwrap().bytes_after, 0);
    assert_eq!(statistics(&directory.path().join("nowhere")).unwrap(), Default::default());
}

#[test]
fn mistakes_in_settings_are_told_before_anything_runs() {
    let message = |location: Location| {
        let settings =
            StoreSettings { location, ..Kind::Directory(tempfile::tempdir().unwrap()).settings("team") };
        ResultStores::open(vec![settings]).err().unwrap().to_string()
    };
    assert!(message(url("s3://bucket", &[("aws_regoin", "x")])).contains("`aws_regoin` is no option"));
    assert!(message(url("ftp://a/b", &[])).contains("team"));
}
