//! A program that can never go on ends with an error that says who waits for what, instead of
//! hanging; one that somebody outside may still wake is not taken for such.

use std::cell::OnceCell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{or, poll_once};
use miniagents::executor::{Executor, gather, sleep, spawn, yield_now};
use miniagents::{
    Agent, InteractionContext, MessagePromise, MiniAgents, Promise, Result, StreamAppender,
    StreamedPromise, Token, generate,
};

async fn count(ctx: InteractionContext) -> Result<()> {
    let messages = ctx.messages().await?;
    ctx.reply(format!("{} messages", messages.len()));
    Ok(())
}

/// The report of a program that is stuck.
fn report_of(stuck: impl Future<Output = Result<()>>) -> String {
    let error = MiniAgents::new().run(stuck).unwrap_err();
    assert!(error.is_deadlock());
    error.to_string()
}

/// Where the line of this test stands that is `lines` above the one that asks.
#[track_caller]
fn above(lines: u32) -> String {
    format!("{}:{}:", file!(), Location::caller().line() - lines)
}

#[test]
fn a_message_that_is_streamed_anew_waits_for_the_other() {
    let report = |hidden: bool| {
        report_of(async move {
            let never = MessagePromise::new(generate(|out| async move {
                out.emit(Token::from("one")).await;
                std::future::pending().await
            }));
            let anew = match hidden {
                false => MessagePromise::new(never.stream()),
                true => MessagePromise::new(never.stream().map(|token| token)),
            };
            anew.await.map(drop)
        })
    };

    let wait = |report: &str| {
        let (_, waits) = report
            .split_once(" waits for the next piece of a stream")
            .unwrap();
        waits.lines().next().map(String::from)
    };
    let (seen, hidden) = (report(false), report(true));
    assert!(wait(&seen).unwrap().ends_with(" should bring"), "{seen}");
    assert_eq!(wait(&seen), wait(&hidden));
}

#[test]
fn replies_that_are_waited_for_are_named_by_where_the_call_was_made() {
    async fn silent(_: InteractionContext) -> Result<()> {
        std::future::pending().await
    }

    let place = OnceCell::new();
    let report = report_of(async {
        let replies = silent.trigger(());
        place.set(above(1)).unwrap();
        replies.await.map(drop)
    });

    let waits = format!(
        "for the replies to the call made at {}",
        place.get().unwrap()
    );
    assert!(report.contains(&waits), "{report}");
}

#[test]
fn a_call_that_nobody_finishes_is_named_and_the_circle_is_marked() {
    let place = OnceCell::new();
    let report = report_of(async {
        let call = count.initiate_call();
        place.set(above(1)).unwrap();
        call.send_message("hello");
        call.replies().await.map(drop)
    });

    let made_at = place.get().unwrap();
    assert!(report.starts_with("nothing can ever go on: no task is ready, no timer is armed"));
    let lines: Vec<_> = report.lines().collect();
    let waits = |line: &&&str| line.contains(&format!("the call made at {made_at}"));
    let waiting: Vec<_> = lines.iter().filter(waits).collect();
    assert!(
        waiting.iter().any(|line| line
            .contains("of agent COUNT waits for what is sent to the call")
            && line.ends_with("which the main future has not finished [in a circle]")),
        "{report}"
    );
    let main = lines
        .iter()
        .find(|line| line.starts_with("  the main future waits for the replies to the call"));
    assert!(
        main.unwrap()
            .ends_with("of agent COUNT has not given [in a circle]"),
        "{report}"
    );
    let unfinished = lines
        .iter()
        .skip_while(|line| **line != "not finished:")
        .nth(1);
    let named = format!("  the call of agent COUNT made at {made_at}");
    assert!(unfinished.unwrap().starts_with(&named), "{report}");
    assert!(unfinished.unwrap().ends_with("by no agent"), "{report}");
}

#[test]
fn the_calls_of_an_agent_are_named_with_the_agent() {
    async fn outer(_: InteractionContext) -> Result<()> {
        count.initiate_call().replies().await.map(drop)
    }

    let report = report_of(async { outer.trigger(()).await.map(drop) });

    let named = report.lines().any(|line| {
        line.starts_with("  the call of agent COUNT made at tests/deadlock.rs:")
            && line.ends_with("by agent OUTER")
    });
    assert!(named, "{report}");
    let waits = report
        .lines()
        .find(|line| line.contains(" COUNT <- OUTER waits for what is sent"));
    let unfinished = "of agent OUTER has not finished [in a circle]";
    assert!(waits.unwrap().ends_with(unfinished), "{report}");
}

