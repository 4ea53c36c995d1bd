//! The HTTP transport with many requests at once, and with limits on their number and their time.
#![cfg(feature = "openai")]

mod loopback;

use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::{StreamExt, future, future::block_on};
use loopback::crowd::{Asked, Crowd};
use loopback::{Answer, Loopback, Nobody, Then};
use miniagents::llm::openai::ChatStream;
use miniagents::llm::transport::{
    HttpRequest, HttpSettings, HttpTransport, Response, ResponsePart, Transport,
};
use miniagents::llm::{OpenAi, chat};
use miniagents::{Agent, Error, MiniAgents, Result};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
const END: &str =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn limited(most: usize) -> HttpTransport {
    HttpTransport::with_settings(HttpSettings::default().with_max_concurrent(most))
}

fn send(transport: &HttpTransport, server: &Crowd, name: &str) -> Response {
    transport.send(HttpRequest::post(server.url("/"), name))
}

/// Lets the responses be worked on, until the next request has arrived at the server.
fn next(server: &Crowd, responses: &mut [Response]) -> Asked {
    let arrived = thread::scope(|scope| {
        let arrived = scope.spawn(|| server.next());
        block_on(async {
            while !arrived.is_finished() {
                for response in responses.iter_mut() {
                    let _ = future::poll_once(response.next()).await;
                }
                thread::yield_now();
            }
        });
        arrived.join()
    });
    arrived.unwrap()
}

fn name(asked: &Asked) -> &str {
    std::str::from_utf8(&asked.body).unwrap()
}

/// Says a whole answer, and with it the end of the connection.
fn answer(asked: Asked) {
    asked.say(format!("{HEAD}{END}"));
    drop(asked);
}

#[test]
fn requests_beyond_the_limit_wait_and_the_first_come_is_the_first_served() {
    let server = Crowd::new();
    let transport = limited(2);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut responses: Vec<Response> = names
        .iter()
        .map(|name| send(&transport, &server, name))
        .collect();

    let mut served = vec![next(&server, &mut responses), next(&server, &mut responses)];
    let mut begun: Vec<String> = served.iter().map(|it| name(it).to_owned()).collect();
    begun.sort(); // two threads began at once
    for _ in 2..names.len() {
        answer(served.remove(0));
        let asked = next(&server, &mut responses);
        begun.push(name(&asked).to_owned());
        served.push(asked);
    }

    assert_eq!(begun, names);
    assert_eq!(server.most(), 2);
}

#[test]
fn who_is_dropped_leaves_the_line_and_frees_its_place() {
    let server = Crowd::new();
    let transport = limited(1);
    let mut responses: Vec<Response> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| send(&transport, &server, name))
        .collect();

    let working = next(&server, &mut responses);
    assert_eq!(name(&working), "a");
    drop(responses.remove(1)); // b waits and is given up
    drop(responses.remove(0)); // a is at work and is cancelled
    working.wait_until_gone();

    assert_eq!(name(&next(&server, &mut responses)), "c");
    drop(responses.remove(0));
    assert_eq!(name(&next(&server, &mut responses)), "d");
    assert_eq!(server.most(), 1);
}

#[test]
fn who_may_begins_at_once_though_nobody_reads() {
    let server = Crowd::new();
    let transport = limited(1);
    let mut responses = [
        send(&transport, &server, "a"),
        send(&transport, &server, "b"),
    ];

    let asked = server.next();
    assert_eq!(name(&asked), "a");
    answer(asked);
    // The second is read first, and gets its turn when the first has ended.
    assert_eq!(name(&next(&server, &mut responses[1..])), "b");
}

