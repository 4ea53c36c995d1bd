//! What cannot be done is refused, with a text that says what is wrong and what to do instead.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_lite::stream;
use miniagents::dialog::{AgentLoop, Link};
use miniagents::{
    Agent, CallOptions, Error, Frozen, InteractionContext, Message, MessageClass, MessagePromise,
    MessageSequence, MessageSequencePromise, MessageTokenAppender, MiniAgent, MiniAgents, Promise,
    PromisingContext, Result, StreamAppender, TextMessage, Token, Value, messages,
};
use serde::{Deserialize, Serialize};

use crate::events::{events_in, events_of, logged_by, note};

const NOT_OPEN: &str =
    "this appender is not open: call `open` before you append, or append inside of `fill`";
const CLOSED: &str = "this appender was closed: nothing can be appended after the end";
const OPENED_AGAIN: &str =
    "this appender was closed; a closed appender cannot be opened again, make another";
const NAN: &str = "NaN cannot be part of a frozen value, because JSON has no such number; use null or \
     a text instead";

async fn silent(_: InteractionContext) -> Result<()> {
    Ok(())
}

/// What the panic of `body` says.
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(body))
        .err()
        .expect("it panics");
    panic
        .downcast_ref::<String>()
        .expect("a panic with a text")
        .clone()
}

/// The error that a sequence of `messages` ends with.
fn raised(messages: impl miniagents::IntoMessages) -> Error {
    let messages = messages.into_messages();
    let ended = MiniAgents::new().run(async { MessageSequencePromise::of(messages).await });
    ended.unwrap_err()
}

mod without_a_context {
    use super::*;

    const NO_CONTEXT: &str = "no context is active: call this from inside of \
         `MiniAgents::new().run(async { … })`, or of `scope` in an executor of yours, or after \
         `activate`";
    const NO_AGENT: &str = "no agent acts here: call this inside of an agent, or of what an agent \
         started";
    const BARE: &str = "the active context is a bare `PromisingContext`; agents need `MiniAgents`";

    #[test]
    fn everything_that_needs_one_panics_and_says_what_to_write() {
        let panics = [
            panic_of(PromisingContext::current),
            panic_of(MiniAgents::current),
            panic_of(|| Promise::new(async { Ok(()) })),
            panic_of(|| Promise::ready(())),
            panic_of(|| MessagePromise::new(stream::empty())),
            panic_of(MessageSequence::new),
            panic_of(|| MessageSequencePromise::of("text")),
            panic_of(|| silent.trigger(())),
            panic_of(|| silent.initiate_call()),
        ];

        assert_eq!(panics, [NO_CONTEXT; 9]);
    }

    #[test]
    fn one_may_ask_whether_there_is_one() {
        let errors = [
            PromisingContext::try_current().unwrap_err(),
            MiniAgents::try_current().unwrap_err(),
            InteractionContext::try_current().unwrap_err(),
        ];

        assert!(errors.iter().all(Error::is_no_context));
        let texts = errors.map(|error| error.to_string());
        assert_eq!(texts, [NO_CONTEXT, NO_CONTEXT, NO_AGENT]);
    }

    #[test]
    fn there_is_no_interaction_outside_of_agents() {
        let panic = MiniAgents::new().run(async { Ok(panic_of(InteractionContext::current)) });

        assert_eq!(panic.unwrap(), NO_AGENT);
    }

    #[test]
    fn a_bare_context_is_not_enough_for_agents() {
        let ended = PromisingContext::new().run(async {
            let error = MiniAgents::try_current().unwrap_err();
            Ok((error, panic_of(|| silent.trigger(()))))
        });

        let (error, panic) = ended.unwrap();
        assert!(error.is_no_context());
        assert_eq!([error.to_string(), panic], [BARE; 2]);
    }
}

mod appenders {
    use super::*;

    /// What appending says before opening, after closing, and what opening again says.
    fn check(texts: [Error; 3]) {
        let [before, after, again] = texts;
        assert!(before.is_not_open() && !before.is_closed());
        assert!(after.is_closed() && again.is_closed());
        assert_eq!(before.to_string(), NOT_OPEN);
        assert_eq!(after.to_string(), CLOSED);
        assert_eq!(again.to_string(), OPENED_AGAIN);
    }

    #[test]
    fn of_pieces_are_opened_once_and_closed_once() {
        let appender = StreamAppender::new();
        let before = appender.append(1).unwrap_err();
        appender.open().unwrap().open().unwrap().append(1).unwrap();
        appender.close();
        appender.close(); // does nothing
        let after = appender.append(2).unwrap_err();

        check([before, after, appender.open().unwrap_err()]);
    }

