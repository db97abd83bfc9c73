//! The options of `find-debuginfo` that rpm's macros give in an ordinary build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::oddity::Oddity;
use crate::tree::is_plain;

/// What `find-debuginfo` is asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Files worked on at the same time.
    pub(crate) jobs: usize,
    /// `--strict-build-id`: a file without a build id is an error.
    pub(crate) strict: bool,
    /// `--build-id-seed`: what build ids are made anew from, besides the content.
    pub(crate) seed: Option<OsString>,
    /// `--unique-debug-suffix`: what names of debug files end with, before `.debug`.
    pub(crate) suffix: OsString,
    /// `--unique-debug-src-base`: the directory of sources below `/usr/src/debug`.
    pub(crate) source_base: Option<OsString>,
    /// `-S`: where the list of source directories goes, relative to the build directory.
    pub(crate) source_list: Option<PathBuf>,
    /// Where lists go, and what paths of sources are relative to.
    pub(crate) build_directory: PathBuf,
}

impl Options {
    /// Reads the options; any other than those above are left to the script.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Self, Oddity> {
        let mut options = Self { jobs: 1, ..Self::default() };
        let mut rest = arguments.iter();
        let mut directory = None;
        while let Some(argument) = rest.next() {
            let text = argument.to_str().ok_or(Oddity::Arguments)?;
            let mut value = || rest.next().filter(|value| is_plain(value)).cloned().ok_or(Oddity::Arguments);
            match text {
                "--strict-build-id" => options.strict = true,
                "--build-id-seed" => options.seed = Some(value()?).filter(|seed| !seed.is_empty()),
                "--unique-debug-suffix" => options.suffix = value()?,
                "--unique-debug-src-base" => {
                    options.source_base = Some(value()?).filter(|base| !base.is_empty())
                }
                "-S" => {
                    options.source_list = Some(value()?).filter(|list| !list.is_empty()).map(PathBuf::from)
                }
                "-j" | "--jobs" => options.jobs = number(value()?.to_str())?,
                _ if text.starts_with("-j") => options.jobs = number(text.strip_prefix("-j"))?,
                _ if text.starts_with('/') && is_plain(argument) => {
                    directory = Some(PathBuf::from(argument));
                    break;
                }
                _ => return Err(Oddity::Arguments),
            }
        }
        if rest.next().is_some() {
            return Err(Oddity::Arguments);
        }
        options.build_directory =
            directory.filter(|path: &PathBuf| path.is_dir()).ok_or(Oddity::Arguments)?;
        Ok(options)
    }

    /// Returns where a list of the build directory is.
    pub(crate) fn list(&self, name: impl AsRef<Path>) -> PathBuf {
        self.build_directory.join(name)
    }
}

fn number(text: Option<&str>) -> Result<usize, Oddity> {
    text.and_then(|text| text.parse().ok()).filter(|jobs| *jobs < 4096).ok_or(Oddity::Arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, Oddity> {
        Options::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_the_macros_give_is_known() {
        let options = parse(&[
            "-j2",
            "--strict-build-id",
            "--build-id-seed",
            "1-1.mw1",
            "--unique-debug-suffix",
            "-1-1.mw1.x86_64",
            "--unique-debug-src-base",
            "zlib-1-1.mw1.x86_64",
            "-S",
            "debugsourcefiles.list",
            "/tmp",
        ])
        .unwrap();
        assert_eq!((options.jobs, options.strict), (2, true));
        assert_eq!(options.seed.unwrap(), "1-1.mw1");
        assert_eq!(options.suffix, "-1-1.mw1.x86_64");
        assert_eq!(options.source_base.unwrap(), "zlib-1-1.mw1.x86_64");
        assert_eq!(options.source_list.unwrap(), Path::new("debugsourcefiles.list"));
    }

    #[test]
    fn everything_else_is_left_to_the_script() {
        for words in [
            &[][..],
            &["-j"],
            &["-jx", "/tmp"],
            &["-m", "/tmp"],
            &["--run-dwz", "/tmp"],
            &["-g", "/tmp"],
            &["-n", "/tmp"],
            &["-o", "list", "/tmp"],
            &["--build-id-seed", "a b", "/tmp"],
            &["relative"],
            &["/absent/directory"],
            &["/tmp", "more"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
