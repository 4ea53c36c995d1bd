//! The tokens of one message, streamed anew as those of another: nobody can tell whether that is seen to be all
//! that is done.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use futures_lite::{Stream, StreamExt};
use miniagents::executor::yield_now;
use miniagents::{
    Error, KeepTokens, MessageClass, MessagePromise, MiniAgents, Result, Token, TokenStream,
    generate,
};

/// How tokens are streamed anew.
#[derive(Clone, Copy)]
enum Anew {
    AsTheyAre,
    /// Behind something that might change them.
    Hidden,
}

impl Anew {
    fn stream(self, tokens: TokenStream) -> MessagePromise {
        match self {
            Anew::AsTheyAre => MessagePromise::new(tokens),
            Anew::Hidden => MessagePromise::new(tokens.map(|token| token)),
        }
    }
}

/// What happened, and in which turn.
#[derive(Clone, Default)]
struct Events {
    noted: Rc<RefCell<Vec<String>>>,
    turn: Rc<Cell<usize>>,
}

impl Events {
    fn note(&self, what: impl std::fmt::Display) {
        let turn = self.turn.get();
        self.noted.borrow_mut().push(format!("{turn} {what}"));
    }

    /// Reads a message to its end in a task of its own.
    fn read(&self, name: &'static str, promise: &MessagePromise) {
        let (events, mut tokens) = (self.clone(), promise.stream());
        let promise = promise.clone();
        let task = MiniAgents::current().start_soon(async move {
            loop {
                match tokens.next().await {
                    Some(Ok(token)) => events.note(format_args!("{name}: {token}")),
                    Some(Err(error)) => events.note(format_args!("{name}: {error}")),
                    None => break,
                }
            }
            match promise.await {
                Ok(message) => events.note(format_args!("{name} is {message}")),
                Err(error) => events.note(format_args!("{name} fails: {error}")),
            }
            Ok(())
        });
        task.detach();
    }
}

/// Runs `body` both ways, twenty turns long, and gives what happened, which is the same.
fn events_of(body: impl AsyncFn(&Events, Anew)) -> Vec<String> {
    let [as_they_are, hidden] = [Anew::AsTheyAre, Anew::Hidden].map(|anew| {
        let events = Events::default();
        let run = MiniAgents::new().run(async {
            body(&events, anew).await;
            for turn in 0..20 {
                events.turn.set(turn);
                yield_now().await;
            }
            Result::Ok(())
        });
        run.unwrap();
        events.noted.take()
    });
    assert_eq!(as_they_are, hidden);
    as_they_are
}

/// Tokens that come one by one, and then all at once.
fn live(texts: &'static [&'static str]) -> MessagePromise {
    MessagePromise::new(generate(move |out| async move {
        for (i, text) in texts.iter().enumerate() {
            if i < 6 {
                yield_now().await;
            }
            out.emit(Token::from(*text)).await;
        }
        Ok(())
    }))
}

/// The texts of those events, without their turns.
fn texts(events: &[String], name: &str) -> Vec<String> {
    let told = events.iter().filter_map(|event| event.split_once(' '));
    let own = told.filter_map(|(_, what)| what.strip_prefix(name)?.strip_prefix(": "));
    own.map(String::from).collect()
}

const TEXTS: &[&str] = &["a", "b", "", "c", "d", "e", "f", "a text that is long"];

#[test]
fn every_reader_of_every_copy_gets_the_tokens_in_the_same_turns() {
    let events = events_of(async |events, anew| {
        let original = live(TEXTS);
        let copy = anew.stream(original.stream());
        let of_copy = anew.stream(copy.stream());
        events.read("copy", &copy);
        events.read("original", &original);
        events.read("copy of the copy", &of_copy);
        events.read("again", &copy);
        for _ in 0..6 {
            yield_now().await;
        }
        events.read("late", &of_copy);
        events.read("late copy", &anew.stream(original.stream()));
    });

    for name in [
        "copy",
        "original",
        "copy of the copy",
        "again",
        "late",
        "late copy",
    ] {
        assert_eq!(texts(&events, name), TEXTS, "{name}");
    }
}

#[test]
fn a_stream_that_was_read_in_part_goes_on_from_there() {
    let events = events_of(async |events, anew| {
        let original = live(TEXTS);
        let mut tokens = original.stream();
        tokens.next().await.unwrap().unwrap();
        tokens.next().await.unwrap().unwrap();
        events.read("rest", &anew.stream(tokens));
        let mut skipped = original.stream();
        skipped.skip_to(7);
        events.read("last", &anew.stream(skipped));
        let mut behind = original.stream();
        behind.skip_to(100);
        events.read("nothing", &anew.stream(behind));
        let mut waiting = original.stream();
        waiting.skip_to(6);
        assert!(
            futures_lite::future::poll_once(StreamExt::next(&mut waiting))
                .await
                .is_none()
        );
        events.read("waited", &anew.stream(waiting));
    });

    assert_eq!(texts(&events, "rest"), TEXTS[2..]);
    assert_eq!(texts(&events, "last"), TEXTS[7..]);
    assert_eq!(texts(&events, "waited"), TEXTS[6..]);
    assert!(texts(&events, "nothing").is_empty());
}

#[test]
fn errors_are_passed_on_and_what_comes_behind_them() {
    let events = events_of(async |events, anew| {
        let original = MessagePromise::new(generate(|out| async move {
            out.emit(Token::from("a")).await;
            out.emit(Token::from("b")).await;
            out.emit_error(Error::msg("a slip")).await;
            yield_now().await;
            out.emit(Token::from("c")).await;
            panic!("and no more");
        }));
        events.read("copy", &anew.stream(original.stream()));
        events.read("with errors", &anew.stream(original.stream()));
    });

    let copy = texts(&events, "copy");
    assert_eq!(copy[..4], ["a", "b", "a slip", "c"]);
    assert!(
        copy[4].contains("and no more") && copy.len() == 5,
        "{copy:?}"
    );
}

