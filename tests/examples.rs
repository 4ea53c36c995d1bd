//! Each example prints what its head says it prints.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The last block of text in the head of the source: what the example prints.
fn announced(source: &str) -> String {
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<_> = head
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let begin = head
        .iter()
        .rposition(|line| *line == "```text")
        .expect("a block of text");
    let block = head[begin + 1..].iter().take_while(|line| **line != "```");
    block.map(|line| format!("{line}\n")).collect()
}

/// The example as Cargo has built it, if it is not older than its source.
fn built(name: &str, source: &Path) -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let binary = test.parent()?.parent()?.join("examples").join(file);
    let age = |path: &Path| fs::metadata(path).ok()?.modified().ok();
    (age(&binary)? >= age(source)?).then_some(binary)
}

/// What the example says when it is told `input` through a pipe.
fn output(name: &str, arguments: &[&str], input: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("examples").join(name).with_extension("rs");
    let mut command = built(name, &source).map_or_else(
        || {
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(["run", "--quiet", "--example", name, "--"])
                .current_dir(root);
            cargo
        },
        Command::new,
    );
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut example = command.spawn().unwrap();
    let mut stdin = example.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    example.wait_with_output().unwrap()
}

fn check(name: &str) {
    check_with_input(name, "");
}

fn check_with_input(name: &str, input: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("examples").join(name).with_extension("rs");
    let announced = announced(&fs::read_to_string(&source).unwrap());

    let output = output(name, &[], input);

    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = printed.lines().map(|line| format!("{}\n", line.trim_end()));
    assert_eq!(printed.collect::<String>(), announced);
    assert!(output.status.success());
}

#[test]
fn hello_agent() {
    check("hello_agent");
}

#[test]
fn parallelism() {
    check("parallelism");
}

#[test]
fn sequence_flattening() {
    check("sequence_flattening");
}

#[test]
fn full_duplex() {
    check("full_duplex");
}

#[test]
fn persistence() {
    check("persistence");
}

#[test]
fn error_handling() {
    check("error_handling");
}

#[cfg(all(feature = "anthropic", feature = "openai", feature = "schemars"))]
#[test]
fn tools() {
    check("tools");
}

#[cfg(all(feature = "anthropic", feature = "openai", feature = "schemars"))]
#[test]
fn structured_output() {
    check("structured_output");
}

#[test]
fn research() {
    check("research");
}

#[test]
fn toy_dialog() {
    check_with_input("toy_dialog", "hi\nnice!\nbye\n");
}

/// A folder that is gone when the test is over.
#[cfg(all(feature = "console", feature = "embedded"))]
struct Folder(PathBuf);

#[cfg(all(feature = "console", feature = "embedded"))]
impl Folder {
    fn new(name: &str) -> Self {
        Folder(env::temp_dir().join(format!("miniagents-example-{name}-{}", std::process::id())))
    }

    /// What is in the file of that name, or whose name ends so.
    #[allow(
        dead_code,
        reason = "not every set of features has an example with files"
    )]
    fn read(&self, ending: &str) -> String {
        let mut files = fs::read_dir(&self.0)
            .unwrap()
            .map(|file| file.unwrap().path());
        let file = files.find(|file| file.to_string_lossy().ends_with(ending));
        fs::read_to_string(file.unwrap()).unwrap()
    }
}

#[cfg(all(feature = "console", feature = "embedded"))]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the example prints when it is told `input` and has that folder.
#[cfg(all(feature = "console", feature = "embedded"))]
fn told(name: &str, folder: &Folder, input: &str) -> String {
    let output = output(name, &[folder.0.to_str().unwrap()], input);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "console")]
#[test]
fn improve() {
    let output = output("improve", &[], "i has two  apple\nIt is fine.\n");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "EDITOR: You could say: \"I have two apple.\"\n\nEDITOR: \"It is fine.\" is fine as it is.\n\n"
    );
}

#[cfg(all(feature = "console", feature = "embedded", feature = "history"))]
#[test]
fn dialog() {
    let folder = Folder::new("dialog");
    assert_eq!(
        told("dialog", &folder, "I need my coffee.\n"),
        "EMBEDDED_MODEL: What would change if you had your coffee?\n\n"
    );
    // The next day.
    told("dialog", &folder, "Goodbye.\n");

    let history = folder.read("CHAT.md");
    let speakers: Vec<_> = history
        .split('\n')
        .filter(|line| line.starts_with("user"))
        .collect();
    assert_eq!(speakers.len(), 2, "{history}");
    let logs = fs::read_dir(folder.0.join("llm_logs")).unwrap();
    assert_eq!(logs.count(), 2);
}

#[cfg(all(feature = "console", feature = "embedded"))]
#[test]
fn many_models() {
    let folder = Folder::new("many_models");
    let printed = told("many_models", &folder, "I need my coffee.\n");
    assert_eq!(
        printed,
        "ELIZA: What would change if you had your coffee?\n\n"
    );
    assert_eq!(folder.read("001-0-OPTIMIST.md"), "You shall have it.");
    assert_eq!(
        folder.read("001-1-PESSIMIST.md"),
        "It will be gone before you have it."
    );
}
