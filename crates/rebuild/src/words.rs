//! Words as a shell would take them apart, without a shell: quotes and backslashes, and nothing that would have to be
//! carried out.
//!
//! What it is not: it expands nothing; what a shell would expand is an error with advice.

use crate::trigger::TriggerSyntaxError;
use crate::trigger::parse::Cursor;

/// Returns whether a character separates words of one line.
pub(crate) fn is_line_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

/// Takes one word, to a blank, a line end or what `ends` says; an unquoted character that means something to a shell
/// is an error.
pub(crate) fn word(
    cursor: &mut Cursor<'_>,
    ends: impl Fn(char) -> bool,
) -> Result<String, TriggerSyntaxError> {
    let mut word = String::new();
    while let Some(c) = cursor.peek() {
        match c {
            c if c.is_whitespace() || ends(c) => break,
            '\'' => {
                cursor.advance();
                word.push_str(cursor.take(|c| c != '\''));
                close(cursor)?;
            }
            '"' => {
                cursor.advance();
                loop {
                    word.push_str(cursor.take(|c| c != '"' && c != '\\'));
                    if cursor.peek() != Some('\\') {
                        break;
                    }
                    cursor.advance();
                    // As in a shell: before anything else the backslash stands for itself.
                    match cursor.peek() {
                        Some(c) if "\"\\$`".contains(c) => word.push(c),
                        Some(c) => word.extend(['\\', c]),
                        None => {}
                    }
                    cursor.advance();
                }
                close(cursor)?;
            }
            '\\' => {
                cursor.advance();
                match cursor.peek() {
                    Some(c) => word.push(c),
                    None => return Err(cursor.error("a character after the backslash")),
                }
                cursor.advance();
            }
            '|' | '&' | '<' | '>' | '$' | '`' | '(' | ')' | ';' => {
                return Err(cursor.error("a word without | & < > $ ` ( ) ; outside quotes"));
            }
            c => {
                word.push(c);
                cursor.advance();
            }
        }
    }
    Ok(word)
}

fn close(cursor: &mut Cursor<'_>) -> Result<(), TriggerSyntaxError> {
    if cursor.peek().is_none() {
        return Err(cursor.error("the closing quote"));
    }
    cursor.advance();
    Ok(())
}
