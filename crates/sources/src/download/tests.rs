//! Downloads from a real server on loopback that misbehaves on purpose.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpm_model::ContentDigest;
use testkit::{FileReply, RangeSupport, Reply, SourceServer, TestAuthority};

use super::{
    Download, DownloadError, DownloadEvent, DownloadOptions, DownloadSetupError, Downloader, RetryPolicy,
    TransferFailure,
};

/// A directory, a downloader, and what it told.
struct Client {
    directory: tempfile::TempDir,
    downloader: Downloader,
    events: Arc<Mutex<Vec<DownloadEvent>>>,
}

/// Nobody here is silent by accident for as long as the standard's read timeout, whatever else the host does.
fn options() -> DownloadOptions {
    DownloadOptions {
        use_proxy: false,
        retries: RetryPolicy {
            retries: 3,
            connection_attempts: 2,
            first_delay: Duration::from_millis(1),
            largest_delay: Duration::from_millis(5),
        },
        ..DownloadOptions::standard(4)
    }
}

impl Client {
    fn new(options: &DownloadOptions) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let progress = Box::new(move |event: &DownloadEvent| told.lock().unwrap().push(event.clone()));
        let downloader = Downloader::new(options, progress).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), downloader, events }
    }

    fn part(&self) -> PathBuf {
        self.directory.path().join("file.part")
    }

    fn fetch(&self, url: &str, expected: Option<&[u8]>) -> Result<Vec<u8>, TransferFailure> {
        let expected = expected.map(ContentDigest::of_bytes);
        let (part, note) = (self.part(), self.directory.path().join("file.json"));
        let download =
            Download { url, part: &part, note: &note, expected: expected.as_ref(), limit: Some(10_000_000) };
        match self.downloader.fetch(&download) {
            Ok((digest, length)) => {
                let bytes = std::fs::read(&part).unwrap();
                assert_eq!((ContentDigest::of_bytes(&bytes), bytes.len() as u64), (digest, length));
                Ok(bytes)
            }
            Err(DownloadError::Transfer { failure, .. }) => Err(failure),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Bytes that differ at every place where parts could be put together wrongly.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8 ^ (place / 251 % 256) as u8).collect()
}

