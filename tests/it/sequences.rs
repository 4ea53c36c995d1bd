//! Sequences: whatever is nested comes out flat and in order, errors included.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_lite::{StreamExt, future, stream};
use miniagents::executor::{
    Awaitable, Executor, Schedule, TaskLocal, sleep, spawn, timeout, yield_now,
};
use miniagents::{
    Agent, CallOptions, Error, FlatSequence, InteractionContext, IntoMessages, Message,
    MessageClass, MessagePromise, MessageSequence, MessageSequencePromise, MessageStream,
    MessageTokenAppender, Messages, MiniAgent, MiniAgents, PromisingContext, Result, Start,
    StreamAppender, TextMessage, Token, generate, messages,
};

use crate::events::{STARTS, events_in, events_of, note};

/// Runs `test` once for each way to start.
fn for_each_start<F: Future<Output = Result<()>>>(test: impl Fn(Start) -> F) {
    for start in STARTS {
        let ended = MiniAgents::new().run(test(start));
        ended.unwrap_or_else(|error| panic!("{start:?}: {error}"));
    }
}

/// All that a new reader gets: the texts of the messages, and what the errors say.
async fn read(sequence: &MessageSequencePromise) -> Vec<String> {
    let (mut promises, mut read) = (sequence.stream(), Vec::new());
    while let Some(promise) = promises.next().await {
        let message = match promise {
            Ok(promise) => promise.await,
            Err(error) => Err(error),
        };
        read.push(message.map_or_else(|error| format!("ERROR {error}"), |one| one.to_string()));
    }
    read
}

fn text(content: &str) -> Message {
    TextMessage::new(content).build().unwrap()
}

#[test]
fn numbers_are_flattened_each_into_as_many() {
    for start in STARTS {
        let ended = PromisingContext::new().run(async {
            let appender = StreamAppender::new().with_capture_errors(true);
            let flat = FlatSequence::new(appender.stream(), |number: usize| {
                stream::repeat(Ok(number)).take(number)
            });
            let promise = flat.with_start(start).into_promise();

            appender.open()?;
            for number in 0..=3 {
                appender.append(number)?;
            }
            appender.close();
            let whole = promise.wait().await?;
            let pieces: Vec<_> = promise.stream().try_collect().await?;

            assert_eq!(*whole, [1, 2, 2, 3, 3, 3]);
            assert_eq!(pieces, [1, 2, 2, 3, 3, 3]);
            Result::Ok(())
        });
        ended.unwrap();
    }
}

#[test]
fn flattener_that_fails_gives_up_the_rest_of_its_item_only() {
    let ended = PromisingContext::new().run(async {
        let flat = FlatSequence::new(stream::iter([1, 2, 3]).map(Ok), |number| {
            generate(move |out| async move {
                out.emit(number).await;
                if number == 2 {
                    return Err(Error::msg("two is too many"));
                }
                out.emit(-number).await;
                Ok(())
            })
        });
        let pieces = flat.into_promise().stream();
        let pieces = pieces.map(|piece| piece.map_err(|error| error.to_string()));
        Ok(pieces.collect::<Vec<_>>().await)
    });

    let error = Err("two is too many".to_string());
    assert_eq!(ended.unwrap(), [Ok(1), Ok(-1), Ok(2), error, Ok(3), Ok(-3)]);
}

#[test]
fn flattener_that_panics_is_an_error_of_its_item() {
    let ended = PromisingContext::new().run(async {
        let numbers = || stream::iter([1, 2, 3]).map(Ok);
        let flattener = |number| match number {
            2 => panic!("no two"),
            number => stream::once(Ok(number)),
        };
        let ordered = FlatSequence::new(numbers(), flattener).into_promise();
        let unordered = FlatSequence::new(stream::empty(), flattener);
        let unordered = unordered.with_unordered(numbers()).into_promise();
        let mut read = Vec::new();
        for promise in [ordered, unordered] {
            let pieces = promise.stream();
            let pieces = pieces.map(|piece| piece.map_err(|error| error.to_string()));
            read.push(pieces.collect::<Vec<_>>().await);
        }
        Ok(read)
    });

    let error = Err("a flattener panicked: no two".to_string());
    let expected = [Ok(1), error, Ok(3)];
    assert_eq!(ended.unwrap(), [expected.clone(), expected]);
}

#[test]
fn sequence_whose_context_was_dropped_ends_with_an_error() {
    for start in [Start::Soon, Start::OnDemand] {
        let context = PromisingContext::new();
        let kept = std::cell::RefCell::new(None);
        let mut scope = Box::pin(context.scope(async {
            let numbers = stream::once(Ok(1)).chain(stream::pending());
            let flat = FlatSequence::new(numbers, |number| stream::once(Ok(number)));
            let promise = flat.with_start(start).into_promise();
            kept.replace(Some(promise.clone()));
            promise.await
        }));

        let polled = future::block_on(future::poll_once(&mut scope));
        drop(scope);
        let promise = kept.take().expect("the program has run");
        let read: Vec<_> = future::block_on(promise.stream().collect());

        assert!(polled.is_none(), "it never ends");
        assert_eq!(read.len(), 2, "{start:?}: {read:?}");
        assert_eq!(read[0].as_ref().ok(), Some(&1));
        assert!(read[1].as_ref().is_err_and(Error::is_cancelled));
    }
}

