//! Laws 1 to 3: who runs when. The traces that are said to be asyncio's were printed by the same
//! programs under CPython 3.11.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{pending, poll_once};
use miniagents::executor::{
    Executor, JoinHandle, TaskGroup, TaskLocal, gather, now, sleep, spawn, timeout, yield_now,
};
use miniagents::{Promise, PromisingContext, Result, StreamAppender, StreamedPromise};

use crate::support::Events;

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Runs `program` under a virtual clock and gives what it noted.
fn trace<F: Future<Output = ()>>(program: impl FnOnce(Events) -> F) -> Vec<String> {
    let events = Events::default();
    let executor = Executor::with_virtual_clock();
    executor.block_on(program(events.clone())).unwrap();
    events.take()
}

/// As [`trace`], inside of a context.
fn trace_promises<F: Future<Output = Result<()>>>(
    program: impl FnOnce(Events) -> F,
) -> Vec<String> {
    let events = Events::default();
    let context = PromisingContext::new().with_virtual_clock();
    context.run(program(events.clone())).unwrap();
    events.take()
}

async fn worker(events: Events, name: &'static str, turns: usize) {
    events.add(format_args!("{name}0"));
    for turn in 1..=turns {
        yield_now().await;
        events.add(format_args!("{name}{turn}"));
    }
}

#[test]
fn smoke() {
    assert_eq!(Executor::new().block_on(async { 1 }).unwrap(), 1);
}

#[test]
fn a_turn_takes_what_was_ready_when_it_began() {
    let events = trace(|events| async move {
        let first = spawn(worker(events.clone(), "a", 2));
        let second = spawn(worker(events.clone(), "b", 1));
        events.add("spawned"); // and nothing has run
        first.await.unwrap();
        second.await.unwrap();
    });
    assert_eq!(events, ["spawned", "a0", "b0", "a1", "b1", "a2"]);
}

#[test]
fn what_is_spawned_in_a_turn_waits_for_the_next() {
    let events = trace(|events| async move {
        let inner = events.clone();
        spawn(async move {
            spawn(worker(inner.clone(), "inner", 0)).detach();
            inner.add("outer");
        })
        .detach();
        let other = spawn(worker(events.clone(), "other", 1));
        other.await.unwrap();
    });
    assert_eq!(events, ["outer", "other0", "inner0", "other1"]);
}

#[test]
fn a_task_is_queued_once_however_often_it_is_woken() {
    let events = trace(|events| async move {
        let waker = Rc::new(RefCell::new(None));
        let (place, inner) = (waker.clone(), events.clone());
        let task = spawn(std::future::poll_fn(move |cx| {
            inner.add("polled");
            if place.borrow_mut().replace(cx.waker().clone()).is_none() {
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        }));
        yield_now().await;
        let waker = waker.borrow().clone().unwrap();
        for _ in 0..5 {
            waker.wake_by_ref();
        }
        events.add("woken");
        task.await.unwrap();
        waker.wake(); // nothing is left to wake
        yield_now().await;
    });
    assert_eq!(events, ["polled", "woken", "polled"]);
}

#[test]
fn waiting_for_what_is_there_does_not_switch() {
    let events = trace_promises(|events| async move {
        let done = spawn(async { 1 });
        let resolved = Promise::ready(2);
        let pieces = StreamedPromise::<i32, Vec<i32>>::ready([Ok(3), Ok(4)], Ok(vec![3, 4]));
        yield_now().await;
        let other = spawn(worker(events.clone(), "other", 0));
        done.await?;
        resolved.await?;
        (&pieces).await?;
        pieces.stream().try_collect::<_, _, Vec<_>>().await?;
        gather(Vec::<JoinHandle<()>>::new()).await;
        timeout(ms(1), async {}).await?;
        events.add("main has not switched");
        other.await
    });
    assert_eq!(events, ["main has not switched", "other0"]);
}

#[test]
fn readers_are_woken_in_the_order_of_waiting() {
    let events = trace_promises(|events| async move {
        let appender = StreamAppender::new();
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        let readers: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                let (promise, events) = (promise.clone(), events.clone());
                spawn(async move {
                    let mut pieces = promise.stream();
                    while let Some(piece) = pieces.next().await {
                        events.add(format_args!("{name}{}", piece.unwrap()));
                    }
                    events.add(format_args!("{name} ends"));
                })
            })
            .collect();
        yield_now().await;
        appender.open()?.append(1)?;
        sleep(ms(1)).await;
        appender.append(2)?;
        sleep(ms(1)).await;
        appender.close();
        gather(readers).await;
        Ok(())
    });
    let expected = [
        "a1", "b1", "c1", "a2", "b2", "c2", "a ends", "b ends", "c ends",
    ];
    assert_eq!(events, expected);
}

