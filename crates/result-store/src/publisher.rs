//! Puts results into stores while builds go on, and is done before the run ends.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::place::AccessError;
use crate::stores::{Publication, ResultStores};

/// How many results are put into stores at the same time.
const THREADS: usize = 4;

/// A result that could not be put into a store; the build is as good without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishFailure {
    /// The spec's name.
    pub package: String,
    /// The store's name.
    pub store: String,
    /// Why.
    pub error: AccessError,
}

/// What is done when a publication has ended, whichever way: frees what it was read from.
type Release = Box<dyn FnOnce() + Send>;

struct Order {
    publication: Publication,
    stores: Vec<usize>,
    release: Release,
}

/// Threads that put results into stores.
pub struct Publisher {
    sender: Option<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
    failures: Arc<Mutex<Vec<PublishFailure>>>,
}

impl Publisher {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(stores: &Arc<ResultStores>) -> std::io::Result<Self> {
        let (sender, receiver) = channel::<Order>();
        let receiver = Arc::new(Mutex::new(receiver));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..THREADS).map(|number| {
            let (stores, receiver, failures) =
                (Arc::clone(stores), Arc::clone(&receiver), Arc::clone(&failures));
            std::thread::Builder::new()
                .name(format!("publisher-{number}"))
                .spawn(move || work(&stores, &receiver, &failures))
        });
        let threads = threads.collect::<std::io::Result<_>>()?;
        Ok(Self { sender: Some(sender), threads, failures })
    }

    /// Puts a result into these stores, soon. `release` is called when that has ended.
    pub fn publish(
        &self,
        publication: Publication,
        stores: Vec<usize>,
        release: impl FnOnce() + Send + 'static,
    ) {
        if let Some(sender) = &self.sender {
            // The threads live as long as the sender.
            let _ = sender.send(Order { publication, stores, release: Box::new(release) });
        }
    }

    /// Waits until everything is where it belongs; returns what is not, sorted.
    pub fn finish(mut self) -> Vec<PublishFailure> {
        self.end();
        let mut failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        failures.sort_by(|a, b| (&a.package, &a.store).cmp(&(&b.package, &b.store)));
        failures
    }

    fn end(&mut self) {
        self.sender = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so; what it was to publish is not there, which harms nothing.
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(stores: &ResultStores, receiver: &Mutex<Receiver<Order>>, failures: &Mutex<Vec<PublishFailure>>) {
    loop {
        let order = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { publication, stores: positions, release }) = order else { return };
        for position in positions {
            let published = stores.publish(position, &publication);
            if let Err(error) = published
                && error != AccessError::LeftAlone
            {
                let failure = PublishFailure {
                    package: publication.result.document.job.package.clone(),
                    store: stores.name(position).to_owned(),
                    error,
                };
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
        }
        release();
    }
}