#[test]
fn models_that_share_a_limit_do_not_wait_for_each_other_for_ever() {
    // Each token of the first asks another question, though the limit is one.
    let server = Crowd::new();
    let base_url = server.url("/v1");
    let host = thread::spawn(move || {
        let model = OpenAi::new("m")
            .base_url(base_url)
            .api_key("k")
            .transport(limited(1));
        MiniAgents::new().run(async {
            let mut answers = 0;
            let first = model.clone().trigger("Hi").stream().try_next().await?;
            let mut tokens = first.ok_or_else(|| Error::msg("no reply"))?.stream();
            while let Some(token) = tokens.try_next().await? {
                answers += model.clone().trigger(token.as_str()).await?.len();
            }
            Result::Ok(answers)
        })
    });

    for _ in 0..4 {
        let asked = server.next();
        let tokens = if asked.body.windows(2).any(|it| it == b"Hi") {
            3
        } else {
            0
        };
        asked.say(format!("{HEAD}{}{END}", TOKEN.repeat(tokens)));
    }
    assert_eq!(host.join().unwrap().unwrap(), 3);
    assert_eq!(server.most(), 1);
}

#[test]
fn a_limit_of_none_is_a_limit_of_one() {
    let most = |settings: HttpSettings| settings.max_concurrent.map(NonZeroUsize::get);
    assert_eq!(most(HttpSettings::default()), None);
    assert_eq!(
        most(HttpSettings::default().with_max_concurrent(0)),
        Some(1)
    );
}

#[test]
fn the_whole_may_have_a_limit_of_time_though_bytes_come() {
    let server = Crowd::new();
    let settings = HttpSettings::default().with_total_timeout(Duration::from_millis(50));
    let transport = HttpTransport::with_settings(settings);
    let request = HttpRequest::post(server.url("/"), "");
    let (tell, told) = mpsc::channel::<()>();
    let dripping = thread::spawn(move || {
        let asked = server.next();
        asked.say(format!("{HEAD}{TOKEN}"));
        // Bytes come until the client has had enough.
        while told.try_recv() == Err(mpsc::TryRecvError::Empty) {
            asked.say(": still there\n");
            thread::yield_now();
        }
    });

    let mut text = String::new();
    let fields = block_on(chat(&transport, request, ChatStream::new(), |token| {
        text += token
    }));

    drop(tell);
    dripping.join().unwrap();
    let error = fields.unwrap_err();
    assert_eq!(text, "x");
    assert!(error.is_timeout() && !error.is_truncated(), "{error}");
    assert!(error.to_string().contains("as a whole"), "{error}");
}

#[test]
fn the_limit_of_time_holds_for_retries_too() {
    let busy = || Answer::with_status(503, "retry-after: 100\r\n", "later");
    let server = Loopback::new([busy()]);
    let settings = HttpSettings::default().with_total_timeout(Duration::from_secs(90));
    let transport = HttpTransport::with_settings(settings);

    let request = HttpRequest::post(server.url("/"), "");
    let fields = block_on(chat(&transport, request, ChatStream::new(), |_| ()));

    // There is no time for the pause, so that this is the last word.
    assert_eq!(fields.unwrap_err().status(), Some(503));
    assert_eq!(server.finish().len(), 1);
}