#[test]
fn the_whole_has_a_turn_for_each_piece_before_the_readers() {
    let events = trace_promises(|events| async move {
        let appender = StreamAppender::new();
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        let reader = spawn({
            let (mut pieces, events) = (promise.stream(), events.clone());
            async move {
                while let Some(piece) = pieces.next().await {
                    events.add(format_args!("read {}", piece.unwrap()));
                }
                events.add("read the end");
            }
        });
        sleep(ms(1)).await; // everybody waits
        spawn(worker(events.clone(), "turn ", 8)).detach();
        appender.open()?.append(1)?.append(2)?;
        appender.close();
        gather([reader]).await;
        assert_eq!(promise.await?, [1, 2]);
        Ok(())
    });
    let expected = [
        "turn 0", // the source is read
        "turn 1", // the whole goes over the first piece, and then waits in the line again
        "turn 2",
        "read 1",
        "turn 3", // over the second
        "turn 4",
        "read 2",
        "turn 5", // over the end
        "turn 6",
        "read the end",
        "turn 7",
        "turn 8",
    ];
    assert_eq!(events, expected);
}

#[test]
fn timers_of_one_instant_fire_in_the_order_of_arming() {
    let events = trace(|events| async move {
        let sleeper = |name: &'static str, first: u64, then: u64| {
            let events = events.clone();
            spawn(async move {
                sleep(ms(first)).await;
                sleep(ms(then)).await;
                events.add(format_args!("{name} at {:?}", now()));
            })
        };
        // All are due at ten; the second sleep of the later ones is armed later.
        let tasks = [
            sleeper("a", 5, 5),
            sleeper("b", 0, 10),
            sleeper("c", 3, 7),
            sleeper("d", 0, 10),
        ];
        gather(tasks).await;
    });
    let expected = ["b at 10ms", "d at 10ms", "c at 10ms", "a at 10ms"];
    assert_eq!(events, expected);
}

#[test]
fn virtual_time_moves_only_when_nothing_is_ready() {
    let events = trace(|events| async move {
        let timer = events.clone();
        let task = spawn(async move {
            sleep(Duration::from_nanos(1)).await;
            timer.add(format_args!("timer at {:?}", now()));
        });
        for _ in 0..3000 {
            yield_now().await; // longer than a run goes on without its host
        }
        events.add(format_args!("busy until {:?}", now()));
        task.await.unwrap();
        sleep(Duration::from_secs(1_000_000_000)).await;
        events.add(format_args!("{} s later", now().as_secs()));
    });
    let expected = ["busy until 0ns", "timer at 1ns", "1000000000 s later"];
    assert_eq!(events, expected);
}

#[test]
fn a_dropped_timer_does_not_move_time() {
    let events = trace(|events| async move {
        let mut long = Box::pin(sleep(ms(100)));
        assert!(poll_once(&mut long).await.is_none());
        drop(long);
        sleep(ms(1)).await;
        events.add(format_args!("{:?}", now()));
    });
    assert_eq!(events, ["1ms"]);
}

#[test]
fn the_future_wins_over_its_timeout_when_both_are_there() {
    let events = trace(|events| async move {
        let both = timeout(ms(5), sleep(ms(5))).await;
        events.add(format_args!("{:?}", both.is_ok()));
        let late = timeout(ms(5), sleep(ms(6))).await.unwrap_err();
        events.add(format_args!("{} at {:?}", late.is_timeout(), now()));
        let now_or_never = timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        events.add(format_args!("{} at {:?}", now_or_never.is_timeout(), now()));
    });
    assert_eq!(events, ["true", "true at 10ms", "true at 10ms"]);
}

