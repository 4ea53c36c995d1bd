//! Imports point down: the table of the layers, held against the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module at the top of `src`, and what it may import. Everybody may import `error`.
const LAYERS: [(&str, &[&str]); 14] = [
    ("error", &[]),
    ("executor", &[]),
    ("promise", &["executor"]),
    ("frozen", &[]),
    ("message", &["executor", "promise", "frozen"]),
    ("agent", &["executor", "promise", "frozen", "message"]),
    // The edge: models know nobody else, and nobody else knows them.
    ("llm", UPPER),
    ("history", UPPER),
    (
        "dialog",
        &[
            "history", "agent", "executor", "promise", "frozen", "message",
        ],
    ),
    (
        "console",
        &[
            "dialog", "agent", "executor", "promise", "frozen", "message",
        ],
    ),
    // What checks and simulates the others may know them, and nobody imports it.
    ("laws", ALL),
    ("simulation", ALL),
    // Pages of the documentation, without code.
    ("older_names", &[]),
    ("performance", &[]),
];

const UPPER: &[&str] = &["agent", "executor", "promise", "frozen", "message"];

const ALL: &[&str] = &["llm", "agent", "executor", "promise", "frozen", "message"];

/// The sources of `src` by path, such as `promise/queue.rs`.
type Sources = BTreeMap<String, String>;

fn sources() -> Sources {
    fn collect(dir: &Path, under: &str, sources: &mut Sources) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = format!("{under}{name}");
            if path.is_dir() {
                collect(&path, &format!("{name}/"), sources);
            } else if name.ends_with(".rs") {
                sources.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut sources = Sources::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&src, "", &mut sources);
    sources
}

/// The code without comments, spaces and the texts in it.
fn bare(source: &str) -> String {
    let mut bare = String::new();
    for line in source.lines() {
        let mut rest = line;
        let mut code = String::new();
        // A text keeps its quotes; one that spans lines is cut, which takes nothing from the paths.
        while let Some(quote) = rest
            .find('"')
            .filter(|quote| !rest[..*quote].contains("//"))
        {
            code.push_str(&rest[..=quote]);
            let text = &rest[quote + 1..];
            let end = text.find('"').map_or(text.len(), |end| end + 1);
            rest = &text[end..];
        }
        code.push_str(rest);
        let code = code.split("//").next().unwrap_or_default();
        bare.push_str(code.trim());
        bare.push(' ');
    }
    bare
}

/// The paths of a `use`, with its braces opened: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn open_braces(path: &str) -> Vec<String> {
    let Some(brace) = path.find('{') else {
        return vec![path.trim().to_owned()];
    };
    let (before, inside) = (&path[..brace], &path[brace + 1..]);
    let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                let part = inside[start..at].trim();
                if !part.is_empty() {
                    paths.extend(open_braces(&format!("{before}{part}")));
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    paths
}

/// Every path that begins with `crate::`, `super::` or `self::`.
fn paths(source: &str) -> BTreeSet<String> {
    let code = bare(source);
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            let is_inside = before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c));
            if is_inside {
                continue;
            }
            let rest = &code[at..];
            let mut depth = 0_i32;
            let end = rest.find(|c: char| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth < 0 || depth == 0 && !(c.is_alphanumeric() || "_:}".contains(c))
            });
            found.extend(open_braces(&rest[..end.unwrap_or(rest.len())]));
        }
    }
    found
}

/// The module of a file as a path: `promise/queue.rs` is `promise::queue`.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Where a path leads, from the top of the crate. Modules inside of a file are not known, so that their
/// `super` is taken for that of the file, unless it is in tests.
fn resolve(file: &str, path: &str) -> Vec<String> {
    let mut at = module(file);
    let mut parts = path.split("::").map(str::trim).peekable();
    match parts.next() {
        Some("crate") => at.clear(),
        Some("super") => drop(at.pop()),
        _ => {}
    }
    while parts.next_if_eq(&"super").is_some() {
        at.pop();
    }
    at.extend(parts.map(str::to_owned));
    at
}

/// What is wrong with the sources: arrows that the table does not have, modules without a row.
fn wrong_arrows(sources: &Sources) -> Vec<String> {
    let rows: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut wrong = Vec::new();
    for (file, source) in sources {
        let from = module(file).first().cloned();
        let Some(from) = from else { continue }; // `lib.rs` names them all
        let Some(allowed) = rows.get(from.as_str()) else {
            wrong.push(format!("{file}: `{from}` has no row in the table"));
            continue;
        };
        for path in paths(source) {
            let to = resolve(file, &path);
            let Some(to) = to.first().filter(|to| rows.contains_key(to.as_str())) else {
                if path.starts_with("crate::") && !is_root_item(&path) {
                    wrong.push(format!("{file}: `{path}` leads to no module of the table"));
                }
                continue;
            };
            if *to != from && to != "error" && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{file}: `{from}` may not import `{path}`"));
            }
        }
    }
    wrong
}

