//! What things cost, so that you can predict what a program will.
//!
//! There is nothing in this module but this page.
//!
//! # The twelve workloads
//!
//! `benches/workloads.rs` holds twelve small programs on the public interface. Each was written three
//! more times: for the Python original (MiniAgents 0.1.0a1 on CPython 3.11), for the two executors that
//! Rust users would take otherwise (`smol` with `async-channel`; `tokio`, current thread, with its
//! channels), and as the *limit*: the cheapest single-threaded Rust that does the same observable work
//! and nothing else, with unsafe wakers, no context, no errors, no arguments and no records. All come to
//! the same checksums. What is read through a channel is gone: only here, in the original and in the
//! limit can everything be read again.
//!
//! The figures are medians of ratios taken within ten interleaved rounds (for the original: within five
//! others) on a shared machine with two cores, at sixteen times the base sizes; times are
//! processor time. Trust the first digit.
//!
//! | | one | Python | smol | tokio | this crate |
//! |---|---|---|---|---|---|
//! | w01 | task switch | 180 | 7.6 | 4.4 | 1.2 |
//! | w02 | live piece, to one of 8 readers | 320 | 19 | 7.8 | 1.7 |
//! | w03 | replayed piece | 240 | cannot | cannot | 1.4 |
//! | w04 | live token, forwarded by 8 agents | 450 | 4.7 | 5.7 | 1.2 |
//! | w05 | agent of 3 messages | 3700 | 8.8 | 4.1 | 2.9 |
//! | w06 | leaf of a tree, flattened | 2000 | 14 | 7.3 | 2.3 |
//! | w07 | hash key of a 1.1 KiB message | 51 |  |  | 1.0 |
//! | w08 | message of history read | 4600 | 2.3 | 2.3 | 3.8 |
//! | w09 | token of a joined message | 400 | 6.4 | 2.9 | 1.2 |
//! | w10 | live promise (memory) | 48 | 7.3 | 5.5 | 1.9 |
//! | w11 | token re-streamed by one of 8 agents | 380 | 11 | 4.3 | 1.0 |
//! | w12 | live agent (memory) | 82 | 6.5 | 5.1 | 3.0 |
//!
//! Each figure is a multiple of the limit; smaller is better. Beside smol and tokio stands a bare task and
//! a channel for each thing, without promises of messages, arguments, records, errors or replay: where
//! they are ahead (a message of history), that is what is paid for. The same goes for the `LocalPool` of `futures`
//! with its channel, which the table leaves out: it takes 2.3 for an agent (w05), and 0.9 of the limit's memory (w12).
//!
//! To see what this crate costs on your machine, and that its results are those of the original:
//!
//! ```sh
//! cargo bench --bench workloads                  # a table, each at its base size
//! cargo bench -q --bench workloads -- w05 512    # one of them: name, size, result, seconds
//! cargo test --bench workloads                   # compares the results with the original's
//! ```
//!
//! For the original: `pip install miniagents==0.1.0a1`, and write the body of the workload in Python; the
//! comments in the benchmark say what each one does.
//!
//! # What costs what
//!
//! - **A turn of a task** is some tens of nanoseconds. Whoever waits for a promise is kept as a plain
//!   pointer; a [`std::task::Waker`] is made only where a combinator, a channel or a thread asks for one,
//!   and then costs atomics. A promise that is polled with another waker than that of the task, as some
//!   combinators do, keeps that in an allocation.
//! - **Something that is there already** costs no turn: awaiting a promise that has resolved, or reading
//!   pieces that have come, is a look and a count. A reader asks the log once for each stretch of pieces
//!   and reads it without asking again. Who wants messages and no tokens spares a look at each with
//!   [`stream_whole`](crate::MessageSequencePromise::stream_whole): in a long history that is a tenth of the time
//!   (w08).
//! - **A token that is waited for** costs a turn of the task that produces it, a turn of the task that
//!   makes the whole message (which looks at the tokens when all are there), and a turn of each reader;
//!   readers are called one after the other, in the order of asyncio.
//! - **A token of at most sixteen bytes** is no allocation, a longer one is one.
//! - **Forwarding costs nothing per token.** A promise that is handed on is the same promise; eight agents
//!   that reply with what they got cost per message. An agent that streams a message anew as it is shares
//!   its tokens, and costs two turns for each of them, which is what is counted in w11. Where something
//!   stands between, be it only a `map`, each token is read, polled for and kept once more.
//! - **An emitted item** goes straight into the log of a promise that is started soon: the body of
//!   [`generate`](crate::generate) is left only where it waits for something.
//! - **A message that is there** is one allocation of 56 bytes, if it is of text and nothing else, and of at
//!   most 24 bytes of it; a longer text is another one. `ctx.reply(format_args!("{i}"))` makes just that,
//!   where `format!` would make a `String` first, to be copied and freed. The fields of a message are made
//!   when somebody asks for them. Handing it on is a count. A list of messages
//!   (`&Vec<Message>`, a slice, `Rc<[Message]>`) goes through a call as one block, for which its handles are
//!   copied once. A [`History`](crate::History) is not even that: what is sent of it is where it lies and how
//!   far it goes, so that a dialogue of N turns costs what its N² reads cost, and N calls.
//! - **A call of an agent** is the dearest thing: four allocations, and fourteen turns, half a microsecond to a
//!   whole one, whatever the agent then does; a reply that is waited for takes two turns more. The agent acts in a task; all other turns are steps of the two sequences and of the call.
//!   The turns are the original's: they decide who comes first where agents run side by side. The records of
//!   calls and replies are made only where a handler is registered
//!   ([`on_persist_messages`](crate::MiniAgents::on_persist_messages),
//!   [`on_promise_resolved`](crate::MiniAgents::on_promise_resolved)).
//! - **A sequence** needs no task until something turns up in it that has to be polled: somebody's stream, or
//!   replies on demand that are persisted before their end. What comes out of order has a task per item, and
//!   a task for all only while there are such items. Messages that lie side by side are not flattened, they
//!   only wait their turns; and a sequence on demand that is handed over to another one, so that nobody else
//!   can read it, keeps nothing.
//! - **Hashing** is one pass over the fields into one buffer that is used again, and SHA-256, which is most of it.
//!   What will be hashed is looked at beforehand in one go: where thousands of messages do not fit into the caches
//!   of the processor, the waits for memory fall together.
//! - **Memory**: about 0.7 KB for a promise of a message that is being written, 2 KB for an agent that
//!   waits for more messages. What nobody holds is freed: a context that lives for a million calls does not
//!   grow. The tokens of complete messages can be given up, see [`KeepTokens`](crate::KeepTokens).
//!
//! The turns that a token, an agent, a message or a turn of a dialogue takes are the same for the first
//! and the thousandth, which a test holds. So is the time, but for what the processor's caches make of
//! it: in a tree that is flattened a leaf pays its share of the sequences above it, of which there are more
//! in some sizes of tree than in others (w06).
