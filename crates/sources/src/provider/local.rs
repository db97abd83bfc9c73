//! Places on this host: the tree and the store.

use std::io;

use file_index::hash_file;
use rpm_model::ContentDigest;

use super::{Answer, Asked, FetchFailure, FileRequest, FoundFile, Place, SourceProvider};
use crate::store::{SourceStore, StoreLookup};

/// The spec's own directory (and its `SOURCES/`).
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeProvider;

impl SourceProvider for TreeProvider {
    fn ask(&self, request: &FileRequest<'_>, _store: &SourceStore) -> Vec<Asked> {
        let mut asked = Vec::new();
        for path in request.candidates {
            let answer = match hash_file(path) {
                Ok(sha256) => judge(request, FoundFile { path: path.clone(), sha256 }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Answer::NotFound,
                Err(error) => Answer::Failed {
                    reason: FetchFailure::Local {
                        message: format!("cannot read {}: {error}", path.display()),
                    },
                },
            };
            let found = matches!(answer, Answer::Found(_));
            asked.push(Asked { place: Place::Tree { path: path.clone() }, answer });
            if found {
                break;
            }
        }
        asked
    }
}

/// Accepts bytes with the required hash.
pub(super) fn judge(request: &FileRequest<'_>, file: FoundFile) -> Answer {
    match request.required() {
        Some(required) if *required != file.sha256 => Answer::WrongHash { got: file.sha256 },
        _ => Answer::Found(file),
    }
}

/// The store; has what is listed, knows no names.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreProvider;

impl SourceProvider for StoreProvider {
    fn ask(&self, request: &FileRequest<'_>, store: &SourceStore) -> Vec<Asked> {
        let Some(listed) = request.listed else { return Vec::new() };
        let answer = look_up(store, listed);
        vec![Asked { place: Place::Store { path: store.path_of(listed) }, answer }]
    }
}

fn look_up(store: &SourceStore, listed: &ContentDigest) -> Answer {
    match store.find_verified(listed) {
        Ok(StoreLookup::Found(path)) => Answer::Found(FoundFile { path, sha256: listed.clone() }),
        Ok(StoreLookup::Absent) => Answer::NotFound,
        Ok(StoreLookup::Corrupt { got }) => Answer::WrongHash { got },
        Err(error) => Answer::Failed { reason: FetchFailure::local(&error) },
    }
}
