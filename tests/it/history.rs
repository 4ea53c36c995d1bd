//! What was said so far: sent as it is, in the turns of any list of messages.

use miniagents::executor::{spawn, yield_now};
use miniagents::history::InMemoryHistoryAgent;
use miniagents::{
    Agent, History, InteractionContext, IntoMessages, Message, MessageSequencePromise, MiniAgents,
    Result, TextMessage, messages,
};

use crate::events::{events_of, note};

fn said(text: &str) -> Message {
    TextMessage::new(text).build().unwrap()
}

/// Reads what it gets, says what it reads, and replies with all of it.
async fn echo(ctx: InteractionContext) -> Result<()> {
    let mut incoming = ctx.messages().stream();
    while let Some(message) = incoming.try_next().await? {
        note(format_args!("read {}", message.await?));
    }
    ctx.reply(ctx.messages());
    Ok(())
}

#[test]
fn history_is_read_in_the_turns_of_a_vector() {
    /// What happens where somebody counts the turns while the same is sent in several ways.
    fn events<M: IntoMessages + Clone + 'static>(what: M) -> Vec<String> {
        events_of(async move {
            let ticking = spawn(async {
                for turn in 0..60 {
                    note(format_args!("turn {turn}"));
                    yield_now().await;
                }
            });
            note(format_args!(
                "{} replies",
                echo.trigger(what.clone()).await?.len()
            ));
            let sequence =
                MessageSequencePromise::of(messages!["first", [what.clone()], what.clone()]);
            let mut promises = echo.trigger(&sequence).stream();
            while let Some(reply) = promises.try_next().await? {
                note(format_args!("reply {}", reply.await?));
            }
            note(format_args!("{} in all", sequence.await?.len()));
            note(format_args!(
                "{} given",
                MessageSequencePromise::of(what).await?.len()
            ));
            ticking.await?;
            Ok(())
        })
    }

    for len in [0, 1, 2, 9] {
        let vector: Vec<_> = (0..len).map(|n| said(&n.to_string())).collect();
        let history = History::from(vector.clone());
        assert_eq!(events(history.clone()), events(vector.clone()));

        // It has been shorter, and has gone on somewhere else.
        history.clone().push(said("elsewhere"));
        assert_eq!(events(history.clone()), events(vector));
    }
}

#[test]
fn what_was_sent_stays_what_it_was() {
    let replies = MiniAgents::new().run(async {
        let mut history = History::from_iter([&said("one"), &said("two")]);
        let replies = echo.trigger(&history);
        history.push(said("three"));
        history.truncate(1);
        history.push(said("zwei"));
        assert_eq!(history, [said("one"), said("zwei")].to_vec());
        replies.await
    });
    assert_eq!(*replies.unwrap(), [said("one"), said("two")]);
}

#[test]
fn branches_do_not_see_each_other() {
    let mut first = History::new();
    first.push(said("begin"));
    let mut second = first.clone();
    for n in 0..20 {
        first.push(said(&format!("a{n}")));
        second.push(said(&format!("b{n}")));
    }
    let third = second.clone();
    second.clear();
    second.push(said("anew"));

    assert_eq!(
        (first.len(), first[0].text(), first[20].text()),
        (21, "begin", "a19")
    );
    assert_eq!(
        (third.len(), third[0].text(), third[20].text()),
        (21, "begin", "b19")
    );
    assert_eq!(
        second.iter().map(Message::text).collect::<Vec<_>>(),
        ["anew"]
    );
}

#[test]
#[should_panic(expected = "a history of 1 has no message 1")]
fn what_was_not_said_is_not_there() {
    let mut history = History::from(vec![said("one"), said("two")]);
    history.truncate(1);
    let _ = &history[1];
}

#[test]
fn history_in_memory_gives_what_was_said() {
    let agent = InMemoryHistoryAgent::new();
    let before = agent.said();
    let heard = agent.clone();
    let kept = MiniAgents::new().run(async { heard.trigger(["one", "two"]).await });
    assert_eq!(agent.said(), *kept.unwrap());
    assert!(before.is_empty());
    assert_eq!(agent.said(), agent.messages());
}

#[test]
fn history_in_memory_can_be_looked_at_while_it_is_filled() {
    let agent = InMemoryHistoryAgent::new();
    let before = |n: usize| said(&format!("{} were there", agent.said().len() + n));
    let messages = (0..2).map(before);
    let filled = agent.clone().with_messages(messages);
    assert_eq!(filled.messages()[1].text(), "2 were there");
}