#[test]
fn nested_sequences_come_out_flat_and_in_order() {
    for_each_start(|start| async move {
        let sequence = || MessageSequence::options().with_start(start).make();
        let [first, second, third] = [sequence(), sequence(), sequence()];

        let outer = first.appender().open()?;
        outer.append("msg1")?;
        outer.append(TextMessage::new("msg2").with("some_attr", 2))?;
        outer.append(TextMessage::new("msg3").with("another_attr", 3).build())?;
        let middle = second.appender().open()?;
        middle.append("msg4")?;
        let inner = third.appender().open()?;
        inner.append("msg5")?;
        inner.append(["msg6", "msg7"])?;
        inner.append([[TextMessage::new("msg8").with("another_attr", 8)]])?;
        inner.close();
        middle.append(third.promise())?.append("msg9")?;
        middle.close();
        outer.append(second.promise())?;
        let tokens = stream::once(Ok(Token::from("msg10")));
        let promise = MessagePromise::of(MessageClass::TEXT).with("yet_another_attr", 10);
        outer.append(promise.stream(tokens)?)?;
        outer.close();
        let messages = first.promise().await?;
        let mut tokens = Vec::new();
        let mut promises = first.promise().stream();
        while let Some(promise) = promises.try_next().await? {
            let mut pieces = promise.stream();
            while let Some(token) = pieces.try_next().await? {
                tokens.push(token.to_string());
            }
        }

        let with = |text: &str, key: &str, value: i32| TextMessage::new(text).with(key, value);
        let expected = [
            text("msg1"),
            with("msg2", "some_attr", 2).build()?,
            with("msg3", "another_attr", 3).build()?,
            text("msg4"),
            text("msg5"),
            text("msg6"),
            text("msg7"),
            with("msg8", "another_attr", 8).build()?,
            text("msg9"),
            with("msg10", "yet_another_attr", 10).build()?,
        ];
        assert_eq!(*messages, expected);
        assert_eq!(tokens, expected.map(|message| message.to_string()));
        Ok(())
    });
}

#[test]
fn error_of_a_nested_sequence_is_a_piece_and_what_stands_behind_it_is_read() {
    for start in STARTS {
        let miniagents = MiniAgents::new().with_appenders_capture_errors(true);
        let ended = miniagents.run(async {
            let sequence = || MessageSequence::options().with_start(start).make();
            let [first, second, third] = [sequence(), sequence(), sequence()];

            let body = async {
                first.appender().append("msg1")?;
                let body = async {
                    second.appender().append("msg2")?;
                    let body = async {
                        third.appender().append("msg3")?;
                        Err(Error::msg("msg5"))
                    };
                    third.appender().fill(body).await?; // captured
                    second.appender().append(third.promise())?.append("msg6")?;
                    Ok(())
                };
                second.appender().fill(body).await?;
                first.appender().append(second.promise())?.append("msg7")?;
                Ok(())
            };
            first.appender().fill(body).await?;
            let (once, again) = (read(first.promise()).await, read(first.promise()).await);
            let error = first.promise().await.unwrap_err();

            // What the error came in with, `second`, is given up: no msg6.
            assert_eq!(once, ["msg1", "msg2", "msg3", "ERROR msg5", "msg7"]);
            assert_eq!(again, once);
            assert_eq!(error.to_string(), "msg5");
            Result::Ok(())
        });
        ended.unwrap();
    }
}

#[test]
fn one_error_is_the_same_for_every_reader() {
    for_each_start(|start| async move {
        let sequence = MessageSequence::options().with_start(start).make();
        sequence.appender().open()?.append(Error::msg("boom"))?;
        sequence.appender().close();

        let read = sequence.promise().stream().next().await;
        let whole = sequence.promise().await.unwrap_err();
        let again = sequence.promise().await.unwrap_err();

        assert!(read.expect("an error").unwrap_err().ptr_eq(&whole));
        assert!(whole.ptr_eq(&again));
        Ok(())
    });
}

mod errors_as_messages {
    use super::*;

    async fn broken(ctx: InteractionContext) -> Result<()> {
        ctx.reply("first");
        ctx.reply(MessagePromise::new(generate(|out| async move {
            out.emit(Token::from("some ")).await;
            out.emit(Token::from("text")).await;
            Err(Error::msg("broke off"))
        })));
        Err(Error::msg("out of ink"))
    }

    async fn hands_on(ctx: InteractionContext) -> Result<()> {
        ctx.reply(broken.trigger(()));
        Ok(())
    }

    async fn note_tokens(replies: MessageSequencePromise) -> Result<()> {
        let mut promises = replies.stream();
        while let Some(promise) = promises.try_next().await? {
            let mut tokens = promise.stream();
            while let Some(token) = tokens.try_next().await? {
                note(format!("{token:?}"));
            }
            let message = promise.await?;
            note(format!("{}: {message}", message.class_name()));
        }
        let texts: Vec<_> = replies.await?.iter().map(Message::to_string).collect();
        note(texts.join(" / "));
        Ok(())
    }

    const AS_READ: [&str; 9] = [
        r#""first""#,
        "TextMessage: first",
        r#""some ""#,
        r#""text""#,
        r#""\nError: broke off""#, // the error of a message is its last token
        "ErrorMessage: some text\nError: broke off",
        r#""Error: out of ink""#, // the error of the agent is a message of its own
        "ErrorMessage: Error: out of ink",
        "first / some text\nError: broke off / Error: out of ink",
    ];

    #[test]
    fn a_call_may_ask_for_errors_as_messages() {
        let options = || CallOptions::new().with_errors_as_messages(true);

        let direct = events_of(async { note_tokens(broken.trigger_with((), options())).await });
        let nested = events_of(async { note_tokens(hands_on.trigger_with((), options())).await });

        assert_eq!(direct, AS_READ);
        assert_eq!(nested, AS_READ);
    }

    #[test]
    fn a_context_may_ask_for_errors_as_messages() {
        let miniagents = MiniAgents::new().with_errors_as_messages(true);

        let direct = events_in(&miniagents, async { note_tokens(broken.trigger(())).await });
        let nested = events_in(&miniagents, async {
            note_tokens(hands_on.trigger(())).await
        });

        assert_eq!(direct, AS_READ);
        assert_eq!(nested, AS_READ);
    }