#[test]
fn finished_calls_are_not_named() {
    let report = report_of(async {
        let call = count.initiate_call();
        call.finish();
        count.initiate_call();
        std::future::pending().await
    });

    assert_eq!(
        report.matches("the call of agent COUNT").count(),
        1,
        "{report}"
    );
}

#[test]
fn an_appender_that_nobody_closes_is_named() {
    let place = OnceCell::new();
    let report = report_of(async {
        let appender = StreamAppender::<i32>::new();
        place.set(above(1)).unwrap();
        appender.open()?;
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        let here = MiniAgents::current().start_soon(async move { promise.await });
        here.await.map(drop)
    });

    assert!(
        report.contains("the main future waits for the end of a task, which the task spawned at tests/deadlock.rs"),
        "{report}"
    );
    let named = format!(
        "waits for what somebody appends to the appender made at {}",
        place.get().unwrap()
    );
    assert!(report.contains(&named), "{report}");
    assert!(
        report.contains("which the main future has not closed [in a circle]"),
        "{report}"
    );
}

#[test]
fn an_appender_that_nobody_opens_is_named() {
    let report = report_of(async {
        let appender = StreamAppender::<i32>::new();
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        promise.await?;
        appender.open().map(drop)
    });

    assert!(
        report.contains("appends to the appender made at tests/deadlock.rs:"),
        "{report}"
    );
    assert!(report.contains(", which nobody has closed"), "{report}");
}

#[test]
fn a_circle_through_things_that_are_waited_for_together_is_marked() {
    let report = report_of(async {
        let place = Rc::new(OnceCell::<Promise<()>>::new());
        let other = place.clone();
        let one = Promise::new(async move { other.get().unwrap().await });
        let ready = Promise::ready(());
        let gathered = one.clone();
        let two = Promise::new(async move {
            gather([ready, gathered]).await;
            Ok(())
        });
        place.set(two).unwrap();
        one.await
    });

    let gathers = report
        .lines()
        .find(|line| line.contains("several things at once"));
    assert!(
        gathers.unwrap().ends_with("should bring [in a circle]"),
        "{report}"
    );
}

#[test]
fn a_promise_that_awaits_itself_does_not_hang() {
    let ended = MiniAgents::new().run(async {
        let place = Rc::new(OnceCell::<Promise<()>>::new());
        let itself = place.clone();
        let promise = Promise::new(async move { itself.get().unwrap().await });
        place.set(promise.clone()).unwrap();
        let ended = promise.await;
        drop(place);
        ended
    });

    let error = ended.unwrap_err();
    assert!(error.is_deadlock());
    assert!(
        error.to_string().starts_with("a promise awaits itself"),
        "{error}"
    );
}

#[test]
fn a_source_that_reads_itself_does_not_hang() {
    let read = MiniAgents::new().run(async {
        let place = Rc::new(OnceCell::<StreamedPromise<i32, Vec<i32>>>::new());
        let itself = place.clone();
        let source = generate(move |out| async move {
            out.emit(1).await;
            let mut own = itself.get().unwrap().stream();
            assert_eq!(own.next().await.unwrap()?, 1);
            own.next().await.unwrap().map(drop)
        });
        let promise = StreamedPromise::collected(source);
        place.set(promise.clone()).unwrap();
        promise.await
    });

    assert!(
        read.unwrap_err()
            .to_string()
            .starts_with("a promise awaits itself")
    );
}

#[test]
fn promises_that_wait_for_each_other_are_marked() {
    let ended = MiniAgents::new().run(async {
        let place = Rc::new(OnceCell::<Promise<()>>::new());
        let other = place.clone();
        let one = Promise::new(async move { other.get().unwrap().await });
        let waited_for = one.clone();
        let two = Promise::new(async move { waited_for.await });
        place.set(two).unwrap();
        one.await
    });

    let report = ended.unwrap_err().to_string();
    assert_eq!(
        report.matches("should bring [in a circle]").count(),
        2,
        "{report}"
    );
}

#[test]
fn a_live_program_can_be_asked_too() {
    let executor = Executor::new();
    let miniagents = MiniAgents::new();
    let (sender, receiver) = async_channel::bounded::<()>(1);

    let report = executor.block_on(miniagents.scope(async {
        let later = Promise::new(async move { Ok(receiver.recv().await?) });
        let waits = MiniAgents::current().start_soon(async move { later.await });
        yield_now().await;
        let report = Executor::current().unwrap().waiting_report();
        sender.send(()).await?;
        waits.await?;
        Ok(report)
    }));

    let report = report.unwrap().unwrap();
    let waits = "waits for a promise, which the task spawned at tests/deadlock.rs";
    assert!(report.contains(waits), "{report}");
}

