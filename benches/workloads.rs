//! What the crate costs: twelve workloads on the public interface, as a user would write them.
//!
//! - Without arguments all of them run at their base sizes, and a table is printed.
//! - `cargo test --bench workloads` runs all at small sizes and compares the results with those that the
//!   Python original came to. No time is looked at.
//! - `cargo bench -q --bench workloads -- w01 1000` runs one and prints one line,
//!   `name N result value`: a checksum, and the seconds of processor time of the timed part, or for
//!   w10 and w12 the bytes of memory that one live item takes.
//!
//! The result depends on every piece that was read and on its place, so that an implementation of
//! the same workload in any language must print the same. A body is repeated for about 0.3 s of timed
//! work and the median is given; the environment variable `BENCH_REPS` says how often instead.
//!
//! In all but w03 and w07 the clock runs from before the context is made until after it was left and
//! everything that was built is dropped.

use std::cell::Cell;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::Stream;
use miniagents::executor::yield_now;
use miniagents::{
    Agent, CallOptions, Error, Frozen, History, InteractionContext, IntoMessages, Message,
    MessageClass, MessagePromise, MessageSequencePromise, MessageTokenAppender, Messages,
    MiniAgent, MiniAgents, Result, StreamedPromise, TextMessage, Token, generate,
};

struct Workload {
    name: &'static str,
    about: &'static str,
    base: usize,
    /// A small size, and what the Python original comes to there.
    known: (usize, u32),
    /// How many elementary operations a run of size N has; empty where memory is measured.
    operations: Option<fn(usize) -> usize>,
    run: fn(usize) -> Result<Outcome>,
}

/// The checksum of a run, and what was measured.
struct Outcome {
    checksum: u32,
    cost: Cost,
}

enum Cost {
    Time(Duration),
    /// Growth of resident memory, of all items together.
    Memory(usize),
}

#[rustfmt::skip]
const WORKLOADS: [Workload; 12] = [
    Workload { name: "w01", about: "task switch", base: 1000, known: (20, 11_550), operations: Some(|n| n * 10), run: spawn_yield },
    Workload { name: "w02", about: "live piece, to one of 8 readers", base: 250, known: (10, 328_216_320), operations: Some(|n| n * 8), run: fan_out },
    Workload { name: "w03", about: "replayed piece", base: 2000, known: (20, 3_038_247_872), operations: Some(|n| n * 10), run: late_replay },
    Workload { name: "w04", about: "live token, forwarded by 8 agents", base: 500, known: (10, 2_725_381_600), operations: Some(|n| n), run: forwarded_chain },
    Workload { name: "w05", about: "agent of 3 messages", base: 32, known: (4, 1_033_685_120), operations: Some(|n| n), run: agent_fan_out },
    Workload { name: "w06", about: "leaf of a tree, flattened", base: 64, known: (16, 419_731_112), operations: Some(|n| n), run: nested_flattening },
    Workload { name: "w07", about: "hash key of a 1.1 KiB message", base: 250, known: (5, 1_828_484_252), operations: Some(|n| n), run: hashing },
    Workload { name: "w08", about: "message of history read", base: 16, known: (4, 4_119_295_015), operations: Some(|n| n * n), run: dialogue },
    Workload { name: "w09", about: "token of a joined message", base: 16, known: (3, 3_500_567_065), operations: Some(|n| n * 20), run: join },
    Workload { name: "w10", about: "live promise", base: 500, known: (6, 2_748_925_760), operations: None, run: memory_of_promises },
    Workload { name: "w11", about: "token re-streamed by one of 8 agents", base: 100, known: (5, 2_280_681_772), operations: Some(|n| n * 8), run: restreamed_chain },
    Workload { name: "w12", about: "live agent", base: 128, known: (6, 3_102_021_795), operations: None, run: memory_of_agents },
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let forced = std::env::var("BENCH_REPS").ok();
    let forced = forced.map(|text| text.parse().expect("BENCH_REPS is a number"));
    match asked[..] {
        // Without `--bench` it is a test that asks.
        [] if !arguments.iter().any(|argument| argument == "--bench") => check(),
        [] => table(),
        [name, size] => {
            let workload = WORKLOADS.iter().find(|workload| workload.name == name);
            let workload = workload.ok_or_else(|| Error::msg("workloads are w01 to w12"))?;
            let size: usize = size.parse()?;
            let (checksum, value) = measure(workload, size, forced)?;
            match value {
                Cost::Time(time) => println!("{name} {size} {checksum} {:.9}", time.as_secs_f64()),
                Cost::Memory(bytes) => {
                    println!("{name} {size} {checksum} {:.3}", bytes as f64 / size as f64);
                }
            }
            Ok(())
        }
        _ => Err(Error::msg(
            "say nothing, or a workload and its size: w01 1000",
        )),
    }
}