    #[test]
    fn a_call_may_refuse_what_its_context_asks_for() {
        let miniagents = MiniAgents::new().with_errors_as_messages(true);

        let raised = miniagents.run(async {
            let options = CallOptions::new().with_errors_as_messages(false);
            let replies = broken.trigger_with((), options);
            Ok((read(&replies).await, replies.await.unwrap_err().to_string()))
        });

        let (read, error) = raised.unwrap();
        assert_eq!(read, ["first", "ERROR broke off", "ERROR out of ink"]);
        assert_eq!(error, "out of ink"); // the sequence itself has failed
    }
}

#[test]
fn out_of_order_replies_overtake_what_is_slow() {
    async fn slow(ctx: InteractionContext) -> Result<()> {
        sleep(Duration::from_secs(3)).await;
        ctx.reply("slow");
        Ok(())
    }
    async fn fast(ctx: InteractionContext) -> Result<()> {
        sleep(Duration::from_secs(1)).await;
        ctx.reply("fast");
        Ok(())
    }
    async fn mixing(ctx: InteractionContext) -> Result<()> {
        ctx.reply("one").reply(slow.trigger(())).reply("two");
        ctx.reply_out_of_order(fast.trigger(()));
        ctx.reply_out_of_order("unordered");
        Ok(())
    }

    let events = events_of(async {
        let mut replies = mixing.trigger(()).stream();
        while let Some(reply) = replies.try_next().await? {
            let seconds = miniagents::executor::now().as_secs();
            note(format!("{seconds}s {}", reply.await?));
        }
        Ok(())
    });

    assert_eq!(
        events,
        [
            "0s one",
            "0s unordered", // does not wait for the call that was sent out of order before it
            "1s fast",
            "3s slow", // what was replied in order stays in order
            "3s two",
        ]
    );
}

#[test]
fn messages_sent_out_of_order_overtake_what_is_slow() {
    async fn slow(ctx: InteractionContext) -> Result<()> {
        sleep(Duration::from_secs(3)).await;
        ctx.reply("slow");
        Ok(())
    }
    async fn listen(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            note(message.await?);
        }
        Ok(())
    }

    let events = events_of(async {
        let call = listen.initiate_call();
        call.send_message(slow.trigger(())).send_message("behind");
        call.send_out_of_order("unordered");
        call.reply_sequence().await?;
        Ok(())
    });

    assert_eq!(events, ["unordered", "slow", "behind"]);
}

#[test]
fn everything_that_can_be_sent_is_flattened() {
    for_each_start(|start| async move {
        let sequence = MessageSequence::options().with_start(start).make();
        let known = text("known");

        let appender = sequence.appender().open()?;
        appender.append(messages![
            "a str",
            String::from("a string"),
            Rc::<str>::from("a shared str"),
            &known,
            known.promise(),
            MessageSequencePromise::of(["of", "a sequence"]),
            vec![Some("some"), None],
            ("a tuple", [["of", "arrays"]]),
            Ok::<_, Error>("a result"),
            serde_json::json!(["json", null, ["nested"]]),
            (),
        ])?;
        appender.close();
        let read = read(sequence.promise()).await;

        let expected = [
            "a str",
            "a string",
            "a shared str",
            "known",
            "known",
            "of",
            "a sequence",
            "some",
            "a tuple",
            "of",
            "arrays",
            "a result",
            "json",
            "nested",
        ];
        assert_eq!(read, expected);
        Ok(())
    });
}

#[test]
fn what_is_given_together_in_any_number_is_read_in_order() {
    /// One less and one more than fits into what messages are kept in, and much more.
    const SIZES: [usize; 14] = [1, 4, 3, 0, 60, 61, 62, 1, 500, 2, 7, 130, 5, 1];
    let together = |first: usize, size: usize| {
        let texts: Vec<_> = (first..first + size).map(|n| format!("{n}")).collect();
        MessageSequencePromise::of(texts)
    };

    for_each_start(|start| async move {
        let sequence = MessageSequence::options().with_start(start).make();
        let appender = sequence.appender();
        appender.open()?;
        let early = spawn({
            let promise = sequence.promise().clone();
            async move { read(&promise).await }
        });
        let mut expected = Vec::new();
        for (place, size) in SIZES.into_iter().enumerate() {
            let (first, end) = (expected.len(), expected.len() + size);
            match place % 3 {
                0 => appender.append(together(first, size))?,
                1 => appender.append([together(first, size)].to_vec())?,
                _ => appender.append(MessageSequencePromise::of([together(first, size)]))?,
            };
            expected.extend((first..end).map(|n| format!("{n}")));
            if place == 8 {
                appender.append(Error::msg("in between"))?;
                expected.push("ERROR in between".into());
            }
            yield_now().await;
        }
        appender.close();

        for _ in 0..2 {
            assert_eq!(read(sequence.promise()).await, expected);
        }
        assert_eq!(early.await?, expected);
        Ok(())
    });
}

#[test]
fn deeply_nested_lists_cost_no_stack() {
    let depth = 100_000;
    let mut nested = messages!["core"];
    for _ in 0..depth {
        nested = Messages::list([nested]);
    }

    let messages = MiniAgents::new().run(async { MessageSequencePromise::of(nested).await });

    assert_eq!(messages.unwrap()[0].text(), "core");
}

mod streams_as_input {
    use super::*;

    #[test]
    fn a_stream_is_read_as_it_comes() {
        let events = events_of(async {
            let stream = generate(|out| async move {
                for number in 1..=2 {
                    sleep(Duration::from_secs(1)).await;
                    note(format!("emitting {number}"));
                    out.emit(messages![format!("{number}"), ["and", "more"]])
                        .await;
                }
                Ok(())
            });
            let input = messages!["first", Messages::from_stream(stream), "last"];
            let mut promises = MessageSequencePromise::of(input).stream();
            note("nothing is read yet");
            while let Some(promise) = promises.try_next().await? {
                note(promise.await?);
            }
            Ok(())
        });

        assert_eq!(
            events,
            [
                "nothing is read yet",
                "first",
                "emitting 1",
                "1",
                "and",
                "more",
                "emitting 2",
                "2",
                "and",
                "more",
                "last",
            ]
        );
    }

