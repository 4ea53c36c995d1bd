//! The life of an appender, against a reference: two flags and a list.

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use log::LevelFilter;
use miniagents::laws::Choices;
use miniagents::{Error, PromisingContext, StreamAppender, StreamedPromise};

/// The reference.
#[derive(Default)]
struct Model {
    was_open: bool,
    closed: bool,
    cancelled: bool,
    pieces: Vec<String>,
}

impl Model {
    fn is_open(&self) -> bool {
        self.was_open && !self.closed
    }

    /// What appending gives: nothing, or the name of the error.
    fn append(&mut self, piece: String) -> Option<&'static str> {
        if !self.was_open {
            return Some("AppenderNotOpenError");
        }
        if self.cancelled {
            return Some("CancelledError");
        }
        if self.closed {
            return Some("AppenderClosedError");
        }
        self.pieces.push(piece);
        None
    }
}

fn name<T>(result: Result<T, Error>) -> Option<String> {
    result.err().map(|error| error.type_name().to_owned())
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let context = PromisingContext::new()
        .with_virtual_clock()
        .with_error_level(LevelFilter::Off);
    let ended = context.run(async {
        let mut model = Model::default();
        let capture = choices.flip();
        let appender = StreamAppender::<u8>::new().with_capture_errors(capture);
        let promise = StreamedPromise::<u8, Vec<u8>>::collected(appender.stream());
        let mut handles = vec![appender];
        let mut read = 0;
        while let (false, Some(appender)) = (choices.is_over(), handles.last().cloned()) {
            let number = choices.byte();
            match number % 11 {
                0 | 1 => {
                    let expected = model.closed.then_some("AppenderClosedError");
                    assert_eq!(name(appender.open()).as_deref(), expected);
                    model.was_open |= expected.is_none();
                }
                2..=4 => {
                    let expected = model.append(number.to_string());
                    assert_eq!(name(appender.append(number)).as_deref(), expected);
                }
                5 => {
                    let text = format!("error {number}");
                    let expected = model.append(text.clone());
                    let appended = appender.append_error(Error::msg(text));
                    assert_eq!(name(appended).as_deref(), expected);
                }
                6 if choices.one_in(3) => {
                    appender.close();
                    model.closed = true;
                }
                7 if choices.one_in(3) => {
                    let text = format!("the end {number}");
                    let result = appender.close_with(Error::msg(&text));
                    assert_eq!(result.is_ok(), capture);
                    if capture && model.is_open() {
                        model.pieces.push(text);
                    }
                    model.closed = true;
                }
                8 if choices.one_in(3) => {
                    assert_eq!(appender.cancel(), !model.closed);
                    if !model.closed {
                        model.pieces.push("this was cancelled".into());
                        model.cancelled = true;
                        model.closed = true;
                    }
                }
                9 if handles.len() < 4 => handles.push(appender.clone()),
                9 => drop(handles.pop()),
                10 => {
                    for _ in 0..choices.below(4) {
                        miniagents::executor::yield_now().await;
                    }
                    let mut reader = promise.stream();
                    reader.skip_to(read);
                    while let Some(piece) = poll_once(reader.next()).await {
                        let Some(piece) = piece else {
                            assert!(model.closed && read == model.pieces.len());
                            break;
                        };
                        let piece =
                            piece.map_or_else(|error| error.to_string(), |it| it.to_string());
                        assert_eq!(piece, model.pieces[read]);
                        read += 1;
                    }
                }
                _ => {}
            }
            assert_eq!(appender.was_open(), model.was_open);
            assert_eq!(appender.is_open(), model.is_open());
        }
        handles.clear();
        if !model.closed {
            let text = "the appender was dropped before it was closed";
            model.pieces.push(text.into());
        }
        let all: Vec<_> = promise
            .stream()
            .map(|piece| piece.map_or_else(|error| error.to_string(), |it| it.to_string()))
            .collect()
            .await;
        assert_eq!(all, model.pieces);
        let whole = (&promise).await;
        let numbers: Result<Vec<u8>, _> = model.pieces.iter().map(|it| it.parse()).collect();
        assert_eq!(whole.ok(), numbers.ok());
        Ok(())
    });
    ended.unwrap();
}
