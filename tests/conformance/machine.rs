//! The interpreter of conformance programs, on the public interface of the crate.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{FutureExt, Stream, StreamExt};
use log::LevelFilter;
use miniagents::dialog::{AgentChain, AgentLoop, Link};
use miniagents::executor::{Awaitable, Notify, gather, sleep, yield_now};
use miniagents::{
    Agent, AgentCall, CallOptions, Emitter, Error, Frozen, InteractionContext, IntoMessages, Join,
    Message, MessageClass, MessagePromise, MessageSequence, MessageSequenceAppender,
    MessageSequencePromise, MessageStream, MessageTokenAppender, Messages, MiniAgent, MiniAgents,
    Promise, Replay, Result, Start, Started, StreamAppender, StreamedPromise, Token, TokenStream,
    Value as FrozenValue, display_agent_trace, generate, join_messages,
};

use super::json::Json;

/// Who polls the program.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// The executor of the crate.
    Own,
    /// `futures_lite::future::block_on`.
    FuturesLite,
    /// A task of smol's local executor.
    Smol,
}

/// What is done where the Python package slips in a way that nobody wants mirrored:
///
/// - a chain that ends cleared replies with nothing; in Python that is a `TypeError`;
/// - calls that nobody finished are finished in the order in which they were made; in Python they
///   are a set, so that their order is that of memory addresses: any is accepted;
/// - waiting for a promise on demand together with others starts it; in Python it does not, and
///   nobody ever goes on;
/// - joining messages of which one is itself joined works; in Python the next message after it is an
///   `AttributeError`, because the list of originals has become a tuple.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Accidents {
    /// What the crate does.
    Mended,
    /// What Python does, so that the rest of such a program can be compared too; the number chooses
    /// an order of closing.
    Mirrored(u64),
}

/// More steps than any sensible program takes.
const RUNAWAY: usize = 200_000;

/// What a program did, line by line, and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) trace: Vec<(String, String)>,
    pub(crate) outcome: String,
}

/// Runs one program; gives what it did and how it ended.
pub(crate) fn run(program: &Json, host: Host, accidents: Accidents) -> Done {
    // Steps are referred to from everywhere and for ever; a test can afford to keep them.
    let program: &'static Json = Box::leak(Box::new(program.clone()));
    let settings = &program["settings"];
    let flag = |name: &str, default| settings[name].as_bool().unwrap_or(default);
    let miniagents = MiniAgents::new()
        .with_virtual_clock()
        .with_error_level(LevelFilter::Off)
        .with_start_soon(flag("start_soon", true))
        .with_errors_as_messages(flag("errors_as_messages", false));
    let machine = Rc::new(Machine {
        miniagents: miniagents.clone(),
        accidents,
        order: Cell::new(if let Accidents::Mirrored(order) = accidents {
            order
        } else {
            0
        }),
        agents: RefCell::default(),
        trace: RefCell::default(),
        counters: RefCell::default(),
        instances: RefCell::default(),
        kept: RefCell::default(),
        steps: Cell::new(0),
    });
    let tracer = machine.clone();
    if flag("persist", false) {
        miniagents.on_persist_messages(move |messages| {
            let tracer = tracer.clone();
            async move {
                for message in messages.iter() {
                    let what = format!("{} {}", message.class_name(), message.hash_key());
                    tracer.log("persist", what);
                }
                Ok(())
            }
        });
    }
    let tracer = machine.clone();
    if flag("resolved", false) {
        miniagents.on_promise_resolved(move |resolved| {
            let tracer = tracer.clone();
            async move {
                let message = resolved.downcast_ref::<Message>();
                tracer.log("resolved", message.map_or("a value", Message::class_name));
                Ok(())
            }
        });
    }
    for (name, spec) in program["agents"].fields() {
        let agent = machine.make_agent(name, spec);
        machine.agents.borrow_mut().insert(name.clone(), agent);
    }

    let frame = machine.frame("main".into(), Env::default(), None);
    let main = async move {
        let ended = frame.run(steps(&program["main"])).await.map(drop);
        frame.finish_calls();
        ended
    };
    let ended = match host {
        Host::Own => miniagents.run(main),
        Host::FuturesLite => futures_lite::future::block_on(miniagents.scope(main)),
        Host::Smol => {
            let executor = smol::LocalExecutor::new();
            let task = executor.spawn(async move { miniagents.scope(main).await });
            smol::block_on(executor.run(task))
        }
    };
    let outcome = match ended {
        Ok(()) => "ok".into(),
        Err(error) if error.is_deadlock() => "deadlock".into(),
        Err(error) => format!("error {}", describe_error(&error)),
    };
    let trace = machine.trace.take();
    machine.agents.take();
    for frame in machine.kept.take() {
        frame.env.take();
    }
    Done { trace, outcome }
}

