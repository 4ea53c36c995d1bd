//! A program that can never go on ends with an error that says who waits for what, instead of
//! hanging; one that somebody outside may still wake is not taken for such.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{Executor, sleep, spawn, yield_now};
use miniagents::{
    Agent, InteractionContext, MiniAgents, Promise, Result, StreamAppender, StreamedPromise,
    generate,
};

async fn count(ctx: InteractionContext) -> Result<()> {
    let messages = ctx.messages().await?;
    ctx.reply(format!("{} messages", messages.len()));
    Ok(())
}

#[test]
fn a_call_that_nobody_finishes_is_reported_with_its_agent() {
    let ended = MiniAgents::new().run(async {
        let call = count.initiate_call();
        call.send_message("hello");
        call.replies().await.map(drop)
    });

    let error = ended.unwrap_err();
    assert!(error.is_deadlock());
    let report = error.to_string();
    assert!(report.starts_with("nothing can ever go on: no task is ready, no timer is armed"));
    assert!(
        report.contains("the main future waits for a promise"),
        "{report}"
    );
    assert!(report.contains("of agent COUNT waits for"), "{report}");
}

#[test]
fn an_appender_that_nobody_closes_is_reported_with_the_place_of_the_reader() {
    let ended = MiniAgents::new().run(async {
        let appender = StreamAppender::<i32>::new();
        appender.open()?;
        let promise = StreamedPromise::<i32, Vec<i32>>::collected(appender.stream());
        let here = MiniAgents::current().start_soon(async move { promise.await });
        here.await.map(drop)
    });

    let error = ended.unwrap_err();
    assert!(error.is_deadlock());
    let report = error.to_string();
    assert!(
        report.contains("the main future waits for the end of a task"),
        "{report}"
    );
    assert!(
        report.contains("the task spawned at tests/deadlock.rs"),
        "{report}"
    );
    assert!(
        report.contains("waits for what somebody appends"),
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