    #[test]
    fn of_tokens_are_opened_once_and_closed_once() {
        let appender = MessageTokenAppender::new();
        let before = appender.append("a").unwrap_err();
        appender.open().unwrap().append("b").unwrap();
        appender.close();
        let after = appender.append("c").unwrap_err();

        check([before, after, appender.open().unwrap_err()]);
    }

    #[test]
    fn of_messages_are_opened_once_and_closed_once() {
        let errors = MiniAgents::new().run(async {
            let sequence = MessageSequence::new();
            let appender = sequence.appender();
            let before = [
                appender.append("a").unwrap_err(),
                appender.append_out_of_order("a").unwrap_err(),
            ];
            appender.open()?.append("b")?;
            appender.close();
            let after = [
                appender.append("c").unwrap_err(),
                appender.append_out_of_order("c").unwrap_err(),
            ];
            let again = [appender.open().unwrap_err(), appender.open().unwrap_err()];
            assert_eq!(sequence.promise().await?.len(), 1);
            Ok((before, after, again))
        });

        let (before, after, again) = errors.unwrap();
        for ((before, after), again) in before.into_iter().zip(after).zip(again) {
            check([before, after, again]);
        }
    }

    #[test]
    fn are_not_filled_twice() {
        let errors = MiniAgents::new().run(async {
            let appender = StreamAppender::<i32>::new().with_capture_errors(true);
            appender.fill(async { Ok(()) }).await?;
            Ok(appender.fill(async { Ok(()) }).await.unwrap_err())
        });

        assert_eq!(errors.unwrap().to_string(), OPENED_AGAIN);
    }

    #[test]
    fn make_no_promise_before_they_are_open() {
        let refused = MiniAgents::new().run(async {
            let appender = MessageTokenAppender::new();
            let promise = MessagePromise::of(MessageClass::TEXT).append_from(&appender);
            Ok(promise.unwrap_err())
        });

        let error = refused.unwrap();
        assert!(error.is_not_open());
        assert_eq!(
            error.to_string(),
            "this appender is not open: call `open` before you make a promise of what it appends, \
             or do so inside of `fill`"
        );
    }
}

mod after_the_end {
    use super::*;

    #[test]
    fn a_reply_is_refused_and_becomes_the_error_of_the_agent() {
        async fn talkative(ctx: InteractionContext) -> Result<()> {
            ctx.reply("in time").finish_now();
            let refused = ctx.try_reply("too late").unwrap_err();
            note(format!("{}: {refused}", refused.type_name()));
            let refused = ctx.try_reply_out_of_order("too late").unwrap_err();
            note(format!("{}: {refused}", refused.type_name()));
            ctx.reply("too late").reply_out_of_order("too late");
            note("agent ends");
            Ok(())
        }

        let logged = logged_by(|| {
            let events = events_of(async {
                note(talkative.trigger(()).await?.len());
                Ok(())
            });

            let refused = format!("AppenderClosedError: {CLOSED}");
            assert_eq!(events, [&refused, &refused, "agent ends", "1"]);
        });

        // The replies had ended, so that nobody could read it.
        let text = "ERROR an error in TALKATIVE was never read: AppenderClosedError: ";
        assert_eq!(logged, [format!("{text}{CLOSED}")]);
    }

    #[test]
    fn a_message_to_a_finished_call_is_refused() {
        async fn count(ctx: InteractionContext) -> Result<()> {
            ctx.reply(ctx.messages().await?.len().to_string());
            Ok(())
        }

        let logged = logged_by(|| {
            let events = events_of(async {
                let call = count.initiate_call();
                call.send_message("in time").finish();
                call.send_message("too late").send_out_of_order("too late");
                let errors = [
                    call.try_send_message("too late").unwrap_err(),
                    call.try_send_out_of_order("too late").unwrap_err(),
                ];
                for error in errors {
                    note(format!("{} {error}", error.is_closed()));
                }
                note(call.is_finished());
                note(format!("messages: {}", call.reply_sequence().await?[0]));
                Ok(())
            });

            let refused = format!("true {CLOSED}");
            assert_eq!(events, [&refused, &refused, "true", "messages: 1"]);
        });

        // Those without `try_` say so in the log.
        let text = format!("ERROR a message to COUNT was not sent: {CLOSED}");
        assert_eq!(logged, [text.as_str(), &text]);
    }
}

mod templates {
    use super::*;

