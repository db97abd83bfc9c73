//! Why a stand-in leaves its work to the script.

use std::io;
use std::path::PathBuf;

/// What a stand-in does not know for certain how the script would treat.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Oddity {
    /// The arguments are not those that rpm's macros give.
    #[error("its arguments are unusual")]
    Arguments,
    /// The environment lacks something, or holds something that changes what the script does.
    #[error("the environment variable `{0}` is unusual")]
    Environment(&'static str),
    /// The build root is no directory, or its path holds characters that patterns of the script take for operators.
    #[error("the build root is no directory, or its path holds characters that are operators in patterns")]
    RootName,
    /// A file's name holds characters that shells or tools take for something else.
    #[error("the name of `{}` holds unusual characters", .0.display())]
    Name(PathBuf),
    /// An ELF file that is damaged, or of a kind or machine that is not known here.
    #[error("`{}` is an unusual ELF file", .0.display())]
    Elf(PathBuf),
    /// An archive whose first member is unusual.
    #[error("`{}` is an unusual archive", .0.display())]
    Archive(PathBuf),
    /// A manual page that is compressed already.
    #[error("`{}` is compressed already", .0.display())]
    Compressed(PathBuf),
    /// A manual page of several names, or with special permissions.
    #[error("`{}` has several names or special permissions", .0.display())]
    Linked(PathBuf),
    /// The name that a manual page would get is taken.
    #[error("`{}` is there already", .0.display())]
    Taken(PathBuf),
    /// A directory of manual pages is a symbolic link.
    #[error("`{}` is a symbolic link", .0.display())]
    LinkedDirectory(PathBuf),
    /// Something cannot be read.
    #[error("cannot {operation} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Oddity {
    /// Returns a function that turns an error of `operation` on `path` into an oddity.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}
