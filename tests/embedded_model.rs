//! The embedded model as an agent: what it says, how it streams, and that it shares the thread.
#![cfg(feature = "embedded")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use miniagents::executor::{now, yield_now};
use miniagents::llm::EmbeddedModel;
use miniagents::llm::embedded::{Eliza, tokens};
use miniagents::{
    Agent, AssistantMessage, Error, InteractionContext, Message, MessagePromise,
    MessageSequencePromise, MiniAgent, MiniAgents, Result, SystemMessage, UserMessage, messages,
};

const ANSWER: &str = "What would change if you had your coffee?";

async fn first(replies: MessageSequencePromise) -> Result<MessagePromise> {
    let reply = replies.stream().try_next().await?;
    reply.ok_or_else(|| Error::msg("there is no reply"))
}

/// What is answered to each turn of the user, with everything before it in view.
fn dialogue(model: &EmbeddedModel, turns: &[&str]) -> Vec<String> {
    let mut history: Vec<Message> = Vec::new();
    let answers = turns.iter().map(|turn| {
        history.push(UserMessage::new(*turn).build().unwrap());
        let replies = MiniAgents::new().run_agent(model.clone(), history.as_slice());
        let answer = replies.unwrap()[0].clone();
        history.push(answer.clone());
        answer.text().to_owned()
    });
    answers.collect()
}

#[test]
fn smoke() {
    let replies = MiniAgents::new()
        .run_agent(EmbeddedModel::new(), "I need my coffee.")
        .unwrap();

    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].text(), ANSWER);
}

#[test]
fn a_dialogue_goes_on_from_what_was_said() {
    let turns = [
        "Hello!",
        "I need my coffee.",
        "My dog ate my shoes.",
        "I need my coffee.",
        "",
        "xyzzy",
        "Because I am tired.",
        "goodbye",
    ];

    let answers = dialogue(&EmbeddedModel::new(), &turns);

    assert_eq!(
        answers,
        [
            "Hello! How has your day been so far?",
            "What would change if you had your coffee?",
            "Your dog ate your shoes? Tell me how that came to matter.",
            "Who could give you your coffee?", // asked again, answered otherwise
            "I am listening.",
            // Nothing can be said to that, but something was remembered.
            "A while ago you spoke of this: your dog ate your shoes. How does that fit in?",
            "What keeps you from resting?",
            "Goodbye! It was good to talk to you.",
        ]
    );
}

#[test]
fn the_same_conversation_gets_the_same_answer() {
    let turns = ["Hello!", "I dreamed of the sea.", "why?", "I am sad.", "hm"];
    let model = EmbeddedModel::new();

    let once = dialogue(&model, &turns);

    assert_eq!(dialogue(&model, &turns), once, "nothing is kept between");
    assert_eq!(dialogue(&EmbeddedModel::new(), &turns), once);
}

#[test]
fn only_what_the_user_says_counts() {
    let conversation = messages![
        SystemMessage::new("I dreamed of my mother."),
        AssistantMessage::new("I dreamed of my father."),
        "I need my coffee.",
    ];

    let replies = MiniAgents::new()
        .run_agent(EmbeddedModel::new(), conversation)
        .unwrap();

    assert_eq!(replies[0].text(), ANSWER);
}

#[test]
fn who_says_nothing_is_greeted() {
    let replies = MiniAgents::new()
        .run_agent(EmbeddedModel::new(), ())
        .unwrap();

    assert_eq!(replies[0].text(), "Hello! What shall we talk about?");
}

#[test]
fn a_script_of_ones_own_is_followed() {
    let parrot = Eliza::with_script(
        "@greeting\n    Polly!\n@silence\n    Krk.\n@default\n    Polly?\ncracker = 1\n  * cracker *\n    A cracker $2!\n",
    );
    let model = EmbeddedModel::new().with_script(parrot.unwrap());

    let answers = dialogue(&model, &["Who are you", "Want a cracker now?", " "]);

    assert_eq!(answers, ["Polly?", "A cracker now!", "Krk."]);
}

