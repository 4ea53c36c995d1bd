//! What is done in the destructor of a thread-local, when those of the crate may be gone, does what it does elsewhere.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_lite::future::poll_once;
use miniagents::executor::{Executor, TaskLocal, sleep, spawn, yield_now};
use miniagents::{
    Agent, History, InteractionContext, KeepTokens, MessagePromise, MiniAgents, Promise, Result,
    TextMessage, Token, Value, generate, messages,
};

thread_local!(static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) });

/// Does something when the thread ends.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|end| end());
    }
}

/// What `body` gives, done as the last of a thread that has used the crate.
fn at_the_end_of_a_thread<T: Send + 'static>(body: fn() -> T) -> T {
    let (done, outcome) = mpsc::channel();
    let thread = thread::spawn(move || {
        // What was used first goes last.
        let end = move || drop(done.send(std::panic::catch_unwind(body)));
        AT_END.replace(Some(AtEnd(Some(Box::new(end)))));
        body();
    });
    thread.join().unwrap();
    let outcome = outcome.recv_timeout(Duration::from_secs(60)).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn an_executor_works() {
    static LOCAL: TaskLocal<u32> = TaskLocal::new();

    let sum = at_the_end_of_a_thread(|| {
        LOCAL.set(1);
        let executor = Executor::with_virtual_clock();
        executor.block_on(async {
            LOCAL.set(2);
            let tasks = (0..3).map(|number| {
                spawn(async move {
                    yield_now().await;
                    sleep(Duration::from_secs(number)).await;
                    LOCAL.get().unwrap()
                })
            });
            let tasks: Vec<_> = tasks.collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
    });
    assert_eq!(sum.unwrap(), 6);
}

#[test]
fn agents_work() {
    async fn shouts(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            ctx.reply(message.await?.text().to_uppercase());
        }
        Ok(())
    }

    fn program() -> Result<String> {
        let miniagents = MiniAgents::new().with_tokens_kept(KeepTokens::UpTo(1));
        miniagents.on_promise_resolved(|_| async { Ok(()) });
        miniagents.run(async {
            let streamed = MessagePromise::new(generate(|out| async move {
                for token in ["one ", "two"] {
                    out.emit(Token::from(token)).await;
                    yield_now().await;
                }
                Ok(())
            }));
            let mut history = History::new();
            history.push(TextMessage::new("three").with("field", 3).build()?);
            let first = shouts.trigger(messages![streamed, &history]);
            let call = shouts.initiate_call();
            call.send_message(first).send_message("four");
            let replies = call.reply_sequence();
            let joined = replies.as_single_text_promise().await?;
            let waited = Promise::new(async { Ok("five") }).await?;
            let key = joined.hash_key();
            let typed: Value = Value::from_serialize(&[&joined])?.to_typed()?;
            assert!(typed.to_string().contains("FOUR"));
            Ok(format!(
                "{} {waited} {key}",
                joined.text().replace("\n\n", " ")
            ))
        })
    }

    let here = program().unwrap();
    assert!(here.starts_with("ONE TWO THREE FOUR five"), "{here}");
    assert_eq!(at_the_end_of_a_thread(program).unwrap(), here);
}

#[test]
fn what_was_left_of_a_program_is_let_go_of() {
    thread_local!(static LEFT: RefCell<Option<Rc<Left>>> = const { RefCell::new(None) });

    /// Replies that nobody has read, of an agent that waits for ever.
    struct Left {
        _replies: miniagents::MessageSequencePromise,
    }

    async fn waits(ctx: InteractionContext) -> Result<()> {
        ctx.reply("a");
        std::future::pending().await
    }

    let thread = thread::spawn(|| {
        LEFT.replace(None);
        let executor = Executor::new();
        let context = MiniAgents::new();
        let scope = context.scope(async {
            let _replies = waits.trigger(());
            yield_now().await;
            LEFT.replace(Some(Rc::new(Left { _replies })));
            Ok(())
        });
        let _ = executor.block_on(poll_once(scope));
    });
    thread.join().unwrap();
}