#[test]
fn what_a_task_waits_for_is_told_in_its_turn_and_behind_it() {
    let report = || Executor::current().unwrap().waiting_report();

    let (in_its_turn, behind_it) = Executor::new()
        .block_on(async move {
            let never = spawn(std::future::pending::<()>());
            let waits = async { never.await.map(|()| String::new()) };
            let in_its_turn = or(waits, async { Ok(report()) }).await?;

            let never = spawn(std::future::pending::<()>());
            spawn(async move { never.await.map(drop) }).detach();
            yield_now().await;
            Ok::<_, miniagents::Error>((in_its_turn, report()))
        })
        .unwrap()
        .unwrap();

    let waits = " waits for the end of a task, which the task spawned at ";
    let own = format!("the main future{waits}");
    assert!(in_its_turn.contains(&own), "{in_its_turn}");
    assert!(!behind_it.contains(&own), "{behind_it}"); // it waits no more
    assert!(behind_it.contains(waits), "{behind_it}");
}

#[test]
fn under_a_virtual_clock_it_is_told_inside_of_any_host() {
    let stuck = MiniAgents::new().with_virtual_clock();

    let ended = futures_lite::future::block_on(stuck.scope(async {
        sleep(Duration::from_secs(60)).await;
        count.initiate_call().replies().await.map(drop)
    }));

    assert!(ended.unwrap_err().is_deadlock());
}

#[test]
fn whoever_may_be_woken_from_outside_is_waited_for() {
    let (sender, receiver) = async_channel::bounded(1);
    let thread = std::thread::spawn(move || sender.send_blocking("from outside"));

    let heard = Executor::with_virtual_clock()
        .block_on(async move { spawn(async move { receiver.recv().await.unwrap() }).await });

    assert_eq!(heard.unwrap().unwrap(), "from outside");
    thread.join().unwrap().unwrap();
}

#[test]
fn many_that_say_the_same_are_one_line() {
    let ended = MiniAgents::new().run(async {
        let never = Promise::<()>::new(std::future::pending());
        for _ in 0..100 {
            let never = never.clone();
            MiniAgents::current()
                .start_soon(async move { never.await })
                .detach();
        }
        never.await
    });

    let report = ended.unwrap_err().to_string();
    assert!(report.contains("should bring (100 of them)"), "{report}");
    assert!(
        report.contains("waits for something outside of miniagents"),
        "{report}"
    );
}

#[test]
fn tasks_are_named_by_places_that_a_reader_knows() {
    let place = OnceCell::new();
    let report = report_of(async {
        let call = count.initiate_call();
        let never = StreamAppender::<i32>::new();
        let whole = StreamedPromise::<i32, Vec<i32>>::collected(never.stream());
        place.set(above(1)).unwrap();
        let made = StreamedPromise::new(never.stream(), |pieces| async move {
            pieces.stream().next().await.unwrap()
        });
        MiniAgents::current()
            .start_soon(async move { made.await })
            .detach();
        whole.await?;
        call.replies().await.map(drop)
    });

    let spawned = report.matches("the task spawned at ").count();
    let here = report
        .matches("the task spawned at tests/deadlock.rs")
        .count();
    assert_eq!(spawned, here, "{report}");
    let collects = format!("the task spawned at {}", place.get().unwrap());
    assert!(report.contains(&collects), "{report}");
}

#[test]
fn an_agent_that_lies_where_another_one_lay_is_not_taken_for_that() {
    async fn brief(_: InteractionContext) -> Result<()> {
        Ok(())
    }
    async fn endless(_: InteractionContext) -> Result<()> {
        std::future::pending().await
    }

    let report = report_of(async {
        let replies = brief.trigger(());
        // It notes that it waits for the replies, and does not any more.
        spawn(async move {
            assert!(poll_once(replies.wait()).await.is_none());
            drop(replies);
            std::future::pending::<()>().await;
        })
        .detach();
        for _ in 0..10 {
            yield_now().await;
        }
        let _others: Vec<_> = (0..50).map(|_| endless.trigger(())).collect();
        for _ in 0..10 {
            yield_now().await;
        }
        std::future::pending().await
    });

    let mut lines = report.lines();
    let waits = lines.find(|line| line.contains("for the replies to the call made at"));
    assert!(!waits.unwrap().contains("ENDLESS"), "{report}");
}
