//! Each example prints what its head says it prints.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

fn check(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("examples").join(name).with_extension("rs");
    let announced = announced(&fs::read_to_string(&source).unwrap());

    let mut command = built(name, &source).map_or_else(
        || {
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(["run", "--quiet", "--example", name])
                .current_dir(root);
            cargo
        },
        Command::new,
    );
    // Without these no example asks a server.
    for vendor in ["OPENAI", "ANTHROPIC"] {
        command.env_remove(format!("{vendor}_API_KEY"));
        command.env_remove(format!("{vendor}_BASE_URL"));
    }
    let output = command.output().unwrap();

    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), announced);
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
