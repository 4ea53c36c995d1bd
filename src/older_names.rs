//! What the documents of the Python package call things, and what they are called here.
//!
//! The package has had several names for many things over time; the newest is that of its version 0.1.0a1.
//! There is nothing in this module but these tables.
//!
//! # Ready-made agents
//!
//! | in the documents | here |
//! |---|---|
//! | `console_input_agent`, `console_prompt_agent` | `console::ConsoleInputAgent` |
//! | `console_output_agent`, `console_echo_agent` | `console::ConsoleOutputAgent` |
//! | `console_user_agent` | `console::console_user_agent` |
//! | `user_agent` | [`dialog::UserAgent`](crate::dialog::UserAgent) |
//! | `dialog_loop` | [`dialog::DialogLoop`](crate::dialog::DialogLoop) |
//! | `prompt_at_the_end` | [`DialogLoop::with_prompt_at_the_end`](crate::dialog::DialogLoop::with_prompt_at_the_end) |
//! | `agent_loop`, `achain_loop` | [`dialog::AgentLoop`](crate::dialog::AgentLoop) |
//! | `agent_chain` | [`dialog::AgentChain`](crate::dialog::AgentChain) |
//! | `AWAIT`, `CLEAR`, `None` | [`Link::Await`](crate::dialog::Link::Await), [`Link::Clear`](crate::dialog::Link::Clear), [`then_maybe`](crate::dialog::AgentChain::then_maybe) |
//! | `raise_keyboard_interrupt` | [`AgentLoop::with_end_when_interrupted`](crate::dialog::AgentLoop::with_end_when_interrupted) |
//! | `prompt_agent` | [`dialog::PromptAgent`](crate::dialog::PromptAgent) |
//! | `file_output_agent` | [`dialog::FileOutputAgent`](crate::dialog::FileOutputAgent) |
//! | `in_memory_history_agent` | [`history::InMemoryHistoryAgent`](crate::history::InMemoryHistoryAgent) |
//! | `MarkdownHistoryAgent`, `markdown_history_agent` | `history::MarkdownHistoryAgent` |
//! | `markdown_llm_logger_agent` | `history::MarkdownLlmLoggerAgent` |
//! | `llm_logger_agent` | [`MiniAgents::with_llm_logger_agent`](crate::MiniAgents::with_llm_logger_agent), and of one model [`MiniAgent::with_llm_logger_agent`](crate::MiniAgent::with_llm_logger_agent) |
//! | `OpenAIAgent`, `openai_agent`, `create_openai_agent` | `llm::OpenAi` |
//! | `AnthropicAgent`, `anthropic_agent`, `create_anthropic_agent` | `llm::Anthropic` |
//! | `openai_embedding_agent` | `llm::OpenAiEmbedding` |
//!
//! # Agents and calls
//!
//! | in the documents | here |
//! |---|---|
//! | `@miniagent`, `AgentFunction` | [`Agent`](crate::Agent) |
//! | `trigger`, `inquire` | [`Agent::trigger`](crate::Agent::trigger) |
//! | `initiate_call`, `initiate_inquiry`, `start_inquiry` | [`Agent::initiate_call`](crate::Agent::initiate_call) |
//! | `fork(key=value)` | [`MiniAgent::with`](crate::MiniAgent::with), or the `with_` methods of the agent |
//! | `trigger(…, key=value)` | [`CallOptions::with`](crate::CallOptions::with) |
//! | `start_soon`, `start_asap`, `schedule_immediately` | [`Start`](crate::Start), [`CallOptions::with_start`](crate::CallOptions::with_start) |
//! | `ctx.message_promises`, `ctx.messages` | [`InteractionContext::messages`](crate::InteractionContext::messages) |
//! | `ctx.this_agent` | [`InteractionContext::this_agent`](crate::InteractionContext::this_agent) |
//! | `ctx.afinish_early` | [`InteractionContext::finish_early`](crate::InteractionContext::finish_early) |
//! | `get_current_agent_trace`, `get_agent_trace` | [`InteractionContext::agent_trace`](crate::InteractionContext::agent_trace) |
//! | `KeyboardInterrupt` | [`Error::interrupted`](crate::Error::interrupted), [`Error::is_interrupted`](crate::Error::is_interrupted) |
//!
//! # Messages
//!
//! | in the documents | here |
//! |---|---|
//! | `message.content`, `message.text` | [`Message::content`](crate::Message::content), and [`Message::text`](crate::Message::text) with the template filled in |
//! | `content_template`, `text_template` | [`TextMessage::from_template`](crate::TextMessage::from_template) |
//! | `known_beforehand`, `preliminary_metadata` | [`MessagePromise::known_beforehand`](crate::MessagePromise::known_beforehand) |
//! | `auxiliary_field_collector`, `metadata_so_far` | [`FieldCollector`](crate::FieldCollector) |
//! | `as_single_text_promise`, `as_single_promise` | [`MessageSequencePromise::as_single_text_promise`](crate::MessageSequencePromise::as_single_text_promise), [`…_with`](crate::MessageSequencePromise::as_single_text_promise_with) |
//! | `join_messages` | [`join_messages`](crate::join_messages()) |
//! | `split_messages`, `code_block_delimiter` | [`split_messages`](crate::split_messages()), [`Split::with_code_fence`](crate::Split::with_code_fence) |
//! | `await sequence`, `aresolve_messages`, `acollect_messages` | awaiting the [`MessageSequencePromise`](crate::MessageSequencePromise) |
//! | `turn_into_sequence_promise` | [`MessageSequencePromise::of`](crate::MessageSequencePromise::of) |
//! | `message_appender`, `append_producer` | [`MessageSequence::appender`](crate::MessageSequence::appender) |
//! | `MessageType` | [`IntoMessages`](crate::IntoMessages) |
//! | `serialize`, `serialized` | [`Message::serialized`](crate::Message::serialized) |
//!
//! # Contexts and promises
//!
//! | in the documents | here |
//! |---|---|
//! | `MiniAgents.get_current()` | [`MiniAgents::current`](crate::MiniAgents::current) |
//! | `MiniAgents().run`, `async with`, `activate` and `afinalize` | [`run`](crate::MiniAgents::run), [`scope`](crate::MiniAgents::scope), [`activate`](crate::MiniAgents::activate) |
//! | `start_everything_soon_by_default`, `start_everything_asap_by_default` | [`MiniAgents::with_start_soon`](crate::MiniAgents::with_start_soon) |
//! | `appenders_capture_errors_by_default` | [`MiniAgents::with_appenders_capture_errors`](crate::MiniAgents::with_appenders_capture_errors) |
//! | `stream_llm_tokens_by_default` | [`MiniAgents::with_stream_llm_tokens`](crate::MiniAgents::with_stream_llm_tokens) |
//! | `on_persist_messages`, `on_persist_message` | [`MiniAgents::on_persist_messages`](crate::MiniAgents::on_persist_messages) |
//! | `on_promise_resolved` | [`MiniAgents::on_promise_resolved`](crate::MiniAgents::on_promise_resolved) |
//! | `PromisingContext.start_asap` | [`PromisingContext::start_soon`](crate::PromisingContext::start_soon) |
//! | `StreamedPromise`, `StreamAppender`, `FlatSequence` | the same |
//! | `AppendProducer` | [`StreamAppender`](crate::StreamAppender) |
//! | `DEFAULT`, `NO_VALUE` | [`Start::AsContext`](crate::Start::AsContext), or leaving it out |
