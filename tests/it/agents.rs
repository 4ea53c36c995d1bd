//! Agents: when they run, what they are given, what becomes of their errors.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use log::LevelFilter;
use miniagents::executor::{Executor, TaskLocal, sleep, spawn, yield_now};
use miniagents::{
    Agent, CallOptions, Error, Frozen, InteractionContext, IntoMessages, Message, MessageSequence,
    MessageSequencePromise, MiniAgent, MiniAgents, Result, Start, display_agent_trace, messages,
};
use serde::Serialize;

use crate::events::{STARTS, events_in, events_of, logged_by, note};

/// Takes a moment, and notes its beginning and its end.
struct Sleeper(&'static str);

impl Agent for Sleeper {
    async fn run(&self, _: InteractionContext) -> Result<()> {
        note(format!("{} - start", self.0));
        sleep(Duration::from_millis(100)).await;
        note(format!("{} - end", self.0));
        Ok(())
    }
}

const SIDE_BY_SIDE: [&str; 4] = [
    "agent1 - start",
    "agent2 - start",
    "agent1 - end",
    "agent2 - end",
];

const ONE_AFTER_THE_OTHER: [&str; 4] = [
    "agent1 - start",
    "agent1 - end",
    "agent2 - start",
    "agent2 - end",
];

fn expected(start: Start) -> [&'static str; 4] {
    match start {
        Start::OnDemand => ONE_AFTER_THE_OTHER,
        Start::AsContext | Start::Soon => SIDE_BY_SIDE,
    }
}

/// All that a new reader gets: the texts of the messages, and what the errors say.
async fn note_all(replies: &MessageSequencePromise) {
    let mut promises = replies.stream();
    while let Some(promise) = promises.next().await {
        let message = match promise {
            Ok(promise) => promise.await,
            Err(error) => Err(error),
        };
        match message {
            Ok(message) => note(message),
            Err(error) => note(format!("ERROR {error}")),
        }
    }
}

#[test]
fn agents_run_side_by_side_unless_they_start_on_demand() {
    for start in STARTS {
        let events = events_of(async move {
            let options = || CallOptions::new().with_start(start);
            let replies1 = Sleeper("agent1").trigger_with((), options());
            let replies2 = Sleeper("agent2").trigger_with((), options());
            if start == Start::OnDemand {
                replies1.await?;
                replies2.await?;
            }
            Ok(()) // leaving the context waits for those that started soon
        });

        assert_eq!(events, expected(start), "{start:?}");
    }
}

#[test]
fn sub_agents_run_side_by_side_unless_they_start_on_demand() {
    struct Aggregator(Start);
    impl Agent for Aggregator {
        async fn run(&self, ctx: InteractionContext) -> Result<()> {
            let options = || CallOptions::new().with_start(self.0);
            ctx.reply(["agent1", "agent2"].map(|name| Sleeper(name).trigger_with((), options())));
            Ok(())
        }
    }
    for start in STARTS {
        let events = events_of(async move {
            let options = CallOptions::new().with_start(start);
            let replies = Aggregator(start).trigger_with((), options);
            if start == Start::OnDemand {
                replies.await?;
            }
            Ok(())
        });

        assert_eq!(events, expected(start), "{start:?}");
    }
}

#[test]
fn agent_on_demand_never_runs_if_nobody_reads() {
    let events = events_of(async {
        let on_demand = CallOptions::new().with_start(Start::OnDemand);
        drop(Sleeper("on demand").trigger_with((), on_demand));
        drop(Sleeper("soon").trigger(()));
        note("main ends");
        Ok(())
    });

    assert_eq!(events, ["main ends", "soon - start", "soon - end"]);
}

async fn greet(ctx: InteractionContext) -> Result<()> {
    let greeting: String = ctx.argument("greeting")?;
    let name: String = ctx.argument("name")?;
    ctx.reply(format!("{greeting}, {name}!"));
    Ok(())
}

#[test]
fn arguments_of_a_call_override_those_that_are_preset() {
    let agent = MiniAgent::new(greet)
        .with("greeting", "Hello")
        .with("name", "you");

    let events = events_of(async move {
        note_all(&agent.trigger(())).await;
        note_all(&agent.trigger_with((), CallOptions::new().with("name", "Ada"))).await;
        note_all(&agent.trigger(())).await;
        Ok(())
    });

    assert_eq!(events, ["Hello, you!", "Hello, Ada!", "Hello, you!"]);
}

#[test]
fn fork_is_another_agent_and_leaves_the_original_alone() {
    let original = MiniAgent::new(greet)
        .with("greeting", "Hello")
        .with("name", "Ada");

    let fork = original
        .fork()
        .with_alias("POLITE")
        .with("greeting", "Good evening")
        .with_description("I am {AGENT_ALIAS}.");

    assert_eq!(original.alias(), "GREET");
    assert_eq!(original.description(), None);
    assert_eq!(
        original
            .preset_arguments()
            .get("greeting")
            .unwrap()
            .as_str(),
        Some("Hello")
    );
    assert_eq!(fork.alias(), "POLITE");
    assert_eq!(fork.description(), Some("I am POLITE."));
    assert!(!fork.ptr_eq(&original));
    let replies = MiniAgents::new().run_agent(&fork, ()).unwrap();
    assert_eq!(replies[0].text(), "Good evening, Ada!");
}

#[test]
fn description_names_the_agent() {
    struct WebSearch;
    impl Agent for WebSearch {
        async fn run(&self, _: InteractionContext) -> Result<()> {
            Ok(())
        }
        fn description(&self) -> Option<String> {
            Some("{AGENT_ALIAS} searches the web.".into())
        }
    }

    let agent = WebSearch.into_mini_agent();

    assert_eq!(agent.alias(), "WEB_SEARCH");
    assert_eq!(agent.description(), Some("WEB_SEARCH searches the web."));
}

#[test]
fn call_is_recorded_with_its_arguments_and_without_the_preset_ones() {
    #[derive(Serialize)]
    struct Repeat {
        times: usize,
    }
    impl Agent for Repeat {
        async fn run(&self, ctx: InteractionContext) -> Result<()> {
            for _ in 0..self.times {
                ctx.reply(ctx.messages());
            }
            Ok(())
        }
        fn arguments(&self) -> Result<Frozen> {
            Frozen::from_serialize(self)
        }
    }
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        let nodes = messages
            .iter()
            .filter(|message| message.class_name().ends_with("Node"));
        nodes.for_each(|node| note(node.full_json()));
        Ok(())
    });

    let events = events_in(&miniagents, async {
        let agent = MiniAgent::new(Repeat { times: 2 })
            .with("secret", "not recorded")
            .with_interaction_metadata("session", 7);
        agent
            .trigger_with("hi", CallOptions::new().with("mood", "good"))
            .await?;
        Ok(())
    });

    let hi = r#"{"class_":"TextMessage","content":"hi","content_template":null}"#;
    let agent = r#"{"class_":"MiniAgent","alias":"REPEAT"}"#;
    let call = format!(
        r#"{{"class_":"AgentCallNode","agent":{agent},"messages":[{hi}],"session":7,"times":2,"mood":"good"}}"#
    );
    let reply = format!(
        r#"{{"class_":"AgentReplyNode","agent":{agent},"agent_call":{call},"replies":[{hi},{hi}],"session":7}}"#
    );
    assert_eq!(events, [call, reply]);
}

