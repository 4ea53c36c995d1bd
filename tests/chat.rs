//! The example `chat` as its users see it: a program with input and output, with and without a
//! terminal.
#![cfg(all(feature = "openai", feature = "embedded"))]

mod loopback;

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
            build.args(["--no-default-features", "--features", "openai,embedded"]);
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

/// What is printed behind the introduction when the program is told `input` and ends well.
fn conversation(chat: Command, input: &[u8]) -> String {
    let output = say(chat, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (introduction, conversation) = printed.split_once("\n\n").unwrap();
    assert!(introduction.starts_with("You are talking to "));
    conversation.to_owned()
}

fn with_eliza(input: &[u8]) -> String {
    conversation(chat(&[], &[]), input)
}

#[test]
fn smoke() {
    let printed = with_eliza(b"hello\nI need my coffee.\nexit\n");

    assert_eq!(
        printed,
        "USER: hello\n\nELIZA: Hello! How has your day been so far?\n\n\
         USER: I need my coffee.\n\nELIZA: What would change if you had your coffee?\n\n\
         USER: exit\n"
    );
}

#[test]
fn the_end_of_input_ends_it() {
    assert_eq!(with_eliza(b""), "USER: \n");
    assert_eq!(with_eliza(b"  exit "), "USER:   exit \n");
    assert_eq!(
        with_eliza(b"I need my coffee."),
        "USER: I need my coffee.\n\nELIZA: What would change if you had your coffee?\n\nUSER: \n",
        "a line without its end is a line"
    );
}

#[test]
fn empty_lines_are_no_turns() {
    assert_eq!(
        with_eliza(b"\n \r\nI need my coffee.\r\n\nexit"),
        "USER: \nUSER:  \nUSER: I need my coffee.\n\n\
         ELIZA: What would change if you had your coffee?\n\nUSER: \nUSER: exit\n"
    );
}

#[test]
fn any_bytes_will_do() {
    let printed = with_eliza(b"I need \xff\xfe my \0 coffee\nexit\n");
    assert!(printed.starts_with("USER: I need \u{fffd}\u{fffd} my \0 coffee\n\nELIZA: "));

    let mut long = vec![b'x'; 3 << 20];
    long.extend(b"\nI need my coffee.\nexit\n");
    let printed = with_eliza(&long);
    assert!(printed.ends_with("ELIZA: What would change if you had your coffee?\n\nUSER: exit\n"));
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

    assert_eq!(
        printed,
        "USER: hi\n\nOPENAI_AGENT: Hello!\n\nUSER: how are you?\n\nOPENAI_AGENT: Fine.\n\nUSER: exit\n"
    );
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
fn the_introduction_names_the_server_without_its_secrets() {
    let environment = [(
        "OPENAI_BASE_URL",
        "http://me:s3cret@localhost:1/v1?key=s3cret",
    )];
    let output = say(chat(&[], &environment), b"");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("You are talking to gpt-4o-mini at http://localhost:1/v1.\n"));

    // Blank is unset, and nothing is asked before the first line.
    let environment = [("OPENAI_BASE_URL", " "), ("OPENAI_API_KEY", "sk-mine")];
    let output = say(chat(&[], &environment), b"");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("You are talking to gpt-4o-mini at https://api.openai.com/v1.\n"));
    assert!(!printed.contains("sk-mine"));
}

#[test]
fn a_wrong_address_is_one_line_and_the_conversation_goes_on() {
    let nobody = Nobody::new();
    let url = nobody.url("/v1");

    let printed = conversation(
        chat(&[], &[("OPENAI_BASE_URL", &url)]),
        b"hi\nhello?\nexit\n",
    );

    let mut lines = printed.lines();
    for said in ["hi", "hello?"] {
        assert_eq!(lines.next().unwrap(), format!("USER: {said}"));
        assert_eq!(lines.next().unwrap(), "");
        let error = lines.next().unwrap();
        let begin = format!("No answer: POST {url}/chat/completions got no answer");
        assert!(
            error.starts_with(&begin) && error.contains("refused"),
            "{error}"
        );
        assert_eq!(lines.next().unwrap(), "");
    }
    assert_eq!(lines.collect::<Vec<_>>(), ["USER: exit"]);
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
            "USER: hi\n\nNo answer: status 401 from POST {url}/chat/completions: Incorrect API key: ***\n\n\
             USER: hi again\n\nOPENAI_AGENT: Hel\n\nThe answer broke off: the model's server failed in \
             the middle of its answer: overheated\n\n\
             USER: once more\n\nOPENAI_AGENT: Hello!\n\nUSER: exit\n"
        )
    );
    let last: Value = serde_json::from_slice(&server.finish()[2].body).unwrap();
    assert_eq!(
        last["messages"],
        json!([{"role": "user", "content": "once more"}])
    );
}