    #[test]
    fn an_error_of_a_stream_gives_up_what_was_sent_with_it() {
        for_each_start(|start| async move {
            let stream = generate(|out| async move {
                out.emit("streamed").await;
                Err(Error::msg("the stream ran dry"))
            });
            let sequence = MessageSequence::options().with_start(start).make();

            let appender = sequence.appender().open()?;
            appender.append(messages![Messages::from_stream(stream), "sent with it"])?;
            appender.append("sent behind it")?;
            appender.close();
            let read = read(sequence.promise()).await;

            assert_eq!(
                read,
                ["streamed", "ERROR the stream ran dry", "sent behind it"]
            );
            Ok(())
        });
    }

    #[test]
    fn a_stream_that_panics_is_an_error_of_the_sequence() {
        for_each_start(|start| async move {
            let stream = stream::iter(["fine", "bad"]).map(|text| match text {
                "bad" => panic!("no more text"),
                text => Ok(text),
            });
            let sequence = MessageSequence::options().with_start(start).make();

            let appender = sequence.appender().open()?;
            appender
                .append(Messages::from_stream(stream))?
                .append("behind")?;
            appender.close();
            let read = read(sequence.promise()).await;

            let error = "ERROR a source of pieces panicked: no more text";
            assert_eq!(read, ["fine", error, "behind"]);
            Ok(())
        });
    }
}

#[test]
fn two_promises_of_one_appender_share_its_tokens_and_both_end() {
    let texts = MiniAgents::new().run(async {
        let tokens = MessageTokenAppender::new();
        tokens.open()?;
        let message = || MessagePromise::of(MessageClass::TEXT).append_from(&tokens);
        let (one, other) = (message()?, message()?);
        for token in ["a", "b", "c", "d"] {
            yield_now().await;
            yield_now().await;
            tokens.append(token)?;
        }
        tokens.close();
        let late = message()?;
        Ok([one.await?, other.await?, late.await?].map(|message| message.text().to_string()))
    });
    assert_eq!(texts.unwrap(), ["ac", "bd", ""]);
}

/// What a reader gets, and how many turns others had before each.
async fn read_in_turns(sequence: &MessageSequencePromise) -> Vec<(u32, String)> {
    let turns = Rc::new(Cell::new(0));
    let counted = turns.clone();
    let others = PromisingContext::current().start_soon(async move {
        loop {
            yield_now().await;
            counted.set(counted.get() + 1);
            if counted.get() > 1000 {
                return Result::Ok(());
            }
        }
    });
    let (mut promises, mut read) = (sequence.stream(), Vec::new());
    while let Some(promise) = promises.next().await {
        let text = match promise {
            Ok(promise) => promise.await.map(|message| message.to_string()),
            Err(error) => Err(error),
        };
        let text = text.unwrap_or_else(|error| format!("ERROR {error}"));
        read.push((turns.get(), text));
    }
    others.cancel();
    read
}

#[test]
fn what_is_nested_takes_the_same_turns_whether_or_not_others_have_it() {
    let read = |held: bool| {
        MiniAgents::new().run(async move {
            let others = RefCell::new(Vec::new());
            let sequence = |messages: Messages| {
                let sequence = MessageSequencePromise::of(messages);
                others.borrow_mut().extend(held.then(|| sequence.clone()));
                sequence
            };
            let streamed = stream::iter(["c", "d"]).then(async |text| {
                yield_now().await;
                Ok(text)
            });
            let panicking = stream::iter(["g", "h"]).map(|text| {
                assert!(text != "h", "no more");
                Ok(text)
            });
            let call = async |ctx: InteractionContext| {
                ctx.reply("i");
                yield_now().await;
                ctx.reply("j");
                Ok(())
            };
            let roots = [
                messages!["a", sequence(messages![]), sequence(messages!["b"])],
                messages![[sequence(messages![Messages::from_stream(streamed)])], "e"],
                messages![sequence(messages![Error::msg("broken"), "never"]), "never"],
                messages!["f", sequence(messages![Messages::from_stream(panicking)])],
                messages![call.trigger_with((), CallOptions::new().with_start(false))],
                messages![sequence(messages![text("k"), [text("l"), text("m")]])],
            ];
            let mut read = Vec::new();
            for root in roots {
                let nested = sequence(messages![sequence(root)]);
                read.push(read_in_turns(&nested).await);
            }
            Result::Ok(read)
        })
    };

    let alone: Vec<Vec<(u32, String)>> = read(false).unwrap();
    assert_eq!(alone, read(true).unwrap());
    let texts = alone.concat().into_iter().map(|(_, text)| text);
    let texts: Vec<String> = texts.collect();
    let panic = "ERROR a source of pieces panicked: no more";
    assert_eq!(
        texts,
        [
            "a",
            "b",
            "c",
            "d",
            "e",
            "ERROR broken",
            "f",
            "g",
            panic,
            "i",
            "j",
            "k",
            "l",
            "m"
        ]
    );
}

