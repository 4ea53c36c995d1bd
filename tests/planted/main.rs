//! Small agent programs, each with a bug that depends on the order of events. The simulation finds each
//! of them and shortens its schedule to a few choices.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{Schedule, sleep, spawn, timeout, yield_now};
use miniagents::simulation::{
    Case, Exploration, Failure, Latency, SimulatedModel, Simulation, SimulationContext,
};
use miniagents::{
    Agent, Error, InteractionContext, MessageSequence, MiniAgent, Result, Token, messages,
};
use smol::lock::Mutex;

/// What is expected of a search.
struct Expected {
    /// Within how many runs the bug is found.
    within: u64,
    /// How many choices the shortest schedule has at most.
    choices: usize,
    /// Whether asyncio's order hides it.
    hidden: bool,
    /// What the error says.
    says: &'static str,
}

/// Finds the bug of `program`, checks the report, and sees it again.
fn find<F: Future<Output = Result<()>>>(
    expected: Expected,
    program: impl Fn(SimulationContext) -> F,
) -> Failure {
    let fifo = Simulation::new().run(&program);
    let failed = fifo.result().is_err();
    assert_eq!(!failed, expected.hidden, "{:?}", fifo.result());

    let exploration = Exploration::new().with_seeds(expected.within);
    let failure = exploration.run(&program).expect_err("there is a bug");
    println!("{failure}\n");

    let said = failure.error().to_string();
    assert!(said.contains(expected.says), "{said}");
    let shortest = failure.shortest();
    let choices = shortest.schedule.choices().len();
    assert!(choices <= expected.choices, "{shortest}");

    let case: Case = shortest.to_string().parse().unwrap();
    let again = Simulation::new().with_case(case).run(&program);
    let error = again.result().map(drop).map_err(Error::to_string);
    assert_eq!(error, Err(said));
    assert!(program_is_deterministic(shortest, &program));
    failure
}

fn program_is_deterministic<F: Future<Output = Result<()>>>(
    case: &Case,
    program: impl Fn(SimulationContext) -> F,
) -> bool {
    let simulation = Simulation::new().with_case(case.clone());
    simulation.check_determinism(program).is_ok()
}

/// Gives the others some turns.
async fn steps(count: u32) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Two cashiers read an account, count the money, and write it back.
#[test]
fn a_race_on_shared_state() {
    struct Cashier {
        account: Rc<Cell<i32>>,
        late: u32,
    }
    impl Agent for Cashier {
        async fn run(&self, _: InteractionContext) -> Result<()> {
            steps(self.late).await;
            let balance = self.account.get();
            steps(1).await; // counts the money
            self.account.set(balance + 10);
            Ok(())
        }
    }
    let expected = Expected {
        within: 20,
        choices: 2,
        hidden: true,
        says: "10 on the account",
    };
    find(expected, |simulation| async move {
        let account = Rc::new(Cell::new(0));
        let total = account.clone();
        simulation.check_at_end(move || match total.get() {
            20 => Ok(()),
            other => Err(Error::msg(format!("{other} on the account"))),
        });
        let cashier = |late| Cashier {
            account: account.clone(),
            late,
        };
        let (early, late) = (cashier(0).trigger(()), cashier(1).trigger(()));
        early.await?;
        late.await?;
        Ok(())
    });
}

/// What a reader has got.
type Inbox = Rc<RefCell<Vec<String>>>;

/// The news are given to those who have subscribed; a reader relies on being early enough.
#[test]
fn a_lost_message() {
    let expected = Expected {
        within: 20,
        choices: 2,
        hidden: true,
        says: "the reader has got no news",
    };
    find(expected, |_| async {
        let inboxes: Rc<RefCell<Vec<Inbox>>> = Rc::default();
        let known = inboxes.clone();
        let reader = MiniAgent::new(move |ctx: InteractionContext| {
            let inboxes = known.clone();
            async move {
                steps(1).await;
                let inbox = Inbox::default();
                inboxes.borrow_mut().push(inbox.clone());
                sleep(Duration::from_secs(60)).await;
                ctx.reply(inbox.borrow().join(", "));
                Ok(())
            }
        });
        let newspaper = MiniAgent::new(move |_: InteractionContext| {
            let inboxes = inboxes.clone();
            async move {
                steps(1).await;
                for inbox in &*inboxes.borrow() {
                    inbox.borrow_mut().push("rain".into());
                }
                Ok(())
            }
        });
        let read = reader.trigger(());
        newspaper.trigger(()).await?;
        match read.await?[0].text() {
            "" => Err(Error::msg("the reader has got no news")),
            _ => Ok(()),
        }
    });
}

/// Two agents need the pen and the paper and take them in different order.
#[test]
fn a_deadlock() {
    let expected = Expected {
        within: 50,
        choices: 3,
        hidden: true,
        says: "nothing can ever go on",
    };
    let failure = find(expected, |_| async {
        let (pen, paper) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        let writer = |first: &Rc<Mutex<()>>, second: &Rc<Mutex<()>>, late| {
            let (first, second) = (first.clone(), second.clone());
            MiniAgent::new(move |ctx: InteractionContext| {
                let (first, second) = (first.clone(), second.clone());
                async move {
                    steps(late).await;
                    let _first = first.lock().await;
                    steps(1).await;
                    let _second = second.lock().await;
                    ctx.reply("written");
                    Ok(())
                }
            })
        };
        let one = writer(&pen, &paper, 0).trigger(());
        let other = writer(&paper, &pen, 1).trigger(());
        one.await?;
        other.await?;
        Ok(())
    });
    assert!(failure.error().is_deadlock());
}

