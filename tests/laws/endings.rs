//! Laws 6, 7 and 9: every ending reaches every reader, and nothing is swallowed.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, Once};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{Stream, StreamExt, stream};
use miniagents::executor::{Executor, sleep, spawn, yield_now};
use miniagents::{
    Agent, Error, FlatSequence, InteractionContext, MessageSequencePromise, MiniAgents, Promise,
    PromisingContext, Result, Start, StreamAppender, StreamedPromise, generate,
};

use crate::support::Events;

fn run<T>(future: impl Future<Output = Result<T>>) -> T {
    PromisingContext::new()
        .with_virtual_clock()
        .run(future)
        .unwrap()
}

/// What a reader sees from here to the end.
async fn read(pieces: impl Stream<Item = Result<i32>>) -> Vec<String> {
    pieces
        .map(|piece| piece.map_or_else(|error| error.to_string(), |piece| piece.to_string()))
        .collect()
        .await
}

fn collected(start: Start, source: impl Stream<Item = Result<i32>> + 'static) -> Numbers {
    StreamedPromise::with_start(start, source, |promise| async move {
        promise.stream().try_collect().await
    })
}

type Numbers = StreamedPromise<i32, Vec<i32>>;

const STARTS: [Start; 2] = [Start::Soon, Start::OnDemand];

/// Calls `poll` until it panics, or has nothing more.
fn from_polls(
    mut poll: impl FnMut() -> Option<Result<i32>> + 'static,
) -> impl Stream<Item = Result<i32>> {
    stream::poll_fn(move |_| Poll::Ready(poll()))
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

/// Two readers at once and one that comes late see the same, which is `expected`; the whole fails.
async fn check(promise: &Numbers, expected: &[&str]) -> Error {
    let early = [spawn(read(promise.stream())), spawn(read(promise.stream()))];
    for reader in early {
        assert_eq!(reader.await.unwrap(), expected);
    }
    let error = promise.await.unwrap_err();
    assert_eq!(read(promise.stream()).await, expected);
    error
}

#[test]
fn a_source_that_panics_ends_with_that_for_everybody() {
    for start in STARTS {
        run(async move {
            let mut left = 2;
            let source = from_polls(move || {
                assert!(left > 0, "no more");
                left -= 1;
                Some(Ok(left))
            });
            let promise = collected(start, source);
            let error = check(
                &promise,
                &["1", "0", "a source of pieces panicked: no more"],
            )
            .await;
            assert!(error.is_panic());
            Ok(())
        });
    }
}

#[test]
fn a_source_whose_destructor_panics_ends_with_that_for_everybody() {
    for start in STARTS {
        run(async move {
            let bomb = PanicsWhenDropped;
            let mut left = 1;
            let source = from_polls(move || {
                let _bomb = &bomb;
                left -= 1;
                (left >= 0).then_some(Ok(left))
            });
            let promise = collected(start, source);
            let expected = ["0", "a source of pieces panicked: in a destructor"];
            assert!(check(&promise, &expected).await.is_panic());
            Ok(())
        });
    }
}

#[test]
fn an_error_is_a_piece_and_the_end_comes_after_it() {
    for start in STARTS {
        run(async move {
            let pieces = [Ok(1), Err(Error::msg("bad")), Ok(2)];
            let promise = collected(start, stream::iter(pieces));
            let error = check(&promise, &["1", "bad", "2"]).await;
            assert_eq!(error.to_string(), "bad");
            Ok(())
        });
    }
}

#[test]
fn a_resolver_that_panics_fails_for_everybody() {
    fn sync_panic(_: Numbers) -> std::future::Pending<Result<Vec<i32>>> {
        panic!("at once")
    }
    for start in STARTS {
        run(async move {
            let at_once = Numbers::with_start(start, stream::empty(), sync_panic);
            let later = Numbers::with_start(start, stream::empty(), |_| async {
                yield_now().await;
                panic!("later")
            });
            for (promise, text) in [(at_once, "at once"), (later, "later")] {
                let expected = format!("the work behind a promise panicked: {text}");
                for _ in 0..2 {
                    let promise = promise.clone();
                    let waiter = spawn(async move { promise.await });
                    assert_eq!(waiter.await?.unwrap_err().to_string(), expected);
                }
            }
            Ok(())
        });
    }
}

#[test]
fn a_flattener_that_panics_is_an_error_in_its_place() {
    run(async {
        let flatten = |item: i32| {
            assert!(item != 2, "two");
            stream::iter([Ok(item), Ok(item)])
        };
        let ordered = stream::iter([1, 2, 3]).map(Ok);
        let flat = FlatSequence::new(ordered, flatten).into_promise();
        let panicked = "a flattener panicked: two";
        assert_eq!(read(flat.stream()).await, ["1", "1", panicked, "3", "3"]);
        assert!(flat.await.unwrap_err().is_panic());

        let unordered = stream::iter([2]).map(Ok);
        let flat = FlatSequence::new(stream::empty(), flatten).with_unordered(unordered);
        assert_eq!(read(flat.into_promise().stream()).await, [panicked]);
        Ok(())
    });
}

#[test]
fn a_handler_that_panics_harms_nobody() {
    let context = PromisingContext::new();
    let events = Events::default();
    let noted = events.clone();
    context.on_promise_resolved(|_| -> std::future::Ready<Result<()>> { panic!("at once") });
    context.on_promise_resolved(|_| async { panic!("later") });
    context.on_promise_resolved(move |value| {
        noted.add(value.downcast_ref::<i32>().unwrap());
        async { Ok(()) }
    });
    let both = context.run(async {
        let ready = Promise::ready(1);
        Ok((ready.await?, Promise::new(async { Ok(2) }).await?))
    });
    assert_eq!(both.unwrap(), (1, 2));
    assert_eq!(events.take(), ["1", "2"]);
}

#[test]
fn a_piece_that_reads_its_promise_while_it_is_cloned_is_no_trouble() {
    struct Nosy(Rc<RefCell<Option<StreamedPromise<Nosy, usize>>>>, bool);
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            if self.1 {
                let promise = self.0.borrow().clone().unwrap();
                // It reads what is there, and a reader comes and goes.
                let mut pieces = promise.stream();
                let first = block_on(poll_once(pieces.next())).flatten();
                assert!(first.is_none_or(|piece| !piece.unwrap().1));
            }
            Nosy(self.0.clone(), false)
        }
    }
    for start in STARTS {
        run(async move {
            let place = Rc::new(RefCell::new(None));
            let pieces = vec![
                Ok(Nosy(place.clone(), false)),
                Ok(Nosy(place.clone(), true)),
            ];
            let promise =
                StreamedPromise::with_start(start, stream::iter(pieces), |all| async move {
                    Ok(all.stream().try_collect::<_, _, Vec<_>>().await?.len())
                });
            place.replace(Some(promise.clone()));
            assert_eq!((&promise).await?, 2);
            assert_eq!(promise.stream().count().await, 2);
            place.take();
            Ok(())
        });
    }
}