/// In a terminal: the program is the foreground process of a pseudo-terminal of its own.
#[cfg(unix)]
mod terminal {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::process::CommandExt;
    use std::process::Child;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::process::{ioctl_tiocsctty, setsid};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Termios, tcgetattr};

    use super::*;

    /// Tells the test of that name that it is to become the program.
    const PROGRAM: &str = "MINIAGENTS_TEST_PROGRAM";

    /// After so long a test fails that waits for something to be printed.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Takes the terminal at its standard input as its own and becomes the program. The tests below
    /// run it as a process of its own; for itself it does nothing.
    #[test]
    fn takes_the_terminal() {
        let Some(program) = env::var_os(PROGRAM) else {
            return;
        };
        setsid().unwrap();
        ioctl_tiocsctty(rustix::stdio::stdin()).unwrap();
        let error = Command::new(program).env_remove(PROGRAM).exec();
        panic!("{error}");
    }

    struct Terminal {
        chat: Child,
        /// The keyboard.
        keys: File,
        /// The terminal itself; open, so that its settings can be seen when the program has ended.
        terminal: OwnedFd,
        before: String,
        screen: Receiver<Vec<u8>>,
        /// What was printed and not yet looked at.
        seen: String,
    }

    /// The settings, as text that can be compared.
    fn settings(terminal: impl AsFd) -> String {
        let settings: Termios = tcgetattr(terminal).unwrap();
        format!("{settings:?}")
    }

    impl Terminal {
        fn new(environment: &[(&str, &str)]) -> Self {
            let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&keys).unwrap();
            unlockpt(&keys).unwrap();
            let name = ptsname(&keys, Vec::new()).unwrap();
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            let terminal = open(name, flags, Mode::empty()).unwrap();
            let before = settings(&terminal);
            let end = || Stdio::from(terminal.try_clone().unwrap());
            let chat = Command::new(env::current_exe().unwrap())
                .args(["--exact", "terminal::takes_the_terminal", "--nocapture"])
                .env_clear()
                .envs(environment.iter().copied())
                .env(PROGRAM, binary())
                .stdin(end())
                .stdout(end())
                .stderr(end())
                .spawn()
                .unwrap();
            let keys = File::from(keys);
            let mut reader = keys.try_clone().unwrap();
            let (sender, screen) = channel();
            thread::spawn(move || {
                let mut piece = [0; 1024];
                while let Ok(read @ 1..) = reader.read(&mut piece) {
                    if sender.send(piece[..read].to_vec()).is_err() {
                        return;
                    }
                }
            });
            let mut terminal = Terminal {
                chat,
                keys,
                terminal,
                before,
                screen,
                seen: String::new(),
            };
            terminal.wait_for("You are talking to ");
            terminal.wait_for("USER: ");
            terminal
        }

        fn press(&mut self, keys: &[u8]) {
            self.keys.write_all(keys).unwrap();
        }

        /// Waits until that is printed, and gives what came before.
        fn wait_for(&mut self, text: &str) -> String {
            let until = Instant::now() + PATIENCE;
            loop {
                if let Some((before, after)) = self.seen.split_once(text) {
                    let before = before.to_owned();
                    self.seen = after.to_owned();
                    return before;
                }
                let left = until.saturating_duration_since(Instant::now());
                match self.screen.recv_timeout(left) {
                    Ok(piece) => self.seen += &String::from_utf8_lossy(&piece),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        let _ = self.chat.kill();
                        panic!("{text:?} was not printed, but {:?}", self.seen);
                    }
                }
            }
        }

        /// Waits for the program to end: well, and with the terminal as it was.
        fn ends_well(mut self) {
            let status = self.chat.wait().unwrap();
            assert_eq!(status.code(), Some(0), "{status} {:?}", self.seen);
            assert_eq!(settings(&self.terminal), self.before);
        }
    }

    #[test]
    fn a_conversation_ends_with_exit() {
        let mut terminal = Terminal::new(&[]);

        terminal.press(b"I need my coffee.\n");
        terminal.wait_for("\nELIZA: What would change if you had your coffee?\r\n\r\nUSER: ");
        terminal.press(b"exit\n");

        terminal.ends_well();
    }

    #[test]
    fn ctrl_d_ends_it() {
        let mut terminal = Terminal::new(&[]);

        terminal.press(b"\x04");

        terminal.ends_well();
    }

    #[test]
    fn ctrl_c_while_typing_ends_it() {
        let mut terminal = Terminal::new(&[]);

        terminal.press(b"I need my co");
        terminal.wait_for("I need my co");
        terminal.press(b"\x03");

        terminal.ends_well();
    }

    #[test]
    fn ctrl_c_while_a_server_stalls_ends_it() {
        let stalls = [Answer::new(""), Answer::events([token("Hel").as_str()])];
        for (stall, said) in stalls.into_iter().zip([None, Some("OPENAI_AGENT: Hel")]) {
            let server = Loopback::new([stall.then(Then::Hold)]);
            let mut terminal = Terminal::new(&[("OPENAI_BASE_URL", &server.url("/v1"))]);

            terminal.press(b"hello\n");
            server.next();
            if let Some(said) = said {
                terminal.wait_for(said);
            }
            terminal.press(b"\x03");

            terminal.ends_well();
            server.finish(); // it ends when the connection has been closed
        }
    }

    #[test]
    fn ctrl_c_twice_ends_it_even_when_nobody_reads_the_output() {
        use rustix::process::{Pid, Signal, kill_process};

        let mut chat = chat(&[], &[]).spawn().unwrap();
        let process = Pid::from_child(&chat);
        let line = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        chat.stdin.take().unwrap().write_all(&line).unwrap();
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

        assert_eq!(status.code(), Some(130));
    }

    #[test]
    fn ctrl_c_while_eliza_speaks_ends_it() {
        let mut terminal = Terminal::new(&[]);

        terminal.press(b"I need my coffee.\n");
        terminal.wait_for("ELIZA: What");
        terminal.press(b"\x03");

        terminal.ends_well();
    }
}