#[test]
fn agent_trace_leads_from_the_innermost_to_the_outermost() {
    async fn inner(ctx: InteractionContext) -> Result<()> {
        note(display_agent_trace(&ctx.agent_trace()));
        let ambient = InteractionContext::current();
        assert!(ambient.this_agent().ptr_eq(ctx.this_agent()));
        Ok(())
    }
    async fn middle(ctx: InteractionContext) -> Result<()> {
        ctx.reply(inner.trigger(()));
        Ok(())
    }
    async fn outer(ctx: InteractionContext) -> Result<()> {
        let renamed = middle.into_mini_agent().with_alias("IN_BETWEEN");
        ctx.reply(renamed.trigger(()));
        note(display_agent_trace(&ctx.agent_trace()));
        Ok(())
    }

    let events = events_of(async {
        outer.trigger(()).await?;
        Ok(())
    });

    assert_eq!(events, ["OUTER", "INNER <- IN_BETWEEN <- OUTER"]);
}

mod unfinished_calls {
    use super::*;

    async fn listen(ctx: InteractionContext) -> Result<()> {
        note("inner starts");
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            note(format!("inner got {}", message.await?));
        }
        note("inner ends");
        Ok(())
    }

    async fn forgetful(ctx: InteractionContext) -> Result<()> {
        listen.initiate_call().send_message("a");
        ctx.reply("forgot");
        note("forgetful ends");
        Ok(())
    }

    #[test]
    fn are_finished_when_the_agent_that_made_them_ends() {
        let events = events_of(async {
            note_all(&forgetful.trigger(())).await;
            note("main ends");
            Ok(())
        });

        assert_eq!(
            events,
            [
                "forgetful ends",
                "inner starts",
                "forgot",
                "inner got a", // the end of the caller ends its messages
                "inner ends",
                "main ends",
            ]
        );
    }

    #[test]
    fn are_finished_when_the_context_is_left() {
        let events = events_of(async {
            listen.initiate_call().send_message("b");
            note("main ends");
            Ok(())
        });

        assert_eq!(
            events,
            ["main ends", "inner starts", "inner got b", "inner ends"]
        );
    }
}