#[test]
fn what_is_wanted_whole_is_asked_for_again_and_what_streams_is_not() {
    let cut = || Answer::new("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
    let whole = Answer::with_status(200, "", "whole");
    let of = |answers: Vec<Answer>, whole: bool| {
        let server = Loopback::new(answers);
        let request = HttpRequest::post(server.url("/"), "");
        let request = if whole {
            request.in_one_piece()
        } else {
            request
        };
        let parts = HttpTransport::new().send(request);
        let parts: Vec<_> = block_on(parts.collect());
        (parts, server.finish().len())
    };

    let (parts, requests) = of(vec![cut(), whole], true);
    assert_eq!(requests, 2);
    let Ok(ResponsePart::Head(head)) = &parts[0] else {
        panic!("{parts:?}");
    };
    assert_eq!(head.attempts, 2);
    assert!(matches!(&parts[1..], [Ok(ResponsePart::Body(body))] if body == b"whole"));

    let (parts, requests) = of(vec![cut(), cut(), cut()], true);
    assert_eq!((parts.len(), requests), (1, 3));
    let error = parts[0].as_ref().unwrap_err();
    assert!(
        error.is_truncated() && error.attempts() == Some(3),
        "{error}"
    );

    let (parts, requests) = of(vec![cut()], false);
    assert_eq!((parts.len(), requests), (3, 1));
    assert!(parts[2].as_ref().unwrap_err().is_truncated());
}

#[test]
fn what_went_wrong_is_told_apart() {
    let begun = format!("{HEAD}{TOKEN}");
    let event = |data: &str| Answer::new(format!("{begun}data: {data}\n\n"));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ndata: {";
    let settings = HttpSettings::default()
        .with_max_retries(0)
        .with_idle_timeout(Duration::from_millis(50));
    let transport = HttpTransport::with_settings(settings);
    let nobody = Nobody::new();
    for (answer, expected, status) in [
        (
            Some(Answer::with_status(400, "", "no")),
            "refused",
            Some(400),
        ),
        (Some(event(r#"{"error": "no"}"#)), "refused", Some(200)),
        (
            Some(Answer::with_status(200, "", r#"{"error": "no"}"#)),
            "refused",
            Some(200),
        ),
        (Some(Answer::new(begun.as_str())), "truncated", Some(200)),
        (Some(Answer::new(cut)), "truncated", Some(200)),
        (
            Some(Answer::with_status(200, "", "")),
            "truncated",
            Some(200),
        ),
        (Some(event("{not json")), "malformed", Some(200)),
        (
            Some(Answer::with_status(200, "", "<html>")),
            "malformed",
            Some(200),
        ),
        (
            Some(Answer::with_status(
                200,
                "Content-Encoding: gzip\r\n",
                "not compressed",
            )),
            "malformed",
            Some(200),
        ),
        (
            Some(Answer::new(begun.as_str()).then(Then::Hold)),
            "timeout",
            Some(200),
        ),
        (Some(Answer::new("").then(Then::Hold)), "timeout", None),
        (Some(Answer::new("")), "unreachable", None),
        (
            Some(Answer::new("SSH-2.0-OpenSSH_9.2p1\r\n")),
            "unreachable",
            None,
        ),
        (None, "unreachable", None),
    ] {
        let server = answer.map(|answer| Loopback::new([answer]));
        let url = server
            .as_ref()
            .map_or_else(|| nobody.url("/"), |it| it.url("/"));
        let request = HttpRequest::post(url, "");
        let fields = block_on(chat(&transport, request, ChatStream::new(), |_| ()));
        let error = fields.unwrap_err();

        let kinds = [
            ("refused", error.is_refused()),
            ("truncated", error.is_truncated()),
            ("malformed", error.is_malformed()),
            ("timeout", error.is_timeout()),
            ("unreachable", error.is_unreachable()),
        ];
        let kinds: Vec<&str> = kinds.iter().filter(|it| it.1).map(|it| it.0).collect();
        assert_eq!(kinds, [expected], "{error}");
        assert!(error.is_http());
        assert_eq!(
            (error.status(), error.attempts()),
            (status, Some(1)),
            "{error}"
        );
        // It is still known when somebody has said something in front of it.
        let wrapped = error.clone().context("the search agent found nothing");
        assert_eq!(
            (wrapped.is_refused(), wrapped.is_timeout(), wrapped.status()),
            (error.is_refused(), error.is_timeout(), status)
        );
    }
}

#[test]
fn a_cancelled_answer_closes_its_connection() {
    let begun = format!("{HEAD}{TOKEN}");
    let server = Loopback::new([Answer::new(begun).then(Then::Hold)]);
    let model = OpenAi::new("m").base_url(server.url("/v1")).api_key("k");
    let cancelled = MiniAgents::new().run(async {
        let reply = model.trigger("Hi").stream().try_next().await?;
        let reply = reply.ok_or_else(|| Error::msg("no reply"))?;
        let mut tokens = reply.stream();
        assert_eq!(tokens.try_next().await?.unwrap().as_str(), "x");
        assert!(reply.cancel());
        reply.await.map(drop)
    });

    assert!(cancelled.unwrap_err().is_cancelled());
    server.finish(); // it ends when the client has closed the connection
}

#[test]
fn it_keeps_the_laws_of_transports() {
    let server = Crowd::new();
    let request = HttpRequest::post(server.url("/"), "Hi");
    thread::spawn(move || {
        loop {
            let asked = server.next();
            asked.say(format!("{HEAD}{TOKEN}"));
            asked.say(END);
        }
    });

    miniagents::laws::transport(HttpTransport::new, &request).unwrap();
    let narrow = limited(1);
    miniagents::laws::transport(|| narrow.clone(), &request).unwrap();
}

/// Asks `count` questions at once, of which the first gets a token and nothing more, and tells how many
/// tokens came of the others.
fn streams_at_once(count: usize, tokens: usize) -> usize {
    let server = Crowd::new();
    let base_url = server.url("/v1");
    let host = thread::spawn(move || {
        let transport = HttpTransport::new();
        let model = OpenAi::new("m")
            .base_url(base_url)
            .api_key("k")
            .transport(transport);
        MiniAgents::new().run(async {
            let name = |number: usize| format!("<{number}>");
            let replies = (0..count).map(|number| model.clone().trigger(name(number)));
            let mut replies: Vec<_> = replies.collect();
            let stalled = replies.remove(0).stream().try_next().await?;
            let stalled = stalled.ok_or_else(|| Error::msg("no reply"))?;
            let mut read = 0;
            for reply in replies {
                read += reply.await?[0].text().len();
            }
            assert_eq!(stalled.stream().try_next().await?.unwrap().as_str(), "x");
            assert!(stalled.cancel());
            Result::Ok(read)
        })
    });

    // Nobody gets an answer before all have asked.
    let all: Vec<Asked> = (0..count).map(|_| server.next()).collect();
    assert_eq!(server.now(), count);
    let is_first = |it: &Asked| it.body.windows(3).any(|name| name == b"<0>");
    let (stalled, others): (Vec<Asked>, Vec<Asked>) = all.into_iter().partition(is_first);
    stalled[0].say(format!("{HEAD}{TOKEN}"));
    for asked in others {
        asked.say(HEAD);
        for _ in 0..tokens {
            asked.say(TOKEN);
        }
        asked.say(END);
    }
    let read = host.join().unwrap().unwrap();
    stalled[0].wait_until_gone();
    read
}

#[test]
fn a_stalled_stream_holds_up_nobody_else() {
    assert_eq!(streams_at_once(200, 20), 199 * 20);
}

/// `cargo test --release --test transport -- --ignored --nocapture` says the figures.
#[test]
#[ignore = "takes the whole machine"]
fn a_thousand_streams_at_once() {
    let before = memory();
    let begun = Instant::now();
    assert_eq!(streams_at_once(1000, 100), 999 * 100);
    println!(
        "1000 streams of 100 tokens at once: {:.1} s, {} MiB more at the peak, the server's among them",
        begun.elapsed().as_secs_f64(),
        (memory() - before) / 1024,
    );

    let tokens = 100_000;
    let begun = Instant::now();
    assert_eq!(streams_at_once(2, tokens), tokens);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{tokens} tokens of one letter, each in a packet, by an agent: {seconds:.2} s");

    let server = Crowd::new();
    let request = HttpRequest::post(server.url("/"), "");
    let saying = thread::spawn(move || {
        let asked = server.next();
        asked.say(HEAD);
        for _ in 0..tokens / 100 {
            asked.say(TOKEN.repeat(100));
        }
        asked.say(END);
    });
    let (mut count, begun, transport) = (0, Instant::now(), HttpTransport::new());
    let fields = chat(&transport, request, ChatStream::new(), |_| count += 1);
    block_on(fields).unwrap();
    saying.join().unwrap();
    assert_eq!(count, tokens);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{tokens} tokens of one letter, without an agent: {seconds:.2} s, {:.0} in a second",
        tokens as f64 / seconds
    );
}

/// The most memory that this process had so far, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = peak.and_then(|it| it.trim().strip_suffix(" kB"));
    digits.map_or(0, |it| it.trim().parse().unwrap())
}