/// A limit of time that is enough for most answers of a model.
#[test]
fn a_timeout_too_short() {
    let expected = Expected {
        within: 50,
        choices: 0,
        hidden: true,
        says: "nothing came within 5s",
    };
    let failure = find(expected, |_| async {
        let second = Duration::from_secs(1);
        let model = SimulatedModel::new().with_latency(Latency::heavy_tail(second, 100 * second));
        timeout(
            Duration::from_secs(5),
            model.trigger("Are you there?").wait(),
        )
        .await??;
        Ok(())
    });
    assert_ne!(failure.shortest().seed, 0);
    assert!(failure.error().is_timeout());
}

/// Two experts are asked, and the first answer is taken for that of the one who was asked first.
#[test]
fn an_order_that_is_none() {
    let expected = Expected {
        within: 20,
        choices: 2,
        hidden: true,
        says: "the weather: Buy!",
    };
    find(expected, |_| async {
        let expert = |answer: &'static str| {
            MiniAgent::new(move |ctx: InteractionContext| async move {
                ctx.messages().await?;
                ctx.reply(answer);
                Ok(())
            })
        };
        let answers = MessageSequence::new();
        answers.appender().open()?;
        for expert in [expert("Rain."), expert("Buy!")] {
            answers
                .appender()
                .append_out_of_order(expert.trigger("?"))?;
        }
        answers.appender().close();
        let answers = answers.promise().clone().await?;
        match answers[0].text() {
            "Rain." => Ok(()),
            other => Err(Error::msg(format!("the weather: {other}"))),
        }
    });
}

/// Whoever waits for a worker waits for its last word, which a cancelled worker does not say.
#[test]
fn a_cancel_that_hangs() {
    let expected = Expected {
        within: 20,
        choices: 2,
        hidden: true,
        says: "nothing can ever go on",
    };
    find(expected, |_| async {
        let (sender, words) = async_channel::bounded(1);
        let keep = sender.clone(); // as a pool of workers would
        let worker = spawn(async move {
            steps(1).await;
            let _ = sender.send("done").await;
        });
        steps(2).await;
        worker.cancel();
        let _ = words.recv().await;
        drop(keep);
        Ok(())
    });
}

/// What is needed by two agents is fetched by whoever comes first, and by whoever comes meanwhile.
#[test]
fn a_cache_that_is_filled_twice() {
    let expected = Expected {
        within: 20,
        choices: 2,
        hidden: false,
        says: "fetched 2 times",
    };
    let failure = find(expected, |_| async {
        let fetched = Rc::new(Cell::new(0));
        let page: Rc<RefCell<Option<&str>>> = Rc::default();
        let (count, cache) = (fetched.clone(), page.clone());
        let agent = MiniAgent::new(move |ctx: InteractionContext| {
            let (count, cache) = (count.clone(), cache.clone());
            async move {
                if cache.borrow().is_none() {
                    sleep(Duration::from_millis(200)).await;
                    count.set(count.get() + 1);
                    cache.replace(Some("page"));
                }
                ctx.reply(cache.borrow().unwrap_or_default());
                Ok(())
            }
        });
        let (one, other) = (agent.trigger(()), agent.trigger(()));
        one.await?;
        other.await?;
        match fetched.get() {
            1 => Ok(()),
            times => Err(Error::msg(format!("fetched {times} times"))),
        }
    });
    assert_eq!(failure.shortest().schedule, Schedule::Fifo);
}

/// A referee is sure that the players speak in turn, and panics in a task that nobody waits for.
#[test]
fn a_panic_that_nobody_sees() {
    let failure = Exploration::new()
        .with_seeds(20)
        .run(|_| async {
            let board: Rc<RefCell<Vec<u32>>> = Rc::default();
            for player in 0..3 {
                let board = board.clone();
                spawn(async move {
                    let mut board = board.borrow_mut();
                    assert_eq!(board.len() as u32, player, "player {player} is not on turn");
                    board.push(player);
                })
                .detach();
            }
            steps(1).await;
            Ok(())
        })
        .unwrap_err();

    assert!(failure.error().is_panic());
    assert!(failure.to_string().contains("is not on turn"), "{failure}");
    assert!(failure.to_string().contains("main.rs:"), "{failure}");
    assert_eq!(failure.shortest().schedule.choices().len(), 1);
}

/// A correct program: whatever the order, all that was said arrives.
#[test]
fn nothing_is_found_where_nothing_is() {
    let explored = Exploration::new().with_seeds(60).check(|_| async {
        let echo = MiniAgent::new(|ctx: InteractionContext| async move {
            let mut messages = ctx.messages().stream();
            while let Some(message) = messages.try_next().await? {
                let mut tokens = message.stream();
                let mut text = String::new();
                while let Some(token) = tokens.try_next().await? {
                    text += Token::as_str(&token);
                }
                ctx.reply(text);
            }
            Ok(())
        });
        let model = SimulatedModel::new();
        let inner = messages![echo.trigger("a"), "b", model.trigger("c")];
        let replies = echo.trigger(inner).await?;
        let texts: Vec<&str> = replies.iter().map(|reply| reply.text()).collect();
        assert_eq!(texts, ["a", "b", "You said: c"]);
        Ok(())
    });
    assert_eq!(explored.runs, 60);
}