/// What a program runs on.
struct Machine {
    miniagents: MiniAgents,
    accidents: Accidents,
    /// What is left of the number that chooses orders.
    order: Cell<u64>,
    agents: RefCell<HashMap<String, MiniAgent>>,
    trace: RefCell<Vec<(String, String)>>,
    counters: RefCell<HashMap<String, i64>>,
    instances: RefCell<HashMap<String, usize>>,
    /// Bodies live as long as their program, so that nothing they made goes out of use.
    kept: RefCell<Vec<Rc<Frame>>>,
    steps: Cell<usize>,
}

impl Machine {
    /// One of so many, as the number of the run says.
    fn choose(&self, among: usize) -> usize {
        let (order, among) = (self.order.get(), among as u64);
        self.order.set(order / among);
        (order % among) as usize
    }

    fn log(&self, who: &str, what: impl Into<String>) {
        self.trace.borrow_mut().push((who.into(), what.into()));
    }

    fn frame(self: &Rc<Self>, who: String, env: Env, ctx: Option<InteractionContext>) -> Rc<Frame> {
        let frame = Rc::new(Frame {
            machine: self.clone(),
            who,
            env,
            ctx,
            token_appender: None,
            calls: Rc::default(),
        });
        self.kept.borrow_mut().push(frame.clone());
        frame
    }

    fn make_agent(self: &Rc<Self>, name: &str, spec: &'static Json) -> MiniAgent {
        let (machine, alias) = (Rc::downgrade(self), name.to_string());
        let body = move |ctx: InteractionContext| {
            let machine = machine.upgrade();
            let alias = alias.clone();
            async move {
                let Some(machine) = machine else {
                    return Ok(());
                };
                let number = {
                    let mut instances = machine.instances.borrow_mut();
                    let number = instances.entry(alias.clone()).or_default();
                    *number += 1;
                    *number
                };
                let env = Env::default();
                env.borrow_mut()
                    .insert("input".into(), Var::Seq(ctx.messages().clone()));
                let frame = machine.frame(format!("{alias}#{number}"), env, Some(ctx));
                let ended = frame.run(steps(&spec["steps"])).await.map(drop);
                frame.finish_calls();
                ended
            }
        };
        let mut agent = MiniAgent::new(body).with_alias(spec["alias"].as_str().unwrap_or(name));
        for (key, value) in spec["kw"].fields() {
            agent = agent.with(key.as_str(), frozen(value));
        }
        agent
    }

    fn agent(&self, name: &Json) -> MiniAgent {
        self.agents.borrow()[name.as_str().unwrap()].clone()
    }

    fn links(&self, links: &Json) -> Vec<Option<Link>> {
        let link = |link: &Json| match link.as_str() {
            None => None,
            Some("AWAIT") => Some(Link::Await),
            Some("CLEAR") => Some(Link::Clear),
            Some(_) => Some(Link::Agent(self.agent(link))),
        };
        links.items().iter().map(link).collect()
    }
}

/// The variables of a body, shared by its closures.
type Env = Rc<RefCell<HashMap<String, Var>>>;

/// What a variable can hold.
#[derive(Clone)]
enum Var {
    Nothing,
    Text(String),
    Error(Error),
    List(Vec<Var>),
    Token(Token),
    Message(Message),
    Msg(MessagePromise),
    Seq(MessageSequencePromise),
    Messages(Rc<[Message]>),
    Task(Rc<Started<()>>),
    Promise(Promise<Var>),
    Streamed(StreamedPromise<Var, Var>),
    Call(AgentCall),
    Appender(StreamAppender<Var>),
    SeqAppender(MessageSequenceAppender),
    Iter(Rc<Iter>),
}

/// What goes over the pieces of something.
enum Pieces {
    Seq(MessageStream),
    Msg(TokenStream),
    Streamed(Replay<Var, Var>),
}

impl Pieces {
    fn index(&self) -> usize {
        match self {
            Pieces::Seq(stream) => stream.index(),
            Pieces::Msg(stream) => stream.index(),
            Pieces::Streamed(stream) => stream.index(),
        }
    }

    fn skip_to(&mut self, index: usize) {
        match self {
            Pieces::Seq(stream) => stream.skip_to(index),
            Pieces::Msg(stream) => stream.skip_to(index),
            Pieces::Streamed(stream) => stream.skip_to(index),
        }
    }
}

