//! Simulated runs: the same again from a seed, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miniagents::executor::{Executor, Schedule, now, sleep, spawn, unblock, yield_now};
use miniagents::simulation::{
    self, Case, Event, Exploration, Latency, SimulatedModel, Simulation, SimulationContext,
};
use miniagents::{Agent, Error, InteractionContext, MiniAgent, MiniAgents, Result};

/// Agents that take turns and write down the order.
async fn some_agents() -> Result<String> {
    let order: Rc<RefCell<String>> = Rc::default();
    let replies: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let order = order.clone();
            MiniAgent::new(move |ctx: InteractionContext| {
                let order = order.clone();
                async move {
                    for _ in 0..3 {
                        order.borrow_mut().push_str(name);
                        yield_now().await;
                    }
                    ctx.reply(SimulatedModel::new().trigger(name));
                    Ok(())
                }
            })
            .trigger(())
        })
        .into();
    for reply in replies {
        reply.await?;
    }
    let order = order.take();
    Ok(order)
}

#[test]
fn without_a_seed_it_is_the_order_of_a_real_run() {
    let real = MiniAgents::new().run(some_agents()).unwrap();
    let run = Simulation::new().run(|_| some_agents());

    assert_eq!(run.case().to_string(), "fifo");
    assert_eq!(run.into_result().unwrap(), real);
    assert_eq!(real, "abcdabcdabcd");
}

#[test]
fn the_same_seed_gives_the_same_run_and_others_give_others() {
    let mut orders = HashSet::new();
    for seed in 0..20 {
        let simulation = Simulation::new().with_case(Case::of_seed(seed));
        let (once, again) = (
            simulation.run(|_| some_agents()),
            simulation.run(|_| some_agents()),
        );
        assert_eq!(once.digest(), again.digest());
        let replayed = Simulation::new().with_case(once.case().clone());
        let replayed = replayed.run(|_| some_agents());
        assert_eq!(once.digest(), replayed.digest(), "{}", once.case());
        orders.insert(once.into_result().unwrap());
    }
    assert!(orders.len() > 10, "{orders:?}");
}

/// Figures that a user may have written down.
#[test]
fn runs_are_the_same_on_every_machine() {
    let run = Simulation::new()
        .with_case(Case::of_seed(42))
        .run(|simulation| async move {
            let tail = Latency::heavy_tail(Duration::from_millis(10), Duration::from_secs(9));
            sleep(tail.draw(&simulation.random())).await;
            some_agents().await
        });
    assert_eq!(run.elapsed(), Duration::from_nanos(359_670_900));
    assert_eq!(run.into_result().unwrap(), "dacbacdbbdac");
}

#[test]
fn time_is_virtual_and_random_numbers_come_from_the_seed() {
    let start = Instant::now();
    let day = |simulation: SimulationContext| async move {
        sleep(Duration::from_secs(86_400)).await;
        assert_eq!(simulation.now(), now());
        assert_eq!(simulation.seed(), 5);
        let task = spawn(async { simulation::random().next_u64() });
        task.await
    };
    let run = Simulation::new().with_seed(5).run(day);
    let other = Simulation::new()
        .with_seed(5)
        .with_schedule(Schedule::Seeded(1))
        .run(day);

    assert_eq!(run.elapsed(), Duration::from_secs(86_400));
    assert_eq!(run.into_result().unwrap(), other.into_result().unwrap());
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn events_are_kept_as_far_as_asked_for() {
    let program = |simulation: SimulationContext| async move {
        simulation.note("begin");
        SimulatedModel::new().trigger("Hi there").await?;
        simulation::note("end");
        Ok(())
    };
    let run = Simulation::new().with_events(1000).run(program);
    let less = Simulation::new().with_events(3).run(program);

    assert_eq!(less.events(), &run.events()[..3]);
    assert_eq!(less.digest(), run.digest());
    assert_eq!(run.events().len() as u64, run.event_count());
    let told: Vec<String> = run
        .events()
        .iter()
        .filter(|event| !matches!(event, Event::Turn { .. }))
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "noted: begin",
            "a piece: \"Hi there\"",
            "a piece: \"a message to come\"",
            "the time is 300ms",
            "a piece: \"You \"",
            "the time is 320ms",
            "a piece: \"said: \"",
            "the time is 340ms",
            "a piece: \"Hi \"",
            "the time is 360ms",
            "a piece: \"there\"",
            "noted: end",
        ]
    );
    let turns = run
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Turn { .. }));
    assert_eq!(turns.clone().count() as u64, run.turns());
    assert!(
        turns
            .clone()
            .any(|turn| turn.to_string().contains("SIMULATED_MODEL"))
    );
}

