//! Specs that try to do harm, and what must come of them with every engine.
//!
//! Each stands between good neighbours: whatever it does, they are read as if it were not there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use specreader::{FailureKind, ParsedSpec, SpecFailure, SpecInput};

/// What must come of a spec.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// rpm refuses it and says why.
    Refused,
    /// It ends as an error of any kind.
    Failed,
    /// The time limit ends it.
    TimeLimit,
    /// It is read, and rightly.
    Read,
    /// Either: what matters is that it ends and that nothing is harmed.
    Ends,
}

/// A spec with `body` in place of a part of it.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    /// The text, not always UTF-8.
    pub(crate) text: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// The text of a good spec, with more lines in its preamble.
pub(crate) fn text(name: &str, preamble: &str) -> String {
    format!(
        "Name: {name}\nVersion: 1.2\nRelease: 3\nSummary: A package\nLicense: MIT\nRequires: something\n{preamble}\n\
         %description\nText.\n%files\n/usr/bin/{name}\n"
    )
}

/// Returns whether a result is the right one for a spec made by [`text`].
pub(crate) fn is_right(name: &str, result: &Result<ParsedSpec, SpecFailure>) -> bool {
    result.as_ref().is_ok_and(|parsed| {
        let data = &parsed.data;
        let requires: Vec<String> =
            data.packages.iter().flat_map(|p| &p.requires).map(ToString::to_string).collect();
        let files: Vec<String> =
            data.packages.iter().flat_map(|p| &p.files).map(ToString::to_string).collect();
        data.source.to_string() == format!("{name}-1.2-3.src")
            && requires == ["something"]
            && files == [format!("/usr/bin/{name}")]
    })
}

/// Those that harm nobody on a host without a sandbox.
pub(crate) fn harmless() -> Vec<Hostile> {
    use Outcome::{Ends, Failed, Read, Refused, TimeLimit};
    let case = |name, preamble: &str, outcome| Hostile { name, text: text(name, preamble).into(), outcome };
    let raw = |name, text: &[u8], outcome| Hostile { name, text: text.to_owned(), outcome };
    vec![
        raw("nothing", b"", Refused),
        raw("noname", b"Version: 1\nRelease: 1\nSummary: x\nLicense: x\n%description\nx\n%files\n", Refused),
        raw("binary", &[0, 159, 146, 150, 10].repeat(1000), Failed),
        raw(
            "utf8tag",
            &[text("utf8tag", "Requires: caf").as_bytes(), b"\n"].concat().replacen_bytes(b"caf", b"caf\xe9"),
            Failed,
        ),
        raw("utf8note", &text("utf8note", "# caf").into_bytes().replacen_bytes(b"caf", b"caf\xe9"), Read),
        raw("utf8words", &text("utf8words", "").into_bytes().replacen_bytes(b"Text.", b"caf\xe9"), Failed),
        case("nul", "Vendor: a\0b", Ends),
        case("recursion", "%define a %b\n%define b %a\nVendor: %a", Refused),
        case("tower", "%define a() %{expand:%%a %%a}\nVendor: %a", Failed),
        case("sleep", "%(sleep 1000)", TimeLimit),
        case("lualoop", "%{lua: while true do end}", TimeLimit),
        case("luabomb", "%{lua: local t = {} while true do t[#t+1] = string.rep('x', 1e7) end}", Failed),
        case("luaexit", "%{lua: os.exit(0)}", Failed),
        case("luaforge", "%{lua: io.stdout:write('zlib\\30\\0301\\0301\\0301\\29') io.stdout:flush()}", Ends),
        case("flood", "%(head -c 100000000 /dev/zero | tr '\\\\0' x)", Ends),
        case("endless", "%(yes)", Failed),
        case("shell", "%(exit 3)", Read),
        case("unclosed", "%{lua: while", Refused),
        case("conditions", &"%if 1\n".repeat(100_000), Failed),
        case("braces", &"%{?a:".repeat(200_000), Failed),
        // Where memory ends, rpm takes the file for ended.
        case("include", "%include /dev/zero", Ends),
    ]
}

