//! Messages that are split while they come.

use futures_lite::{StreamExt, stream};
use miniagents::executor::yield_now;
use miniagents::{
    Error, Frozen, MessageClass, MessagePromise, MessageTokenAppender, MiniAgents, Result, Split,
    Token, messages, split_messages,
};

#[test]
fn a_paragraph_is_there_while_the_next_is_being_written() {
    MiniAgents::new()
        .run(async {
            let source = MessageTokenAppender::new();
            source.open()?;
            let whole = MessagePromise::of(MessageClass::TEXT).append_from(&source)?;
            let mut parts = split_messages(whole, Split::default()).stream();

            source.append("The fir")?;
            let first = parts.try_next().await?.unwrap();
            let mut tokens = first.stream();
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "The fir");
            source.append("st.\n\nThe second")?;
            assert_eq!(first.await?.text(), "The first.");
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "st.");
            assert!(tokens.try_next().await?.is_none());

            let second = parts.try_next().await?.unwrap();
            assert!(second.get().is_none(), "nobody knows its end yet");
            let mut tokens = second.stream();
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "The second");
            source.close();
            assert_eq!(second.await?.text(), "The second");
            assert!(parts.try_next().await?.is_none());
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn an_error_ends_the_message_that_is_being_written() {
    MiniAgents::new()
        .run(async {
            let tokens = ["one\n\n", "tw", "o\n"].map(|text| Ok(Token::from(text)));
            let tokens = stream::iter(tokens).chain(stream::once(Err(Error::msg("no ink"))));
            let whole = MessagePromise::of(MessageClass::TEXT).stream(tokens)?;
            let parts = split_messages(whole, Split::default());

            let mut reader = parts.stream();
            assert_eq!(reader.try_next().await?.unwrap().await?.text(), "one");
            let second = reader.try_next().await?.unwrap();
            let mut tokens = second.stream();
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "tw");
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "o");
            assert_eq!(tokens.try_next().await?.unwrap().as_str(), "\n");
            assert_eq!(tokens.try_next().await.unwrap_err().to_string(), "no ink");
            assert_eq!(second.await.unwrap_err().to_string(), "no ink");
            assert!(reader.try_next().await?.is_none());
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn an_error_between_messages_is_one_of_the_sequence() {
    MiniAgents::new()
        .run(async {
            let said = messages!["one\n\n", Error::msg("no ink")];
            let mut reader = split_messages(said, Split::default()).stream();
            assert_eq!(reader.try_next().await?.unwrap().await?.text(), "one");
            let error = reader.try_next().await.unwrap_err();
            assert_eq!(error.to_string(), "no ink");
            assert!(reader.try_next().await?.is_none());
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn parts_are_of_the_class_and_have_the_fields_that_were_asked_for() {
    let how = Split::default()
        .with_class(MessageClass::USER)
        .with_fields(&Frozen::new().with("mood", "good"));
    let parts = MiniAgents::new().run(async {
        let parts = split_messages(messages!["one\n\ntwo", "three"], how);
        let known = parts.stream().try_next().await?.unwrap();
        assert_eq!(
            known.known_beforehand().get("mood").unwrap().as_str(),
            Some("good")
        );
        parts.await
    });
    let parts = parts.unwrap();
    let texts: Vec<_> = parts.iter().map(|part| part.text()).collect();
    assert_eq!(
        texts,
        ["one", "two", "three"],
        "between messages it is split too"
    );
    assert!(parts.iter().all(|part| part.role() == Some("user")));
}

#[test]
fn one_part_that_is_cancelled_holds_up_nobody() {
    MiniAgents::new()
        .run(async {
            let source = MessageTokenAppender::new();
            source.open()?;
            let whole = MessagePromise::of(MessageClass::TEXT).append_from(&source)?;
            let mut parts = split_messages(whole, Split::default()).stream();
            source.append("one")?;
            let first = parts.try_next().await?.unwrap();
            assert!(first.cancel());
            source.append(" and more\n\ntwo")?;
            source.close();
            yield_now().await;
            assert!(first.await.unwrap_err().is_cancelled());
            assert_eq!(parts.try_next().await?.unwrap().await?.text(), "two");
            assert!(parts.try_next().await?.is_none());
            Result::Ok(())
        })
        .unwrap();
}
