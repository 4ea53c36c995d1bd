//! Promises: resolved once, read by anybody, and every ending reaches every reader.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_lite::{FutureExt, Stream, StreamExt, future, stream};
use miniagents::executor::{Awaitable, yield_now};
use miniagents::{
    Error, MessageClass, MessagePromise, MessageSequencePromise, MessageTokenAppender, MiniAgents,
    Promise, PromisingContext, Result, Start, StreamAppender, StreamedPromise, TextMessage, Token,
    Value, generate,
};

use crate::events::{STARTS, events_of, note};

type Numbers = StreamedPromise<i32, Rc<[i32]>>;

async fn collect(promise: Numbers) -> Result<Rc<[i32]>> {
    let pieces: Vec<_> = promise.stream().try_collect().await?;
    Ok(pieces.into())
}

/// Runs `test` once for each way to start.
fn for_each_start<F: Future<Output = Result<()>>>(test: impl Fn(Start) -> F) {
    for start in STARTS {
        let ended = PromisingContext::new().run(test(start));
        ended.unwrap_or_else(|error| panic!("{start:?}: {error}"));
    }
}

/// All that a new reader gets, errors as text.
async fn read(promise: &Numbers) -> Vec<Result<i32, String>> {
    let pieces = promise.stream();
    let mut pieces = pieces.map(|piece| piece.map_err(|error| error.to_string()));
    let mut read = Vec::new();
    while let Some(piece) = pieces.next().await {
        read.push(piece);
    }
    assert!(pieces.next().await.is_none(), "the end stays the end");
    read
}

/// An appender that has been filled with one to five and closed.
fn one_to_five() -> StreamAppender<i32> {
    let appender = StreamAppender::new();
    appender.open().unwrap();
    for number in 1..=5 {
        appender.append(number).unwrap();
    }
    appender.close();
    appender
}

#[test]
fn late_reader_sees_all_pieces_and_the_source_runs_once() {
    for_each_start(|start| async move {
        let iterations = Rc::new(Cell::new(0));
        let counted = iterations.clone();
        let source = generate(move |out| async move {
            for number in 1..=5 {
                counted.set(counted.get() + 1);
                out.emit(number).await;
            }
            Ok(())
        });
        let promise = Numbers::with_start(start, source, collect);

        let (first, second) = (read(&promise).await, read(&promise).await);
        let whole = promise.await?;

        assert_eq!(first, [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)]);
        assert_eq!(second, first);
        assert_eq!(*whole, [1, 2, 3, 4, 5]);
        assert_eq!(iterations.get(), 5);
        Ok(())
    });
}

#[test]
fn captured_error_is_a_piece_and_the_end_comes_after_it() {
    for_each_start(|start| async move {
        let appender = StreamAppender::new().with_capture_errors(true);
        let promise = Numbers::with_start(start, appender.stream(), collect);

        let filled = appender.fill(async {
            appender.append(1)?.append(2)?;
            Err(Error::msg("Test error"))
        });
        filled.await?;
        let (first, second) = (read(&promise).await, read(&promise).await);

        assert_eq!(first, [Ok(1), Ok(2), Err("Test error".into())]);
        assert_eq!(second, first);
        assert_eq!(promise.await.unwrap_err().to_string(), "Test error");
        Ok(())
    });
}

#[test]
fn error_that_is_not_captured_goes_to_the_writer_and_the_pieces_just_end() {
    for_each_start(|start| async move {
        let appender = StreamAppender::new().with_capture_errors(false);
        let promise = Numbers::with_start(start, appender.stream(), collect);

        let filled = appender.fill(async {
            appender.append(1)?.append(2)?;
            Err(Error::msg("Test error"))
        });
        let error = filled.await.unwrap_err();

        assert_eq!(error.to_string(), "Test error");
        assert_eq!(*promise.await?, [1, 2]);
        Ok(())
    });
}

#[test]
fn source_that_panics_gives_that_as_its_last_piece() {
    for_each_start(|start| async move {
        let source = stream::iter([1, 2]).map(|number| match number {
            1 => Ok(1),
            _ => panic!("the spring is dry"),
        });
        let promise = Numbers::with_start(start, source, collect);

        let (first, second) = (read(&promise).await, read(&promise).await);
        let error = promise.await.unwrap_err();

        let text = "a source of pieces panicked: the spring is dry";
        assert_eq!(first, [Ok(1), Err(text.into())]);
        assert_eq!(second, first);
        assert!(error.is_panic());
        assert_eq!(error.to_string(), text);
        Ok(())
    });
}

#[test]
fn source_that_ends_at_once_has_no_pieces() {
    for_each_start(|start| async move {
        let promise = Numbers::with_start(start, stream::empty(), collect);

        assert_eq!(read(&promise).await, []);
        assert_eq!(read(&promise).await, []);
        assert!(promise.await?.is_empty());
        Ok(())
    });
}

