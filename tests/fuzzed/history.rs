//! A history is a vector of messages, and what was sent of it stays what it was.

use miniagents::laws::Choices;
use miniagents::{
    History, IntoMessages, Message, MessageSequencePromise, MiniAgents, Result, TextMessage,
};

fn texts<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<&'a str> {
    messages.into_iter().map(Message::text).collect()
}

fn check(history: &History, model: &[Message]) {
    assert_eq!(history, model);
    assert_eq!(texts(history), texts(model));
    assert_eq!(history.len(), model.len());
    assert_eq!(history.is_empty(), model.is_empty());
    assert_eq!(history.first(), model.first());
    assert_eq!(history.last(), model.last());
    assert_eq!(history.get(model.len()), None);
    assert!(history.iter().rev().eq(model.iter().rev()));
    assert_eq!(format!("{history:?}"), format!("{model:?}"));
}

async fn read(sequence: &MessageSequencePromise) -> Result<Vec<Message>> {
    let (mut read, mut promises) = (Vec::new(), sequence.stream());
    while let Some(promise) = promises.try_next().await? {
        read.push(promise.await?);
    }
    Ok(read)
}

async fn act(choices: &mut Choices<'_>) -> Result<()> {
    let mut said = 0;
    let mut say = || {
        said += 1;
        TextMessage::new(said.to_string()).build()
    };
    // Each history beside the vector that it should be like.
    let mut histories = vec![(History::new(), Vec::new())];
    let mut sent: Vec<(MessageSequencePromise, Vec<Message>)> = Vec::new();
    while !choices.is_over() {
        let several = histories.len() > 1;
        let which = choices.below(histories.len());
        let (history, model) = &mut histories[which];
        match choices.below(12) {
            0 => {
                let (history, model) = (history.clone(), model.clone());
                histories.push((history, model));
            }
            1 => {
                let len = choices.below(model.len() + 2);
                history.truncate(len);
                model.truncate(len);
            }
            2 => assert_eq!(history.pop(), model.pop()),
            3 => {
                let more = (0..choices.below(5)).map(|_| say());
                let more = more.collect::<Result<Vec<_>>>()?;
                history.extend(&more);
                model.extend(more);
            }
            4 | 5 => sent.push((MessageSequencePromise::of(&*history), model.clone())),
            6 => {
                let nested = vec![(&*history).into_messages(), history.clone().into_messages()];
                let twice = [model.clone(), model.clone()].concat();
                sent.push((MessageSequencePromise::of(nested), twice));
            }
            7 if several => drop(histories.swap_remove(which)),
            8 if !sent.is_empty() => {
                let (sequence, model) = sent.swap_remove(choices.below(sent.len()));
                assert_eq!(read(&sequence).await?, model);
            }
            9 => *history = history.clone().into_iter().collect(),
            _ => {
                let message = say()?;
                history.push(message.clone());
                model.push(message);
            }
        }
        histories
            .iter()
            .for_each(|(history, model)| check(history, model));
    }
    for (sequence, model) in sent {
        assert_eq!(read(&sequence).await?, model);
        assert_eq!(sequence.await?[..], model);
    }
    Ok(())
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    MiniAgents::new().run(act(&mut choices)).unwrap();
}
