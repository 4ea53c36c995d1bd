//! Law 6: no wake-up is missed, whoever wakes and from wherever.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_lite::future::{or, yield_now as wake_and_yield, zip};
use futures_lite::{Stream, StreamExt};
use miniagents::executor::{Executor, gather, sleep, spawn, unblock, unblock_stream, yield_now};
use miniagents::{
    Error, Generator, Promise, PromisingContext, Result, StreamAppender, StreamedPromise, generate,
};

use crate::support::Events;

const WAKES: usize = 10_000;

#[test]
fn a_channel_fed_by_threads_loses_nothing() {
    let (sender, receiver) = async_channel::bounded(1);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || {
                for _ in 0..WAKES / 4 {
                    sender.send_blocking(()).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let count = Executor::new()
        .block_on(async move {
            let tasks: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    spawn(async move {
                        let mut count = 0;
                        while receiver.recv().await.is_ok() {
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            let mut count = 0;
            for task in tasks {
                count += task.await.unwrap();
            }
            count
        })
        .unwrap();
    assert_eq!(count, WAKES);
    threads.into_iter().for_each(|it| it.join().unwrap());
}

/// Wakes, from a thread, whatever waker it is sent, and drops it: no clone is left while the
/// executor looks whether anybody could still wake it.
#[test]
fn a_waker_that_is_consumed_by_a_thread_is_no_deadlock() {
    let (sender, wakers) = mpsc::channel::<(Arc<AtomicBool>, Waker)>();
    let thread = thread::spawn(move || {
        for (done, waker) in wakers {
            done.store(true, Ordering::Release);
            waker.wake();
        }
    });
    let wait = {
        let sender = sender.clone();
        move || {
            let (sender, done) = (sender.clone(), Arc::new(AtomicBool::new(false)));
            let mut sent = false;
            poll_fn(move |cx| {
                if done.load(Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    sender.send((done.clone(), cx.waker().clone())).unwrap();
                }
                Poll::Pending
            })
        }
    };
    Executor::new()
        .block_on(async move {
            for turn in 0..WAKES {
                if turn % 2 == 0 {
                    wait().await; // the main future
                } else {
                    spawn(wait()).await.unwrap();
                }
            }
        })
        .unwrap();
    drop(sender);
    thread.join().unwrap();
}

#[test]
fn blocking_work_wakes_its_task() {
    Executor::new()
        .block_on(async {
            for number in 0..WAKES / 10 {
                assert_eq!(unblock(move || number).await.unwrap(), number);
            }
            let numbers = unblock_stream(1, |sender| {
                for number in 0..WAKES {
                    sender.send(number).unwrap();
                }
            });
            let numbers: Vec<usize> = numbers.try_collect().await.unwrap();
            assert!(numbers.into_iter().eq(0..WAKES));
        })
        .unwrap();
}

#[test]
fn tokens_of_a_thread_reach_every_reader() {
    PromisingContext::new()
        .run(async {
            let source = unblock_stream(2, |sender| {
                for number in 0..1000 {
                    sender.send(number).unwrap();
                }
            });
            let promise = StreamedPromise::<i32, Vec<i32>>::collected(source);
            let readers: Vec<_> = (0..5)
                .map(|_| {
                    let promise = promise.clone();
                    spawn(async move { promise.stream().try_collect::<_, _, Vec<_>>().await })
                })
                .collect();
            for reader in readers {
                assert!(reader.await??.into_iter().eq(0..1000));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn waking_when_the_executor_is_gone_does_nothing() {
    let (sender, receiver) = mpsc::channel::<Waker>();
    let executor = Executor::new();
    let give_away = executor.spawn(poll_fn(move |cx| {
        sender.send(cx.waker().clone()).unwrap();
        Poll::<()>::Pending
    }));
    executor.block_on(yield_now()).unwrap();
    drop(executor);
    assert!(give_away.is_finished());
    let waker = receiver.recv().unwrap();
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().unwrap();
}

#[test]
fn combinators_with_the_wakers_of_the_task_work() {
    PromisingContext::new()
        .with_virtual_clock()
        .run(async {
            let slow = Promise::new(async {
                sleep(std::time::Duration::from_millis(2)).await;
                Ok(2)
            });
            let fast = Promise::new(async {
                wake_and_yield().await;
                Ok(1)
            });
            assert_eq!(or(slow.wait(), fast.wait()).await?, 1);
            let (slow, fast) = zip(slow.wait(), fast.wait()).await;
            assert_eq!((slow?, fast?), (2, 1));
            Ok(())
        })
        .unwrap();
}

type BoxedFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Many futures at once, each with a waker of its own; only those that were woken are polled.
struct Many<'a, T> {
    futures: Vec<Option<BoxedFuture<'a, T>>>,
    woken: Arc<Woken>,
}

struct Woken {
    numbers: Mutex<VecDeque<usize>>,
    outer: Mutex<Option<Waker>>,
}

struct OneOfMany {
    number: usize,
    woken: Arc<Woken>,
}

impl Wake for OneOfMany {
    fn wake(self: Arc<Self>) {
        self.woken.numbers.lock().unwrap().push_back(self.number);
        let outer = self.woken.outer.lock().unwrap().clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl<'a, T> Many<'a, T> {
    fn new(futures: Vec<BoxedFuture<'a, T>>) -> Self {
        let numbers = Mutex::new((0..futures.len()).collect());
        Many {
            futures: futures.into_iter().map(Some).collect(),
            woken: Arc::new(Woken {
                numbers,
                outer: Mutex::new(None),
            }),
        }
    }
}

impl<T> Stream for Many<'_, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        *self.woken.outer.lock().unwrap() = Some(cx.waker().clone());
        loop {
            let next = self.woken.numbers.lock().unwrap().pop_front();
            let Some(number) = next else { break };
            let waker = Waker::from(Arc::new(OneOfMany {
                number,
                woken: self.woken.clone(),
            }));
            let Some(future) = &mut self.futures[number] else {
                continue;
            };
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures[number] = None;
                return Poll::Ready(Some(value));
            }
        }
        if self.futures.iter().all(Option::is_none) {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

#[test]
fn combinators_with_wakers_of_their_own_work() {
    PromisingContext::new()
        .with_virtual_clock()
        .run(async {
            let appender = StreamAppender::new();
            let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
            let on_demand = Promise::with_start(false, async { Ok(3) });
            let mut all: Vec<BoxedFuture<'_, Result<i32>>> = Vec::new();
            for _ in 0..3 {
                let promise = promise.clone();
                all.push(Box::pin(async move {
                    promise.stream().try_fold(0, |sum, n| Ok(sum + n)).await
                }));
            }
            all.push(Box::pin(on_demand.wait()));
            all.push(Box::pin(async { spawn(async { 4 }).await }));
            all.push(Box::pin(async {
                sleep(std::time::Duration::from_millis(1)).await;
                yield_now().await;
                gather([spawn(async {})]).await;
                Ok(5)
            }));
            let many = spawn(Many::new(all).try_collect::<i32, _, Vec<_>>());
            appender.open()?;
            for number in 1..=10 {
                appender.append(number)?;
                yield_now().await;
            }
            appender.close();
            let mut results = many.await??;
            results.sort_unstable();
            assert_eq!(results, [3, 4, 5, 55, 55, 55]);
            Ok(())
        })
        .unwrap();
}

/// Emits one after the other and side by side, under the waker of whoever asks and under others.
fn side_by_side() -> Generator<'static, i32> {
    generate(|out| async move {
        zip(out.emit(1), out.emit(2)).await;
        let mut many = Many::new(vec![
            Box::pin(out.emit(3)) as BoxedFuture<'_, ()>,
            Box::pin(out.emit(4)),
        ]);
        let _: Vec<()> = (&mut many).collect().await;
        yield_now().await;
        out.emit(5).await;
        let given_up = out.emit(6);
        drop(given_up);
        out.emit_error(Error::msg("seven")).await;
        out.emit(8).await;
        panic!("and no more");
    })
}

#[test]
fn what_is_emitted_side_by_side_is_all_there() {
    let texts = |items: Vec<Result<i32>>| -> Vec<String> {
        let texts = items.into_iter().map(|item| match item {
            Ok(item) => item.to_string(),
            Err(error) => error.to_string(),
        });
        texts.collect()
    };
    let asked = Executor::new().block_on(side_by_side().take(7).collect());
    assert_eq!(
        texts(asked.unwrap()),
        ["1", "2", "3", "4", "5", "seven", "8"]
    );

    type Source = fn() -> StreamedPromise<i32, Rc<[i32]>>;
    let sources: [Source; 3] = [
        || StreamedPromise::collected(side_by_side()),
        || StreamedPromise::collected(side_by_side().map(|item| item)),
        || StreamedPromise::with_start(false, side_by_side(), |_| async { Ok(Rc::from([])) }),
    ];
    let read = sources.map(|source| {
        let run = PromisingContext::new().run(async move {
            let promise = source();
            let late = promise.stream();
            assert!(promise.stream().next().await.is_some());
            Result::Ok(late.collect::<Vec<_>>().await)
        });
        texts(run.unwrap())
    });
    assert_eq!(read[0][..7], ["1", "2", "3", "4", "5", "seven", "8"]);
    assert!(read[0].len() == 8 && read[0][7].contains("and no more"));
    assert_eq!([&read[1], &read[2]], [&read[0]; 2]);
}

#[test]
fn a_body_that_emits_goes_on_at_the_same_points_behind_a_combinator() {
    let events_of = |hidden: bool| {
        let events = Events::default();
        let noted = events.clone();
        let run = PromisingContext::new().run(async move {
            let in_body = noted.clone();
            let source = generate(|out| async move {
                out.emit(1).await;
                in_body.add("goes on");
                out.emit(2).await;
                in_body.add("goes on again");
                yield_now().await;
                in_body.add("ends");
                Ok(())
            });
            let promise = match hidden {
                false => StreamedPromise::<i32, Rc<[i32]>>::collected(source),
                true => StreamedPromise::collected(source.map(|item| item)),
            };
            let mut pieces = promise.stream();
            while let Some(piece) = pieces.try_next().await? {
                noted.add(format!("{piece} is read"));
            }
            Result::Ok(())
        });
        run.unwrap();
        events.take()
    };

    // The whole goes over each piece before it is read, in a turn of its own.
    let events = ["goes on", "goes on again", "1 is read", "ends", "2 is read"];
    assert_eq!(events_of(false), events);
    assert_eq!(events_of(true), events);
}

/// Polled once under another task's waker, then by the one that finishes it.
async fn poll_by_hand<F: Future + Unpin>(future: &Rc<RefCell<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future.borrow_mut()).poll(cx))).await
}

/// A value whose last owner may be a waiter in a list: a destructor that goes to the same list.
#[test]
fn a_waiter_that_is_replaced_may_drop_another_waiter() {
    let events = Events::default();
    let noted = events.clone();
    Executor::with_virtual_clock()
        .block_on(async move {
            let moved = Rc::new(RefCell::new(sleep(std::time::Duration::from_millis(5))));
            let inner = moved.clone();
            spawn(async move {
                assert!(poll_by_hand(&inner).await.is_pending());
                let kept = Rc::new(RefCell::new(sleep(std::time::Duration::from_millis(7))));
                let theirs = kept.clone();
                let other = spawn(async move { poll_by_hand(&theirs).await.is_pending() });
                assert!(other.await.unwrap());
                kept // it lives in the task, and the task in the timer of `moved`
            })
            .detach();
            for _ in 0..5 {
                yield_now().await;
            }
            assert!(poll_by_hand(&moved).await.is_pending());
            poll_fn(|cx| Pin::new(&mut *moved.borrow_mut()).poll(cx)).await;
            noted.add("the one that was moved is over");
        })
        .unwrap();
    assert_eq!(events.take(), ["the one that was moved is over"]);
}

#[test]
fn a_waiter_that_is_removed_may_drop_another_waiter() {
    PromisingContext::new()
        .run(async {
            let appender = StreamAppender::new();
            let stream = appender.stream();
            let promise = Promise::new(async move {
                let mut stream = stream;
                stream.next().await;
                Ok(())
            });
            let moved = Rc::new(RefCell::new(promise.wait()));
            let (inner, again) = (moved.clone(), promise.clone());
            spawn(async move {
                assert!(poll_by_hand(&inner).await.is_pending());
                let other = spawn(std::future::pending::<()>()); // so that `kept` is another task's
                let kept = Rc::new(RefCell::new(again.wait()));
                let theirs = kept.clone();
                spawn(async move {
                    assert!(poll_by_hand(&theirs).await.is_pending());
                })
                .await
                .unwrap();
                other.cancel();
                kept
            })
            .detach();
            for _ in 0..5 {
                yield_now().await;
            }
            drop(moved);
            appender.open()?.append(1)?;
            promise.await
        })
        .unwrap();
}

#[test]
fn the_waker_of_a_host_may_wake_when_it_is_dropped() {
    struct Host(Mutex<Option<Waker>>);
    impl Wake for Host {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Host {
        fn drop(&mut self) {
            if let Some(waker) = self.0.get_mut().unwrap().take() {
                waker.wake();
            }
        }
    }
    let executor = Executor::new();
    let place = Rc::new(Cell::new(None));
    let inner = place.clone();
    executor
        .spawn(poll_fn(move |cx| {
            inner.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }))
        .detach();
    let mut run = executor.run(std::future::pending::<()>());
    let first = Arc::new(Host(Mutex::new(None)));
    let waker = Waker::from(first.clone());
    assert!(
        Pin::new(&mut run)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *first.0.lock().unwrap() = place.take();
    drop((first, waker));
    let second = Waker::from(Arc::new(Host(Mutex::new(None))));
    assert!(
        Pin::new(&mut run)
            .poll(&mut Context::from_waker(&second))
            .is_pending()
    );
}

#[test]
fn a_task_that_is_woken_while_it_blocks_inside_gets_its_turn() {
    let events = Events::default();
    let noted = events.clone();
    let executor = Executor::new();
    let handle = executor.clone();
    executor
        .block_on(async move {
            let (sender, receiver) = async_channel::bounded::<()>(1);
            let inner = noted.clone();
            let task = spawn(async move {
                let mut receive = Box::pin(receiver.recv());
                poll_fn(|cx| {
                    let poll = receive.as_mut().poll(cx);
                    if poll.is_pending() {
                        // While this task is polled, another one wakes it.
                        let sender = sender.clone();
                        handle
                            .block_on(async move {
                                spawn(async move { sender.send(()).await.unwrap() })
                                    .await
                                    .unwrap();
                                yield_now().await;
                                yield_now().await;
                            })
                            .unwrap();
                        inner.add("blocked inside");
                    }
                    poll.map(|received| received.unwrap())
                })
                .await;
                inner.add("received");
            });
            task.await.unwrap();
            noted.add("main");
        })
        .unwrap();
    assert_eq!(events.take(), ["blocked inside", "received", "main"]);
}

#[test]
fn the_main_future_gets_the_turn_that_another_run_took_from_it() {
    let executor = Executor::with_virtual_clock();
    let handle = executor.clone();
    executor
        .block_on(async move {
            let (outer, inner) = (handle.clone(), handle);
            let task = outer.spawn(async move {
                // The main future is woken and its turn comes while this task blocks.
                inner
                    .block_on(async {
                        for _ in 0..3 {
                            yield_now().await;
                        }
                    })
                    .unwrap();
            });
            spawn(sleep(std::time::Duration::from_secs(1))).detach();
            yield_now().await;
            yield_now().await;
            assert_eq!(miniagents::executor::now().as_secs(), 0);
            task.await.unwrap();
        })
        .unwrap();
}