mod errors {
    use super::*;

    async fn broken(ctx: InteractionContext) -> Result<()> {
        ctx.reply("before");
        Err(Error::msg("out of ink").context("the printer gave up"))
    }

    async fn hands_on(ctx: InteractionContext) -> Result<()> {
        ctx.reply(broken.trigger(()));
        Ok(())
    }

    async fn waits(_: InteractionContext) -> Result<()> {
        broken.trigger(()).await?;
        Ok(())
    }

    #[test]
    fn an_error_as_a_value_is_a_reply_and_others_come_behind_it() {
        async fn unlucky(ctx: InteractionContext) -> Result<()> {
            ctx.reply("before");
            ctx.reply(Error::msg("as a value"));
            ctx.reply("behind");
            ctx.reply(messages!["in a list", Error::msg("again"), "given up"]);
            ctx.reply(u8::try_from(300).map(|number| number.to_string()));
            ctx.reply("last");
            Ok(())
        }

        let events = events_of(async {
            let replies = unlucky.trigger(());
            note_all(&replies).await;
            note(replies.await.unwrap_err());
            Ok(())
        });

        assert_eq!(
            events,
            [
                "before",
                "ERROR as a value",
                "behind",
                "in a list",
                "ERROR again", // the rest of what was replied together is given up
                "ERROR out of range integral type conversion attempted",
                "last",
                "as a value", // the whole sequence fails with the first
            ]
        );
    }

    #[test]
    fn the_trace_says_which_agents_failed_with_it() {
        let events = events_of(async {
            for agent in [MiniAgent::new(broken), hands_on.into(), waits.into()] {
                note(format!("{:?}", agent.trigger(()).await.unwrap_err()));
            }
            Ok(())
        });

        let error = "Error: the printer gave up\n  caused by Error: out of ink\n  agent trace: ";
        assert_eq!(
            events,
            ["BROKEN", "BROKEN <- HANDS_ON", "BROKEN <- WAITS"]
                .map(|trace| error.to_string() + trace)
        );
    }

    #[test]
    fn messages_show_causes_and_traces_if_asked_for() {
        let miniagents = MiniAgents::new()
            .with_errors_as_messages(true)
            .with_error_traces_in_messages(true);

        let replies = miniagents.run_agent(hands_on, ()).unwrap();

        let texts: Vec<_> = replies.iter().map(Message::text).collect();
        assert_eq!(
            texts,
            [
                "before",
                "Error: the printer gave up\n  caused by Error: out of ink\n  \
                 agent trace: BROKEN <- HANDS_ON",
            ]
        );
        assert_eq!(replies[1].class_name(), "ErrorMessage");
    }