#[test]
fn what_is_not_deterministic_is_named() {
    let with_set = Simulation::new().check_determinism(|_| async {
        let set: HashSet<u32> = (0..30).collect();
        for number in set {
            yield_now().await;
            let echo = MiniAgent::new(|ctx: InteractionContext| async move {
                ctx.reply(ctx.messages());
                Ok(())
            });
            echo.trigger(number.to_string()).await?;
        }
        Ok(())
    });
    let told = with_set.unwrap_err().to_string();
    assert!(told.contains("  first run:  a piece: "), "{told}");
    assert!(told.contains("  second run: a piece: "), "{told}");

    let kept = RefCell::new(Vec::new());
    let with_address = Simulation::new().check_determinism(|_| {
        let thing = Box::new(0);
        simulation::note(format_args!("{:p}", &*thing));
        kept.borrow_mut().push(thing);
        async { Ok(()) }
    });
    let difference = with_address.unwrap_err();
    assert_eq!(difference.index(), 1); // behind the turn of the program
    assert_ne!(difference.first(), difference.second());

    let runs = Cell::new(0);
    let longer = Simulation::new().check_determinism(|_| {
        runs.set(runs.get() + 1);
        let turns = runs.get();
        async move {
            for _ in 0..turns {
                yield_now().await;
            }
            Ok(())
        }
    });
    assert_eq!(longer.unwrap_err().first(), "nothing more");
    assert!(
        Simulation::new()
            .check_determinism(|_| some_agents())
            .is_ok()
    );
}

#[test]
fn what_hangs_is_an_error() {
    let on_own = Simulation::new().run(|_| async {
        let call = MiniAgent::new(|ctx: InteractionContext| async move {
            ctx.messages().await?;
            Ok(())
        })
        .initiate_call();
        call.replies().clone().await
    });
    assert!(on_own.into_result().unwrap_err().is_deadlock());

    let on_channel = Simulation::new().run(|_| async {
        let (sender, receiver) = async_channel::bounded::<()>(1);
        let received = receiver.recv().await;
        drop(sender);
        Ok(received?)
    });
    assert!(on_channel.into_result().unwrap_err().is_deadlock());

    let endless = Simulation::new().with_max_turns(10_000).run(|_| async {
        loop {
            yield_now().await;
        }
        #[allow(unreachable_code, reason = "gives the type")]
        Ok(())
    });
    assert!(endless.into_result().unwrap_err().is_timeout());
}

#[test]
fn a_thread_is_waited_for_only_where_that_is_said() {
    let program = |_| async { unblock(|| 42).await };
    let refused = Simulation::new().run(program);
    // The thread may have been quick.
    if let Err(error) = refused.into_result() {
        assert!(error.is_deadlock());
    }
    let patient = Simulation::new().with_patience(Duration::from_secs(60));
    assert_eq!(patient.run(program).into_result().unwrap(), 42);
}

#[test]
fn panics_are_errors_and_are_listed() {
    let exploration = Exploration::new().with_seeds(1);
    let failure = exploration
        .run(|_| async {
            yield_now().await;
            if true {
                panic!("the roof leaks");
            }
            Ok(())
        })
        .unwrap_err();
    assert!(failure.error().is_panic());
    let told = failure.to_string();
    assert!(
        told.contains("panic: the roof leaks (at tests/simulation.rs:"),
        "{told}"
    );
    assert!(
        told.contains("MINIAGENTS_SCHEDULE='fifo' cargo test panics_are"),
        "{told}"
    );

    let tolerant = exploration.with_tolerated_panics(true);
    let unread = tolerant.run(|_| async {
        spawn(async {
            if true {
                panic!("nobody cares")
            }
        })
        .detach();
        yield_now().await;
        Ok(())
    });
    assert_eq!(unread.unwrap().runs, 1);
}

#[test]
fn a_failed_check_and_an_error_are_failures() {
    let failure = Exploration::new()
        .with_seeds(1)
        .run(|simulation| async move {
            simulation.check_at_end(|| Err(Error::msg("the till is empty")));
            Ok(())
        })
        .unwrap_err();
    assert_eq!(failure.error().to_string(), "the till is empty");
    assert_eq!(failure.runs(), 1);
    let error: Error = failure.into();
    assert!(error.to_string().contains("the till is empty"));
}

/// What [`the_environment_names_the_case`] runs in a process of its own.
#[test]
#[ignore = "fails, if the environment says so"]
fn in_a_process_of_its_own() {
    Exploration::new()
        .with_seeds(1)
        .check(|simulation| async move {
            println!("seed {}", simulation.seed());
            let order = some_agents().await?;
            assert_eq!(order, "abcdabcdabcd");
            Ok(())
        });
}

#[test]
fn the_environment_names_the_case() {
    let run = |case: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "in_a_process_of_its_own",
                "--ignored",
                "--nocapture",
            ])
            .env("MINIAGENTS_SCHEDULE", case)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (passed, text) = run("seed=9;fifo");
    assert!(passed && text.contains("seed 9\n"), "{text}");
    let (passed, text) = run("seed=9");
    assert!(!passed && text.contains("seed 9\n"), "{text}");
    assert!(text.contains("choices are enough"), "{text}");
    assert!(
        text.contains("MINIAGENTS_SCHEDULE='seed=9' cargo test in_a_process"),
        "{text}"
    );
    let (passed, text) = run("seed=nine");
    assert!(!passed && text.contains("is not a schedule"), "{text}");
}