#[test]
fn answers_and_what_comes_of_them() {
    let good = content(50_000);
    let file = || Reply::file(good.clone());
    let cut = |after| Reply::Cut { file: FileReply::new(good.clone()), after };
    let stall = |after| Reply::Stall { file: FileReply::new(good.clone()), after };
    let timed_out = Err(TransferFailure::TimedOut { received: 20_000 });
    let unranged = FileReply { ranges: RangeSupport::None, ..FileReply::new(good.clone()) };
    let wrong = || Reply::file(&b"something else"[..]);
    let not_found = |status| Err(TransferFailure::NotFound { status });
    let status = |status| Err(TransferFailure::Status { status, retry_after: None });
    // How long silence is no accident is the host's affair: where somebody is silent the first of these timeouts counts
    // with which all comes right.
    let timeouts = [300, 3_000, 30_000].map(Duration::from_millis);
    // What the case is, what the server answers, what comes of it, how often it was asked.
    type Case = (&'static str, Vec<Reply>, Result<(), TransferFailure>, usize);
    let cases: Vec<Case> = vec![
        ("right", vec![file()], Ok(()), 1),
        ("absent", vec![Reply::Status(404)], not_found(404), 1),
        ("gone", vec![Reply::Status(410)], not_found(410), 1),
        ("forbidden", vec![Reply::Status(403)], status(403), 1),
        ("fails, then right", vec![Reply::Status(500), Reply::Status(503), file()], Ok(()), 3),
        ("asks to wait", vec![Reply::RetryAfter(429, 3600), file()], Ok(()), 2),
        ("always fails", vec![Reply::Status(502)], status(502), 4),
        ("cut, then goes on", vec![cut(20_000), file()], Ok(()), 2),
        ("cut before the first byte", vec![cut(0), file()], Ok(()), 2),
        ("cut thrice", vec![cut(9_000), cut(9_000), cut(9_000), file()], Ok(()), 4),
        ("silent, then right", vec![Reply::Silence, file()], Ok(()), 2),
        ("stops in the middle, then goes on", vec![stall(20_000), file()], Ok(()), 2),
        ("always stops at the same place", vec![stall(20_000), stall(0)], timed_out, 4),
        ("cut, then whole again", vec![cut(20_000), Reply::File(unranged)], Ok(()), 2),
        (
            "wrong",
            vec![wrong()],
            Err(TransferFailure::WrongHash { got: ContentDigest::of_bytes(b"something else") }),
            1,
        ),
    ];
    for (name, replies, expected, requests) in cases {
        let expected = (expected.map(|()| good.clone()), requests);
        let fetched = |options: &DownloadOptions| {
            let server = SourceServer::start();
            server.route("/a.tar.gz", replies.clone());
            let result = Client::new(options).fetch(&format!("{}/a.tar.gz", server.url()), Some(&good));
            (result, server.requests().len())
        };
        let is_silent = |reply: &Reply| matches!(reply, Reply::Silence | Reply::Stall { .. });
        if replies.iter().any(is_silent) {
            let is_right = |read_timeout| fetched(&DownloadOptions { read_timeout, ..options() }) == expected;
            assert!(timeouts.into_iter().any(is_right), "{name}");
        } else {
            assert!(fetched(&options()) == expected, "{name}");
        }
    }
}

#[test]
fn wrong_bytes_are_thrown_away() {
    let server = SourceServer::start();
    server.route("/a", [Reply::file(&b"wrong"[..])]);
    let client = Client::new(&options());
    assert!(client.fetch(&format!("{}/a", server.url()), Some(b"right")).is_err());
    assert!(!client.part().exists());
}

#[test]
fn cut_transfer_asks_only_for_the_rest() {
    let good = content(50_000);
    let server = SourceServer::start();
    let file = FileReply::new(good.clone());
    server.route("/a", [Reply::Cut { file: file.clone(), after: 20_000 }, Reply::File(file.clone())]);
    let client = Client::new(&options());
    assert_eq!(client.fetch(&format!("{}/a", server.url()), None).unwrap(), good);
    let requests = server.requests();
    assert_eq!(requests[0].headers.get("range"), None);
    assert_eq!(requests[1].headers["range"], "bytes=20000-");
    assert_eq!(Some(&requests[1].headers["if-range"]), file.etag.as_ref());
    let events = client.events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, DownloadEvent::Retrying { .. })), "{events:?}");
}

#[test]
fn next_run_goes_on_where_the_last_one_stopped() {
    let good = content(50_000);
    let server = SourceServer::start();
    let file = FileReply::new(good.clone());
    server.route("/a", [Reply::Cut { file: file.clone(), after: 30_000 }, Reply::Status(403)]);
    let client = Client::new(&options());
    let url = format!("{}/a", server.url());
    let broken = client.fetch(&url, Some(&good));
    assert_eq!(broken, Err(TransferFailure::Status { status: 403, retry_after: None }));
    server.route("/a", [Reply::File(file)]);
    assert_eq!(client.fetch(&url, Some(&good)).unwrap(), good);
    assert_eq!(server.requests()[2].headers["range"], "bytes=30000-");
}

#[test]
fn file_that_changed_meanwhile_is_not_put_together_from_two_versions() {
    let (old, new) = (content(50_000), content(60_000).into_iter().rev().collect::<Vec<u8>>());
    for ranges in [RangeSupport::Right, RangeSupport::None, RangeSupport::IgnoresIfRange] {
        for expected in [None, Some(&new[..])] {
            let server = SourceServer::start();
            let old = FileReply { ranges, ..FileReply::new(old.clone()) };
            let new_file = FileReply { ranges, ..FileReply::new(new.clone()) };
            server.route("/a", [Reply::Cut { file: old, after: 20_000 }, Reply::File(new_file)]);
            let client = Client::new(&options());
            let result = client.fetch(&format!("{}/a", server.url()), expected);
            assert_eq!(result.as_ref(), Ok(&new), "{ranges:?}");
        }
    }
}

