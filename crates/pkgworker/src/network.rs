//! Recognises that a build failed because it wanted the network: a table of what programs say then.
//!
//! A build has a loopback interface and nothing else, so a name cannot be resolved and a route is not there.
//! What programs make of that is their own; these are the words of the usual ones.

/// What programs write when they cannot reach the network, each with one that does.
///
/// Only texts that mean the network beyond the host: a test that talks to itself says `Connection refused`.
const TEXTS: [(&str, &str); 19] = [
    ("curl", "Could not resolve host"),
    ("curl, proxies", "Could not resolve proxy"),
    ("wget", "unable to resolve host address"),
    ("getaddrinfo", "Temporary failure in name resolution"),
    ("getaddrinfo", "Name or service not known"),
    ("getaddrinfo, musl", "Try again (os error"),
    ("every program", "Network is unreachable"),
    ("ssh, git over ssh", "Could not resolve hostname"),
    ("pip", "Could not find a version that satisfies the requirement"),
    ("pip, urllib3", "Failed to establish a new connection"),
    ("cargo", "failed to download from `"),
    ("cargo", "Couldn't resolve host name"),
    ("rustc, reqwest", "dns error: failed to lookup address information"),
    ("go", "dial tcp: lookup "),
    ("npm, yarn, node", "getaddrinfo EAI_AGAIN"),
    ("npm, yarn, node", "getaddrinfo ENOTFOUND"),
    ("maven, gradle, java", "java.net.UnknownHostException"),
    ("ruby, bundler", "Could not reach host"),
    ("perl, cpan", "Can't connect to"),
];

/// How many lines of a failed section are looked at, from its end: what was said long before is not why it
/// failed.
pub(crate) const LAST_LINES: usize = 200;

/// Returns the last line among these that says that the network could not be reached.
pub(crate) fn complaint<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let is_complaint = |line: &&&str| {
        // The shell's trace (`+ command`) only repeats the script.
        !line.starts_with('+') && TEXTS.iter().any(|(_, text)| line.contains(text))
    };
    lines.iter().rev().take(LAST_LINES).find(is_complaint).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_usual_programs_are_known() {
        for line in [
            "curl: (6) Could not resolve host: example.org",
            "fatal: unable to access 'https://example.org/x.git/': Could not resolve host: example.org",
            "wget: unable to resolve host address 'example.org'",
            "ssh: Could not resolve hostname example.org: Temporary failure in name resolution",
            "ERROR: Could not find a version that satisfies the requirement setuptools>=61 (from versions: none)",
            "warning: spurious network error (3 tries remaining): [6] Couldn't resolve host name (Could not resolve host: example.org)",
            "error: failed to download from `https://example.org/api/v1/crates/libc`",
            "go: example.org/x@v1.0.0: Get \"https://example.org/x\": dial tcp: lookup example.org on [::1]:53: read: connection refused",
            "npm ERR! request to https://example.org/left-pad failed, reason: getaddrinfo EAI_AGAIN example.org",
            "socket.gaierror: [Errno -3] Temporary failure in name resolution",
            "connect: Network is unreachable",
            "Caused by: java.net.UnknownHostException: example.org",
        ] {
            assert_eq!(complaint(&["before", line, "after"]), Some(line));
        }
    }

    #[test]
    fn other_failures_are_not_the_networks() {
        for line in [
            "+ curl -f https://example.org || echo 'Could not resolve host'",
            "connect to 127.0.0.1 port 8080 failed: Connection refused",
            "checking for getaddrinfo... yes",
            "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)",
        ] {
            assert_eq!(complaint(&[line]), None, "{line}");
        }
        let mut long = vec!["curl: (6) Could not resolve host: example.org"];
        long.extend(std::iter::repeat_n("cc -c x.c", LAST_LINES));
        assert_eq!(complaint(&long), None, "it went on long after");
    }
}
