//! The agents of the console, as a person in front of a terminal sees them.
#![cfg(all(unix, feature = "console"))]

mod terminal;

use std::cell::Cell;
use std::future::pending;
use std::io::Write;
use std::process::exit;
use std::rc::Rc;
use std::time::Duration;

use miniagents::console::{ConsoleInputAgent, ConsoleOutputAgent, console_user_agent};
use miniagents::dialog::DialogLoop;
use miniagents::executor::{sleep, timeout, yield_now};
use miniagents::history::InMemoryHistoryAgent;
use miniagents::{
    Agent, AssistantMessage, Error, InteractionContext, MessageClass, MessagePromise,
    MessageTokenAppender, MiniAgent, MiniAgents, Result, TextMessage, messages,
};
use terminal::Terminal;

/// An assistant that repeats what was said last, token by token; told to `count`, it never ends.
async fn echo(ctx: InteractionContext) -> Result<()> {
    let messages = ctx.messages().await?;
    let last = messages.last().map_or("nothing", |message| message.text());
    let last = last.to_owned();
    let appender = MessageTokenAppender::new().with_capture_errors(true);
    appender.open()?;
    let promise = MessagePromise::of(MessageClass::ASSISTANT)
        .with("agent_alias", ctx.this_agent().alias())
        .append_from(&appender)?;
    ctx.reply(promise);
    if last == "fail" {
        appender.append("I")?;
        return appender.close_with(Error::msg("have no words"));
    }
    if last == "wait" {
        appender.append("One ")?;
        sleep(Duration::from_millis(300)).await;
        appender.append("moment.")?;
        appender.close();
        return Ok(());
    }
    if last == "count" {
        let _stopped = Stopped(STOPPED.with(Rc::clone));
        appender.append("one, ")?.append("two, ")?;
        pending::<()>().await;
    }
    appender.append("You said:")?;
    for line in last.split_inclusive('\n') {
        appender.append(format!(" {line}"))?;
        yield_now().await;
    }
    appender.close();
    Ok(())
}

thread_local! {
    static STOPPED: Rc<Cell<bool>> = Rc::default();
}

