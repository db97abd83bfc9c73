//! What shell expansions printed, remembered for all parses of a session.
//!
//! A block of shared memory that every child of the engine inherits; commands that a spec runs do not, for they
//! are other programs. Entries are only ever added. A child that is killed while it adds one leaves a gap that
//! readers skip. A child may claim a command while it runs it; others that want the same output wait for it, but
//! neither for the dead nor for long.
//!
//! Layout: a table of positions (0: not there yet) and an arena. An entry is, in native byte order, hash (u64),
//! exit status (i32), three lengths (u32) of key, output and words, and their bytes.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Distinct commands of a session; a tree of 3,087 specs has 224.
const ENTRIES: usize = 8192;
/// Bytes of all keys and outputs.
const ARENA: usize = 16 << 20;
/// Longer outputs are not remembered.
const LONGEST: usize = 1 << 16;

/// Commands that may be claimed at once.
const CLAIMS: usize = 64;
/// After this long a child runs a claimed command itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting child looks.
const GLANCE: Duration = Duration::from_micros(500);

const FIXED: usize = 8 + 4 + 3 * 4;

#[repr(C)]
struct Head {
    entries: AtomicU32,
    used: AtomicU32,
    table: [AtomicU32; ENTRIES],
    /// Low half of a command's hash and the process that runs it; 0: none.
    claims: [AtomicU64; CLAIMS],
}

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// As `waitpid` returns it.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) output: Vec<u8>,
    /// Standard error.
    pub(crate) words: Vec<u8>,
}

/// Who runs a command.
pub(crate) enum Turn<'m> {
    /// Nobody has to: this is what it left behind.
    Known(Output),
    /// The caller; others wait until the claim, if there is one, is dropped.
    Mine(Option<Claim<'m>>),
}

/// A command that its holder runs.
pub(crate) struct Claim<'m>(&'m AtomicU64);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The shared memory.
pub(crate) struct Memo {
    head: &'static Head,
    arena: NonNull<u8>,
}

impl Memo {
    /// Returns an empty memo in memory that later children share.
    pub(crate) fn new() -> std::io::Result<Self> {
        let head = size_of::<Head>();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), head + ARENA, protection, flags)? }.cast::<u8>();
        // SAFETY: the mapping is never unmapped, page-aligned, zeroed (valid for atomics) and holds a `Head` and
        // the arena behind it.
        unsafe {
            let arena = NonNull::new(base.add(head)).ok_or(std::io::ErrorKind::OutOfMemory)?;
            Ok(Self { head: &*base.cast::<Head>(), arena })
        }
    }

    /// Returns what is remembered under a key, or the claim to run the command; waits while another child runs it.
    pub(crate) fn turn(&self, key: &[u8]) -> Turn<'_> {
        let hash = hash(key);
        let slot = &self.head.claims[hash as usize % CLAIMS];
        let ours = hash << 32 | u64::from(std::process::id());
        let begun = Instant::now();
        loop {
            let holder = slot.load(Ordering::Acquire);
            // After the look at the claim: it is given back when the output is there.
            if let Some(output) = self.get(key) {
                return Turn::Known(output);
            }
            if holder == 0 || !is_alive(holder) {
                if slot.compare_exchange(holder, ours, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    return Turn::Mine(Some(Claim(slot)));
                }
            } else if holder >> 32 != ours >> 32 || begun.elapsed() > PATIENCE {
                return Turn::Mine(None);
            } else {
                std::thread::sleep(GLANCE);
            }
        }
    }

    /// Returns what is remembered under a key.
    fn get(&self, key: &[u8]) -> Option<Output> {
        let hash = hash(key);
        let entries = (self.head.entries.load(Ordering::Acquire) as usize).min(ENTRIES);
        self.head.table[..entries].iter().find_map(|position| {
            // Positions are stored plus one; the entry was complete before its position was.
            let position = (position.load(Ordering::Acquire) as usize).checked_sub(1)?;
            let fixed = self.bytes(position..position + FIXED);
            if fixed[..8] != hash.to_ne_bytes() {
                return None;
            }
            let number = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|index| fixed[at + index]));
            let [key_length, output, words] = [12, 16, 20].map(|at| number(at) as usize);
            let mut start = position + FIXED;
            let mut next = |length: usize| {
                start += length;
                self.bytes(start - length..start)
            };
            (next(key_length) == key).then(|| Output {
                status: number(8).cast_signed(),
                output: next(output).to_vec(),
                words: next(words).to_vec(),
            })
        })
    }

    /// Remembers an output, where there is room.
    pub(crate) fn put(&self, key: &[u8], output: &Output) {
        let parts = [key, &output.output, &output.words];
        let length: usize = FIXED + parts.iter().map(|part| part.len()).sum::<usize>();
        if length > LONGEST {
            return;
        }
        let Some(position) = self.reserve(length) else { return };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(hash(key).to_ne_bytes());
        bytes.extend(output.status.to_ne_bytes());
        for part in parts {
            // Below LONGEST.
            bytes.extend((part.len() as u32).to_ne_bytes());
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        // SAFETY: `reserve` gave these bytes of the arena to this caller alone; nobody reads them before their
        // position is in the table.
        unsafe { self.arena.as_ptr().add(position).copy_from_nonoverlapping(bytes.as_ptr(), length) };
        let index = self.head.entries.fetch_add(1, Ordering::AcqRel) as usize;
        if let Some(slot) = self.head.table.get(index) {
            slot.store(position as u32 + 1, Ordering::Release);
        } else {
            // Keeps the number from ever wrapping round.
            self.head.entries.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn reserve(&self, length: usize) -> Option<usize> {
        let take = |used: u32| {
            let end = used as usize + length;
            (end <= ARENA).then_some(end as u32)
        };
        let update = self.head.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        update.ok().map(|position| position as usize)
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.end <= ARENA, "positions are made by `reserve`");
        // SAFETY: within the arena, and complete: see `get`. Entries never change once they are complete.
        unsafe { std::slice::from_raw_parts(self.arena.as_ptr().add(range.start), range.len()) }
    }
}

/// Returns whether the process that holds a claim is there.
fn is_alive(holder: u64) -> bool {
    let pid = nix::unistd::Pid::from_raw((holder as u32).cast_signed());
    // One that may not be signalled is there, too.
    nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH)
}

