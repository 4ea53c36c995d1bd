//! A model behind a simulated server: its latencies, refusals and broken answers, in virtual time.
#![cfg(feature = "openai")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{now, timeout};
use miniagents::llm::OpenAi;
use miniagents::llm::transport::HttpSettings;
use miniagents::simulation::{Latency, Simulated, SimulatedServer, Simulation};
use miniagents::{Agent, Message, Result};

const SECOND: Duration = Duration::from_secs(1);

/// A server that takes a second for each token.
fn server() -> SimulatedServer {
    SimulatedServer::new()
        .with_latency(Latency::constant(SECOND))
        .with_pace(Latency::constant(SECOND))
}

fn model(server: SimulatedServer) -> OpenAi {
    OpenAi::new("simulated").api_key("none").transport(server)
}

/// One question in a run with this seed.
fn ask(seed: u64, make: impl Fn() -> OpenAi) -> Simulated<Message> {
    let simulation = Simulation::new().with_seed(seed);
    simulation.run(|_| async { Ok(make().trigger("How are you?").await?[0].clone()) })
}

#[test]
fn tokens_take_their_time() {
    let run = Simulation::new().run(|_| async {
        let mut replies = model(server()).trigger("How are you?").stream();
        let mut tokens = replies.try_next().await?.unwrap().stream();
        let mut heard = Vec::new();
        while let Some(token) = tokens.try_next().await? {
            heard.push(format!("{token}{}", now().as_secs()));
        }
        Ok(heard)
    });
    assert_eq!(
        run.into_result().unwrap(),
        ["You 1", "said: 2", "How 3", "are 4", "you?5"]
    );

    let whole = ask(0, || model(server()).stream(false));
    assert_eq!(whole.elapsed(), 5 * SECOND);
    let message = whole.into_result().unwrap();
    assert_eq!(message.text(), "You said: How are you?");
    assert_eq!(message.get("stop_reason").unwrap().as_str(), Some("stop"));
}

#[test]
fn what_is_too_much_is_told_to_come_back() {
    let program = |retries: u32| {
        move |_| async move {
            let settings = HttpSettings::default().with_max_retries(retries);
            let server = server()
                .with_rate_limit(2, 10 * SECOND)
                .with_settings(settings);
            let model = model(server.clone());
            let answers: Vec<_> = (0..4)
                .map(|number| model.clone().trigger(number.to_string()))
                .collect();
            let (mut accepted, mut errors) = (0, BTreeSet::new());
            for answer in answers {
                match answer.await {
                    Ok(_) => accepted += 1,
                    Err(error) => drop(errors.insert(error.to_string())),
                }
            }
            Ok((accepted, errors, server.attempts(), server.refused()))
        }
    };
    let patient = Simulation::new().run(program(2));
    assert_eq!(patient.elapsed(), 13 * SECOND);
    assert_eq!(patient.into_result().unwrap(), (4, BTreeSet::new(), 6, 2));

    let (accepted, errors, _, refused) = Simulation::new().run(program(0)).into_result().unwrap();
    assert_eq!((accepted, refused), (2, 2));
    let error = errors.first().unwrap();
    assert!(
        error.contains("429") && error.contains("too many requests"),
        "{error}"
    );
}

#[test]
fn failures_are_tried_again_and_told_in_the_end() {
    let refused = ask(1, || model(server().with_failures(1.0)));
    assert!(refused.elapsed() > 4 * SECOND, "{:?}", refused.elapsed());
    let error = refused.into_result().unwrap_err().to_string();
    assert!(
        error.contains("50") && error.contains("out of order"),
        "{error}"
    );

    let lost = ask(1, || model(server().with_lost_connections(1.0)));
    let error = lost.into_result().unwrap_err();
    assert!(
        error.is_http() && error.to_string().contains("connection was lost"),
        "{error}"
    );

    let mut attempts = BTreeSet::new();
    for seed in 0..20 {
        let seen = Rc::new(RefCell::new(None));
        let run = ask(seed, || {
            let server = server().with_failures(0.5);
            seen.replace(Some(server.clone()));
            model(server)
        });
        attempts.insert((seen.take().unwrap().attempts(), run.into_result().is_ok()));
    }
    let all = BTreeSet::from([(1, true), (2, true), (3, true), (3, false)]);
    assert_eq!(attempts, all);
}

#[test]
fn answers_break_off_after_some_tokens() {
    let mut heard = BTreeSet::new();
    for seed in 0..30 {
        let tokens = Rc::new(Cell::new(0));
        let count = tokens.clone();
        let run = Simulation::new().with_seed(seed).run(|_| async move {
            let mut replies = model(server().with_cuts(1.0))
                .trigger("How are you?")
                .stream();
            let mut tokens = replies.try_next().await?.unwrap().stream();
            while let Some(_token) = tokens.try_next().await? {
                count.set(count.get() + 1);
            }
            Ok(())
        });
        let error = run.into_result().unwrap_err();
        assert!(
            error.to_string().contains("the answer broke off"),
            "{error}"
        );
        heard.insert(tokens.get());
    }
    assert_eq!(heard, BTreeSet::from([0, 1, 2, 3, 4]));
}

