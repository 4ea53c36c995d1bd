//! The example `chat` as its users see it: a program with input and output, with and without a
//! terminal.
#![cfg(all(feature = "openai", feature = "embedded", feature = "console"))]

mod loopback;
#[cfg(unix)]
mod terminal;

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use loopback::{Answer, Loopback, Nobody, Then};
use serde_json::{Value, json};

/// The example, built as it is now. `cargo test --test chat` alone would leave an old one.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let folder = test.parent().unwrap().parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            profile => profile,
        };
        let mut build = Command::new(env!("CARGO"));
        build
            .args([
                "build",
                "--quiet",
                "--example",
                "chat",
                "--profile",
                profile,
            ])
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        if cfg!(not(feature = "default")) {
            build.args([
                "--no-default-features",
                "--features",
                "openai,embedded,console",
            ]);
        }
        // What cargo tells this test of its package would make build scripts run again.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(name);
            }
        }
        let target = folder.parent().unwrap();
        let built = build.env("CARGO_TARGET_DIR", target).status();
        // Built for another target, the folder is one deeper; then what is there is taken.
        let there = folder
            .join("examples")
            .join(format!("chat{}", env::consts::EXE_SUFFIX));
        assert!(built.is_ok_and(|built| built.success()) || there.exists());
        there
    })
}

/// The program with no environment but this.
fn chat(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut chat = Command::new(binary());
    chat.args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    chat
}

fn say(mut chat: Command, input: &[u8]) -> Output {
    let mut chat = chat.spawn().unwrap();
    let mut stdin = chat.stdin.take().unwrap();
    // A program that has ended already does not read it.
    let _ = stdin.write_all(input);
    drop(stdin);
    chat.wait_with_output().unwrap()
}

/// What is printed when the program is told `input` through a pipe and ends well.
fn conversation(chat: Command, input: &[u8]) -> String {
    let output = say(chat, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

fn with_eliza(input: &[u8]) -> String {
    conversation(chat(&[], &[]), input)
}

#[test]
fn smoke() {
    let printed = with_eliza(b"hello\nI need my coffee.\nexit\nnobody hears this\n");

    assert_eq!(
        printed,
        "ELIZA: Hello! How has your day been so far?\n\n\
         ELIZA: What would change if you had your coffee?\n\n"
    );
}

#[test]
fn the_end_of_input_ends_it() {
    assert_eq!(with_eliza(b""), "");
    assert_eq!(with_eliza(b"  exit "), "");
    assert_eq!(
        with_eliza(b"I need my coffee."),
        "ELIZA: What would change if you had your coffee?\n\n",
        "a line without its end is a line"
    );
}

#[test]
fn empty_lines_are_no_turns() {
    assert_eq!(
        with_eliza(b"\n \r\nI need my coffee.\r\n\nexit"),
        "ELIZA: What would change if you had your coffee?\n\n"
    );
}

#[test]
fn any_bytes_will_do() {
    let printed = with_eliza(b"I need \xff\xfe my \0 coffee\nexit\n");
    assert_eq!(
        printed,
        "ELIZA: What would change if you had your coffee?\n\n"
    );

    let mut long = vec![b'x'; 3 << 20];
    long.extend(b"\nI need my coffee.\nexit\n");
    let printed = with_eliza(&long);
    assert!(printed.ends_with("ELIZA: What would change if you had your coffee?\n\n"));
}

#[test]
fn wrong_arguments_are_told_from_the_rest() {
    for (arguments, said) in [
        (&["--model"][..], "`--model` needs a name"),
        (&["--modle", "m"], "unknown argument `--modle`"),
        (&["--model", "m", "n"], "unknown argument `n`"),
        (
            &["--model", "m"],
            "for m set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours",
        ),
    ] {
        let output = say(chat(arguments, &[]), b"hello\n");

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("{said}\nusage: chat [--model NAME]\n")
        );
        assert!(output.stdout.is_empty());
    }
    let output = say(chat(&["--help"], &[]), b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"usage: chat [--model NAME]\n");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_no_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut chat = chat(&[], &[]);
    chat.arg(OsStr::from_bytes(b"\xff"));
    let output = say(chat, b"");

    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("unknown argument `\u{fffd}`\n")
    );
}

