//! One session with the helper process: questions out, answers in, until all are answered or it dies.
//!
//! The process is anything that speaks `spec-wire` over two pipes; this file knows the language, not how the
//! process was started nor what the questions mean. Questions are sent by a thread of their own, because both
//! pipes are of limited size.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};

use spec_wire::{End, Message, Parsed, Question, Ready, Setup};

/// What came out of a session.
#[derive(Debug, Default)]
pub(crate) struct SessionEnd {
    /// What the helper said about itself; `None` where it ended without a word.
    pub(crate) ready: Option<Ready>,
    /// Why the helper cannot work, where it said so.
    pub(crate) unable: Option<String>,
    /// Parses that had begun and not ended when the helper died.
    pub(crate) unfinished: BTreeSet<u32>,
    /// Parses during which another one went wrong or had temporary files, so that what they say may be wrong, too.
    pub(crate) disturbed: BTreeSet<u32>,
    /// Parses at whose end there were temporary files.
    pub(crate) littered: BTreeSet<u32>,
}

/// How one parse ended, with what it said.
pub(crate) enum Ended<'a> {
    /// Well.
    Parsed(Parsed<'a>),
    /// With [`End`] (never [`End::Parsed`]) and these words on standard error.
    Failed(End, Vec<u8>),
}

/// Returns whether a parse that ended so may have hurt others: it was killed, or died.
fn went_wrong(end: &End) -> bool {
    matches!(end, End::TimeLimit | End::TooLarge | End::Crashed(_))
}

/// Holds a session; `accept` looks at [`Ready`] and says whether to go on, `take` gets each answer.
///
/// # Errors
///
/// Returns an error where the helper speaks another language; its death is no error.
pub(crate) fn hold(
    to_helper: File,
    from_helper: File,
    setup: &Setup,
    questions: &[Question],
    accept: impl FnOnce(&Ready) -> bool,
    take: &mut dyn FnMut(u32, Ended<'_>),
) -> io::Result<SessionEnd> {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = BufWriter::new(to_helper);
            // A helper that is gone takes no questions; what became of it is seen on the other pipe.
            let _ = send_all(&mut writer, setup, questions);
        });
        listen(BufReader::with_capacity(1 << 16, from_helper), accept, take)
    })
}

fn send_all(writer: &mut impl Write, setup: &Setup, questions: &[Question]) -> io::Result<()> {
    spec_wire::send(writer, setup)?;
    for question in questions {
        spec_wire::send(writer, question)?;
    }
    writer.flush()
}

fn listen(
    mut reader: BufReader<File>,
    accept: impl FnOnce(&Ready) -> bool,
    take: &mut dyn FnMut(u32, Ended<'_>),
) -> io::Result<SessionEnd> {
    let mut end = SessionEnd::default();
    let mut accept = Some(accept);
    let mut frame = Vec::new();
    let mut disturbance = Disturbance::default();
    while receive(&mut reader, &mut frame)? {
        match spec_wire::decode::<Message>(&frame)? {
            Message::Ready(ready) => {
                let goes_on = accept.take().is_none_or(|accept| accept(&ready));
                end.ready = Some(ready);
                if !goes_on {
                    break;
                }
            }
            Message::Unable(why) => end.unable = Some(why),
            Message::Started { id } => disturbance.started(id),
            Message::Answer { id, end: how, words, littered } => {
                disturbance.ended(id, littered || went_wrong(&how));
                end.littered.extend(littered.then_some(id));
                if how == End::Parsed {
                    if !receive(&mut reader, &mut frame)? {
                        disturbance.started(id);
                        break;
                    }
                    take(id, Ended::Parsed(spec_wire::decode(&frame)?));
                } else {
                    take(id, Ended::Failed(how, words));
                }
            }
        }
    }
    (end.unfinished, end.disturbed) = disturbance.finish();
    Ok(end)
}

/// Reads a frame; a stream that is cut has ended.
fn receive(reader: &mut BufReader<File>, frame: &mut Vec<u8>) -> io::Result<bool> {
    match spec_wire::receive_bytes(reader, frame) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        received => received,
    }
}

/// Finds out which parses ran beside one that went wrong.
#[derive(Default)]
struct Disturbance {
    /// What runs now, with everything that has run beside it.
    running: Vec<(u32, BTreeSet<u32>)>,
    disturbed: BTreeSet<u32>,
}