/// Those that only a sandbox may run.
pub(crate) fn dangerous(straggler: &str) -> Vec<Hostile> {
    use Outcome::{Ends, Read};
    let case = |name, preamble: &str, outcome| Hostile { name, text: text(name, preamble).into(), outcome };
    vec![
        case("remove", "%(rm -rf /)", Read),
        case("removeall", "%(rm -rf --no-preserve-root / 2>/dev/null)", Ends),
        case("removeglob", "%(rm -rf /* 2>/dev/null)", Ends),
        case("killall", "%(kill -9 -1)", Ends),
        case("killlua", "%{lua: os.execute('kill -9 -1')}", Ends),
        case("killparent", "%(kill -9 $PPID)", Ends),
        case("forkbomb", "%(f() { f | f & }; f; sleep 2)", Ends),
        case("forkmany", "%(for i in $(seq 2000); do sleep 1000 & done)", Ends),
        case("own", "%(echo x > %{_specdir}/own.spec; rm -f %{_specdir}/own.spec)", Read),
        case(
            "beside",
            "%(echo x > %{_sourcedir}/new; mkdir %{_sourcedir}/directory; touch %{_specdir}/new)",
            Read,
        ),
        case(
            "system",
            "%(echo x > /usr/bin/x; echo x > /etc/passwd; echo '%%x 1' > /usr/lib/rpm/macros)",
            Read,
        ),
        case("home", "%(mkdir -p ~; echo '%%license_left harmed' > ~/.rpmmacros; echo x > /tmp/x)", Read),
        case(
            "overwrite",
            "%(find / -xdev -type f -writable -exec sh -c 'echo harmed > {}' ';' 2>/dev/null)",
            Ends,
        ),
        case("mounts", "%(mount -t tmpfs none /usr; umount -l /proc; echo 1 > /proc/sys/kernel/sysrq)", Read),
        case("devices", "%(mknod /tmp/d b 8 0; cat /dev/mem; echo x > /dev/kmsg)", Read),
        case("memory", "%(head -c 8000000000 /dev/zero | tail)", Ends),
        case(
            "disk",
            "%(head -c 8000000000 /dev/zero > /tmp/full; head -c 8000000000 /dev/zero > /var/tmp/full)",
            Ends,
        ),
        case("stopped", "%(kill -STOP $PPID)", Ends),
        case("grandchild", &format!("%(setsid sleep {straggler} >/dev/null 2>&1 </dev/null &)"), Read),
        case(
            "orphan",
            &format!("%((sleep {straggler} & sleep {straggler}) >/dev/null 2>&1 </dev/null &)"),
            Read,
        ),
        case("holdsout", &format!("%(setsid sleep {straggler} &)"), Ends),
    ]
}

/// How long the processes sleep that must not outlive their spec: a number nobody else uses.
pub(crate) fn straggler() -> String {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    format!("1000.{:05}{:08}", ASKED.fetch_add(1, Ordering::Relaxed), std::process::id())
}

/// Returns the command lines of processes on this host that sleep so long: they have outlived their spec.
pub(crate) fn stragglers(straggler: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("sleep") && line.contains(straggler)).collect()
}

/// Things that look like specs and are none; the last one's directory is a trap instead.
pub(crate) fn not_files(tree: &Path) -> Vec<SpecInput> {
    let input = |name: &str| {
        let source_dir = tree.join(name);
        fs::create_dir_all(&source_dir).unwrap();
        SpecInput { name: name.to_owned(), path: source_dir.join(format!("{name}.spec")), source_dir }
    };
    let inputs = ["fifo", "device", "directory", "dangling", "ring", "absent"].map(input);
    let [fifo, device, directory, dangling, ring, _] = &inputs;
    assert!(Command::new("mkfifo").arg(&fifo.path).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", &device.path).unwrap();
    fs::create_dir(&directory.path).unwrap();
    std::os::unix::fs::symlink("nowhere", &dangling.path).unwrap();
    std::os::unix::fs::symlink("ring.spec", &ring.path).unwrap();
    inputs.into()
}

/// Good specs in directories with traps.
pub(crate) fn in_traps(tree: &Path) -> Vec<SpecInput> {
    let input = |name: &str| {
        let source_dir = tree.join(name);
        fs::create_dir_all(&source_dir).unwrap();
        let path = source_dir.join(format!("{name}.spec"));
        fs::write(&path, text(name, "")).unwrap();
        SpecInput { name: name.to_owned(), path, source_dir }
    };
    let inputs = ["loop", "pipe", "upwards"].map(input);
    let [looped, pipe, upwards] = &inputs;
    std::os::unix::fs::symlink(".", looped.source_dir.join("again")).unwrap();
    assert!(Command::new("mkfifo").arg(pipe.source_dir.join("source.tar")).status().unwrap().success());
    std::os::unix::fs::symlink("..", upwards.source_dir.join("up")).unwrap();
    inputs.into()
}

/// A spec of 100 MB.
pub(crate) fn huge() -> Vec<u8> {
    let mut bytes = text("huge", "").into_bytes();
    bytes.extend(b"/usr/share/huge\n".repeat(100_000_000 / 16));
    bytes
}

/// Returns what is wrong with the result of a hostile spec, in words.
pub(crate) fn complaint(hostile: &Hostile, result: &Result<ParsedSpec, SpecFailure>) -> Option<String> {
    let name = hostile.name;
    let good = match (hostile.outcome, result) {
        (Outcome::Refused, Err(failure)) => {
            failure.kind == FailureKind::Rejected && !failure.diagnostics.is_empty()
        }
        (Outcome::Failed, Err(failure)) => !failure.to_string().is_empty(),
        (Outcome::TimeLimit, Err(failure)) => matches!(failure.kind, FailureKind::TimeLimit { .. }),
        (Outcome::Ends, Err(_)) => true,
        (Outcome::Read | Outcome::Ends, result) => is_right(name, result),
        (_, Ok(_)) => false,
    };
    let found = match result {
        Ok(parsed) => format!("read as {}", parsed.data.source),
        Err(failure) => format!("{:?} {}", failure.kind, failure.summary()),
    };
    (!good).then(|| format!("{name}: {:?} expected, {found}", hostile.outcome))
}

/// Replaces the first occurrence of some bytes.
trait ReplaceBytes {
    fn replacen_bytes(self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceBytes for Vec<u8> {
    fn replacen_bytes(mut self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let place = self.windows(from.len()).position(|window| window == from).unwrap();
        self.splice(place..place + from.len(), to.iter().copied());
        self
    }
}
