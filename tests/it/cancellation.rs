//! Cancelling is said out loud, and three acts are kept apart: a reader goes away; the work is
//! stopped; what was said stays readable.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use miniagents::executor::{Executor, Schedule, sleep, spawn, timeout, unblock_stream, yield_now};
use miniagents::{
    Agent, CallOptions, Error, InteractionContext, Message, MessageClass, MessagePromise,
    MessageSequence, MessageSequencePromise, MessageTokenAppender, MiniAgent, MiniAgents, Promise,
    PromisingContext, Result, Start, StreamAppender, StreamedPromise, Token, generate, messages,
};

use super::events::{STARTS, events_of, note};

/// Notes when what it is in goes away.
struct Gone(&'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        note(format!("{} is gone", self.0));
    }
}

/// Everything that a reader gets, errors as their texts.
async fn read<T: ToString>(mut stream: impl StreamExt<Item = Result<T>> + Unpin) -> Vec<String> {
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await {
        read.push(piece.map_or_else(|error| format!("!{error}"), |piece| piece.to_string()));
    }
    read
}

fn counting() -> impl futures_lite::Stream<Item = Result<u32>> {
    generate(|out| async move {
        let _gone = Gone("the source");
        for number in 1.. {
            out.emit(number).await;
            yield_now().await;
        }
        Ok(())
    })
}

#[test]
fn a_promise_that_is_cancelled_stops_its_work_and_tells_everybody_who_waits() {
    for start in STARTS {
        let events = events_of(async move {
            let promise = Promise::<()>::with_start(start, async {
                let _gone = Gone("the work");
                note("the work began");
                sleep(Duration::from_secs(1)).await;
                note("the work went on");
                Ok(())
            });
            let early = promise.clone();
            let early = MiniAgents::current().start_soon(async move { early.await });
            yield_now().await;
            yield_now().await;

            assert!(promise.cancel());

            assert!(
                !promise.cancel(),
                "the second time there is nothing to stop"
            );
            assert!((&promise).await.unwrap_err().is_cancelled());
            let error = early.await.unwrap_err();
            assert!(
                error.ptr_eq(&promise.await.unwrap_err()),
                "early and late get the same"
            );
            sleep(Duration::from_secs(5)).await;
            Ok(())
        });

        assert_eq!(events, ["the work began", "the work is gone"], "{start:?}");
    }
}

#[test]
fn work_that_has_not_begun_never_does() {
    let events = events_of(async {
        let soon = Promise::<()>::with_start(Start::Soon, async {
            note("began");
            Ok(())
        });

        assert!(soon.cancel());

        sleep(Duration::from_secs(1)).await;
        assert!(soon.await.unwrap_err().is_cancelled());
        Ok(())
    });

    assert_eq!(events, Vec::<String>::new());
}

#[test]
fn a_promise_that_has_resolved_stays_as_it_is() {
    let value = MiniAgents::new().run(async {
        let promise = Promise::new(async { Ok("there") });
        (&promise).await?;
        assert!(!promise.cancel());
        promise.await
    });

    assert_eq!(value.unwrap(), "there");
}

#[test]
fn the_pieces_that_are_there_stay_readable_then_comes_the_error_and_the_end() {
    for start in STARTS {
        let events = events_of(async move {
            let promise =
                StreamedPromise::<u32, ()>::with_start(start, counting(), |promise| async move {
                    promise.stream().try_for_each(|_| Ok::<_, Error>(())).await
                });
            let mut early = promise.stream();
            assert_eq!(early.next().await.unwrap()?, 1);
            assert_eq!(early.next().await.unwrap()?, 2);

            assert!(promise.cancel());

            let late = read(promise.stream()).await;
            let rest = read(early).await;
            assert_eq!(late[..2], ["1", "2"]);
            assert_eq!(late.last().unwrap(), "!this was cancelled");
            assert!(late.ends_with(&rest), "{late:?} and then {rest:?}");
            assert_eq!(read(promise.stream()).await, late, "and again");
            assert!(promise.await.unwrap_err().is_cancelled());
            Ok(())
        });

        assert_eq!(events, ["the source is gone"], "{start:?}");
    }
}

