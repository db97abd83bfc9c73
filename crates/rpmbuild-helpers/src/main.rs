//! `rpmbuild-helpers`: one program that stands for the shell scripts that rpmbuild runs after `%install`.
//!
//! What it is: a multi-call program, mounted over the scripts of a build root; the name by which it is called
//! says which script it stands for. Each stand-in does what its script does to a build root, byte for byte, with
//! the same tools (`strip`, `gzip`, `eu-strip`, `debugedit`, ...) and without the shells, pipes and walks around
//! them. It looks first and acts then: whatever it does not know for certain (odd names, foreign or damaged
//! ELF files, options that are rarely given) it leaves to the script itself, which the worker has put into
//! [`call::ORIGINALS`], before anything was changed.
//!
//! What it is not: it decides not whether it may stand for a script (the worker does, by the script's content),
//! and it is no general tool: outside a build root it does nothing.
//!
//! Written from the documentation of the scripts and tools and from what they were seen to do; it has no code of
//! theirs. Where a script's result hangs on what `file` says of a file, only descriptions of real ELF files
//! and archives count here; a text file made to be described as one (by its name or its words) is not mistaken.

mod archive;
mod arguments;
mod call;
mod check_files;
mod compare;
mod compress;
mod content;
mod debuginfo;
mod elfperms;
mod la_files;
mod lists;
mod oddity;
mod strip;
mod symlinks;
mod tree;

use std::process::ExitCode;

use call::Call;

fn main() -> ExitCode {
    match Call::of_this_process() {
        Some(call) => ExitCode::from(call.answer()),
        None => {
            call::say("rpmbuild-helpers stands for rpmbuild's scripts and is called by their names");
            ExitCode::from(2)
        }
    }
}