impl Stream for Pieces {
    type Item = Result<Var>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Var>>> {
        match &mut *self {
            Pieces::Seq(stream) => stream
                .poll_next(cx)
                .map(|next| next.map(|piece| piece.map(Var::Msg))),
            Pieces::Msg(stream) => stream
                .poll_next(cx)
                .map(|next| next.map(|piece| piece.map(Var::Token))),
            Pieces::Streamed(stream) => stream.poll_next(cx),
        }
    }
}

/// An iterator as Python has it: several bodies may wait for its next piece at once, and whoever
/// gets one moves all of them on.
struct Iter {
    source: Var,
    index: Cell<usize>,
}

impl Iter {
    async fn next(&self) -> Option<Result<Var>> {
        let mut pieces = self.source.pieces();
        let next = poll_fn(|cx| {
            pieces.skip_to(self.index.get());
            pieces.poll_next(cx)
        })
        .await;
        self.index.set(pieces.index());
        next
    }
}

impl Var {
    fn describe(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        match self {
            Var::Nothing => "nothing".into(),
            Var::Error(error) => format!("!{}", describe_error(error)),
            Var::List(list) => {
                let list: Vec<String> = list.iter().map(Var::describe).collect();
                format!("[{}]", list.join(", "))
            }
            Var::Messages(messages) => {
                let list: Vec<String> = messages.iter().map(|one| quoted(one.text())).collect();
                format!("[{}]", list.join(", "))
            }
            Var::Text(text) => quoted(text),
            Var::Token(token) => quoted(token.as_str()),
            Var::Message(message) => quoted(message.text()),
            Var::Msg(_) => "a message promise".into(),
            Var::Seq(_) => "a sequence promise".into(),
            _ => panic!("this is never described"),
        }
    }

    /// What `async for` goes over.
    fn pieces(&self) -> Pieces {
        match self {
            Var::Seq(sequence) => Pieces::Seq(sequence.stream()),
            Var::Msg(promise) => Pieces::Msg(promise.stream()),
            Var::Streamed(promise) => Pieces::Streamed(promise.stream()),
            _ => panic!("nothing can go over this"),
        }
    }

    /// What `await` gives.
    async fn wait(&self) -> Result<Var> {
        match self {
            Var::Seq(sequence) => sequence.await.map(Var::Messages),
            Var::Msg(promise) => promise.await.map(Var::Message),
            Var::Promise(promise) => promise.await,
            Var::Streamed(promise) => promise.await,
            Var::Task(task) => {
                task.finished().await;
                Ok(Var::Nothing)
            }
            _ => panic!("nobody can wait for this"),
        }
    }

    fn into_messages(self) -> Messages {
        match self {
            Var::Nothing => Messages::none(),
            Var::Text(text) => text.into_messages(),
            Var::Message(message) => message.into_messages(),
            Var::Msg(promise) => promise.into_messages(),
            Var::Seq(sequence) => sequence.into_messages(),
            Var::Messages(messages) => messages.into_messages(),
            Var::Error(error) => error.into_messages(),
            Var::List(list) => Messages::list(list.into_iter().map(Var::into_messages)),
            _ => panic!("this cannot be sent"),
        }
    }
}

/// Something that is waited for without being started.
struct NotStarted(Var);

impl Awaitable for NotStarted {
    type Output = Var;

    fn start(&self) {}

    fn outcome(&self) -> Option<Var> {
        self.0.outcome()
    }

    fn notify(&self, notify: Notify) {
        self.0.notify(notify);
    }
}

/// Gathering gives errors as values.
impl Awaitable for Var {
    type Output = Var;

    fn start(&self) {
        match self {
            Var::Seq(sequence) => sequence.start(),
            Var::Msg(promise) => promise.start(),
            Var::Promise(promise) => promise.start(),
            Var::Streamed(promise) => promise.start(),
            _ => {}
        }
    }

    fn outcome(&self) -> Option<Var> {
        let outcome = match self {
            Var::Seq(sequence) => sequence.outcome()?.map(Var::Messages),
            Var::Msg(promise) => promise.outcome()?.map(Var::Message),
            Var::Promise(promise) => promise.outcome()?,
            Var::Streamed(promise) => promise.outcome()?,
            Var::Task(task) => task.outcome().map(|()| Ok(Var::Nothing))?,
            _ => panic!("nobody can wait for this"),
        };
        Some(outcome.unwrap_or_else(Var::Error))
    }

