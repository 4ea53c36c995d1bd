//! Chains, loops and dialogs: what happens in which order. The traces are those of the Python package.

use std::cell::RefCell;
use std::rc::Rc;

use miniagents::dialog::{
    AgentChain, AgentLoop, DialogLoop, FileOutputAgent, Link, PromptAgent, UserAgent,
};
use miniagents::history::InMemoryHistoryAgent;
use miniagents::{
    Agent, AssistantMessage, CallOptions, Error, InteractionContext, Message, MessagePromise,
    MessageSequence, MessageSequencePromise, Messages, MiniAgent, MiniAgents, Result,
    SystemMessage, UserMessage, messages,
};

type Trace = Rc<RefCell<Vec<String>>>;

/// Waits for everything, then says it in one message.
fn worker(name: &'static str, trace: &Trace) -> MiniAgent {
    let trace = trace.clone();
    let agent = move |ctx: InteractionContext| {
        let trace = trace.clone();
        async move {
            trace.borrow_mut().push(format!("{name} started"));
            let got = texts(&ctx.messages().await?).join(",");
            trace.borrow_mut().push(format!("{name} got {got}"));
            ctx.reply(format!("{name}({got})"));
            trace.borrow_mut().push(format!("{name} finished"));
            Ok(())
        }
    };
    MiniAgent::new(agent).with_alias(name)
}

/// Says each message as it comes.
fn streamer(name: &'static str, trace: &Trace) -> MiniAgent {
    let trace = trace.clone();
    let agent = move |ctx: InteractionContext| {
        let trace = trace.clone();
        async move {
            trace.borrow_mut().push(format!("{name} started"));
            let mut messages = ctx.messages().stream();
            while let Some(message) = messages.try_next().await? {
                let got = message.await?;
                trace.borrow_mut().push(format!("{name} got {got}"));
                ctx.reply(format!("{name}({got})"));
            }
            trace.borrow_mut().push(format!("{name} finished"));
            Ok(())
        }
    };
    MiniAgent::new(agent).with_alias(name)
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(ToString::to_string).collect()
}

