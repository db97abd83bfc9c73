//! One parse: what the child of the engine does between its birth and its end.
//!
//! The child has librpm as its parent configured it, and nobody ever sees what it does to it: macros, Lua state,
//! environment and leaks go with the process. Its answer is in the memory that it shares with its parent, its
//! messages in the file behind its standard error, and how it went in its exit code.

use std::ffi::CString;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{ForkResult, Pid, setpgid};
use spec_wire::{ParseLimits, Parsed, Question, Setup};

use crate::confine::Confinement;
use crate::librpm::{Library, MacroLevel, Tag, c_text};
use crate::memo::Memo;
use crate::shell;

/// Exit code: the answer is there.
pub(crate) const PARSED: i32 = 0;
/// Exit code: rpm refuses the spec.
pub(crate) const REJECTED: i32 = 2;
/// Exit code: the answer is too large.
pub(crate) const TOO_LARGE: i32 = 3;
/// Exit code: the engine itself failed; its words say how.
pub(crate) const BROKEN: i32 = 4;

/// Ends this process without running anything of its parent's.
pub(crate) fn end(code: i32) -> ! {
    // SAFETY: always allowed; the memory and file that matter are shared with the parent.
    unsafe { libc::_exit(code) }
}

/// What all parses of a session have in common.
pub(crate) struct Session<'a> {
    pub(crate) library: &'a Library,
    pub(crate) setup: &'a Setup,
    pub(crate) confinement: Option<&'a Confinement>,
    pub(crate) source_format: CString,
    pub(crate) package_format: CString,
}

/// Parses, leaves the answer in `answer` (its length first, as a `u64`), and ends the process.
pub(crate) fn child(session: &Session<'_>, question: &Question, words: &File, answer: &mut [u8]) -> ! {
    let work = || match enter(session, question, words) {
        Ok(()) => parse(session, question, answer),
        Err(message) => fail(&message),
    };
    end(catch_unwind(AssertUnwindSafe(work)).unwrap_or(BROKEN))
}

#[expect(clippy::print_stderr, reason = "the child's standard error is where its words go")]
fn fail(message: &str) -> i32 {
    eprintln!("error: {message}");
    BROKEN
}

/// Puts the process into the place and under the limits that the question asks for.
fn enter(session: &Session<'_>, question: &Question, words: &File) -> Result<(), String> {
    // Its own group, so that all that it starts can be ended with it.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(|error| format!("cannot make a group: {error}"))?;
    let streams = || -> std::io::Result<File> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(words)?;
        words.try_clone()
    };
    let words = streams().map_err(|error| format!("cannot set the standard streams: {error}"))?;
    limit(session.setup.limits).map_err(|error| format!("cannot set limits: {error}"))?;
    std::env::set_current_dir(&question.working_directory)
        .map_err(|error| format!("cannot enter {}: {error}", question.working_directory))?;
    // The directory is a link into a tree; commands are to see the fixed name, as a shell that went there would.
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("PWD", &question.working_directory) };
    if let Some(confinement) = session.confinement {
        confinement
            .enter(&question.readable)
            .map_err(|error| format!("cannot confine the parse: {error}"))?;
    }
    shell::enter(question.neighbours.clone(), words)
        .map_err(|error| format!("cannot tell the working directory: {error}"))
}

fn limit(limits: ParseLimits) -> nix::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_AS, limits.memory_bytes),
        (Resource::RLIMIT_FSIZE, limits.output_bytes),
    ] {
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

fn parse(session: &Session<'_>, question: &Question, answer: &mut [u8]) -> i32 {
    let library = session.library;
    let macros = question.macros.iter().map(|definition| (definition, MacroLevel::MacroFile));
    let defines = question.defines.iter().map(|definition| (definition, MacroLevel::CommandLine));
    for (definition, level) in macros.chain(defines) {
        if let Err(error) = library.define(definition, level) {
            return fail(&error.to_string());
        }
    }
    let path = match c_text(&question.spec) {
        Ok(path) => path,
        Err(error) => return fail(&error.to_string()),
    };
    let Some(spec) = library.parse(&path) else { return REJECTED };
    let (mut source, mut packages) = (Vec::new(), Vec::new());
    let header = spec.source();
    let mut formatted = header.format(&session.source_format, &mut source);
    if question.packages {
        for package in spec.packages() {
            formatted = formatted.and_then(|()| package.format(&session.package_format, &mut packages));
        }
    }
    if let Err(message) = formatted {
        return fail(&format!("rpm cannot fill in a query format: {message}"));
    }
    let source_header = if question.source_header {
        // `rpmbuild -bs` sets these two from what nobody outside rpm knows; after the formats have been filled in.
        header.put(Tag::RpmVersion, library.version().as_bytes());
        header.put(Tag::Spec, spec.text());
        header.export()
    } else {
        Vec::new()
    };
    // rpm has told on standard error what is wrong with a macro.
    let Some(expanded) = library.expand(&session.setup.expression) else { return REJECTED };
    let parsed = Parsed {
        source: &source,
        packages: &packages,
        text: spec.text(),
        expanded: &expanded,
        source_header: &source_header,
    };
    let Some((length, space)) = answer.split_first_chunk_mut::<8>() else { return BROKEN };
    match spec_wire::encode_into(&parsed, space) {
        Some(used) => {
            *length = (used as u64).to_ne_bytes();
            PARSED
        }
        None => TOO_LARGE,
    }
}

/// Finds out whether rpm runs commands through this program, and whether it understands the answer.
///
/// In a child, because a library that comes by half (the stream from us, its end from the C library) may crash.
/// Returns why nothing can be remembered, or `None` when all is well.
pub(crate) fn probe(library: &Library, memo: &'static Memo) -> Option<String> {
    let look = || {
        let before = shell::calls();
        shell::remember(Some(memo));
        // The first answer is run, the second remembered.
        let answers = [(); 2].map(|()| library.expand("%(echo spec-engine; exit 3)"));
        let right = answers.iter().all(|answer| answer.as_deref() == Some(b"spec-engine"));
        let arrived = shell::calls() - before == 2;
        i32::from(!arrived) | i32::from(!right) << 1
    };
    // SAFETY: this process has one thread; the child ends with `_exit`.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => end(catch_unwind(AssertUnwindSafe(look)).unwrap_or(BROKEN)),
        Ok(ForkResult::Parent { child }) => match nix::sys::wait::waitpid(child, None) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, 0)) => None,
            Ok(nix::sys::wait::WaitStatus::Exited(_, 1 | 3)) => {
                Some("this rpm does not run commands through `popen`".to_owned())
            }
            Ok(end) => Some(format!("this rpm does not take remembered output: {end:?}")),
            Err(error) => Some(format!("cannot try it: {error}")),
        },
        Err(error) => Some(format!("cannot try it: {error}")),
    }
}
