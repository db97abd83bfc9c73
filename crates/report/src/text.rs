//! Text on the way to a terminal, and times as people say them.

/// Returns a text whose control characters, but for line ends and tabs, are replaced by `U+FFFD`.
///
/// Specs, build logs and servers say what they like; none of it may move a cursor or change a colour.
pub fn printable(text: &str) -> String {
    let is_harmless = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    text.chars().map(|character| if is_harmless(character) { character } else { '\u{fffd}' }).collect()
}

/// Columns where nothing says how many there are: in a file, in a pipe.
const USUAL_COLUMNS: usize = 80;

/// Returns how wide standard output is.
pub fn columns() -> usize {
    terminal_columns().unwrap_or(USUAL_COLUMNS)
}

/// Returns how wide the terminal on standard output is; `None` where that is no terminal.
pub fn terminal_columns() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// Returns a number and what is counted, in the plural where it has to be: `1 spec`, `2 specs`.
pub fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Returns seconds as people say them, and as terminal, summary and page all do: `4.2 s`, `58 s`, `1:57 min`, `1:02:03 h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min", clock(seconds)),
        _ => format!("{} h", clock(seconds)),
    }
}

/// Returns seconds as a clock shows them: `0:07`, `12:34`, `1:23:45`.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Returns a text of one line in at most this many columns, with `..` where something is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let line = text.replace(['\n', '\t'], " ");
    console::truncate_str(&line, columns, "..").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jgone\r\u{9b}1mé"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}1mé");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(
            [0.25, 9.96, 12.4, 59.4, 59.6, 117.0, 137.0, 3599.7, 9000.0].map(duration),
            ["0.2 s", "10 s", "12 s", "59 s", "1:00 min", "1:57 min", "2:17 min", "1:00:00 h", "2:30:00 h"]
        );
        assert_eq!([0.0, 7.4, 754.0, 5025.0, -1.0].map(clock), ["0:00", "0:07", "12:34", "1:23:45", "0:00"]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("not short\nat all", 8), "not sh..");
        assert_eq!(cut("日本語です", 6), "日本..");
    }
}