    fn notify(&self, notify: Notify) {
        match self {
            Var::Seq(sequence) => sequence.notify(notify),
            Var::Msg(promise) => promise.notify(notify),
            Var::Promise(promise) => promise.notify(notify),
            Var::Streamed(promise) => promise.notify(notify),
            Var::Task(task) => task.notify(notify),
            _ => panic!("nobody can wait for this"),
        }
    }
}

macro_rules! python_errors {
    ($($name:ident)+) => {
        $(
            #[derive(Debug)]
            struct $name(String);

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl std::error::Error for $name {}
        )+
    };
}

python_errors!(ValueError RuntimeError LookupError KeyError TypeError AttributeError);

fn python_error(kind: &str, text: &str) -> Error {
    let text = text.to_string();
    match kind {
        "ValueError" => ValueError(text).into(),
        "RuntimeError" => RuntimeError(text).into(),
        "LookupError" => LookupError(text).into(),
        other => panic!("unknown error {other}"),
    }
}

fn describe_error(error: &Error) -> String {
    let spelled_out = error.downcast_ref::<ValueError>().is_some()
        || error.downcast_ref::<RuntimeError>().is_some()
        || error.downcast_ref::<LookupError>().is_some();
    if spelled_out {
        format!("{}: {error}", error.type_name())
    } else {
        error.type_name().to_string()
    }
}

fn steps(value: &'static Json) -> &'static [Json] {
    value.items()
}

fn text(value: &Json) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("this should be text: {value}"))
}

/// A plain value of a program, frozen.
fn frozen(value: &Json) -> FrozenValue {
    FrozenValue::from_serialize(value).unwrap()
}

fn fields(object: &Json) -> Vec<(&str, FrozenValue)> {
    object
        .fields()
        .iter()
        .map(|(key, value)| (key.as_str(), frozen(value)))
        .collect()
}

type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// One running body.
struct Frame {
    machine: Rc<Machine>,
    who: String,
    env: Env,
    ctx: Option<InteractionContext>,
    token_appender: Option<MessageTokenAppender>,
    /// The calls that the agent, or the main body, has made.
    calls: Rc<RefCell<Vec<AgentCall>>>,
}

impl Frame {
    /// A body written inside this one: it shares the variables and is named after its place.
    fn closure(&self, suffix: &str, token_appender: Option<MessageTokenAppender>) -> Rc<Frame> {
        let frame = Rc::new(Frame {
            machine: self.machine.clone(),
            who: format!("{}.{suffix}", self.who),
            env: self.env.clone(),
            ctx: self.ctx.clone(),
            token_appender,
            calls: self.calls.clone(),
        });
        self.machine.kept.borrow_mut().push(frame.clone());
        frame
    }

    fn log(&self, what: impl Into<String>) {
        self.machine.log(&self.who, what);
    }

    fn get(&self, name: &str) -> Result<Var> {
        let value = self.env.borrow().get(name).cloned();
        value.ok_or_else(|| KeyError(format!("'{name}'")).into())
    }

    fn set(&self, name: &Json, value: Var) {
        let before = self.env.borrow_mut().insert(text(name).into(), value);
        drop(before);
    }

    fn ctx(&self) -> &InteractionContext {
        self.ctx.as_ref().expect("only agents do this")
    }

    /// Something to wait for together with others.
    fn to_wait_for(&self, value: Var) -> Box<dyn Awaitable<Output = Var>> {
        match self.machine.accidents {
            Accidents::Mended => Box::new(value),
            Accidents::Mirrored(_) => Box::new(NotStarted(value)),
        }
    }

    /// Finishes the calls that are left in an order that a Python set might have.
    fn finish_calls(&self) {
        if self.machine.accidents == Accidents::Mended {
            return;
        }
        let mut calls = self.calls.take();
        calls.retain(|call| !call.is_finished());
        while !calls.is_empty() {
            let place = self.machine.choose(calls.len());
            calls.remove(place).finish();
        }
    }

    fn call(&self, name: &Json) -> Result<AgentCall> {
        match self.get(text(name))? {
            Var::Call(call) => Ok(call),
            _ => panic!("{name} is no call"),
        }
    }

    fn appender(&self, name: &Json) -> Result<StreamAppender<Var>> {
        match self.get(text(name))? {
            Var::Appender(appender) => Ok(appender),
            _ => panic!("{name} is no appender"),
        }
    }

    // ---- items

