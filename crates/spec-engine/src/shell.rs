//! Stands in for the C library's `popen` and `pclose`, through which rpm runs `%(...)` and Lua's `io.popen`.
//!
//! The program exports both names (`build.rs`), so librpmio, loaded later, binds to them. A command for reading
//! runs to its end as `sh -c` with this process's environment and directory, exactly as the C library runs it,
//! and its output is handed over as a stream in memory; what may be remembered is remembered ([`crate::memo`]).
//! Nothing is, in either direction, once a spec has changed what commands find around them: when there are temporary
//! files, or the working directory or the file mode mask is another than at the start of the parse.
//! Everything else goes on to the C library. Whether rpm really comes here is found out once, at the start, by
//! [`crate::parse::probe`]; until [`remember`] is called every command goes on to the C library.

use std::cell::RefCell;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::{self, FILE};

use crate::command::{Memory, memory};
use crate::memo::{Memo, Output, Turn};

/// A command that prints more than this has gone astray, in bytes.
const LONGEST_OUTPUT: u64 = 32 << 20;

/// Calls that arrived here.
static CALLS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static SHELL: RefCell<Option<Shell>> = const { RefCell::new(None) };
}

/// What commands of this process are run with.
struct Shell {
    memo: &'static Memo,
    /// Where the parse runs.
    place: Place,
    /// The process's standard error, to be read back; commands append to it.
    words: Option<File>,
    /// Streams that were handed out: the stream, its content, how the command ended.
    streams: Vec<(*mut FILE, Vec<u8>, c_int)>,
}

/// Where specs leave temporary files.
pub(crate) const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Returns whether there are temporary files.
pub(crate) fn has_litter() -> bool {
    TEMPORARY.iter().any(|place| std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()))
}

/// What commands find around them when a parse starts.
#[derive(Default)]
struct Place {
    directory: PathBuf,
    /// Names of the files in the directory.
    neighbours: Vec<String>,
    mask: libc::mode_t,
}

impl Place {
    fn here(neighbours: Vec<String>) -> io::Result<Self> {
        Ok(Self { directory: std::env::current_dir()?, neighbours, mask: mask() })
    }

    /// Returns whether commands find here what they found at the start.
    fn is_as_it_was(&self) -> bool {
        !has_litter()
            && mask() == self.mask
            && std::env::current_dir().is_ok_and(|directory| directory == self.directory)
    }
}

/// Returns the file mode mask.
fn mask() -> libc::mode_t {
    // SAFETY: sets the mask and sets it back; there is no other thread to see it in between.
    unsafe {
        let mask = libc::umask(0o022);
        libc::umask(mask);
        mask
    }
}

/// Returns how many commands rpm has asked this program to run.
pub(crate) fn calls() -> u32 {
    CALLS.load(Ordering::Relaxed)
}

/// Begins to answer from a memo, or stops it.
pub(crate) fn remember(memo: Option<&'static Memo>) {
    let shell = |memo| Shell {
        memo,
        place: Place::here(Vec::new()).unwrap_or_default(),
        words: None,
        streams: Vec::new(),
    };
    SHELL.set(memo.map(shell));
}

/// Says where a parse runs: the names of the files around it, and the file behind its standard error.
pub(crate) fn enter(neighbours: Vec<String>, words: File) -> io::Result<()> {
    SHELL.with_borrow_mut(|shell| {
        if let Some(shell) = shell {
            shell.place = Place::here(neighbours)?;
            shell.words = Some(words);
        }
        Ok(())
    })
}

impl Shell {
    fn output(&self, command: &OsStr) -> io::Result<Output> {
        let memory = command.to_str().map_or(Memory::Never, |text| memory(text, &self.place.neighbours));
        if memory == Memory::Never || !self.place.is_as_it_was() {
            return self.run(command);
        }
        let key = self.key(command, memory);
        let _claim = match self.memo.turn(&key) {
            Turn::Known(known) => {
                // The words were part of what the command did.
                let _ = io::Write::write_all(&mut io::stderr(), &known.words);
                return Ok(known);
            }
            Turn::Mine(claim) => claim,
        };
        let output = self.run(command)?;
        // A command that changed what others find is run for each spec.
        if self.place.is_as_it_was() {
            self.memo.put(&key, &output);
        }
        Ok(output)
    }

