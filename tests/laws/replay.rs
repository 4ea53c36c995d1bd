//! Laws 4 to 6: whoever reads a promise, and whenever, sees the same pieces, and nobody hangs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{Stream, StreamExt};
use miniagents::executor::{gather, sleep, spawn, yield_now};
use miniagents::{Error, Promise, PromisingContext, Result, Start, StreamedPromise, generate};

use crate::support::Random;

/// What a source does next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Piece(u64),
    Error(u64),
    Panic,
    Yield,
    Sleep(u64),
}

/// Random things to do, with at most one panic, which is the last.
fn random_history(random: &mut Random) -> Vec<Event> {
    let mut history: Vec<_> = (0..random.below(12))
        .map(|_| match random.below(8) {
            0..=3 => Event::Piece(random.next() % 100),
            4 => Event::Error(random.next() % 100),
            5 | 6 => Event::Yield,
            _ => Event::Sleep(random.next() % 3),
        })
        .collect();
    if random.one_in(4) {
        history.push(Event::Panic);
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

/// A source that does what the history says, and counts how often it is begun.
fn source(history: Vec<Event>, begun: Rc<Cell<usize>>) -> impl Stream<Item = Result<u64>> {
    generate(move |out| async move {
        begun.set(begun.get() + 1);
        for event in history {
            match event {
                Event::Piece(number) => out.emit(number).await,
                Event::Error(number) => {
                    out.emit_error(Error::msg(format_args!("error {number}")))
                        .await;
                }
                Event::Panic => panic!("on purpose"),
                Event::Yield => yield_now().await,
                Event::Sleep(time) => sleep(Duration::from_millis(time)).await,
            }
        }
        Ok(())
    })
}

fn shown(piece: Result<u64>) -> String {
    piece.map_or_else(|error| error.to_string(), |piece| piece.to_string())
}

type Numbers = StreamedPromise<u64, Rc<Vec<String>>>;

/// A reader that begins late, pauses, and may go away in between; what it has seen, and whether that
/// is all.
async fn random_reader(promise: Numbers, mut random: Random) -> (Vec<String>, bool) {
    sleep(Duration::from_millis(random.next() % 6)).await;
    for _ in 0..random.below(4) {
        yield_now().await;
    }
    let patience = if random.one_in(3) {
        random.below(8)
    } else {
        usize::MAX
    };
    let mut seen = Vec::new();
    let mut pieces = promise.stream();
    while seen.len() < patience {
        if random.one_in(5) {
            // It asks, and gives up or asks again.
            match poll_once(pieces.next()).await {
                Some(Some(piece)) => seen.push(shown(piece)),
                Some(None) => return (seen, true),
                None if patience < usize::MAX && random.one_in(2) => return (seen, false),
                None => {}
            }
            continue;
        }
        match pieces.next().await {
            Some(piece) => seen.push(shown(piece)),
            None => return (seen, true),
        }
        if random.one_in(4) {
            sleep(Duration::from_millis(random.next() % 3)).await;
        }
    }
    (seen, false)
}

#[test]
fn every_reader_of_a_random_history_sees_the_same() {
    std::panic::set_hook(Box::new(|_| {})); // thousands of panics on purpose
    let mut panics = Vec::new();
    for seed in 0..3000 {
        let checked = std::panic::catch_unwind(|| check(seed));
        panics.extend(checked.err().map(|_| seed));
    }
    drop(std::panic::take_hook());
    assert!(panics.is_empty(), "seeds {panics:?}");
    check(0);
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let history = random_history(&mut random);
    let expected = pieces_of(&history);
    let start = if random.one_in(2) {
        Start::Soon
    } else {
        Start::OnDemand
    };
    let begun = Rc::new(Cell::new(0));
    let resolved = Rc::new(Cell::new(0));
    let counted = resolved.clone();
    let everything = PromisingContext::new().with_virtual_clock().run(async {
        let source = source(history.clone(), begun.clone());
        let promise = Numbers::with_start(start, source, |all| async move {
            counted.set(counted.get() + 1);
            Ok(Rc::new(all.stream().map(shown).collect().await))
        });
        let readers: Vec<_> = (0..1 + random.below(5))
            .map(|_| {
                let random = Random(random.next());
                Rc::new(RefCell::new(Some(spawn(random_reader(
                    promise.clone(),
                    random,
                )))))
            })
            .collect();
        let cancelled = random.below(readers.len() * 2);
        sleep(Duration::from_millis(random.next() % 6)).await;
        if let Some(reader) = readers.get(cancelled) {
            reader.borrow().as_ref().unwrap().cancel();
        }
        for (number, reader) in readers.iter().enumerate() {
            let reader = reader.take().unwrap();
            match reader.await {
                Ok((seen, true)) => assert_eq!(seen, expected),
                Ok((seen, false)) => assert_eq!(seen, expected[..seen.len()]),
                Err(error) => assert!(error.is_cancelled() && number == cancelled),
            }
        }
        // Late ones: for the whole, and for the pieces.
        let waiters = [promise.clone(), promise.clone()]
            .map(|promise| spawn(async move { promise.await.unwrap() }));
        for waiter in waiters {
            assert_eq!(*waiter.await?, expected);
        }
        let late: Vec<_> = promise.stream().map(shown).collect().await;
        assert_eq!(late, expected);
        Ok(promise)
    });
    drop(everything.unwrap());
    assert_eq!((begun.get(), resolved.get()), (1, 1));
}

#[test]
fn every_awaiter_gets_the_one_value_or_the_one_error() {
    for start in [Start::Soon, Start::OnDemand] {
        let run = PromisingContext::new().with_virtual_clock();
        run.run(async {
            let runs = Rc::new(Cell::new(0));
            let (one, two) = (runs.clone(), runs.clone());
            let value = Promise::with_start(start, async move {
                one.set(one.get() + 1);
                yield_now().await;
                Ok(Rc::new(7))
            });
            let error = Promise::<()>::with_start(start, async move {
                two.set(two.get() + 1);
                yield_now().await;
                Err(Error::msg("no"))
            });
            let early: Vec<_> = (0..3)
                .map(|_| {
                    let (value, error) = (value.clone(), error.clone());
                    spawn(async move { (value.await.unwrap(), error.await.unwrap_err()) })
                })
                .collect();
            gather([value.clone(), value.clone()]).await;
            let (late, failure) = ((&value).await?, (&error).await.unwrap_err());
            for awaiter in early {
                let (same, same_failure) = awaiter.await?;
                assert!(Rc::ptr_eq(&same, &late));
                assert!(same_failure.ptr_eq(&failure));
            }
            assert_eq!(runs.get(), 2);
            Ok(())
        })
        .unwrap();
    }
}
