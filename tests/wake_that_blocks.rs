//! A waker of somebody else's may run the executor before it passes the wake on.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_lite::{StreamExt, future, stream};
use miniagents::executor::{Executor, spawn, yield_now};
use miniagents::{
    Agent, CallOptions, Error, InteractionContext, KeepTokens, Message, MessagePromise,
    MessageSequencePromise, Messages, MiniAgents, PromisingContext, Result, StreamAppender,
    StreamedPromise, TextMessage, Token, generate,
};

type Numbers = StreamedPromise<i32, Rc<[i32]>>;

thread_local! {
    static DONE_IN_THE_WAKE: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
    static OTHERS_RUN_IN_THE_WAKE: Cell<bool> = const { Cell::new(false) };
}

/// Does what is to be done, if anything is, and lets others run, once, and only then wakes.
struct Slow(Mutex<Waker>);

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        let done = DONE_IN_THE_WAKE.take().map(|what| what());
        if done.is_some() || OTHERS_RUN_IN_THE_WAKE.take() {
            let turns = async {
                for _ in 0..5 {
                    yield_now().await;
                }
            };
            Executor::current().unwrap().block_on(turns).unwrap();
        }
        self.0.lock().unwrap().wake_by_ref();
    }
}

async fn with_slow_waker<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    future::poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Slow(Mutex::new(cx.waker().clone()))));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

#[test]
fn a_reader_is_not_lost_where_the_whole_is_cancelled_while_it_is_woken() {
    let read = PromisingContext::new().run(async {
        let appender = StreamAppender::new();
        appender.open()?;
        let promise = Numbers::collected(appender.stream());
        for _ in 0..3 {
            yield_now().await; // what makes the whole is the first of those who wait
        }
        let (mut one, mut other) = (promise.stream(), promise.stream());
        let one = spawn(async move { with_slow_waker(StreamExt::next(&mut one)).await });
        let other = spawn(async move { StreamExt::next(&mut other).await });
        for _ in 0..3 {
            yield_now().await;
        }

        let cancelled = promise.clone();
        DONE_IN_THE_WAKE.set(Some(Box::new(move || assert!(cancelled.cancel()))));
        appender.append_error(Error::msg("an error"))?;
        for _ in 0..20 {
            yield_now().await;
        }

        let mut read = Vec::new();
        for reader in [one, other] {
            read.push(match future::poll_once(reader).await {
                Some(next) => next?.unwrap().unwrap_err().to_string(),
                None => "waits".into(),
            });
        }
        Result::Ok(read)
    });
    assert_eq!(read.unwrap(), ["an error", "an error"]);
}

#[test]
fn no_reply_is_lost_where_others_run_while_somebody_is_woken_for_another() {
    fn said(text: &str) -> Message {
        TextMessage::new(text).build().unwrap()
    }

    async fn speaks(ctx: InteractionContext) -> Result<()> {
        ctx.reply_out_of_order(said("beside"));
        ctx.reply(said("one"));
        ctx.reply(said("two"));
        yield_now().await;
        ctx.reply_out_of_order(said("late"));
        ctx.reply(said("three"));
        Ok(())
    }

    let mut texts = MiniAgents::new()
        .run(async {
            PromisingContext::current().on_promise_resolved(|_| async { Ok(()) });
            let replies = speaks.trigger_with((), CallOptions::new().with_start(false));
            OTHERS_RUN_IN_THE_WAKE.set(true);
            let (mut texts, mut reader) = (Vec::new(), replies.stream());
            while let Some(reply) = with_slow_waker(reader.next()).await {
                texts.push(match reply {
                    Ok(promise) => promise.await?.text().to_owned(),
                    Err(error) => error.to_string(),
                });
            }
            Result::Ok(texts)
        })
        .unwrap();
    assert!(!OTHERS_RUN_IN_THE_WAKE.get(), "somebody was woken");
    texts.sort();
    assert_eq!(texts, ["beside", "late", "one", "three", "two"]);
}