/// Whether everything comes to what the Python original comes to.
fn check() -> Result<()> {
    for workload in &WORKLOADS {
        let (size, known) = workload.known;
        let (checksum, _) = measure(workload, size, Some(1))?;
        let name = workload.name;
        assert_eq!(checksum, known, "{name} {size} comes to something else");
    }
    println!("{} workloads come to what Python does", WORKLOADS.len());
    Ok(())
}

/// Runs everything at its base size, each in a process of its own: memory that another one has given
/// back would be taken for free.
fn table() -> Result<()> {
    println!("workload      N       cost  of one");
    for workload in &WORKLOADS {
        let size = workload.base;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([workload.name, &size.to_string()]);
        let printed = command.stderr(Stdio::inherit()).output()?.stdout;
        let printed = String::from_utf8_lossy(&printed);
        let value = printed.split_whitespace().nth(3);
        let value: f64 = value.ok_or_else(|| Error::msg(workload.name))?.parse()?;
        let cost = match workload.operations {
            Some(operations) => format!("{:.0} ns", value * 1e9 / operations(size) as f64),
            None => format!("{value:.0} B"),
        };
        let Workload { name, about, .. } = workload;
        println!("{name}     {size:>6} {cost:>10}  {about}");
    }
    Ok(())
}

/// The checksum, and the median of the times; memory is measured once.
fn measure(workload: &Workload, size: usize, forced: Option<usize>) -> Result<(u32, Cost)> {
    let begin = Instant::now();
    let (mut times, mut checksum) = (Vec::new(), None);
    loop {
        let outcome = (workload.run)(size)?;
        let first = *checksum.get_or_insert(outcome.checksum);
        assert_eq!(
            first, outcome.checksum,
            "repetitions of {} disagree",
            workload.name
        );
        match outcome.cost {
            Cost::Memory(bytes) => return Ok((first, Cost::Memory(bytes))),
            Cost::Time(time) => times.push(time),
        }
        let enough = match forced {
            Some(repetitions) => times.len() >= repetitions,
            None => {
                let timed: Duration = times.iter().sum();
                let long = timed.as_millis() >= 300 || begin.elapsed().as_millis() >= 1200;
                times.len() >= 300 || times.len() >= 3 && long
            }
        };
        if enough {
            times.sort();
            return Ok((first, Cost::Time(times[times.len() / 2])));
        }
    }
}

/// Processor time of the process where the system tells: other load does not count.
fn clock() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    {
        thread_local!(static BEGIN: Instant = Instant::now());
        BEGIN.with(Instant::elapsed)
    }
}

/// Resident memory in bytes; zero where the system does not tell in this way.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split_whitespace().nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

/// Runs `body` inside of a context of its own and times all of it.
fn timed(body: impl Future<Output = Result<u32>>) -> Result<Outcome> {
    let begin = clock();
    let checksum = MiniAgents::new().run(body)?;
    Ok(Outcome {
        checksum,
        cost: Cost::Time(clock() - begin),
    })
}

