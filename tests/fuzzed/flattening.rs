//! Law 11: whatever is nested in whatever way arrives flat, in order, or as soon as it is there.

use std::time::Duration;

use miniagents::executor::{sleep, yield_now};
use miniagents::laws::{self, Choices};
use miniagents::{
    Error, IntoMessages, MessagePromise, MessageSequencePromise, Messages, Token, generate,
};

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

pub(crate) fn run(bytes: &[u8]) {
    laws::flattening(|| {
        let mut choices = Choices::new(bytes);
        let count = choices.below(6);
        (0..count).map(|_| item(&mut choices, 0)).collect()
    })
    .unwrap();
}
