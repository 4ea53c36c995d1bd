//! The examples of the documents that need no model, with everything they print, in order.

use std::cell::RefCell;
use std::time::Duration;

use futures_lite::future;
use miniagents::dialog::{AgentChain, AgentLoop, Link};
use miniagents::executor::sleep;
use miniagents::{
    Agent, AssistantMessage, Error, InteractionContext, Message, MessageSequence,
    MessageSequencePromise, MiniAgent, MiniAgents, Result, SystemMessage, TextMessage, UserMessage,
    join_messages, messages,
};
use serde::{Deserialize, Serialize};

use crate::events::{events_in, events_of, note, noted};

const SECOND: Duration = Duration::from_secs(1);

async fn echo(ctx: InteractionContext) -> Result<()> {
    let mut messages = ctx.messages().stream();
    while let Some(message) = messages.try_next().await? {
        ctx.reply(format!("You said: {}", message.await?));
    }
    Ok(())
}

/// Notes each message of a sequence as it comes.
async fn note_all(sequence: &MessageSequencePromise) -> Result<()> {
    let mut promises = sequence.stream();
    while let Some(promise) = promises.try_next().await? {
        note(promise.await?);
    }
    Ok(())
}

#[test]
fn smoke_each_message_is_echoed() {
    let events = events_of(async { note_all(&echo.trigger(["Hello", "World"])).await });

    assert_eq!(events, ["You said: Hello", "You said: World"]);
}

#[test]
fn an_agent_is_fed_by_the_replies_of_another() {
    async fn agent1(ctx: InteractionContext) -> Result<()> {
        ctx.reply("Hello from Agent 1!");
        Ok(())
    }
    async fn agent2(ctx: InteractionContext) -> Result<()> {
        let messages = ctx.messages().await?;
        ctx.reply(format!("Agent 2 received: {}", messages[0]));
        Ok(())
    }

    let replies = MiniAgents::new().run(async { agent2.trigger(agent1.trigger(())).await });

    let replies = replies.unwrap();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].text(), "Agent 2 received: Hello from Agent 1!");
}

#[test]
fn an_aggregator_replies_with_a_list_of_calls() {
    async fn agent1(ctx: InteractionContext) -> Result<()> {
        note("Agent 1 is running");
        ctx.reply("Message from Agent 1");
        Ok(())
    }
    async fn agent2(ctx: InteractionContext) -> Result<()> {
        note("Agent 2 is running");
        ctx.reply("Message from Agent 2");
        Ok(())
    }
    async fn aggregator(ctx: InteractionContext) -> Result<()> {
        ctx.reply([agent1.trigger(()), agent2.trigger(())]);
        Ok(())
    }

    let events = events_of(async { note_all(&aggregator.trigger(())).await });

    assert_eq!(
        events,
        [
            "Agent 1 is running",
            "Agent 2 is running",
            "Message from Agent 1",
            "Message from Agent 2",
        ]
    );
}

mod parallelism {
    use super::*;

    async fn agent1(ctx: InteractionContext) -> Result<()> {
        note("Agent 1 started");
        ctx.reply("*** MESSAGE #1 from Agent 1 ***");
        note("Agent 1 still working");
        ctx.reply("*** MESSAGE #2 from Agent 1 ***");
        note("Agent 1 finished");
        Ok(())
    }

    async fn agent2(ctx: InteractionContext) -> Result<()> {
        note("Agent 2 started");
        ctx.reply("*** MESSAGE from Agent 2 ***");
        note("Agent 2 finished");
        Ok(())
    }

    /// What the variants of the document do differently.
    #[derive(Clone, Copy, Default)]
    struct Aggregator {
        own_message_last: bool,
        sleeps_before_its_end: bool,
    }