/// What is noted, with the turn in which it was, when a sequence of `messages` is read until its end or given up
/// after so many looks, and its context is left.
fn turns_of(
    messages: impl FnOnce() -> Messages + 'static,
    looks: usize,
    with_handlers: bool,
) -> Vec<String> {
    static REQUEST: TaskLocal<&str> = TaskLocal::new();

    let noted = Rc::new(RefCell::new(Vec::new()));
    let (in_handler, noting) = (noted.clone(), noted.clone());
    MiniAgents::new()
        .run(async move {
            let turn = Rc::new(Cell::new(0));
            let counted = turn.clone();
            let others = spawn(async move {
                loop {
                    yield_now().await;
                    counted.set(counted.get() + 1);
                }
            });
            let note =
                move |what: &str| noting.borrow_mut().push(format!("{}: {what}", turn.get()));
            let context = MiniAgents::new();
            if with_handlers {
                context.on_promise_resolved(move |resolved| {
                    let text = resolved.downcast_ref::<Message>().map(Message::to_string);
                    let request = REQUEST.get().unwrap_or("no request");
                    let told = format!("told of {text:?} in {request}");
                    in_handler.borrow_mut().push(told);
                    async { Ok(()) }
                });
            }
            let inside = context.scope(async {
                let sequence = MessageSequencePromise::of(messages());
                let mut promises = sequence.stream();
                REQUEST.set("this request");
                for _ in 0..looks {
                    match future::poll_once(promises.next()).await {
                        None => yield_now().await,
                        Some(None) => {
                            note("end");
                            break;
                        }
                        Some(Some(Err(error))) => note(&format!("ERROR {error}")),
                        Some(Some(Ok(promise))) => note(&promise.await?.to_string()),
                    }
                }
                drop((promises, sequence));
                yield_now().await;
                Result::Ok(())
            });
            inside.await?;
            note("left");
            others.cancel();
            Result::Ok(())
        })
        .unwrap();
    noted.take()
}

/// Lists in lists are flattened; what lies side by side need not be, and nobody can tell.
#[test]
fn what_is_given_side_by_side_takes_the_same_turns_as_what_is_nested() {
    let given: [fn() -> Messages; 5] = [
        || messages![],
        || messages!["one"],
        || messages!["one", "two", "three"],
        || Error::msg("broken").into_messages(),
        || [text("one"), text("two")].into_messages(),
    ];
    for (number, given) in given.into_iter().enumerate() {
        for with_handlers in [false, true] {
            for looks in (0..8).chain([100]) {
                let how = format!("{number}, {looks} looks, handlers: {with_handlers}");
                let flat = turns_of(given, looks, with_handlers);
                let nested = turns_of(move || messages![[given()]], looks, with_handlers);
                assert_eq!(flat, nested, "{how}");
                assert!(
                    flat.last().is_some_and(|last| last.ends_with("left")),
                    "{how}"
                );

                let of = |messages| MessageSequencePromise::of(messages);
                let inside = turns_of(move || messages![of(given())], looks, with_handlers);
                let nested = move || messages![[of(messages![[given()]])]];
                assert_eq!(
                    inside,
                    turns_of(nested, looks, with_handlers),
                    "inside: {how}"
                );
            }
        }
    }
    let whole = turns_of(|| messages!["one", "two"], 100, true);
    let told = ["one", "two"].map(|text| format!("told of Some({text:?}) in this request"));
    assert_eq!(
        whole,
        ["0: one", "0: two", &told[0], &told[1], "1: end", "2: left"]
    );
}

/// As above, where the executor goes after so many turns.
#[test]
fn what_is_given_side_by_side_ends_as_what_is_nested_when_the_executor_goes() {
    let left = |messages: Messages, turns: usize| {
        let executor = Executor::new();
        let sequence = executor.block_on(async {
            let context = PromisingContext::new().activate();
            let sequence = MessageSequencePromise::of(messages);
            let mut promises = sequence.stream();
            let _ = future::poll_once(promises.next()).await;
            for _ in 0..turns {
                yield_now().await;
            }
            drop((promises, context));
            sequence
        });
        drop(executor);
        let sequence = sequence.unwrap();
        future::block_on(read(&sequence))
    };
    let error = "ERROR the task that flattens this sequence was dropped before its end";
    for (turns, expected) in [
        (0, &[error][..]),
        (1, &["one", "two", error]),
        (2, &["one", "two"]),
    ] {
        assert_eq!(left(messages!["one", "two"], turns), expected, "{turns}");
        assert_eq!(left(messages![["one", "two"]], turns), expected, "{turns}");
    }
}

#[test]
fn a_chain_of_sequences_that_nobody_else_has_is_dropped_without_a_deep_stack() {
    for read_first in [false, true] {
        let context = MiniAgents::new();
        let mut scope = Box::pin(context.scope(async {
            let unending = stream::once(Ok("there")).chain(stream::pending());
            let mut chain = MessageSequencePromise::of(Messages::from_stream(unending));
            for _ in 0..20_000 {
                chain = MessageSequencePromise::of([chain]);
            }
            let mut promises = chain.stream();
            if read_first {
                assert_eq!(promises.try_next().await?.unwrap().await?.text(), "there");
            }
            drop((chain, promises));
            Result::Ok(())
        }));
        future::block_on(scope.as_mut()).unwrap();
    }
}

/// A sequence of which "there" has come when its context goes, and its readers.
fn left_behind(make: impl FnOnce() -> MessageSequencePromise) -> MessageSequencePromise {
    let kept = Rc::new(RefCell::new(None));
    let context = MiniAgents::new();
    let mut scope = Box::pin(context.scope(async {
        let sequence = make();
        kept.replace(Some(sequence.clone()));
        sequence.await.map(drop)
    }));

    let polled = future::block_on(future::poll_once(&mut scope));
    assert!(polled.is_none(), "it has no end");
    drop(scope);
    kept.take().expect("the program has run")
}

#[test]
fn sequence_that_is_left_behind_ends_with_an_error_for_every_reader() {
    let error = "ERROR the task that flattens this sequence was dropped before its end";
    let unending = || Messages::from_stream(stream::once(Ok("there")).chain(stream::pending()));

    let given = left_behind(|| MessageSequencePromise::of(unending()));
    let nested = left_behind(|| {
        let inner = MessageSequencePromise::of(messages!["before", unending()]);
        MessageSequencePromise::of(messages![[inner], "never"])
    });
    let mut appender = None;
    let appended = left_behind(|| {
        let options = MessageSequence::options().with_start(Start::OnDemand);
        let sequence = options.make();
        let open = sequence.appender().open().unwrap().append("there").unwrap();
        appender = Some(open.clone());
        sequence.promise().clone()
    });

    for (sequence, expected) in [
        (given, &["there", error][..]),
        (nested, &["before", "there", error]),
        (appended, &["there", error]),
    ] {
        assert_eq!(future::block_on(read(&sequence)), expected);
        assert_eq!(future::block_on(read(&sequence)), expected);
    }
}

