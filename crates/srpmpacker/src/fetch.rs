//! Brings the sources of the specs that need packing to this host, and tells how it goes.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};

use report::{Event, Stage, counted};
use sources::{
    Answer, Asked, DownloadEvent, HydrateOptions, HydratedFile, Place, SpecHydration, SpecSources, hydrate,
};

use crate::packer::{PackOptions, PackerError};
use crate::progress::Steps;

/// After so many more bytes of a file its progress is told again.
const TELL_EVERY: u64 = 8 << 20;

/// Finds and verifies all files; the results stand in the order of `wanted`.
pub(crate) fn fetch(
    wanted: &[SpecSources],
    options: &PackOptions<'_>,
) -> Result<Vec<SpecHydration>, PackerError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // Downloads outlive no borrow of the reporter, so their events go through a channel.
    let (sender, events) = mpsc::channel();
    let remote = if options.offline {
        drop(sender);
        Vec::new()
    } else {
        let send = move |event: &DownloadEvent| {
            // The receiver ends last; an event that nobody takes is no loss.
            let _ = sender.send(event.clone());
        };
        options.remote.providers(Box::new(send))?
    };
    let total = wanted.iter().map(SpecSources::distinct_files).sum();
    let steps = Steps::start(options.reporter, Stage::Sources, total);
    let report = std::thread::scope(|scope| {
        let steps = &steps;
        scope.spawn(move || tell_downloads(events, steps, options));
        let settings = HydrateOptions {
            mode: options.signatures,
            offline: options.offline,
            remote: &remote,
            concurrency: options.concurrent_downloads,
            progress: &|progress| steps.step(progress.file),
        };
        let report = hydrate(wanted, options.store, &settings);
        // The last sender goes with the downloader, and then the thread above ends.
        drop(remote);
        report
    });
    let missing = report.failures().count();
    steps.finish(match missing {
        0 => format!("{} verified", counted(total, "file")),
        missing => format!("{}, {}", counted(total, "file"), counted(missing, "failure")),
    });
    for spec in &report.specs {
        for file in &spec.files {
            warn_of_fallback(&spec.spec, file, options);
        }
    }
    Ok(report.specs)
}

fn tell_downloads(events: Receiver<DownloadEvent>, steps: &Steps<'_>, options: &PackOptions<'_>) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        match event {
            DownloadEvent::Received { url, bytes, total } => {
                let last = told.entry(url.clone()).or_default();
                if bytes >= *last + TELL_EVERY {
                    *last = bytes;
                    let of = total.map(|total| format!(" of {}", total >> 20)).unwrap_or_default();
                    steps.tell(&format!("{url}: {}{of} MiB", bytes >> 20));
                }
            }
            DownloadEvent::Retrying { url, failure, delay } => {
                let message = format!("{url}: {failure}; trying again in {:.1} s", delay.as_secs_f64());
                options.reporter.event(&Event::Note { message });
            }
            DownloadEvent::Started { .. } | DownloadEvent::Finished { .. } => {}
        }
    }
}

/// A file of the tree that was passed over must not be passed over in silence.
fn warn_of_fallback(spec: &str, file: &HydratedFile, options: &PackOptions<'_>) {
    for asked in &file.refused {
        if let Asked { place: Place::Tree { path }, answer: Answer::WrongHash { got } } = asked {
            let message = format!(
                "{spec}: {} has sha256 {got}, not the one in the signature file; the listed file was taken from {}",
                path.display(),
                file.place.as_ref().map(ToString::to_string).unwrap_or_default(),
            );
            options.reporter.event(&Event::Warning { message });
        }
    }
}