    impl Agent for Aggregator {
        async fn run(&self, ctx: InteractionContext) -> Result<()> {
            let own = "*** AGGREGATOR MESSAGE #1 ***";
            note("Aggregator started");
            if self.own_message_last {
                ctx.reply(messages![agent1.trigger(()), agent2.trigger(()), own]);
            } else {
                ctx.reply(messages![own, agent1.trigger(()), agent2.trigger(())]);
            }
            note("Aggregator still working");
            ctx.reply("*** AGGREGATOR MESSAGE #2 ***");
            if self.sleeps_before_its_end {
                sleep(SECOND).await;
            }
            note("Aggregator finished");
            Ok(())
        }
    }

    fn events(aggregator: Aggregator, main_sleeps: bool) -> Vec<String> {
        events_of(async move {
            note("TRIGGERING AGGREGATOR");
            let replies = aggregator.trigger(());
            note("TRIGGERING AGGREGATOR DONE");
            if main_sleeps {
                note("SLEEPING FOR ONE SECOND");
                sleep(SECOND).await;
                note("SLEEPING DONE");
            }
            note("PREPARING TO GET MESSAGES FROM AGGREGATOR");
            note_all(&replies).await?;
            note(format!("TOTAL NUMBER: {}", replies.await?.len()));
            Ok(())
        })
    }

    #[test]
    fn agents_run_at_the_first_task_switch() {
        assert_eq!(
            events(Aggregator::default(), true),
            [
                "TRIGGERING AGGREGATOR", // triggering starts nothing
                "TRIGGERING AGGREGATOR DONE",
                "SLEEPING FOR ONE SECOND",
                "Aggregator started",
                "Aggregator still working",
                "Aggregator finished",
                "Agent 1 started",
                "Agent 1 still working",
                "Agent 1 finished",
                "Agent 2 started",
                "Agent 2 finished",
                "SLEEPING DONE",
                "PREPARING TO GET MESSAGES FROM AGGREGATOR",
                "*** AGGREGATOR MESSAGE #1 ***",
                "*** MESSAGE #1 from Agent 1 ***",
                "*** MESSAGE #2 from Agent 1 ***",
                "*** MESSAGE from Agent 2 ***",
                "*** AGGREGATOR MESSAGE #2 ***",
                "TOTAL NUMBER: 5",
            ]
        );
    }

    #[test]
    fn without_a_sleep_reading_is_the_first_task_switch() {
        assert_eq!(
            events(Aggregator::default(), false),
            [
                "TRIGGERING AGGREGATOR",
                "TRIGGERING AGGREGATOR DONE",
                "PREPARING TO GET MESSAGES FROM AGGREGATOR",
                "Aggregator started", // while main waits for the first message
                "Aggregator still working",
                "Aggregator finished",
                "Agent 1 started",
                "Agent 1 still working",
                "Agent 1 finished",
                "Agent 2 started",
                "Agent 2 finished",
                "*** AGGREGATOR MESSAGE #1 ***",
                "*** MESSAGE #1 from Agent 1 ***",
                "*** MESSAGE #2 from Agent 1 ***",
                "*** MESSAGE from Agent 2 ***",
                "*** AGGREGATOR MESSAGE #2 ***",
                "TOTAL NUMBER: 5",
            ]
        );
    }

    #[test]
    fn exercise_an_aggregator_that_sleeps_ends_after_its_messages_were_read() {
        let aggregator = Aggregator {
            sleeps_before_its_end: true,
            ..Aggregator::default()
        };
        assert_eq!(
            events(aggregator, true),
            [
                "TRIGGERING AGGREGATOR",
                "TRIGGERING AGGREGATOR DONE",
                "SLEEPING FOR ONE SECOND",
                "Aggregator started",
                "Aggregator still working",
                "Agent 1 started", // the sleep of the aggregator is a task switch
                "Agent 1 still working",
                "Agent 1 finished",
                "Agent 2 started",
                "Agent 2 finished",
                "SLEEPING DONE", // main armed its timer before the aggregator did
                "PREPARING TO GET MESSAGES FROM AGGREGATOR",
                "*** AGGREGATOR MESSAGE #1 ***", // all messages are there already
                "*** MESSAGE #1 from Agent 1 ***",
                "*** MESSAGE #2 from Agent 1 ***",
                "*** MESSAGE from Agent 2 ***",
                "*** AGGREGATOR MESSAGE #2 ***",
                "Aggregator finished", // only now could the replies end
                "TOTAL NUMBER: 5",
            ]
        );
        assert_eq!(
            events(aggregator, false),
            [
                "TRIGGERING AGGREGATOR",
                "TRIGGERING AGGREGATOR DONE",
                "PREPARING TO GET MESSAGES FROM AGGREGATOR",
                "Aggregator started",
                "Aggregator still working",
                "Agent 1 started",
                "Agent 1 still working",
                "Agent 1 finished",
                "Agent 2 started",
                "Agent 2 finished",
                "*** AGGREGATOR MESSAGE #1 ***",
                "*** MESSAGE #1 from Agent 1 ***",
                "*** MESSAGE #2 from Agent 1 ***",
                "*** MESSAGE from Agent 2 ***",
                "*** AGGREGATOR MESSAGE #2 ***",
                "Aggregator finished",
                "TOTAL NUMBER: 5",
            ]
        );
    }

