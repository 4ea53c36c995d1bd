//! What the crate promises, seen from outside: the examples of the documents, and each layer's laws.

mod agents;
mod bad_input;
mod cancellation;
mod circles;
mod dialogs;
mod documents;
mod events;
mod frozen_messages;
mod history;
mod kept_tokens;
mod persistence;
mod promises;
mod restreamed;
mod sequences;
mod split;
