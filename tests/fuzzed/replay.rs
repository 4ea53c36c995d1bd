//! Laws 4 to 6: a promise that streams, its readers, and a reference that is a list.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{Stream, StreamExt};
use log::LevelFilter;
use miniagents::executor::{sleep, spawn, yield_now};
use miniagents::laws::{self, Choices};
use miniagents::{Error, PromisingContext, Result, Start, StreamedPromise, generate};

/// What a source does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Piece(u8),
    Error(u8),
    Yield,
    Sleep(u8),
    /// The last.
    Panic,
}

fn history(choices: &mut Choices<'_>) -> Vec<Event> {
    let mut history = Vec::new();
    for _ in 0..choices.below(16) {
        history.push(match choices.below(9) {
            0..=3 => Event::Piece(choices.byte()),
            4 => Event::Error(choices.byte()),
            5 | 6 => Event::Yield,
            7 => Event::Sleep(choices.byte() % 3),
            _ => Event::Panic,
        });
        if history.last() == Some(&Event::Panic) {
            break;
        }
    }
    history
}

/// The reference: what every reader sees.
fn pieces_of(history: &[Event]) -> Vec<String> {
    let seen = history.iter().filter_map(|event| match event {
        Event::Piece(number) => Some(number.to_string()),
        Event::Error(number) => Some(format!("error {number}")),
        Event::Panic => Some("a source of pieces panicked: on purpose".into()),
        Event::Yield | Event::Sleep(_) => None,
    });
    seen.collect()
}

fn source(history: Vec<Event>, begun: Rc<Cell<usize>>) -> impl Stream<Item = Result<u8>> {
    generate(move |out| async move {
        begun.set(begun.get() + 1);
        for event in history {
            match event {
                Event::Piece(number) => out.emit(number).await,
                Event::Error(number) => {
                    let error = Error::msg(format_args!("error {number}"));
                    out.emit_error(error).await;
                }
                Event::Yield => yield_now().await,
                Event::Sleep(time) => sleep(Duration::from_millis(time.into())).await,
                // As a panic does, but without telling the hook, which fuzzers take for a find.
                Event::Panic => std::panic::resume_unwind(Box::new("on purpose")),
            }
        }
        Ok(())
    })
}

fn shown(piece: Result<u8>) -> String {
    piece.map_or_else(|error| error.to_string(), |piece| piece.to_string())
}

type Numbers = StreamedPromise<u8, Rc<Vec<String>>>;

/// How often the source of a promise and its resolver were begun.
#[derive(Clone, Default)]
struct Begun {
    source: Rc<Cell<usize>>,
    resolver: Rc<Cell<usize>>,
}

fn numbers(start: Start, history: &[Event], begun: &Begun) -> Numbers {
    let source = source(history.to_vec(), begun.source.clone());
    let resolver = begun.resolver.clone();
    Numbers::with_start(start, source, |all| async move {
        resolver.set(resolver.get() + 1);
        Ok(Rc::new(all.stream().map(shown).collect().await))
    })
}

/// A reader that begins late, pauses, and may go away; what it has seen, and whether that is all.
async fn reader(promise: Numbers, choices: Vec<u8>, seen: Rc<RefCell<Vec<String>>>) -> bool {
    let mut choices = Choices::new(&choices);
    sleep(Duration::from_millis(u64::from(choices.byte() % 6))).await;
    for _ in 0..choices.below(4) {
        yield_now().await;
    }
    let patience = if choices.flip() {
        choices.below(8)
    } else {
        usize::MAX
    };
    let mut pieces = promise.stream();
    while seen.borrow().len() < patience {
        let asks_once = choices.one_in(4);
        let piece = if asks_once {
            match poll_once(pieces.next()).await {
                Some(piece) => piece,
                None => continue,
            }
        } else {
            pieces.next().await
        };
        match piece {
            Some(piece) => seen.borrow_mut().push(shown(piece)),
            None => return true,
        }
        match choices.below(8) {
            1 => sleep(Duration::from_millis(1)).await,
            2 => yield_now().await,
            3 => pieces = promise_from(&promise, pieces.index()),
            _ => {}
        }
    }
    false
}

/// Another reader that begins where the first one was.
fn promise_from(promise: &Numbers, index: usize) -> miniagents::Replay<u8, Rc<Vec<String>>> {
    let mut pieces = promise.stream();
    pieces.skip_to(index);
    pieces
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let history = history(&mut choices);
    let expected = pieces_of(&history);
    let start = Start::from(choices.flip());
    let cancel_after = choices.one_in(3).then(|| choices.below(12));
    let readers = 1 + choices.below(5);
    let dropped = choices.below(readers * 2);
    let begun = Begun::default();
    let context = PromisingContext::new()
        .with_virtual_clock()
        .with_error_level(LevelFilter::Off);
    let ended = context.run(async {
        let promise = numbers(start, &history, &begun);
        let all: Vec<_> = (0..readers)
            .map(|_| {
                let choices = (0..8).map(|_| choices.byte()).collect();
                let seen = Rc::<RefCell<Vec<String>>>::default();
                let task = spawn(reader(promise.clone(), choices, seen.clone()));
                (task, seen)
            })
            .collect();
        let mut cancelled = false;
        if let Some(turns) = cancel_after {
            for _ in 0..turns {
                yield_now().await;
            }
            cancelled = promise.cancel();
        }
        if let Some((task, _)) = all.get(dropped) {
            task.cancel();
        }
        let mut late: Vec<_> = promise.stream().map(shown).collect().await;
        let waiter = promise.clone();
        let waiter = spawn(async move { waiter.await });
        let whole = (&promise).await;
        match (&whole, waiter.await?) {
            (Ok(one), Ok(other)) => assert!(Rc::ptr_eq(one, &other)),
            (Err(one), Err(other)) => assert!(one.ptr_eq(&other)),
            (one, other) => panic!("{one:?} for one and {other:?} for another"),
        }
        if cancelled {
            assert!(whole.is_err_and(|error| error.is_cancelled()));
            if late != expected {
                assert_eq!(late.pop().as_deref(), Some("this was cancelled"));
                assert_eq!(late, expected[..late.len()]);
                late.push("this was cancelled".into());
            }
        } else {
            assert_eq!(late, expected);
            assert_eq!(*whole?, expected);
        }
        for (number, (task, seen)) in all.into_iter().enumerate() {
            match task.await {
                Ok(true) => assert_eq!(*seen.borrow(), late),
                Ok(false) => assert_eq!(*seen.borrow(), late[..seen.borrow().len()]),
                Err(error) => {
                    assert!(error.is_cancelled() && number == dropped, "{error}");
                    assert_eq!(*seen.borrow(), late[..seen.borrow().len()]);
                }
            }
        }
        let again: Vec<_> = promise.stream().map(shown).collect().await;
        assert_eq!(again, late);
        Ok(())
    });
    ended.unwrap();
    for begun in [&begun.source, &begun.resolver] {
        assert!(begun.get() == 1 || begun.get() == 0 && cancel_after.is_some());
    }

    // And as the law kit sees it.
    if history.len() < 6 {
        laws::promise(|| numbers(start, &history, &begun)).unwrap();
    }
}