#[test]
fn a_message_that_is_there_or_on_demand_or_fails_late_is_streamed_anew() {
    let events = events_of(async |events, anew| {
        let known = MessagePromise::new(futures_lite::stream::iter([Ok(Token::from("whole"))]));
        let known = known.await.unwrap().promise();
        events.read("known", &anew.stream(known.stream()));
        let tokens = futures_lite::stream::iter(["x", "y"]).map(|text| Ok(Token::from(text)));
        let on_demand = MessagePromise::of(MessageClass::TEXT).with_start(false);
        let on_demand = on_demand.stream(tokens).unwrap();
        let copy = anew.stream(on_demand.stream());
        events.read("on demand", &copy);
        let lazily = MessagePromise::of(MessageClass::USER).with_start(false);
        let lazily = lazily.stream(copy.stream()).unwrap();
        events.read("lazily", &lazily);
    });

    assert_eq!(texts(&events, "known"), ["whole"]);
    assert_eq!(texts(&events, "on demand"), ["x", "y"]);
    assert_eq!(texts(&events, "lazily"), ["x", "y"]);
}

#[test]
fn cancelling_one_leaves_what_the_other_has() {
    let events = events_of(async |events, anew| {
        let original = live(TEXTS);
        let [stopped, left] = [(); 2].map(|()| anew.stream(original.stream()));
        events.read("stopped", &stopped);
        events.read("left", &left);
        for _ in 0..4 {
            yield_now().await;
        }
        assert!(stopped.cancel());
        assert!(!stopped.cancel());

        let original = live(TEXTS);
        events.read("broken", &anew.stream(original.stream()));
        for _ in 0..4 {
            yield_now().await;
        }
        assert!(original.cancel());
    });

    assert_eq!(texts(&events, "left"), TEXTS);
    for name in ["stopped", "broken"] {
        let read = texts(&events, name);
        let (error, tokens) = read.split_last().unwrap();
        assert!(error.contains("cancelled"), "{name}: {read:?}");
        assert!(TEXTS.starts_with(&tokens.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!(!tokens.is_empty() && tokens.len() < TEXTS.len(), "{read:?}");
    }
}

#[test]
fn a_copy_keeps_its_tokens_when_the_original_does_not() {
    for anew in [Anew::AsTheyAre, Anew::Hidden] {
        let miniagents = MiniAgents::new().with_tokens_kept(KeepTokens::UpTo(2));
        let context = miniagents.clone();
        let body = async move {
            let original = live(TEXTS);
            let copy = anew.stream(original.stream());
            let mut tokens = copy.stream();
            let first = tokens.next().await.unwrap()?;
            (&copy).await?;
            assert_eq!(context.tokens_held().folded, 1);
            drop(original);

            assert_eq!(first.as_str(), "a");
            let rest: Vec<Token> = tokens.try_collect().await?;
            assert_eq!(
                rest.iter().map(Token::as_str).collect::<Vec<_>>(),
                TEXTS[1..]
            );
            assert_eq!(context.tokens_held().folded, 2);
            assert_eq!(copy.stream().count().await, 1);
            Ok(())
        };
        miniagents.run(body).unwrap();
    }
}

#[test]
fn a_copy_of_another_kind_has_the_same_text() {
    for anew in [Anew::AsTheyAre, Anew::Hidden] {
        let body = async move {
            let original = live(TEXTS);
            let user = MessagePromise::of(MessageClass::USER).with("n", 1);
            let user = match anew {
                Anew::AsTheyAre => user.stream(original.stream())?,
                Anew::Hidden => user.stream(original.stream().map(|token| token))?,
            };
            let copy = anew.stream(user.stream());
            let of_copy = MessagePromise::of(MessageClass::ASSISTANT).stream_with(|fields| {
                fields.set("m", 2);
                copy.stream()
            })?;

            let (user, copy, of_copy) = (user.await?, copy.await?, of_copy.await?);
            let text = TEXTS.concat();
            assert_eq!([user.text(), copy.text(), of_copy.text()], [&*text; 3]);
            assert_eq!(user.role(), Some("user"));
            assert_eq!(of_copy.role(), Some("assistant"));
            assert_eq!(of_copy.get("m").unwrap().as_i64(), Some(2));
            assert!(copy.get("n").is_none() && of_copy.get("n").is_none());
            assert_eq!(copy.class_name(), "TextMessage");
            Ok(())
        };
        MiniAgents::new().run(body).unwrap();
    }
}

/// Waking whoever reads the original may run anybody's code: that is done where it was, and a panic of it is nobody
/// else's.
#[test]
fn a_waker_that_panics_takes_nobody_else_along() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("this waker panics")
        }
    }

    let events = events_of(async |events, anew| {
        let original = MessagePromise::new(generate(|out| async move {
            for token in ["a", "b", "c"] {
                for _ in 0..3 {
                    yield_now().await;
                }
                out.emit(Token::from(token)).await;
            }
            Ok(())
        }));
        let copy = anew.stream(original.stream());
        events.read("copy", &copy);
        yield_now().await;
        let waker = Waker::from(Arc::new(Panics));
        let mut cx = Context::from_waker(&waker);
        let mut reader = pin!(original.stream());
        assert!(reader.as_mut().poll_next(&mut cx).is_pending());
        for _ in 0..10 {
            yield_now().await;
        }
    });
    assert!(
        events.iter().any(|event| event.ends_with("copy: c")),
        "{events:#?}"
    );
    let panicked = events.iter().any(|event| event.contains("panic"));
    assert!(!panicked, "{events:#?}");
}
