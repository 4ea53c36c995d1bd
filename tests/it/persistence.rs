//! Persistence: every message is handed over once, those inside of it first.

use std::future::Ready;
use std::time::Duration;

use log::LevelFilter;
use miniagents::executor::sleep;
use miniagents::{
    Agent, Error, Frozen, InteractionContext, Message, MessageSequencePromise, MiniAgent,
    MiniAgents, PersistOptions, Promise, Result, TextMessage,
};

use crate::events::{events_in, note};

/// The text of a message, or the class of one without text.
fn name(message: &Message) -> &str {
    message.content().unwrap_or(message.class_name())
}

fn names(messages: &[Message]) -> String {
    messages.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A context that notes what it persists.
fn noting() -> MiniAgents {
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        if !messages.is_empty() {
            note(format!("persisting {}", names(&messages)));
        }
        Ok(())
    });
    miniagents
}

fn text(content: &str) -> Message {
    TextMessage::new(content).build().unwrap()
}

/// How often handlers are told of what resolves, and what is persisted, when `values` resolve; for a
/// context that starts soon and one that starts on demand.
fn told_and_persisted<T: Clone + 'static>(values: impl Fn() -> [T; 2]) -> Vec<String> {
    let counts = [true, false].map(|start_soon| {
        let miniagents = noting().with_start_soon(start_soon);
        miniagents.on_promise_resolved(|_| async {
            note("resolved");
            Ok(())
        });
        events_in(&miniagents, async {
            for value in values() {
                drop(Promise::ready(value));
            }
            Ok(())
        })
    });
    let [soon, on_demand] = counts.map(|mut events| {
        events.sort(); // whether persisting comes first is not the point here
        events
    });
    assert_eq!(soon, on_demand);
    soon
}

#[test]
fn message_that_resolves_twice_is_persisted_once() {
    let events = told_and_persisted(|| {
        let message = Message::from_fields(&Frozen::new()).unwrap();
        [message.clone(), message]
    });

    assert_eq!(events, ["persisting Message", "resolved", "resolved"]);
}

#[test]
fn two_messages_are_persisted_each_even_if_they_are_equal() {
    let message = || Message::from_fields(&Frozen::new()).unwrap();

    let events = told_and_persisted(|| [message(), message()]);

    assert_eq!(
        events,
        [
            "persisting Message",
            "persisting Message",
            "resolved",
            "resolved"
        ]
    );
}

#[test]
fn what_is_no_message_is_not_persisted() {
    let frozen = Frozen::new().with("some_field", "not a message");

    let events = told_and_persisted(|| [frozen.clone(), frozen.clone()]);

    assert_eq!(events, ["resolved", "resolved"]);
}

#[test]
fn messages_inside_are_persisted_first_and_each_once() {
    let events = events_in(&noting(), async {
        let shared = text("shared");
        let inner = TextMessage::new("inner").with("shared", &shared).build()?;
        let fields = Frozen::new().with("deep", [&inner].map(Message::clone));
        let outer = TextMessage::new("outer")
            .with("shared", &shared)
            .with("fields", fields);
        MessageSequencePromise::of(outer).await?;
        MessageSequencePromise::of([&shared, &inner]).await?;
        Ok(())
    });

    assert_eq!(events, ["persisting shared, inner, outer"]);
}

#[test]
fn persisting_by_hand_gives_what_was_handed_over() {
    let miniagents = noting();

    let events = events_in(&miniagents, async {
        let inner = text("inner");
        let outer = TextMessage::new("outer").with("inner", &inner).build()?;
        let miniagents = MiniAgents::current();
        let first = miniagents
            .persist_messages([outer.clone(), text("other")])
            .await?;
        note(format!("handed over: {}", names(&first)));
        let again = miniagents.persist_messages([outer, inner]).await?;
        note(format!("handed over again: {}", again.len()));
        Ok(())
    });

    assert_eq!(
        events,
        [
            "persisting inner, outer, other",
            "handed over: inner, outer, other",
            "handed over again: 0",
        ]
    );
}

#[test]
fn messages_inside_may_be_left_out() {
    let events = events_in(&noting(), async {
        let inner = text("inner");
        let outer = TextMessage::new("outer").with("inner", &inner).build()?;
        let alone = PersistOptions::default().with_sub_messages(false);
        let miniagents = MiniAgents::current();
        miniagents.persist_messages_with([outer], alone).await?;
        note(inner.is_persistence_not_needed());
        Ok(())
    });

    assert_eq!(events, ["persisting outer", "false"]);
}

#[test]
fn message_that_need_not_be_persisted_is_not() {
    let events = events_in(&noting(), async {
        let message = text("known already");
        message.set_persistence_not_needed(true);
        MessageSequencePromise::of([message, text("new")]).await?;
        Ok(())
    });

    assert_eq!(events, ["persisting new"]);
}

mod waiting_for_replies {
    use super::*;

    async fn talk(ctx: InteractionContext) -> Result<()> {
        ctx.reply(["one", "two"]);
        note("agent ends");
        Ok(())
    }

