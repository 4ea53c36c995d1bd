//! The executor is a future that anybody may poll: the order does not depend on who does.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use futures_lite::future::{pending, poll_fn, poll_once, yield_now as host_yields, zip};
use miniagents::executor::{Executor, gather, sleep, spawn, unblock, yield_now};
use miniagents::{
    Agent, InteractionContext, MiniAgents, Promise, PromisingContext, Result, StreamAppender,
    StreamedPromise,
};

use crate::support::Events;

const SHORT: Duration = Duration::from_millis(1);

/// A little of everything; it notes what happens.
async fn program(events: Events) -> Result<()> {
    async fn echo(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            ctx.reply(format!("re: {}", message.await?));
        }
        Ok(())
    }

    let appender = StreamAppender::new();
    let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
    let readers = ["a", "b"].map(|name| {
        let (promise, events) = (promise.clone(), events.clone());
        spawn(async move {
            let mut pieces = promise.stream();
            while let Some(piece) = pieces.next().await {
                events.add(format_args!("{name} {}", piece.unwrap()));
            }
        })
    });
    appender.open()?;
    for number in 0..2 {
        appender.append(number)?;
        yield_now().await;
        events.add(format_args!("appended {number}"));
    }
    for _ in 0..10 {
        yield_now().await; // the readers come to have read all before time counts
    }
    sleep(SHORT).await;
    events.add("slept");
    appender.append(unblock(|| 2).await?)?;
    appender.close();
    gather(readers).await;
    events.add(format_args!("{:?}", promise.await?));
    let call = echo.initiate_call();
    call.send_message("one");
    let mut replies = call.replies().stream();
    events.add(replies.try_next().await?.unwrap().await?);
    call.send_message("two").finish();
    events.add(replies.try_next().await?.unwrap().await?);
    Ok(())
}

const EXPECTED: [&str; 12] = [
    "appended 0", // the source had its turn after the first reader
    "appended 1",
    "a 0",
    "b 0",
    "a 1",
    "b 1",
    "slept",
    "a 2",
    "b 2",
    "[0, 1, 2]",
    "re: one",
    "re: two",
];

fn check(host: impl FnOnce(Events)) {
    let events = Events::default();
    host(events.clone());
    assert_eq!(events.take(), EXPECTED);
}

async fn scope(events: Events) {
    MiniAgents::new().scope(program(events)).await.unwrap();
}

#[test]
fn alone() {
    check(|events| MiniAgents::new().run(program(events)).unwrap());
}

#[test]
fn in_block_on_of_futures_lite() {
    check(|events| future::block_on(scope(events)));
}

#[test]
fn in_block_on_of_smol() {
    check(|events| smol::block_on(scope(events)));
}

#[test]
fn inside_of_another_executor_of_this_crate() {
    check(|events| Executor::new().block_on(scope(events)).unwrap());
    // One that blocks inside of a task of another.
    check(|events| {
        let outer = Executor::new();
        let task = outer.spawn(async move {
            let inner = Executor::new();
            inner.block_on(scope(events)).unwrap();
        });
        outer.block_on(task).unwrap().unwrap();
    });
}

#[test]
fn beside_other_tasks_of_a_local_executor() {
    check(|events| {
        let host = smol::LocalExecutor::new();
        let (turns, stop) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
        let (counted, stopped) = (turns.clone(), stop.clone());
        let other = host.spawn(async move {
            while !stopped.get() {
                counted.set(counted.get() + 1);
                host_yields().await;
            }
        });
        // Polled by the local executor and by nobody else: no reactor keeps time for the timers.
        future::block_on(host.run(async {
            let scope = host.spawn(scope(events));
            scope.await;
            stop.set(true);
            other.await;
        }));
        assert!(turns.get() > 10);
    });
}

#[test]
fn a_busy_scope_lets_the_tasks_of_the_host_go_on() {
    let done = Rc::new(Cell::new(false));
    let (place, stop) = (done.clone(), done.clone());
    let host = smol::LocalExecutor::new();
    future::block_on(host.run(async {
        host.spawn(async move {
            for _ in 0..10 {
                host_yields().await;
            }
            place.set(true);
        })
        .detach();
        host.spawn(async move {
            let busy = async {
                while !stop.get() {
                    yield_now().await; // never idle
                }
                Ok(())
            };
            PromisingContext::new().scope(busy).await.unwrap();
        })
        .await;
    }));
    assert!(done.get());
}

#[test]
fn two_scopes_in_one_host_have_nothing_to_do_with_each_other() {
    let (one, two) = (Events::default(), Events::default());
    future::block_on(zip(scope(one.clone()), scope(two.clone())));
    assert_eq!(one.take(), EXPECTED);
    assert_eq!(two.take(), EXPECTED);
}

#[test]
fn an_activated_context_is_run_by_its_driver() {
    check(|events| {
        let host = smol::LocalExecutor::new();
        future::block_on(host.run(async {
            let active = MiniAgents::new().activate();
            let driver = host.spawn(active.driver());
            let handle = active.executor().spawn(program(events));
            handle.await.unwrap().unwrap();
            active.finalize().await.unwrap();
            driver.await; // it ends
            assert!(PromisingContext::try_current().is_err());
        }));
    });
}