    fn item(self: &Rc<Self>, spec: &'static Json) -> Result<Messages> {
        if let Some((kind, value)) = spec.fields().first() {
            if kind == "aiter" {
                let items = self
                    .closure("aiter", None)
                    .generate(steps(value), Frame::item);
                return Ok(Messages::from_stream(items));
            }
            if kind == "list" {
                let parts: Result<Vec<_>> =
                    steps(value).iter().map(|part| self.item(part)).collect();
                return Ok(Messages::list(parts?));
            }
        }
        Ok(self.value(spec)?.into_messages())
    }

    fn value(self: &Rc<Self>, spec: &'static Json) -> Result<Var> {
        let (kind, value) = match spec {
            Json::Null => return Ok(Var::Nothing),
            Json::Text(text) => return Ok(Var::Text(text.clone())),
            Json::Object(fields) => &fields[0],
            other => panic!("no item: {other}"),
        };
        Ok(match kind.as_str() {
            "msg" => {
                let mut message = Message::of(MessageClass::TEXT);
                for (key, value) in fields(value) {
                    message = message.with(key, value);
                }
                Var::Message(message.build()?)
            }
            "obj" => Var::Message(Message::from_fields(&Frozen::from_serialize(value)?)?),
            "list" => {
                let parts: Result<Vec<_>> =
                    steps(value).iter().map(|part| self.value(part)).collect();
                Var::List(parts?)
            }
            "var" => self.get(text(value))?,
            "err" => Var::Error(python_error(text(&value[0]), text(&value[1]))),
            other => panic!("unknown item {other}"),
        })
    }

    // ---- bodies that yield

    /// A stream of what the steps emit, each made by `item`.
    fn generate<T: 'static>(
        self: Rc<Self>,
        steps: &'static [Json],
        item: fn(&Rc<Frame>, &'static Json) -> Result<T>,
    ) -> impl Stream<Item = Result<T>> {
        generate(move |out| async move { self.emit_all(steps, item, &out).await })
    }