    /// What happens when each message takes a second to store.
    fn events(miniagents: MiniAgents, agent: MiniAgent) -> Vec<String> {
        miniagents.on_persist_messages(|messages| async move {
            if messages.is_empty() {
                return Ok(());
            }
            note(format!("persisting {}", names(&messages)));
            sleep(Duration::from_secs(1)).await;
            note(format!("persisted {}", names(&messages)));
            Ok(())
        });
        events_in(&miniagents, async move {
            let mut replies = agent.trigger(()).stream();
            while let Some(reply) = replies.try_next().await? {
                note(format!("read {}", reply.await?));
            }
            note("end of the replies");
            Ok(())
        })
    }

    const WITHOUT_WAITING: [&str; 11] = [
        "agent ends",
        "persisting one",
        "read one",
        "persisting two",
        "read two",
        "persisting AgentCallNode",
        "end of the replies",
        "persisted one",
        "persisted two",
        "persisted AgentCallNode",
        "persisting AgentReplyNode",
    ];

    const WAITING: [&str; 11] = [
        "agent ends",
        "persisting one",
        "read one", // each reply can be read before it is persisted
        "persisting two",
        "read two",
        "persisting AgentCallNode",
        "persisted one",
        "persisted two",
        "persisted AgentCallNode",
        "end of the replies", // the end of them waits
        "persisting AgentReplyNode",
    ];

    #[test]
    fn replies_end_before_they_are_persisted() {
        let events = events(MiniAgents::new(), talk.into_mini_agent());

        assert_eq!(events[..11], WITHOUT_WAITING);
        assert_eq!(events[11..], ["persisted AgentReplyNode"]);
    }

    #[test]
    fn replies_end_when_they_are_persisted_if_the_context_says_so() {
        let miniagents = MiniAgents::new().with_await_reply_persistence(true);
        let events = events(miniagents, talk.into_mini_agent());

        assert_eq!(events[..11], WAITING);
        assert_eq!(events[11..], ["persisted AgentReplyNode"]);
    }

    #[test]
    fn an_agent_may_differ_from_its_context() {
        let waits = talk.into_mini_agent().with_await_reply_persistence(true);
        let does_not = talk.into_mini_agent().with_await_reply_persistence(false);
        let waiting_context = MiniAgents::new().with_await_reply_persistence(true);

        assert_eq!(events(MiniAgents::new(), waits)[..11], WAITING);
        assert_eq!(events(waiting_context, does_not)[..11], WITHOUT_WAITING);
    }
}

mod failing_handlers {
    use super::*;

    #[test]
    fn one_that_panics_at_once_disturbs_nobody_either() {
        async fn talk(ctx: InteractionContext) -> Result<()> {
            ctx.reply("reply");
            Ok(())
        }
        let miniagents = MiniAgents::new().with_error_level(LevelFilter::Off);
        miniagents.on_promise_resolved(|_| -> Ready<Result<()>> { panic!("told too much") });
        miniagents.on_persist_messages(|_| -> Ready<Result<()>> { panic!("the disk is full") });

        let replies = miniagents.run_agent(talk, ());

        assert_eq!(replies.unwrap()[0].text(), "reply");
    }

    #[test]
    fn a_handler_runs_as_a_task_from_its_first_line() {
        let miniagents = MiniAgents::new();
        miniagents.on_promise_resolved(|_| {
            note("told");
            async { Ok(()) }
        });

        let events = events_in(&miniagents, async {
            drop(Promise::ready("value"));
            note("resolved");
            Ok(())
        });

        assert_eq!(events, ["resolved", "told"]);
    }

    /// A context whose first handler fails and whose second one notes.
    fn failing() -> MiniAgents {
        let miniagents = MiniAgents::new().with_error_level(LevelFilter::Off);
        miniagents.on_persist_messages(|messages| async move {
            note(format!("failing on {}", names(&messages)));
            Err(Error::msg("the disk is full"))
        });
        miniagents.on_persist_messages(|messages| async move {
            note(format!("persisting {}", names(&messages)));
            Ok(())
        });
        miniagents
    }

    #[test]
    fn others_still_get_what_resolves() {
        let events = events_in(&failing(), async {
            MessageSequencePromise::of("message").await?;
            note("read");
            Ok(())
        });

        assert_eq!(events, ["failing on message", "persisting message", "read"]);
    }

    #[test]
    fn persisting_by_hand_fails_with_the_first_of_them() {
        let events = events_in(&failing(), async {
            let message = text("message");
            let miniagents = MiniAgents::current();
            let error = miniagents.persist_messages([message.clone()]).await;
            note(error.unwrap_err());
            note(message.is_persistence_not_needed());
            Ok(())
        });

        // Those behind it are not called, and the message counts as persisted.
        assert_eq!(events, ["failing on message", "the disk is full", "true"]);
    }

    #[test]
    fn persisting_by_hand_may_go_on() {
        let events = events_in(&failing(), async {
            let options = PersistOptions::default().with_fail_on_error(false);
            let miniagents = MiniAgents::current();
            let persisted = miniagents.persist_messages_with([text("message")], options);
            note(names(&persisted.await?));
            Ok(())
        });

        assert_eq!(
            events,
            ["failing on message", "persisting message", "message"]
        );
    }

    #[test]
    fn handlers_may_run_side_by_side() {
        let events = events_in(&failing(), async {
            let options = PersistOptions::default().with_handlers_in_parallel(true);
            let miniagents = MiniAgents::current();
            let persisted = miniagents.persist_messages_with([text("message")], options);
            note(names(&persisted.await?));
            Ok(())
        });

        assert_eq!(
            events,
            ["failing on message", "persisting message", "message"]
        );
    }
}