#[test]
fn server_without_versions_is_continued_only_when_the_hash_decides() {
    let good = content(50_000);
    for (expected, range) in [(None, false), (Some(&good[..]), true)] {
        let server = SourceServer::start();
        let file = FileReply { etag: None, ..FileReply::new(good.clone()) };
        server.route("/a", [Reply::Cut { file: file.clone(), after: 20_000 }, Reply::File(file)]);
        let client = Client::new(&options());
        assert_eq!(client.fetch(&format!("{}/a", server.url()), expected).unwrap(), good);
        assert_eq!(server.requests()[1].headers.contains_key("range"), range);
    }
}

#[test]
fn stale_part_of_a_server_without_versions_is_fetched_anew() {
    let good = content(50_000);
    let stale: Vec<u8> = good.iter().map(|byte| !byte).collect();
    let server = SourceServer::start();
    let served = |bytes: &[u8]| FileReply { etag: None, ..FileReply::new(bytes) };
    server.route("/a", [Reply::Cut { file: served(&stale), after: 20_000 }, Reply::File(served(&good))]);
    let client = Client::new(&options());
    assert_eq!(client.fetch(&format!("{}/a", server.url()), Some(&good)).unwrap(), good);
    assert_eq!(server.requests().len(), 3, "cut, spliced to the wrong hash, from the start");
}

#[test]
fn complete_part_needs_no_byte() {
    let good = content(1_000);
    let server = SourceServer::start();
    server.route("/a", [Reply::file(good.clone())]);
    let client = Client::new(&options());
    let url = format!("{}/a", server.url());
    assert_eq!(client.fetch(&url, Some(&good)).unwrap(), good);
    assert_eq!(client.fetch(&url, Some(&good)).unwrap(), good);
    assert_eq!(server.requests()[1].headers["range"], "bytes=1000-");
}

