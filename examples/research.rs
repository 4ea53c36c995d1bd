//! Research in miniature: a question becomes searches, each search finds pages, each page is read, all side
//! by side; what goes on is told as it happens, and an answer is made of what was found.
//!
//! A search begins as soon as its line is written, while the planner still thinks about the next one. The
//! web is a few pages in this file, the models are functions, and time is simulated: the program needs no
//! network and always says the same, at once:
//!
//! ```text
//! > searching for: vortex shedding
//! > reading vortex.example/street
//! > searching for: Tacoma Narrows
//! > reading bridges.example/tacoma
//! > reading news.example/1940
//! > searching for: tuned mass damper
//! > nothing about it in news.example/1940
//! > reading towers.example/damper
//! > broken: towers.example/damper: the page does not answer
//!
//! QUESTION: Why do bridges hum in the wind, and does it harm them?
//!
//! From 2 pages:
//! - Wind that passes a body leaves it in turns on either side: vortex shedding makes it hum.
//! - The Tacoma Narrows bridge twisted itself apart in 1940.
//! ```

use std::io::{Write, stdout};
use std::time::Duration;

use miniagents::executor::sleep;
use miniagents::llm::{FunctionModel, Question, ScriptedAnswer};
use miniagents::{
    Agent, CallOptions, Error, InteractionContext, MiniAgents, Result, Split, TextMessage,
    messages, split_messages,
};

/// The web: the address of a page, what is on it, and how long it takes to come, in tenths of a second.
const WEB: [(&str, &str, u64); 4] = [
    (
        "vortex.example/street",
        "Welcome. Wind that passes a body leaves it in turns on either side: vortex shedding makes it hum. \
         Cookies?",
        2,
    ),
    (
        "bridges.example/tacoma",
        "Bridges are long. The Tacoma Narrows bridge twisted itself apart in 1940. Buy postcards.",
        4,
    ),
    (
        "news.example/1940",
        "Nothing but advertisements for the Tacoma Narrows.",
        1,
    ),
    (
        "towers.example/damper",
        "A tuned mass damper swings against the wind.",
        0,
    ),
];

/// What to search for, a line for each, and at a pace at which one can see what comes when.
fn plan(_: &Question) -> ScriptedAnswer {
    ScriptedAnswer::from("vortex shedding\nTacoma Narrows\ntuned mass damper")
        .with_pace(Duration::from_millis(80))
}

/// The sentence of a page that says something about what is searched for, if one does.
fn extract(question: &Question) -> String {
    let (wanted, page) = question.text().split_once('\n').unwrap_or_default();
    let mut sentences = page.split_inclusive(". ").map(str::trim);
    let says = |sentence: &&str| sentence.contains(wanted) && !sentence.contains("advertisements");
    sentences.find(says).unwrap_or_default().to_owned()
}

/// Something that goes on, for the user to see at once and for nobody to work with.
fn progress(text: String) -> miniagents::MessageBuilder {
    TextMessage::new(format!("> {text}")).with("progress", true)
}

async fn research_agent(ctx: InteractionContext) -> Result<()> {
    let question = ctx.messages().as_single_text_promise().await?;
    let lines = Split::default().with_delimiter("\n");
    let plan = split_messages(FunctionModel::new(plan).trigger(&question), lines);
    let mut found = Vec::new();
    let mut searches = plan.stream();
    while let Some(search) = searches.try_next().await? {
        let results = web_search_agent.trigger(search);
        // What each search tells comes when it tells it, whatever was asked first.
        ctx.reply_out_of_order(&results);
        found.push(results);
    }
    ctx.reply(final_answer_agent.trigger(messages![question, found]));
    Ok(())
}

async fn web_search_agent(ctx: InteractionContext) -> Result<()> {
    let wanted = ctx.messages().as_single_text_promise().await?.to_string();
    ctx.reply_out_of_order(progress(format!("searching for: {wanted}")));
    sleep(Duration::from_millis(100)).await;
    let finds = |(_, text, _): &&(&str, &str, u64)| text.contains(wanted.as_str());
    for (address, _, _) in WEB.iter().filter(finds) {
        let page = CallOptions::new()
            .with("address", *address)
            .with("wanted", wanted.as_str());
        ctx.reply_out_of_order(page_agent.trigger_with((), page));
    }
    Ok(())
}

async fn page_agent(ctx: InteractionContext) -> Result<()> {
    let address: String = ctx.argument("address")?;
    let wanted: String = ctx.argument("wanted")?;
    ctx.reply_out_of_order(progress(format!("reading {address}")));
    let text = match fetch(&address).await {
        Ok(text) => text,
        Err(error) => {
            // One page that is broken does not stop the others.
            ctx.reply_out_of_order(progress(format!("broken: {address}: {error}")));
            return Ok(());
        }
    };
    let fact = FunctionModel::new(extract).trigger(format!("{wanted}\n{text}"));
    let fact = fact.as_single_text_promise().await?;
    ctx.reply_out_of_order(match fact.text() {
        "" => progress(format!("nothing about it in {address}")),
        fact => TextMessage::new(fact),
    });
    Ok(())
}

async fn fetch(address: &str) -> Result<&'static str> {
    let page = WEB.iter().find(|(known, _, _)| *known == address);
    let (_, text, tenths) = page.ok_or_else(|| Error::msg("no such page"))?;
    sleep(Duration::from_millis(100 * tenths)).await;
    if *tenths == 0 {
        sleep(Duration::from_millis(250)).await;
        return Err(Error::msg("the page does not answer"));
    }
    Ok(text)
}

async fn final_answer_agent(ctx: InteractionContext) -> Result<()> {
    let messages = ctx.messages().await?;
    let [question, found @ ..] = &*messages else {
        return Err(Error::msg("there is no question"));
    };
    let facts = found
        .iter()
        .filter(|message| message.get("progress").is_none());
    let facts: Vec<_> = facts.map(|fact| format!("- {fact}")).collect();
    ctx.reply(format!(
        "\nQUESTION: {question}\n\nFrom {} pages:\n{}",
        facts.len(),
        facts.join("\n")
    ));
    Ok(())
}

fn main() -> Result<()> {
    let question = "Why do bridges hum in the wind, and does it harm them?";
    MiniAgents::new().with_virtual_clock().run(async {
        let mut replies = research_agent.trigger(question).stream_whole();
        while let Some(reply) = replies.try_next().await? {
            // Facts are for the answer; the rest is for people.
            if reply.get("progress").is_some() || reply.text().starts_with('\n') {
                println!("{reply}");
                stdout().flush()?;
            }
        }
        Ok(())
    })
}