    #[test]
    fn a_message_behind_the_calls_waits_for_their_replies() {
        let aggregator = Aggregator {
            own_message_last: true,
            ..Aggregator::default()
        };
        assert_eq!(
            events(aggregator, false)[3..],
            [
                "Aggregator started",
                "Aggregator still working",
                "Aggregator finished",
                "Agent 1 started",
                "Agent 1 still working",
                "Agent 1 finished",
                "Agent 2 started",
                "Agent 2 finished",
                "*** MESSAGE #1 from Agent 1 ***",
                "*** MESSAGE #2 from Agent 1 ***",
                "*** MESSAGE from Agent 2 ***",
                "*** AGGREGATOR MESSAGE #1 ***",
                "*** AGGREGATOR MESSAGE #2 ***",
                "TOTAL NUMBER: 5",
            ]
        );
    }
}

#[test]
fn an_error_is_raised_where_the_replies_are_read() {
    #[derive(Debug)]
    struct ValueError(&'static str);
    impl std::fmt::Display for ValueError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }
    impl std::error::Error for ValueError {}
    async fn faulty(_: InteractionContext) -> Result<()> {
        Err(ValueError("Something went wrong in callee agent"))?
    }
    async fn caller(ctx: InteractionContext) -> Result<()> {
        let replies = faulty.trigger("Hello"); // the error is not raised here
        note("triggered");
        if let Err(error) = note_all(&replies).await {
            let error: &ValueError = error.downcast_ref().expect("it keeps its type");
            ctx.reply(format!("Exception while iterating over response: {error}"));
        }
        Ok(())
    }

    let events = events_of(async { note_all(&caller.trigger("Start")).await });

    assert_eq!(
        events,
        [
            "triggered",
            "Exception while iterating over response: Something went wrong in callee agent",
        ]
    );
}

#[test]
fn messages_are_sent_to_a_call_one_by_one() {
    let events = events_of(async {
        let call = echo.initiate_call();
        call.send_message("Hello");
        call.send_message("World");
        note_all(&call.reply_sequence()).await?;

        let chained = echo.initiate_call();
        chained.send_message("Hello").send_message("again");
        note_all(&chained.reply_sequence()).await
    });

    assert_eq!(
        events,
        [
            "You said: Hello",
            "You said: World",
            "You said: Hello",
            "You said: again",
        ]
    );
}

#[test]
fn a_reply_is_read_while_the_call_is_open() {
    async fn partner(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            let message = message.await?;
            ctx.reply(format!("Echo: {message}"));
            note(format!("agent replied to {message}"));
        }
        note("agent ends");
        Ok(())
    }

    let events = events_of(async {
        let call = partner.initiate_call();
        let mut replies = call.replies().stream();
        call.send_message("one");
        note("sent one");
        note(replies.try_next().await?.expect("a reply").await?);
        call.send_message("two");
        note("sent two");
        note(replies.try_next().await?.expect("a reply").await?);
        call.finish();
        note("finished");
        assert!(replies.try_next().await?.is_none());
        note("end of the replies");
        Ok(())
    });

    assert_eq!(
        events,
        [
            "sent one",
            "agent replied to one",
            "Echo: one",
            "sent two",
            "agent replied to two",
            "Echo: two",
            "finished",
            "agent ends",
            "end of the replies",
        ]
    );
}

