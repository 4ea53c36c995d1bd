//! Messages as paragraphs that stream.

use futures_lite::StreamExt;

use super::class::MessageClass;
use super::into_messages::IntoMessages;
use super::join::{Join, join_messages};
use super::message_promise::MessagePromise;
use super::messages::Messages;
use super::sequence::MessageSequence;
use super::sequence_promise::MessageSequencePromise;
use super::token_appender::MessageTokenAppender;
use crate::error::Result;
use crate::frozen::Frozen;
use crate::promise::{Start, generate};

/// How messages are split.
///
/// ```
/// use miniagents::{MiniAgents, Split, split_messages};
///
/// let lines = MiniAgents::new().run(async {
///     split_messages("one\ntwo", Split::default().with_delimiter("\n")).await
/// });
/// assert_eq!(lines.unwrap().iter().map(|line| line.text()).collect::<Vec<_>>(), ["one", "two"]);
/// ```
#[derive(Clone, Debug)]
pub struct Split {
    delimiter: String,
    /// What begins and ends a block of code; empty if there are none.
    code_fence: String,
    class: &'static MessageClass,
    known: Frozen,
}

impl Default for Split {
    /// At blank lines, but not inside of blocks of code between triple backticks, into text messages.
    fn default() -> Self {
        Split {
            delimiter: "\n\n".into(),
            code_fence: "```".into(),
            class: MessageClass::TEXT,
            known: Frozen::new(),
        }
    }
}

impl Split {
    /// What stands between two messages; several in a row are as good as one. Empty: nothing does.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = delimiter.into();
        self
    }

    /// What begins and ends a block of code, which is a message by itself. Empty: there are none.
    #[must_use]
    pub fn with_code_fence(mut self, fence: impl Into<String>) -> Self {
        self.code_fence = fence.into();
        self
    }

    /// The class of the messages.
    #[must_use]
    pub fn with_class(mut self, class: &'static MessageClass) -> Self {
        self.class = class;
        self
    }

    /// Fields of each message that are known before its text is.
    #[must_use]
    pub fn with_fields(mut self, known: &Frozen) -> Self {
        self.known = known.clone();
        self
    }
}

/// The text of `messages`, split into one message for each paragraph.
///
/// - A message is promised as soon as its first letter is there, and streams on from then; it is complete
///   while the next one is still being written.
/// - Between two of `messages` the text is split too.
/// - A block of code is a message by itself and is never split, however many blank lines it has; one that
///   is never closed reaches to the end.
/// - There are no messages without text.
/// - An error ends the message that is being written, behind what came of it, and the sequence. If none is
///   being written, it is an error of the sequence.
///
/// Splitting begins soon, whether or not anybody reads.
///
/// ```
/// use miniagents::{MiniAgents, Split, split_messages};
///
/// let answer = "Two lines:\n\n```\nlet a = 1;\n\nlet b = 2;\n```\n\nThat is all.";
/// let parts = MiniAgents::new().run(async { split_messages(answer, Split::default()).await }).unwrap();
/// let parts: Vec<_> = parts.iter().map(|part| part.text()).collect();
/// assert_eq!(parts, ["Two lines:", "```\nlet a = 1;\n\nlet b = 2;\n```", "That is all."]);
/// ```
///
/// # Panics
///
/// If no context is active.
#[track_caller]
pub fn split_messages(messages: impl IntoMessages, how: Split) -> MessageSequencePromise {
    let joined = Join::default()
        .with_delimiter(how.delimiter.clone())
        .with_reference_original_messages(false);
    let whole = join_messages(messages, joined);
    let parts = generate(move |out| async move {
        let mut splitter = Splitter::new(&how);
        let mut written: Option<MessageTokenAppender> = None;
        let mut tokens = whole.reader();
        loop {
            let token = tokens.next().await;
            let pieces = match &token {
                Some(Ok(token)) => splitter.push(token.as_str()),
                Some(Err(_)) | None => splitter.finish(),
            };
            for piece in pieces {
                match piece {
                    Piece::Text(text) => {
                        let appender = match &written {
                            Some(appender) => appender,
                            None => {
                                let (appender, promise) = begin(&how)?;
                                out.emit(promise).await;
                                written.insert(appender)
                            }
                        };
                        // Should somebody have cancelled this message, the others come all the same.
                        let _ = appender.append(text);
                    }
                    Piece::End => {
                        if let Some(appender) = written.take() {
                            appender.close();
                        }
                    }
                }
            }
            match token {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return match written.take() {
                        Some(appender) => appender.close_with(error),
                        None => Err(error),
                    };
                }
                None => {
                    if let Some(appender) = written.take() {
                        appender.close();
                    }
                    return Ok(());
                }
            }
        }
    });
    let sequence = MessageSequence::options().with_start(Start::Soon).make();
    let appender = sequence.appender();
    let sent = appender
        .open()
        .and_then(|appender| appender.append(Messages::from_stream(parts)));
    debug_assert!(sent.is_ok(), "a new appender takes what it is given");
    appender.close();
    sequence.promise().clone()
}

fn begin(how: &Split) -> Result<(MessageTokenAppender, MessagePromise)> {
    let appender = MessageTokenAppender::new().with_capture_errors(true);
    appender.open()?;
    let promise = MessagePromise::of(how.class)
        .with_fields(&how.known)
        .with_start(Start::OnDemand)
        .append_from(&appender)?;
    Ok((appender, promise))
}

