//! Histories in files: written and read as the Python package does, whose files are recorded here by
//! `record.py`, and what is ours.
#![cfg(feature = "history")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::{StreamExt, stream};
use miniagents::history::{
    InMemoryHistoryAgent, MarkdownHistoryAgent, MarkdownLlmLoggerAgent, from_markdown, to_markdown,
};
use miniagents::{
    Agent, AssistantMessage, CallOptions, Error, Frozen, InteractionContext, IntoMessages, Message,
    MessageClass, MessagePromise, Messages, MiniAgent, MiniAgents, Result, TextMessage, Token,
    UserMessage, messages,
};
use serde_json::Value;

/// A folder of its own for each test, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("miniagents-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("deeper/CHAT.md")
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn write(file: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Role, model and text of each message.
fn sections(messages: &[Message]) -> Vec<Value> {
    let section = |message: &Message| {
        let model = message.get("model").and_then(miniagents::Value::as_str);
        serde_json::json!([message.role(), model, message.text()])
    };
    messages.iter().map(section).collect()
}

fn records(of: &'static str) -> impl Iterator<Item = Value> {
    of.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// The message that the record describes.
fn message_of(part: &Value) -> Messages {
    let class = match part["class"].as_str().unwrap() {
        "Message" => MessageClass::PLAIN,
        "TextMessage" => MessageClass::TEXT,
        "UserMessage" => MessageClass::USER,
        "SystemMessage" => MessageClass::SYSTEM,
        "AssistantMessage" => MessageClass::ASSISTANT,
        other => panic!("no class {other}"),
    };
    let known = Frozen::from_serialize(&part["known"]).unwrap();
    let tokens = part["tokens"].as_array().unwrap().iter();
    let tokens: Vec<_> = tokens
        .map(|token| token.as_str().unwrap().to_owned())
        .collect();
    if part["whole"].as_bool().unwrap() {
        let message = Message::of(class);
        let message = if class.is_text() {
            message.content(tokens.concat())
        } else {
            message
        };
        let fields = known.fields();
        let message = fields.fold(message, |message, (key, value)| {
            message.with(key, value.clone())
        });
        return message.into_messages();
    }
    let tokens = stream::iter(tokens).map(|token| Ok(Token::from(token.as_str())));
    let promise = MessagePromise::of(class).with_fields(&known).stream(tokens);
    promise.into_messages()
}

#[test]
fn writes_the_files_of_the_python_package_byte_for_byte() {
    let mut count = 0;
    for record in records(include_str!("written.jsonl")) {
        let folder = Folder::new();
        let options = &record["options"];
        let mut history = MarkdownHistoryAgent::new(folder.file());
        if options["ignore_no_history"] == true {
            history = history.with_ignore_no_history(true);
        }
        if options["append"] == false {
            history = history.with_append(false);
        }
        if let Some(role) = options["default_role"].as_str() {
            history = history.with_default_role(role);
        }
        MiniAgents::new()
            .run(async {
                for call in record["calls"].as_array().unwrap() {
                    let said = Messages::list(call.as_array().unwrap().iter().map(message_of));
                    history.clone().trigger(said).await?;
                }
                Result::Ok(())
            })
            .unwrap();
        assert_eq!(
            text(&folder.file()),
            record["file"].as_str().unwrap(),
            "{record}"
        );
        let read = history.messages().unwrap();
        if is_left_open(&text(&folder.file())) {
            // There the rest is a part of the block.
            assert!(read.len() > record["sections"].as_array().unwrap().len());
        } else {
            assert_eq!(Value::from(sections(&read)), record["sections"], "{record}");
        }
        count += 1;
    }
    assert_eq!(count, 32);
}

#[test]
fn reads_what_the_python_package_reads() {
    let (mut same, mut other) = (0, 0);
    for record in records(include_str!("read.jsonl")) {
        let text = record["text"].as_str().unwrap();
        let read = from_markdown(text);
        if is_left_open(text) {
            // In the Python package everything behind the block is a part of it.
            other += 1;
            continue;
        }
        let keys: Vec<_> = read.iter().map(|it| it.hash_key().to_string()).collect();
        assert_eq!(Value::from(sections(&read)), record["sections"], "{text:?}");
        assert_eq!(Value::from(keys), record["keys"]);
        same += 1;

        let not_empty = read.iter().filter(|it| !it.text().trim().is_empty());
        assert_eq!(
            Value::from(not_empty.count()),
            record["not_empty"],
            "{text:?}"
        );
    }
    assert!(same > 700, "{same}");
    assert!(other > 50, "{other}");
}

/// Whether something is opened and never closed, and a heading as it is written stands behind it.
fn is_left_open(text: &str) -> bool {
    const WRITTEN: &str = "\n========================================\n";
    let opens = ["```", "~~~", "<!--", "<pre>"];
    opens.iter().any(|open| {
        text.find(open)
            .is_some_and(|at| text[at..].contains(WRITTEN))
    })
}

#[test]
fn a_block_that_is_never_closed_ends_before_the_next_speaker() {
    for open in [
        "```python\nprint(1)",
        "~~~~\n~~~",
        "<!-- a remark",
        "<pre>\ntext",
        "text\n\n```\n```\n\n```",
    ] {
        let said = [
            AssistantMessage::new(open).build().unwrap(),
            UserMessage::new("go on").build().unwrap(),
            AssistantMessage::new("- # user\n\n> # user\n\n    # user")
                .build()
                .unwrap(),
            UserMessage::new("thanks").build().unwrap(),
        ];
        let read = from_markdown(&to_markdown(&said));
        let texts: Vec<_> = read.iter().map(Message::text).collect();
        assert_eq!(texts, said.each_ref().map(Message::text), "{open}");
    }
    // One that is closed may show how histories are written.
    let example = "So:\n\n```\n\nuser\n========================================\nhi\n```";
    let said = [AssistantMessage::new(example).build().unwrap()];
    assert_eq!(from_markdown(&to_markdown(&said))[0].text(), example);
}

#[test]
fn files_of_other_editors_are_understood() {
    let edited = "\u{feff}# User\r\n\r\nhi\r\n\r\nAssistant / m\r\n===\r\nhello\r\n";
    let read = sections(&from_markdown(edited));
    let expected = serde_json::json!([["user", null, "hi"], ["assistant", "m", "hello"]]);
    assert_eq!(Value::from(read), expected);
}

#[test]
fn what_is_read_is_read_again_when_it_is_written() {
    // The line above the indented one is empty only for the eye; without it that would be code.
    let text = "# user\n\u{a0}\n\t# user\n\u{a0}\nassistant / m\n===\nhi";
    let read = from_markdown(text);
    let again = from_markdown(&to_markdown(&read));
    assert_eq!(again, read);
}

#[test]
fn a_file_that_is_no_text_is_refused_by_name_and_left_as_it_is() {
    let folder = Folder::new();
    write(&folder.file(), b"# user\n\xff\n");
    let history = MarkdownHistoryAgent::new(folder.file()).with_full_history(true);
    let error = MiniAgents::new().run_agent(history, ()).unwrap_err();
    assert!(error.is_value());
    assert!(
        error.to_string().contains("CHAT.md is not UTF-8"),
        "{error}"
    );
    assert_eq!(fs::read(folder.file()).unwrap(), b"# user\n\xff\n");

    // What cannot be a file says which one.
    let history = MarkdownHistoryAgent::new(&folder.0);
    let error = MiniAgents::new().run_agent(history, "hi").unwrap_err();
    let place = folder.0.display().to_string();
    assert!(
        error.to_string().starts_with(&format!("history {place}: ")),
        "{error}"
    );
}

#[test]
fn a_conversation_goes_on_after_a_restart() {
    let folder = Folder::new();
    // Each run is a program of its own.
    let talk = |said: &str| {
        let history = MarkdownHistoryAgent::new(folder.file()).with_full_history(true);
        let messages = [
            UserMessage::new(said),
            AssistantMessage::new(format!("you said {said}")).with("model", "m"),
        ];
        sections(&MiniAgents::new().run_agent(history, messages).unwrap())
    };
    talk("one");
    let all = Value::from(talk("two"));

    let expected = serde_json::json!([
        ["user", null, "one"],
        ["assistant", "m", "you said one"],
        ["user", null, "two"],
        ["assistant", "m", "you said two"],
    ]);
    assert_eq!(all, expected);
}

#[test]
fn what_broke_off_loses_nothing_that_was_there() {
    let folder = Folder::new();
    let file = folder.file();
    let history = MarkdownHistoryAgent::new(&file);
    let run = |said: Messages| MiniAgents::new().run_agent(history.clone(), said);
    run(UserMessage::new("one").into_messages()).unwrap();
    let before = text(&file);

    let breaks_off = stream::iter([Ok(Token::from("half of")), Err(Error::msg("no power"))]);
    let error = MiniAgents::new()
        .run(async {
            let broken = MessagePromise::of(MessageClass::ASSISTANT).stream(breaks_off)?;
            history.clone().trigger(broken).await
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "no power");
    let broken = text(&file);
    assert_eq!(
        broken.strip_prefix(&before).unwrap(),
        "\nassistant\n========================================\nhalf of"
    );

    // Wherever the program was stopped, what is said next is read as what it is.
    for end in before.len()..=broken.len() {
        fs::write(&file, &broken[..end]).unwrap();
        run(UserMessage::new("two").into_messages()).unwrap();
        let read = history.messages().unwrap();
        let texts: Vec<_> = read.iter().map(Message::text).collect();
        assert_eq!(texts[0].split('\n').next(), Some("one"), "{end}");
        assert_eq!(texts.last(), Some(&"two"), "{end}");
    }
}

#[test]
fn a_history_that_is_begun_anew_replaces_the_old_one_when_it_is_complete() {
    let folder = Folder::new();
    let file = folder.file();
    write(&file, "# user\nold");
    let history = MarkdownHistoryAgent::new(&file).with_append(false);

    let said = messages![UserMessage::new("new"), Error::msg("no power")];
    MiniAgents::new()
        .run_agent(history.clone(), said)
        .unwrap_err();
    assert_eq!(text(&file), "# user\nold");

    MiniAgents::new()
        .run_agent(history.clone(), UserMessage::new("new"))
        .unwrap();
    assert_eq!(
        text(&file),
        "\nuser\n========================================\nnew\n"
    );
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_history_is_written_while_a_message_comes() {
    let folder = Folder::new();
    let file = folder.file();
    let seen = file.clone();
    let tokens = stream::iter(["one\n", "two\n", "three"]).map(move |token| {
        if token == "three" {
            let written = text(&seen);
            assert!(written.ends_with("=\none\ntwo\n"), "{written}");
        }
        Ok(Token::from(token))
    });
    MiniAgents::new()
        .run(async {
            let message = MessagePromise::of(MessageClass::ASSISTANT)
                .with_start(miniagents::Start::OnDemand)
                .stream(tokens)?;
            MarkdownHistoryAgent::new(&file).trigger(message).await
        })
        .unwrap();
    assert!(text(&file).ends_with("=\none\ntwo\nthree\n"));
}

#[test]
fn arguments_of_a_call_come_before_those_of_the_agent() {
    let folder = Folder::new();
    let (one, other) = (folder.0.join("one.md"), folder.0.join("other.md"));
    let history = MarkdownHistoryAgent::new(&one);
    let options = CallOptions::new()
        .with("history_md_file", other.to_string_lossy().into_owned())
        .with("return_full_history", true);
    write(&other, "# user\nbefore\n");
    let replies = MiniAgents::new()
        .run(async { history.trigger_with(UserMessage::new("now"), options).await })
        .unwrap();
    assert_eq!(replies.len(), 2);
    assert!(!one.exists());
}

#[test]
fn a_history_in_memory_keeps_what_came_before_an_error() {
    let history = InMemoryHistoryAgent::new();
    let said = messages![
        UserMessage::new("one"),
        UserMessage::new("never kept").with("no_history", true),
        UserMessage::new("two"),
        Error::interrupted("enough"),
        UserMessage::new("never said"),
    ];
    let error = MiniAgents::new()
        .run_agent(history.clone(), said)
        .unwrap_err();
    assert!(error.is_interrupted());
    let kept = history.messages();
    assert_eq!(
        kept.iter().map(Message::text).collect::<Vec<_>>(),
        ["one", "two"]
    );
}

/// A model that is none: it promises a message and fails in the middle of it.
async fn outer(ctx: InteractionContext) -> Result<()> {
    let logger = ctx.miniagents().llm_logger_agent().unwrap();
    let tokens = stream::iter([Ok(Token::from("half")), Err(Error::msg("overheated"))]);
    let answer = MessagePromise::of(MessageClass::ASSISTANT)
        .with("model", "a/b c")
        .stream(tokens)?;
    let metadata = Frozen::new().with("model", "a/b c").with("stream", true);
    let options = CallOptions::new().with("request_metadata", metadata);
    let asked = TextMessage::new("Be brief.").with("role", "system");
    logger
        .trigger_with(messages![asked, answer], options)
        .await
        .map(drop)
}

#[test]
fn a_log_shows_a_call_and_how_it_failed() {
    let folder = Folder::new();
    let logs = folder.0.join("logs");
    let miniagents = MiniAgents::new().with_llm_logger_agent(MarkdownLlmLoggerAgent::new(&logs));
    miniagents.run_agent(MiniAgent::new(outer), ()).unwrap();
    miniagents.run_agent(MiniAgent::new(outer), ()).unwrap();

    let logs = Folder(logs);
    let files = logs.files();
    assert_eq!(files.len(), 2);
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let (time, rest) = name.split_at("20261120_093000__123456".len());
        assert!(
            time.bytes().all(|b| b.is_ascii_digit() || b == b'_'),
            "{name}"
        );
        assert_eq!(rest, "__a_b_c__000.md");
        assert_eq!(
            text(&file),
            "OUTER\n\n```json\n{\n  \"model\": \"a/b c\",\n  \"stream\": true\n}\n```\n\
             \nsystem\n========================================\nBe brief.\n\
             \nassistant / a/b c\n========================================\nhalf\n\n\
             ----------------------------------------\n\nfailed: Error: overheated\n"
        );
    }
}

#[test]
fn a_file_that_was_not_begun_anew_leaves_nothing_beside_the_old_one() {
    let folder = Folder::new();
    let file = folder.0.join("CHAT.md");
    let begins_anew = MiniAgent::new(MarkdownHistoryAgent::new(&file).with_append(false));
    let written = |messages: Messages| {
        let replies = MiniAgents::new().run_agent(begins_anew.clone(), messages);
        replies.map(drop)
    };
    written("old".into_messages()).unwrap();

    let ended = written(messages!["half of it", Error::msg("broke off")]);

    assert!(ended.is_err());
    assert_eq!(folder.files(), std::slice::from_ref(&file));
    assert!(text(&file).contains("old"), "{}", text(&file));

    // Two that overlap do not get in each other's way.
    let both = MiniAgents::new().run(async {
        let (one, two) = (begins_anew.initiate_call(), begins_anew.initiate_call());
        one.send_message("one");
        two.send_message("two");
        let (one, two) = (one.reply_sequence(), two.reply_sequence());
        one.await?;
        two.await.map(drop)
    });
    both.unwrap();
    assert_eq!(folder.files(), std::slice::from_ref(&file));
    assert!(
        text(&file).contains("one") != text(&file).contains("two"),
        "{}",
        text(&file)
    );
}

#[cfg(feature = "embedded")]
#[test]
fn a_model_may_have_a_logger_of_its_own() {
    use miniagents::llm::EmbeddedModel;

    let (own, common) = (Folder::new(), Folder::new());
    let logged = |folder: &Folder| MarkdownLlmLoggerAgent::new(&folder.0);
    let model = MiniAgent::new(EmbeddedModel::new());
    let apart = model.fork().with_llm_logger_agent(logged(&own));
    let ask_both = async || {
        model.trigger("one").await?;
        apart.trigger("two").await.map(drop)
    };

    MiniAgents::new()
        .with_llm_logger_agent(logged(&common))
        .run(ask_both())
        .unwrap();
    assert_eq!((own.files().len(), common.files().len()), (1, 1));
    assert!(text(&own.files()[0]).contains("two"));

    MiniAgents::new().run(ask_both()).unwrap();
    assert_eq!((own.files().len(), common.files().len()), (2, 1));
}

#[cfg(feature = "embedded")]
#[test]
fn models_are_logged_unless_their_agent_says_otherwise() {
    use miniagents::llm::EmbeddedModel;

    let folder = Folder::new();
    let model = MiniAgent::new(EmbeddedModel::new());
    let silent = model.fork().with("llm_logger_agent", false);
    MiniAgents::new()
        .with_llm_logger_agent(MarkdownLlmLoggerAgent::new(&folder.0).with_response_metadata(false))
        .run(async {
            // Nobody waits for the logs but the end of the context.
            let answers = [
                model.trigger("one"),
                silent.trigger("two"),
                model.trigger("three"),
            ];
            for answer in answers {
                answer.await?;
            }
            Result::Ok(())
        })
        .unwrap();

    let logs: Vec<_> = folder.files().iter().map(|file| text(file)).collect();
    let asked = |log: &String| {
        log.split("=\n")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(logs.iter().map(asked).collect::<Vec<_>>(), ["one", "three"]);
    assert!(logs.iter().all(|log| !log.contains("-----")));
}

#[test]
fn models_of_every_kind_are_logged() {
    use miniagents::llm::ScriptedModel;
    use miniagents::simulation::SimulatedModel;

    let folder = Folder::new();
    let miniagents =
        || MiniAgents::new().with_llm_logger_agent(MarkdownLlmLoggerAgent::new(&folder.0));
    miniagents()
        .run_agent(SimulatedModel::new(), "one")
        .unwrap();
    miniagents()
        .run_agent(ScriptedModel::new(["fine"]), "two")
        .unwrap();

    let logs: Vec<_> = folder.files().iter().map(|file| text(file)).collect();
    assert_eq!(logs.len(), 2);
    assert!(
        logs[0].starts_with("SIMULATED_MODEL\n\n```json\n")
            && logs[0].contains("=\nYou said: one\n")
    );
    assert!(logs[1].starts_with("SCRIPTED_MODEL\n\n```json\n") && logs[1].contains("=\nfine\n"));
}

#[test]
fn a_log_of_a_call_that_is_stopped_says_so() {
    use miniagents::executor::yield_now;
    use miniagents::llm::FunctionModel;

    let folder = Folder::new();
    let model = FunctionModel::new_async(async |_| std::future::pending::<String>().await);
    MiniAgents::new()
        .with_llm_logger_agent(MarkdownLlmLoggerAgent::new(&folder.0))
        .run(async {
            let replies = model.trigger("one");
            let begun = || {
                folder
                    .files()
                    .iter()
                    .any(|file| text(file).contains("assistant"))
            };
            while !begun() {
                yield_now().await;
            }
            replies.cancel();
            Result::Ok(())
        })
        .unwrap();
    let log = text(&folder.files()[0]);
    assert!(
        log.contains("\nuser\n========================================\none\n"),
        "{log}"
    );
    assert!(
        log.ends_with("\n\n----------------------------------------\n\nstopped\n"),
        "{log}"
    );
}

#[test]
fn replies_from_a_file_are_of_the_class_that_is_asked_for_and_empty_ones_are_left_out() {
    let folder = Folder::new();
    write(&folder.file(), "# user\n\n# assistant / m\nhi\n");
    let history = MarkdownHistoryAgent::new(folder.file()).with_class(MessageClass::ASSISTANT);

    let messages = history.messages().unwrap();
    assert_eq!(
        messages[0].full_json(),
        "{\"class_\":\"AssistantMessage\",\"content\":\"hi\",\"content_template\":null,\"role\":\"assistant\",\
         \"model\":\"m\",\"agent_alias\":null}"
    );
    assert_eq!(messages.len(), 1);
    assert_eq!(history.with_skip_empty(false).messages().unwrap().len(), 2);
}
