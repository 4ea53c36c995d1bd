//! What a program costs in turns of the loop does not grow with how much there is: each token, agent,
//! message and turn of a dialogue takes as many as the one before.

use std::cell::Cell;
use std::rc::Rc;

use miniagents::executor::yield_now;
use miniagents::{
    Agent, CallOptions, InteractionContext, Message, MessagePromise, MessageSequencePromise,
    MiniAgents, Result, TextMessage, Token, generate,
};

/// How many turns of the loop a program takes.
fn turns(program: impl Future<Output = Result<()>>) -> usize {
    MiniAgents::new()
        .run(async {
            let (turns, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let (count, is_over) = (turns.clone(), over.clone());
            let counting = MiniAgents::current().start_soon(async move {
                while !is_over.get() {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
                Ok(())
            });
            program.await?;
            over.set(true);
            counting.await?;
            Ok(turns.get())
        })
        .unwrap()
}

/// Each step of `size` costs what the one before cost.
#[track_caller]
fn is_linear<P: Future<Output = Result<()>>>(program: impl Fn(usize) -> P) {
    let taken = [10, 20, 40, 80].map(|size| turns(program(size)));
    let of_one = (taken[1] - taken[0]) as f64 / 10.0;
    assert!(of_one > 0.0, "{taken:?}");
    assert_eq!(taken[2] - taken[1], 2 * (taken[1] - taken[0]), "{taken:?}");
    assert_eq!(taken[3] - taken[2], 4 * (taken[1] - taken[0]), "{taken:?}");
}

async fn tokens(ctx: InteractionContext) -> Result<()> {
    let count: usize = ctx.argument("count")?;
    ctx.reply(MessagePromise::new(generate(move |out| async move {
        for _ in 0..count {
            yield_now().await;
            out.emit(Token::from("t")).await;
        }
        Ok(())
    })));
    Ok(())
}

async fn forward(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

async fn read(replies: MessageSequencePromise) -> Result<()> {
    let mut messages = replies.stream();
    while let Some(message) = messages.try_next().await? {
        let mut tokens = message.stream();
        while tokens.try_next().await?.is_some() {}
    }
    Ok(())
}

#[test]
fn tokens_of_a_message() {
    is_linear(|count| async move {
        let options = CallOptions::new().with("count", count);
        read(forward.trigger(tokens.trigger_with((), options))).await
    });
}

#[test]
fn agents_in_a_row() {
    is_linear(|count| async move {
        let mut replies = forward.trigger("hello");
        for _ in 1..count {
            replies = forward.trigger(replies);
        }
        read(replies).await
    });
}

#[test]
fn turns_of_a_dialogue() {
    async fn count(ctx: InteractionContext) -> Result<()> {
        ctx.reply(format!("{}", ctx.messages().await?.len()));
        Ok(())
    }
    is_linear(|turns| async move {
        let mut history: Vec<Message> = Vec::new();
        for _ in 0..turns {
            history.push(TextMessage::new("and now?").build()?);
            let replies = count.trigger(&history).await?;
            assert_eq!(replies[0].text(), history.len().to_string());
            history.extend_from_slice(&replies);
        }
        Ok(())
    });
}

#[test]
fn messages_that_come_out_of_order() {
    async fn sprinkle(ctx: InteractionContext) -> Result<()> {
        for number in 0..ctx.argument::<usize>("count")? {
            ctx.reply_out_of_order(format!("{number}"));
            yield_now().await;
        }
        Ok(())
    }
    is_linear(|count| async move {
        let options = CallOptions::new().with("count", count);
        let replies = sprinkle.trigger_with((), options).await?;
        assert_eq!(replies.len(), count);
        Ok(())
    });
}