    fn emit_all<'a, T: 'static>(
        self: &'a Rc<Self>,
        steps_left: &'static [Json],
        item: fn(&Rc<Frame>, &'static Json) -> Result<T>,
        out: &'a Emitter<T>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            for step in steps_left {
                match text(&step[0]) {
                    "emit" => out.emit(item(self, &step[1])?).await,
                    "repeat" => {
                        for _ in 0..step[1].as_u64().unwrap() {
                            self.emit_all(steps(&step[2]), item, out).await?;
                        }
                    }
                    _ => drop(self.step(step).await?),
                }
            }
            Ok(())
        })
    }

    // ---- bodies that run

    fn run(self: &Rc<Self>, steps: &'static [Json]) -> Local<Result<Option<Var>>> {
        let frame = self.clone();
        Box::pin(async move {
            for step in steps {
                if let Some(value) = frame.step(step).await? {
                    return Ok(Some(value));
                }
            }
            Ok(None)
        })
    }

    /// Runs `steps` while something is open, and closes it with what they came to.
    async fn run_and<T>(
        self: &Rc<Self>,
        steps: &'static [Json],
        close: impl FnOnce(Result<()>) -> Result<T>,
    ) -> Result<T> {
        close(self.run(steps).await.map(drop))
    }

    async fn step(self: &Rc<Self>, step: &'static Json) -> Result<Option<Var>> {
        let taken = self.machine.steps.get() + 1;
        self.machine.steps.set(taken);
        assert!(taken < RUNAWAY, "the program runs away");

        let (kind, one, two, three) = (text(&step[0]), &step[1], &step[2], &step[3]);
        match kind {
            "log" => self.log(text(one)),
            "yield" => {
                for _ in 0..one.as_u64().unwrap_or(1) {
                    yield_now().await;
                }
            }
            "sleep" => sleep(Duration::from_millis(one.as_u64().unwrap())).await,
            "return" => return Ok(Some(Var::Text(text(one).into()))),
            "raise" => return Err(python_error(text(one), text(two))),
            "try" => {
                return match self.run(steps(one)).await {
                    Err(error) => {
                        self.log(format!("caught {}", describe_error(&error)));
                        self.run(steps(two)).await
                    }
                    done => done,
                };
            }
            "count" => {
                let count = {
                    let mut counters = self.machine.counters.borrow_mut();
                    let count = counters.entry(text(one).into()).or_default();
                    *count += 1;
                    *count
                };
                self.log(format!("{} is {count}", text(one)));
            }
            "raise_at" => {
                let count = self.machine.counters.borrow().get(text(one)).copied();
                if count.unwrap_or(0) >= two.as_i64().unwrap() {
                    return Err(python_error(text(three), text(&step[4])));
                }
            }
            "spawn" => {
                let body = self.closure(text(one), None).run(steps(two));
                let task = self
                    .machine
                    .miniagents
                    .start_soon(async { body.await.map(drop) });
                self.set(one, Var::Task(Rc::new(task)));
            }
            "await" => {
                let value = self.get(text(one))?.wait().await?;
                self.log(format!("{} = {}", text(one), value.describe()));
                if !two.is_null() {
                    self.set(two, value);
                }
            }
            "gather" => {
                let names = one.items().iter();
                let values: Result<Vec<_>> = names.map(|name| self.get(text(name))).collect();
                let values = values?.into_iter().map(|value| self.to_wait_for(value));
                let values = gather(values).await;
                let values: Vec<_> = values.iter().map(Var::describe).collect();
                self.log(format!("gathered {}", values.join(" | ")));
            }
            "each" => {
                let mut pieces = self.get(text(one))?.pieces();
                while let Some(piece) = pieces.next().await {
                    self.set(two, piece?);
                    self.run(steps(three)).await?;
                }
            }
            "iter" => {
                let iterator = Iter {
                    source: self.get(text(two))?,
                    index: Cell::new(0),
                };
                self.set(one, Var::Iter(Rc::new(iterator)));
            }
            "next" => {
                let Var::Iter(iterator) = self.get(text(one))? else {
                    panic!("no iterator")
                };
                match iterator.next().await {
                    Some(piece) => self.set(two, piece?),
                    None => self.log(format!("{} ended", text(one))),
                }
            }
            "pieces" => {
                let mut pieces = self.get(text(one))?.pieces();
                while let Some(piece) = pieces.next().await {
                    self.log(format!("{} > {}", text(one), piece?.describe()));
                }
            }
            "promise" => {
                let frame = self.closure(text(one), None);
                let work = frame.run(steps(two));
                let work = async move { work.await.map(|value| value.unwrap_or(Var::Nothing)) };
                self.set(one, Var::Promise(Promise::with_start(start(three), work)));
            }
            "streamed" => {
                let frame = self.closure(text(one), None);
                let pieces = frame.generate(steps(two), Frame::value).map(raised);
                self.set(one, streamed(start(three), pieces));
            }
            "appender" => {
                let capture = two["capture"].as_bool().unwrap_or(true);
                let appender = StreamAppender::new().with_capture_errors(capture);
                self.set(one, Var::Appender(appender));
            }
            "with" => {
                let appender = self.appender(one)?;
                appender.open()?;
                self.run_and(steps(two), |result| match result {
                    Ok(()) => {
                        appender.close();
                        Ok(())
                    }
                    Err(error) => appender.close_with(error),
                })
                .await?;
            }
            "append" => {
                self.appender(one)?.append(Var::Text(text(two).into()))?;
            }
            "streamed_from" => {
                let pieces = self.appender(two)?.stream();
                self.set(one, streamed(start(three), pieces));
            }
            _ => return self.message_step(step).await,
        }
        Ok(None)
    }

    /// The steps that have to do with messages and agents.
    async fn message_step(self: &Rc<Self>, step: &'static Json) -> Result<Option<Var>> {
        let (kind, one, two, three) = (text(&step[0]), &step[1], &step[2], &step[3]);
        match kind {
            "reply" => self.ctx().try_reply(self.item(one)?)?,
            "reply_ooo" => self.ctx().try_reply_out_of_order(self.item(one)?)?,
            "trigger" => {
                let (agent, options) = (self.machine.agent(two), call_options(&step[4]));
                let item = self.item(three)?;
                self.set(one, Var::Seq(agent.trigger_with(item, options)));
            }
            "call" => {
                let agent = self.machine.agent(two);
                let call = agent.initiate_call_with(call_options(three));
                self.calls.borrow_mut().push(call.clone());
                self.set(one, Var::Call(call));
            }
            "send" => {
                let call = self.call(one)?;
                call.try_send_message(self.item(two)?)?;
            }
            "send_ooo" => {
                let call = self.call(one)?;
                call.try_send_out_of_order(self.item(two)?)?;
            }
            "finish" => drop(self.call(one)?.finish()),
            "reply_seq" => {
                let call = self.call(two)?;
                let finish = three.as_bool().unwrap_or(true);
                let replies = if finish {
                    call.reply_sequence()
                } else {
                    call.replies().clone()
                };
                self.set(one, Var::Seq(replies));
            }
            "wait_for" => self
                .ctx()
                .make_sure_to_wait(self.to_wait_for(self.get(text(one))?)),
            "wait_for_steps" => {
                let body = self.closure("wait", None).run(steps(one));
                let task = self
                    .machine
                    .miniagents
                    .start_soon(async { body.await.map(drop) });
                self.ctx().make_sure_to_wait(task);
            }
            "await_now" => self.ctx().await_now().await,
            "finish_early" => self.ctx().finish_early().await,
            "agent_trace" => {
                let trace = InteractionContext::try_current()?.agent_trace();
                self.log(display_agent_trace(&trace));
            }
            "kw" => {
                let argument = self.ctx().arguments().get(text(one)).cloned();
                let argument = argument.unwrap_or(FrozenValue::Null);
                self.log(Frozen::new().with(text(one), argument).serialized());
            }
            "chain" => {
                let links = self.machine.links(two);
                let last = links
                    .iter()
                    .flatten()
                    .rfind(|link| !matches!(link, Link::Await));
                let ends_cleared = matches!(last, Some(Link::Clear));
                let chain = links
                    .into_iter()
                    .fold(AgentChain::new(), AgentChain::then_maybe);
                let chain = if ends_cleared && self.machine.accidents != Accidents::Mended {
                    MiniAgent::new(FailsInTheEnd(chain)).with_alias("AGENT_CHAIN")
                } else {
                    MiniAgent::new(chain)
                };
                self.set(one, Var::Seq(chain.trigger(self.item(three)?)));
            }
            "loop" => {
                let links = self.machine.links(two).into_iter();
                let endless = links.fold(AgentLoop::new(), AgentLoop::then_maybe);
                let endless = MiniAgent::new(endless);
                self.set(one, Var::Seq(endless.trigger(self.item(three)?)));
            }
            "hash" => {
                let Var::Msg(promise) = self.get(text(one))? else {
                    panic!("no message")
                };
                self.log(format!("{} # {}", text(one), promise.await?.hash_key()));
            }
            "known" => {
                let Var::Msg(promise) = self.get(text(one))? else {
                    panic!("no message")
                };
                let known = promise.known_beforehand().fields();
                let known = known
                    .filter(|(key, value)| !(*key == "content_template" && value.is_null()))
                    .fold(Frozen::new(), |all, (key, value)| {
                        all.with(key, value.clone())
                    });
                self.log(format!("{} knows {}", text(one), known.serialized()));
            }
            "single" => {
                let item = self.item(two)?;
                let joined = if self.machine.accidents != Accidents::Mended {
                    join_as_python(item, three)?
                } else {
                    let mut how = Join::default();
                    if let Some(soon) = three["start_soon"].as_bool() {
                        how = how.with_start(soon);
                    }
                    if let Some(delimiter) = three.get("delimiter") {
                        how = how.with_delimiter(delimiter.as_str().unwrap_or_default());
                    }
                    if let Some(originals) = three["originals"].as_bool() {
                        how = how.with_reference_original_messages(originals);
                    }
                    // `strip` has no effect in Python: the stripped token keeps the text that was
                    // cached before. Ours strips, so the option is not passed on.
                    join_messages(item, how)
                };
                self.set(one, Var::Msg(joined));
            }
            "token_promise" => {
                let appender = MessageTokenAppender::new()
                    .with_capture_errors(three["capture"].as_bool().unwrap_or(true));
                appender.open()?;
                let result = self.promise_tokens(one, two, three, &appender).await;
                match result {
                    Ok(()) => appender.close(),
                    Err(error) => appender.close_with(error)?,
                }
            }
            "tok" => {
                self.token_appender.as_ref().unwrap().append(text(one))?;
            }
            "aux" => {
                self.token_appender
                    .as_ref()
                    .unwrap()
                    .set_field(text(one), frozen(two));
            }
            "gen_promise" => {
                let frame = self.closure(text(one), None);
                let tokens = frame.generate(steps(two), |_, spec| Ok(Token::from(text(spec))));
                self.set(one, Var::Msg(message_promise(three).stream(tokens)?));
            }
            "flat" => {
                self.set(one, Var::Seq(MessageSequencePromise::of(self.item(two)?)));
            }
            "seq" => {
                let mut options = MessageSequence::options()
                    .with_start(start(three))
                    .with_capture_errors(three["capture"].as_bool().unwrap_or(true));
                if let Some(as_messages) = three["errors_as_messages"].as_bool() {
                    options = options.with_errors_as_messages(as_messages);
                }
                let sequence = options.make();
                self.set(one, Var::Seq(sequence.promise().clone()));
                let appender = sequence.appender().clone();
                let name = format!("{}.appender", text(one));
                self.env
                    .borrow_mut()
                    .insert(name, Var::SeqAppender(appender.clone()));
                appender.open()?;
                self.run_and(steps(two), |result| match result {
                    Ok(()) => {
                        appender.close();
                        Ok(())
                    }
                    Err(error) => appender.close_with(error),
                })
                .await?;
            }
            "put" | "put_ooo" => {
                let Var::SeqAppender(appender) = self.get(&format!("{}.appender", text(one)))?
                else {
                    panic!("no appender")
                };
                let item = self.item(two)?;
                if kind == "put" {
                    appender.append(item)?;
                } else {
                    appender.append_out_of_order(item)?;
                }
            }
            other => panic!("unknown step {other}"),
        }
        Ok(None)
    }

    async fn promise_tokens(
        self: &Rc<Self>,
        name: &'static Json,
        body: &'static Json,
        opts: &'static Json,
        appender: &MessageTokenAppender,
    ) -> Result<()> {
        let promise = message_promise(opts).append_from(appender)?;
        self.set(name, Var::Msg(promise.clone()));
        if opts["reply"].as_bool() == Some(true) {
            self.ctx().try_reply(promise)?;
        }
        self.closure(text(name), Some(appender.clone()))
            .run(steps(body))
            .await
            .map(drop)
    }
}

