//! A value of a Rust type from a model: ask for a `Recipe`, get a `Recipe`. The schema of the type goes to
//! the model; a reply that does not fit is sent back once, with what is wrong with it.
//!
//! `cargo run --example structured_output` needs no network: a script plays the model, which forgets a
//! field, is told so, and then gives all of it. With `OPENAI_API_KEY` or `ANTHROPIC_API_KEY` set, or with
//! `OPENAI_BASE_URL` or `ANTHROPIC_BASE_URL` for any compatible server, a model of that server answers;
//! `MODEL` names another one. With the script it prints
//!
//! ```text
//! Pancakes, in 20 minutes:
//! - 2 eggs
//! - 200 g flour
//! - 300 ml milk
//! ```

use std::fmt;

use miniagents::llm::{Anthropic, OpenAi, ScriptedModel, Structured};
use miniagents::{MiniAgent, MiniAgents, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// What is asked for. The comments are for the model.
#[derive(Deserialize, JsonSchema)]
struct Recipe {
    name: String,
    /// How long it takes from beginning to end.
    minutes: u32,
    ingredients: Vec<Ingredient>,
}

#[derive(Deserialize, JsonSchema)]
struct Ingredient {
    name: String,
    /// In the unit that is given.
    amount: f64,
    unit: Option<Unit>,
}

#[derive(Deserialize, JsonSchema)]
enum Unit {
    #[serde(rename = "g")]
    Grams,
    #[serde(rename = "ml")]
    Millilitres,
}

impl fmt::Display for Ingredient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Some(Unit::Grams) => "g ",
            Some(Unit::Millilitres) => "ml ",
            None => "",
        };
        write!(f, "{} {unit}{}", self.amount, self.name)
    }
}

/// The model of a server, or a script that plays one.
fn model() -> MiniAgent {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    };
    let model = |default: &str| variable("MODEL").unwrap_or(default.into());
    if variable("OPENAI_API_KEY")
        .or(variable("OPENAI_BASE_URL"))
        .is_some()
    {
        return MiniAgent::new(OpenAi::new(model("gpt-4o-mini")));
    }
    if variable("ANTHROPIC_API_KEY")
        .or(variable("ANTHROPIC_BASE_URL"))
        .is_some()
    {
        return MiniAgent::new(Anthropic::new(model("claude-haiku-4-5")).max_tokens(1024));
    }
    let ingredients = r#""ingredients": [
        {"name": "eggs", "amount": 2, "unit": null},
        {"name": "flour", "amount": 200, "unit": "g"},
        {"name": "milk", "amount": 300, "unit": "ml"}
    ]"#;
    MiniAgent::new(ScriptedModel::new([
        format!("```json\n{{\"name\": \"Pancakes\", {ingredients}}}\n```"),
        format!("```json\n{{\"name\": \"Pancakes\", \"minutes\": 20, {ingredients}}}\n```"),
    ]))
}

fn main() -> Result<()> {
    let recipe: Recipe = MiniAgents::new().run(async {
        Structured::new(model())
            .ask("How do I make pancakes for two?")
            .await
    })?;

    println!("{}, in {} minutes:", recipe.name, recipe.minutes);
    for ingredient in &recipe.ingredients {
        println!("- {ingredient}");
    }
    Ok(())
}
