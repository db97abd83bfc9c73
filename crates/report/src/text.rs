//! Text on the way to a terminal.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jgone\r\u{9b}1mé"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}1mé");
    }
}