/// A chain that ends cleared, as Python has it.
struct FailsInTheEnd(AgentChain);

impl Agent for FailsInTheEnd {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        Agent::run(&self.0, ctx).await?;
        Err(TypeError("Unexpected message type".into()).into())
    }

    fn arguments(&self) -> Result<Frozen> {
        self.0.arguments()
    }
}

/// Joins messages as Python does, with its slip where one of them is joined itself.
fn join_as_python(messages: Messages, opts: &Json) -> Result<MessagePromise> {
    let delimiter = match opts.get("delimiter") {
        None => "\n\n".to_string(),
        Some(delimiter) => delimiter.as_str().unwrap_or_default().to_string(),
    };
    let reference = opts["originals"].as_bool().unwrap_or(true);
    let soon = opts["start_soon"].as_bool().unwrap_or(false);
    let joined = MessagePromise::of(MessageClass::TEXT).with_start(soon);
    joined.stream_with(|fields| {
        generate(move |out| async move {
            if reference {
                fields.set("original_messages", Vec::<FrozenValue>::new());
            }
            let (mut originals, mut became_tuple) = (Vec::<FrozenValue>::new(), false);
            let mut promises = MessageSequencePromise::of(messages).stream();
            let mut first = true;
            while let Some(promise) = promises.next().await {
                let promise = promise?;
                if !first && !delimiter.is_empty() {
                    out.emit(Token::from(delimiter.as_str())).await;
                }
                let mut tokens = promise.stream();
                while let Some(token) = tokens.next().await {
                    out.emit(token?).await;
                }
                let message = promise.await?;
                if reference {
                    if became_tuple {
                        let text = "'tuple' object has no attribute 'append'";
                        return Err(AttributeError(text.into()).into());
                    }
                    originals.push((&message).into());
                    fields.set("original_messages", originals.clone());
                }
                for (key, value) in message.fields().fields() {
                    became_tuple |= key == "original_messages";
                    fields.set(key, value.clone());
                }
                first = false;
            }
            Ok(())
        })
    })
}

