//! A program that makes the system calls by which builds reach for their host, with arguments that would work.
//!
//! It tells of each whether it was possible. Run outside a sandbox, by root, it shows that the tries are real ones: what
//! is impossible there as well says nothing about a sandbox.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Perl has every call by its number, these of x86_64. The arguments: a process, the name of a socket, and
/// the key of a message queue.
const ATTACKS: &str = r#"
use strict; $| = 1;
my ($victim, $name, $key) = @ARGV;
sub told { my ($what, $result) = @_; print "ATTACK $what ", ($result ? "possible" : "refused"), "\n"; }
sub call { my ($what, $number, @arguments) = @_; my @copy = @arguments; told($what, syscall($number, @copy) >= 0); }
# What changes the process that does it is done by another one, whose exit code is the answer.
sub apart { my ($what, $try) = @_; my $child = fork; if (!$child) { exit($try->() ? 0 : 1); } waitpid $child, 0; told($what, $? == 0); }
sub started { my ($number, @arguments) = @_; my $child = syscall($number, @arguments); exit 0 if $child == 0; waitpid $child, 0 if $child > 0; return $child > 0; }

call("add_key", 248, "user", "hostile", "x", 1, -1);
call("keyctl-session", 250, 1, "hostile");
my $counter = pack("LLQ", 1, 112, 0) . ("\0" x 96);
call("perf_event_open", 298, $counter, 0, -1, -1, 0);
my $map = pack("LLLLL", 2, 4, 4, 1, 0) . ("\0" x 100);
call("bpf", 321, 0, $map, 120);
call("userfaultfd", 323, 1);
my $ring = "\0" x 120;
call("io_uring_setup", 425, 4, $ring);

apart("unshare-user", sub { syscall(272, 0x10000000) == 0 });
apart("unshare-mount", sub { syscall(272, 0x00020000) == 0 });
apart("unshare-network", sub { syscall(272, 0x40000000) == 0 });
apart("clone-user", sub { started(56, 0x10000011, 0, 0, 0, 0) });
my $arguments = pack("QQQQQ", 0x10000000, 0, 0, 0, 17) . ("\0" x 24);
apart("clone3-user", sub { started(435, $arguments, 64) });
apart("setuid", sub { $< != 0 ? syscall(105, 0) == 0 : 1 });
my ($directory, $host) = ("/tmp", "hostile");
apart("chroot", sub { syscall(161, $directory) == 0 });
apart("sethostname", sub { syscall(170, $host, 7) == 0 });
call("mount", 165, "none", "/tmp", "tmpfs", 0, 0);
call("fsopen", 430, "tmpfs", 0);
call("open_tree", 428, -100, "/tmp", 1);
call("mknod", 133, "/tmp/$name", 020666, 0x103); unlink "/tmp/$name";
my $log = "\0" x 4096;
call("syslog", 103, 3, $log, 4096);

apart("ptrace", sub { syscall(101, 16, $victim + 0, 0, 0) == 0 });
call("pidfd_open", 434, $victim + 0, 0);
call("kill", 62, $victim + 0, 0);
told("victims-memory", open(my $memory, "<", "/proc/$victim/mem"));
told("victims-root", opendir(my $root, "/proc/$victim/root/"));
socket(my $stream, 1, 1, 0);
told("abstract-socket", connect($stream, pack("S", 1) . "\0$name"));
told("raw-socket", socket(my $raw, 2, 3, 1));
told("message-queue", defined msgget($key, 0));

for my $family (1 .. 45) {
    my @types = grep { socket(my $any, $family, $_, 0) } 1 .. 5;
    print "FAMILY $family\n" if @types;
}
for my $protocol (0 .. 22) { print "NETLINK $protocol\n" if socket(my $any, 16, 3, $protocol); }
print "ATTACKS end\n";
"#;

/// How many there are beside the families of sockets.
const ATTACKS_MADE: usize = 27;

