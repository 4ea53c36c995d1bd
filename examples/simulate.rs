//! A market on one morning, simulated: a baker, her customers, and a bug that shows in one order only.
//!
//! ```sh
//! cargo run --example simulate
//! ```
//!
//! It shows virtual time, seeds, and how a failing seed becomes a schedule of a choice or two. No
//! network, and the same output every time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{now, sleep};
use miniagents::simulation::{
    self, Event, Exploration, Latency, SimulatedModel, Simulation, SimulationContext,
};
use miniagents::{Agent, Error, InteractionContext, Result};

const MINUTE: Duration = Duration::from_secs(60);

/// Has two loaves, and a chat with everybody.
#[derive(Clone)]
struct Baker {
    loaves: Rc<Cell<u32>>,
    model: SimulatedModel,
}

impl Agent for Baker {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let order = ctx.messages().await?;
        match self.loaves.get() {
            0 => ctx.reply("Sold out! Come back tomorrow."),
            left => {
                self.loaves.set(left - 1);
                ctx.reply(self.model.clone().trigger(&order[..]))
            }
        };
        Ok(())
    }
}

/// Asks for bread when the bakery opens.
struct Customer {
    name: &'static str,
    baker: Baker,
}

impl Agent for Customer {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        sleep(30 * MINUTE).await;
        let answer = self
            .baker
            .clone()
            .trigger(format!("A loaf for {}, please!", self.name))
            .await?;
        let minutes = now().as_secs() / 60;
        simulation::note(format_args!(
            "after {minutes} minutes, {} hears: {}",
            self.name, answer[0]
        ));
        ctx.reply(answer);
        Ok(())
    }

    fn alias(&self) -> String {
        self.name.to_uppercase()
    }
}

/// The morning. Ada stands first in line: is it certain that she gets her bread?
async fn market(_: SimulationContext) -> Result<()> {
    let model = SimulatedModel::new()
        .with_answer(|_| "Here you are, my dear, and greet your mother from me.".into())
        .with_latency(Latency::heavy_tail(MINUTE / 2, 20 * MINUTE))
        .with_pace(Latency::normal(10 * MINUTE / 60, MINUTE / 60));
    let baker = Baker {
        loaves: Rc::new(Cell::new(2)),
        model,
    };
    let visits = ["Ada", "Ben", "Cleo"].map(|name| {
        let baker = baker.clone();
        Customer { name, baker }.trigger(())
    });
    let mut answers = Vec::new();
    for visit in visits {
        answers.push(visit.await?[0].to_string());
    }
    if answers[0].starts_with("Sold out") {
        return Err(Error::msg("Ada was first in line and has no bread"));
    }
    Ok(())
}

/// Runs the morning and shows what was noted.
fn show(simulation: &Simulation) {
    let morning = simulation.clone().with_events(100_000).run(market);
    for event in morning.events() {
        if let Event::Note { text, .. } = event {
            println!("  {text}");
        }
    }
    let (turns, minutes) = (morning.turns(), morning.elapsed().as_secs() / 60);
    println!("  {minutes} minutes went by at once, in {turns} turns of tasks");
    if let Err(error) = morning.into_result() {
        println!("  and in the end: {error}");
    }
}

fn main() -> Result<()> {
    println!("A morning in the order of asyncio, with the random numbers of seed 7:");
    let simulation = Simulation::new().with_seed(7);
    show(&simulation);
    let digest = simulation.check_determinism(market)?;
    println!("  (twice more it was the same to the last turn: {digest})");

    println!("\nOther mornings, from seed 34 on:");
    let Err(failure) = Exploration::new().with_first_seed(34).run(market) else {
        println!("  nothing went wrong");
        return Ok(());
    };
    for line in failure.to_string().lines() {
        println!("  {line}");
    }

    println!(
        "\nThat morning once more, from `{}` alone:",
        failure.shortest()
    );
    show(&Simulation::new().with_case(failure.shortest().to_string().parse()?));
    Ok(())
}
