//! What the agents of all vendors have in common: how they are set up, and how they ask and answer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Poll;

use serde::Serialize;
use serde_json::{Map, Value};

use super::answer;
use super::chat::{Piece, chat_in_pieces};
use super::decode::Decode;
use super::transport::{HttpRequest, HttpTransport, Transport};
use super::turn::{ToolDeclaration, Turn};
use crate::agent::InteractionContext;
use crate::error::{Error, Result};
use crate::frozen::{self, Frozen};
use crate::message::MessageClass;

/// The connections of all agents that do not bring their own transport.
static TRANSPORT: OnceLock<HttpTransport> = OnceLock::new();

/// A model of any vendor, as it was set up.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) name: Rc<str>,
    pub(crate) system: Option<Rc<str>>,
    /// Whether the answer comes token by token; empty for as the context says.
    pub(crate) stream: Option<bool>,
    pub(crate) tools: Rc<[ToolDeclaration]>,
    /// Further fields of the request.
    pub(crate) fields: Map<String, Value>,
    /// The first field that was refused; raised where the answer is read.
    refused: Option<Error>,
    pub(crate) response_metadata: Frozen,
    /// How requests are sent; empty for the one that all share.
    pub(crate) transport: Option<Rc<dyn Transport>>,
}

impl Model {
    pub(crate) fn new(name: Rc<str>) -> Self {
        Model {
            name,
            system: None,
            stream: None,
            tools: Rc::new([]),
            fields: Map::new(),
            refused: None,
            response_metadata: Frozen::new(),
            transport: None,
        }
    }

    /// Sets a further field of the request.
    pub(crate) fn set(&mut self, name: &str, value: impl Serialize) {
        // Our own values refuse what JSON cannot hold, where serde_json would write null.
        match frozen::Value::from_serialize(&value).and_then(|_| as_written(&value)) {
            Ok(value) => drop(self.fields.insert(name.into(), value)),
            Err(error) => {
                self.refused
                    .get_or_insert(error.within(format_args!("field `{name}`")));
            }
        }
    }

    /// The first field that was refused.
    pub(crate) fn check(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// How requests are sent.
    pub(crate) fn transport(&self) -> &dyn Transport {
        match &self.transport {
            Some(transport) => &**transport,
            None => TRANSPORT.get_or_init(HttpTransport::new),
        }
    }

    /// The parameters of the agent, as they are recorded with a call.
    pub(crate) fn arguments(&self) -> Result<Frozen> {
        let arguments = Frozen::new().with("model", &*self.name);
        let arguments = match &self.system {
            Some(system) => arguments.with("system", &**system),
            None => arguments,
        };
        let arguments = match &*self.tools {
            [] => arguments,
            tools => arguments.try_with("tools", tools)?,
        };
        let mut fields = self.fields.iter();
        fields.try_fold(arguments, |all, (name, value)| {
            all.try_with(name.as_str(), value)
        })
    }

    /// Answers what `ctx` was sent: `request` makes the vendor's request of the conversation and of
    /// whether the answer is to come token by token, and `decoder` reads the answer.
    pub(crate) async fn answer<D: Decode>(
        &self,
        ctx: &InteractionContext,
        class: &'static MessageClass,
        request: impl FnOnce(&[Turn], bool) -> Result<HttpRequest>,
        decoder: D,
    ) -> Result<()> {
        let turns = answer::conversation(ctx).await?;
        let stream = self.stream;
        let stream = stream.unwrap_or_else(|| ctx.miniagents().streams_llm_tokens());
        let promise = answer::promise(ctx, class, &self.name).with_fields(&self.response_metadata);
        answer::stream(ctx, promise, |answer| async move {
            self.check()?;
            let request = request(&turns, stream)?;
            let request = if stream {
                request
            } else {
                request.in_one_piece()
            };
            // What cannot be said ends the request: nobody is left to read the rest.
            let refused = Cell::new(None);
            let on_piece = |piece: Piece<'_>| {
                let said = match piece {
                    Piece::Text(text) => answer.append(text),
                    Piece::Call(call) => answer.call_tool(call),
                };
                if let Err(error) = said {
                    refused.set(Some(error));
                }
            };
            let mut fields = pin!(chat_in_pieces(self.transport(), request, decoder, on_piece));
            let fields = poll_fn(|cx| {
                if let Poll::Ready(cancelled) = answer.poll_cancelled(cx) {
                    return Poll::Ready(Err(cancelled));
                }
                let fields = fields.as_mut().poll(cx);
                match refused.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => fields,
                }
            });
            for (name, value) in fields.await? {
                answer.set_field(&name, frozen::Value::from_serialize(&value)?);
            }
            Ok(())
        })
        .await
    }
}

/// The value that its JSON text holds. Made without the text, a float of 32 bits would get the many
/// digits of its widened form.
fn as_written(value: &impl Serialize) -> Result<Value> {
    Ok(serde_json::from_str(&serde_json::to_string(value)?)?)
}

/// The setters that the agents of all vendors have, each with a [`Model`] in its field `model`.
macro_rules! common_setters {
    () => {
        /// Whether the answer comes token by token; otherwise as the context says, which is yes.
        pub fn stream(mut self, stream: bool) -> Self {
            self.model.stream = Some(stream);
            self
        }

        /// The tools that the model may call. Its calls are in the field `tool_calls` of its message, see
        /// [`turn`](crate::llm::turn).
        pub fn tools(
            mut self,
            tools: impl Into<std::rc::Rc<[crate::llm::turn::ToolDeclaration]>>,
        ) -> Self {
            self.model.tools = tools.into();
            self
        }

        /// Any field of the request that has no method here, sent as it is.
        pub fn field(mut self, name: &str, value: impl serde::Serialize) -> Self {
            self.model.set(name, value);
            self
        }

        /// A field of the answer that is known beforehand.
        pub fn response_metadata(
            mut self,
            key: impl Into<std::rc::Rc<str>>,
            value: impl Into<crate::frozen::Value>,
        ) -> Self {
            self.model.response_metadata = self.model.response_metadata.with(key, value);
            self
        }

        /// How requests are sent, in place of the HTTP client that all share.
        pub fn transport(
            mut self,
            transport: impl crate::llm::transport::Transport + 'static,
        ) -> Self {
            self.model.transport = Some(std::rc::Rc::new(transport));
            self
        }
    };
}
pub(crate) use common_setters;