#[test]
fn appender_dropped_before_it_was_closed_ends_with_an_error() {
    for_each_start(|start| async move {
        let appender = StreamAppender::new();
        let promise = Numbers::with_start(start, appender.stream(), collect);

        appender.open()?.append(1)?;
        drop(appender);
        let (first, second) = (read(&promise).await, read(&promise).await);
        let error = promise.await.unwrap_err();

        let text = "the appender was dropped before it was closed";
        assert_eq!(first, [Ok(1), Err(text.into())]);
        assert_eq!(second, first);
        assert!(error.is_cancelled());
        Ok(())
    });
}

#[test]
fn source_dropped_with_its_context_ends_with_an_error() {
    let kept = RefCell::new(None);
    let context = PromisingContext::new();
    let mut scope = Box::pin(context.scope(async {
        let promise = Numbers::with_start(Start::Soon, stream::pending(), collect);
        kept.replace(Some(promise.clone()));
        promise.await
    }));

    let polled = future::block_on(future::poll_once(&mut scope));
    drop(scope);
    let promise = kept.take().expect("the program has run");
    let read = future::block_on(read(&promise));
    let whole = future::block_on(promise.wait());

    assert!(polled.is_none(), "nothing ever comes");
    let text = "the source of these pieces was dropped before its end";
    assert_eq!(read, [Err(text.into())]);
    assert!(whole.unwrap_err().is_cancelled());
}

#[test]
fn failing_resolver_gives_everybody_the_same_error() {
    for_each_start(|start| async move {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let promise = Numbers::with_start(start, one_to_five().stream(), |_| async move {
            counted.set(counted.get() + 1);
            Err(Error::msg("Test error"))
        });

        let early = promise.wait().await.unwrap_err();
        let pieces = read(&promise).await;
        let late = promise.await.unwrap_err();

        assert_eq!(early.to_string(), "Test error");
        assert!(early.ptr_eq(&late));
        assert_eq!(pieces, [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)]);
        assert_eq!(calls.get(), 1);
        Ok(())
    });
}

#[test]
fn panicking_resolver_gives_everybody_the_same_error() {
    for_each_start(|start| async move {
        let promise = Numbers::with_start(start, one_to_five().stream(), |_| async {
            panic!("no whole can be made");
        });

        let early = promise.wait().await.unwrap_err();
        let pieces = read(&promise).await;
        let late = promise.await.unwrap_err();

        assert!(early.is_panic());
        assert!(
            early
                .to_string()
                .ends_with("panicked: no whole can be made")
        );
        assert!(early.ptr_eq(&late));
        assert_eq!(pieces, [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)]);
        Ok(())
    });
}

#[test]
fn whole_is_made_once_and_is_the_same_for_all() {
    for_each_start(|start| async move {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let promise = Numbers::with_start(start, one_to_five().stream(), |promise| async move {
            counted.set(counted.get() + 1);
            collect(promise).await
        });

        let first = promise.wait().await?;
        let second = promise.wait().await?;
        let third = promise.get().expect("it is there")?;

        assert_eq!(*first, [1, 2, 3, 4, 5]);
        assert!(Rc::ptr_eq(&first, &second) && Rc::ptr_eq(&first, &third));
        assert_eq!(calls.get(), 1);
        Ok(())
    });
}

#[test]
fn promise_resolves_once_and_is_the_same_for_all() {
    for_each_start(|start| async move {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let promise = Promise::with_start(start, async move {
            counted.set(counted.get() + 1);
            Ok(Rc::new("value"))
        });

        let first = promise.wait().await?;
        let second = promise.clone().await?;

        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(calls.get(), 1);
        Ok(())
    });
}

#[test]
fn failed_promise_gives_everybody_the_same_error() {
    for_each_start(|start| async move {
        let promise = Promise::<()>::with_start(start, async { Err(Error::msg("boom")) });

        let first = promise.wait().await.unwrap_err();
        let second = promise.await.unwrap_err();

        assert!(first.ptr_eq(&second));
        Ok(())
    });
}

#[test]
fn resolver_gets_the_very_promise() {
    for_each_start(|start| async move {
        let handed = Rc::new(RefCell::new(None));
        let kept = handed.clone();
        let promise = Numbers::with_start(start, stream::once(Ok(1)), |promise| async move {
            kept.replace(Some(promise.clone()));
            collect(promise).await
        });

        promise.wait().await?;
        let handed = handed.take().expect("the resolver has run");

        assert!(handed.ptr_eq(&promise));
        Ok(())
    });
}