/// What comes of text that is split.
#[derive(Debug, PartialEq)]
enum Piece {
    /// More of the message.
    Text(String),
    /// The end of the message.
    End,
}

/// Splits text that comes in pieces, and holds back only what may become a delimiter.
struct Splitter<'a> {
    how: &'a Split,
    held_back: String,
    in_code: bool,
    /// Whether the message has text.
    begun: bool,
}

impl<'a> Splitter<'a> {
    fn new(how: &'a Split) -> Self {
        Splitter {
            how,
            held_back: String::new(),
            in_code: false,
            begun: false,
        }
    }

    fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held_back.push_str(text);
        let mut pieces = Vec::new();
        while let Some((at, mark)) = self.first_mark() {
            match mark {
                Mark::Delimiter => {
                    self.say(at, &mut pieces);
                    self.held_back.drain(..self.how.delimiter.len());
                    self.end(&mut pieces);
                }
                Mark::Code => {
                    self.say(at, &mut pieces);
                    self.end(&mut pieces);
                    self.say(self.how.code_fence.len(), &mut pieces);
                    self.in_code = true;
                }
                Mark::EndOfCode => {
                    self.say(at + self.how.code_fence.len(), &mut pieces);
                    self.end(&mut pieces);
                    self.in_code = false;
                }
            }
        }
        self.say(self.held_back.len() - self.undecided(), &mut pieces);
        pieces
    }

    fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.say(self.held_back.len(), &mut pieces);
        pieces
    }

    /// What comes first of what ends something.
    fn first_mark(&self) -> Option<(usize, Mark)> {
        let find = |mark: &str| (!mark.is_empty()).then(|| self.held_back.find(mark))?;
        let fence = find(&self.how.code_fence);
        if self.in_code {
            return fence.map(|at| (at, Mark::EndOfCode));
        }
        match (find(&self.how.delimiter), fence) {
            (Some(at), fence) if fence.is_none_or(|fence| at <= fence) => {
                Some((at, Mark::Delimiter))
            }
            (_, Some(at)) => Some((at, Mark::Code)),
            (_, None) => None,
        }
    }

    /// How long the end is that may be the beginning of a mark.
    fn undecided(&self) -> usize {
        let longest = |mark: &str| {
            let beginnings = mark.char_indices().map(|(at, _)| &mark[..at]).rev();
            let mut beginnings = beginnings.filter(|it| self.held_back.ends_with(it));
            beginnings.next().map_or(0, str::len)
        };
        let fence = longest(&self.how.code_fence);
        if self.in_code {
            fence
        } else {
            fence.max(longest(&self.how.delimiter))
        }
    }

    fn say(&mut self, length: usize, pieces: &mut Vec<Piece>) {
        if length > 0 {
            let rest = self.held_back.split_off(length);
            let text = std::mem::replace(&mut self.held_back, rest);
            pieces.push(Piece::Text(text));
            self.begun = true;
        }
    }

    fn end(&mut self, pieces: &mut Vec<Piece>) {
        if std::mem::take(&mut self.begun) {
            pieces.push(Piece::End);
        }
    }
}

enum Mark {
    Delimiter,
    Code,
    EndOfCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that come of text in pieces of that many bytes.
    fn split(text: &str, length: usize, how: &Split) -> Vec<String> {
        let mut splitter = Splitter::new(how);
        let chars: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        for piece in chars.chunks(length) {
            pieces.extend(splitter.push(&piece.iter().collect::<String>()));
        }
        pieces.extend(splitter.finish());
        let mut messages = vec![String::new()];
        for piece in pieces {
            match piece {
                Piece::Text(text) => messages.last_mut().unwrap().push_str(&text),
                Piece::End => messages.push(String::new()),
            }
        }
        messages.retain(|message| !message.is_empty());
        messages
    }

    #[test]
    fn text_is_split_alike_however_it_comes() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n\n\n\n", &[]),
            ("one", &["one"]),
            ("one\n\ntwo\n\n", &["one", "two"]),
            ("\n\none\n\n\n\ntwo\n", &["one", "two\n"]),
            ("one\n\n\ntwo", &["one", "\ntwo"]),
            (
                "a ```b\n\nc``` d\n\n```e",
                &["a ", "```b\n\nc```", " d", "```e"],
            ),
            ("``````\n\n", &["``````"]),
            ("``\n\n`", &["``", "`"]),
            ("\u{1f980}\n\n\u{e9}", &["\u{1f980}", "\u{e9}"]),
        ] {
            for length in 1..=text.len().max(1) {
                assert_eq!(
                    split(text, length, &Split::default()),
                    expected,
                    "{text:?} by {length}"
                );
            }
        }
        let plain = Split::default().with_code_fence("");
        assert_eq!(split("a ```b\n\nc```", 2, &plain), ["a ```b", "c```"]);
        let code = Split::default().with_delimiter("");
        assert_eq!(split("a\n\n```b```", 2, &code), ["a\n\n", "```b```"]);
    }

    #[test]
    fn only_what_may_become_a_delimiter_is_held_back() {
        let how = Split::default();
        let mut splitter = Splitter::new(&how);
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(splitter.push("one"), [text("one")]);
        assert_eq!(splitter.push(" two\n"), [text(" two")]);
        assert_eq!(splitter.push("three``"), [text("\nthree")]);
        assert_eq!(splitter.push("four\n\n"), [text("``four"), Piece::End]);
        assert_eq!(splitter.push("```\n\n"), [text("```"), text("\n\n")]);
    }
}
