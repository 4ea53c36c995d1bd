//! What models are asked and answer, in files that people read.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use futures_lite::StreamExt;
use jiff::Zoned;
use serde::{Serialize, Serializer};

use super::markdown_history::{Writer, failed};
use crate::agent::{Agent, InteractionContext, display_agent_trace};
use crate::error::{Error, Result};
use crate::frozen::{Frozen, Value};

/// An agent that writes each call of a model into a Markdown file of its own: which agents led to it, what
/// was asked for, the conversation and the answer, and what the model told about its answer.
///
/// Switched on for all models by [`MiniAgents::with_llm_logger_agent`](crate::MiniAgents::with_llm_logger_agent).
///
/// - The files are in the folder `llm_logs`, or where [`new`](Self::new) says. A name is made of the local
///   time, the model, and three hexadecimal digits, so that they sort as they were made:
///   `20261120_093000__123456__gpt-4o__000.md`.
/// - The answer is written while it comes, and if it fails or is stopped, that. Whatever ends the program,
///   what came before is there.
/// - No key is in it, unless somebody says one in the conversation.
///
/// ````
/// # #[cfg(feature = "embedded")] {
/// use miniagents::history::MarkdownLlmLoggerAgent;
/// use miniagents::{MiniAgents, UserMessage, llm::EmbeddedModel};
///
/// let folder = std::env::temp_dir().join(format!("miniagents-logs-{}", std::process::id()));
/// MiniAgents::new()
///     .with_llm_logger_agent(MarkdownLlmLoggerAgent::new(&folder))
///     .run_agent(EmbeddedModel::new(), UserMessage::new("I need my coffee."))?;
///
/// let log = std::fs::read_dir(&folder)?.next().unwrap()?.path();
/// assert_eq!(std::fs::read_to_string(log)?, r#"EMBEDDED_MODEL
///
/// ```json
/// {
///   "agent_alias": "EMBEDDED_MODEL",
///   "model": "eliza"
/// }
/// ```
///
/// user
/// ========================================
/// I need my coffee.
///
/// assistant / eliza
/// ========================================
/// What would change if you had your coffee?
///
/// ----------------------------------------
///
/// ```json
/// {
///   "role": "assistant",
///   "model": "eliza",
///   "agent_alias": "EMBEDDED_MODEL",
///   "stop_reason": "stop"
/// }
/// ```
/// "#);
/// # std::fs::remove_dir_all(&folder)?;
/// # }
/// # Ok::<(), miniagents::Error>(())
/// ````
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct MarkdownLlmLoggerAgent {
    folder: PathBuf,
    response_metadata: bool,
}

impl Default for MarkdownLlmLoggerAgent {
    /// In `llm_logs` in the current folder.
    fn default() -> Self {
        Self::new("llm_logs")
    }
}

impl MarkdownLlmLoggerAgent {
    /// Logs in this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        MarkdownLlmLoggerAgent {
            folder: folder.into(),
            response_metadata: true,
        }
    }

    /// Whether the fields of the answer are written below it, as by default.
    pub fn with_response_metadata(mut self, response_metadata: bool) -> Self {
        self.response_metadata = response_metadata;
        self
    }
}

/// What stands between the conversation and what is said about it.
const LINE: &str = "----------------------------------------";

/// A log that is being written. If that is stopped, it says so.
struct Log {
    writer: Writer,
    complete: bool,
}

impl Log {
    fn complete(mut self) -> Result<()> {
        self.complete = true;
        self.writer.flush()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.complete {
            let _ = self.writer.write(&format!("\n\n{LINE}\n\nstopped\n"));
        }
    }
}

/// Makes a file that was not there before.
fn new_file(folder: &Path, model: Option<&str>) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let model = model.map_or(String::new(), |model| {
        let name = model.chars().map(|c| if is_plain(c) { c } else { '_' });
        format!("__{}", name.take(100).collect::<String>())
    });
    let time = Zoned::now().strftime("%Y%m%d_%H%M%S__%6f").to_string();
    for number in 0..0x1000 {
        let file = folder.join(format!("{time}{model}__{number:03x}.md"));
        match OpenOptions::new().write(true).create_new(true).open(&file) {
            Ok(_) => return Ok(file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&file, error)),
        }
    }
    Err(Error::msg(format!(
        "there are 4096 logs of {time} in {}",
        folder.display()
    )))
}

/// Fields without the name of their class, in their order.
struct Fields<'a>(&'a Frozen);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields())
    }
}

fn block(fields: &Frozen) -> Result<String> {
    let json = serde_json::to_string_pretty(&Fields(fields))?;
    Ok(format!("```json\n{json}\n```\n"))
}

impl Agent for MarkdownLlmLoggerAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let argument = |key| ctx.arguments().get(key);
        let metadata = argument("request_metadata").and_then(Value::as_object);
        let model = metadata.and_then(|metadata| metadata.get("model"));
        let folder = argument("log_folder").and_then(Value::as_str);
        let folder = folder.map_or(&*self.folder, Path::new);
        let file = new_file(folder, model.and_then(Value::as_str))?;

        let mut log = Log {
            writer: Writer::append(&file)?,
            complete: false,
        };
        let writer = &mut log.writer;
        // Who writes this is of no interest here.
        let trace = &ctx.agent_trace()[1..];
        if !trace.is_empty() {
            writer.write(&format!("{}\n\n", display_agent_trace(trace)))?;
        }
        if let Some(metadata) = metadata {
            writer.write(&block(metadata)?)?;
        }

        let mut promises = ctx.messages().reader();
        let mut last = None;
        while let Some(promise) = promises.next().await {
            let written = match &promise {
                Ok(promise) => writer.message(promise, "assistant").await,
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = written {
                writer.write(&format!(
                    "\n\n{LINE}\n\nfailed: {}: {error}\n",
                    error.type_name()
                ))?;
                return log.complete();
            }
            last = promise.ok();
        }
        let show = argument("show_response_metadata").and_then(Value::as_bool);
        if let Some(last) = last.filter(|_| show.unwrap_or(self.response_metadata)) {
            let message = last.quietly().await?;
            let fields = message.fields().fields();
            let fields = fields.filter(|(key, _)| !["content", "content_template"].contains(key));
            let fields = fields.fold(Frozen::new(), |all, (key, value)| {
                all.with(key, value.clone())
            });
            writer.write(&format!("\n{LINE}\n\n{}", block(&fields)?))?;
        }
        log.complete()
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::new().with("log_folder", self.folder.to_string_lossy().into_owned()))
    }
}
