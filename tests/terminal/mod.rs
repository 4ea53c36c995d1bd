//! A program in a pseudo-terminal of its own, as a person in front of it sees it.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// Tells the test `takes_the_terminal` what it is to become.
const PROGRAM: &str = "MINIAGENTS_TEST_PROGRAM";

/// After so long a test fails that waits for something to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// The body of a test of that name. The others run it as a process of its own, where it takes the
/// terminal at its standard input and becomes the program; for itself it does nothing.
pub(crate) fn take_the_terminal(become_it: impl FnOnce(&str)) {
    let Ok(program) = env::var(PROGRAM) else {
        return;
    };
    setsid().unwrap();
    ioctl_tiocsctty(rustix::stdio::stdin()).unwrap();
    become_it(&program);
}

/// Becomes the program of that name.
#[allow(dead_code, reason = "not every test has a program of its own")]
pub(crate) fn execute(program: &str) {
    let error = Command::new(program).env_remove(PROGRAM).exec();
    panic!("{error}");
}

pub(crate) struct Terminal {
    program: Child,
    /// The keyboard.
    keys: File,
    /// The terminal itself; open, so that its settings can be seen when the program has ended.
    terminal: OwnedFd,
    before: String,
    printed: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Everything that was printed, for tests of what the screen does not show.
    pub(crate) bytes: Vec<u8>,
}

/// The settings, as text that can be compared.
fn settings(terminal: impl AsFd) -> String {
    let settings: Termios = tcgetattr(terminal).unwrap();
    format!("{settings:?}")
}

fn many(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Starts `program` with nothing in its environment but this. Of its output, only what comes to the
    /// terminal can be seen.
    pub(crate) fn start(
        program: &str,
        environment: &[(&str, &str)],
        output: Option<Stdio>,
    ) -> Self {
        const SIZE: (u16, u16) = (24, 60);

        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = open(name, flags, Mode::empty()).unwrap();
        tcsetwinsize(&terminal, size(SIZE.0, SIZE.1)).unwrap();
        let before = settings(&terminal);
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let program = Command::new(env::current_exe().unwrap())
            .args(["--exact", "takes_the_terminal", "--nocapture", "--quiet"])
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied())
            .env(PROGRAM, program)
            .stdin(end())
            .stdout(output.unwrap_or_else(end))
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(keys);
        let mut reader = keys.try_clone().unwrap();
        let (sender, printed) = channel();
        thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal {
            program,
            keys,
            terminal,
            before,
            printed,
            screen: vt100::Parser::new(many(SIZE.0), many(SIZE.1), 0),
            bytes: Vec::new(),
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[allow(dead_code, reason = "not every test resizes")]
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.screen.screen_mut().set_size(many(rows), many(columns));
        tcsetwinsize(&self.terminal, size(rows, columns)).unwrap();
    }

    /// What the screen shows, without spaces at the ends of lines, empty lines at the end, and what the
    /// test harness says first.
    pub(crate) fn shown(&self) -> String {
        let contents = self.screen.screen().contents();
        let lines = contents.lines().map(str::trim_end);
        let lines: Vec<_> = lines.filter(|line| *line != "running 1 test").collect();
        lines.join("\n").trim_matches('\n').to_owned()
    }

    /// Waits until the screen is as it should be.
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(&self.shown()) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(piece) = self.printed.recv_timeout(left) else {
                let _ = self.program.kill();
                panic!("waited for {what:?} and saw\n{}", self.shown());
            };
            self.screen.process(&piece);
            self.bytes.extend(piece);
        }
    }

    /// Waits until that is shown somewhere.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |shown| shown.contains(text));
    }

    /// Waits until that is all that is shown.
    #[allow(dead_code, reason = "not every test looks at the whole screen")]
    pub(crate) fn shows(&mut self, text: &str) {
        self.wait_until(text, |shown| shown == text);
    }

    /// The screen itself, with colours and the place of the cursor.
    #[allow(dead_code, reason = "not every test looks at colours")]
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    #[allow(dead_code, reason = "not every test sends signals")]
    pub(crate) fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.program)
    }

    /// Waits for the program to end, in whichever way.
    #[allow(dead_code, reason = "most programs end well")]
    pub(crate) fn ends(mut self) -> std::process::ExitStatus {
        self.program.wait().unwrap()
    }

    /// Waits for the program to end: well, and with the terminal as it was. Gives what is shown then.
    pub(crate) fn ends_well(mut self) -> String {
        let status = self.program.wait().unwrap();
        while let Ok(piece) = self.printed.recv_timeout(Duration::from_millis(50)) {
            self.screen.process(&piece);
        }
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.shown());
        assert_eq!(settings(&self.terminal), self.before);
        assert!(!self.screen.screen().bracketed_paste());
        assert!(!self.screen.screen().hide_cursor());
        self.shown()
    }
}