#[test]
fn whole_messages_are_counted_and_skipped_and_waited_for_again() {
    let ended = PromisingContext::new().with_virtual_clock().run(async {
        let slow = MessagePromise::new(generate(|out| async move {
            out.emit(Token::from("slow ")).await;
            sleep(Duration::from_secs(3)).await;
            out.emit(Token::from("message")).await;
            Ok(())
        }));
        let failing = MessagePromise::new(stream::iter([Err(Error::msg("no tokens"))]));
        let sequence = MessageSequencePromise::of(messages!["one", slow, failing, "four", "five"]);

        let mut whole = sequence.stream_whole();
        assert_eq!(whole.try_next().await?.unwrap().text(), "one");
        let second = Duration::from_secs(1);
        assert!(timeout(second, whole.next()).await.is_err());
        assert!(timeout(second, whole.next()).await.is_err());
        assert_eq!(whole.index(), 1);
        assert_eq!(whole.try_next().await?.unwrap().text(), "slow message");
        let error = whole.try_next().await.unwrap_err();
        assert_eq!(error.to_string(), "no tokens");
        assert_eq!(whole.index(), 3);
        whole.skip_to(2);
        assert_eq!(whole.try_next().await?.unwrap().text(), "four");
        assert_eq!(whole.try_next().await?.unwrap().text(), "five");
        assert!(whole.try_next().await?.is_none());
        assert_eq!(whole.index(), 5);

        let mut skipping = sequence.stream_whole();
        assert_eq!(skipping.try_next().await?.unwrap().text(), "one");
        skipping.skip_to(3);
        assert_eq!(skipping.index(), 3);
        assert_eq!(skipping.try_next().await?.unwrap().text(), "four");
        Ok(())
    });
    ended.unwrap();
}

#[test]
fn a_message_that_is_waited_for_is_skipped_like_any_other() {
    let ended = PromisingContext::new().with_virtual_clock().run(async {
        let slow = MessagePromise::new(generate(|_| async {
            sleep(Duration::from_secs(3600)).await;
            Ok(())
        }));
        let sequence = MessageSequencePromise::of(messages![slow, "two"]);
        let mut whole = sequence.stream_whole();
        let waited = timeout(Duration::from_secs(1), whole.next()).await;
        assert!(waited.is_err());
        whole.skip_to(0);
        assert_eq!(whole.index(), 0);
        whole.skip_to(1);
        assert_eq!(whole.try_next().await?.unwrap().text(), "two");
        Ok(())
    });
    ended.unwrap();
}

#[test]
fn messages_sent_together_come_between_the_others_for_every_reader() {
    let texts = MiniAgents::new()
        .run(async {
            let together: Vec<Message> = ["b", "c", "d"]
                .into_iter()
                .map(|text| TextMessage::new(text).build())
                .collect::<Result<_>>()?;
            let sequence = MessageSequence::new();
            let appender = sequence.appender();
            appender.open()?;
            let early = sequence.promise().stream();
            appender.append("a")?.append(&together)?.append("e")?;
            yield_now().await;
            appender.append(Vec::<Message>::new())?.append(&together)?;
            appender.close();

            let inner = MessageSequencePromise::of(sequence.promise());
            let mut all = Vec::new();
            for mut reader in [early, sequence.promise().stream(), inner.stream()] {
                let mut texts = String::new();
                while let Some(message) = reader.try_next().await? {
                    texts += message.await?.text();
                }
                all.push(texts);
            }
            let mut late = inner.stream();
            late.skip_to(3);
            all.push(late.try_next().await?.unwrap().await?.to_string());
            assert_eq!(late.index(), 4);
            let mut skipping = inner.stream();
            let mut texts = String::new();
            for (to, index) in [(0, 1), (2, 3), (1, 4), (5, 6), (7, 8)] {
                skipping.skip_to(to);
                texts += skipping.try_next().await?.unwrap().await?.text();
                assert_eq!(skipping.index(), index);
            }
            all.push(texts);
            all.push(inner.await?.iter().map(Message::text).collect());
            Ok(all)
        })
        .unwrap();

    assert_eq!(
        texts,
        ["abcdebcd", "abcdebcd", "abcdebcd", "d", "acdbd", "abcdebcd"]
    );
}

#[test]
fn an_empty_list_of_messages_is_nothing() {
    let none: &[Message] = &[];
    let count = MiniAgents::new().run(async {
        let sequence = MessageSequencePromise::of(none);
        let mut reader = sequence.stream();
        assert!(reader.try_next().await?.is_none());
        Ok(sequence.await?.len())
    });
    assert_eq!(count.unwrap(), 0);
}

async fn echo_each(ctx: InteractionContext) -> Result<()> {
    let mut messages = ctx.messages().stream();
    while let Some(message) = messages.try_next().await? {
        ctx.reply(message);
    }
    Ok(())
}

