//! Server-sent events: bytes in, events out. Framing only; no vendor is known here.
//!
//! An [`SseReader`] is fed with bytes as they come from the network, cut anywhere, and gives the
//! events that are complete. It follows the [HTML standard], with these rules:
//!
//! - Any split of the bytes gives the same events. One leading byte order mark is skipped.
//! - Lines end with LF, CR or CRLF, mixed freely, and with nothing else: U+2028 in a value is text.
//!   A CR ends its line at once; an LF that comes later is swallowed.
//! - An empty line ends an event. An event without data is no event. Several `data` lines are
//!   joined with a line feed. Comments and unknown fields are skipped, and cost no memory.
//! - Bytes that are not UTF-8 become U+FFFD, as the standard says: one bad token does not end a
//!   stream.
//! - An event that is still open when the bytes end is thrown away.
//! - One event may have at most [`DEFAULT_LIMIT`] bytes, or what
//!   [`with_limit`](SseReader::with_limit) says; more is an error. The work is linear in the bytes.
//!
//! ```
//! use miniagents::llm::sse::SseReader;
//!
//! let mut reader = SseReader::new();
//! reader.push(b": a comment\n\ndata: Hel")?;
//! assert_eq!(reader.next_event(), None);
//! reader.push(b"lo\r\ndata: world\r\n\r\nevent: end\nda")?;
//! assert_eq!(reader.next_event().unwrap().data, "Hello\nworld");
//! assert_eq!(reader.next_event(), None);
//! assert!(reader.end(), "an unfinished event was thrown away");
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! [HTML standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, HttpFailure, Result, Why};

/// How many bytes one event may have unless told otherwise: 64 MiB.
pub const DEFAULT_LIMIT: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The name given by `event:`; empty when there was none.
    pub event: String,
    /// The `data:` lines, joined with line feeds; never empty.
    pub data: String,
    /// The last `id:` seen, in this event or an earlier one; empty when there was none.
    pub id: String,
}

/// Takes bytes and gives events; see the [module](self).
pub struct SseReader {
    /// How many bytes an event may have.
    limit: usize,
    /// Whether no line has ended yet, so that a byte order mark may be in front of it.
    at_start: bool,
    /// Whether the last byte was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// The line that has not ended yet; of a comment, the colon only.
    line: Vec<u8>,
    /// The open event: its name, and its data with a line feed after each line.
    event: String,
    data: String,
    /// The bytes that the open event's ended lines had.
    size: usize,
    id: String,
    retry: Option<Duration>,
    /// Complete events that nobody took yet.
    ready: VecDeque<SseEvent>,
    /// The error that ended the reading; nothing is read after it.
    failed: Option<Error>,
}