#[test]
fn prefilled_promises_are_done_at_once_whatever_the_context_starts() {
    for starts_soon in [true, false] {
        let context = PromisingContext::new().with_start_soon(starts_soon);
        let ended = context.run(async {
            let ready = Promise::ready(Rc::new(1));
            let failed = Promise::<()>::failed(Error::msg("prefilled"));
            let pieces = [Ok(1), Err(Error::msg("second piece")), Ok(3)];
            let streamed = Numbers::ready(pieces, Ok([1, 3].into()));

            assert!(ready.is_done() && failed.is_done() && streamed.is_done());
            assert!(Rc::ptr_eq(&ready.wait().await?, &ready.await?));
            let error = failed.wait().await.unwrap_err();
            assert_eq!(error.to_string(), "prefilled");
            assert!(error.ptr_eq(&failed.await.unwrap_err()));
            let all = [Ok(1), Err("second piece".into()), Ok(3)];
            assert_eq!(read(&streamed).await, all);
            assert_eq!(read(&streamed).await, all);
            assert_eq!(*streamed.await?, [1, 3]);
            Ok(())
        });
        ended.unwrap();
    }
}

#[test]
fn whole_of_prefilled_pieces_is_made_on_demand() {
    let context = PromisingContext::new();
    let made = context.run(async {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let promise = Numbers::of_pieces([Ok(1), Ok(2)], |promise| async move {
            counted.set(counted.get() + 1);
            collect(promise).await
        });

        assert_eq!(read(&promise).await, [Ok(1), Ok(2)]);
        assert_eq!((calls.get(), promise.is_done()), (0, false));
        assert_eq!(*promise.wait().await?, [1, 2]);
        assert_eq!(*promise.await?, [1, 2]);
        Ok(calls.get())
    });

    assert_eq!(made.unwrap(), 1);
}

#[test]
fn work_on_demand_never_runs_if_nobody_asks() {
    let work = |name: &'static str| async move {
        note(name);
        Ok(())
    };

    let events = events_of(async move {
        drop(Promise::with_start(Start::OnDemand, work("on demand")));
        drop(Promise::with_start(Start::Soon, work("soon")));
        drop(Promise::new(work("as the context says")));
        Ok(())
    });

    assert_eq!(events, ["soon", "as the context says"]);
}

#[test]
fn readers_are_independent_streams() {
    for_each_start(|start| async move {
        fn is_stream<T>(_: &impl Stream<Item = Result<T>>) {}
        let promise = Numbers::with_start(start, one_to_five().stream(), collect);
        let (mut ahead, mut behind) = (promise.stream(), promise.stream());
        is_stream(&ahead);

        let mut read = Vec::new();
        read.push(ahead.try_next().await?);
        read.push(ahead.try_next().await?);
        read.push(behind.try_next().await?);
        drop(ahead);
        read.push(behind.try_next().await?);
        read.push(promise.stream().try_next().await?);

        assert_eq!(read, [Some(1), Some(2), Some(1), Some(2), Some(1)]);
        Ok(())
    });
}

#[test]
fn a_long_line_of_readers_keeps_its_order_when_some_leave_and_others_come() {
    let read = Rc::new(RefCell::new(Vec::new()));
    let ended: Result<()> = PromisingContext::new().run(async {
        let appender = StreamAppender::new();
        let promise = Numbers::collected(appender.stream());
        appender.open()?;
        let context = PromisingContext::current();
        let start = |name: i32| {
            let (mut pieces, read) = (promise.stream(), read.clone());
            context.start_soon(async move {
                while let Some(piece) = pieces.try_next().await? {
                    read.borrow_mut().push((piece, name));
                }
                Ok(())
            })
        };
        let all_wait = || async {
            for _ in 0..40 {
                yield_now().await;
            }
        };

        let readers: Vec<_> = (0..11).map(start).collect();
        all_wait().await;
        for name in [0, 4, 5, 10] {
            readers[name].cancel();
        }
        all_wait().await;
        (11..14).for_each(|name| start(name).detach());
        for piece in 0..5 {
            appender.append(piece)?;
            all_wait().await;
        }
        appender.close();
        promise.wait().await.map(drop)
    });

    ended.unwrap();
    let left = [1, 2, 3, 6, 7, 8, 9, 11, 12, 13];
    let expected: Vec<_> = (0..5)
        .flat_map(|piece| left.map(|name| (piece, name)))
        .collect();
    assert_eq!(*read.borrow(), expected);
}