/// A checksum in which the order counts.
fn fold(h: u32, text: &str) -> u32 {
    let last = text.as_bytes().last().copied().unwrap_or(0);
    h.wrapping_mul(31)
        .wrapping_add((text.len() as u32).wrapping_mul(257))
        .wrapping_add(last.into())
}

/// The text of token `i`.
fn text(i: usize) -> &'static str {
    thread_local!(static TEXTS: &'static [String] = {
        let texts: Vec<String> = (0..1000).map(|i| format!("t{i} ")).collect();
        texts.leak()
    });
    &TEXTS.with(|texts| *texts)[i % 1000]
}

/// Tokens as from a network: before each, everybody else has a turn.
fn live_tokens(n: usize) -> impl Stream<Item = Result<Token>> {
    generate(move |out| async move {
        for i in 0..n {
            yield_now().await;
            out.emit(Token::from(text(i))).await;
        }
        Ok(())
    })
}

/// N tasks, each of which yields ten times.
fn spawn_yield(n: usize) -> Result<Outcome> {
    timed(async move {
        let context = MiniAgents::current();
        let total = Rc::new(Cell::new(0_u32));
        for i in 0..n {
            let total = total.clone();
            let task = context.start_soon(async move {
                for step in 0..10 {
                    yield_now().await;
                    let product = (i + 1) * (step + 1);
                    total.set(total.get().wrapping_add(product as u32));
                }
                Ok(())
            });
            task.detach();
        }
        context.promising().flush().await;
        Ok(total.get())
    })
}

/// One live promise, eight readers at once.
fn fan_out(n: usize) -> Result<Outcome> {
    timed(async move {
        let source = generate(move |out| async move {
            for i in 0..n {
                yield_now().await;
                out.emit(Rc::from(text(i))).await;
            }
            Ok(())
        });
        let promise = StreamedPromise::<Rc<str>, Rc<[Rc<str>]>>::collected(source);
        let context = MiniAgents::current();
        let readers = [(); 8].map(|()| {
            let mut pieces = promise.stream();
            context.start_soon(async move {
                let mut h = 0;
                while let Some(piece) = pieces.try_next().await? {
                    h = fold(h, &piece);
                }
                Ok(h)
            })
        });
        let mut sum = 0_u32;
        for reader in readers {
            sum = sum.wrapping_add(reader.await?);
        }
        Ok(sum)
    })
}

/// A promise that has resolved is read ten times.
fn late_replay(n: usize) -> Result<Outcome> {
    MiniAgents::new().run(async move {
        let source = generate(move |out| async move {
            for i in 0..n {
                out.emit(Rc::from(text(i))).await;
            }
            Ok(())
        });
        let promise = StreamedPromise::<Rc<str>, Rc<[Rc<str>]>>::collected(source);
        promise.wait().await?;

        let begin = clock();
        let mut h = 0;
        for _ in 0..10 {
            let mut pieces = black_box(&promise).stream();
            while let Some(piece) = pieces.try_next().await? {
                h = fold(h, &piece);
            }
        }
        Ok(Outcome {
            checksum: h,
            cost: Cost::Time(clock() - begin),
        })
    })
}

/// Replies with one live message of `n` tokens.
async fn source(ctx: InteractionContext) -> Result<()> {
    ctx.reply(MessagePromise::new(live_tokens(ctx.argument("n")?)));
    Ok(())
}

/// One live message handed on by eight agents as it is.
fn forwarded_chain(n: usize) -> Result<Outcome> {
    async fn forward(ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        Ok(())
    }

    timed(async move {
        let mut replies = source.trigger_with((), CallOptions::new().with("n", n));
        for _ in 0..8 {
            replies = forward.trigger(replies);
        }
        let mut h = 0;
        let mut messages = replies.stream();
        while let Some(message) = messages.try_next().await? {
            let mut tokens = message.stream();
            while let Some(token) = tokens.try_next().await? {
                h = fold(h, token.as_str());
            }
        }
        Ok(h)
    })
}

