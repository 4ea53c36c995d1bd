//! Running a program: each step on the public interface, and a record of what should come of it.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::StreamExt;

use super::program::{Body, Call, Errors, Item, Order, Program, Step, Token};
use crate::agent::{AgentCall, CallOptions, InteractionContext, MiniAgent, MiniAgents};
use crate::error::{Error, Result};
use crate::executor::{gather, sleep, yield_now};
use crate::laws::{Violation, harness};
use crate::message::{
    IntoMessages, Message, MessageClass, MessagePromise, MessageSequencePromise,
    MessageTokenAppender, Messages,
};
use crate::promise::Start;

/// So many calls a program makes; those behind them are left out.
const MOST_CALLS: usize = 60;

/// So often a program sends on what it has got; further times it sends nothing. Calls that send on twice
/// what they get would double it with every call.
const MOST_SENT_ON: usize = 16;

/// What happened in a run of a program, in order, and how it ended.
///
/// ```
/// use miniagents::laws::programs::Program;
///
/// let trace = Program::from_bytes(b"a program").run();
/// assert!(!trace.is_deadlock());
/// println!("{trace}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    events: Vec<String>,
    /// Why it did not end; empty if it did.
    stuck: Option<String>,
    deadlock: bool,
}

impl Trace {
    /// Who did what, in order.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// Whether it could never go on.
    pub fn is_deadlock(&self) -> bool {
        self.deadlock
    }

    /// Why it did not come to its end, if it did not.
    pub fn stuck(&self) -> Option<&str> {
        self.stuck.as_deref()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        f.write_str(self.stuck.as_deref().unwrap_or("it came to its end"))
    }
}

/// A run: what happened, and what should have.
pub(super) struct Run {
    pub(super) trace: Trace,
    pub(super) calls: Vec<Rc<Record>>,
}

/// A call, what was done in it, and what readers saw.
#[derive(Default)]
pub(super) struct Record {
    /// The call in which it was made; empty for one of main.
    pub(super) caller: Option<usize>,
    /// Whether errors are read as messages.
    pub(super) safe: bool,
    pub(super) timeout: bool,
    /// Whether a task has made it, and left it open: the task may outlive who would finish it.
    pub(super) unfinished: bool,
    pub(super) input: RefCell<Expect>,
    pub(super) replied: RefCell<Vec<(Order, Expect)>>,
    /// What the agent failed with; empty if it did not.
    pub(super) failed: RefCell<Option<Failure>>,
    /// Whether the replies had ended before the agent did.
    pub(super) closed: Cell<bool>,
    /// Whether somebody cancelled it.
    pub(super) cancelled: Cell<bool>,
    replies: OnceCell<MessageSequencePromise>,
    /// Empty while the agent has not started.
    messages: OnceCell<MessageSequencePromise>,
    /// What a reader saw that was there from the beginning; empty if there was none.
    pub(super) early: RefCell<Option<Vec<Entry>>>,
    pub(super) has_early: Cell<bool>,
    pub(super) late: RefCell<Option<Vec<Entry>>>,
    pub(super) received: RefCell<Option<Vec<Entry>>>,
    pub(super) whole: RefCell<Option<Result<Vec<String>, Failure>>>,
}

/// What something that was sent should arrive as.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    Entry(Entry),
    List(Vec<Expect>),
    /// What arrived with that call.
    Input(usize),
    /// The replies of that call.
    Replies(usize),
}

impl Default for Expect {
    fn default() -> Self {
        Expect::List(Vec::new())
    }
}

/// What a reader of a sequence sees at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Message {
        tokens: Vec<Result<String, Failure>>,
        whole: Result<String, Failure>,
    },
    Error(Failure),
}

/// An error, as far as it can be told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failure {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) cancelled: bool,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        Failure {
            name: error.type_name().into(),
            text: error.to_string(),
            cancelled: error.is_cancelled(),
        }
    }

    /// How it is read as a message.
    fn as_text(&self) -> String {
        format!("{}: {}", self.name, self.text)
    }
}

impl Entry {
    fn text(label: &str) -> Self {
        Entry::Message {
            tokens: vec![Ok(label.into())],
            whole: Ok(label.into()),
        }
    }