impl SseReader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        SseReader {
            limit: DEFAULT_LIMIT,
            at_start: true,
            after_cr: false,
            line: Vec::new(),
            event: String::new(),
            data: String::new(),
            size: 0,
            id: String::new(),
            retry: None,
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// The same reader with another limit for the bytes of one event.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Reads `bytes`. The events that they complete are given by [`next_event`](Self::next_event).
    ///
    /// # Errors
    ///
    /// An event is larger than the limit. The events before it can still be taken; every further
    /// push fails in the same way.
    ///
    /// ```
    /// use miniagents::llm::sse::SseReader;
    ///
    /// let mut reader = SseReader::new().with_limit(16);
    /// assert!(reader.push(b"data: one\n\ndata: 0123456789").is_ok());
    /// assert!(reader.push(b"0123456789").is_err());
    /// assert_eq!(reader.next_event().unwrap().data, "one");
    /// ```
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let pushed = self.read(bytes);
        if let Err(error) = &pushed {
            self.failed = Some(error.clone());
            self.line = Vec::new();
            self.data = String::new();
        }
        pushed
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    /// How long the server wants a client to wait before it connects again, if it said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The bytes have ended. True if they ended inside an event, which is thrown away; complete
    /// events can still be taken. The reader is then at the beginning of another stream.
    pub fn end(&mut self) -> bool {
        let unfinished = !self.line.is_empty() || !self.data.is_empty();
        let ready = std::mem::take(&mut self.ready);
        *self = SseReader::new().with_limit(self.limit);
        self.ready = ready;
        unfinished
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = bytes.split_at(end);
            self.check_size(line)?;
            if self.line.is_empty() {
                self.end_line(line);
            } else {
                self.extend_line(line);
                let mut line = std::mem::take(&mut self.line);
                self.end_line(&line);
                line.clear();
                self.line = line;
            }
            bytes = match rest {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => unreachable!("the line end was found"),
            };
            self.after_cr = bytes.is_empty() && rest == b"\r";
        }
        self.check_size(bytes)?;
        self.extend_line(bytes);
        Ok(())
    }

    /// Fails if the open event would have more than the limit with `more` in its line.
    fn check_size(&self, more: &[u8]) -> Result<()> {
        let comment = self.line.first().or(more.first()) == Some(&b':');
        if !comment && self.size + self.line.len() + more.len() > self.limit {
            let text = format!("an event of the stream is larger than {} bytes", self.limit);
            return Err(HttpFailure::new(Why::Malformed).error(text, None));
        }
        Ok(())
    }

    fn is_comment(&self) -> bool {
        self.line.first() == Some(&b':')
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if !self.is_comment() {
            self.line.extend_from_slice(bytes);
            if self.is_comment() {
                self.line.truncate(1);
            }
        }
    }

    fn end_line(&mut self, mut line: &[u8]) {
        if self.at_start {
            self.at_start = false;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                self.size += line.len();
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.id = String::from_utf8_lossy(value).into_owned(),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let milliseconds = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                self.retry = milliseconds.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        self.size = 0;
        data.pop(); // the line feed after the last line
        if !data.is_empty() {
            let id = self.id.clone();
            self.ready.push_back(SseEvent { event, data, id });
        }
    }
}

impl Default for SseReader {
    fn default() -> Self {
        SseReader::new()
    }
}