#[test]
fn an_output_that_nobody_reads_ends_it() {
    let mut chat = chat(&[], &[]).spawn().unwrap();
    drop(chat.stdout.take());
    drop(chat.stdin.take());

    let output = chat.wait_with_output().unwrap();

    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

/// The event of a token.
fn token(text: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {"content": text}}]}).to_string()
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

fn streamed(tokens: &[&str]) -> Answer {
    let events: Vec<String> = tokens.iter().map(|text| token(text)).collect();
    Answer::events(events.iter().map(String::as_str).chain([STOP, "[DONE]"]))
}

#[test]
fn a_server_is_told_the_whole_conversation() {
    let server = Loopback::new([streamed(&["Hel", "lo!"]), streamed(&["Fine", "."])]);
    let url = server.url("/v1/");
    let environment = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_API_KEY", "sk-mine"),
    ];

    let printed = conversation(
        chat(&["--model", "m"], &environment),
        b"hi\nhow are you?\nexit\n",
    );

    assert_eq!(printed, "OPENAI_AGENT: Hello!\n\nOPENAI_AGENT: Fine.\n\n");
    let seen = server.finish();
    let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(body["model"], "m");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "how are you?"},
        ])
    );
    assert!(
        seen.iter()
            .all(|seen| seen.head.contains("Bearer sk-mine\r\n"))
    );
}

#[test]
fn a_wrong_address_is_one_line_and_the_conversation_goes_on() {
    let nobody = Nobody::new();
    let url = nobody.url("/v1");

    let printed = conversation(
        chat(&[], &[("OPENAI_BASE_URL", &url)]),
        b"hi\nhello?\nexit\n",
    );

    let errors: Vec<_> = printed.split_terminator("\n\n").collect();
    assert_eq!(errors.len(), 2);
    for error in errors {
        let begin = format!("OPENAI_AGENT: No answer: POST {url}/chat/completions got no answer");
        assert!(
            error.starts_with(&begin) && error.contains("refused"),
            "{error}"
        );
    }
}