#[test]
fn tasks_of_the_host_use_what_an_activated_context_makes() {
    for context in [
        PromisingContext::new(),
        PromisingContext::new().with_virtual_clock(),
    ] {
        let host = smol::LocalExecutor::new();
        future::block_on(host.run(async {
            let active = context.activate();
            let driver = host.spawn(active.driver());
            host_yields().await; // the driver has nothing to do, and waits
            let appender = StreamAppender::new();
            let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
            let reader = host.spawn({
                let promise = promise.clone();
                async move { promise.await }
            });
            host_yields().await;
            appender.open().unwrap().append(1).unwrap();
            host_yields().await;
            appender.close();
            assert_eq!(reader.await.unwrap(), [1]);
            sleep(SHORT).await; // armed by a task of the host
            let promise = Promise::new(async {
                sleep(SHORT).await;
                Ok(2)
            });
            assert_eq!(promise.await.unwrap(), 2);
            active.finalize().await.unwrap();
            driver.await;
        }));
    }
}

#[test]
fn a_dropped_activation_makes_the_one_before_current_again() {
    let (outer, inner) = (PromisingContext::new(), PromisingContext::new());
    let first = outer.activate();
    let second = inner.activate();
    assert!(PromisingContext::current().parent().is_none());
    drop(second);
    drop(first);
    assert!(PromisingContext::try_current().is_err());
    assert!(Executor::current().is_none());
}

#[test]
fn an_activation_that_is_forgotten_ends_with_its_thread() {
    std::thread::spawn(|| {
        let active = PromisingContext::new().activate();
        drop(Promise::<()>::new(pending()));
        std::mem::forget(active);
    })
    .join()
    .unwrap();
}

#[test]
fn a_scope_that_is_dropped_half_way_drops_its_tasks() {
    struct Drops(Events);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    let events = Events::default();
    let inner = events.clone();
    future::block_on(async {
        let context = PromisingContext::new();
        let mut scope = Box::pin(context.scope(async move {
            let drops = Drops(inner.clone());
            spawn(async move {
                let _drops = drops;
                sleep(Duration::from_secs(3600)).await;
            })
            .detach();
            yield_now().await;
            inner.add("waits");
            pending::<Result<()>>().await
        }));
        assert!(poll_once(&mut scope).await.is_none());
    });
    assert_eq!(events.take(), ["waits", "dropped"]);
    assert!(PromisingContext::try_current().is_err());
}

#[test]
fn a_run_that_ends_leaves_what_is_ready_to_the_others() {
    let host = smol::LocalExecutor::new();
    let executor = Executor::new();
    future::block_on(host.run(async {
        let done = Rc::new(RefCell::new(Vec::new()));
        let (inner, wait) = (done.clone(), async_channel::bounded::<()>(1));
        let waits = host.spawn(executor.run(async move {
            wait.1.recv().await.unwrap();
        }));
        host_yields().await;
        let sender = wait.0;
        let short = executor.run(async move {
            // The two tasks are ready, and armed, when this run is over.
            spawn(async move {
                inner.borrow_mut().push("ready");
                sleep(SHORT).await;
                inner.borrow_mut().push("slept");
                sender.send(()).await.unwrap();
            })
            .detach();
        });
        short.await.unwrap();
        waits.await.unwrap();
        assert_eq!(*done.borrow(), ["ready", "slept"]);
    }));
}

#[test]
fn a_run_may_go_from_one_host_to_the_other() {
    let executor = Executor::new();
    let (sender, receiver) = async_channel::bounded::<i32>(1);
    let mut run = Box::pin(executor.run(async move { receiver.recv().await.unwrap() }));
    let first = smol::LocalExecutor::new();
    assert!(future::block_on(first.run(poll_once(&mut run))).is_none());
    let waker = std::thread::spawn(move || {
        std::thread::yield_now();
        sender.send_blocking(7).unwrap();
    });
    assert_eq!(smol::block_on(run).unwrap(), 7);
    waker.join().unwrap();
}

#[test]
fn a_host_that_polls_too_often_sees_the_same() {
    check(|events| {
        let mut scope = Box::pin(scope(events));
        future::block_on(poll_fn(|cx| {
            for _ in 0..3 {
                if scope.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }));
    });
}

#[test]
fn the_waker_of_a_host_may_poll_another_executor_when_it_is_dropped() {
    /// Is woken in an hour by the executor that it polls at its end.
    struct PollsAtTheEnd;
    impl Wake for PollsAtTheEnd {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for PollsAtTheEnd {
        fn drop(&mut self) {
            let executor = Executor::new();
            let run = pin!(executor.run(sleep(3600 * 1000 * SHORT)));
            assert!(
                run.poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
    }

    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let executor = Executor::new();
        let mut run = pin!(executor.run(sleep(3600 * 1000 * SHORT)));
        for _ in 0..3 {
            let waker = Waker::from(Arc::new(PollsAtTheEnd));
            let polled = run.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(10)).unwrap();
}