    /// It as read where errors are messages.
    pub(super) fn made_safe(self) -> Self {
        match self {
            Entry::Error(failure) if !failure.cancelled => Entry::text(&failure.as_text()),
            Entry::Message { tokens, whole } => {
                let before: String = tokens.iter().flatten().map(String::as_str).collect();
                let safe = |token: Result<String, Failure>| match token {
                    Err(failure) if !failure.cancelled => Ok(format!("\n{}", failure.as_text())),
                    token => token,
                };
                let whole = match whole {
                    Err(failure) if !failure.cancelled => {
                        Ok(format!("{before}\n{}", failure.as_text()))
                    }
                    whole => whole,
                };
                Entry::Message {
                    tokens: tokens.into_iter().map(safe).collect(),
                    whole,
                }
            }
            entry => entry,
        }
    }
}

/// What all bodies share.
struct World {
    program: Program,
    calls: RefCell<Vec<Rc<Record>>>,
    events: RefCell<Vec<String>>,
    labels: Cell<usize>,
    /// How often it has sent on what it had got.
    sent_on: Cell<usize>,
    /// How many agents and tasks run.
    running: Rc<Cell<usize>>,
}

/// Counts a body as running.
struct Running(Rc<Cell<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl World {
    fn running(&self) -> Running {
        self.running.set(self.running.get() + 1);
        Running(self.running.clone())
    }

    fn label(&self, what: &str) -> String {
        self.labels.set(self.labels.get() + 1);
        format!("{what}{}", self.labels.get())
    }

    /// Whether what it has got may be sent on once more.
    fn sends_on(&self) -> bool {
        let sent_on = self.sent_on.replace(self.sent_on.get() + 1);
        sent_on < MOST_SENT_ON
    }

    fn call(&self, index: usize) -> Rc<Record> {
        self.calls.borrow()[index].clone()
    }
}

pub(super) fn run(program: &Program) -> Run {
    let world = Rc::new(World {
        program: program.clone(),
        calls: RefCell::default(),
        events: RefCell::default(),
        labels: Cell::new(0),
        sent_on: Cell::new(0),
        running: Rc::default(),
    });
    let context = MiniAgents::new().with_errors_as_messages(program.errors_as_messages);
    let main = world.clone();
    let schedule = program.schedule.clone();
    let ended = harness::run_in("every program ends", context, schedule, async move {
        let actor = Actor {
            world: main.clone(),
            who: "main".into(),
            call: None,
            ctx: None,
            kept: Rc::default(),
            open: Rc::default(),
            tasks: Rc::default(),
        };
        let body = main.program.main.clone();
        if let Err(error) = actor.act(body).await {
            actor.log(format_args!("fails: {}", Failure::of(&error).as_text()));
        }
        for call in actor.open.take() {
            call.finish();
        }
        read_everything(&main).await;
        Ok(())
    });
    let stuck = ended
        .err()
        .map(|broken: Violation| broken.what().to_owned());
    let deadlock = stuck
        .as_ref()
        .is_some_and(|stuck| stuck.contains("nothing can ever go on"));
    let trace = Trace {
        events: world.events.take(),
        stuck,
        deadlock,
    };
    let calls = world.calls.take();
    Run { trace, calls }
}

/// Reads what is there of every call, those that are made meanwhile too.
async fn read_everything(world: &Rc<World>) {
    let mut index = 0;
    loop {
        // Some go on when their replies have ended, and may call others.
        while index == world.calls.borrow().len() && world.running.get() > 0 {
            if !harness::step().await {
                std::future::pending().await
            }
        }
        if index == world.calls.borrow().len() {
            return;
        }
        let call = world.call(index);
        read_call(world, index, &call).await;
        index += 1;
    }
}

async fn read_call(world: &World, index: usize, call: &Record) {
    let replies = call.replies.get().expect("set when it is made").clone();
    let entries = read(&replies).await.0;
    for entry in &entries {
        let event = format!("the replies of call {index}: {entry:?}");
        world.events.borrow_mut().push(event);
    }
    call.late.replace(Some(entries));
    let whole = replies.await;
    let texts = |messages: Rc<[Message]>| -> Vec<String> {
        messages.iter().map(ToString::to_string).collect()
    };
    let whole = whole.map(texts).map_err(|error| Failure::of(&error));
    call.whole.replace(Some(whole));
    let messages = call.messages.get().cloned();
    if let Some(messages) = messages {
        call.received.replace(Some(read(&messages).await.0));
    }
}

/// What a reader sees, and the first error that it gets, in the sequence or in a message.
async fn read(sequence: &MessageSequencePromise) -> (Vec<Entry>, Option<Error>) {
    let (mut entries, mut first) = (Vec::new(), None);
    let mut promises = sequence.stream();
    while let Some(promise) = promises.next().await {
        let (entry, error) = read_piece(promise).await;
        entries.push(entry);
        first = first.or(error);
    }
    (entries, first)
}

async fn read_piece(promise: Result<MessagePromise>) -> (Entry, Option<Error>) {
    let promise = match promise {
        Ok(promise) => promise,
        Err(error) => return (Entry::Error(Failure::of(&error)), Some(error)),
    };
    let tokens = promise.stream().map(|token| match token {
        Ok(token) => Ok(token.to_string()),
        Err(error) => Err(Failure::of(&error)),
    });
    let tokens = tokens.collect::<Vec<_>>().await;
    let whole = promise.await;
    let error = whole.as_ref().err().cloned();
    let whole = match whole {
        Ok(message) => Ok(message.to_string()),
        Err(error) => Err(Failure::of(&error)),
    };
    (Entry::Message { tokens, whole }, error)
}

/// Who runs a body.
#[derive(Clone)]
struct Actor {
    world: Rc<World>,
    who: Rc<str>,
    /// The call in which it acts; empty for main.
    call: Option<usize>,
    ctx: Option<InteractionContext>,
    /// The calls whose replies it keeps.
    kept: Rc<RefCell<Vec<usize>>>,
    /// Those of main that are not finished.
    open: Rc<RefCell<Vec<AgentCall>>>,
    /// How many tasks it has spawned.
    tasks: Rc<Cell<usize>>,
}

type Acting<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

impl Actor {
    fn log(&self, what: impl fmt::Display) {
        let event = format!("{} {what}", self.who);
        self.world.events.borrow_mut().push(event);
    }

    fn act(&self, body: Body) -> Acting<'_> {
        Box::pin(async move {
            for step in body.iter() {
                self.step(step).await?;
            }
            Ok(())
        })
    }

    /// The replies of a kept call.
    fn kept(&self, which: usize) -> Option<(usize, MessageSequencePromise)> {
        let kept = self.kept.borrow();
        let index = *kept.get(which % kept.len().max(1))?;
        let replies = self.world.call(index).replies.get()?.clone();
        Some((index, replies))
    }

    async fn step(&self, step: &Step) -> Result<()> {
        match step {
            Step::Yield => yield_now().await,
            Step::Sleep(time) => sleep(Duration::from_millis((*time).into())).await,
            Step::Reply(item, order) => self.reply(item, *order),
            Step::Call(call) => {
                if let Some(index) = self.call(call) {
                    self.kept.borrow_mut().push(index);
                }
            }
            Step::Read(which, errors) => {
                if let Some((index, replies)) = self.kept(*which) {
                    let (entries, error) = read(&replies).await;
                    self.log(format_args!("read call {index}: {entries:?}"));
                    return raised(*errors, error);
                }
            }
            Step::Await(which, errors) => {
                if let Some((index, replies)) = self.kept(*which) {
                    let whole = replies.await;
                    let shown = whole.as_ref().map(|all| all.len()).map_err(Failure::of);
                    self.log(format_args!("awaited call {index}: {shown:?}"));
                    return raised(*errors, whole.err());
                }
            }
            Step::Glance(which, count) => {
                if let Some((index, replies)) = self.kept(*which) {
                    let mut promises = replies.stream().take((*count).into());
                    let mut seen = 0;
                    while let Some(promise) = promises.next().await {
                        let tokens = promise.map(|promise| promise.stream());
                        let first = match tokens {
                            Ok(mut tokens) => tokens.next().await.map(|token| token.is_ok()),
                            Err(_) => Some(false),
                        };
                        seen += usize::from(first == Some(true));
                    }
                    self.log(format_args!("had a glance at call {index}: {seen}"));
                }
            }
            Step::Gather => {
                let kept = self.kept.borrow().clone();
                let kept = kept.iter().filter_map(|index| {
                    let call = self.world.call(*index);
                    call.replies.get().cloned()
                });
                let gathered = gather(kept.collect::<Vec<_>>()).await;
                let sizes: Vec<_> = gathered
                    .iter()
                    .map(|whole| whole.as_ref().map(|all| all.len()).map_err(Failure::of))
                    .collect();
                self.log(format_args!("gathered {sizes:?}"));
            }
            Step::Cancel(which) => {
                if let Some((index, replies)) = self.kept(*which) {
                    let call = self.world.call(index);
                    // What is stopped may run user code at once.
                    let before = call.cancelled.replace(true);
                    let stopped = replies.cancel();
                    call.cancelled.set(before || stopped);
                    self.log(format_args!("cancelled call {index}: {stopped}"));
                }
            }
            Step::Spawn(body) => drop(self.spawn(body)),
            Step::SpawnAndWait(body) => {
                let task = self.spawn(body);
                if let Some(ctx) = &self.ctx {
                    ctx.make_sure_to_wait(task);
                }
            }
            Step::FinishEarly => {
                if let (Some(ctx), Some(index), 0) = (&self.ctx, self.call, self.depth()) {
                    ctx.finish_early().await;
                    self.world.call(index).closed.set(true);
                    self.log("finished early");
                }
            }
            Step::Fail => return Err(Error::msg(self.world.label("failure "))),
            Step::Panic => {
                self.log("panics");
                if let (Some(index), 0) = (self.call, self.depth()) {
                    let alias = self.ctx.as_ref().map_or("", |ctx| ctx.this_agent().alias());
                    let failure = Failure {
                        name: "PanicError".into(),
                        text: format!("agent `{alias}` panicked: on purpose"),
                        cancelled: false,
                    };
                    self.world.call(index).failed.replace(Some(failure));
                }
                if self.call.is_some() || self.depth() > 0 {
                    // As a panic does, but without telling the hook, which fuzzers take for a find.
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
            }
        }
        Ok(())
    }

    /// How many tasks it is in.
    fn depth(&self) -> usize {
        self.who.matches('.').count()
    }

    fn spawn(&self, body: &Body) -> crate::promise::Started<()> {
        self.tasks.set(self.tasks.get() + 1);
        let task = Actor {
            who: format!("{}.{}", self.who, self.tasks.get()).into(),
            tasks: Rc::default(),
            ..self.clone()
        };
        let (body, running) = (body.clone(), self.world.running());
        MiniAgents::current().start_soon(async move {
            let _running = running;
            task.log("starts");
            let ended = task.act(body).await;
            let shown = ended.as_ref().map_err(Failure::of);
            task.log(format_args!("ends: {shown:?}"));
            Ok(())
        })
    }

    fn reply(&self, item: &Item, order: Order) {
        let (Some(ctx), Some(index)) = (&self.ctx, self.call) else {
            // Main has nobody to reply to, and asks the first agent.
            if !self.world.program.agents.is_empty() {
                let call = Call {
                    agent: 0,
                    input: item.clone(),
                    start: None,
                    errors_as_messages: None,
                    open: false,
                    timeout: None,
                };
                let index = self.call(&call);
                self.kept.borrow_mut().extend(index);
            }
            return;
        };
        let (messages, expect) = self.item(item);
        let replied = match order {
            Order::InOrder => ctx.try_reply(messages),
            Order::OutOfOrder => ctx.try_reply_out_of_order(messages),
        };
        match replied {
            Ok(()) => {
                self.log(format_args!("replies {order:?}"));
                let call = self.world.call(index);
                call.replied.borrow_mut().push((order, expect));
            }
            Err(error) => {
                assert!(error.is_closed() || error.is_cancelled(), "{error}");
                self.log("is too late to reply");
            }
        }
    }

    /// Makes something to send, and says what it should arrive as.
    fn item(&self, item: &Item) -> (Messages, Expect) {
        match item {
            Item::Text => {
                let label = self.world.label("text ");
                let expect = Expect::Entry(Entry::text(&label));
                (label.into_messages(), expect)
            }
            Item::Tokens(tokens) => self.tokens(tokens),
            Item::List(items) => {
                let (parts, expects): (Vec<_>, Vec<_>) =
                    items.iter().map(|item| self.item(item)).unzip();
                (Messages::list(parts), Expect::List(expects))
            }
            Item::Error => {
                let error = Error::msg(self.world.label("error "));
                let expect = Expect::Entry(Entry::Error(Failure::of(&error)));
                (error.into_messages(), expect)
            }
            Item::Input => match (&self.ctx, self.call) {
                (Some(ctx), Some(index)) if self.world.sends_on() => {
                    (ctx.messages().into_messages(), Expect::Input(index))
                }
                _ => (Messages::none(), Expect::default()),
            },
            Item::Kept(which) => match self.kept(*which) {
                Some((index, replies)) if self.world.sends_on() => {
                    (replies.into_messages(), Expect::Replies(index))
                }
                _ => (Messages::none(), Expect::default()),
            },
            Item::Call(call) => match self.call(call) {
                Some(index) => {
                    let replies = self.world.call(index).replies.get().cloned();
                    (replies.into_messages(), Expect::Replies(index))
                }
                None => (Messages::none(), Expect::default()),
            },
        }
    }

    /// A message that a task of its own writes.
    fn tokens(&self, tokens: &[Token]) -> (Messages, Expect) {
        let appender = MessageTokenAppender::new().with_capture_errors(true);
        let made = appender
            .open()
            .and_then(|appender| MessagePromise::of(MessageClass::TEXT).append_from(appender));
        let mut labelled = Vec::new();
        let mut expected = Vec::new();
        for token in tokens {
            let label = match token {
                Token::Text => self.world.label("t"),
                Token::Error => self.world.label("token error "),
                _ => String::new(),
            };
            match token {
                Token::Text => expected.push(Ok(label.clone())),
                Token::Error => expected.push(Err(Failure::of(&Error::msg(&label)))),
                Token::Panic => expected.push(Err(Failure {
                    name: "CancelledError".into(),
                    text: "the appender was dropped before it was closed".into(),
                    cancelled: true,
                })),
                Token::Yield | Token::Sleep(_) => {}
            }
            labelled.push((*token, label));
            if matches!(token, Token::Error | Token::Panic) {
                break;
            }
        }
        let writing = MiniAgents::current().start_soon(async move {
            let written = appender.clone();
            appender
                .fill(async move {
                    for (token, label) in labelled {
                        match token {
                            Token::Text => drop(written.append(label)?),
                            Token::Yield => yield_now().await,
                            Token::Sleep(time) => sleep(Duration::from_millis(time.into())).await,
                            Token::Error => return Err(Error::msg(label)),
                            Token::Panic => std::panic::resume_unwind(Box::new("on purpose")),
                        }
                    }
                    Ok(())
                })
                .await
        });
        writing.detach();
        let text = expected.iter().cloned().collect::<Result<String, _>>();
        let entry = Entry::Message {
            tokens: expected,
            whole: text,
        };
        (made.into_messages(), Expect::Entry(entry))
    }

    /// Calls an agent; the number of the call, unless there are too many.
    fn call(&self, call: &Call) -> Option<usize> {
        // What is sent may make calls of its own.
        let (input, expect) = self.item(&call.input);
        let index = self.world.calls.borrow().len();
        if index >= MOST_CALLS {
            return None;
        }
        let mut options = CallOptions::new().with_start(Start::from(call.start));
        if let Some(as_messages) = call.errors_as_messages {
            options = options.with_errors_as_messages(as_messages);
        }
        if let Some(timeout) = call.timeout {
            options = options.with_timeout(Duration::from_millis(timeout.into()));
        }
        let record = Rc::new(Record {
            caller: self.call,
            safe: call
                .errors_as_messages
                .unwrap_or(self.world.program.errors_as_messages),
            timeout: call.timeout.is_some(),
            unfinished: call.open && self.depth() > 0,
            input: RefCell::new(expect),
            ..Record::default()
        });
        self.world.calls.borrow_mut().push(record.clone());
        let made = agent(&self.world, call.agent, index).initiate_call_with(options);
        made.send_message(input);
        self.log(format_args!("makes call {index}, of a{}", call.agent));
        let _ = record.replies.set(made.replies().clone());
        if !call.open {
            made.finish();
        } else if self.call.is_none() {
            self.open.borrow_mut().push(made.clone());
        }
        if index.is_multiple_of(2) && call.start != Some(false) {
            record.has_early.set(true);
            let replies = made.replies().clone();
            // Leaving the context waits for it.
            let reading = MiniAgents::current().start_soon(async move {
                let entries = read(&replies).await.0;
                record.early.replace(Some(entries));
                Ok(())
            });
            reading.detach();
        }
        Some(index)
    }
}

fn raised(errors: Errors, error: Option<Error>) -> Result<()> {
    match error {
        Some(error) if errors == Errors::Raised => Err(error),
        _ => Ok(()),
    }
}

/// An agent of the program, for one call.
fn agent(world: &Rc<World>, number: usize, index: usize) -> MiniAgent {
    let world = world.clone();
    let act = move |ctx: InteractionContext| {
        let world = world.clone();
        async move {
            let _running = world.running();
            let call = world.call(index);
            let _ = call.messages.set(ctx.messages().clone());
            let actor = Actor {
                who: format!("a{number}#{index}").into(),
                call: Some(index),
                ctx: Some(ctx),
                kept: Rc::default(),
                open: Rc::default(),
                tasks: Rc::default(),
                world: world.clone(),
            };
            actor.log("starts");
            let ended = actor.act(world.program.agents[number].clone()).await;
            if let Err(error) = &ended {
                call.failed.replace(Some(Failure::of(error)));
            }
            actor.log(format_args!(
                "ends: {:?}",
                ended.as_ref().map_err(Failure::of)
            ));
            ended
        }
    };
    MiniAgent::new(act).with_alias(format!("a{number}"))
}
