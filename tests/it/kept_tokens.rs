//! What is kept of the tokens of messages that are complete.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use futures_lite::StreamExt;
use miniagents::executor::yield_now;
use miniagents::{
    Error, KeepTokens, MessageClass, MessagePromise, MessageTokenAppender, MiniAgents, Result,
    Token, TokensHeld, generate,
};

fn message(texts: &'static [&'static str]) -> MessagePromise {
    MessagePromise::new(generate(move |out| async move {
        for text in texts {
            yield_now().await;
            out.emit(Token::from(*text)).await;
        }
        Ok(())
    }))
}

async fn tokens(promise: &MessagePromise) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut tokens = promise.stream();
    while let Some(token) = tokens.try_next().await? {
        texts.push(token.to_string());
    }
    Ok(texts)
}

fn held(messages: usize, tokens: usize, folded: usize) -> TokensHeld {
    TokensHeld {
        messages,
        tokens,
        folded,
    }
}

fn run(keep: KeepTokens, body: impl AsyncFnOnce(&MiniAgents) -> Result<()>) {
    let miniagents = MiniAgents::new().with_tokens_kept(keep);
    let context = miniagents.clone();
    miniagents.run(async move { body(&context).await }).unwrap();
}

#[test]
fn all_are_kept_where_nobody_says_otherwise() {
    let miniagents = MiniAgents::new();
    let context = miniagents.clone();
    let body = async move {
        let promise = message(&["a", "b", "c"]);
        (&promise).await?;
        assert_eq!(tokens(&promise).await?, ["a", "b", "c"]);
        assert_eq!(context.tokens_held(), TokensHeld::default());
        Ok(())
    };
    miniagents.run(body).unwrap();
}

#[test]
fn a_message_that_is_complete_and_not_read_is_folded() {
    run(KeepTokens::UpTo(1), async |miniagents| {
        let promise = message(&["a", "b", "c"]);
        let whole = (&promise).await?;
        yield_now().await;

        assert_eq!(miniagents.tokens_held(), held(1, 1, 1));
        assert_eq!(tokens(&promise).await?, ["abc"]);
        assert_eq!((&promise).await?, whole);
        assert_eq!(whole.text(), "abc");
        Ok(())
    });
}

#[test]
fn short_messages_are_kept_as_they_are() {
    run(KeepTokens::UpTo(2), async |miniagents| {
        let (short, long) = (message(&["a", "b"]), message(&["a", "b", "c"]));
        (&short).await?;
        (&long).await?;
        yield_now().await;

        assert_eq!(miniagents.tokens_held(), held(2, 3, 1));
        assert_eq!(tokens(&short).await?, ["a", "b"]);
        assert_eq!(tokens(&long).await?, ["abc"]);
        Ok(())
    });
}

#[test]
fn a_message_is_counted_also_where_a_waker_panics_of_who_waits_for_it() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("this waker panics")
        }
    }

    run(KeepTokens::UpTo(1), async |miniagents| {
        let promise = message(&["a", "b", "c"]);
        let waker = Waker::from(Arc::new(Panics));
        let mut wait = pin!(promise.wait());
        let waits = wait.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(waits.is_pending());
        assert_eq!((&promise).await?.text(), "abc"); // and is not missed, behind the other one
        yield_now().await;

        assert_eq!(miniagents.tokens_held(), held(1, 1, 1));
        Ok(())
    });
}

#[test]
fn a_reader_inside_keeps_the_tokens_until_it_leaves() {
    run(KeepTokens::UpTo(1), async |miniagents| {
        let promise = message(&["a", "b", "c"]);
        let (mut first, second) = (promise.stream(), promise.stream());
        assert_eq!(first.next().await.unwrap()?.as_str(), "a");
        (&promise).await?;
        yield_now().await;
        assert_eq!(miniagents.tokens_held(), held(1, 3, 0));

        drop(second); // it has read nothing
        assert_eq!(miniagents.tokens_held(), held(1, 3, 0));
        assert_eq!(first.next().await.unwrap()?.as_str(), "b");
        assert_eq!(first.next().await.unwrap()?.as_str(), "c");
        assert!(first.next().await.is_none());
        assert_eq!(miniagents.tokens_held(), held(1, 3, 0));

        drop(first);
        assert_eq!(miniagents.tokens_held(), held(1, 1, 1));
        assert_eq!(tokens(&promise).await?, ["abc"]);
        Ok(())
    });
}

#[test]
fn a_message_that_streams_is_not_folded_when_its_readers_leave() {
    run(KeepTokens::UpTo(1), async |miniagents| {
        let appender = MessageTokenAppender::new();
        appender.open()?;
        let promise = MessagePromise::of(MessageClass::TEXT).append_from(&appender)?;
        appender.append("a")?.append("b")?;
        let mut reader = promise.stream();
        assert_eq!(reader.next().await.unwrap()?.as_str(), "a");
        drop(reader);

        appender.append("c")?;
        let mut reader = promise.stream();
        assert_eq!(reader.next().await.unwrap()?.as_str(), "a");
        appender.close();
        assert_eq!(
            reader
                .map(|token| token.unwrap().to_string())
                .collect::<Vec<_>>()
                .await,
            ["b", "c"]
        );
        (&promise).await?;
        yield_now().await;
        assert_eq!(miniagents.tokens_held(), held(1, 1, 1));
        Ok(())
    });
}

#[test]
fn a_message_that_fails_keeps_its_tokens() {
    run(KeepTokens::UpTo(1), async |miniagents| {
        let promise = MessagePromise::new(generate(|out| async move {
            out.emit(Token::from("a")).await;
            out.emit(Token::from("b")).await;
            Err(Error::msg("out of ink"))
        }));
        assert!((&promise).await.is_err());
        yield_now().await;

        let mut reader = promise.stream();
        assert_eq!(reader.next().await.unwrap()?.as_str(), "a");
        assert_eq!(reader.next().await.unwrap()?.as_str(), "b");
        assert!(reader.next().await.unwrap().is_err());
        assert!(reader.next().await.is_none());
        assert_eq!(miniagents.tokens_held(), TokensHeld::default());
        Ok(())
    });
}

#[test]
fn what_is_gone_is_not_counted() {
    run(KeepTokens::UpTo(1), async |miniagents| {
        for _ in 0..3 {
            message(&["a", "b"]).await?;
            yield_now().await;
        }
        yield_now().await;
        assert_eq!(miniagents.tokens_held(), held(0, 0, 3));
        Ok(())
    });
}

#[test]
fn all_can_be_kept_and_counted() {
    run(KeepTokens::All, async |miniagents| {
        let promise = message(&["a", "b"]);
        (&promise).await?;
        yield_now().await;
        assert_eq!(miniagents.tokens_held(), held(1, 2, 0));
        assert_eq!(tokens(&promise).await?, ["a", "b"]);
        Ok(())
    });
}
