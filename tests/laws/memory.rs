//! What is long or deep is dropped without a deep stack, and what nobody holds is freed.

use std::cell::Cell;
use std::rc::Rc;

use futures_lite::{StreamExt, stream};
use miniagents::executor::{Executor, gather, spawn, yield_now};
use miniagents::{
    Agent, InteractionContext, IntoMessages, MessageSequence, MessageSequencePromise, Messages,
    MiniAgent, MiniAgents, Promise, PromisingContext, Result, Start, StreamAppender,
    StreamedPromise,
};

const DEEP: usize = 100_000;

/// Counts how many of its kind there are.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Counted(count.clone())
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Counted::new(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[test]
fn a_promise_of_a_million_pieces_is_read_and_dropped() {
    PromisingContext::new()
        .run(async {
            let numbers = stream::iter(0..1_000_000_u64).map(Ok);
            let sum = StreamedPromise::new(numbers, |pieces| async move {
                pieces.stream().try_fold(0, |sum, n| Ok(sum + n)).await
            });
            assert_eq!((&sum).await?, 499_999_500_000);
            assert_eq!(sum.stream().count().await, 1_000_000);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_deep_list_is_dropped() {
    let mut list = "leaf".into_messages();
    for _ in 0..DEEP {
        list = Messages::list([list]);
    }
    drop(list);
}

#[test]
fn a_deep_list_is_flattened() {
    let mut list = "leaf".into_messages();
    for _ in 0..DEEP {
        list = Messages::list([list]);
    }
    let messages = MiniAgents::new()
        .run(async { MessageSequencePromise::of(list).await })
        .unwrap();
    assert_eq!(messages.len(), 1);
}

fn deep_sequence(start: Start) -> MessageSequencePromise {
    let mut sequence = MessageSequencePromise::of("leaf");
    for _ in 0..DEEP {
        let outer = MessageSequence::options().with_start(start).make();
        outer.appender().open().unwrap().append(sequence).unwrap();
        outer.appender().close();
        sequence = outer.promise().clone();
    }
    sequence
}

#[test]
fn a_deep_sequence_that_nobody_reads_is_dropped() {
    MiniAgents::new()
        .run(async {
            drop(deep_sequence(Start::OnDemand));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_deep_sequence_is_read() {
    MiniAgents::new()
        .run(async {
            let sequence = deep_sequence(Start::OnDemand);
            assert_eq!((&sequence).await?.len(), 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_deep_chain_of_promises_that_nobody_asks_for_is_dropped() {
    PromisingContext::new()
        .run(async {
            let mut promise = Promise::ready(0);
            for _ in 0..DEEP {
                promise = Promise::with_start(false, async move { Ok(promise.await? + 1) });
            }
            drop(promise);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_deep_chain_of_promises_is_resolved() {
    PromisingContext::new()
        .run(async {
            let mut promise = Promise::ready(0);
            for _ in 0..DEEP {
                promise = Promise::with_start(false, async move { Ok(promise.await? + 1) });
            }
            assert_eq!(promise.await?, DEEP);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_nobody_holds_is_freed() {
    let count = Rc::new(Cell::new(0));
    let counted = || Counted::new(&count);
    PromisingContext::new()
        .run(async {
            for start in [Start::Soon, Start::OnDemand] {
                let captured = counted();
                let promise = Promise::with_start(start, async move { Ok(captured) });
                drop(promise.await?);
                drop(Promise::<()>::with_start(start, {
                    let captured = counted();
                    async move {
                        drop(captured);
                        Ok(())
                    }
                }));
                let pieces: Vec<_> = (0..10).map(|_| Ok(counted())).collect();
                let streamed =
                    StreamedPromise::with_start(start, stream::iter(pieces), |all| async move {
                        all.stream()
                            .try_collect::<Counted, _, Vec<_>>()
                            .await
                            .map(Rc::new)
                    });
                let readers = (0..3)
                    .map(|_| streamed.clone())
                    .map(|streamed| spawn(async move { streamed.stream().count().await }));
                gather(readers.collect::<Vec<_>>()).await;
                drop(streamed.await?);
                for _ in 0..5 {
                    yield_now().await;
                }
                assert_eq!(count.get(), 0, "{start:?}");
            }
            let appender = StreamAppender::new();
            drop(appender.stream());
            appender.open()?.append(counted())?;
            Ok(())
        })
        .unwrap();
    assert_eq!(count.get(), 0);
}

#[test]
fn a_context_that_has_ended_keeps_nothing() {
    #[derive(Clone)]
    struct Holds(Rc<Cell<usize>>);
    impl Agent for Holds {
        async fn run(&self, ctx: InteractionContext) -> Result<()> {
            let held = Counted::new(&self.0);
            let kept = ctx.clone();
            ctx.make_sure_to_wait(ctx.miniagents().start_soon(async move {
                drop(kept);
                Ok(())
            }));
            ctx.reply("reply");
            ctx.messages().await?;
            drop(held);
            Ok(())
        }
    }
    let count = Rc::new(Cell::new(0));
    let context = MiniAgents::new();
    let handler = Counted::new(&count);
    context.on_promise_resolved(move |_| {
        let _held = &handler;
        async { Ok(()) }
    });
    let agent = Holds(count.clone());
    context
        .run(async {
            agent.clone().trigger("message").await?;
            drop(agent.initiate_call()); // finished by the context
            Ok(())
        })
        .unwrap();
    assert_eq!(count.get(), 1);
    drop(context);
    assert_eq!(count.get(), 0);
}

#[test]
fn a_context_that_is_never_left_keeps_no_call_that_nobody_finished() {
    let count = Rc::default();
    let counted = Counted::new(&count);

    let ended = MiniAgents::new().run(async {
        let listener = MiniAgent::new(move |ctx: InteractionContext| {
            let held = counted.clone();
            async move {
                ctx.messages().await?;
                drop(held);
                Ok(())
            }
        });
        listener.initiate_call().replies().await.map(drop)
    });

    assert!(ended.unwrap_err().is_deadlock());
    assert_eq!(count.get(), 0);
}

#[test]
fn a_call_that_a_task_leaves_open_is_kept_by_nobody_when_all_are_stuck() {
    let count = Rc::default();
    let counted = Counted::new(&count);

    let ended = MiniAgents::new().run(async {
        let listener =
            MiniAgent::new(|ctx: InteractionContext| async move { ctx.messages().await.map(drop) });
        let caller = MiniAgent::new(move |ctx: InteractionContext| {
            let (held, listener) = (counted.clone(), listener.clone());
            async move {
                let waits = MiniAgents::current().start_soon(async move {
                    let replies = listener.initiate_call().replies().clone();
                    replies.await.map(drop)
                });
                ctx.make_sure_to_wait(waits);
                drop(held);
                Ok(())
            }
        });
        caller.trigger(()).await.map(drop)
    });

    assert!(ended.unwrap_err().is_deadlock());
    assert_eq!(count.get(), 0);
}

#[test]
fn an_executor_with_tasks_that_hold_each_other_is_freed() {
    let count = Rc::new(Cell::new(0));
    let executor = Executor::new();
    let counted = Counted::new(&count);
    let (sender, receiver) = async_channel::bounded::<()>(1);
    let first = executor.spawn(async move {
        let _counted = counted;
        let _ = receiver.recv().await;
    });
    let second = executor.spawn(async move {
        let _sender = sender;
        first.await.unwrap();
    });
    executor.block_on(yield_now()).unwrap();
    drop((executor, second));
    assert_eq!(count.get(), 0);
}

/// The resident memory of this process, where the system tells.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).map(str::parse);
    pages.map_or(0, |pages| pages.unwrap_or(0) * 4096)
}

async fn echo(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

async fn calls(count: usize) -> Result<()> {
    for _ in 0..count {
        assert_eq!(echo.trigger("hello").await?.len(), 1);
    }
    Ok(())
}

#[test]
#[ignore = "run by the next one, in a process without other tests beside it"]
fn many_calls_alone() {
    MiniAgents::new()
        .run(async {
            calls(2_000).await?;
            let before = resident();
            calls(50_000).await?;
            let grown = resident().saturating_sub(before);
            // Forty bytes that stay for each call would be seen.
            assert!(grown < 2_000_000, "grown by {grown}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_context_with_many_calls_does_not_grow() {
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "memory::many_calls_alone"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}