    #[test]
    fn a_panic_is_an_error_of_the_agent() {
        async fn panics(ctx: InteractionContext) -> Result<()> {
            ctx.reply("before");
            yield_now().await;
            panic!("this cannot be");
        }

        let events = events_of(async {
            let replies = panics.trigger(());
            note_all(&replies).await;
            note(replies.await.unwrap_err().is_panic());
            Ok(())
        });

        assert_eq!(
            events,
            [
                "before",
                "ERROR agent `PANICS` panicked: this cannot be",
                "true"
            ]
        );
    }

    /// Whether it is a function, and holds anything or not.
    #[test]
    fn a_panic_before_there_is_a_future_is_an_error_of_the_agent() {
        struct Empty;
        struct Holds(&'static str);
        fn panics(text: &str) -> future::Ready<Result<()>> {
            panic!("{text}");
        }
        impl Agent for Empty {
            fn run(&self, _: InteractionContext) -> impl Future<Output = Result<()>> {
                panics("at once")
            }
        }
        impl Agent for Holds {
            fn run(&self, _: InteractionContext) -> impl Future<Output = Result<()>> {
                panics(self.0)
            }
        }

        for (agent, alias) in [
            (MiniAgent::new(Empty), "EMPTY"),
            (MiniAgent::new(Holds("at once")), "HOLDS"),
            (
                MiniAgent::new(|_| panics("at once")).with_alias("CLOSURE"),
                "CLOSURE",
            ),
        ] {
            let events = events_of(async {
                let error = agent.trigger(()).await.unwrap_err();
                note(format!("{error} {:?}", error.agent_trace()));
                Ok(())
            });
            let expected = format!("agent `{alias}` panicked: at once [\"{alias}\"]");
            assert_eq!(events, [expected]);
        }
    }

    #[test]
    fn an_error_that_nobody_reads_is_logged_once_and_stops_nobody() {
        let greet = MiniAgent::new(greet)
            .with("greeting", "Hello")
            .with("name", "Ada");
        let unread = |level| {
            let miniagents = MiniAgents::new().with_error_level(level);
            let greet = greet.clone();
            logged_by(|| {
                let events = events_in(&miniagents, async move {
                    drop(hands_on.trigger(()));
                    note_all(&greet.trigger(())).await;
                    Ok(())
                });
                assert_eq!(events, ["Hello, Ada!"]);
            })
        };

        let text = "an error in BROKEN <- HANDS_ON was never read: Error: the printer gave up";
        assert_eq!(unread(LevelFilter::Error), [format!("ERROR {text}")]);
        assert_eq!(unread(LevelFilter::Debug), [format!("DEBUG {text}")]);
        assert!(unread(LevelFilter::Off).is_empty());
    }

    #[test]
    fn an_error_that_somebody_reads_is_not_logged_however_it_is_read() {
        let whole = logged_by(|| {
            let ended = MiniAgents::new().run(async { hands_on.trigger(()).await });
            assert!(ended.is_err());
        });
        let pieces = logged_by(|| {
            let events = events_of(async {
                note_all(&hands_on.trigger(())).await;
                Ok(())
            });
            assert_eq!(events, ["before", "ERROR the printer gave up"]);
        });
        let messages = logged_by(|| {
            let options = CallOptions::new().with_errors_as_messages(true);
            let events = events_of(async {
                note_all(&hands_on.trigger_with((), options)).await;
                Ok(())
            });
            assert_eq!(events, ["before", "Error: the printer gave up"]);
        });

        assert_eq!(
            [whole, pieces, messages],
            [const { Vec::<String>::new() }; 3]
        );
    }

    #[test]
    fn an_error_that_is_read_and_raised_again_is_logged_if_nobody_reads_it_then() {
        let logged = logged_by(|| {
            let events = events_of(async {
                drop(waits.trigger(()));
                Ok(())
            });
            assert!(events.is_empty());
        });

        let text = "ERROR an error in BROKEN <- WAITS was never read: Error: the printer gave up";
        assert_eq!(logged, [text]);
    }
}

#[test]
fn replies_end_when_what_was_made_sure_of_has_ended() {
    async fn diligent(ctx: InteractionContext) -> Result<()> {
        ctx.make_sure_to_wait(ctx.miniagents().start_soon(async {
            sleep(Duration::from_secs(1)).await;
            note("background work ends");
            Ok(())
        }));
        ctx.reply("reply");
        note("agent ends");
        Ok(())
    }

    let events = events_of(async {
        note_all(&diligent.trigger(())).await;
        note("end of the replies");
        Ok(())
    });

    assert_eq!(
        events,
        [
            "agent ends",
            "reply",
            "background work ends",
            "end of the replies"
        ]
    );
}

#[test]
fn agent_that_finishes_early_goes_on() {
    async fn early(ctx: InteractionContext) -> Result<()> {
        ctx.reply("reply").finish_early().await;
        note("finished early");
        sleep(Duration::from_secs(1)).await;
        note("agent ends");
        Ok(())
    }

    let events = events_of(async {
        note_all(&early.trigger(())).await;
        note("end of the replies");
        Ok(())
    });

    assert_eq!(
        events,
        [
            "finished early",
            "reply",
            "end of the replies",
            "agent ends"
        ]
    );
}

#[test]
fn waiting_with_unfinished_calls_is_warned_of() {
    async fn listen(ctx: InteractionContext) -> Result<()> {
        ctx.messages().await?;
        Ok(())
    }
    async fn careless(ctx: InteractionContext) -> Result<()> {
        let call = listen.initiate_call();
        ctx.await_now().await;
        call.finish();
        ctx.await_now().await; // fine now
        Ok(())
    }

    let logged = logged_by(|| {
        let ended = MiniAgents::new().run(async { careless.trigger(()).await });
        assert!(ended.is_ok());
    });

    assert_eq!(
        logged,
        [
            "WARN agent `CARELESS` waits while calls that it made are not finished; should it wait \
          for their replies, neither will ever go on: finish the calls first"
        ]
    );
}

#[test]
fn replies_that_are_kept_keep_nothing_of_an_agent_that_is_over() {
    let held = Rc::new(());
    let probe = held.clone();
    let agent = MiniAgent::new(move |ctx: InteractionContext| {
        let probe = probe.clone();
        async move {
            ctx.reply(format!("{} of us", Rc::strong_count(&probe)));
            Ok(())
        }
    });

    let replies = MiniAgents::new()
        .run(async move {
            let replies = agent.trigger("how many?");
            (&replies).await?;
            Ok(replies)
        })
        .unwrap();

    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!replies.cancel());
    assert_eq!(replies.get().unwrap().unwrap()[0].text(), "3 of us");
}