#[test]
fn a_reader_that_waits_is_woken_by_the_cancelling() {
    for start in STARTS {
        events_of(async move {
            let never = futures_lite::stream::pending::<Result<u32>>();
            let promise =
                StreamedPromise::<u32, Vec<u32>>::with_start(start, never, |promise| async move {
                    promise.stream().try_collect().await
                });
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let stream = promise.stream();
                    MiniAgents::current().start_soon(async move { Ok(read(stream).await) })
                })
                .collect();
            let whole = promise.clone();
            let whole = MiniAgents::current().start_soon(async move { whole.await });
            yield_now().await;
            yield_now().await;

            promise.cancel();

            for reader in readers {
                assert_eq!(reader.await?, ["!this was cancelled"]);
            }
            assert!(whole.await.unwrap_err().is_cancelled());
            Ok(())
        });
    }
}

#[test]
fn a_task_that_waits_in_the_source_itself_is_woken_by_the_cancelling() {
    async fn check(read: impl Future<Output = Vec<String>> + 'static, cancel: impl Fn() -> bool) {
        let reader = MiniAgents::current().start_soon(async { Ok(read.await) });
        yield_now().await;
        assert!(cancel());
        assert_eq!(reader.await.unwrap(), ["!this was cancelled"]);
    }

    events_of(async {
        let appended = MessageSequence::options()
            .with_start(Start::OnDemand)
            .make();
        appended.appender().open()?;
        let nested = MessageSequencePromise::of([appended.promise()]);
        let given = MessageSequencePromise::of("given"); // it takes a turn until that comes
        for sequence in [&given, &nested, appended.promise()] {
            let stream = sequence.stream().map(|it| it.map(|_| "a message"));
            check(read(stream), || sequence.cancel()).await;
        }

        // The first promise that asks for what is appended does so itself.
        let appender = MessageTokenAppender::new();
        appender.open()?;
        for _ in 0..2 {
            let message = MessagePromise::of(MessageClass::TEXT).with_start(false);
            let message = message.append_from(&appender)?;
            let stream = message
                .stream()
                .map(|it| it.map(|token| token.as_str().to_owned()));
            check(read(stream), || message.cancel()).await;
        }
        appender.close();
        Ok(())
    });
}

#[test]
fn whoever_is_woken_by_the_cancelling_and_cancels_too_adds_no_error() {
    thread_local!(static AGAIN: Cell<Option<StreamedPromise<u32, ()>>> = const { Cell::new(None) });
    struct CancelsToo;
    impl Wake for CancelsToo {
        fn wake(self: Arc<Self>) {
            if let Some(promise) = AGAIN.take() {
                promise.cancel();
            }
        }
    }

    for start in STARTS {
        events_of(async move {
            let never = futures_lite::stream::pending::<Result<u32>>();
            let resolver = |_| async { Ok(()) };
            let promise = StreamedPromise::<u32, ()>::with_start(start, never, resolver);
            let mut reader = promise.stream();
            let waker = Waker::from(Arc::new(CancelsToo));
            let read_once = reader.poll_next(&mut Context::from_waker(&waker));
            assert!(read_once.is_pending());

            AGAIN.set(Some(promise.clone()));
            assert!(promise.cancel());

            assert_eq!(read(reader).await, ["!this was cancelled"], "{start:?}");
            Ok(())
        });
    }
}

#[test]
fn readers_that_go_away_stop_nothing() {
    let events = events_of(async {
        let source = generate(|out| async move {
            for number in 1..=3 {
                sleep(Duration::from_secs(1)).await;
                out.emit(number).await;
            }
            note("the source went to its end");
            Ok(())
        });
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(source);
        let mut reader = promise.stream();
        reader.next().await.unwrap()?;

        drop(reader);
        drop(promise);

        Ok(())
    });

    assert_eq!(events, ["the source went to its end"]);
}