/// What is left of open calls, sequences and messages when the executor goes that brought them.
#[test]
fn whoever_reads_on_when_the_executor_has_gone_gets_an_error() {
    let kept = RefCell::new(None);
    let context = MiniAgents::new();
    let mut scope = Box::pin(context.scope(async {
        let call = MiniAgent::new(echo_each).initiate_call();
        call.send_message("heard");
        let sequence = MessageSequence::new();
        let appender = sequence.appender().clone();
        appender.open()?.append("said")?;
        let tokens = MessageTokenAppender::new();
        tokens.open()?;
        let message = MessagePromise::of(MessageClass::TEXT).append_from(&tokens)?;
        tokens.append("begun")?;
        let on_demand = MessageSequencePromise::of([message.clone()]);
        on_demand.start(); // waits for the message
        for _ in 0..20 {
            yield_now().await;
        }
        let promises = (
            call.replies().clone(),
            sequence.promise().clone(),
            on_demand,
        );
        kept.replace(Some((promises, message, (call, appender, tokens))));
        std::future::pending::<Result<()>>().await
    }));
    let polled = future::block_on(future::poll_once(&mut scope));
    assert!(polled.is_none(), "nobody finishes it");
    let ((replies, appended, on_demand), message, open) = kept.take().unwrap();
    let mut waiting = Box::pin(replies.wait());
    assert!(future::block_on(future::poll_once(&mut waiting)).is_none());

    drop(scope);

    let at_once = |sequence: &MessageSequencePromise| {
        let whole = future::block_on(future::poll_once(sequence.wait()));
        whole.expect("nobody will bring it").unwrap_err()
    };
    for sequence in [&replies, &appended, &on_demand] {
        assert!(at_once(sequence).is_cancelled());
    }
    let woken = future::block_on(future::poll_once(&mut waiting));
    assert!(woken.expect("it was woken").is_err());
    let whole = future::block_on(future::poll_once(message.wait()));
    assert!(
        whole
            .expect("nobody will bring it")
            .unwrap_err()
            .is_cancelled()
    );
    let mut read = replies.stream();
    let (first, second) = future::block_on(async { (read.next().await, read.next().await) });
    assert!(first.unwrap().is_ok(), "what was there stays");
    assert!(second.unwrap().is_err());
    drop(open);
}

/// An agent that holds the writing end of its own reply, and notes that it is gone.
struct KeepsWriting {
    tokens: MessageTokenAppender,
    gone: Rc<Cell<bool>>,
}

impl Drop for KeepsWriting {
    fn drop(&mut self) {
        self.gone.set(true);
    }
}

impl Agent for KeepsWriting {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        self.tokens.open()?.append("never ends")?;
        let reply = MessagePromise::of(MessageClass::TEXT).with_start(false);
        ctx.reply(reply.append_from(&self.tokens)?);
        Ok(())
    }
}

#[test]
fn an_agent_that_never_ends_its_own_reply_on_demand_is_freed() {
    let gone = Rc::new(Cell::new(false));
    let agent = KeepsWriting {
        tokens: MiniAgents::new()
            .run(async { Ok(MessageTokenAppender::new()) })
            .unwrap(),
        gone: gone.clone(),
    };
    let ended = MiniAgents::new().run(async { agent.trigger(()).await });
    assert!(ended.unwrap_err().is_deadlock());
    assert!(gone.get());
}

/// What is waited for on demand when the executor goes, of a writing end that lives on.
#[test]
fn wholes_that_wait_for_a_living_writer_are_given_up_with_the_executor() {
    let kept = RefCell::new(None);
    let context = MiniAgents::new();
    let mut scope = Box::pin(context.scope(async {
        let tokens = MessageTokenAppender::new();
        tokens.open()?;
        let message = MessagePromise::of(MessageClass::TEXT).with_start(false);
        let message = message.append_from(&tokens)?;
        message.start();
        let sequence = MessageSequencePromise::of([message.clone()]);
        sequence.start();
        for _ in 0..20 {
            yield_now().await;
        }
        kept.replace(Some((message, sequence, tokens)));
        std::future::pending::<Result<()>>().await
    }));
    assert!(future::block_on(future::poll_once(&mut scope)).is_none());
    let (message, sequence, tokens) = kept.take().unwrap();

    drop(scope);

    let message = future::block_on(future::poll_once(message.wait()));
    let sequence = future::block_on(future::poll_once(sequence.wait()));
    assert!(message.expect("nobody will bring it").is_err());
    assert!(sequence.expect("nobody will bring it").is_err());
    drop(tokens);
}

#[test]
fn replies_on_demand_that_are_persisted_can_be_read_inside_of_others() {
    async fn inner(ctx: InteractionContext) -> Result<()> {
        ctx.reply("inner");
        Ok(())
    }
    let miniagents = MiniAgents::new();
    let persisted = Rc::new(Cell::new(0));
    let count = persisted.clone();
    miniagents.on_persist_messages(move |messages| {
        count.set(count.get() + messages.len());
        async { Ok(()) }
    });
    let read = miniagents.run(async {
        let inner = MiniAgent::new(inner).with_await_reply_persistence(true);
        let on_demand = CallOptions::new().with_start(false);
        let all = messages!["before", inner.trigger_with((), on_demand), "behind"];
        Ok(read(&MessageSequencePromise::of(all)).await)
    });
    assert_eq!(read.unwrap(), ["before", "inner", "behind"]);
    assert!(persisted.get() > 0);
}

#[test]
fn messages_that_were_read_one_by_one_are_one_whole_for_all_who_ask_later() {
    for_each_start(|start| async move {
        let agent = |ctx: InteractionContext| async move {
            ctx.reply("one").reply(["two", "three"]);
            Ok(())
        };
        let options = CallOptions::new().with_start(start);
        let replies = agent.trigger_with((), options);
        assert_eq!(read(&replies).await, ["one", "two", "three"]);
        let other = replies.clone();
        for _ in 0..10 {
            yield_now().await;
        }

        assert!(replies.is_done() && !replies.cancel());
        let (first, second) = (replies.get().unwrap()?, other.wait().await?);
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(first.len(), 3);
        Ok(())
    });
}