mod toy_dialog {
    use super::*;

    /// Shows what it gets, token by token, and says the next line of its script.
    struct User {
        script: RefCell<std::slice::Iter<'static, &'static str>>,
    }

    impl User {
        fn saying(lines: &'static [&'static str]) -> Self {
            let script = RefCell::new(lines.iter());
            User { script }
        }
    }

    impl Agent for User {
        async fn run(&self, ctx: InteractionContext) -> Result<()> {
            let mut promises = ctx.messages().stream();
            while let Some(promise) = promises.try_next().await? {
                let mut tokens = promise.stream();
                while let Some(token) = tokens.try_next().await? {
                    note(format!("ASSISTANT: {token}"));
                }
            }
            let line = self.script.borrow_mut().next();
            let line = line.ok_or_else(|| Error::msg("the user has left"))?;
            note(format!("USER: {line}"));
            ctx.reply(*line);
            Ok(())
        }
    }

    async fn assistant(ctx: InteractionContext) -> Result<()> {
        let said = ctx.messages().as_single_text_promise().await?;
        ctx.reply(format!("You said \"{said}\""));
        Ok(())
    }

    #[test]
    fn a_loop_goes_round_until_an_agent_fails() {
        let events = events_of(async {
            let user = User::saying(&["hi", "nice!", "bye"]).into_mini_agent();
            let dialog = AgentLoop::new()
                .then(user)
                .then(Link::Await)
                .then(assistant);
            let error = dialog.trigger(()).await.unwrap_err();
            note(format!("{error:?}"));
            Ok(())
        });

        assert_eq!(
            events,
            [
                "USER: hi",
                "ASSISTANT: You said \"hi\"",
                "USER: nice!",
                "ASSISTANT: You said \"nice!\"",
                "USER: bye",
                "ASSISTANT: You said \"bye\"",
                "Error: the user has left\n  agent trace: USER <- AGENT_LOOP",
            ]
        );
    }

    #[test]
    fn the_assistant_may_say_the_same_every_time() {
        async fn polite(ctx: InteractionContext) -> Result<()> {
            note(format!("heard {}", ctx.messages().await?.len()));
            ctx.reply("Hello, how can I assist you?");
            Ok(())
        }

        let events = events_of(async {
            let user = User::saying(&["hi", "hm"]).into_mini_agent();
            let links = AgentLoop::new().then(user).then(Link::Await).then(polite);
            note(links.trigger(()).await.unwrap_err());
            Ok(())
        });

        assert_eq!(
            events,
            [
                "USER: hi",
                "heard 1",
                "ASSISTANT: Hello, how can I assist you?",
                "USER: hm",
                "heard 1",
                "ASSISTANT: Hello, how can I assist you?",
                "the user has left",
            ]
        );
    }
}

#[test]
fn a_struct_goes_in_as_a_message_and_comes_out_again() {
    #[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
    struct CustomMessage {
        custom_field: String,
        history: Vec<CustomMessage>,
    }
    async fn answer(ctx: InteractionContext) -> Result<()> {
        let question: CustomMessage = ctx.messages().await?[0].to_typed()?;
        ctx.reply(Message::from_typed(&CustomMessage {
            custom_field: format!("Re: {}", question.custom_field),
            history: vec![question],
        }));
        Ok(())
    }

    let question = CustomMessage {
        custom_field: "Custom Value".into(),
        history: Vec::new(),
    };
    let sent = Message::from_typed(&question).unwrap();
    let replies = MiniAgents::new().run(async { answer.trigger(&sent).await });

    assert_eq!(sent.class_name(), "CustomMessage");
    assert_eq!(
        sent.get("custom_field").unwrap().as_str(),
        Some("Custom Value")
    );
    assert_eq!(sent.to_typed::<CustomMessage>().unwrap(), question);
    let reply: CustomMessage = replies.unwrap()[0].to_typed().unwrap();
    assert_eq!(reply.custom_field, "Re: Custom Value");
    assert_eq!(reply.history, [question]);
}