/// An agent that replies with the replies of N others.
fn agent_fan_out(n: usize) -> Result<Outcome> {
    async fn worker(ctx: InteractionContext) -> Result<()> {
        let i: usize = ctx.argument("i")?;
        for j in 0..3 {
            ctx.reply(format_args!("a{i} m{j}"));
        }
        Ok(())
    }

    async fn aggregator(ctx: InteractionContext) -> Result<()> {
        let worker = MiniAgent::new(worker);
        let replies = (0..ctx.argument("n")?).map(|i: usize| {
            let options = CallOptions::new().with("i", i);
            worker.trigger_with((), options)
        });
        ctx.reply(replies.collect::<Vec<_>>());
        Ok(())
    }

    timed(async move {
        let mut h = 0;
        let options = CallOptions::new().with("n", n);
        let mut messages = aggregator.trigger_with((), options).stream_whole();
        while let Some(message) = messages.try_next().await? {
            h = fold(h, message.text());
        }
        Ok(h)
    })
}

/// A tree of sequences and lists, four branches at each node.
fn nested_flattening(n: usize) -> Result<Outcome> {
    fn children(level: usize, depth: usize, leaf: &mut usize) -> Vec<Messages> {
        (0..4).map(|_| node(level + 1, depth, leaf)).collect()
    }

    fn node(level: usize, depth: usize, leaf: &mut usize) -> Messages {
        if level == depth {
            *leaf += 1;
            return format_args!("L{}", *leaf - 1).into_messages();
        }
        let children = children(level, depth, leaf);
        if level.is_multiple_of(2) {
            MessageSequencePromise::of(children).into_messages()
        } else {
            children.into_messages()
        }
    }

    let depth = (0..).find(|depth| 4_usize.pow(*depth) >= n).unwrap_or(0);
    timed(async move {
        let root = MessageSequencePromise::of(children(0, depth as usize, &mut 0));
        let mut h = 0;
        let mut messages = root.stream_whole();
        while let Some(message) = messages.try_next().await? {
            h = fold(h, message.text());
        }
        Ok(h)
    })
}

/// Hash keys of nested messages, each with another message inside.
fn hashing(n: usize) -> Result<Outcome> {
    const LINE: &str = "The quick brown fox jumps over the lazy dog — ünïcödé. \"quoted\"\n";

    let message = |i: usize| {
        let tags = ["alpha".into(), "βeta".into(), format!("t{i}")];
        let nested = Frozen::new().try_with("b", (1, 2, Frozen::new().with("c", "dé")))?;
        let meta = Frozen::new()
            .with("id", i)
            .with("tags", tags)
            .try_with("score", i as f64 + 0.5)?
            .with("ok", true)
            .with("none", None::<&str>)
            .with("nested", Frozen::new().with("a", nested));
        TextMessage::new(format!("Message {i}: {}", LINE.repeat(10)))
            .with("role", "user")
            .with("meta", meta)
            .with("quoted", TextMessage::new(format!("quoted {i}")).build()?)
            .build()
    };
    let messages = (0..n).map(message).collect::<Result<Vec<_>>>()?;
    let begin = clock();
    let mut h = 0_u32;
    for message in &messages {
        let key = message.hash_key();
        let first = key.as_bytes().first_chunk().expect("a key has 20 bytes");
        h = h.wrapping_mul(31).wrapping_add(u32::from_be_bytes(*first));
    }
    Ok(Outcome {
        checksum: h,
        cost: Cost::Time(clock() - begin),
    })
}

/// An agent that is sent the whole history at every turn.
fn dialogue(n: usize) -> Result<Outcome> {
    async fn assistant(ctx: InteractionContext) -> Result<()> {
        let mut h = 0;
        let mut messages = ctx.messages().stream_whole();
        while let Some(message) = messages.try_next().await? {
            h = fold(h, message.text());
        }
        ctx.reply(format_args!("a{h}"));
        Ok(())
    }

    timed(async move {
        let mut history = History::new();
        for i in 0..n {
            history.push(TextMessage::new(format_args!("u{i}")).build()?);
            let replies = assistant.trigger(&history).await?;
            history.extend(&*replies);
        }
        let texts = history.iter().map(Message::text);
        Ok(texts.fold(0, fold))
    })
}

