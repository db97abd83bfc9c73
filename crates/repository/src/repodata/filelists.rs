//! `filelists.xml`: the files of each package.

use std::collections::HashMap;

use rpm_model::ContentDigest;

use super::BadRepodata;
use super::primary::{announced, check_package, tidy};
use super::stream::{Element, Visitor};

/// Collects the paths of `filelists.xml` by package checksum.
#[derive(Default)]
pub(super) struct FileCollector {
    announced: usize,
    found: usize,
    /// The package that is being read; `None` for one that `primary.xml` cannot have either.
    package: Option<ContentDigest>,
    files: Vec<String>,
    in_file: bool,
    text: String,
    lists: HashMap<ContentDigest, Vec<String>>,
}

impl FileCollector {
    /// Returns the sorted paths of each package.
    pub(super) fn finish(self) -> Result<HashMap<ContentDigest, Vec<String>>, BadRepodata> {
        if self.found != self.announced {
            return Err(BadRepodata::Count { found: self.found, announced: self.announced });
        }
        Ok(self.lists)
    }
}

impl Visitor for FileCollector {
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadRepodata> {
        match depth {
            1 => self.announced = announced(element)?,
            2 => {
                check_package(element)?;
                self.package = element.attribute("pkgid")?.parse().ok();
            }
            3 => self.in_file = element.name() == "file",
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, depth: usize, text: &str) {
        if depth == 3 && self.in_file {
            self.text.push_str(text);
        }
    }

    fn close(&mut self, depth: usize) -> Result<(), BadRepodata> {
        match depth {
            2 => {
                self.found += 1;
                if self.found > self.announced {
                    return Err(BadRepodata::Count { found: self.found, announced: self.announced });
                }
                let mut files = std::mem::take(&mut self.files);
                if let Some(package) = self.package.take() {
                    tidy(&mut files);
                    self.lists.insert(package, files);
                }
            }
            3 if self.in_file => {
                self.files.push(self.text.clone());
                self.text.clear();
                self.in_file = false;
            }
            _ => {}
        }
        Ok(())
    }
}