#[test]
fn gather_takes_as_many_turns_as_in_asyncio() {
    let events = trace(|events| async move {
        let ticker = events.clone();
        let ticker = spawn(async move {
            for tick in 0..14 {
                ticker.add(format_args!("t{tick}"));
                sleep(Duration::ZERO).await;
            }
        });
        let a = Rc::new(spawn(worker(events.clone(), "a", 1)));
        let b = Rc::new(spawn(worker(events.clone(), "b", 3)));
        gather([a.clone(), b.clone()]).await;
        events.add("gathered");
        gather([a.clone(), b]).await;
        events.add("gathered again");
        gather(Vec::<JoinHandle<()>>::new()).await;
        events.add("gathered nothing");
        a.finished().await;
        events.add("a is there");
        let mut one = gather([spawn(worker(events.clone(), "c", 0))]);
        (&mut one).await;
        events.add("gathered one");
        (&mut one).await;
        events.add("asked again");
        ticker.await.unwrap();
    });
    let asyncio = [
        "t0",
        "a0",
        "b0",
        "t1",
        "a1",
        "b1",
        "t2",
        "b2",
        "t3",
        "b3",
        "t4",
        "t5",
        "gathered",
        "t6",
        "t7",
        "gathered again",
        "gathered nothing",
        "a is there",
        "t8",
        "c0",
        "t9",
        "t10",
        "gathered one",
        "asked again",
        "t11",
        "t12",
        "t13",
    ];
    assert_eq!(events, asyncio);
}

/// Somebody waits for two tasks between others who wait for the last of them, before and after; each who is
/// woken starts a task.
fn woken_around<F: Future<Output = ()> + 'static>(
    wait_for_all: impl FnOnce(TaskGroup, [Rc<JoinHandle<()>>; 2]) -> F + 'static,
) -> Vec<String> {
    trace(|events| async move {
        let group = TaskGroup::new();
        let tasks = [2, 5].map(|turns| {
            let task = group.spawn(async move {
                for _ in 0..turns {
                    yield_now().await;
                }
            });
            Rc::new(task)
        });
        let waiter = |name: &'static str, wait: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            let events = events.clone();
            spawn(async move {
                wait.await;
                events.add(name);
                spawn(worker(events.clone(), "started by ", 0)).detach();
                spawn(worker(events, name, 1)).detach();
            })
            .detach();
        };
        waiter("before", Box::pin(tasks[1].finished()));
        waiter("all", Box::pin(wait_for_all(group, tasks.clone())));
        yield_now().await;
        waiter("after", Box::pin(tasks[1].finished()));
        for _ in 0..20 {
            yield_now().await;
        }
    })
}

#[test]
fn waiting_for_a_group_takes_the_turns_of_gathering_its_tasks() {
    let flushed = woken_around(|group, _| async move { group.flush().await });
    let gathered = woken_around(|_, tasks| async move {
        gather(tasks).await;
    });
    assert_eq!(flushed, gathered);
    assert_eq!(flushed[..2], ["before", "after"]); // `all` is told between them, and goes on a turn later
    let place = |what| flushed.iter().position(|event| event == what).unwrap();
    assert!(place("before0") < place("all") && place("all") < place("after0"));
}

#[test]
fn a_group_is_waited_for_by_several_and_waits_for_what_comes_meanwhile() {
    let events = trace(|events| async move {
        let group = TaskGroup::new();
        let spawned = |name, turns| {
            let task = worker(events.clone(), name, turns);
            group.spawn(task).detach();
        };
        let flush = |name| {
            let (group, events) = (group.clone(), events.clone());
            spawn(async move {
                group.flush().await;
                events.add(name);
            })
        };
        spawned("a", 1);
        let first = flush("first");
        yield_now().await;
        spawned("b", 4);
        drop(flush("second"));
        let given_up = timeout(ms(0), group.flush()).await;
        assert!(given_up.unwrap_err().is_timeout());
        first.await.unwrap();
        assert!(group.is_empty());
        yield_now().await;
    });
    assert_eq!(
        events,
        [
            "a0", "a1", "b0", "b1", "b2", "b3", "b4",
            "second", // waited for b from the beginning
            "first",  // waited for b only when a had ended
        ]
    );
}

