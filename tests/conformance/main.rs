//! Small multi-agent programs, written as JSON, do the same things in the same order as the Python
//! package on asyncio. Each program stands beside the trace that Python left of it.
//!
//! Two other files are compared when `CONFORMANCE_PROGRAMS` and `CONFORMANCE_EXPECTED` name them.

mod json;
mod machine;

use std::fs;

use json::Json;
use machine::{Accidents, Done, Host, run};

/// How many differences are shown.
const SHOWN: usize = 5;

fn lines(path: &str) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How many orders of closing are tried: all of six calls that one body makes.
const ORDERS: u64 = 720;

/// Runs every program and compares what it did with what is expected.
fn compare(programs: &str, expected: &str, host: Host) {
    let (programs, expected) = (lines(programs), lines(expected));
    assert_eq!(programs.len(), expected.len(), "one trace for each program");

    let (mut differences, mut slips) = (Vec::new(), 0);
    for (program, expected) in programs.iter().zip(&expected) {
        assert_eq!(program["id"], expected["id"]);
        let expected = recorded(expected);
        let done = run(program, host, Accidents::Mended);
        let Some(difference) = first_difference(&done, &expected) else {
            continue;
        };
        // Some programs stumble over a slip of the Python package, see `Accidents`.
        let mirrored = |order| run(program, host, Accidents::Mirrored(order)) == expected;
        if (0..ORDERS).any(mirrored) {
            slips += 1;
        } else {
            differences.push(format!("{}: {difference}", program["id"].as_str().unwrap()));
        }
    }

    let equal = programs.len() - differences.len();
    println!("conformance: {equal} of {} programs equal", programs.len());
    if slips > 0 {
        println!("  {slips} of them with a slip of the Python package mirrored");
    }
    for difference in differences.iter().take(SHOWN) {
        println!("  {difference}");
    }
    assert!(
        differences.is_empty(),
        "{}",
        differences[..SHOWN.min(differences.len())].join("\n")
    );
}

/// What Python did.
fn recorded(expected: &Json) -> Done {
    let text = |value: &Json| value.as_str().unwrap().to_string();
    let trace = expected["trace"]
        .items()
        .iter()
        .map(|line| (text(&line[0]), text(&line[1])));
    Done {
        trace: trace.collect(),
        outcome: text(&expected["outcome"]),
    }
}

/// The first line in which two traces differ.
fn first_difference(done: &Done, expected: &Done) -> Option<String> {
    for place in 0..done.trace.len().max(expected.trace.len()) {
        let (ours, theirs) = (done.trace.get(place), expected.trace.get(place));
        if ours != theirs {
            return Some(format!("line {place} is {ours:?}, expected {theirs:?}"));
        }
    }
    let (ours, theirs) = (&done.outcome, &expected.outcome);
    (ours != theirs).then(|| format!("the outcome is {ours}, expected {theirs}"))
}

fn compare_own(host: Host) {
    let named = |name| std::env::var(name).ok();
    match (named("CONFORMANCE_PROGRAMS"), named("CONFORMANCE_EXPECTED")) {
        (Some(programs), Some(expected)) => compare(&programs, &expected, host),
        _ => {
            let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/");
            for corpus in [
                ["handwritten", "handwritten.expected"],
                ["programs", "expected"],
            ] {
                let [programs, expected] = corpus.map(|name| format!("{own}{name}.jsonl"));
                compare(&programs, &expected, host);
            }
        }
    }
}

#[test]
fn programs_do_what_python_does() {
    compare_own(Host::Own);
}

#[test]
fn programs_do_what_python_does_in_a_foreign_block_on() {
    compare_own(Host::FuturesLite);
}

#[test]
fn programs_do_what_python_does_in_a_foreign_executor() {
    compare_own(Host::Smol);
}

#[test]
fn a_difference_is_found() {
    let line = |what: &str| ("main".to_string(), what.to_string());
    let one = Done {
        trace: vec![line("a")],
        outcome: "ok".into(),
    };
    let other = Done {
        trace: vec![line("b")],
        ..one.clone()
    };
    let failed = Done {
        outcome: "deadlock".into(),
        ..one.clone()
    };
    let longer = Done {
        trace: vec![line("a"), line("b")],
        ..one.clone()
    };

    assert_eq!(first_difference(&one, &one), None);
    assert!(
        first_difference(&one, &other)
            .unwrap()
            .starts_with("line 0")
    );
    assert!(first_difference(&one, &failed).unwrap().contains("outcome"));
    assert!(
        first_difference(&one, &longer)
            .unwrap()
            .starts_with("line 1")
    );
}