/// FNV-1a: keys are compared whole, the hash only saves comparing.
fn hash(key: &[u8]) -> u64 {
    key.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        Output { status: 256, output: text.as_bytes().to_vec(), words: vec![b'w'; text.len()] }
    }

    #[test]
    fn what_was_put_is_found_and_nothing_else() {
        let memo = Memo::new().unwrap();
        assert_eq!(memo.get(b"a"), None);
        memo.put(b"a", &output("1"));
        memo.put(b"", &output(""));
        memo.put(b"ab", &output("twelve"));
        assert_eq!(memo.get(b"a"), Some(output("1")));
        assert_eq!(memo.get(b"ab"), Some(output("twelve")));
        assert_eq!(memo.get(b""), Some(output("")));
        assert_eq!(memo.get(b"b"), None);
    }

    #[test]
    fn a_full_memo_forgets_what_comes_later() {
        let memo = Memo::new().unwrap();
        for number in 0..2 * ENTRIES {
            memo.put(number.to_string().as_bytes(), &output("x"));
        }
        assert_eq!(memo.get(b"0"), Some(output("x")));
        assert_eq!(memo.get((2 * ENTRIES - 1).to_string().as_bytes()), None);
        memo.put(b"long", &output(&"x".repeat(LONGEST)));
        assert_eq!(memo.get(b"long"), None);
        let memo = Memo::new().unwrap();
        for number in 0..400 {
            memo.put(format!("{number}").as_bytes(), &output(&"y".repeat(30_000)));
        }
        assert!(memo.get(b"1").is_some() && memo.get(b"399").is_none());
    }

    #[test]
    fn one_runs_a_command_and_the_others_wait() {
        let memo = Memo::new().unwrap();
        let Turn::Mine(claim @ Some(_)) = memo.turn(b"a") else { unreachable!("nobody has it") };
        // SAFETY: the child only touches the memo and ends without unwinding.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let known = matches!(memo.turn(b"a"), Turn::Known(_));
                // A claim that dies with its holder.
                std::mem::forget(memo.turn(b"left"));
                // SAFETY: ends the child at once.
                unsafe { nix::libc::_exit(i32::from(!known)) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                std::thread::sleep(GLANCE * 4);
                memo.put(b"a", &output("1"));
                drop(claim);
                let end = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(end, nix::sys::wait::WaitStatus::Exited(child, 0));
                assert!(matches!(memo.turn(b"left"), Turn::Mine(Some(_))));
            }
        }
    }

    #[test]
    fn children_share_it() {
        let memo = Memo::new().unwrap();
        // SAFETY: the child only touches the memo and ends without unwinding or allocating locks of others.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                memo.put(b"child", &output("was here"));
                // SAFETY: ends the child at once.
                unsafe { nix::libc::_exit(0) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(memo.get(b"child"), Some(output("was here")));
            }
        }
    }
}