#[test]
fn the_whole_is_made_when_all_have_left_who_stood_behind_its_maker() {
    let whole: Result<Rc<[i32]>> = PromisingContext::new().run(async {
        let appender = StreamAppender::new();
        let promise = Numbers::collected(appender.stream());
        appender.open()?;
        let context = PromisingContext::current();
        for piece in 0..3 {
            let readers = [(); 3].map(|()| {
                let mut pieces = promise.stream();
                pieces.skip_to(piece as usize);
                context.start_soon(async move { pieces.try_next().await.map(drop) })
            });
            for _ in 0..10 {
                yield_now().await;
            }
            readers.iter().for_each(|reader| reader.cancel()); // all of them wait
            for _ in 0..10 {
                yield_now().await;
            }
            appender.append(piece)?;
            yield_now().await;
        }
        appender.close();
        promise.await
    });
    assert_eq!(*whole.unwrap(), [0, 1, 2]);
}

#[test]
fn a_promise_of_a_message_knows_its_class_and_what_was_given_before_its_text() {
    MiniAgents::new()
        .run(async {
            for class in [&MessageClass::TEXT, &MessageClass::ASSISTANT] {
                for (given, meanwhile) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let appender = MessageTokenAppender::new();
                    appender.open()?;
                    let mut promise = MessagePromise::of(class);
                    if given {
                        promise = promise.with("model", "m").with("tries", 1);
                    }
                    let promise = promise.append_from(&appender)?;
                    assert_eq!(promise.class_name(), class.name());
                    assert_eq!(promise.known_beforehand().len(), if given { 2 } else { 0 });
                    assert_eq!(promise.known_beforehand().contains("model"), given);

                    appender.append("long enough ")?.append("to be shared")?;
                    if meanwhile {
                        appender.set_field("tries", 2).set_field("finish", "stop");
                        appender.set_field("content", "not the text");
                        appender.set_field("finish", "length");
                    }
                    appender.close();
                    let other = promise.clone();
                    let message = promise.await?;
                    assert_eq!(message.class_name(), class.name());
                    assert_eq!(message.text(), "long enough to be shared");
                    let text = |key| message.get(key).and_then(Value::as_str);
                    assert_eq!(text("model"), given.then_some("m"));
                    assert_eq!(text("finish"), meanwhile.then_some("length"));
                    let tries = message.get("tries").and_then(Value::as_i64);
                    assert_eq!(
                        tries,
                        if given {
                            Some(1)
                        } else {
                            meanwhile.then_some(2)
                        }
                    );
                    assert_eq!(other.get().unwrap()?, message);
                    assert_eq!(appender.fields().get("finish").is_some(), meanwhile);
                }
            }
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn a_message_whose_tokens_alone_were_read_is_there_for_whoever_asks_later() {
    MiniAgents::new()
        .run(async {
            let tokens = stream::iter(["Hel", "lo"]).map(|text| Ok(Token::from(text)));
            let promise = MessagePromise::new(tokens);
            let sequence = MessageSequencePromise::of([&promise, &promise]);
            let read: Vec<_> = promise.stream().try_collect().await?;
            assert_eq!(read, ["Hel", "lo"].map(Token::from));
            sequence.start();
            for _ in 0..10 {
                yield_now().await;
            }

            assert!(!promise.cancel());
            assert!(sequence.is_done() && !sequence.cancel());
            let whole = sequence.get().unwrap()?;
            assert_eq!(whole.len(), 2);
            assert_eq!(whole[0].text(), "Hello");
            assert!(whole[0].fields().ptr_eq(promise.await?.fields()));
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn a_wait_that_has_handed_over_its_message_says_so_when_it_is_polled_again() {
    let ended = MiniAgents::new().run(async {
        let tokens = stream::iter([Ok(Token::from("streamed"))]);
        let known = TextMessage::new("known").build()?.promise();
        for promise in [known, MessagePromise::new(tokens)] {
            let mut wait = promise.wait();
            (&mut wait).await?;
            let again = AssertUnwindSafe(future::poll_once(wait))
                .catch_unwind()
                .await;
            let panic = again.unwrap_err();
            let said = panic.downcast_ref::<String>().unwrap();
            assert!(said.starts_with("`MessageWait` polled again"), "{said}");
        }
        Result::Ok(())
    });
    ended.unwrap();
}

#[test]
fn who_emits_keeps_no_pieces() {
    let piece: Rc<str> = "piece".into();
    let (emitted, kept) = (piece.clone(), Rc::new(RefCell::new(None)));
    let keeper = kept.clone();
    MiniAgents::new()
        .run(async move {
            let source = generate(move |out| async move {
                out.emit(emitted).await;
                keeper.replace(Some(out));
                Ok(())
            });
            let promise = StreamedPromise::<Rc<str>, Rc<[Rc<str>]>>::collected(source);
            promise.wait().await.map(drop)
        })
        .unwrap();
    assert!(kept.borrow().is_some());
    assert_eq!(Rc::strong_count(&piece), 1);
}