#[test]
fn malformed_answers_are_errors() {
    for seed in 0..20 {
        for stream in [true, false] {
            let run = ask(seed, || model(server().with_malformed(1.0)).stream(stream));
            assert!(run.into_result().is_err(), "{seed} {stream}");
        }
    }
}

#[test]
fn stalls_end_by_whoever_has_had_enough() {
    let stalled = || server().with_stalls(1.0, 3600 * SECOND);
    let client = ask(0, || model(stalled()));
    assert!(client.elapsed() < 610 * SECOND, "{:?}", client.elapsed());
    let error = client.into_result().unwrap_err().to_string();
    assert!(error.contains("sent nothing for too long"), "{error}");

    let patient = HttpSettings::default().with_idle_timeout(7200 * SECOND);
    let waited = ask(0, || model(stalled().with_settings(patient.clone())));
    assert_eq!(waited.elapsed(), 3605 * SECOND);
    assert!(waited.into_result().is_ok());

    let program = Simulation::new().run(|_| async {
        let answer = model(stalled()).trigger("How are you?");
        timeout(60 * SECOND, answer.wait()).await?
    });
    assert!(program.into_result().unwrap_err().is_timeout());
}

#[test]
fn another_schedule_does_not_change_how_long_an_answer_takes() {
    let run = |case: &str| {
        let simulation = Simulation::new().with_case(case.parse().unwrap());
        simulation.run(|_| async {
            let slow = Latency::heavy_tail(SECOND, 600 * SECOND);
            let model = model(server().with_latency(slow));
            let answers: Vec<_> = ["a", "b", "c", "a"]
                .map(|text| model.clone().trigger(text))
                .into();
            for answer in answers {
                answer.await?;
            }
            Result::Ok(())
        })
    };
    let fifo = run("seed=5;fifo");
    let other = run("seed=5;seed=3");
    assert_ne!(fifo.digest(), other.digest());
    assert_eq!(fifo.elapsed(), other.elapsed());
    assert_ne!(fifo.elapsed(), run("seed=6;fifo").elapsed());
}

#[cfg(feature = "anthropic")]
mod anthropic {
    use miniagents::llm::Anthropic;

    use super::*;

    fn model(server: SimulatedServer) -> Anthropic {
        let model = Anthropic::new("simulated").max_tokens(100);
        model.api_key("none").transport(server)
    }

    fn ask(seed: u64, server: SimulatedServer, stream: bool) -> Simulated<Message> {
        Simulation::new().with_seed(seed).run(|_| async move {
            let replies = model(server).stream(stream).trigger("How are you?").await?;
            Ok(replies[0].clone())
        })
    }

    #[test]
    fn tokens_take_their_time_in_the_other_protocol_too() {
        for stream in [true, false] {
            let run = ask(0, server(), stream);
            assert_eq!(run.elapsed(), 5 * SECOND);
            let message = run.into_result().unwrap();
            assert_eq!(message.text(), "You said: How are you?");
            assert_eq!(
                message.get("stop_reason").unwrap().as_str(),
                Some("end_turn")
            );
        }
    }

    #[test]
    fn it_hears_the_system_prompt_and_the_turns() {
        let run = Simulation::new().run(|_| async {
            let server = SimulatedServer::new().with_answer(|messages| format!("{messages:?}"));
            let replies = model(server)
                .system("Be brief.")
                .trigger(["One", "Two"])
                .await?;
            Ok(replies[0].text().to_owned())
        });
        let heard = r#"[("system", "Be brief."), ("user", "One\n\nTwo")]"#;
        assert_eq!(run.into_result().unwrap(), heard);
    }

    #[test]
    fn what_goes_wrong_goes_wrong_there_too() {
        let errors = |server: SimulatedServer| {
            [true, false].map(|stream| ask(1, server.clone(), stream).into_result().unwrap_err())
        };
        for error in errors(server().with_failures(1.0)) {
            assert!(error.to_string().contains("out of order"), "{error}");
        }
        for error in errors(server().with_cuts(1.0)) {
            assert!(error.is_truncated(), "{error}");
        }
        for error in errors(server().with_malformed(1.0)) {
            assert!(error.is_malformed(), "{error}");
        }
        for error in errors(server().with_lost_connections(1.0)) {
            assert!(error.to_string().contains("connection was lost"), "{error}");
        }
    }
}