/// What an ordinary kernel lets root do; a host that refuses root one of the others (`bpf`, `perf_event_open`,
/// `userfaultfd`, `io_uring_setup`, user namespaces) is nobody's defect.
const POSSIBLE_FOR_ROOT: [&str; 15] = [
    "abstract-socket",
    "add_key",
    "chroot",
    "fsopen",
    "kill",
    "message-queue",
    "mount",
    "open_tree",
    "pidfd_open",
    "ptrace",
    "raw-socket",
    "sethostname",
    "unshare-mount",
    "unshare-network",
    "victims-root",
];

/// Families of sockets that a sandbox has: unix, inet, inet6, netlink, and of the last one protocol, for routes.
const FAMILIES: [&str; 5] = ["FAMILY 1", "FAMILY 10", "FAMILY 16", "FAMILY 2", "NETLINK 0"];

/// What stands open on the host for as long as this lives: a process, a socket without a file, a message queue.
pub(crate) struct OpenHost {
    victim: Child,
    name: String,
    key: String,
    _listener: UnixListener,
}

impl OpenHost {
    pub(crate) fn new(test: &str) -> Self {
        static QUEUES: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        let name = format!("hostile-{test}-{id}");
        let key = (id << 8 | QUEUES.fetch_add(1, Ordering::Relaxed) & 0xff).to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let victim = Command::new("sleep").arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let queue = "defined msgget($ARGV[0], 0666 | 01000) or die $!";
        assert!(Command::new("perl").args(["-e", queue, &key]).status().unwrap().success());
        Self { victim: victim.unwrap(), name, key, _listener: UnixListener::bind_addr(&address).unwrap() }
    }

    /// Returns lines for `%build` that make all attacks.
    pub(crate) fn script(&self) -> String {
        let program = ATTACKS.replace('%', "%%");
        format!(
            "set +x\ncat > attacks.pl <<'END_OF_ATTACKS'\n{program}\nEND_OF_ATTACKS\n\
             perl attacks.pl {} {} {}",
            self.victim.id(),
            self.name,
            self.key
        )
    }

    /// Asserts that root, outside, can do what is tried: in namespaces of its own, so that nothing is harmed.
    pub(crate) fn assert_attacks_are_real(&self) {
        let id = self.victim.id().to_string();
        let output = Command::new("unshare")
            .args(["--mount", "--uts", "perl", "-e", ATTACKS, &id, &self.name, &self.key])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (answers, families) = answers(&said);
        for name in POSSIBLE_FOR_ROOT {
            assert_eq!(answers.get(name).map(String::as_str), Some("possible"), "{name} outside: {said}");
        }
        assert!(families.len() > FAMILIES.len(), "{said}");
    }

    /// Asserts that a build's log tells of every attack, and of none that was possible.
    #[track_caller]
    pub(crate) fn assert_all_refused(&mut self, log: &str) {
        let (answers, families) = answers(log);
        assert_eq!(answers.len(), ATTACKS_MADE, "{log}");
        let possible: Vec<&String> =
            answers.iter().filter(|(_, answer)| *answer != "refused").map(|(name, _)| name).collect();
        assert!(possible.is_empty(), "{possible:?}");
        assert_eq!(families, FAMILIES, "{log}");
        assert!(self.victim.try_wait().unwrap().is_none(), "the victim was ended");
    }
}

impl Drop for OpenHost {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let remove = "msgctl(msgget($ARGV[0], 0), 0, 0)";
        let _ = Command::new("perl").args(["-e", remove, &self.key]).status();
    }
}

/// Returns the answer to each attack, and the families of sockets, sorted.
fn answers(said: &str) -> (BTreeMap<String, String>, Vec<&str>) {
    assert!(said.contains("ATTACKS end"), "{said}");
    let attacks = said.lines().filter_map(|line| line.strip_prefix("ATTACK ")?.split_once(' '));
    let mut families: Vec<&str> =
        said.lines().filter(|line| line.starts_with("FAMILY ") || line.starts_with("NETLINK ")).collect();
    families.sort_unstable();
    (attacks.map(|(name, answer)| (name.to_owned(), answer.to_owned())).collect(), families)
}
