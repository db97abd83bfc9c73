//! Where an answer goes: to a file or to standard output; and the one program that draws for us.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::text::printable;
use crate::{ExitStatus, Failure};

/// Graphs with more nodes are not given to Graphviz: its layout takes minutes for them, and nobody can read
/// what comes out.
pub const GRAPHVIZ_NODES: usize = 2_000;

/// Writes text that a person or a program asked for on standard output, with a line end.
///
/// A reader that has read enough and went away is no failure.
///
/// # Errors
///
/// Returns a failure of the environment.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = anstream::stdout().lock();
    let written =
        writeln!(output, "{}", printable(text).trim_end_matches('\n')).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| {
            Failure::new(ExitStatus::Environment, format!("cannot write to standard output: {error}"))
        }),
    }
}

/// Replaces a file by rename; makes its directory.
///
/// # Errors
///
/// Returns a failure of the environment that names the file.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, None)
}

/// Replaces by rename what a file of somebody's holds: its owner and its mode stay.
///
/// # Errors
///
/// Returns a failure of the environment that names the file, also where there is none.
pub fn rewrite_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let old = fs::metadata(path).map_err(|error| cannot_write(path, &error))?;
    replace(path, bytes, Some(&old))
}

fn replace(path: &Path, bytes: &[u8], old: Option<&Metadata>) -> Result<(), Failure> {
    let replace = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        if let Some(old) = old {
            let own = file.as_file().metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
        }
        // Temporary files are private by default; what has a name is read by everybody.
        let mode = old.map_or(0o644, |old| old.permissions().mode());
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(|error: io::Error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitStatus::Environment, format!("cannot write {}: {error}", path.display()))
}

/// Has Graphviz draw a graph as SVG.
///
/// # Errors
///
/// Fails where Graphviz is not installed or does not like the graph; a graph of more than
/// [`GRAPHVIZ_NODES`] nodes is refused. Each with advice.
pub fn graphviz_svg(dot: &str, nodes: usize) -> Result<String, Failure> {
    if nodes > GRAPHVIZ_NODES {
        let text = format!(
            "the graph has {nodes} nodes: Graphviz takes minutes for more than {GRAPHVIZ_NODES}, and the picture \
             cannot be read"
        );
        return Err(Failure::new(ExitStatus::Usage, text)
            .hint("draw a part of it: give names, and `--depth 2` for what is two steps away")
            .hint("or write it with `--format dot --output graph.dot`, and run `sfdp -Tsvg -O graph.dot`"));
    }
    let mut child = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new(
                ExitStatus::Environment,
                "drawing the whole graph needs Graphviz, and there is no program `dot`",
            )
            .hint("install it (Debian: `apt-get install graphviz`)")
            .hint("a part of the graph needs no Graphviz: give names"),
            _ => Failure::new(ExitStatus::Environment, format!("cannot start dot: {error}")),
        })?;
    let stdin = child.stdin.take();
    let text = dot.as_bytes().to_owned();
    // Apart, because dot writes what it thinks of the graph while it still reads.
    let writer = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&text)));
    let output = child
        .wait_with_output()
        .map_err(|error| Failure::new(ExitStatus::Environment, format!("cannot read from dot: {error}")))?;
    // Where dot went away early its exit status says more.
    let _ = writer.join();
    if !output.status.success() {
        let text = format!("dot failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(Failure::new(ExitStatus::Environment, text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_readable_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/answer.json");
        for text in ["one", "two"] {
            write_file(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        rewrite_file(&path, b"three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(rewrite_file(&directory.path().join("absent"), b"").is_err());
        let failure = write_file(&path.join("below"), b"").unwrap_err();
        assert_eq!(failure.status(), ExitStatus::Environment);
        assert!(failure.render().contains("answer.json/below"));
    }

    #[test]
    fn large_graphs_are_refused_with_advice() {
        let failure = graphviz_svg("digraph {}", GRAPHVIZ_NODES + 1).unwrap_err();
        assert_eq!(failure.status(), ExitStatus::Usage);
        assert!(failure.render().contains("--depth 2"), "{}", failure.render());
    }
}