#[test]
fn message_models_differ_in_their_role() {
    let user = UserMessage::new("Hello!").build().unwrap();
    let system = SystemMessage::new("System message").build().unwrap();
    let assistant = AssistantMessage::new("Assistant message").build().unwrap();
    let narrator = UserMessage::new("Once").with("role", "narrator").build();

    assert_eq!((user.text(), user.role()), ("Hello!", Some("user")));
    assert_eq!(
        (system.text(), system.role()),
        ("System message", Some("system"))
    );
    assert_eq!(
        (assistant.text(), assistant.role()),
        ("Assistant message", Some("assistant"))
    );
    assert_eq!(narrator.unwrap().role(), Some("narrator"));
    assert_eq!(TextMessage::new("plain").build().unwrap().role(), None);
}

#[test]
fn messages_are_persisted_as_they_resolve() {
    async fn answer(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            let message = message.await?;
            let reply = TextMessage::new(format!("You said: {message}"));
            ctx.reply(reply.with("about", message));
        }
        Ok(())
    }
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        for message in messages.iter() {
            let text = message.content().unwrap_or_default();
            note(format!("persisting {} {text}", message.class_name()));
        }
        Ok(())
    });

    let events = events_in(&miniagents, async {
        answer.trigger(["Hello", "World"]).await?;
        note("main is done");
        Ok(())
    });

    assert_eq!(
        events,
        [
            "persisting TextMessage Hello",
            "persisting TextMessage World",
            "main is done", // persisting does not hold up anybody
            "persisting TextMessage You said: Hello", // without `about`, which is persisted already
            "persisting TextMessage You said: World",
            "persisting AgentCallNode ",
            "persisting AgentReplyNode ",
        ]
    );
}

#[test]
fn a_message_is_persisted_behind_those_inside_of_it() {
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        note(
            messages
                .iter()
                .map(Message::text)
                .collect::<Vec<_>>()
                .join(", "),
        );
        Ok(())
    });

    let events = events_in(&miniagents, async {
        let leaf = TextMessage::new("leaf").build()?;
        let other = TextMessage::new("other leaf").with("leaf", &leaf).build()?;
        let leaves = [&leaf, &other];
        let tree = TextMessage::new("tree").with("leaves", leaves.map(|leaf| leaf.clone()));
        MessageSequencePromise::of(tree).await?;
        MessageSequencePromise::of([&leaf, &other]).await?;
        Ok(())
    });

    // Once the leaves resolve themselves, nothing is left to persist of them.
    assert_eq!(events[0], "leaf, other leaf, tree");
    assert!(events[1..].iter().all(String::is_empty), "{events:?}");
}

mod three_ways_to_use_the_context {
    use super::*;

    /// Leaves work behind that nobody waits for.
    async fn program() -> Result<()> {
        drop(late.trigger(()));
        note_all(&echo.trigger("Hello")).await
    }

    async fn late(_: InteractionContext) -> Result<()> {
        miniagents::executor::yield_now().await;
        miniagents::executor::yield_now().await;
        note("late agent has ended");
        Ok(())
    }

    /// What each of them gives: the program's own events, and the end of what it left behind.
    fn check(mut events: Vec<String>) {
        assert_eq!(events.pop().as_deref(), Some("left the context"));
        events.sort();
        assert_eq!(events, ["You said: Hello", "late agent has ended"]);
    }

    #[test]
    fn run_blocks_the_thread() {
        MiniAgents::new().run(program()).unwrap();
        note("left the context");

        check(noted());
    }

    #[test]
    fn scope_is_a_future_for_any_executor() {
        smol::block_on(MiniAgents::new().scope(program())).unwrap();
        note("left the context");
        check(noted());

        future::block_on(MiniAgents::new().scope(program())).unwrap();
        note("left the context");
        check(noted());
    }