#[test]
fn what_does_not_fail_again_is_called_unsteady() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let failure = Exploration::new()
        .run(|_| async {
            match RUNS.fetch_add(1, Ordering::Relaxed) {
                4 => Err(Error::msg("once only")),
                _ => some_agents().await,
            }
        })
        .unwrap_err();
    assert_eq!(failure.runs(), 5);
    assert!(
        failure.to_string().contains("not deterministic"),
        "{failure}"
    );
}

#[test]
fn seeds_and_time_are_limited_and_progress_is_told() {
    let told = Rc::new(Cell::new(0));
    let count = told.clone();
    let exploration = Exploration::new()
        .with_seeds(10)
        .with_first_seed(u64::MAX - 2)
        .with_progress(Duration::ZERO, move |_| count.set(count.get() + 1));
    let seeds = RefCell::new(Vec::new());
    let explored = exploration.run(|simulation| {
        seeds.borrow_mut().push(simulation.seed());
        async { Ok(()) }
    });
    assert_eq!((explored.unwrap().runs, told.get()), (10, 10));
    assert_eq!(
        seeds.take()[..5],
        [0, u64::MAX - 2, u64::MAX - 1, u64::MAX, 0]
    );

    let none = exploration.with_time_limit(Duration::ZERO);
    assert_eq!(none.run(|_| async { Ok(()) }).unwrap().runs, 0);
}

#[test]
fn an_executor_of_ones_own_has_a_schedule_too() {
    let order_under = |schedule| {
        let executor = Executor::with_virtual_clock().with_schedule(schedule);
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        let log = order.clone();
        let main = async move {
            for task in 0..8 {
                let log = log.clone();
                spawn(async move { log.borrow_mut().push(task) }).detach();
            }
            yield_now().await;
        };
        executor.block_on(main).unwrap();
        (order.take(), executor.choices_made())
    };
    let (fifo, none) = order_under(Schedule::Fifo);
    assert_eq!(
        (&fifo[..], none),
        (&[0, 1, 2, 3, 4, 5, 6, 7][..], Schedule::Fifo)
    );
    let (seeded, made) = order_under(Schedule::Seeded(42));
    assert_eq!(order_under(made.clone()), (seeded.clone(), made));
    assert_ne!(seeded, fifo);
}

/// Ten thousand agents exchange a hundred thousand messages; a tenth of that in debug builds.
/// `MINIAGENTS_SIMULATED_AGENTS` sets another number of agents.
#[test]
fn a_town_of_agents_is_the_same_again() {
    let agents: u64 = match std::env::var("MINIAGENTS_SIMULATED_AGENTS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) if cfg!(debug_assertions) => 1000,
        Err(_) => 10_000,
    };
    const ROUNDS: u64 = 5;

    let town = |simulation: SimulationContext| async move {
        let heard = Rc::new(Cell::new(0u64));
        let total = heard.clone();
        simulation.check_at_end(move || {
            assert_eq!(total.get(), 2 * ROUNDS * agents);
            Ok(())
        });
        let model = SimulatedModel::new()
            .with_latency(Latency::heavy_tail(
                Duration::from_millis(200),
                Duration::from_secs(60),
            ))
            .with_pace(Latency::normal(
                Duration::from_millis(20),
                Duration::from_millis(5),
            ))
            .with_answer(|_| "Well met.".into());
        let inhabitants: Vec<_> = (0..agents)
            .map(|number| {
                let (model, heard) = (model.clone(), heard.clone());
                let inhabitant = MiniAgent::new(move |ctx: InteractionContext| {
                    let (model, heard) = (model.clone(), heard.clone());
                    async move {
                        let mut said = ctx.messages().await?;
                        for _ in 0..ROUNDS {
                            heard.set(heard.get() + said.len() as u64);
                            said = model.clone().trigger(&said[..]).await?;
                            heard.set(heard.get() + said.len() as u64);
                        }
                        ctx.reply(said);
                        Ok(())
                    }
                });
                inhabitant.trigger(format!("I am number {number}."))
            })
            .collect();
        for inhabitant in inhabitants {
            inhabitant.await?;
        }
        Ok(heard.get())
    };
    let start = Instant::now();
    let simulation = Simulation::new().with_case(Case::of_seed(2026));
    let (once, again) = (simulation.run(town), simulation.run(town));

    assert_eq!(once.digest(), again.digest());
    println!(
        "{agents} agents, {} turns, {} pieces, {:?} of virtual time; both runs took {:?}",
        once.turns(),
        once.pieces(),
        once.elapsed(),
        start.elapsed()
    );
    assert_eq!(once.into_result().unwrap(), 2 * ROUNDS * agents);
}
