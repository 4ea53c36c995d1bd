//! Several models in one conversation: one is heard, the answers of the others are written into files,
//! all of them token by token and side by side.
//!
//! ```sh
//! cargo run --example many_models              # in a temporary folder
//! cargo run --example many_models -- answers   # in that folder
//! ```
//!
//! The models are the embedded one in three moods; any others go in their place.

use std::path::PathBuf;

use miniagents::console::console_user_agent;
use miniagents::dialog::{DialogLoop, FileOutputAgent};
use miniagents::llm::EmbeddedModel;
use miniagents::llm::embedded::Eliza;
use miniagents::{Agent, InteractionContext, MiniAgent, MiniAgents, Result};

const OPTIMIST: &str = "
@greeting
    What a day!
@silence
    The best is yet to come.
@default
    How wonderful!
    That sounds like a beginning.
need want = 1
  *
    You shall have it.
";

const PESSIMIST: &str = "
@greeting
    Is it?
@silence
    It was bound to end.
@default
    That cannot end well.
    I feared as much.
need want = 1
  *
    It will be gone before you have it.
";

/// Asks all models the same. The first one answers; the others are overheard.
struct AllModels {
    heard: MiniAgent,
    overheard: Vec<MiniAgent>,
    folder: PathBuf,
}

impl Agent for AllModels {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        for (number, model) in self.overheard.iter().enumerate() {
            let turn = ctx.messages().await?.len();
            let name = format!("{turn:03}-{number}-{}.md", model.alias());
            let file = FileOutputAgent::new(self.folder.join(name));
            // The replies do not end before the file is written.
            ctx.make_sure_to_wait(file.trigger(model.trigger(ctx.messages())));
        }
        ctx.reply(self.heard.trigger(ctx.messages()));
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("miniagents-answers"));
    eprintln!("the answers that nobody hears are in {}", folder.display());

    let model =
        |name, script| MiniAgent::new(EmbeddedModel::new().with_script(script)).with_alias(name);
    let all = AllModels {
        heard: model("ELIZA", Eliza::new()),
        overheard: vec![
            model("OPTIMIST", Eliza::with_script(OPTIMIST)?),
            model("PESSIMIST", Eliza::with_script(PESSIMIST)?),
        ],
        folder,
    };
    MiniAgents::new().run_agent(DialogLoop::new(console_user_agent(), all), ())?;
    Ok(())
}
