//! A model that exists in the simulation only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::latency::{Manners, Step, manners, random_of_request};
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result, What};
use crate::executor::sleep;
use crate::llm::call_log;
use crate::message::{Message, MessageClass, MessagePromise, MessageTokenAppender};
use crate::promise::Start;

/// A model as an agent, without a server: it answers token by token, in the time of the simulation.
///
/// How long each answer takes and what goes wrong with it depend on the seed, on the conversation, and
/// on how often the same was asked before (by clones too), and not on the schedule. Make it inside of
/// the program that is simulated.
///
/// Outside of a simulation it works like one of seed 0, on whatever clock there is.
///
/// ```
/// use std::time::Duration;
/// use miniagents::Agent;
/// use miniagents::simulation::{Latency, SimulatedModel, Simulation};
///
/// let run = Simulation::new().run(|_| async {
///     let second = Latency::constant(Duration::from_secs(1));
///     let model = SimulatedModel::new().with_latency(second).with_pace(second);
///     model.trigger("Good morning!").await
/// });
/// assert_eq!(run.elapsed(), Duration::from_secs(4));
/// assert_eq!(run.into_result().unwrap()[0].text(), "You said: Good morning!");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a model answers when it is triggered"]
pub struct SimulatedModel {
    manners: Manners,
    /// How often what was asked.
    asked: Rc<RefCell<BTreeMap<Vec<u8>, u64>>>,
}

impl SimulatedModel {
    /// A model that repeats what it is told.
    pub fn new() -> Self {
        Self::default()
    }

    manners!();

    /// With which probability it fails before it answers.
    pub fn with_failures(mut self, probability: f64) -> Self {
        self.manners.failures = probability;
        self
    }
}

impl Agent for SimulatedModel {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let messages = ctx.messages().await?;
        let turn = |message: &Message| {
            let role = message.role().unwrap_or("user");
            (role.to_owned(), message.text().to_owned())
        };
        let conversation: Vec<(String, String)> = messages.iter().map(turn).collect();
        let mut request = Vec::new();
        for (role, text) in &conversation {
            request.extend([role.as_bytes(), b"\0", text.as_bytes(), b"\0"].concat());
        }
        let nth = count(&self.asked, request.clone());
        let random = random_of_request(&request, nth);

        let appender = MessageTokenAppender::new().with_capture_errors(true);
        let promise = MessagePromise::of(MessageClass::ASSISTANT)
            .with_start(Start::OnDemand)
            .with("model", "simulated")
            .with("agent_alias", ctx.this_agent().alias());
        let filled = appender.clone();
        let broken = |what: &str| Error::own(What::Http, format_args!("simulated: {what}"));
        filled
            .fill(async {
                let promise = promise.append_from(&appender)?;
                ctx.try_reply(&promise)?;
                ctx.finish_early().await;
                call_log::answer(&ctx, &promise).await?;
                sleep(self.manners.latency.draw(&random)).await;
                if random.chance(self.manners.failures) {
                    return Err(broken("the model failed"));
                }
                let text = (self.manners.answer)(&conversation);
                for step in self.manners.steps(&random, &text) {
                    match step {
                        Step::Wait(time) => sleep(time).await,
                        Step::Token(token) => drop(appender.append(token.as_str())?),
                        Step::Cut => return Err(broken("the answer broke off")),
                    }
                }
                appender.set_field("stop_reason", "stop");
                Ok(())
            })
            .await
    }
}

/// How often `request` was counted before.
pub(crate) fn count(asked: &RefCell<BTreeMap<Vec<u8>, u64>>, request: Vec<u8>) -> u64 {
    let mut asked = asked.borrow_mut();
    let count = Cell::from_mut(asked.entry(request).or_default());
    count.replace(count.get() + 1)
}