/// Notes that an agent was stopped.
struct Stopped(Rc<Cell<bool>>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// The programs, by name.
fn run(program: &str) -> Result<()> {
    let history = InMemoryHistoryAgent::new();
    let user = console_user_agent().with_history(history.clone());
    let dialog = DialogLoop::new(user, echo);
    match program {
        "dialog" => {
            MiniAgents::new().run_agent(dialog, ())?;
            for message in history.messages() {
                println!("[{}: {:?}]", message.role().unwrap_or("?"), message.text());
            }
            if STOPPED.with(|stopped| stopped.get()) {
                println!("[stopped]");
            }
        }
        // Ctrl-C after the end of a dialog is nobody's but the program's.
        "dialog, then other work" => {
            MiniAgents::new().run_agent(dialog, ())?;
            println!("working");
            std::thread::sleep(Duration::from_secs(3600));
        }
        "dialog with a limit" => MiniAgents::new().run(async {
            let limited = timeout(Duration::from_millis(300), async {
                let replies = dialog.trigger(());
                let _cancel = Cancel(replies.clone());
                replies.await.map(drop)
            });
            assert!(limited.await.is_err_and(|error| error.is_timeout()));
            println!("[over]");
            Result::Ok(())
        })?,
        "two at work" => MiniAgents::new().run(async {
            let input = ConsoleInputAgent::new().with_greeting("").with_prompt("> ");
            let typed = input.trigger(());
            let busy = MiniAgent::new(|ctx: InteractionContext| async move {
                for number in 1..=3 {
                    sleep(Duration::from_millis(20)).await;
                    let message = TextMessage::new(format!("step {number}"));
                    ctx.reply(message.with("agent_alias", "busy"));
                }
                Ok(())
            });
            ConsoleOutputAgent::new().trigger(busy.trigger(())).await?;
            println!("[{}]", typed.await?[0].text());
            Result::Ok(())
        })?,
        "styles" => {
            let said = messages![
                TextMessage::new("plain"),
                TextMessage::new("blue").with("console_style", 94),
                TextMessage::new("shouting")
                    .with("console_style", "95;1")
                    .with("role", "user"),
                TextMessage::new("a\x1b[2Jb\x07").with("console_style", "1m\x1b[2J"),
                AssistantMessage::new("named").with("agent_alias", "Some_agent"),
            ];
            MiniAgents::new().run_agent(ConsoleOutputAgent::new(), said)?;
            let said = TextMessage::new("nobody");
            MiniAgents::new().run_agent(ConsoleOutputAgent::new().with_aliases(false), said)?;
        }
        other => panic!("no program {other}"),
    }
    Ok(())
}

/// Cancels when it goes.
struct Cancel(miniagents::MessageSequencePromise);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[test]
fn takes_the_terminal() {
    terminal::take_the_terminal(|program| {
        let ended = run(program);
        if let Err(error) = &ended {
            println!("{error:?}");
        }
        std::io::stdout().flush().unwrap();
        exit(i32::from(ended.is_err()));
    });
}

/// What a dialog begins with.
const GREETING: &str = "YOU ARE NOW IN A CHAT WITH AN AI ASSISTANT\n\n\
                        Press Enter to send your message.\n\
                        Press Ctrl+Space to insert a newline.\n\
                        Press Ctrl+C (or type \"exit\") to quit the conversation.";

fn dialog() -> Terminal {
    let mut terminal = Terminal::start("dialog", &[], None);
    terminal.shows(&format!("{GREETING}\n\nUSER:"));
    terminal
}

#[test]
fn a_dialog_looks_as_documented() {
    let mut terminal = dialog();

    terminal.press("hi\r");
    terminal.shows(&format!(
        "{GREETING}\n\nUSER: hi\n\nECHO: You said: hi\n\nUSER:"
    ));
    terminal.press("got it, thanks!\r");
    terminal.wait_for("USER: got it, thanks!\n\nECHO: You said: got it, thanks!\n\nUSER:");
    terminal.press("  exit \r");

    assert_eq!(
        terminal.ends_well(),
        format!(
            "{GREETING}\n\nUSER: hi\n\nECHO: You said: hi\n\n\
             USER: got it, thanks!\n\nECHO: You said: got it, thanks!\n\nUSER:   exit\n\n\
             [user: \"hi\"]\n[assistant: \"You said: hi\"]\n\
             [user: \"got it, thanks!\"]\n[assistant: \"You said: got it, thanks!\"]"
        )
    );
}

#[test]
fn what_is_typed_can_be_edited() {
    let mut terminal = dialog();

    // Home, a word, End, two backspaces, Ctrl-A again and a deletion; then letters of several bytes and
    // of double width, and one of them taken back.
    terminal.press("orld!!\x1b[H");
    terminal.press("hello w\x1b[F\x7f\x7f");
    terminal.wait_for("USER: hello world");
    terminal.press(" \u{4f60}\u{597d}\u{e9}\u{1f980}\x7f\x1b[D\x1b[D.\r");

    let said = "hello world \u{4f60}.\u{597d}\u{e9}";
    terminal.wait_for(&format!("ECHO: You said: {said}\n\nUSER:"));
    // What was typed before comes back, and can be changed.
    terminal.press("\x1b[A, again\r");
    terminal.wait_for(&format!("ECHO: You said: {said}, again\n\nUSER:"));
    terminal.press("exit\r");
    terminal.ends_well();
}

#[test]
fn lines_are_inserted_by_ctrl_space_and_by_pasting() {
    let mut terminal = dialog();

    terminal.press("one\0two\x1b\rthree");
    terminal.wait_for("USER: one\ntwo\nthree");
    terminal.press("\r");
    terminal.wait_for("ECHO: You said: one\n two\n three\n\nUSER:");

    terminal.press("\x1b[200~four\rfive\nexit\n\x1b[201~");
    terminal.wait_for("USER: four\nfive\nexit");
    terminal.press("six\r");
    terminal.wait_for("ECHO: You said: four\n five\n exit\n six\n\nUSER:");
    terminal.press("exit\r");
    let shown = terminal.ends_well();
    assert!(
        shown.contains("[user: \"four\\nfive\\nexit\\nsix\"]"),
        "{shown}"
    );
}

#[test]
fn what_is_typed_ahead_is_not_lost() {
    let mut terminal = dialog();

    terminal.press("one\rtwo\rexit\r");

    let shown = terminal.ends_well();
    assert!(shown.contains("ECHO: You said: one\n"), "{shown}");
    assert!(
        shown.ends_with("[user: \"two\"]\n[assistant: \"You said: two\"]"),
        "{shown}"
    );
}

#[test]
fn nothing_but_spaces_is_no_turn() {
    let mut terminal = dialog();

    terminal.press("\r");
    terminal.wait_for("USER:\n\nUSER:");
    terminal.press("  \rhi\r");
    terminal.wait_for("USER: hi\n\nECHO: You said: hi\n\nUSER:");
    terminal.press("\x04");

    let shown = terminal.ends_well();
    assert!(
        shown.ends_with("[user: \"hi\"]\n[assistant: \"You said: hi\"]"),
        "{shown}"
    );
}

#[test]
fn ctrl_c_while_typing_ends_it() {
    let mut terminal = dialog();

    terminal.press("hi\r");
    terminal.wait_for("ECHO: You said: hi\n\nUSER:");
    terminal.press("never sent\x1b[D\x1b[D");
    terminal.wait_for("never sent");
    terminal.press("\x03");

    let shown = terminal.ends_well();
    assert!(
        shown.ends_with("USER: never sent\n[user: \"hi\"]\n[assistant: \"You said: hi\"]"),
        "{shown}"
    );
}

#[test]
fn a_signal_while_typing_ends_it() {
    use rustix::process::{Signal, kill_process};

    let mut terminal = dialog();

    terminal.press("never sent");
    terminal.wait_for("never sent");
    kill_process(terminal.process(), Signal::INT).unwrap();

    let shown = terminal.ends_well();
    assert!(shown.ends_with("USER: never sent"), "{shown}");
}

#[test]
fn ctrl_c_during_an_answer_stops_the_assistant() {
    let mut terminal = dialog();

    terminal.press("count\r");
    terminal.wait_for("ECHO: one, two,");
    terminal.press("\x03");

    let shown = terminal.ends_well();
    assert!(
        shown.ends_with("ECHO: one, two, ^C\n[user: \"count\"]\n[stopped]"),
        "{shown}"
    );
}

#[test]
fn after_the_dialog_ctrl_c_is_what_it_was() {
    use std::os::unix::process::ExitStatusExt;

    let mut terminal = Terminal::start("dialog, then other work", &[], None);
    terminal.wait_for("USER:");
    terminal.press("exit\r");
    terminal.wait_for("working");
    terminal.press("\x03");

    assert_eq!(terminal.ends().signal(), Some(2));
}

#[test]
fn an_answer_that_fails_is_shown_and_the_dialog_goes_on() {
    let mut terminal = dialog();

    terminal.press("fail\r");
    terminal.wait_for("ECHO: I\n\nThe answer broke off: have no words\n\nUSER:");
    terminal.press("hi\r");
    terminal.wait_for("ECHO: You said: hi\n\nUSER:");
    terminal.press("exit\r");

    let shown = terminal.ends_well();
    assert!(
        shown.ends_with("[user: \"fail\"]\n[user: \"hi\"]\n[assistant: \"You said: hi\"]"),
        "{shown}"
    );
}

#[test]
fn a_dialog_that_is_cancelled_takes_its_prompt_away() {
    let mut terminal = Terminal::start("dialog with a limit", &[], None);

    terminal.wait_for("USER:");
    terminal.press("never sent");

    let shown = terminal.ends_well();
    assert!(shown.ends_with("[over]"), "{shown}");
}

#[test]
fn others_work_while_a_person_types() {
    let mut terminal = Terminal::start("two at work", &[], None);

    terminal.wait_until("the prompt", |shown| shown.ends_with('>'));
    terminal.press("type");
    terminal.shows("BUSY: step 1\n\nBUSY: step 2\n\nBUSY: step 3\n\n> type");
    terminal.press("d\r");

    assert_eq!(
        terminal.ends_well(),
        "BUSY: step 1\n\nBUSY: step 2\n\nBUSY: step 3\n\n> typed\n\n[typed]"
    );
}

#[test]
fn a_line_is_laid_out_anew_when_the_window_changes() {
    let mut terminal = dialog();

    let long = "a line that is longer than the window will be, by some words";
    terminal.press(long);
    terminal.wait_for(long);
    terminal.resize(24, 40);
    terminal.press("!\x1b[H\x1b[D>");
    terminal.wait_for(&format!("USER: >{long}!"));
    terminal.press("\r");
    terminal.wait_for(&format!("ECHO: You said: >{long}!\n\nUSER:"));
    terminal.press("exit\r");

    terminal.ends_well();
}

/// The colour of the place where that text begins on the screen.
fn colour_of(terminal: &Terminal, text: &str) -> (vt100::Color, bool) {
    let screen = terminal.screen();
    let rows: Vec<_> = screen.rows(0, 60).collect();
    let (row, column) = rows
        .iter()
        .enumerate()
        .find_map(|(row, line)| Some((row, line.find(text)?)))
        .unwrap_or_else(|| panic!("{text:?} is not shown"));
    let cell = screen.cell(row as u16, column as u16).unwrap();
    (cell.fgcolor(), cell.bold())
}

#[test]
fn messages_have_styles_and_names() {
    use vt100::Color::Idx;

    let mut terminal = Terminal::start("styles", &[], None);
    terminal.shows(
        "ASSISTANT: plain\n\nASSISTANT: blue\n\nUSER: shouting\n\nASSISTANT: a[2Jb\n\n\
         SOME_AGENT: named\n\nnobody",
    );

    // Bright green and bold unless the message says otherwise; what is no style does not count.
    assert_eq!(colour_of(&terminal, "plain"), (Idx(10), true));
    assert_eq!(colour_of(&terminal, "ASSISTANT: blue"), (Idx(12), false));
    assert_eq!(colour_of(&terminal, "blue"), (Idx(12), false));
    assert_eq!(colour_of(&terminal, "shouting"), (Idx(13), true));
    assert_eq!(colour_of(&terminal, "a[2Jb"), (Idx(10), true));
    terminal.ends_well();

    let mut terminal = dialog();
    terminal.press("hi");
    terminal.wait_for("USER: hi");
    assert_eq!(colour_of(&terminal, "YOU ARE"), (Idx(10), true));
    assert_eq!(colour_of(&terminal, "USER"), (Idx(11), true));
    assert_eq!(colour_of(&terminal, "hi"), (Idx(11), true));
    terminal.press("\x03");
    terminal.ends_well();
}

#[test]
fn a_terminal_without_an_editor_will_do() {
    for end in ["exit\r", "\x04", "never sent\x03"] {
        let mut terminal = Terminal::start("dialog", &[("TERM", "dumb")], None);
        terminal.wait_for("USER:");
        terminal.press("hi\r");
        terminal.wait_for("USER: hi\n\nECHO: You said: hi\n\nUSER:");
        terminal.press(end);
        let shown = terminal.ends_well();
        assert!(
            shown.ends_with("[user: \"hi\"]\n[assistant: \"You said: hi\"]"),
            "{shown}"
        );
    }
}

#[test]
fn what_is_typed_during_an_answer_is_the_next_message() {
    let mut terminal = dialog();

    terminal.press("wait\r");
    terminal.wait_for("ECHO: One");
    terminal.press("exit\n");

    let shown = terminal.ends_well();
    assert!(
        shown.ends_with("[user: \"wait\"]\n[assistant: \"One moment.\"]"),
        "{shown}"
    );
}

#[test]
fn no_color_means_no_colours() {
    for environment in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let mut terminal = Terminal::start("dialog", &environment, None);
        terminal.wait_for("USER:");
        terminal.press("hi\r");
        terminal.wait_for("ECHO: You said: hi\n\nUSER:");
        let bytes = String::from_utf8_lossy(&terminal.bytes).into_owned();
        terminal.press("exit\r");
        terminal.ends_well();

        let coloured = ["\x1b[9", "\x1b[1m", "\x1b[0m"]
            .iter()
            .any(|it| bytes.contains(it));
        assert!(!coloured, "{bytes:?}");
    }
}

#[test]
fn a_person_sees_the_prompt_when_the_output_is_a_file() {
    for environment in [&[][..], &[("TERM", "dumb")]] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut terminal = Terminal::start("dialog", environment, Some(writer.into()));
        terminal.wait_for("USER:");
        terminal.press("hi\r");
        terminal.wait_until("a second prompt", |shown| {
            shown.matches("USER:").count() == 2
        });
        terminal.press("exit\r");
        terminal.ends_well();

        let written = std::io::read_to_string(reader).unwrap();
        let written = written.trim_start_matches("\nrunning 1 test\n");
        assert_eq!(
            written,
            "ECHO: You said: hi\n\n[user: \"hi\"]\n[assistant: \"You said: hi\"]\n"
        );
    }
}