#[test]
fn what_an_agent_starts_inherits_its_interaction_and_its_task_locals() {
    static NOTE: TaskLocal<&str> = TaskLocal::new();

    fn seen() -> String {
        let trace = InteractionContext::current().agent_trace();
        let note = NOTE.get().unwrap_or("nothing");
        format!("{} sees {note}", display_agent_trace(&trace))
    }

    async fn inner(ctx: InteractionContext) -> Result<()> {
        ctx.reply(seen());
        NOTE.set("that of inner");
        ctx.reply(spawn(async { seen() }).await?);
        Ok(())
    }

    async fn outer(ctx: InteractionContext) -> Result<()> {
        ctx.reply(inner.trigger(())); // made before the note, begins after it
        NOTE.set("that of outer");
        ctx.reply(inner.trigger(()));
        ctx.reply(spawn(async { seen() }).await?);
        Ok(())
    }

    let replies = MiniAgents::new().run(async {
        let replies = outer.trigger(()).await;
        assert!(InteractionContext::try_current().is_err());
        assert_eq!(NOTE.get(), None);
        replies
    });
    let replies = replies.unwrap();
    let texts: Vec<_> = replies.iter().map(|reply| reply.text()).collect();
    assert_eq!(
        texts,
        [
            "INNER <- OUTER sees nothing",
            "INNER <- OUTER sees that of inner",
            "INNER <- OUTER sees that of outer",
            "INNER <- OUTER sees that of inner",
            "OUTER sees that of outer",
        ]
    );
}