impl fmt::Debug for SseReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseReader")
            .field("ready", &self.ready.len())
            .field("unfinished", &(self.size + self.line.len()))
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of `pieces`, pushed one after the other.
    fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
        let mut reader = SseReader::new();
        for piece in pieces {
            reader.push(piece).unwrap();
        }
        std::iter::from_fn(|| reader.next_event()).collect()
    }

    fn data(text: &str) -> Vec<String> {
        let events = events([text.as_bytes()]);
        events.into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn smoke() {
        let [event] = &events([&b"event: greeting\nid: 7\ndata: hello\n\n"[..]])[..] else {
            panic!("one event");
        };

        assert_eq!(event.event, "greeting");
        assert_eq!(event.data, "hello");
        assert_eq!(event.id, "7");
    }

    #[test]
    fn any_split_gives_the_same_events() {
        let texts: &[&[u8]] = &[
            b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n\n",
            b"\xEF\xBB\xBFdata: marked\n\n\xEF\xBB\xBFdata: not marked\n\n",
            b"\xEF\xBB\xBF\n: comment\r\n:\rdata:x\rdata\rdata: y\r\r",
            "data: za\u{17c}\u{f3}\u{142}\u{107} \u{1f980}\u{2028}\u{85}\u{b}\u{c}\n\n".as_bytes(),
            b"data: bad \xff\xfe \xf0\x9f\ndata: \xa6\x80\n\nevent: x\n\nid: 1\nretry: 20\n\ndata: y\n\n",
            b"data:  two spaces\ndata:\n\ndata\n\ndata:\n\n: only\n\nDATA: no\ndata : no\n\n",
            b"id: 1\ndata: a\n\nid: a\0b\ndata: b\n\nid\ndata: c\n\ndata: unfinished\n",
        ];

        for text in texts {
            let whole = events([*text]);
            assert_eq!(whole, events(text.chunks(1)), "byte by byte");
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(whole, events(pieces), "cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn lines_end_with_lf_cr_or_crlf_only() {
        assert_eq!(
            data("data: a\n\ndata: b\r\rdata: c\r\n\r\ndata: d\n\r"),
            ["a", "b", "c", "d"]
        );
        assert_eq!(
            data("data: a\u{2028}b\u{85}c\u{b}d\u{c}e\n\n"),
            ["a\u{2028}b\u{85}c\u{b}d\u{c}e"]
        );
    }

    #[test]
    fn a_carriage_return_ends_the_event_at_once() {
        let mut reader = SseReader::new();

        reader.push(b"data: a\r\r").unwrap();
        let first = reader.next_event().unwrap();
        reader.push(b"\ndata: b\r\n\r").unwrap();
        let second = reader.next_event().unwrap();

        assert_eq!(
            (first.data.as_str(), second.data.as_str(), reader.end()),
            ("a", "b", false)
        );
    }

    #[test]
    fn one_space_and_one_mark_are_stripped() {
        assert_eq!(
            data("\u{feff}data:  a\n\ndata:b\n\n\u{feff}data: c\n\n"),
            [" a", "b"]
        );
    }

    #[test]
    fn data_lines_are_joined_and_empty_data_is_no_event() {
        assert_eq!(
            data("data: a\ndata: b\n\ndata:\n\ndata\n\ndata:\ndata:\n\nevent: x\n\ndata: c\n\n"),
            ["a\nb", "\n", "c"]
        );
    }

    #[test]
    fn an_event_without_data_forgets_its_name_but_keeps_its_id() {
        let [event] = &events([&b"event: x\nid: 1\n\ndata: a\n\n"[..]])[..] else {
            panic!("one event");
        };

        assert_eq!((event.event.as_str(), event.id.as_str()), ("", "1"));
    }

    #[test]
    fn ids_with_nul_and_retries_that_are_no_numbers_are_ignored() {
        let mut reader = SseReader::new();
        reader
            .push(b"id: 1\nid: a\0b\nretry: 3000\nretry: x\nretry:\ndata: a\n\n")
            .unwrap();

        assert_eq!(reader.next_event().unwrap().id, "1");
        assert_eq!(reader.retry(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let [event] = &events([&b"data: a\xff\xfeb\n\n"[..]])[..] else {
            panic!("one event");
        };

        assert_eq!(event.data, "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn an_unfinished_event_is_thrown_away() {
        let mut reader = SseReader::new();

        reader.push(b"data: a\n\ndata: b\n").unwrap();

        assert!(reader.end());
        assert_eq!(reader.next_event().unwrap().data, "a");
        assert_eq!(reader.next_event(), None);
        assert!(!reader.end());
    }

    #[test]
    fn an_event_over_the_limit_fails_and_stays_failed() {
        for text in [
            "data: 0123456789",
            "data: 01\ndata: 23\n",
            "event: 0123456789\n",
        ] {
            let mut reader = SseReader::new().with_limit(15);
            reader.push(b"data: before\n\n").unwrap();
            let pushed = text
                .as_bytes()
                .chunks(1)
                .try_for_each(|byte| reader.push(byte));

            assert!(pushed.is_err(), "{text}");
            assert!(reader.push(b"\n\n").is_err());
            assert_eq!(reader.next_event().unwrap().data, "before");
            assert_eq!(reader.next_event(), None);
        }
    }

    #[test]
    fn comments_have_no_limit_and_take_no_memory() {
        let mut reader = SseReader::new().with_limit(8);

        reader.push(b": a comment in one piece\n").unwrap();
        for piece in [&b": begun"[..], b":", &[b'x'; 100], &[b'x'; 100_000]] {
            reader.push(piece).unwrap();
        }
        reader.push(b"\ndata: a\n\n").unwrap();

        assert!(reader.line.capacity() < 1000);
        assert_eq!(reader.next_event().unwrap().data, "a");
    }
}