/// The links that a chain is made of, by their names, and what comes of it for `x` and `y`.
fn chain(links: &[&'static str]) -> (Vec<String>, Vec<String>) {
    let trace = Trace::default();
    let mut chain = AgentChain::new();
    for link in links {
        chain = match *link {
            "AWAIT" => chain.then(Link::Await),
            "CLEAR" => chain.then(Link::Clear),
            "NONE" => chain.then_maybe(None::<MiniAgent>),
            name @ ("S" | "R") => chain.then(streamer(name, &trace)),
            name => chain.then(worker(name, &trace)),
        };
    }
    let replies = MiniAgents::new().run(async {
        let replies = chain.trigger(["x", "y"]);
        trace.borrow_mut().push("triggered".into());
        replies.await
    });
    let replies = texts(&replies.unwrap());
    (trace.take(), replies)
}

#[test]
fn agents_of_a_chain_start_side_by_side_unless_they_wait() {
    let (trace, replies) = chain(&["A", "B"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "A started",
            "B started", // at once
            "A got x,y",
            "A finished",
            "B got A(x,y)",
            "B finished",
        ]
    );
    assert_eq!(replies, ["B(A(x,y))"]);

    let (trace, replies) = chain(&["A", "AWAIT", "B"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "A started",
            "A got x,y",
            "A finished", // then only
            "B started",
            "B got A(x,y)",
            "B finished",
        ]
    );
    assert_eq!(replies, ["B(A(x,y))"]);
}

#[test]
fn messages_go_through_a_chain_one_by_one() {
    let (trace, replies) = chain(&["S", "R"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "S started",
            "R started",
            "S got x",
            "S got y",
            "S finished",
            "R got S(x)",
            "R got S(y)",
            "R finished",
        ]
    );
    assert_eq!(replies, ["R(S(x))", "R(S(y))"]);

    let (trace, _) = chain(&["S", "AWAIT", "R"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "S started",
            "S got x",
            "S got y",
            "S finished",
            "R started",
            "R got S(x)",
            "R got S(y)",
            "R finished",
        ]
    );
}

#[test]
fn what_is_cleared_goes_no_further() {
    let (trace, replies) = chain(&["A", "CLEAR", "B"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "A started",
            "B started",
            "A got x,y",
            "A finished", // nobody hears it
            "B got ",
            "B finished",
        ]
    );
    assert_eq!(replies, ["B()"]);

    let (trace, replies) = chain(&["S", "A", "AWAIT", "CLEAR", "B"]);
    assert_eq!(
        trace,
        [
            "triggered",
            "S started",
            "A started",
            "S got x",
            "S got y",
            "S finished",
            "A got S(x),S(y)",
            "A finished",
            "B started",
            "B got ",
            "B finished",
        ]
    );
    assert_eq!(replies, ["B()"]);

    // In the Python package this fails.
    assert!(chain(&["A", "CLEAR"]).1.is_empty());
}

#[test]
fn links_may_be_missing() {
    let expected = ["triggered", "A started", "A got x,y", "A finished"];
    for links in [&["NONE", "A", "NONE"][..], &["A", "AWAIT"], &["AWAIT", "A"]] {
        let (trace, replies) = chain(links);
        assert_eq!(trace, expected);
        assert_eq!(replies, ["A(x,y)"]);
    }
    assert_eq!(chain(&[]).1, ["x", "y"]);
}

#[test]
fn a_loop_that_could_not_run_is_refused_with_the_reason() {
    let trace = Trace::default();
    let maybe = || None::<MiniAgent>;
    for endless in [
        AgentLoop::new().then(worker("A", &trace)),
        AgentLoop::new().then(Link::Await).then(Link::Clear),
        AgentLoop::new().then(Link::Await).then_maybe(maybe()),
        AgentLoop::new(),
    ] {
        let error = MiniAgents::new().run_agent(endless, "x").unwrap_err();
        assert!(error.is_value());
        assert_eq!(
            error.to_string(),
            "a loop needs a `Link::Await` and at least one agent among its links, or it would go round \
             for ever without running anything"
        );
    }
    assert!(trace.borrow().is_empty());
}

#[test]
fn a_loop_that_clears_all_that_it_would_wait_for_is_refused() {
    let trace = Trace::default();
    let agent = || worker("A", &trace);
    for endless in [
        AgentLoop::new()
            .then(agent())
            .then(Link::Clear)
            .then(Link::Await),
        AgentLoop::new()
            .then(Link::Await)
            .then(agent())
            .then(Link::Clear),
        AgentLoop::new()
            .then(Link::Clear)
            .then(Link::Await)
            .then(agent()),
    ] {
        let error = MiniAgents::new().run_agent(endless, "x").unwrap_err();
        assert!(error.is_value());
        assert_eq!(
            error.to_string(),
            "a loop needs a `Link::Await` with no `Link::Clear` between it and the agent before it, \
             or it would go round for ever without running anything"
        );
    }
    assert!(trace.borrow().is_empty());
}

#[test]
fn a_loop_goes_round_until_somebody_has_had_enough() {
    let trace = Trace::default();
    let turns = trace.clone();
    let counter = MiniAgent::new(move |ctx: InteractionContext| {
        let turns = turns.clone();
        async move {
            let got = texts(&ctx.messages().await?).join(",");
            turns.borrow_mut().push(format!("got {got}"));
            if got.len() > 3 {
                return Err(Error::interrupted("long enough"));
            }
            ctx.reply(format!("{got}!"));
            Ok(())
        }
    });
    let going_round = || AgentLoop::new().then(&counter).then(Link::Await);

    let error = MiniAgents::new().run_agent(going_round(), "a").unwrap_err();
    assert!(error.is_interrupted());
    assert_eq!(trace.take(), ["got a", "got a!", "got a!!", "got a!!!"]);

    let ends = going_round().with_end_when_interrupted(true);
    assert!(MiniAgents::new().run_agent(ends, "bbb").unwrap().is_empty());
    assert_eq!(trace.take(), ["got bbb", "got bbb!"]);
}

/// A dialog of three turns, in the second of which the user says nothing new; what happened, and what the
/// user remembers.
fn dialog(prompt_at_the_end: bool, errors_as_messages: bool) -> (Vec<String>, Vec<String>) {
    let trace = Trace::default();
    let note = |what: String, trace: &Trace| trace.borrow_mut().push(what);
    let seen = trace.clone();
    let show = MiniAgent::new(move |ctx: InteractionContext| {
        let seen = seen.clone();
        async move {
            ctx.reply(ctx.messages());
            let mut messages = ctx.messages().stream();
            while let Some(message) = messages.try_next().await? {
                note(format!("show {}", message.await?), &seen);
            }
            Ok(())
        }
    });
    let lines = Rc::new(RefCell::new(vec!["", "two", "one"]));
    let asked = trace.clone();
    let ask = MiniAgent::new(move |ctx: InteractionContext| {
        let (asked, lines) = (asked.clone(), lines.clone());
        async move {
            ctx.reply(ctx.messages());
            ctx.messages().await?;
            note("ask".into(), &asked);
            let line = lines.borrow_mut().pop();
            let line = line.ok_or_else(|| Error::interrupted("enough"))?;
            ctx.reply((!line.is_empty()).then(|| UserMessage::new(line)));
            Ok(())
        }
    });
    let answered = trace.clone();
    let assistant = MiniAgent::new(move |ctx: InteractionContext| {
        let answered = answered.clone();
        async move {
            let got = texts(&ctx.messages().await?);
            note(format!("assistant got {}", got.join(",")), &answered);
            ctx.reply(AssistantMessage::new(format!("answer {}", got.len())));
            note("assistant finished".into(), &answered);
            Ok(())
        }
    });
    let history = InMemoryHistoryAgent::new();
    let user = UserAgent::new(show, ask).with_history(history.clone());
    let dialog = DialogLoop::new(user, assistant).with_prompt_at_the_end(prompt_at_the_end);
    let prompt = messages![SystemMessage::new("be brief"), "and kind"];
    let miniagents = MiniAgents::new().with_errors_as_messages(errors_as_messages);
    let replies = miniagents.run_agent(dialog, prompt).unwrap();
    assert!(replies.is_empty());
    (trace.take(), texts(&history.messages()))
}

#[test]
fn a_dialog_goes_in_turns_with_the_prompt_at_the_end() {
    let (trace, remembered) = dialog(true, false);
    assert_eq!(
        trace,
        [
            "ask",
            "assistant got one,be brief,and kind",
            "assistant finished",
            "show answer 3",
            "ask",
            "assistant got one,answer 3,two,be brief,and kind",
            "assistant finished",
            "show answer 5",
            "ask", // the user has nothing to say
            "assistant got one,answer 3,two,answer 5,be brief,and kind",
            "assistant finished",
            "show answer 6",
            "ask", // and has had enough
        ]
    );
    // In the Python package the last answer is not remembered.
    assert_eq!(
        remembered,
        ["one", "answer 3", "two", "answer 5", "answer 6"]
    );
}

#[test]
fn a_dialog_may_have_its_prompt_at_the_start() {
    let (trace, remembered) = dialog(false, false);
    let asked: Vec<_> = trace
        .iter()
        .filter(|it| it.starts_with("assistant got"))
        .collect();
    assert_eq!(
        asked,
        [
            "assistant got be brief,and kind,one",
            "assistant got be brief,and kind,one,answer 3,two",
            "assistant got be brief,and kind,one,answer 3,two,answer 5",
        ]
    );
    assert_eq!(
        remembered,
        ["one", "answer 3", "two", "answer 5", "answer 6"]
    );
}

#[test]
fn having_had_enough_is_no_message_where_errors_are() {
    assert_eq!(dialog(true, true), dialog(true, false));
}

#[test]
fn an_error_of_the_assistant_is_the_error_of_the_dialog() {
    async fn fails(_: InteractionContext) -> Result<()> {
        Err(Error::msg("out of order"))
    }
    async fn says(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        ctx.messages().await?;
        ctx.reply("hi");
        Ok(())
    }
    async fn passes(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        Ok(())
    }
    let dialog = DialogLoop::new(UserAgent::new(passes, says), fails);
    let error = MiniAgents::new().run_agent(dialog, ()).unwrap_err();
    assert_eq!(error.to_string(), "out of order");
}

#[test]
fn a_prompt_hands_the_arguments_on_and_can_be_used_again() {
    async fn polite(ctx: InteractionContext) -> Result<()> {
        let name: String = ctx.argument("name")?;
        ctx.reply(format!(
            "{} to {name}",
            texts(&ctx.messages().await?).join(",")
        ));
        Ok(())
    }
    let prompted = MiniAgent::new(
        PromptAgent::new(polite)
            .with_prefix("a")
            .with_suffix(["c", "d"]),
    );
    let replies = MiniAgents::new().run(async {
        let options = CallOptions::new().with("name", "Ada");
        let first = prompted.trigger_with("b", options.clone()).await?;
        let second = prompted.trigger_with((), options).await?;
        Ok([texts(&first), texts(&second)])
    });
    assert_eq!(replies.unwrap(), [["a,b,c,d to Ada"], ["a,c,d to Ada"]]);
}

#[test]
fn a_prompt_of_sequences_and_promises_can_be_used_again() {
    async fn echo(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        Ok(())
    }
    let replies = MiniAgents::new().run(async {
        let fails = MessageSequence::options()
            .with_errors_as_messages(true)
            .make();
        fails.appender().open()?.append(Error::msg("no luck"))?;
        fails.appender().close();
        let tokens = futures_lite::stream::iter([Ok("to".into()), Ok("ken".into())]);
        let prefix = messages![
            MessageSequencePromise::of(["one", "two"]),
            [MessageSequencePromise::of(["three"])],
            (),
            MessagePromise::new(tokens),
            fails.promise(),
        ];
        assert!(format!("{prefix:?}").contains("MessageSequencePromise"));
        let prompted = MiniAgent::new(
            PromptAgent::new(echo)
                .with_prefix(prefix)
                .with_suffix(MessageSequencePromise::of("z")),
        );
        let first = prompted.trigger("a").await?;
        let second = prompted.trigger("b").await?;
        Ok([texts(&first).join(","), texts(&second).join(",")])
    });
    let [first, second] = replies.unwrap();
    assert!(first.starts_with("one,two,three,token,"), "{first}");
    assert!(first.ends_with("no luck,a,z"), "{first}");
    assert_eq!(second, first.replace(",a,z", ",b,z"));
}

#[test]
fn a_prompt_may_be_nested_deeply_and_is_no_stream() {
    async fn echo(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        Ok(())
    }
    let deep = (0..200_000).fold(messages!["deep"], |inner, _| Messages::list([inner]));
    let prompted = PromptAgent::new(echo).with_prefix(deep);
    let replies = MiniAgents::new().run_agent(prompted, "x").unwrap();
    assert_eq!(texts(&replies), ["deep", "x"]);

    let stream = Messages::from_stream(futures_lite::stream::iter([Ok("once")]));
    let prompted = PromptAgent::new(echo).with_suffix(stream);
    let error = MiniAgents::new().run_agent(prompted, "x").unwrap_err();
    assert!(error.is_value());
    assert!(
        error.to_string().contains("can be sent only once"),
        "{error}"
    );
}

#[test]
fn a_file_has_what_came_before_an_error() {
    let file = std::env::temp_dir().join(format!("miniagents-said-{}.txt", std::process::id()));
    let said = messages!["one", "two", Error::msg("no power"), "three"];
    let error = MiniAgents::new()
        .run_agent(FileOutputAgent::new(&file), said)
        .unwrap_err();
    assert_eq!(error.to_string(), "no power");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n\ntwo");
    std::fs::remove_file(&file).unwrap();

    let nowhere = FileOutputAgent::new("");
    let error = MiniAgents::new().run_agent(nowhere, "x").unwrap_err();
    assert!(error.to_string().starts_with("file : "), "{error}");
}

#[test]
fn agents_made_of_agents_keep_the_laws() {
    use miniagents::{Split, laws, split_messages};

    async fn echo(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        Ok(())
    }
    async fn split(ctx: InteractionContext) -> Result<()> {
        ctx.reply(split_messages(ctx.messages(), Split::default()));
        Ok(())
    }
    let said = ["one\n\ntwo", "three"];
    laws::agent(split, said).unwrap();
    let chain = AgentChain::new().then(echo).then(Link::Await).then(split);
    laws::agent(chain, said).unwrap();
    laws::agent(
        PromptAgent::new(echo).with_prefix("a").with_suffix("z"),
        said,
    )
    .unwrap();
    laws::agent(InMemoryHistoryAgent::new(), said).unwrap();
    laws::agent(UserAgent::new(echo, split).without_history(), said).unwrap();
    async fn leaves(_: InteractionContext) -> Result<()> {
        Err(Error::interrupted("enough"))
    }
    laws::agent(DialogLoop::new(leaves, echo), said).unwrap();
}