#[test]
fn what_was_not_answered_can_be_asked_again() {
    let refusal = r#"{"error":{"message":"Incorrect API key:\n sk-wrong"}}"#;
    let server = Loopback::new([
        Answer::with_status(401, "", refusal),
        Answer::events([token("Hel").as_str(), r#"{"error":"overheated"}"#]),
        streamed(&["Hello!"]),
    ]);
    let url = server.url("/v1");
    let environment = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_API_KEY", "sk-wrong"),
    ];

    let printed = conversation(chat(&[], &environment), b"hi\nhi again\nonce more\nexit\n");

    assert_eq!(
        printed,
        format!(
            "OPENAI_AGENT: No answer: status 401 from POST {url}/chat/completions: Incorrect API key: ***\n\n\
             OPENAI_AGENT: Hel\n\nThe answer broke off: the model's server failed in \
             the middle of its answer: overheated\n\n\
             OPENAI_AGENT: Hello!\n\n"
        )
    );
    let last: Value = serde_json::from_slice(&server.finish()[2].body).unwrap();
    assert_eq!(
        last["messages"],
        json!([
            {"role": "user", "content": "hi"},
            {"role": "user", "content": "hi again"},
            {"role": "user", "content": "once more"},
        ]),
        "what was said stays said; what broke off was not"
    );
}

#[cfg(unix)]
#[test]
fn takes_the_terminal() {
    terminal::take_the_terminal(terminal::execute);
}

/// In a terminal: the program is the foreground process of a pseudo-terminal of its own.
#[cfg(unix)]
mod in_a_terminal {
    use std::io::Read;
    use std::thread;

    use super::*;
    use crate::terminal::Terminal;

    /// The program, when it has said hello.
    fn start(environment: &[(&str, &str)]) -> Terminal {
        let mut terminal = Terminal::start(binary().to_str().unwrap(), environment, None);
        terminal.wait_for("USER:");
        terminal
    }

    #[test]
    fn a_conversation_ends_with_exit() {
        let mut terminal = start(&[]);

        terminal.press("I need my coffee.\r");
        terminal.wait_for(
            "USER: I need my coffee.\n\nELIZA: What would change if you had your coffee?\n\nUSER:",
        );
        terminal.press("exit\r");

        let shown = terminal.ends_well();
        assert_eq!(
            shown,
            "You are talking to ELIZA, the embedded model: no network, no key.\n\
             For another one set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours.\n\n\
             Press Enter to send your message.\n\
             Press Ctrl+Space to insert a newline.\n\
             Press Ctrl+C (or type \"exit\") to quit the conversation.\n\n\
             USER: I need my coffee.\n\nELIZA: What would change if you had your coffee?\n\n\
             USER: exit"
        );
    }

    #[test]
    fn the_greeting_names_the_server_without_its_secrets() {
        let address = "http://me:s3cret@localhost:1/v1?key=s3cret";
        let mut terminal = start(&[("OPENAI_BASE_URL", address)]);
        terminal.wait_for("You are talking to gpt-4o-mini at http://localhost:1/v1.\n");
        terminal.press("\x04");
        terminal.ends_well();

        // Blank is unset, and nothing is asked before the first line.
        let mut terminal = start(&[("OPENAI_BASE_URL", " "), ("OPENAI_API_KEY", "sk-mine")]);
        terminal.wait_for("You are talking to gpt-4o-mini at");
        terminal.press("\x04");
        assert!(!terminal.ends_well().contains("sk-mine"));
    }

    #[test]
    fn ctrl_d_ends_it() {
        let mut terminal = start(&[]);

        terminal.press("\x04");

        terminal.ends_well();
    }

    #[test]
    fn ctrl_c_while_typing_ends_it() {
        let mut terminal = start(&[]);

        terminal.press("I need my co");
        terminal.wait_for("I need my co");
        terminal.press("\x03");

        terminal.ends_well();
    }

    #[test]
    fn ctrl_c_while_a_server_stalls_ends_it() {
        let stalls = [Answer::new(""), Answer::events([token("Hel").as_str()])];
        let said = ["OPENAI_AGENT:", "OPENAI_AGENT: Hel"];
        for (stall, said) in stalls.into_iter().zip(said) {
            let server = Loopback::new([stall.then(Then::Hold)]);
            let mut terminal = start(&[("OPENAI_BASE_URL", &server.url("/v1"))]);

            terminal.press("hello\r");
            server.next();
            terminal.wait_for(said);
            terminal.press("\x03");

            terminal.ends_well();
            server.finish(); // it ends when the connection has been closed
        }
    }

    #[test]
    fn ctrl_c_twice_ends_it_even_when_nobody_reads_the_output() {
        use std::os::unix::process::ExitStatusExt;

        use rustix::process::{Pid, Signal, kill_process};

        let server = Loopback::new([streamed(&[&"x".repeat(1 << 20)])]);
        let url = server.url("/v1");
        let mut chat = chat(&[], &[("OPENAI_BASE_URL", &url)]).spawn().unwrap();
        let process = Pid::from_child(&chat);
        chat.stdin.as_mut().unwrap().write_all(b"hi\n").unwrap();
        // From here on the program prints more than a pipe holds.
        let output = chat.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"xx") {
            assert_eq!(output.take(1).read_to_end(&mut seen).unwrap(), 1);
        }

        let status = loop {
            // A signal that comes before the last was handled is lost, so there is no counting.
            kill_process(process, Signal::INT).unwrap();
            if let Some(status) = chat.try_wait().unwrap() {
                break status;
            }
            thread::yield_now();
        };

        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{status}");
    }

    #[test]
    fn ctrl_c_while_eliza_speaks_ends_it() {
        let mut terminal = start(&[]);

        terminal.press("I need my coffee.\r");
        terminal.wait_for("ELIZA: What");
        terminal.press("\x03");

        terminal.ends_well();
    }
}