#[test]
fn an_agent_that_is_asked_for_by_a_sequence_inherits_what_that_inherited() {
    static NOTE: TaskLocal<&str> = TaskLocal::new();

    async fn inner(ctx: InteractionContext) -> Result<()> {
        let trace = display_agent_trace(&ctx.agent_trace());
        ctx.reply(format!("{trace} sees {}", NOTE.get().unwrap_or("nothing")));
        Err(Error::msg("out of ink"))
    }

    async fn outer(ctx: InteractionContext) -> Result<()> {
        let on_demand = || CallOptions::new().with_start(false);
        NOTE.set("that of outer");
        let faulty = inner.trigger_with((), on_demand().with_errors_as_messages(true));
        let replies = inner.trigger_with((), on_demand());
        let nested = MessageSequencePromise::of([replies, faulty.clone()]);
        let others = MessageSequence::options().with_start(true);
        let others = others.with_errors_as_messages(true).make();
        others.appender().open()?;
        others.appender().append(nested)?;
        others.appender().append(faulty)?;
        others.appender().close();
        NOTE.set("that of nobody"); // the sequences inherit it no more
        ctx.reply(others.promise().clone());
        Ok(())
    }

    let agents = MiniAgents::new().with_error_traces_in_messages(true);
    let replies = agents.run(async { outer.trigger(()).await }).unwrap();
    let texts: Vec<_> = replies.iter().map(|reply| reply.text()).collect();
    assert_eq!(texts[0], "INNER <- OUTER sees that of outer");
    assert_eq!(texts[2], "INNER <- OUTER sees that of outer");
    assert!(texts.iter().all(|text| text.contains("OUTER")), "{texts:?}");
}

#[test]
fn an_agent_starts_in_the_executor_in_which_its_replies_are_first_asked_for() {
    async fn say(ctx: InteractionContext) -> Result<()> {
        ctx.reply("Hello, Ada!");
        Ok(())
    }

    let recorded = Rc::new(Cell::new(0));
    let (noted, miniagents) = (recorded.clone(), MiniAgents::new());
    miniagents.on_promise_resolved(move |resolved| {
        let message = resolved.downcast_ref::<Message>();
        if message.is_some_and(|message| message.class_name() == "AgentReplyNode") {
            noted.set(noted.get() + 1);
        }
        async { Ok(()) }
    });
    miniagents
        .run(async {
            let replies = say.trigger_with("Ada", CallOptions::new().with_start(false));
            let inner = Executor::new();
            let read = async {
                let replies = replies.clone().await?;
                MiniAgents::current().promising().flush().await;
                Result::<usize>::Ok(replies.len())
            };
            assert_eq!(inner.block_on(read)??, 1);
            drop(inner);
            assert_eq!(replies.await?[0].text(), "Hello, Ada!");
            Ok(())
        })
        .unwrap();
    assert_eq!(recorded.get(), 1);
}

/// The agent begins with what whoever asks first has; what is recorded of its replies, with what whoever comes to
/// their end has, be it another.
#[test]
fn replies_are_recorded_with_the_task_locals_of_whoever_reads_them_to_the_end() {
    static READS: TaskLocal<&'static str> = TaskLocal::new();

    async fn say(ctx: InteractionContext) -> Result<()> {
        let by = READS.get().unwrap_or("nobody");
        ctx.reply(["Hello, Ada!", by]);
        Ok(())
    }

    let recorded = Rc::new(RefCell::new(Vec::new()));
    let (noted, miniagents) = (recorded.clone(), MiniAgents::new());
    miniagents.on_promise_resolved(move |resolved| {
        let message = resolved.downcast_ref::<Message>();
        let node = message.filter(|message| message.class_name().ends_with("Node"));
        if let Some(node) = node {
            let by = READS.get().unwrap_or("nobody");
            noted
                .borrow_mut()
                .push(format!("{} {by}", node.class_name()));
        }
        async { Ok(()) }
    });
    let read = async {
        READS.set("first");
        let options = CallOptions::new().with_start(false);
        let replies = say.trigger_with((), options);
        let mut promises = replies.stream();
        promises.try_next().await?;
        READS.set("last");
        let by = promises.try_next().await?;
        assert_eq!(by.expect("there are two").await?.text(), "first");
        assert!(promises.try_next().await?.is_none());
        MiniAgents::current().promising().flush().await;
        Result::Ok(())
    };
    miniagents.run(read).unwrap();
    assert_eq!(
        recorded.take(),
        ["AgentCallNode first", "AgentReplyNode last"]
    );
}