#[test]
fn nobody_is_told_again_of_a_whole_that_is_asked_for_late() {
    let told = Rc::new(Cell::new(0));
    let ended = MiniAgents::new().run(async {
        let replies = (async |ctx: InteractionContext| {
            ctx.reply("one");
            Ok(())
        })
        .trigger(());
        assert_eq!(read(&replies).await, ["one"]);
        for _ in 0..20 {
            yield_now().await;
        }
        let noted = told.clone();
        MiniAgents::current()
            .promising()
            .on_promise_resolved(move |_| {
                noted.set(noted.get() + 1);
                async { Ok(()) }
            });
        assert_eq!(replies.await?.len(), 1);
        Ok(())
    });
    ended.unwrap();
    assert_eq!(told.get(), 0);
}

#[test]
fn given_messages_are_read_alike_by_whoever_has_a_handle() {
    MiniAgents::new()
        .run(async {
            let given = MessageSequencePromise::of(["one", "two"]);
            let clone = given.clone();
            let inside = MessageSequencePromise::of(messages!["zero", given, "three"]);
            assert_eq!(read(&inside).await, ["zero", "one", "two", "three"]);
            assert_eq!(read(&clone).await, ["one", "two"]);

            let cancelled = MessageSequencePromise::of(["one", "two"]);
            assert!(cancelled.cancel());
            let inside = MessageSequencePromise::of(messages!["zero", &cancelled]);
            assert!(inside.await.unwrap_err().is_cancelled());
            assert!(format!("{cancelled:?}").contains("done: true"));
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn readers_that_wait_for_messages_sent_together_get_each_in_turn_and_know_where_they_are() {
    MiniAgents::new()
        .run(async {
            let block: Vec<Message> = ["a", "b", "c", "d"].map(text).into();
            let sequence = MessageSequencePromise::of(messages!["first", block, "last"]);
            let log = Rc::new(RefCell::new(Vec::new()));
            let readers = ["one", "two", "three"].map(|name| {
                let (mut promises, log) = (sequence.stream(), log.clone());
                spawn(async move {
                    while let Some(promise) = promises.try_next().await? {
                        let message = promise.await?;
                        let entry = (message.text().to_owned(), name, promises.index());
                        log.borrow_mut().push(entry);
                    }
                    Ok::<_, Error>(())
                })
            });
            for reader in readers {
                reader.await??;
            }
            for name in ["one", "two", "three"] {
                let read = log.borrow();
                let read = read.iter().filter(|(_, reader, _)| *reader == name);
                let texts = ["first", "a", "b", "c", "d", "last"];
                let expected = (1..)
                    .zip(texts)
                    .map(|(at, text)| (text.to_owned(), name, at));
                assert!(read.cloned().eq(expected), "reader {name}");
            }

            let mut late = sequence.stream();
            late.try_next().await?;
            late.try_next().await?;
            late.skip_to(4);
            assert_eq!(
                (late.index(), late.try_next().await?.unwrap().await?.text()),
                (4, "d")
            );
            assert_eq!(late.try_next().await?.unwrap().await?.text(), "last");
            assert_eq!(late.index(), 6);
            Result::Ok(())
        })
        .unwrap();
}

/// What is replied faster than it is flattened is ready where it will come out, unless something comes before it.
#[test]
fn replies_of_both_ways_are_all_there_under_every_schedule() {
    async fn replies(ctx: InteractionContext) -> Result<()> {
        ctx.reply_out_of_order("beside");
        yield_now().await;
        for text in ["one", "two", "three", "four", "five", "six"] {
            ctx.reply(text);
        }
        Ok(())
    }

    for seed in 0..300 {
        let executor = Executor::new().with_schedule(Schedule::Seeded(seed));
        let context = MiniAgents::new();
        let scope = context.scope(async { replies.trigger(()).await });
        let all = executor.block_on(scope).unwrap().unwrap();
        let mut texts: Vec<_> = all.iter().map(Message::text).collect();
        let beside = texts.iter().position(|text| *text == "beside").unwrap();
        texts.remove(beside);
        assert_eq!(
            texts,
            ["one", "two", "three", "four", "five", "six"],
            "{seed}"
        );
    }
}

/// Whoever waits is woken in the turn in which the replies are flattened, here at the first of them.
#[test]
fn a_waker_that_panics_takes_none_of_the_replies_along() {
    struct PanicsOnce(Waker, AtomicBool);
    impl Wake for PanicsOnce {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
            assert!(self.1.swap(true, Relaxed), "not this time");
        }
    }

    /// Waits for the first reply with a waker that panics.
    async fn first(replies: &mut MessageStream) -> Option<Result<MessagePromise>> {
        let mut next = pin!(replies.next());
        let mut waker = None;
        poll_fn(|cx| {
            let panics = || Arc::new(PanicsOnce(cx.waker().clone(), AtomicBool::new(false)));
            let waker = waker.get_or_insert_with(|| Waker::from(panics()));
            next.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await
    }

    for (at_once, handlers) in [(1, false), (3, false), (1, true), (3, true)] {
        let replies = move |ctx: InteractionContext| async move {
            for number in 0..9 {
                ctx.reply(format!("{number}"));
                if number % at_once == 0 {
                    yield_now().await;
                }
            }
            Ok(())
        };
        let context = MiniAgents::new();
        if handlers {
            context.on_promise_resolved(|_| async { Ok(()) });
        }
        let read = context.run(async {
            let options = CallOptions::new().with_start(false);
            let mut replies = replies.trigger_with((), options).stream();
            let mut texts = Vec::new();
            let mut next = first(&mut replies).await;
            while let Some(reply) = next {
                match reply {
                    Ok(reply) => texts.push(reply.await?.text().to_owned()),
                    Err(error) => assert!(error.is_panic(), "{error}"),
                }
                next = replies.next().await;
            }
            Ok(texts)
        });
        let expected: Vec<_> = (0..9).map(|number| number.to_string()).collect();
        assert_eq!(read.unwrap(), expected, "{at_once} at once, {handlers}");
    }
}