    #[test]
    fn an_activated_context_is_driven_by_its_host() {
        let host = smol::LocalExecutor::new();
        smol::block_on(host.run(async {
            let active = MiniAgents::new().activate();
            host.spawn(active.driver()).detach();
            program().await.unwrap();
            active.finalize().await.unwrap();
        }));
        note("left the context");

        check(noted());
        assert!(MiniAgents::try_current().unwrap_err().is_no_context());
    }
}

#[test]
fn what_is_appended_is_flattened() {
    let events = events_of(async {
        let sequence = MessageSequence::options().with_start(true).make();
        sequence
            .appender()
            .fill(async {
                sequence
                    .appender()
                    .append(["msg1", "msg2"])?
                    .append("msg3")?;
                Ok(())
            })
            .await?;
        note_all(sequence.promise()).await
    });

    assert_eq!(events, ["msg1", "msg2", "msg3"]);
}

#[test]
fn messages_are_joined_into_one() {
    let events = events_of(async {
        let joined = join_messages(
            messages![echo.trigger("one"), ["two", "three"]],
            miniagents::Join::default(),
        );
        let mut tokens = joined.stream();
        while let Some(token) = tokens.try_next().await? {
            note(format!("{token:?}"));
        }
        note(joined.await?);
        Ok(())
    });

    assert_eq!(
        events,
        [
            r#""You said: one""#,
            r#""\n\n""#, // what stands between two messages is a token of its own
            r#""two""#,
            r#""\n\n""#,
            r#""three""#,
            "You said: one\n\ntwo\n\nthree",
        ]
    );
}

#[test]
fn a_forked_agent_keeps_its_settings() {
    async fn greet(ctx: InteractionContext) -> Result<()> {
        let name: String = ctx.argument("name")?;
        ctx.reply(format!("{} greets {name}", ctx.this_agent().alias()));
        Ok(())
    }
    let greet = MiniAgent::new(greet).with("name", "nobody");
    let forked = greet.fork().with_alias("POLITE").with("name", "Ada");

    let events = events_of(async move {
        note_all(&forked.trigger(())).await?;
        note_all(&greet.trigger(())).await
    });

    assert_eq!(events, ["POLITE greets Ada", "GREET greets nobody"]);
}

mod chain {
    use super::*;

    async fn ask(ctx: InteractionContext) -> Result<()> {
        note("ask starts");
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            ctx.reply(format!("{}?", message.await?));
        }
        note("ask ends");
        Ok(())
    }

    async fn shout(ctx: InteractionContext) -> Result<()> {
        note("shout starts");
        let message = ctx.messages().as_single_text_promise().await?;
        ctx.reply(message.text().to_uppercase());
        note("shout ends");
        Ok(())
    }

    fn events(chain: AgentChain) -> Vec<String> {
        events_of(async { note_all(&chain.trigger(["a", "b"])).await })
    }

    #[test]
    fn an_agent_starts_while_the_one_before_it_runs() {
        let chain = AgentChain::new().then(ask).then(shout);

        assert_eq!(
            events(chain),
            [
                "ask starts",
                "shout starts",
                "ask ends",
                "shout ends",
                "A?\n\nB?"
            ]
        );
    }

    #[test]
    fn an_agent_behind_await_starts_when_the_one_before_it_has_ended() {
        let chain = AgentChain::new().then(ask).then(Link::Await).then(shout);

        assert_eq!(
            events(chain),
            [
                "ask starts",
                "ask ends",
                "shout starts",
                "shout ends",
                "A?\n\nB?"
            ]
        );
    }

    #[test]
    fn an_agent_behind_clear_gets_nothing() {
        let chain = AgentChain::new().then(ask).then(Link::Clear).then(shout);

        assert_eq!(
            events(chain),
            ["ask starts", "shout starts", "shout ends", "ask ends", ""]
        );
    }

    #[test]
    fn a_missing_link_does_nothing() {
        let chain = AgentChain::new().then_maybe(None::<Link>).then(ask);

        assert_eq!(events(chain), ["ask starts", "ask ends", "a?", "b?"]);
    }
}