#[test]
fn the_answer_streams_in_tokens_and_has_its_fields_at_the_end() {
    MiniAgents::new()
        .run(async {
            let sage = MiniAgent::new(EmbeddedModel::new()).with_alias("SAGE");
            let reply = first(sage.trigger("I need my coffee.")).await?;
            let known = reply.known_beforehand().clone();
            let streamed: Vec<String> = reply
                .stream()
                .map(|token| token.map(|token| token.to_string()))
                .try_collect()
                .await?;
            let message = reply.await?;

            assert_eq!(known.get("agent_alias").unwrap().as_str(), Some("SAGE"));
            assert_eq!(known.get("model").unwrap().as_str(), Some("eliza"));
            assert!(known.get("stop_reason").is_none());
            assert_eq!(streamed, tokens(ANSWER).collect::<Vec<_>>());
            assert!(streamed.len() > 5);
            assert_eq!(message.class_name(), "AssistantMessage");
            assert_eq!(message.role(), Some("assistant"));
            assert_eq!(message.get("model").unwrap().as_str(), Some("eliza"));
            assert_eq!(message.get("stop_reason").unwrap().as_str(), Some("stop"));
            Ok(())
        })
        .unwrap();
}

#[test]
fn others_get_a_turn_between_tokens() {
    let events = Rc::new(RefCell::new(Vec::new()));

    MiniAgents::new()
        .run(async {
            let reply = first(EmbeddedModel::new().trigger("I need my coffee.")).await?;
            let mut tokens = reply.stream();
            let reading = async {
                while let Some(token) = tokens.try_next().await? {
                    events.borrow_mut().push(token.to_string());
                }
                Result::Ok(())
            };
            let others = async {
                loop {
                    events.borrow_mut().push("turn".to_owned());
                    yield_now().await;
                }
            };
            future::or(reading, others).await
        })
        .unwrap();

    assert_eq!(
        *events.borrow(),
        [
            "What", " would", // written while the reply was on its way here
            "turn", " change", "turn", " if", "turn", " you", "turn", " had", "turn", " your",
            "turn", " coffee", "turn", "?", "turn",
        ]
    );
}

#[test]
fn with_a_pace_a_token_takes_its_time() {
    let pace = Duration::from_secs(60);
    let times = MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let model = EmbeddedModel::new().with_pace(pace);
            let reply = first(model.trigger("I need my coffee.")).await?;
            let mut tokens = reply.stream();
            let mut times = Vec::new();
            while tokens.try_next().await?.is_some() {
                times.push(now());
            }
            Ok(times)
        })
        .unwrap();

    let expected: Vec<Duration> = (1..=times.len() as u32).map(|token| pace * token).collect();
    assert_eq!(times, expected);
    assert_eq!(times.len(), tokens(ANSWER).count());
}

#[test]
fn two_that_take_their_time_do_so_at_the_same_time() {
    let events = Rc::new(RefCell::new(Vec::new()));
    let read = async |name: &str, pace: u64| {
        let model = EmbeddedModel::new().with_pace(Duration::from_secs(pace));
        let reply = first(model.trigger("I need my coffee.")).await?;
        let mut tokens = reply.stream();
        while tokens.try_next().await?.is_some() {
            let event = format!("{name} at {}", now().as_secs());
            events.borrow_mut().push(event);
        }
        Ok::<(), Error>(())
    };

    MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            future::try_zip(read("quick", 2), read("slow", 3)).await?;
            Ok(())
        })
        .unwrap();

    assert_eq!(
        events.borrow()[..6],
        [
            "quick at 2",
            "slow at 3",
            "quick at 4",
            "quick at 6",
            "slow at 6", // both are there, and the reader looks at the quick one first
            "quick at 8",
        ]
    );
}

#[test]
fn an_error_among_the_messages_is_that_of_the_answer() {
    let replies = MiniAgents::new().run_agent(EmbeddedModel::new(), Error::msg("no question"));

    assert_eq!(replies.unwrap_err().to_string(), "no question");
}

#[test]
fn it_talks_to_itself_without_tiring() {
    let mut said = String::from("I dreamed of my brother.");
    let mut history: Vec<Message> = Vec::new();
    for _ in 0..50 {
        history.push(UserMessage::new(said.as_str()).build().unwrap());
        let replies = MiniAgents::new().run_agent(EmbeddedModel::new(), history.as_slice());
        said = replies.unwrap()[0].text().to_owned();
        assert!(!said.is_empty());
    }
}

/// Hands on what it gets while it is still being written.
async fn relay(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

#[test]
fn a_reader_behind_relays_has_a_token_before_the_next_is_written() {
    let times = MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let model = EmbeddedModel::new().with_pace(Duration::from_secs(1));
            let relayed = relay.trigger(relay.trigger(model.trigger("I need my coffee.")));
            let reply = first(relayed).await?;
            let mut tokens = reply.stream();
            tokens.try_next().await?;
            Ok(now())
        })
        .unwrap();

    assert_eq!(times, Duration::from_secs(1));
}