/// Many streaming messages as one.
fn join(n: usize) -> Result<Outcome> {
    timed(async move {
        let messages = (0..n).map(|m| {
            MessagePromise::new(generate(move |out| async move {
                for i in m * 20..(m + 1) * 20 {
                    out.emit(Token::from(text(i))).await;
                }
                Ok(())
            }))
        });
        let messages = MessageSequencePromise::of(messages.collect::<Vec<_>>());
        let joined = messages.as_single_text_promise();
        let mut h = 0;
        let mut tokens = joined.stream();
        while let Some(token) = tokens.try_next().await? {
            h = fold(h, token.as_str());
        }
        let whole = joined.await?;
        h = fold(h, whole.text());
        let originals = whole.get("original_messages");
        let originals = originals.and_then(|value| value.as_list());
        let count = originals.map_or(0, |list| list.len());
        Ok(h.wrapping_mul(31).wrapping_add(count as u32))
    })
}

/// Promises of messages that have not ended.
fn memory_of_promises(n: usize) -> Result<Outcome> {
    MiniAgents::new().run(async move {
        let before = resident();
        let mut live = Vec::new();
        for i in 0..n {
            let appender = MessageTokenAppender::new();
            appender.open()?;
            let promise = MessagePromise::of(MessageClass::TEXT).append_from(&appender)?;
            for k in 0..4 {
                appender.append(text(i + k))?;
            }
            live.push((appender, promise));
        }
        for _ in 0..20 {
            yield_now().await;
        }
        let grown = resident().saturating_sub(before);

        let mut h = 0;
        for (appender, _) in &live {
            appender.append("end.")?;
            appender.close();
        }
        for (_, promise) in &live {
            h = fold(h, promise.wait().await?.text());
        }
        Ok(Outcome {
            checksum: h,
            cost: Cost::Memory(grown),
        })
    })
}

/// One live message, streamed anew by eight agents.
fn restreamed_chain(n: usize) -> Result<Outcome> {
    async fn relay(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            ctx.reply(MessagePromise::new(message.stream()));
        }
        Ok(())
    }

    timed(async move {
        let mut replies = source.trigger_with((), CallOptions::new().with("n", n));
        for _ in 0..8 {
            replies = relay.trigger(replies);
        }
        let mut h = 0;
        let mut messages = replies.stream();
        while let Some(message) = messages.try_next().await? {
            let mut tokens = message.stream();
            while let Some(token) = tokens.try_next().await? {
                h = fold(h, token.as_str());
            }
            h = fold(h, message.await?.text());
        }
        Ok(h)
    })
}

/// Agents that have replied and wait for more.
fn memory_of_agents(n: usize) -> Result<Outcome> {
    async fn echo(ctx: InteractionContext) -> Result<()> {
        let mut messages = ctx.messages().stream();
        while let Some(message) = messages.try_next().await? {
            ctx.reply(format_args!("echo {}", message.await?));
        }
        Ok(())
    }

    MiniAgents::new().run(async move {
        let echo = MiniAgent::new(echo);
        let before = resident();
        let mut live = Vec::new();
        for i in 0..n {
            let call = echo.initiate_call();
            call.send_message(format_args!("m{i}"));
            live.push(call);
        }
        for _ in 0..40 {
            yield_now().await;
        }
        let grown = resident().saturating_sub(before);

        let mut h = 0;
        for call in &live {
            call.finish();
        }
        for call in &live {
            let replies = call.replies().wait().await?;
            h = replies.iter().map(Message::text).fold(h, fold);
        }
        Ok(Outcome {
            checksum: h,
            cost: Cost::Memory(grown),
        })
    })
}