fn start(opts: &Json) -> Start {
    opts["start_soon"].as_bool().into()
}

fn message_promise(opts: &Json) -> miniagents::MessagePromiseBuilder {
    let mut builder = MessagePromise::of(MessageClass::TEXT).with_start(start(opts));
    for (key, value) in fields(&opts["meta"]) {
        builder = builder.with(key, value);
    }
    builder
}

fn call_options(opts: &Json) -> CallOptions {
    let mut options = CallOptions::new().with_start(start(opts));
    if let Some(as_messages) = opts["errors_as_messages"].as_bool() {
        options = options.with_errors_as_messages(as_messages);
    }
    for (key, value) in fields(&opts["kw"]) {
        options = options.with(key, value);
    }
    options
}

/// An error that is a value is raised where it is read.
fn raised(piece: Result<Var>) -> Result<Var> {
    match piece? {
        Var::Error(error) => Err(error),
        value => Ok(value),
    }
}

fn streamed(start: Start, pieces: impl Stream<Item = Result<Var>> + 'static) -> Var {
    let promise = StreamedPromise::with_start(start, pieces, |promise| {
        async move {
            promise
                .stream()
                .try_collect::<Var, Error, Vec<Var>>()
                .await
                .map(Var::List)
        }
        .boxed_local()
    });
    Var::Streamed(promise)
}
