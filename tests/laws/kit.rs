//! The law kit finds what is broken, and nothing else.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{sleep, unblock, yield_now};
use miniagents::laws::{self, programs::Program, seeded_bytes};
use miniagents::{
    Agent, Error, InteractionContext, MessageClass, MessagePromise, MessageTokenAppender,
    MiniAgents, Result, StreamAppender, StreamedPromise, messages,
};

async fn writer(ctx: InteractionContext) -> Result<()> {
    let appender = MessageTokenAppender::new();
    appender.open()?;
    ctx.reply(MessagePromise::of(MessageClass::ASSISTANT).append_from(&appender)?);
    for token in ["Once ", "upon ", "a time"] {
        sleep(Duration::from_secs(1)).await;
        appender.append(token)?;
    }
    appender.close();
    Ok(())
}

async fn slow(ctx: InteractionContext) -> Result<()> {
    sleep(Duration::from_secs(60)).await;
    ctx.reply("finally");
    Ok(())
}

/// Replies in every way there is.
async fn busy(ctx: InteractionContext) -> Result<()> {
    ctx.reply_out_of_order(slow.trigger(()));
    ctx.reply(messages!["first", writer.trigger(()), [ctx.messages()]]);
    yield_now().await;
    let written = writer.trigger(()).await?;
    ctx.reply(&written[0]);
    ctx.reply(Error::msg("and an error"));
    ctx.reply("last");
    Ok(())
}

async fn fails(ctx: InteractionContext) -> Result<()> {
    ctx.reply("so far so good");
    yield_now().await;
    Err(Error::msg("out of ink"))
}

async fn panics(ctx: InteractionContext) -> Result<()> {
    ctx.reply("so far so good");
    yield_now().await;
    std::panic::resume_unwind(Box::new("on purpose"))
}

#[test]
fn agents_that_do_what_they_like_keep_the_laws() {
    laws::agent(writer, ()).unwrap();
    laws::agent(slow, ()).unwrap();
    laws::agent(busy, ["Hello", "World"]).unwrap();
    laws::agent(fails, ()).unwrap();
    laws::agent(panics, ()).unwrap();
}

#[cfg(feature = "embedded")]
#[test]
fn the_embedded_model_keeps_the_laws() {
    use miniagents::llm::EmbeddedModel;
    let model = EmbeddedModel::new().with_pace(Duration::from_millis(50));
    laws::agent(model, "I need my coffee.").unwrap();
}

#[test]
fn work_on_threads_keeps_the_laws() {
    laws::promise(|| {
        miniagents::Promise::new(async {
            let made = unblock(|| {
                std::thread::sleep(Duration::from_millis(1));
                7
            });
            made.await
        })
    })
    .unwrap();
}

#[test]
fn an_agent_that_leaves_something_running_when_it_is_cancelled_is_caught() {
    async fn leaves_a_task(ctx: InteractionContext) -> Result<()> {
        let appender = StreamAppender::<i32>::new();
        appender.open()?;
        let pieces = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        // It keeps the appender open that it reads from, unless the agent closes it.
        let kept = appender.clone();
        let reading = MiniAgents::current().start_soon(async move {
            let read = pieces.await;
            drop(kept);
            read.map(drop)
        });
        sleep(Duration::from_secs(1)).await;
        appender.close();
        reading.await?;
        ctx.reply("done");
        Ok(())
    }

    let broken = laws::agent(leaves_a_task, ()).unwrap_err();

    assert_eq!(broken.law(), "cancelling ends every reader");
    assert!(broken.what().contains("cancelled at step"), "{broken}");
    assert!(broken.what().contains("nothing can ever go on"), "{broken}");
}

#[test]
fn an_agent_that_remembers_the_call_before_is_caught() {
    let before = Rc::new(RefCell::new(0));
    let remembers = move |ctx: InteractionContext| {
        *before.borrow_mut() += 1;
        ctx.reply(format!("call {}", before.borrow()));
        async { Ok(()) }
    };

    let broken = laws::agent(remembers, ()).unwrap_err();

    assert_eq!(broken.law(), "replay equals live");
}

#[test]
fn what_never_ends_is_caught() {
    async fn endless(_: InteractionContext) -> Result<()> {
        loop {
            yield_now().await;
        }
    }
    async fn stuck(_: InteractionContext) -> Result<()> {
        std::future::pending().await
    }

    assert!(
        laws::agent(endless, ())
            .unwrap_err()
            .what()
            .contains("still runs")
    );
    assert!(
        laws::agent(stuck, ())
            .unwrap_err()
            .what()
            .contains("nothing can ever go on")
    );
}

#[test]
fn few_bytes_make_small_programs_and_many_make_large_ones() {
    let size = |bytes: &[u8]| Program::from_bytes(bytes).to_string().lines().count();
    assert_eq!(size(b""), 2);
    assert!((0..100).all(|seed| size(&seeded_bytes(seed, 10)) < 30));
    assert!((0..100).any(|seed| size(&seeded_bytes(seed, 300)) > 25));
}

#[test]
fn programs_do_what_they_are_made_for() {
    let (mut deadlocks, mut said) = (0, String::new());
    for seed in 0..600 {
        let trace = Program::from_bytes(&seeded_bytes(seed, 60)).run();
        deadlocks += usize::from(trace.is_deadlock());
        said += &trace.to_string();
    }
    assert!(
        (1..100).contains(&deadlocks),
        "{deadlocks} of 600 get stuck"
    );
    for event in [
        "replies InOrder",
        "replies OutOfOrder",
        "makes call",
        "panics",
        "finished early",
        "is too late to reply",
        "gathered",
        "awaited",
        "had a glance",
        ": true",
        "failure",
        "token error",
        "was cancelled",
        "was not over within",
    ] {
        assert!(said.contains(event), "no program ever: {event}");
    }
}