    #[test]
    fn must_not_name_a_missing_field() {
        let template = || TextMessage::from_template("Dear {name}").with("age", 36);
        let built = template().build().unwrap_err();
        let sent = raised(template());
        let beforehand = MiniAgents::new().run(async {
            let promise = MessagePromise::of(MessageClass::TEXT)
                .with("content_template", "Dear {name}")
                .stream(stream::once(Ok(Token::from("text"))));
            Ok(promise?.await?.to_string())
        });

        assert!(built.is_value() && sent.is_value());
        let text = "the template `Dear {name}` cannot be filled in: it names the field `name`, \
                    which the message does not have";
        assert_eq!([built.to_string(), sent.to_string()], [text; 2]);
        assert_eq!(beforehand.unwrap(), "text"); // what is streamed has its text
    }

    #[test]
    fn must_close_their_braces() {
        let error = TextMessage::from_template("Dear {name")
            .build()
            .unwrap_err();

        assert!(error.is_value());
        assert_eq!(
            error.to_string(),
            "the template `Dear {name` cannot be filled in: a `{` is not closed; write `{{` for a \
             brace"
        );
    }
}

mod numbers_that_json_cannot_hold {
    use super::*;

    #[derive(Serialize)]
    struct Measured {
        values: Vec<f64>,
    }

    const INFINITY: &str = "inf cannot be part of a frozen value, because JSON has no such number; use \
         null or a text instead";
    const TOO_WIDE: &str =
        "the integer 18446744073709551616 does not fit 64 bits; keep it as a text";
    const WIDE: u128 = 1 << 64;

    fn texts<const N: usize>(errors: [Error; N]) -> [String; N] {
        assert!(errors.iter().all(Error::is_value));
        errors.map(|error| error.to_string())
    }

    #[test]
    fn are_refused_by_values() {
        let errors = [
            Value::try_from(f64::NAN).unwrap_err(),
            Value::try_from(f32::INFINITY).unwrap_err(),
            Value::try_from(WIDE).unwrap_err(),
            Value::from_serialize(&WIDE).unwrap_err(),
        ];

        assert_eq!(texts(errors), [NAN, INFINITY, TOO_WIDE, TOO_WIDE]);
        assert_eq!(Value::try_from(7_u128).unwrap().as_u64(), Some(7));
    }

    #[test]
    fn are_refused_by_messages() {
        let message = |value: f64| TextMessage::new("hot").with("temperature", value);
        let errors = [
            message(f64::NAN).build().unwrap_err(),
            message(f64::INFINITY).build().unwrap_err(),
            TextMessage::new("wide")
                .with("n", WIDE)
                .build()
                .unwrap_err(),
            raised(messages!["before", message(f64::NAN)]),
            Frozen::new().try_with("n", f64::NAN).unwrap_err(),
            Message::from_typed(&Measured {
                values: vec![0.5, f64::NAN],
            })
            .unwrap_err(),
        ];

        assert_eq!(
            texts(errors),
            [
                format!("field `temperature`: {NAN}"),
                format!("field `temperature`: {INFINITY}"),
                format!("field `n`: {TOO_WIDE}"),
                format!("field `temperature`: {NAN}"),
                format!("field `n`: {NAN}"),
                format!("a `Measured` cannot be a message: field `values[1]`: {NAN}"),
            ]
        );
    }

    #[test]
    fn are_refused_by_promises_of_messages() {
        let refused = MiniAgents::new().run(async {
            let promise = MessagePromise::of(MessageClass::TEXT).with("n", f64::NAN);
            Ok(promise.stream(stream::empty()).unwrap_err())
        });

        assert_eq!(texts([refused.unwrap()]), [format!("field `n`: {NAN}")]);
    }

    #[test]
    fn are_refused_as_arguments_where_the_replies_are_read() {
        let preset = MiniAgent::new(silent).with("n", f64::NAN);
        let miniagents = MiniAgents::new();

        let errors = miniagents.run(async {
            let call = CallOptions::new().with("n", WIDE);
            Ok([
                preset.trigger(()).await.unwrap_err(),
                silent.trigger_with((), call).await.unwrap_err(),
            ])
        });

        let expected = [
            format!("argument `n`: {NAN}"),
            format!("argument `n`: {TOO_WIDE}"),
        ];
        assert_eq!(texts(errors.unwrap()), expected);
    }

    #[test]
    fn bare_numbers_are_no_messages() {
        let error = raised(serde_json::json!(["fine", 7]));

        assert_eq!(
            texts([error]),
            ["`7` is no message: send text, an object or a list of these"]
        );
    }
}