#[test]
fn a_dropped_appender_is_an_error_and_the_end() {
    run(async {
        let appender = StreamAppender::new();
        let promise = collected(Start::Soon, appender.stream());
        appender.open()?.append(1)?;
        drop(appender);
        let expected = ["1", "the appender was dropped before it was closed"];
        assert!(check(&promise, &expected).await.is_cancelled());

        let promise = collected(Start::OnDemand, StreamAppender::new().stream());
        assert!(check(&promise, &expected[1..]).await.is_cancelled());
        Ok(())
    });
}

#[test]
fn a_cancelled_appender_is_an_error_and_the_end() {
    run(async {
        let appender = StreamAppender::new();
        let promise = collected(Start::Soon, appender.stream());
        appender.open()?.append(1)?;
        assert!(appender.cancel());
        assert!(appender.append(2).unwrap_err().is_cancelled());
        let error = check(&promise, &["1", "this was cancelled"]).await;
        assert!(error.is_cancelled());
        Ok(())
    });
}

/// Polls `run` by hand until it has nothing more to do.
fn poll<F: Future>(run: Pin<&mut F>) -> Poll<F::Output> {
    run.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn when_the_executor_is_dropped_everybody_outside_gets_an_error_and_the_end() {
    let kept = Rc::new(RefCell::new(None));
    let place = kept.clone();
    let context = PromisingContext::new();
    let mut scope = Box::pin(context.scope(async move {
        let endless = || {
            generate(|out| async move {
                out.emit(1).await;
                pending().await
            })
        };
        let soon = collected(Start::Soon, endless());
        let demanded = collected(Start::OnDemand, endless());
        let flat = |start| {
            FlatSequence::new(stream::iter([()]).map(Ok), move |()| endless())
                .with_start(start)
                .into_promise()
        };
        let (flat_soon, flat_demanded) = (flat(Start::Soon), flat(Start::OnDemand));
        let mut reader = flat_demanded.stream();
        assert_eq!(reader.next().await.unwrap()?, 1);
        drop(reader);
        let whole = demanded.clone();
        spawn(async move { whole.await }).detach();
        let value = Promise::new(pending::<Result<i32>>());
        yield_now().await;
        place.replace(Some((soon, demanded, flat_soon, flat_demanded, value)));
        pending::<Result<()>>().await
    }));
    assert!(poll(scope.as_mut()).is_pending());
    drop(scope);
    let (soon, demanded, flat_soon, flat_demanded, value) = kept.take().unwrap();
    let dropped = "the source of these pieces was dropped before its end";
    for _ in 0..2 {
        assert_eq!(block_on(read(soon.stream())), ["1", dropped]);
        assert_eq!(block_on(read(flat_soon.stream())), ["1", dropped]);
        let pieces = block_on(read(flat_demanded.stream()));
        let dropped = "the task that flattens this sequence was dropped before its end";
        assert_eq!(pieces, ["1", dropped]);
    }
    assert!(block_on(soon.wait()).unwrap_err().is_cancelled());
    assert!(block_on(demanded.wait()).unwrap_err().is_cancelled());
    assert!(block_on(flat_soon.wait()).unwrap_err().is_cancelled());
    assert!(block_on(value.wait()).unwrap_err().is_cancelled());
}

#[test]
fn a_dropped_executor_drops_its_tasks() {
    let alive = Rc::new(());
    let executor = Executor::new();
    let inside = alive.clone();
    let handle = executor.spawn(async move {
        let _inside = inside;
        pending::<()>().await;
    });
    let never_polled = alive.clone();
    executor.block_on(yield_now()).unwrap();
    executor.spawn(async move { drop(never_polled) }).detach();
    let bad = executor.spawn(async move {
        let _bad = PanicsWhenDropped;
        pending::<()>().await;
    });
    executor.block_on(yield_now()).unwrap();
    drop(executor);
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(block_on(handle).unwrap_err().is_cancelled());
    assert!(block_on(bad).unwrap_err().is_panic());
}

#[test]
fn dropping_every_handle_does_not_cancel() {
    let events = Events::default();
    let noted = events.clone();
    run(async move {
        let (one, two, three) = (noted.clone(), noted.clone(), noted.clone());
        drop(Promise::new(async move {
            sleep(Duration::from_millis(1)).await;
            one.add("promise");
            Ok(())
        }));
        let source = generate(move |out| async move {
            for number in 0..2 {
                sleep(Duration::from_millis(2)).await;
                two.add(format_args!("piece {number}"));
                out.emit(number).await;
            }
            Ok(())
        });
        drop(collected(Start::Soon, source));
        drop(spawn(async move {
            sleep(Duration::from_millis(3)).await;
            three.add("task");
        }));
        noted.add("left");
        Ok(())
    });
    assert_eq!(
        events.take(),
        ["left", "promise", "piece 0", "task", "piece 1"]
    );
}

#[test]
fn dropped_readers_pass_on_what_they_held() {
    for start in STARTS {
        run(async move {
            let appender = StreamAppender::new();
            let promise = collected(start, appender.stream());
            let mut readers: Vec<_> = (0..4).map(|_| Box::pin(promise.stream())).collect();
            let stays = promise.clone();
            for reader in &mut readers[..2] {
                assert!(poll_once(reader.next()).await.is_none());
            }
            let stays = spawn(async move { read(stays.stream()).await });
            yield_now().await;
            for reader in &mut readers[2..] {
                assert!(poll_once(reader.next()).await.is_none());
            }
            appender.open()?;
            drop(readers.remove(0)); // the one past the gate
            appender.append(1)?;
            drop(readers.remove(0)); // the one that was told to pass
            appender.append(2)?;
            yield_now().await;
            drop(readers.remove(1)); // one in the line
            appender.close();
            assert_eq!(read(readers.remove(0)).await, ["1", "2"]);
            assert_eq!(stays.await?, ["1", "2"]);
            Ok(())
        });
    }
}

#[test]
fn the_end_of_an_agent_that_panics_reaches_every_reader() {
    async fn bad(ctx: InteractionContext) -> Result<()> {
        ctx.reply("first");
        yield_now().await;
        panic!("on purpose")
    }
    MiniAgents::new()
        .run(async {
            let replies: MessageSequencePromise = bad.trigger(());
            for _ in 0..2 {
                let mut messages = replies.stream();
                assert_eq!(messages.next().await.unwrap()?.await?.text(), "first");
                let error = messages.next().await.unwrap().unwrap_err();
                assert!(error.is_panic());
                assert_eq!(error.agent_trace(), ["BAD"]);
                assert!(messages.next().await.is_none());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_agent_that_panics_when_it_is_dropped_ends_its_replies_with_that() {
    struct PanicsInTheEnd(InteractionContext);
    impl Future for PanicsInTheEnd {
        type Output = Result<()>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    impl Drop for PanicsInTheEnd {
        fn drop(&mut self) {
            self.0.reply("said");
            std::panic::resume_unwind(Box::new("in the end"));
        }
    }

    let read = MiniAgents::new().run(async {
        let replies = (|ctx| PanicsInTheEnd(ctx)).trigger(());
        let mut reader = replies.stream();
        assert_eq!(reader.try_next().await?.unwrap().await?.text(), "said");
        let error = reader.try_next().await.unwrap_err();
        assert!(reader.try_next().await?.is_none());
        Result::Ok(error.to_string())
    });
    let read = read.unwrap();
    assert!(read.starts_with("agent `"), "{read}");
    assert!(read.ends_with("` panicked: in the end"), "{read}");
}

/// What was logged on this thread.
fn logged(program: impl FnOnce()) -> Vec<String> {
    struct Log(Mutex<Vec<(std::thread::ThreadId, String)>>);
    impl log::Log for Log {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let here = std::thread::current().id();
            let mut lines = self.0.lock().unwrap();
            lines.push((here, format!("{}: {}", record.level(), record.args())));
        }
        fn flush(&self) {}
    }
    static LOG: Log = Log(Mutex::new(Vec::new()));
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&LOG).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    program();
    let here = std::thread::current().id();
    let lines = LOG.0.lock().unwrap();
    let lines = lines.iter().filter(|(thread, _)| *thread == here);
    lines.map(|(_, line)| line.clone()).collect()
}

#[test]
fn errors_that_nobody_reads_are_logged_once() {
    let lines = logged(|| {
        run(async {
            drop(Promise::<()>::new(async {
                Err(Error::msg("of a promise"))
            }));
            let pieces = stream::iter([Err(Error::msg("of a piece"))]);
            drop(StreamedPromise::<i32, Vec<i32>>::collected(pieces));
            drop(
                PromisingContext::current()
                    .start_soon(async { Result::<()>::Err(Error::msg("of a task")) }),
            );
            drop(PromisingContext::current().start_soon::<()>(async { panic!("on purpose") }));
            Ok(())
        });
    });
    let mut lines: Vec<_> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    let expected = [
        "ERROR: an error in a promise was never read: Error: of a piece",
        "ERROR: an error in a promise was never read: Error: of a promise",
        "ERROR: an error in a promise was never read: Error: of a task",
        "ERROR: an error in a promise was never read: PanicError: a task panicked: on purpose",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_error_of_an_agent_that_nobody_reads_is_logged_once() {
    async fn inner(_: InteractionContext) -> Result<()> {
        Err(Error::msg("out of ink"))
    }
    async fn outer(ctx: InteractionContext) -> Result<()> {
        ctx.reply(inner.trigger(()));
        Ok(())
    }
    let lines = logged(|| {
        MiniAgents::new()
            .run(async {
                drop(outer.trigger(()));
                Ok(())
            })
            .unwrap();
    });
    let expected = "ERROR: an error in INNER <- OUTER was never read: Error: out of ink";
    assert_eq!(lines, [expected]);
}

#[test]
fn errors_that_somebody_reads_are_not_logged() {
    let lines = logged(|| {
        run(async {
            let promise = Promise::<()>::new(async { Err(Error::msg("of a promise")) });
            let pieces = collected(Start::Soon, stream::iter([Err(Error::msg("of a piece"))]));
            assert!(promise.await.is_err());
            assert!(pieces.stream().next().await.unwrap().is_err());
            assert!(pieces.await.is_err());
            Ok(())
        });
    });
    assert_eq!(lines, [] as [&str; 0]);
}

#[test]
fn what_waits_in_vain_is_told_so() {
    let error = PromisingContext::new()
        .run(async {
            let appender = StreamAppender::new();
            let promise = collected(Start::Soon, appender.stream());
            appender.open()?.append(1)?;
            promise.await
        })
        .unwrap_err();
    assert!(error.is_deadlock());
    let error = Executor::new()
        .block_on(poll_fn(|_| Poll::<()>::Pending))
        .unwrap_err();
    assert!(error.is_deadlock());
}
