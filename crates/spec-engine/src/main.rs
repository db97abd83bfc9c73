//! `spec-engine`: the helper process that parses specs with librpmbuild, inside the root that they are built in.
//!
//! What it is: a server on its standard input and output for `specreader` (the crate `spec-wire` is the
//! language). It loads the librpmbuild of the root that it runs in, reads rpm's configuration once, and answers
//! each question in a child of its own: one parse gives everything that a dozen runs of `rpmspec` would. What
//! shell expansions print is remembered for all children (`memo.rs`, `command.rs`).
//!
//! What it is not: it makes no sandbox (its caller starts it in one), reads no spec into anything but rpm, and
//! knows nothing of what the answers are for.
//!
//! A program of its own, under rpm's licence, because it loads librpmbuild; it shares no code with what asks it.

#![deny(unsafe_op_in_unsafe_fn)]

mod command;
mod confine;
mod librpm;
mod memo;
mod parse;
mod serve;
mod shell;

use std::fs::File;
use std::io;
use std::process::ExitCode;

use nix::libc;
use spec_wire::{Message, Ready, Setup};

use crate::confine::Confinement;
use crate::librpm::{Library, LibraryError, c_text};
use crate::memo::Memo;
use crate::parse::Session;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is a program, and its caller reads this")]
fn complain(error: &io::Error) {
    eprintln!("spec-engine: {error}");
}

fn run() -> io::Result<()> {
    // Commands that specs run expect what rpmspec would give them; the Rust runtime ignores this signal.
    // SAFETY: sets a default disposition, before there is any thread.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl)?
    };
    // SAFETY: an empty text asks for the locale of the environment, as rpmspec does at its start.
    unsafe { libc::setlocale(libc::LC_ALL, c"".as_ptr()) };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (mut questions, mut answers) = take_streams()?;
    let mut frame = Vec::new();
    if !spec_wire::receive_bytes(&mut questions, &mut frame)? {
        return Ok(());
    }
    let setup: Setup = spec_wire::decode(&frame)?;
    let library = match prepare(&setup) {
        Ok(library) => library,
        Err(error) => return spec_wire::send(&mut answers, &Message::Unable(error.to_string())),
    };
    // Lives as long as the process, which every child is a copy of.
    let memo: &'static Memo = Box::leak(Box::new(Memo::new()?));
    let memo_off = parse::probe(&library, memo);
    shell::remember(memo_off.is_none().then_some(memo));
    let (confinement, unconfined) = match Confinement::new(&setup.withheld) {
        Ok(confinement) => (Some(confinement), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let ready = Ready { rpm_version: library.version().to_owned(), memo_off, unconfined };
    spec_wire::send(&mut answers, &Message::Ready(ready))?;
    let format = |text: &str| c_text(text).map_err(io::Error::other);
    let session = Session {
        library: &library,
        setup: &setup,
        confinement: confinement.as_ref(),
        source_format: format(&setup.source_format)?,
        package_format: format(&setup.package_format)?,
    };
    serve::serve(&session, questions, &mut answers)
}

/// Moves the two pipes away from where children would inherit them.
fn take_streams() -> io::Result<(File, File)> {
    let questions = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let answers = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((File::from(questions), File::from(answers)))
}

/// Loads rpm and brings it to the state from which every child starts.
fn prepare(setup: &Setup) -> Result<Library, LibraryError> {
    let library = Library::load()?;
    library.configure(&setup.target)?;
    for file in &setup.macro_files {
        library.load_macros(file)?;
    }
    for definition in &setup.defines {
        library.define(definition, librpm::MacroLevel::CommandLine)?;
    }
    Ok(library)
}