mod typed_values {
    use super::*;

    #[derive(Serialize, Deserialize, Debug)]
    struct Question {
        text: String,
        attempts: u8,
    }

    fn refusal(message: &Message) -> String {
        let error = message.to_typed::<Question>().unwrap_err();
        assert!(error.is_value());
        error.to_string()
    }

    #[test]
    fn must_fit_the_fields_of_the_message() {
        let message = |fields| Message::from_fields(&fields).unwrap();
        let fields = || Frozen::new().with("text", "why?");

        assert_eq!(
            refusal(&message(fields())),
            "`Message` does not fit `Question`: missing field `attempts`"
        );
        assert_eq!(
            refusal(&message(fields().with("attempts", 300).with("more", true))),
            "`Message` does not fit `Question`: field `attempts`: invalid value: integer `300`, \
             expected u8"
        );
        let fitting = message(fields().with("attempts", 3).with("more", true));
        assert_eq!(fitting.to_typed::<Question>().unwrap().attempts, 3);
    }

    #[test]
    fn must_be_of_the_class_of_the_message() {
        let message = TextMessage::new("why?").build().unwrap();

        assert_eq!(
            refusal(&message),
            "a message of class `TextMessage` is not a `Question`"
        );
    }

    #[test]
    fn only_structs_become_messages() {
        let error = Message::from_typed(&[1, 2]).unwrap_err();

        assert!(error.is_value());
        let text = error.to_string();
        assert!(
            text.ends_with("only a struct or a map becomes an object, not a list"),
            "{text}"
        );
    }

    #[test]
    fn arguments_must_be_given_and_must_fit() {
        async fn wants_number(ctx: InteractionContext) -> Result<()> {
            let number: u8 = ctx.argument("number")?;
            ctx.reply(number.to_string());
            Ok(())
        }

        let errors = MiniAgents::new().run(async {
            let unfit = CallOptions::new().with("number", "seven");
            Ok([
                wants_number.trigger(()).await.unwrap_err(),
                wants_number.trigger_with((), unfit).await.unwrap_err(),
            ])
        });

        let [missing, unfit] = errors.unwrap();
        assert!(missing.is_value() && unfit.is_value());
        assert_eq!(
            missing.to_string(),
            "agent `WANTS_NUMBER` was not given the argument `number`"
        );
        assert_eq!(
            unfit.to_string(),
            "agent `WANTS_NUMBER` cannot use its argument `number`: the value is no `u8`: invalid \
             type: string \"seven\", expected u8"
        );
    }
}

#[test]
fn argument_does_not_stand_in_for_a_field_of_the_record() {
    async fn answer(ctx: InteractionContext) -> Result<()> {
        ctx.reply(format!("got {}", ctx.argument::<String>("messages")?));
        Ok(())
    }
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        messages.iter().for_each(note);
        Ok(())
    });

    let logged = logged_by(|| {
        let events = events_in(&miniagents, async {
            let options = CallOptions::new().with("messages", "an argument");
            answer.trigger_with("a message", options).await?;
            Ok(())
        });

        // The agent runs all the same; that there is no record is logged.
        assert_eq!(events, ["got an argument", "a message"]);
    });

    assert_eq!(
        logged,
        [
            "ERROR an error in a promise was never read: ValueError: a call of agent `ANSWER` is not \
             recorded: its record has a field `messages` already; give the argument or the metadata \
             another name"
        ]
    );
}

#[test]
fn loop_without_await_or_without_an_agent_is_refused() {
    let text = "a loop needs a `Link::Await` and at least one agent among its links, or it would go \
                round for ever without running anything";
    let loops = [
        AgentLoop::new(),
        AgentLoop::new().then(silent),
        AgentLoop::new().then(Link::Await),
        AgentLoop::new().then(Link::Clear).then(Link::Await),
        AgentLoop::new().then(silent).then(Link::Clear),
    ];

    for endless in loops {
        let ended = MiniAgents::new().run(async { endless.trigger(()).await });

        let error = ended.unwrap_err();
        assert!(error.is_value());
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn waiting_for_oneself_is_reported_and_does_not_hang() {
    async fn waits_for_more(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while messages.try_next().await?.is_some() {}
        Ok(())
    }

    let ended = MiniAgents::new().run(async {
        let call = waits_for_more.initiate_call();
        call.replies().await // without `finish` the agent waits for messages
    });

    assert!(ended.unwrap_err().is_deadlock());
}
