//! Law 11: whatever is nested in whatever way arrives flat, in order, or as soon as it is there. Whole messages arrive
//! as their promises do.

use std::cell::RefCell;
use std::time::Duration;

use miniagents::executor::{sleep, timeout, yield_now};
use miniagents::laws::{self, Choices};
use miniagents::{
    Error, IntoMessages, Message, MessagePromise, MessageSequencePromise, Messages, MiniAgents,
    Result, Token, generate,
};

thread_local! {
    /// What was emitted and read, in order.
    static EVENTS: RefCell<Vec<String>> = RefCell::default();
}

fn note(event: String) {
    EVENTS.with_borrow_mut(|events| events.push(event));
}

/// Something to send, and how long it takes.
fn item(choices: &mut Choices<'_>, depth: usize) -> Messages {
    let count = if depth < 4 { choices.below(4) } else { 0 };
    match choices.below(9) {
        1 => Messages::list((0..count).map(|_| item(choices, depth + 1))),
        2 => {
            MessageSequencePromise::of(Messages::list((0..count).map(|_| item(choices, depth + 1))))
                .into_messages()
        }
        3 => {
            let items: Vec<_> = (0..count)
                .map(|_| (choices.byte() % 4, item(choices, depth + 1)))
                .collect();
            Messages::from_stream(generate(|out| async move {
                for (pause, item) in items {
                    take(pause).await;
                    note(format!("item after {pause}"));
                    out.emit(item).await;
                }
                Ok(())
            }))
        }
        4 => {
            let tokens: Vec<_> = (0..count).map(|_| choices.byte()).collect();
            MessagePromise::new(generate(|out| async move {
                for token in tokens {
                    take(token % 4).await;
                    note(format!("token {token}"));
                    if token > 250 {
                        return Err(Error::msg("a token is missing"));
                    }
                    out.emit(Token::from(format!("{token} ").as_str())).await;
                }
                Ok(())
            }))
            .into_messages()
        }
        5 => Error::msg(format_args!("error {}", choices.byte())).into_messages(),
        6 => None::<&str>.into_messages(),
        7 => serde_json::json!({ "n": choices.byte() }).into_messages(),
        _ => format!("text {}", choices.byte()).into_messages(),
    }
}

async fn take(pause: u8) {
    match pause {
        0 => {}
        1 => yield_now().await,
        pause => sleep(Duration::from_millis(pause.into())).await,
    }
}

fn items(bytes: &[u8]) -> Vec<Messages> {
    let mut choices = Choices::new(bytes);
    let count = choices.below(6);
    (0..count).map(|_| item(&mut choices, 0)).collect()
}

/// How the messages of a sequence are read.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Each promise is waited for before the next is read.
    Promises,
    Whole,
    /// As whole ones, and waiting is given up again and again.
    WholeImpatiently,
}

async fn read(sequence: &MessageSequencePromise, how: How) {
    let (mut promises, mut whole) = (sequence.stream(), sequence.stream_whole());
    loop {
        let next: Option<Result<Message>> = match how {
            How::Promises => match promises.next().await {
                Some(Ok(promise)) => Some(promise.await),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            },
            How::Whole => whole.next().await,
            How::WholeImpatiently => loop {
                let next = timeout(Duration::from_millis(1), whole.next());
                if let Ok(next) = next.await {
                    break next;
                }
            },
        };
        note(match next {
            Some(Ok(message)) => format!("read {message:?}"),
            Some(Err(error)) => format!("read !{error}"),
            None => return,
        });
    }
}

/// All that happens when two readers read in that way, the second from a millisecond later.
fn trace(bytes: &[u8], safe: bool, how: How) -> Vec<String> {
    EVENTS.take();
    let miniagents = MiniAgents::new().with_virtual_clock();
    let run = miniagents.with_errors_as_messages(safe).run(async {
        let sequence = MessageSequencePromise::of(items(bytes));
        let late = sequence.clone();
        let late = miniagents::executor::spawn(async move {
            sleep(Duration::from_millis(1)).await;
            read(&late, how).await;
        });
        read(&sequence, how).await;
        late.await
    });
    run.unwrap();
    EVENTS.take()
}

pub(crate) fn run(bytes: &[u8]) {
    laws::flattening(|| items(bytes)).unwrap();
    for safe in [false, true] {
        let events = trace(bytes, safe, How::Promises);
        assert_eq!(trace(bytes, safe, How::Whole), events);

        let mut read = trace(bytes, safe, How::WholeImpatiently);
        let mut read_patiently = events;
        for read in [&mut read, &mut read_patiently] {
            read.retain(|event| event.starts_with("read"));
            read.sort();
        }
        assert_eq!(read, read_patiently);
    }
}
