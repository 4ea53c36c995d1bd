//! Server-sent events: any split of the bytes gives what a simple reading of the whole gives.

use miniagents::laws::Choices;
use miniagents::llm::sse::{SseEvent, SseReader};

/// The reference: the whole text at once, line by line.
fn simply(bytes: &[u8]) -> Vec<SseEvent> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines = vec![Vec::new()];
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\r' | b'\n' => {
                at += usize::from(bytes[at..].starts_with(b"\r\n"));
                lines.push(Vec::new());
            }
            byte => lines.last_mut().unwrap().push(byte),
        }
        at += 1;
    }
    lines.pop(); // a line that has not ended
    let (mut events, mut open, mut id) = (Vec::new(), SseEvent::default(), String::new());
    let mut data = Vec::new();
    for line in lines {
        if line.is_empty() {
            open.data = data.join("\n");
            data.clear();
            let event = std::mem::take(&mut open);
            if !event.data.is_empty() {
                events.push(SseEvent {
                    id: id.clone(),
                    ..event
                });
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let name = &line[..colon.unwrap_or(line.len())];
        let value = colon.map_or(&[][..], |colon| &line[colon + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = String::from_utf8_lossy(value).into_owned();
        match name {
            b"data" => data.push(text),
            b"event" => open.event = text,
            b"id" if !value.contains(&0) => id = text,
            _ => {}
        }
    }
    events
}

fn pushed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
    let mut reader = SseReader::new();
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece).unwrap();
        events.extend(std::iter::from_fn(|| reader.next_event()));
    }
    events
}

/// Bytes in which the words of the format are more likely than in any.
fn stream(choices: &mut Choices<'_>) -> Vec<u8> {
    const PARTS: [&[u8]; 16] = [
        b"\n",
        b"\r",
        b"\r\n",
        b"data:",
        b"data: ",
        b"event: ",
        b"id: ",
        b"retry: 1",
        b": ",
        b"x",
        b"\xEF\xBB\xBF",
        b"\xff",
        b"\0",
        b"\xe2\x80",
        b"data",
        b"\n\n",
    ];
    let mut bytes = Vec::new();
    while !choices.is_over() {
        bytes.extend(PARTS[choices.below(PARTS.len())]);
    }
    bytes
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let cuts: Vec<usize> = (0..4).map(|_| choices.below(64) + 1).collect();
    let rest = choices.rest();
    for bytes in [rest.to_vec(), stream(&mut Choices::new(rest))] {
        let expected = simply(&bytes);
        assert_eq!(pushed([&bytes[..]]), expected, "in one piece");
        assert_eq!(pushed(bytes.chunks(1)), expected, "byte by byte");
        for cut in &cuts {
            assert_eq!(pushed(bytes.chunks(*cut)), expected, "in pieces of {cut}");
        }

        // With a limit it ends with an error or not at all, and the events before it are the same.
        let mut reader = SseReader::new().with_limit(cuts[0]);
        let failed = bytes
            .chunks(cuts[1])
            .any(|piece| reader.push(piece).is_err());
        let events: Vec<_> = std::iter::from_fn(|| reader.next_event()).collect();
        assert!(expected.starts_with(&events));
        assert!(failed || events == expected);
    }
}
