//! A person at a terminal in `millwright shell`, and the host's network in it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use crate::debugging::{kept, run};
use crate::run::{GLANCE, PATIENCE};
use crate::tree::program_path;

/// A program on a terminal of its own, made by `script`, and somebody who types.
struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    screen: PathBuf,
}

impl Terminal {
    fn open(directory: &Path, words: &str) -> Self {
        let screen = directory.join("screen");
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", words, "/dev/null"])
            .current_dir(directory)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(File::create(&screen).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { keys: child.stdin.take(), child, screen }
    }

    fn text(&self) -> String {
        let mut bytes = Vec::new();
        File::open(&self.screen).unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Types without pressing Enter.
    fn press(&mut self, keys: &[u8]) {
        let terminal = self.keys.as_mut().unwrap();
        terminal.write_all(keys).and_then(|()| terminal.flush()).unwrap();
    }

    /// Types a line and waits until something is on the screen that the line itself does not say.
    fn enter(&mut self, line: &str, shown: &str) {
        assert!(!line.contains(shown), "the terminal shows what is typed");
        self.press(format!("{line}\r").as_bytes());
        self.wait_for(shown);
    }

    fn wait_for(&mut self, shown: &str) {
        let start = Instant::now();
        while !self.text().contains(shown) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before `{shown}` was seen:\n{}", self.text());
            assert!(start.elapsed() < PATIENCE, "`{shown}` was never seen:\n{}", self.text());
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits for the program's end and returns its exit code.
    fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "does not end:\n{}", self.text());
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_on_a_terminal_is_a_terminal() {
    let Some((tree, _)) = kept("terminal") else { return };
    let words = format!("{} shell broken", program_path("millwright").display());
    let mut terminal = Terminal::open(&tree.path(""), &words);
    // What one sees first: where one is, and how to get out.
    terminal.wait_for("%build");
    terminal.enter("echo sum-$((40 + 2))", "sum-42");
    terminal.enter("test -t 0 && test -t 1 && test -t 2 && echo terminal-$((1 + 1))", "terminal-2");
    terminal.enter("echo \"in-$PWD\" term-$TERM", "in-/build/BUILD/broken-1.0 term-xterm");
    terminal.enter("stty size > /dev/null && echo sized-$((2 + 2))", "sized-4");
    // /dev/tty is this terminal, for programs that ask for a password there.
    terminal.enter("(echo asked-$((2 + 3))) > /dev/tty", "asked-5");
    // Ctrl-C ends the program in the foreground, not the shell, and not millwright. That it is in the foreground it says
    // itself: keys that come before would be the shell's.
    terminal.enter("sh -c 'echo ready-$((3 + 3)); exec sleep 1000'; echo went-on-$?", "ready-6");
    terminal.press(b"\x03");
    terminal.enter("echo still-here-$((3 + 4))", "still-here-7");
    // Job control: Ctrl-Z stops the program in the foreground, and `fg` goes on with it.
    terminal.enter("sh -c 'echo second-$((4 + 4)); exec sleep 1000'", "second-8");
    terminal.press(b"\x1a");
    terminal.wait_for("Stopped");
    terminal.enter("kill %1; wait; echo none-left-$((4 + 5))", "none-left-9");
    // A person knows how the last command ended; that is no error of the shell.
    terminal.press(b"exit 7\r");
    assert_eq!(terminal.wait(), Some(0), "{}", terminal.text());
    tree.assert_nothing_runs();
}

#[test]
fn a_shell_sees_the_network_only_when_asked_for() {
    let Some((tree, _)) = kept("network") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && cat <&3");
    run(&tree, &["shell", "broken", "--", "bash", "-c", &script]).exits(1).says(&["Connection refused"]);
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"from the host\n").unwrap();
    });
    let ended = run(&tree, &["shell", "broken", "--net", "--", "bash", "-c", &script]);
    ended.exits(0).says(&["no build sees it", "from the host"]);
    server.join().unwrap();
}