async fn chatterbox(ctx: InteractionContext) -> Result<()> {
    let _gone = Gone("the chatterbox");
    for number in 1.. {
        ctx.reply(format!("remark {number}"));
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Hands on what another agent says, which nothing can be added to.
async fn secretary(ctx: InteractionContext) -> Result<()> {
    let _gone = Gone("the secretary");
    ctx.reply(messages!["I quote:", chatterbox.trigger(())]);
    std::future::pending().await
}

#[test]
fn what_an_agent_was_sent_comes_all_the_same_where_it_is_cancelled_after_its_end() {
    let events = |looks: bool, turns: usize| {
        events_of(async move {
            let kept = Rc::new(Cell::new(None));
            let keeps = kept.clone();
            let agent = MiniAgent::new(move |ctx: InteractionContext| {
                if looks {
                    ctx.messages();
                }
                keeps.set(Some(ctx));
                async { Ok(()) }
            });
            MiniAgents::new()
                .scope(async {
                    let replies = agent.trigger(["what", "it was sent"]);
                    for _ in 0..turns {
                        yield_now().await;
                    }
                    note(format!("cancelled: {}", replies.cancel()));
                    Ok(())
                })
                .await?;
            let came = kept.take().map(|ctx| ctx.messages().is_done());
            note(format!("came: {came:?}"));
            Ok(())
        })
    };

    let mut on_the_way = 0;
    for turns in 0..12 {
        let seen = events(false, turns);
        assert_eq!(seen, events(true, turns), "{turns}");
        on_the_way += usize::from(seen == ["cancelled: true", "came: Some(true)"]);
    }
    assert!(on_the_way > 2, "{on_the_way}");
}

/// Whoever goes on first, and whether it was looked at before or not.
#[test]
fn what_has_come_of_what_an_agent_was_sent_stays_readable_when_that_is_cancelled() {
    let seen = |seed: u64, looks: bool, turns: usize| {
        let kept = Rc::new(Cell::new(None));
        let keeps = kept.clone();
        let agent = MiniAgent::new(move |ctx: InteractionContext| {
            if looks {
                ctx.messages();
            }
            keeps.set(Some(ctx));
            async { Ok(()) }
        });
        let context = MiniAgents::new();
        let program = context.scope(async {
            let _replies = agent.trigger("sent");
            for _ in 0..turns {
                yield_now().await;
            }
            let Some(ctx) = kept.take() else {
                return Ok(Vec::new());
            };
            ctx.messages().cancel();
            Ok(read(
                ctx.messages()
                    .stream()
                    .map(|message| message.map(|_| "a message")),
            )
            .await)
        });
        let executor = Executor::with_virtual_clock().with_schedule(Schedule::Seeded(seed));
        executor.block_on(program).unwrap().unwrap()
    };

    for seed in 0..100 {
        for turns in 2..9 {
            let (unread, looked_at) = (seen(seed, false, turns), seen(seed, true, turns));
            assert_eq!(unread, looked_at, "{seed} {turns}");
        }
    }
}

#[test]
fn giving_up_an_unpolled_next_ends_what_a_combinator_has_left_waiting() {
    let events = events_of(async {
        let appender = StreamAppender::new();
        appender.open()?;
        let promise = StreamedPromise::<u32, Rc<[u32]>>::collected(appender.stream());
        yield_now().await;
        let mut left = promise.stream();
        assert!(poll_once(StreamExt::next(&mut left)).await.is_none());
        let mut behind = promise.stream();
        let reading = spawn(async move { behind.next().await });
        yield_now().await;

        drop(left.next());
        appender.append(1)?;
        note(reading.await?.unwrap()?);
        note(left.next().await.unwrap()?);
        Ok(())
    });
    assert_eq!(events, ["1", "1"]);
}

#[test]
fn a_reader_whose_next_was_given_up_holds_up_nobody() {
    let events = events_of(async {
        let promise = StreamedPromise::new(
            generate(|out| async move {
                for number in 1..=2 {
                    sleep(Duration::from_secs(60)).await;
                    out.emit(number).await;
                }
                Ok(())
            }),
            |pieces| async move {
                let mut sum = 0;
                let mut pieces = pieces.stream();
                while let Some(number) = pieces.next().await {
                    sum += number?;
                }
                Ok(sum)
            },
        );
        let mut impatient = promise.stream();
        let second = Duration::from_secs(1);
        assert!(timeout(second, impatient.next()).await.is_err());

        note(promise.clone().await?);
        note(impatient.next().await.unwrap()?);

        let tokens = MessageTokenAppender::new();
        tokens.open()?;
        let message = MessagePromise::of(MessageClass::TEXT).append_from(&tokens)?;
        let mut impatient = message.stream();
        assert!(timeout(second, impatient.next()).await.is_err());
        let mut other = message.stream();
        tokens.append("word")?;
        note(other.next().await.unwrap()?);
        tokens.close();

        async fn slow(ctx: InteractionContext) -> Result<()> {
            sleep(Duration::from_secs(60)).await;
            ctx.reply("here I am");
            Ok(())
        }
        let replies = slow.trigger(());
        let mut impatient = replies.stream();
        assert!(timeout(second, impatient.try_next()).await.is_err());
        note(replies.stream().next().await.unwrap()?.await?);
        note(impatient.next().await.unwrap()?.await?);
        Ok(())
    });

    assert_eq!(events, ["3", "1", "word", "here I am", "here I am"]);
}

#[test]
fn an_agent_that_is_cancelled_stops_and_with_it_the_calls_that_it_made() {
    let events = events_of(async {
        let replies = secretary.trigger(());
        let mut reader = replies.stream();
        for _ in 0..3 {
            note(reader.next().await.unwrap()?.await?);
        }

        assert!(replies.cancel());

        sleep(Duration::from_secs(10)).await;
        let rest = read(replies.stream().map(|promise| promise.map(|_| "a message"))).await;
        assert_eq!(
            rest,
            ["a message", "a message", "a message", "!this was cancelled"]
        );
        assert!(replies.await.unwrap_err().is_cancelled());
        Ok(())
    });

    assert_eq!(
        events,
        [
            "I quote:",
            "remark 1",
            "remark 2",
            "the secretary is gone",
            "the chatterbox is gone"
        ]
    );
}

/// Lines as from a keyboard: a thread blocks for them.
async fn typist(ctx: InteractionContext) -> Result<()> {
    let _gone = Gone("the typist");
    let (keyboard, typed) = std::sync::mpsc::channel();
    KEYBOARD.set(Some(keyboard));
    let mut lines = unblock_stream(1, move |lines| {
        for line in typed {
            if lines.send(line).is_err() {
                return; // this drops the receiver, which the keyboard notices
            }
        }
    });
    while let Some(line) = lines.next().await {
        ctx.reply(line?);
    }
    Ok(())
}

thread_local! {
    static KEYBOARD: Cell<Option<std::sync::mpsc::Sender<&'static str>>> = const { Cell::new(None) };
}

#[test]
fn who_waits_for_input_that_blocks_a_thread_is_stopped_at_once() {
    let events = events_of(async {
        let replies = typist.trigger(());
        let mut reader = replies.stream();
        let keyboard = loop {
            if let Some(keyboard) = KEYBOARD.take() {
                break keyboard;
            }
            yield_now().await;
        };
        keyboard.send("hello").unwrap();
        note(reader.next().await.unwrap()?.await?);

        assert!(replies.cancel());
        assert!(reader.next().await.unwrap().unwrap_err().is_cancelled());
        while keyboard.send("is anybody there?").is_ok() {
            std::thread::yield_now();
        }
        note("nobody listens to the keyboard");
        Ok(())
    });

    assert_eq!(
        events,
        [
            "hello",
            "the typist is gone",
            "nobody listens to the keyboard"
        ]
    );
}

#[test]
fn calls_that_an_ended_agent_made_are_stopped_with_its_replies() {
    async fn delegates(ctx: InteractionContext) -> Result<()> {
        ctx.reply(chatterbox.trigger(()));
        Ok(())
    }

    let events = events_of(async {
        let replies = delegates.trigger(());
        let mut reader = replies.stream();
        note(reader.next().await.unwrap()?.await?);

        assert!(replies.cancel());

        sleep(Duration::from_secs(10)).await;
        Ok(())
    });

    assert_eq!(events, ["remark 1", "the chatterbox is gone"]);
}

#[test]
fn a_call_that_is_cancelled_is_finished_too() {
    events_of(async {
        let call = MiniAgent::new(chatterbox).initiate_call();
        yield_now().await;

        assert!(call.cancel());

        assert!(call.is_finished());
        assert!(call.try_send_message("too late").unwrap_err().is_closed());
        assert!(call.replies().await.unwrap_err().is_cancelled());
        Ok(())
    });
}

#[test]
fn whoever_replies_for_a_cancelled_agent_is_told() {
    async fn delegating(ctx: InteractionContext) -> Result<()> {
        let helper = ctx.clone();
        let helping = PromisingContext::current().start_soon(async move {
            sleep(Duration::from_secs(1)).await;
            let refused = helper.try_reply("too late");
            note(refused.is_err_and(|error| error.is_closed()));
            Ok(())
        });
        helping.detach();
        sleep(Duration::from_secs(1000)).await;
        Ok(())
    }

    let events = events_of(async {
        let replies = delegating.trigger(());
        yield_now().await;
        yield_now().await;

        assert!(replies.cancel());

        sleep(Duration::from_secs(2)).await;
        assert!(replies.await.unwrap_err().is_cancelled());
        Ok(())
    });

    assert_eq!(events, ["true"]);
}

#[test]
fn a_message_that_was_being_written_by_a_stopped_agent_ends_with_an_error() {
    async fn writer(ctx: InteractionContext) -> Result<()> {
        let appender = MessageTokenAppender::new();
        appender.open()?;
        ctx.reply(MessagePromise::of(MessageClass::TEXT).append_from(&appender)?);
        for token in ["Once ", "upon ", "a time "] {
            appender.append(token)?;
            sleep(Duration::from_secs(1)).await;
        }
        appender.close();
        Ok(())
    }

    events_of(async {
        let replies = writer.trigger(());
        let message = replies.stream().next().await.unwrap()?;
        let mut tokens = message.stream();
        assert_eq!(tokens.next().await.unwrap()?.as_str(), "Once ");
        assert_eq!(tokens.next().await.unwrap()?.as_str(), "upon ");

        replies.cancel();

        let rest = read(message.stream()).await;
        assert_eq!(
            rest,
            [
                "Once ",
                "upon ",
                "!the appender was dropped before it was closed"
            ]
        );
        assert!(message.await.unwrap_err().is_cancelled());
        Ok(())
    });
}

#[test]
fn whoever_appends_to_a_cancelled_message_is_told() {
    events_of(async {
        let appender = MessageTokenAppender::new();
        appender.open()?;
        let message = MessagePromise::of(MessageClass::TEXT).append_from(&appender)?;
        appender.append("one")?;
        yield_now().await;

        assert!(message.cancel());

        assert!(appender.append("two").unwrap_err().is_cancelled());
        assert_eq!(read(message.stream()).await, ["one", "!this was cancelled"]);
        Ok(())
    });
}

#[test]
fn a_message_that_is_there_has_nothing_to_stop() {
    events_of(async {
        let message = Message::of(MessageClass::TEXT).content("done").build()?;

        assert!(!message.promise().cancel());
        Ok(())
    });
}

#[test]
fn the_message_that_came_last_may_be_finished() {
    async fn writer(ctx: InteractionContext) -> Result<()> {
        let _gone = Gone("the writer");
        for name in ["first", "second"] {
            let tokens = generate(move |out| async move {
                for part in [name, " part", " of three"] {
                    out.emit(Token::from(part)).await;
                    sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            });
            let message = MessagePromise::new(tokens);
            ctx.reply(&message);
            message.await?;
        }
        Ok(())
    }

    let events = events_of(async {
        let replies = writer.trigger(());
        let mut reader = replies.stream();
        let message = reader.next().await.unwrap()?;

        assert!(replies.cancel_after_message());

        assert!(reader.next().await.unwrap().unwrap_err().is_cancelled());
        assert!(reader.next().await.is_none());
        note(message.await?);
        sleep(Duration::from_secs(10)).await;
        Ok(())
    });

    assert_eq!(events, ["first part of three", "the writer is gone"]);
}

#[test]
fn an_agent_may_be_stopped_by_its_own_call() {
    let events = events_of(async {
        let speaker = MiniAgent::new(|ctx: InteractionContext| async move {
            let _gone = Gone("the agent");
            let call = ctx.messages().await?;
            note(&call[0]);
            yield_now().await;
            note("it was not stopped");
            Ok(())
        });
        let call = Rc::new(speaker.initiate_call());
        call.send_message("hello");
        let itself = call.clone();
        let stopper = MiniAgents::current().start_soon(async move {
            itself.cancel();
            Ok(())
        });
        stopper.await?;
        assert!(call.replies().await.unwrap_err().is_cancelled());
        Ok(())
    });

    assert!(
        !events.contains(&"it was not stopped".to_string()),
        "{events:?}"
    );
}

#[test]
fn a_call_has_a_time_limit() {
    let events = events_of(async {
        let options = CallOptions::new().with_timeout(Duration::from_millis(2500));
        let replies = MiniAgent::new(secretary).trigger_with((), options);

        let error = replies.wait().await.unwrap_err();

        assert!(error.is_timeout());
        assert_eq!(error.to_string(), "the call was not over within 2.5s");
        let mut reader = replies.stream();
        while let Some(Ok(message)) = reader.next().await {
            note(message.await?);
        }
        Ok(())
    });

    let gone = ["the secretary is gone", "the chatterbox is gone"];
    assert!(
        gone.iter().all(|gone| events.contains(&gone.to_string())),
        "{events:?}"
    );
    let said: Vec<_> = events
        .iter()
        .filter(|event| !event.ends_with("is gone"))
        .collect();
    assert_eq!(said, ["I quote:", "remark 1", "remark 2", "remark 3"]);
}

#[test]
fn a_call_that_ends_in_time_knows_nothing_of_its_limit() {
    async fn quick(ctx: InteractionContext) -> Result<()> {
        ctx.reply("done");
        Ok(())
    }

    events_of(async {
        let options = CallOptions::new().with_timeout(Duration::from_secs(1));
        let replies = MiniAgent::new(quick).trigger_with((), options);
        sleep(Duration::from_secs(5)).await;

        assert_eq!(replies.await?[0].text(), "done");
        Ok(())
    });
}

#[test]
fn sequences_nested_in_a_cancelled_one_live_on_unless_it_called_for_them() {
    let events = events_of(async {
        let inner = MessageSequence::new();
        inner.appender().open()?;
        let outer = MessageSequence::new();
        outer.appender().open()?;
        outer.appender().append(inner.promise())?;
        inner.appender().append("before")?;
        assert!(outer.promise().stream().next().await.unwrap().is_ok());

        outer.promise().cancel();

        inner.appender().append("after")?;
        inner.appender().close();
        for message in inner.promise().await?.iter() {
            note(message);
        }
        Ok(())
    });

    assert_eq!(events, ["before", "after"]);
}

#[test]
fn a_dropped_sequence_appender_is_one_error() {
    events_of(async {
        let sequence = MessageSequence::new();
        sequence.appender().open()?;
        let promise = sequence.promise().clone();

        drop(sequence);

        let read = read(promise.stream().map(|promise| promise.map(|_| "a message"))).await;
        assert_eq!(read, ["!the appender was dropped before it was closed"]);
        Ok(())
    });
}

#[test]
fn an_item_that_was_emitted_is_not_lost_when_the_body_ends() {
    let mut items = generate(|out| async move {
        let mut emit = out.emit("left behind");
        let _ = futures_lite::future::poll_once(&mut emit).await;
        Err(Error::msg("and then the end"))
    });

    let read = futures_lite::future::block_on(read(&mut items));

    assert_eq!(read, ["left behind", "!and then the end"]);
}

#[test]
fn after_its_executor_is_gone_cancelling_finds_nothing_to_stop() {
    let executor = Executor::with_virtual_clock();
    let miniagents = MiniAgents::new();
    let promise = executor.block_on(async {
        let promise = miniagents.scope(async {
            let appender = StreamAppender::<i32>::new();
            appender.open()?;
            appender.append(1)?;
            appender.close();
            Ok(StreamedPromise::<i32, Vec<i32>>::collected(
                appender.stream(),
            ))
        });
        promise.await.unwrap()
    });
    drop(executor);

    assert!(!promise.unwrap().cancel());
}

mod budgets {
    use miniagents::{Budget, Expense};

    use super::*;

    async fn pair(ctx: InteractionContext) -> Result<()> {
        ctx.reply(["one", "two"]);
        Ok(())
    }

    /// Asks others again and again.
    async fn manager(ctx: InteractionContext) -> Result<()> {
        let _gone = Gone("the manager");
        loop {
            ctx.reply(pair.trigger(()));
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[test]
    fn a_call_and_all_it_causes_have_one_budget() {
        let events = events_of(async {
            let options = CallOptions::new().with_budget(Budget::new().with_messages(5));
            let replies = MiniAgent::new(manager).trigger_with((), options);

            let error = replies.wait().await.unwrap_err();

            assert!(error.is_budget());
            assert_eq!(
                error.to_string(),
                "the call of `MANAGER` may use 5 messages, not more"
            );
            let mut reader = replies.stream();
            while let Some(Ok(message)) = reader.next().await {
                note(message.await?);
            }
            sleep(Duration::from_secs(9)).await;
            Ok(())
        });

        assert_eq!(events, ["one", "two", "one", "two", "the manager is gone"]);
    }

    #[test]
    fn what_is_used_counts_for_the_budgets_around_too() {
        events_of(async {
            let outer = MiniAgent::new(|ctx: InteractionContext| async move {
                let roomy = CallOptions::new().with_budget(Budget::new().with_messages(100));
                for _ in 0..3 {
                    ctx.reply(MiniAgent::new(pair).trigger_with((), roomy.clone()));
                }
                Ok(())
            });
            let options = CallOptions::new().with_budget(Budget::new().with_messages(4));
            let replies = outer.with_alias("OUTER").trigger_with((), options);

            let error = replies.await.unwrap_err();

            assert_eq!(
                error.to_string(),
                "the call of `OUTER` may use 4 messages, not more"
            );
            Ok(())
        });
    }

    #[test]
    fn what_is_said_out_of_order_counts_too() {
        async fn hasty(ctx: InteractionContext) -> Result<()> {
            ctx.reply_out_of_order(["one", "two"]);
            Ok(())
        }

        events_of(async {
            let options = CallOptions::new().with_budget(Budget::new().with_messages(1));
            let error = MiniAgent::new(hasty)
                .trigger_with((), options)
                .await
                .unwrap_err();

            assert!(error.is_budget());
            Ok(())
        });
    }

    #[test]
    fn calls_outside_of_it_are_free() {
        events_of(async {
            let options = CallOptions::new().with_budget(Budget::new().with_messages(2));
            let limited = MiniAgent::new(pair).trigger_with((), options);
            let free = pair.trigger(());

            assert_eq!(limited.await?.len() + free.await?.len(), 4);
            Ok(())
        });
    }

    #[test]
    fn agents_count_what_they_ask_of_models() {
        async fn asks(ctx: InteractionContext) -> Result<()> {
            ctx.spend(Expense::ModelCall)?;
            for token in ["a", "b", "c"] {
                ctx.spend(Expense::Tokens(1))?;
                ctx.reply(token);
            }
            Ok(())
        }

        events_of(async {
            let tokens = CallOptions::new().with_budget(Budget::new().with_tokens(2));
            let replies = MiniAgent::new(asks).trigger_with((), tokens);
            let error = replies.wait().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "the call of `ASKS` may use 2 tokens, not more"
            );

            let calls = CallOptions::new().with_budget(Budget::new().with_model_calls(0));
            let error = MiniAgent::new(asks)
                .trigger_with((), calls)
                .await
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "the call of `ASKS` may use 0 model calls, not more"
            );
            Ok(())
        });
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn a_model_that_used_up_its_tokens_stops_in_mid_sentence() {
        use miniagents::llm::EmbeddedModel;

        events_of(async {
            let options = CallOptions::new().with_budget(Budget::new().with_tokens(3));
            let model = MiniAgent::new(EmbeddedModel::new());
            let replies = model.trigger_with("I need my coffee.", options);

            let message = replies.stream().next().await.unwrap()?;

            let read = read(message.stream()).await;
            assert_eq!(read[..3], ["What", " would", " change"]);
            assert!(read[3].contains("may use 3 tokens"), "{read:?}");
            assert_eq!(read.len(), 4);
            Ok(())
        });
    }

    #[test]
    fn time_can_be_part_of_a_budget() {
        events_of(async {
            let budget = Budget::new()
                .with_time(Duration::from_secs(3))
                .with_messages(100);
            let options = CallOptions::new().with_budget(budget);

            let error = MiniAgent::new(manager)
                .trigger_with((), options)
                .await
                .unwrap_err();

            assert!(error.is_timeout());
            Ok(())
        });
    }
}