/// It is polled in every turn, also in those that others have in the wake.
async fn polled_always<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(with_slow_waker(future));
    future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        future.as_mut().poll(cx)
    })
    .await
}

#[test]
fn nothing_given_is_lost_where_others_run_while_its_reader_is_woken() {
    let read = MiniAgents::new().run(async {
        PromisingContext::current().on_promise_resolved(|_| async { Ok(()) });
        let given = MessageSequencePromise::of(["one", "two", "three"]);
        let mut reader = given.stream();
        OTHERS_RUN_IN_THE_WAKE.set(true);
        let reading = spawn(async move {
            let mut texts = Vec::new();
            while let Some(promise) = polled_always(reader.try_next()).await? {
                texts.push(promise.await?.text().to_owned());
            }
            Result::<_, Error>::Ok(texts)
        });
        let texts = reading.await??;
        assert!(!OTHERS_RUN_IN_THE_WAKE.get(), "somebody was woken");
        Result::<_, Error>::Ok((texts, given.await?.len()))
    });
    assert_eq!(
        read.unwrap(),
        (["one", "two", "three"].map(String::from).to_vec(), 3)
    );
}

#[test]
fn tokens_are_counted_right_where_the_last_reader_goes_while_others_are_woken_for_the_whole() {
    let miniagents = MiniAgents::new().with_tokens_kept(KeepTokens::UpTo(1));
    let context = miniagents.clone();
    let body = async move {
        let message = MessagePromise::new(generate(|out| async move {
            for text in ["one ", "two ", "three"] {
                out.emit(Token::from(text)).await;
            }
            yield_now().await;
            Ok(())
        }));
        let waiting = message.wait();
        let waiting = spawn(async move { with_slow_waker(waiting).await });
        let (mut tokens, behind) = (message.stream(), message.wait());
        let reading = spawn(async move {
            while tokens.try_next().await?.is_some() {}
            behind.await // the other one is woken first, and this one reads on meanwhile
        });
        OTHERS_RUN_IN_THE_WAKE.set(true);
        waiting.await??;
        reading.await??;
        assert!(!OTHERS_RUN_IN_THE_WAKE.get(), "somebody was woken");
        let held = context.tokens_held();
        assert_eq!((held.messages, held.tokens, held.folded), (1, 1, 1));
        drop(message);
        assert_eq!(context.tokens_held().messages, 0);
        Result::Ok(())
    };
    miniagents.run(body).unwrap();
}

#[test]
fn what_has_ended_is_not_broken_off_where_it_is_cancelled_while_its_reader_is_woken() {
    async fn silent(_: InteractionContext) -> Result<()> {
        Ok(())
    }

    async fn speaks_beside(ctx: InteractionContext) -> Result<()> {
        ctx.reply_out_of_order(MessageSequencePromise::of("beside"));
        ctx.reply(Messages::from_stream(stream::pending::<Result<&str>>()));
        Ok(())
    }

    fn read(agent: impl Agent, messages: usize) -> Vec<String> {
        let read = MiniAgents::new().run(async move {
            let replies = agent.trigger_with((), CallOptions::new().with_start(false));
            let (mut texts, mut reader) = (Vec::new(), replies.stream());
            loop {
                if texts.len() == messages {
                    let cancelled = replies.clone();
                    DONE_IN_THE_WAKE.set(Some(Box::new(move || assert!(cancelled.cancel()))));
                }
                match polled_always(reader.next()).await {
                    Some(Ok(reply)) => texts.push(reply.await?.text().to_owned()),
                    Some(Err(error)) => texts.push(error.to_string()),
                    None => break,
                }
            }
            assert!(DONE_IN_THE_WAKE.take().is_none(), "somebody was woken");
            Result::Ok(texts)
        });
        read.unwrap()
    }

    assert_eq!(read(silent, 0), ["this was cancelled"]);
    assert_eq!(read(speaks_beside, 1), ["beside", "this was cancelled"]);
}