/// Macros are exported at the top; nothing else is imported from there.
fn is_root_item(path: &str) -> bool {
    path == "crate::messages" || path == "crate::IntoMessages" || path == "crate::Messages"
}

/// The files that the file imports from the same layer.
fn files_imported(file: &str, source: &str, sources: &Sources) -> BTreeSet<String> {
    let layer = module(file).first().cloned().unwrap_or_default();
    let mut files = BTreeSet::new();
    for path in paths(source) {
        let to = resolve(file, &path);
        for length in (2..=to.len()).rev() {
            let candidate = format!("{}.rs", to[..length].join("/"));
            if to[0] == layer && candidate != file && sources.contains_key(&candidate) {
                files.insert(candidate);
                break;
            }
        }
    }
    files
}

/// The files that reach themselves, of those with their imports.
fn in_circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let reaches_itself = |start: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(file) = next.pop() {
            for imported in imports.get(file).into_iter().flatten() {
                if imported == start {
                    return true;
                }
                if seen.insert(imported) {
                    next.push(imported);
                }
            }
        }
        false
    };
    imports
        .keys()
        .filter(|it| reaches_itself(it))
        .cloned()
        .collect()
}

fn circles(sources: &Sources) -> BTreeSet<String> {
    let imports = sources.iter().map(|(file, source)| {
        let files = files_imported(file, source, sources);
        (file.clone(), files)
    });
    in_circles(&imports.collect())
}

fn made_up(files: &[(&str, &str)]) -> Sources {
    let owned = |(file, source): &(&str, &str)| (file.to_string(), source.to_string());
    files.iter().map(owned).collect()
}

#[test]
fn imports_point_down() {
    let wrong = wrong_arrows(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_table_is_a_module() {
    let sources = sources();
    for (name, _) in LAYERS {
        let file = sources.contains_key(&format!("{name}.rs"));
        assert!(
            file || sources.contains_key(&format!("{name}/mod.rs")),
            "{name}"
        );
    }
}

/// In these layers types refer to each other by their nature (a task and its waker, a message and its
/// promise); in all others the files have an order.
const KNOW_EACH_OTHER: [&str; 5] = ["executor", "promise", "frozen", "message", "agent"];

#[test]
fn no_circle_of_files_where_there_need_not_be_one() {
    let circles = circles(&sources());
    let layer = |file: &str| module(file).first().cloned().unwrap_or_default();
    let unexpected: Vec<_> = circles
        .iter()
        .filter(|file| !KNOW_EACH_OTHER.contains(&layer(file).as_str()))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

#[test]
fn the_table_itself_has_no_circle() {
    let table = LAYERS.map(|(name, below)| {
        (
            name.to_owned(),
            below.iter().map(|it| (*it).to_owned()).collect(),
        )
    });
    assert!(in_circles(&BTreeMap::from(table)).is_empty());
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let wrong = wrong_arrows(&made_up(&[
        ("lib.rs", "mod agent; pub use crate::agent::Agent;"),
        (
            "executor/timer.rs",
            "use crate::error::Error;\nuse super::core::Core;",
        ),
        ("executor/task.rs", "fn f() { crate::promise::start() }"),
        (
            "executor/deep/file.rs",
            "use super::super::super::agent::call;",
        ),
        (
            "frozen/value.rs",
            "use crate::{error::Result, message::{Message, Token}};",
        ),
        (
            "message/token.rs",
            "// crate::agent is not imported\nuse crate::frozen::Value;",
        ),
        (
            "llm/sse.rs",
            "const TEXT: &str = \"crate::dialog::chain\";\nuse crate::agent::Agent;",
        ),
        ("llm/openai.rs", "use crate::dialog::chain;"),
        ("sound.rs", "use crate::agent::Agent;"),
        ("agent/call.rs", "use crate::Message;"),
    ]));
    let expected = [
        "agent/call.rs: `crate::Message` leads to no module of the table",
        "executor/deep/file.rs: `executor` may not import `super::super::super::agent::call`",
        "executor/task.rs: `executor` may not import `crate::promise::start`",
        "frozen/value.rs: `frozen` may not import `crate::message::Message`",
        "frozen/value.rs: `frozen` may not import `crate::message::Token`",
        "llm/openai.rs: `llm` may not import `crate::dialog::chain`",
        "sound.rs: `sound` has no row in the table",
    ];
    assert_eq!(wrong, expected);
}

#[test]
fn the_checker_sees_circles() {
    let circles = circles(&made_up(&[
        ("promise/a.rs", "use super::b::B;"),
        ("promise/b.rs", "use super::{c::C, d::D};"),
        ("promise/c.rs", "use crate::promise::a::A;"),
        ("promise/d.rs", "use super::a::A;"),
        ("promise/e.rs", "use super::a::A;"),
    ]));
    let expected = [
        "promise/a.rs",
        "promise/b.rs",
        "promise/c.rs",
        "promise/d.rs",
    ];
    assert_eq!(circles.into_iter().collect::<Vec<_>>(), expected);
}
