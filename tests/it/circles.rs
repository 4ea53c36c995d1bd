//! Sequences that contain themselves: the circle is an error where it closes, instead of messages without end.

use std::cell::OnceCell;
use std::rc::Rc;

use miniagents::{
    Agent, CallOptions, InteractionContext, MessageSequence, MessageSequencePromise, MiniAgent,
    MiniAgents, Result, messages,
};

const CIRCLE: &str = "a sequence contains itself: what is in it would come round without end";

/// What comes of a sequence, with errors as they are told; no more than a few.
async fn read(sequence: &MessageSequencePromise) -> Vec<String> {
    let mut read = Vec::new();
    let mut promises = sequence.stream();
    while let Some(promise) = promises.next().await {
        assert!(read.len() < 20, "it goes round: {read:?}");
        read.push(match promise {
            Ok(promise) => promise.await.unwrap().to_string(),
            Err(error) => {
                assert!(error.is_deadlock());
                error.to_string()
            }
        });
    }
    read
}

/// In a context in which all starts soon, and in one in which nothing does.
fn both_ways(body: impl AsyncFn(bool)) {
    for soon in [true, false] {
        let ended = MiniAgents::new().run(async {
            body(soon).await;
            Result::Ok(())
        });
        ended.unwrap();
    }
}

fn sequences<const N: usize>(soon: bool) -> [MessageSequence; N] {
    [(); N].map(|()| {
        let sequence = MessageSequence::options().with_start(soon).make();
        sequence.appender().open().unwrap();
        sequence
    })
}

#[test]
fn a_sequence_in_itself_is_an_error() {
    both_ways(async |soon| {
        let [sequence] = sequences(soon);
        let own = sequence.promise();
        let appender = sequence.appender();
        appender.append("a").unwrap().append(own).unwrap();
        appender.append(messages!["b", own, "not sent"]).unwrap();
        appender.append("c").unwrap().close();

        assert_eq!(read(own).await, ["a", CIRCLE, "b", CIRCLE, "c"]);
        assert!(own.await.unwrap_err().is_deadlock());
    });
}

#[test]
fn a_sequence_beside_itself_is_an_error() {
    both_ways(async |soon| {
        let [sequence] = sequences(soon);
        let appender = sequence.appender();
        appender.append("a").unwrap();
        appender.append_out_of_order(sequence.promise()).unwrap();
        appender.close();

        assert_eq!(read(sequence.promise()).await, ["a", CIRCLE]);
    });
}

#[test]
fn a_sequence_in_itself_by_way_of_others_is_an_error() {
    both_ways(async |soon| {
        let [one, two, three] = sequences(soon);
        let wrapped = MessageSequencePromise::of(messages!["wrapped", one.promise()]);
        one.appender()
            .append(messages!["one", two.promise()])
            .unwrap();
        two.appender().append("two").unwrap();
        two.appender().append_out_of_order(three.promise()).unwrap();
        three
            .appender()
            .append(messages!["three", wrapped])
            .unwrap();
        for sequence in [&one, &two, &three] {
            sequence.appender().close();
        }

        // Who begins last closes the circle.
        let round = ["one", "two", "three", "wrapped"];
        let came = read(one.promise()).await;
        let (last, before) = came.split_last().unwrap();
        assert_eq!(before, &round[..if soon { 2 } else { 4 }]);
        assert_eq!(last, CIRCLE);
    });
}

#[test]
fn an_error_of_a_circle_is_a_message_where_errors_are() {
    let sequence = MessageSequence::options().with_errors_as_messages(true);
    let said = MiniAgents::new().run(async {
        let sequence = sequence.make();
        let appender = sequence.appender();
        appender.open()?.append("a")?.append(sequence.promise())?;
        appender.close();
        Result::Ok(read(sequence.promise()).await)
    });
    assert_eq!(said.unwrap(), ["a", &format!("DeadlockError: {CIRCLE}")]);
}

#[test]
fn an_agent_that_replies_with_its_own_replies_gives_an_error() {
    both_ways(async |soon| {
        let own = Rc::new(OnceCell::<MessageSequencePromise>::new());
        let replies = own.clone();
        let agent = MiniAgent::new(move |ctx: InteractionContext| {
            ctx.reply("a");
            ctx.reply(replies.get().unwrap());
            ctx.reply("b");
            async { Ok(()) }
        });
        let replies = agent.trigger_with((), CallOptions::new().with_start(soon));
        own.set(replies.clone()).unwrap();

        assert_eq!(read(&replies).await, ["a", CIRCLE, "b"]);
    });
}

#[test]
fn an_agent_that_is_sent_its_own_replies_and_passes_them_on_gives_an_error() {
    async fn passes_on(ctx: InteractionContext) -> Result<()> {
        ctx.reply("a");
        ctx.reply(ctx.messages());
        Ok(())
    }

    both_ways(async |_| {
        let call = passes_on.initiate_call();
        call.send_message(call.replies());
        assert_eq!(read(&call.reply_sequence()).await, ["a", CIRCLE]);
    });
}

#[test]
fn messages_that_are_joined_into_one_of_them_are_an_error() {
    both_ways(async |soon| {
        let [sequence] = sequences(soon);
        let joined = sequence.promise().as_single_text_promise();
        let appender = sequence.appender();
        appender.append("a").unwrap().append(&joined).unwrap();
        appender.close();

        assert!(joined.await.unwrap_err().is_deadlock());
        assert!(sequence.promise().await.unwrap_err().is_deadlock());
    });
}

#[test]
fn what_is_shared_by_several_is_no_circle() {
    both_ways(async |soon| {
        let [shared, one, both] = sequences(soon);
        shared.appender().append("shared").unwrap();
        one.appender().append(shared.promise()).unwrap();
        let twice = messages![one.promise(), shared.promise(), one.promise()];
        both.appender().append(twice).unwrap();
        for sequence in [&both, &one, &shared] {
            sequence.appender().close();
        }

        assert_eq!(read(both.promise()).await, ["shared"; 3]);
    });
}
