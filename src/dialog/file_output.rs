//! What is said, in a file.

use std::fs::{self, File};
use std::io::{LineWriter, Write};
use std::path::{Path, PathBuf};

use futures_lite::StreamExt;

use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::{Frozen, Value};
use crate::message::{Join, join_messages};

/// An agent that writes the text of its messages into a file while they come, and hands them on.
///
/// - The file is made anew, with the folders it is in. Several messages are joined, with a blank line
///   between them unless [`with_join`](Self::with_join) says otherwise.
/// - It is written line by line. An error in the messages ends it; what came before is in the file.
///
/// An argument `file` of a call comes before what the agent was made with.
///
/// ```
/// use miniagents::dialog::FileOutputAgent;
/// use miniagents::MiniAgents;
///
/// let file = std::env::temp_dir().join(format!("miniagents-{}", std::process::id())).join("said.txt");
/// let replies = MiniAgents::new().run_agent(FileOutputAgent::new(&file), ["one", "two"])?;
/// assert_eq!(replies.len(), 2);
/// assert_eq!(std::fs::read_to_string(&file)?, "one\n\ntwo");
/// # std::fs::remove_dir_all(file.parent().unwrap())?;
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct FileOutputAgent {
    file: PathBuf,
    join: Join,
}

impl FileOutputAgent {
    /// An agent that writes this file.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        FileOutputAgent {
            file: file.into(),
            join: Join::default(),
        }
    }

    /// How several messages are joined.
    pub fn with_join(mut self, join: Join) -> Self {
        self.join = join;
        self
    }
}

impl Agent for FileOutputAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        let argument = ctx.arguments().get("file").and_then(Value::as_str);
        let file = argument.map_or(&*self.file, Path::new);
        let failed = |error| Error::from(error).within(format_args!("file {}", file.display()));
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut output = LineWriter::new(File::create(file).map_err(failed)?);
        let mut tokens = join_messages(ctx.messages(), self.join.clone()).reader();
        while let Some(token) = tokens.next().await {
            output
                .write_all(token?.as_str().as_bytes())
                .map_err(failed)?;
        }
        output.flush().map_err(failed)
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::new().with("file", self.file.to_string_lossy().into_owned()))
    }
}