#[test]
fn slow_file_is_no_failure_as_long_as_bytes_come() {
    let good = content(400);
    let server = SourceServer::start();
    let file = FileReply::new(good.clone());
    // Ten pieces: longer in all than the limit on silence.
    server.route("/a", [Reply::Slow { file, piece: 40, pause: Duration::from_millis(200) }]);
    let client = Client::new(&DownloadOptions { read_timeout: Duration::from_millis(1_500), ..options() });
    assert_eq!(client.fetch(&format!("{}/a", server.url()), None).unwrap(), good);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn silence_ends_in_a_timeout() {
    let server = SourceServer::start();
    server.route("/a", [Reply::Silence]);
    let options = DownloadOptions { read_timeout: Duration::from_millis(50), ..options() };
    let result = Client::new(&options).fetch(&format!("{}/a", server.url()), None);
    assert_eq!(result, Err(TransferFailure::TimedOut { received: 0 }));
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let (here, there) = (SourceServer::start(), SourceServer::start());
    there.route("/real", [Reply::file(&b"file"[..])]);
    here.route("/a", [Reply::Redirect(format!("{}/real", there.url()))]);
    here.route("/loop", [Reply::Redirect("/loop".to_owned())]);
    let client = Client::new(&options());
    assert_eq!(client.fetch(&format!("{}/a", here.url()), None).unwrap(), b"file");
    let endless = client.fetch(&format!("{}/loop", here.url()), None);
    assert!(matches!(endless, Err(TransferFailure::Redirect { .. })), "{endless:?}");
}

#[test]
fn redirected_file_goes_on_where_it_was_cut() {
    let good = content(50_000);
    let (here, there) = (SourceServer::start(), SourceServer::start());
    let file = FileReply::new(good.clone());
    there.route("/real", [Reply::Cut { file: file.clone(), after: 20_000 }, Reply::File(file)]);
    here.route("/a", [Reply::Redirect(format!("{}/real", there.url()))]);
    let client = Client::new(&options());
    assert_eq!(client.fetch(&format!("{}/a", here.url()), Some(&good)).unwrap(), good);
    let requests = there.requests();
    assert_eq!((requests.len(), requests[1].headers["range"].as_str()), (2, "bytes=20000-"));
}

#[test]
fn pauses_double_and_have_a_limit() {
    let ms = Duration::from_millis;
    let server = SourceServer::start();
    server.route("/fails", [Reply::Status(502)]);
    server.route("/wait", [Reply::RetryAfter(503, 3600)]);
    let retries =
        RetryPolicy { retries: 5, connection_attempts: 2, first_delay: ms(2), largest_delay: ms(10) };
    // Jitter is random: several times.
    for _ in 0..8 {
        for (path, at_least) in [("/fails", [2, 4, 8, 10, 10]), ("/wait", [10; 5])] {
            let client = Client::new(&DownloadOptions { retries: retries.clone(), ..options() });
            assert!(client.fetch(&format!("{}{path}", server.url()), None).is_err());
            let events = client.events.lock().unwrap();
            let pauses: Vec<Duration> = events
                .iter()
                .filter_map(|event| match event {
                    DownloadEvent::Retrying { delay, .. } => Some(*delay),
                    _ => None,
                })
                .collect();
            let right = |(pause, least): (&Duration, u64)| (ms(least)..=ms(10)).contains(pause);
            assert!(pauses.len() == 5 && pauses.iter().zip(at_least).all(right), "{path}: {pauses:?}");
        }
    }
}

#[test]
fn no_more_transfers_run_than_allowed() {
    let server = SourceServer::start();
    let good = content(4_000);
    for number in 0..12 {
        let file = FileReply::new(good.clone());
        let cut = Reply::Cut { file: file.clone(), after: 100 };
        let slow = Reply::Slow { file, piece: 1_000, pause: Duration::from_millis(5) };
        server.route(&format!("/{number}"), [cut, slow]);
    }
    for limit in [1, 3] {
        let client = Client::new(&DownloadOptions { concurrency: limit, ..options() });
        std::thread::scope(|scope| {
            for number in 0..12 {
                let (client, url) = (&client, format!("{}/{number}", server.url()));
                let part = client.directory.path().join(format!("{number}.part"));
                let note = client.directory.path().join(format!("{number}.note"));
                scope.spawn(move || {
                    let download =
                        Download { url: &url, part: &part, note: &note, expected: None, limit: None };
                    client.downloader.fetch(&download).unwrap();
                });
            }
        });
        let (mut running, mut most, mut finished) = (0, 0, 0);
        for event in client.events.lock().unwrap().iter() {
            match event {
                DownloadEvent::Started { .. } => running += 1,
                DownloadEvent::Finished { .. } => (running, finished) = (running - 1, finished + 1),
                _ => {}
            }
            most = most.max(running);
        }
        assert!(most <= limit && finished == 12, "{most} of {limit} at once, {finished} files");
    }
}

#[test]
fn limit_ends_a_file_that_is_too_large() {
    let server = SourceServer::start();
    server.route("/a", [Reply::file(content(2_000))]);
    let client = Client::new(&options());
    let (part, note) = (client.part(), client.directory.path().join("note"));
    let url = format!("{}/a", server.url());
    let download = Download { url: &url, part: &part, note: &note, expected: None, limit: Some(1_999) };
    let error = client.downloader.fetch(&download).unwrap_err();
    assert_eq!(error.to_string(), format!("{url}: larger than 1999 bytes"));
}

#[test]
fn what_is_no_url_is_refused_without_a_request() {
    let client = Client::new(&options());
    for url in ["ftp://127.0.0.1/a", "a.tar.gz", "http://", "file:///etc/passwd"] {
        let result = client.fetch(url, None);
        assert!(matches!(result, Err(TransferFailure::InvalidUrl { .. })), "{url}: {result:?}");
    }
}

#[test]
fn dead_host_is_asked_for_one_file_only() {
    // A port where nothing listens, nor ever will: one that was free a moment ago could be another test's now.
    let client = Client::new(&options());
    for _ in 0..2 {
        let result = client.fetch("http://127.0.0.1:1/a", None);
        assert!(matches!(result, Err(TransferFailure::Unreachable { .. })), "{result:?}");
    }
    let starts =
        client.events.lock().unwrap().iter().filter(|e| matches!(e, DownloadEvent::Started { .. })).count();
    assert_eq!(starts, 1);
}

#[test]
fn full_disk_is_our_fault_and_names_the_file() {
    let server = SourceServer::start();
    server.route("/a", [Reply::file(&b"file"[..])]);
    let client = Client::new(&options());
    let url = format!("{}/a", server.url());
    let (part, note) = (PathBuf::from("/dev/full"), client.directory.path().join("note"));
    let download = Download { url: &url, part: &part, note: &note, expected: None, limit: None };
    let error = client.downloader.fetch(&download).unwrap_err();
    assert!(matches!(&error, DownloadError::Local { path, .. } if *path == part), "{error}");
}

#[test]
fn tls_trusts_only_what_it_is_told_to() {
    let (ours, theirs) = (TestAuthority::new(), TestAuthority::new());
    let directory = tempfile::tempdir().unwrap();
    let save = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = save("ca.pem", ours.certificate_pem());
    let (certificate, key) = ours.issue_client();
    let client_pair = (save("client.pem", &certificate), save("client.key", &key));
    let fetch = |server: &SourceServer, options: &DownloadOptions| {
        server.route("/a", [Reply::file(&b"file"[..])]);
        Client::new(options).fetch(&format!("{}/a", server.url()), Some(b"file"))
    };
    let plain = options();
    let trusting = DownloadOptions { ca_certificate: Some(ca), ..options() };
    let known = DownloadOptions { client_certificate: Some(client_pair), ..trusting.clone() };

    let server = SourceServer::start_tls(ours.server_config(None));
    assert_eq!(fetch(&server, &trusting).unwrap(), b"file");
    let unknown = fetch(&server, &plain);
    assert!(matches!(&unknown, Err(TransferFailure::Tls { .. })), "{unknown:?}");

    let stranger = SourceServer::start_tls(theirs.server_config(None));
    let unknown = fetch(&stranger, &trusting);
    assert!(matches!(&unknown, Err(TransferFailure::Tls { .. })), "{unknown:?}");
    assert!(stranger.requests().is_empty());

    let strict = SourceServer::start_tls(ours.server_config(Some(&ours)));
    assert_eq!(fetch(&strict, &known).unwrap(), b"file");
    let nameless = fetch(&strict, &trusting);
    assert!(matches!(&nameless, Err(TransferFailure::Tls { .. })), "{nameless:?}");
}

#[test]
fn unusable_certificate_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let refuse = |options: DownloadOptions| Downloader::new(&options, Box::new(|_| {})).unwrap_err();
    let missing = DownloadOptions { ca_certificate: Some(directory.path().join("none")), ..options() };
    assert!(matches!(refuse(missing), DownloadSetupError::Read { .. }));
    let no_ca = DownloadOptions { ca_certificate: Some(empty.clone()), ..options() };
    assert!(refuse(no_ca).to_string().contains("empty.pem holds no usable certificate"));
    let no_pair = DownloadOptions { client_certificate: Some((empty.clone(), empty)), ..options() };
    assert!(matches!(refuse(no_pair), DownloadSetupError::Pem { .. }));
}