impl Disturbance {
    fn started(&mut self, id: u32) {
        let beside: BTreeSet<u32> = self.running.iter().map(|(other, _)| *other).collect();
        for (_, others) in &mut self.running {
            others.insert(id);
        }
        self.running.push((id, beside));
    }

    fn ended(&mut self, id: u32, wrong: bool) {
        let Some(index) = self.running.iter().position(|(other, _)| *other == id) else { return };
        let (_, beside) = self.running.swap_remove(index);
        if wrong {
            self.disturbed.extend(beside);
        }
    }

    /// Returns what has not ended, and what was disturbed by it or by others.
    fn finish(mut self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let unfinished: BTreeSet<u32> = self.running.iter().map(|(id, _)| *id).collect();
        for (_, beside) in &self.running {
            self.disturbed.extend(beside);
        }
        (unfinished, self.disturbed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what a helper says; returns the ids that were taken.
    fn play(messages: &[Message], cut: bool) -> (SessionEnd, Vec<u32>) {
        let (answers, mut says) = io::pipe().unwrap();
        let mut bytes = Vec::new();
        for message in messages {
            spec_wire::send(&mut bytes, message).unwrap();
            if matches!(message, Message::Answer { end: End::Parsed, .. }) {
                spec_wire::send(&mut bytes, &Parsed { text: b"text", ..Parsed::default() }).unwrap();
            }
        }
        bytes.truncate(bytes.len() - usize::from(cut));
        says.write_all(&bytes).unwrap();
        drop(says);
        let (_questions, asks) = io::pipe().unwrap();
        let mut taken = Vec::new();
        let file = |fd: std::os::fd::OwnedFd| File::from(fd);
        let mut take = |id, _: Ended<'_>| taken.push(id);
        let questions = [Question::default()];
        let end =
            hold(file(asks.into()), file(answers.into()), &Setup::default(), &questions, |_| true, &mut take);
        (end.unwrap(), taken)
    }

    fn answer(id: u32, end: End) -> Message {
        Message::Answer { id, end, words: Vec::new(), littered: false }
    }

    #[test]
    fn answers_are_taken_in_the_order_they_come() {
        let ready = Ready { rpm_version: "4".to_owned(), memo_off: None, unconfined: None };
        let said = [
            Message::Ready(ready.clone()),
            Message::Started { id: 1 },
            Message::Started { id: 2 },
            answer(2, End::Rejected),
            answer(1, End::Parsed),
        ];
        let (end, taken) = play(&said, false);
        assert_eq!(taken, [2, 1]);
        assert_eq!(end.ready, Some(ready));
        assert!(end.unfinished.is_empty() && end.disturbed.is_empty());
    }

    #[test]
    fn neighbours_of_a_bad_parse_are_named() {
        let start = |id| Message::Started { id };
        let said = [
            start(1),
            answer(1, End::Parsed),
            start(2),
            start(3),
            answer(3, End::Parsed),
            start(4),
            answer(2, End::TimeLimit),
            start(5),
            answer(4, End::Parsed),
            answer(5, End::Parsed),
        ];
        let (end, taken) = play(&said, false);
        assert_eq!(taken, [1, 3, 2, 4, 5]);
        assert_eq!(end.disturbed, BTreeSet::from([3, 4]));
        let litters = Message::Answer { id: 2, end: End::Parsed, words: Vec::new(), littered: true };
        let (end, _) = play(&[start(1), start(2), litters, answer(1, End::Parsed)], false);
        assert_eq!((end.disturbed, end.littered), (BTreeSet::from([1]), BTreeSet::from([2])));
    }

    #[test]
    fn a_dead_helper_leaves_the_unfinished() {
        let start = |id| Message::Started { id };
        let (end, taken) = play(&[start(1), start(2), answer(1, End::Parsed)], true);
        assert!(taken.is_empty());
        assert_eq!(end.unfinished, BTreeSet::from([1, 2]));
        let (end, _) = play(&[start(1), start(2), answer(1, End::Parsed)], false);
        assert_eq!((end.unfinished, end.disturbed), (BTreeSet::from([2]), BTreeSet::from([1])));
        let (end, _) = play(&[Message::Unable("no rpm".to_owned())], false);
        assert_eq!(end.unable.as_deref(), Some("no rpm"));
    }
}