/// Shows what it is told, by way of a message of its own, and then fails or panics if it is to.
struct Shown(&'static str, Fate);

enum Fate {
    Fine,
    Fails,
    Panics,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = format_args!("{} and {0}, which is not short", self.0).into_messages();
        write!(f, "{message:?}")?;
        match self.1 {
            Fate::Fine => Ok(()),
            Fate::Fails => Err(std::fmt::Error),
            Fate::Panics => panic!("cannot be shown"),
        }
    }
}

#[test]
fn what_is_formatted_can_be_sent_and_replied() {
    async fn echo(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            let (text, i) = (message.await?.text().to_owned(), 7);
            ctx.reply(format_args!("{text}!"));
            ctx.reply_out_of_order((format_args!("{i}"), [format_args!("{text:>30}")]));
        }
        Ok(())
    }

    MiniAgents::new()
        .run(async {
            let call = echo.initiate_call();
            call.send_message(format_args!("a{}", 1));
            let shown = Shown("b", Fate::Fine);
            call.send_out_of_order(format_args!("{shown} {shown}"));
            let replies = call.reply_sequence().await?;
            let texts: Vec<_> = replies.iter().map(Message::text).collect();
            let b = r#"{"class_":"TextMessage","content":"b and b, which is not short","content_template":null}"#;
            assert_eq!(
                texts,
                ["a1!", "7", &format!("{:>30}", "a1"), &format!("{b} {b}!"), "7", &format!("{b} {b}")]
            );
            assert_eq!(echo.trigger(format_args!("c")).await?[0].text(), "c!");
            assert_eq!(MessageSequencePromise::of(messages![format_args!("{}", 5)]).await?.len(), 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_cannot_be_formatted_ends_its_agent_and_nothing_else() {
    async fn show(ctx: InteractionContext) -> Result<()> {
        ctx.reply(format_args!("{}", "before, and long enough to be shared"));
        let fate = match ctx.argument("panics")? {
            true => Fate::Panics,
            false => Fate::Fails,
        };
        ctx.reply(format_args!("{}", Shown("a", fate)));
        Ok(())
    }

    MiniAgents::new()
        .run(async {
            for panics in [false, true] {
                let options = CallOptions::new().with("panics", panics);
                let mut replies = show.trigger_with((), options).stream();
                let first = replies.try_next().await?.unwrap().await?;
                assert_eq!(first.text(), "before, and long enough to be shared");
                assert!(replies.try_next().await.unwrap_err().is_panic());
                let next = MessageSequencePromise::of(format_args!("{:>30}", "next")).await?;
                assert_eq!(next[0].text(), format!("{:>30}", "next"));
            }
            Ok(())
        })
        .unwrap();
}

/// What nobody has looked at becomes a promise in the middle of the turns in which it is waited for.
#[test]
fn what_an_agent_was_sent_can_be_read_whenever_somebody_looks_first() {
    async fn look(ctx: InteractionContext, turns: usize, seen: Rc<Cell<bool>>) -> Result<()> {
        for _ in 0..turns {
            yield_now().await;
        }
        let messages = ctx.messages();
        let mut reader = messages.stream();
        let first = reader.try_next().await?.unwrap().await?;
        let second = reader.try_next().await?.unwrap().await?;
        assert!(reader.try_next().await?.is_none());
        let all = messages.await?;
        assert_eq!(
            [first.text(), second.text()],
            [all[0].text(), all[1].text()]
        );
        seen.set(all.len() == 2 && !messages.cancel());
        Ok(())
    }

    for turns in 0..10 {
        let seen = Rc::new(Cell::new(false));
        let noted = seen.clone();
        let not_reading = move |ctx: InteractionContext| {
            spawn(look(ctx, turns, noted.clone())).detach();
            async { Ok(()) }
        };
        let replies = MiniAgents::new().run(async {
            let replies = not_reading.trigger(["one", "two"]).await;
            for _ in 0..20 {
                yield_now().await;
            }
            replies
        });
        assert!(replies.unwrap().is_empty());
        assert!(seen.get(), "not after {turns} turns");
    }
}

#[test]
fn arguments_are_an_object_for_whoever_asks_for_all_of_them() {
    async fn shown(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.arguments().full_json());
        Ok(())
    }
    let plain = MiniAgent::new(shown);
    let preset = plain.fork().with("depth", 1).with("mood", "good");
    let options = || CallOptions::new().with("mood", "bad").with("n", [1, 2]);

    let texts = MiniAgents::new().run(async {
        let mut texts = Vec::new();
        for (agent, options) in [
            (&plain, CallOptions::new()),
            (&plain, options()),
            (&preset, CallOptions::new()),
            (&preset, options()),
        ] {
            let replies = agent.trigger_with((), options).await?;
            texts.push(replies[0].to_string());
        }
        Result::Ok(texts)
    });

    assert_eq!(
        texts.unwrap(),
        [
            r#"{"class_":"Frozen"}"#,
            r#"{"class_":"Frozen","mood":"bad","n":[1,2]}"#,
            r#"{"class_":"Frozen","depth":1,"mood":"good"}"#,
            r#"{"class_":"Frozen","depth":1,"mood":"bad","n":[1,2]}"#,
        ]
    );
}

#[test]
fn replies_that_another_executor_reads_to_their_end_are_recorded_there() {
    async fn says_two(ctx: InteractionContext) -> Result<()> {
        ctx.reply("one");
        ctx.reply("two");
        Ok(())
    }

    let events = events_of(async {
        let on_demand = CallOptions::new().with_start(Start::OnDemand);
        let mut replies = says_two.trigger_with((), on_demand).stream();
        note(replies.try_next().await?.unwrap().await?);
        for _ in 0..9 {
            yield_now().await; // until it has ended
        }
        MiniAgents::new().run(async {
            note(replies.try_next().await?.unwrap().await?);
            note(replies.try_next().await?.is_none());
            Ok(())
        })
    });

    assert_eq!(events, ["one", "two", "true"]);
}

/// Its executor goes before it began to hand out what was sent, and then in the middle of that.
#[test]
fn what_an_agent_was_sent_is_read_elsewhere_when_its_executor_has_gone() {
    let mut read = Vec::new();
    for turns in 2..6 {
        let kept = Rc::new(Cell::new(None));
        let keep = kept.clone();
        let not_reading = move |ctx: InteractionContext| {
            keep.set(Some(ctx));
            async { Ok(()) }
        };
        let context = MiniAgents::new();
        let call = context.scope(async {
            not_reading.trigger(["one", "two"]).await?;
            std::future::pending::<Result<()>>().await
        });
        let leaving = async {
            for _ in 0..turns {
                yield_now().await;
            }
            Ok(())
        };
        let left = Executor::new().block_on(future::or(call, leaving));
        assert!(left.unwrap().is_ok());

        let ctx = kept.take().expect("the agent has acted");
        let all = MiniAgents::new().run(async {
            let all = MessageSequencePromise::of((ctx.messages().clone(), "behind")).await;
            Ok(all.map_or(0, |all| all.len()))
        });
        read.push(all.expect("nobody waits for what never comes"));
    }
    assert_eq!(read[0], 3);
}

#[test]
fn an_agent_that_is_replaced_may_look_at_the_context_when_it_is_dropped() {
    struct Looks(Rc<OnceCell<MiniAgents>>, Rc<Cell<bool>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let context = self.0.get().unwrap();
            self.1.set(context.llm_logger_agent().is_some());
        }
    }

    let (context, looked) = (Rc::default(), Rc::<Cell<bool>>::default());
    let looks = Looks(Rc::clone(&context), looked.clone());
    let logger = move |_: InteractionContext| {
        let _ = &looks;
        async { Ok(()) }
    };
    let other = |_: InteractionContext| async { Ok(()) };
    let miniagents = MiniAgents::new().with_llm_logger_agent(MiniAgent::new(logger));
    context.set(miniagents.clone()).unwrap();
    let miniagents = miniagents.with_llm_logger_agent(MiniAgent::new(other));
    assert!(looked.get() && miniagents.llm_logger_agent().is_some());
}