#[test]
fn joining_wakes_as_in_asyncio() {
    let events = trace(|events| async move {
        let task = Rc::new(spawn(worker(events.clone(), "w", 1)));
        let waiters: Vec<_> = ["x", "y", "z"]
            .into_iter()
            .map(|name| {
                let (task, events) = (task.clone(), events.clone());
                spawn(async move {
                    events.add(format_args!("{name} waits"));
                    task.finished().await;
                    events.add(format_args!("{name} goes on"));
                })
            })
            .collect();
        events.add("spawned");
        task.finished().await;
        events.add("main goes on");
        for waiter in waiters {
            waiter.await.unwrap();
        }
        events.add("end");
    });
    let asyncio = [
        "spawned",
        "w0",
        "x waits",
        "y waits",
        "z waits",
        "w1",
        "main goes on", // it began to wait before the others
        "x goes on",
        "y goes on",
        "z goes on",
        "end",
    ];
    assert_eq!(events, asyncio);
}

#[test]
fn cancelling_takes_as_many_turns_as_in_asyncio() {
    /// Notes when it is dropped.
    struct Drops(Events, &'static str);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.add(format_args!("{} drops", self.1));
        }
    }
    async fn never(events: Events, name: &'static str) {
        events.add(format_args!("{name} starts"));
        let _drops = Drops(events, name);
        pending::<()>().await;
    }
    let events = trace(|events| async move {
        let watch = |name: &'static str, task: Rc<JoinHandle<()>>| {
            let events = events.clone();
            spawn(async move {
                task.finished().await;
                events.add(format_args!("{name} was cancelled"));
            })
            .detach();
        };
        let ticker = spawn(worker(events.clone(), "t", 9));
        let waiting = Rc::new(spawn(never(events.clone(), "w")));
        watch("w", waiting.clone());
        sleep(Duration::ZERO).await;
        let queued = Rc::new(spawn(never(events.clone(), "q")));
        queued.cancel(); // before its first turn
        waiting.cancel();
        waiting.cancel();
        events.add("cancelled q and w");
        watch("q", queued.clone());
        let me = Rc::new(RefCell::new(None::<Rc<JoinHandle<()>>>));
        let (inner, handle) = (events.clone(), me.clone());
        let selfish = Rc::new(spawn(async move {
            inner.add("s starts");
            let _drops = Drops(inner.clone(), "s");
            handle.borrow().as_ref().unwrap().cancel();
            inner.add("s cancelled itself");
            sleep(Duration::ZERO).await;
            inner.add("never");
        }));
        me.replace(Some(selfish.clone()));
        watch("s", selfish);
        ticker.await.unwrap();
        queued.cancel(); // after its end
        me.take();
        events.add("end");
    });
    // asyncio throws into a running task at its next turn: `s drops` is there one turn later. Here the task that cancels itself ends at its suspension.
    let expected = [
        "t0",
        "w starts",
        "cancelled q and w",
        "t1",
        "w drops",
        "q was cancelled",
        "s starts",
        "s cancelled itself",
        "s drops",
        "s was cancelled", // the watcher of it had not begun to wait
        "t2",
        "w was cancelled",
        "t3",
        "t4",
        "t5",
        "t6",
        "t7",
        "t8",
        "t9",
        "end",
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_cancelled_task_gives_a_cancelled_error() {
    trace(|_| async {
        let task = spawn(pending::<()>());
        task.cancel();
        assert!(!task.is_finished()); // its turn has not come
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_value_that_came_before_the_cancelling_stays() {
    trace(|_| async {
        let task = spawn(async { 7 });
        yield_now().await;
        task.cancel();
        assert_eq!(task.await.unwrap(), 7);
    });
}

#[test]
fn sleepers_wake_as_in_asyncio() {
    let events = trace(|events| async move {
        let sleeper = |name: &'static str, time| {
            let events = events.clone();
            spawn(async move {
                sleep(ms(time)).await;
                events.add(name);
            })
        };
        let tasks = [
            sleeper("20", 20),
            sleeper("10", 10),
            sleeper("zero", 0),
            sleeper("30", 30),
        ];
        sleep(ms(25)).await;
        events.add("main at 25");
        gather(tasks).await;
        events.add("end");
    });
    assert_eq!(events, ["zero", "10", "20", "main at 25", "30", "end"]);
}

#[test]
fn task_locals_are_inherited_as_in_asyncio() {
    static NAME: TaskLocal<&str> = TaskLocal::new();
    async fn child(events: Events, name: &'static str) {
        events.add(format_args!("{name} {}", NAME.get().unwrap()));
        NAME.set(name);
        sleep(Duration::ZERO).await;
        events.add(format_args!("{name} {}", NAME.get().unwrap()));
        let grandchild = spawn(async move {
            events.add(format_args!("grand of {name} {}", NAME.get().unwrap()));
            NAME.set("x");
        });
        grandchild.await.unwrap();
    }
    let events = trace(|events| async move {
        NAME.set("main");
        let a = spawn(child(events.clone(), "a"));
        NAME.set("main2");
        let b = spawn(child(events.clone(), "b"));
        gather([a, b]).await;
        events.add(format_args!("main {}", NAME.get().unwrap()));
    });
    let asyncio = [
        "a main",
        "b main2",
        "a a",
        "b b",
        "grand of a a",
        "grand of b b",
        "main main2",
    ];
    assert_eq!(events, asyncio);
    assert_eq!(NAME.get(), None); // nothing has reached the thread
}

#[test]
fn a_local_whose_destructor_asks_for_locals_can_be_replaced() {
    static VALUE: TaskLocal<Rc<Asks>> = TaskLocal::new();
    struct Asks(Events);
    impl Drop for Asks {
        fn drop(&mut self) {
            let known = VALUE.get().is_some();
            self.0.add(format_args!("a value is set: {known}"));
        }
    }
    let events = trace(|events| async move {
        VALUE.set(Rc::new(Asks(events.clone())));
        VALUE.set(Rc::new(Asks(events.clone())));
        VALUE
            .scope(Rc::new(Asks(events.clone())), yield_now())
            .await;
    });
    // The one replaced; the one of the scope; the last, when the task has ended.
    let expected = [
        "a value is set: true",
        "a value is set: true",
        "a value is set: false",
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_dropped_handle_lets_the_task_run_on() {
    let events = trace(|events| async move {
        drop(spawn(worker(events.clone(), "a", 2)));
        let mut handle = spawn(worker(events.clone(), "b", 1));
        assert!(poll_once(&mut handle).await.is_none());
        drop(handle); // one that waits already
        sleep(ms(1)).await;
        events.add("end");
    });
    assert_eq!(events, ["a0", "b0", "a1", "b1", "a2", "end"]);
}

#[test]
fn a_panic_ends_its_task_and_no_other() {
    let events = trace(|events| async move {
        let other = spawn(worker(events.clone(), "other", 1));
        let bad: JoinHandle<()> = spawn(async { panic!("on purpose") });
        let error = bad.await.unwrap_err();
        assert!(error.is_panic());
        events.add(error);
        other.await.unwrap();
        events.add("end");
    });
    let expected = ["other0", "other1", "a task panicked: on purpose", "end"];
    assert_eq!(events, expected);
}

#[test]
fn a_panic_in_the_destructor_of_a_future_ends_its_task_and_no_other() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    trace(|_| async {
        let bad = Bad;
        let task = spawn(async move {
            let _bad = bad;
            pending::<()>().await;
        });
        yield_now().await;
        task.cancel();
        assert!(task.await.unwrap_err().is_panic());
    });
}
