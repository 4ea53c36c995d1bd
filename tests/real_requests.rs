//! The switch that forbids real requests: nothing is sent, and the error says what to do.
#![cfg(feature = "openai")]

mod loopback;

use std::process::Command;

use futures_lite::StreamExt;
use loopback::{Answer, Loopback, Nobody};
use miniagents::llm::transport::{HttpRequest, HttpSettings, HttpTransport, Transport};
use miniagents::llm::{FORBID_REQUESTS, OpenAi};
use miniagents::{MiniAgents, Result};

const WHOLE: &str = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;

fn model(url: String) -> OpenAi {
    OpenAi::new("m").base_url(url).api_key("sk-secret")
}

fn transport(allowed: bool) -> HttpTransport {
    HttpTransport::with_settings(HttpSettings::default().with_real_requests(allowed))
}

#[test]
fn a_context_forbids_and_nothing_is_sent() {
    let nobody = Nobody::new();
    let forbidding = MiniAgents::new().with_real_requests(false);
    let error = forbidding
        .run_agent(model(nobody.url("/v1?key=s3cret")), "a secret")
        .unwrap_err();

    assert!(error.is_forbidden() && !error.is_http());
    assert_eq!(
        error.to_string(),
        format!(
            "POST {}: not sent, since real requests are forbidden by the context; allow them with \
             `MiniAgents::with_real_requests(true)`, or use a `ScriptedModel` here",
            nobody.url("/v1/chat/completions"),
        )
    );
}

#[test]
fn the_settings_of_a_transport_beat_the_context() {
    let server = Loopback::new([Answer::with_status(200, "", WHOLE)]);
    let allowed = model(server.url("/v1")).transport(transport(true));
    let replies = MiniAgents::new()
        .with_real_requests(false)
        .run_agent(allowed, "Hi")
        .unwrap();
    assert_eq!(replies[0].text(), "Hi");
    assert_eq!(server.finish().len(), 1);

    let forbidden = model(Nobody::new().url("/v1")).transport(transport(false));
    let error = MiniAgents::new()
        .with_real_requests(true)
        .run_agent(forbidden, "Hi")
        .unwrap_err();
    assert!(error.is_forbidden());
    assert!(
        error.to_string().contains("the settings of this transport"),
        "{error}"
    );
}

#[test]
fn it_holds_outside_of_a_context_too() {
    let request = HttpRequest::post(Nobody::new().url("/"), "{}");
    let parts: Vec<Result<_>> =
        futures_lite::future::block_on(transport(false).send(request).collect());

    assert_eq!(parts.len(), 1);
    assert!(parts[0].as_ref().unwrap_err().is_forbidden());
}

/// Run by `the_environment_forbids` with the variable set.
#[test]
#[ignore = "needs a variable of the environment"]
fn inside_of_the_environment() {
    let url = || Nobody::new().url("/v1");
    let error = MiniAgents::new().run_agent(model(url()), "Hi").unwrap_err();
    let allowed = MiniAgents::new()
        .with_real_requests(true)
        .run_agent(model(url()).transport(once()), "Hi");
    println!("{error}\n{}", allowed.unwrap_err().is_http());
}

fn once() -> HttpTransport {
    HttpTransport::with_settings(HttpSettings::default().with_max_retries(0))
}

#[test]
fn the_environment_forbids() {
    for (value, forbids) in [("1", true), ("0", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "inside_of_the_environment",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(FORBID_REQUESTS, value)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();

        assert!(output.status.success(), "{said}");
        let told =
            "forbidden by the variable MINIAGENTS_FORBID_REQUESTS; unset it, or allow them with";
        assert_eq!(said.contains(told), forbids, "{said}");
        assert!(said.contains("\ntrue\n"), "the context allows it: {said}");
    }
}

#[cfg(feature = "anthropic")]
#[test]
fn it_holds_for_every_vendor() {
    use miniagents::llm::Anthropic;

    let forbidding = MiniAgents::new().with_real_requests(false);
    let model = Anthropic::new("m").max_tokens(1).api_key("sk-secret");
    let error = forbidding.run_agent(model, "a secret").unwrap_err();

    assert!(error.is_forbidden());
    assert!(
        error
            .to_string()
            .starts_with("POST https://api.anthropic.com/v1/messages: not sent"),
        "{error}"
    );
}