    /// Everything that the output depends on.
    fn key(&self, command: &OsStr, memory: Memory) -> Vec<u8> {
        let mut key = command.as_bytes().to_vec();
        let mut variables: Vec<_> = std::env::vars_os().collect();
        // What looks at the directory is local, and then the directory counts.
        variables.retain(|(name, _)| memory == Memory::Local || name != "PWD");
        variables.sort();
        for (name, value) in variables {
            key.push(0);
            key.extend(name.as_bytes());
            key.push(b'=');
            key.extend(value.as_bytes());
        }
        if memory == Memory::Local {
            key.extend([0, 0]);
            key.extend(self.place.directory.as_os_str().as_bytes());
        }
        key
    }

    fn run(&self, command: &OsStr) -> io::Result<Output> {
        let before = self.words_length();
        let mut child = Command::new("/bin/sh").arg("-c").arg(command).stdout(Stdio::piped()).spawn()?;
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST_OUTPUT + 1).read_to_end(&mut output)?;
        }
        if output.len() as u64 > LONGEST_OUTPUT {
            crate::parse::end(crate::parse::TOO_LARGE);
        }
        let status = child.wait()?.into_raw();
        Ok(Output { status, output, words: self.words_since(before) })
    }

    fn words_length(&self) -> u64 {
        self.words.as_ref().and_then(|words| words.metadata().ok()).map_or(0, |metadata| metadata.len())
    }

    fn words_since(&self, before: u64) -> Vec<u8> {
        let length = usize::try_from(self.words_length().saturating_sub(before)).unwrap_or(0);
        let mut words = vec![0; length];
        let read = self.words.as_ref().map(|file| file.read_exact_at(&mut words, before));
        if read.is_some_and(|read| read.is_ok()) { words } else { Vec::new() }
    }

    /// Hands an output over as a stream.
    fn stream(&mut self, output: Output) -> *mut FILE {
        let mut content = output.output;
        // An empty stream needs an address, too.
        content.reserve(1);
        // SAFETY: the content stays where it is, in `streams`, until `close` ends the stream.
        let stream = unsafe { libc::fmemopen(content.as_mut_ptr().cast(), content.len(), c"r".as_ptr()) };
        if !stream.is_null() {
            self.streams.push((stream, content, output.status));
        }
        stream
    }

    /// Ends a stream of ours; `None` where it is somebody else's.
    fn close(&mut self, stream: *mut FILE) -> Option<c_int> {
        let index = self.streams.iter().position(|(ours, ..)| *ours == stream)?;
        let (stream, content, status) = self.streams.swap_remove(index);
        // SAFETY: made by `fmemopen`, closed once, its content still there.
        unsafe { libc::fclose(stream) };
        drop(content);
        Some(status)
    }
}

/// Finds the C library's own function.
fn next(name: &CStr) -> *mut libc::c_void {
    // SAFETY: looks a name up.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// The C library's `popen`, answered from memory where that is right.
///
/// # Safety
///
/// As for `popen`: both are texts.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's promise.
    let (text, reading) =
        unsafe { (CStr::from_ptr(command), CStr::from_ptr(mode).to_bytes().starts_with(b"r")) };
    let stream = SHELL.with_borrow_mut(|shell| {
        let shell = shell.as_mut().filter(|_| reading)?;
        let stream = shell.output(OsStr::from_bytes(text.to_bytes())).map(|output| shell.stream(output));
        Some(stream.unwrap_or(std::ptr::null_mut()))
    });
    if let Some(stream) = stream {
        return stream;
    }
    let own = next(c"popen");
    if own.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the C library's function of this name has this type.
    unsafe {
        std::mem::transmute::<
            *mut libc::c_void,
            unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE,
        >(own)(command, mode)
    }
}

/// The C library's `pclose`, for streams of either kind.
///
/// # Safety
///
/// As for `pclose`: the stream came from [`popen`] and is closed once.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pclose(stream: *mut FILE) -> c_int {
    if let Some(status) = SHELL.with_borrow_mut(|shell| shell.as_mut()?.close(stream)) {
        return status;
    }
    let own = next(c"pclose");
    if own.is_null() {
        return -1;
    }
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*mut FILE) -> c_int>(own)(stream) }
}
