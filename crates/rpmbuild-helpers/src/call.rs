//! One call: which script is stood for, with which arguments, and how it ends.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::oddity::Oddity;
use crate::{check_files, compare, compress, debuginfo, elfperms, la_files, strip};

/// Where the worker has put the scripts that this program is mounted over: the directories of `/usr/lib/rpm` and
/// of `/usr/bin` that hold them. `find-debuginfo` looks for other programs beside itself.
pub(crate) const ORIGINALS: &str = "/run/millwright/originals";

/// Set to `compare` by the worker when each stand-in is to be compared with its script.
const MODE: &str = "MILLWRIGHT_TUNING";

/// What a stand-in exits with when it is not what its script is.
pub(crate) const DIFFERS: u8 = 90;

/// The scripts that can be stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    CheckFiles,
    Compress,
    ElfPermissions,
    FindDebuginfo,
    RemoveLaFiles,
    Strip,
    StripCommentNote,
    StripStaticArchive,
}

impl Script {
    const ALL: [Self; 8] = [
        Self::CheckFiles,
        Self::Compress,
        Self::ElfPermissions,
        Self::FindDebuginfo,
        Self::RemoveLaFiles,
        Self::Strip,
        Self::StripCommentNote,
        Self::StripStaticArchive,
    ];

    /// Returns the script's file name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CheckFiles => "check-files",
            Self::Compress => "brp-compress",
            Self::ElfPermissions => "brp-elfperms",
            Self::FindDebuginfo => "find-debuginfo",
            Self::RemoveLaFiles => "brp-remove-la-files",
            Self::Strip => "brp-strip",
            Self::StripCommentNote => "brp-strip-comment-note",
            Self::StripStaticArchive => "brp-strip-static-archive",
        }
    }

    /// Returns where the script itself is.
    pub(crate) fn original(self) -> PathBuf {
        let directory = if self == Self::FindDebuginfo { "bin" } else { "rpm" };
        Path::new(ORIGINALS).join(directory).join(self.name())
    }
}

/// One call of a script.
pub(crate) struct Call {
    pub(crate) script: Script,
    pub(crate) arguments: Vec<OsString>,
    /// `RPM_BUILD_ROOT`, where it is set and not empty.
    pub(crate) root: Option<PathBuf>,
    /// Whether the script runs too, on a copy, and both results are compared.
    compare: bool,
}

impl Call {
    /// Returns the call that this process is, if it was called by a script's name.
    pub(crate) fn of_this_process() -> Option<Self> {
        let mut arguments = env::args_os();
        let program = PathBuf::from(arguments.next()?);
        let name = program.file_name()?;
        let script = Script::ALL.into_iter().find(|script| name == script.name())?;
        let root = env::var_os("RPM_BUILD_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
        let compare = env::var_os(MODE).is_some_and(|mode| mode == "compare");
        Some(Self { script, arguments: arguments.collect(), root, compare })
    }

    /// Does the script's work and returns the exit code.
    pub(crate) fn answer(&self) -> u8 {
        if self.script == Script::CheckFiles {
            return check_files::answer(self, self.compare);
        }
        if self.script != Script::FindDebuginfo
            && self.root.as_deref().is_none_or(|root| root == Path::new("/"))
        {
            // All brp scripts end so: there is nothing that they may change.
            return 0;
        }
        if self.compare {
            return compare::answer(self);
        }
        match self.stand_in() {
            Ok(code) => code,
            Err(oddity) => self.become_script(&oddity),
        }
    }

    /// Does what the script would do, or returns why that is left to it; then nothing was changed.
    pub(crate) fn stand_in(&self) -> Result<u8, Oddity> {
        let done = match self.script {
            Script::CheckFiles => Ok(0),
            Script::Compress => compress::plan(self)?.carry_out(),
            Script::ElfPermissions => elfperms::plan(self)?.carry_out(),
            Script::FindDebuginfo => debuginfo::plan(self)?.carry_out(),
            Script::RemoveLaFiles => la_files::plan(self)?.carry_out(),
            Script::Strip => strip::plan_debug(self)?.carry_out(),
            Script::StripCommentNote => strip::plan_comments(self)?.carry_out(),
            Script::StripStaticArchive => strip::plan_archives(self)?.carry_out(),
        };
        Ok(done.unwrap_or_else(|error: io::Error| {
            say(&format!("{}: {error}", self.script.name()));
            1
        }))
    }

    /// Returns the build root.
    pub(crate) fn build_root(&self) -> Result<&Path, Oddity> {
        self.root.as_deref().ok_or(Oddity::Environment("RPM_BUILD_ROOT"))
    }

    /// Runs the script in place of this program; returns an exit code only when that is impossible.
    fn become_script(&self, oddity: &Oddity) -> u8 {
        self.tell(oddity);
        let original = self.script.original();
        let error = Command::new(&original).args(&self.arguments).exec();
        say(&format!("cannot run `{}`: {error}", original.display()));
        126
    }

    /// Says that the script runs, and why.
    pub(crate) fn tell(&self, oddity: &Oddity) {
        say(&format!("{}: the script itself runs, because {oddity}", self.script.name()));
    }
}

/// Writes a line to standard error, which is the build's log.
pub(crate) fn say(line: &str) {
    // Nobody can be told that the log cannot be written.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns an exit code as a shell sees it.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}
