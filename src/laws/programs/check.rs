//! The laws, held against a run.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::program::{Body, Call, Item, Order, Program, Step};
use super::run::{Entry, Expect, Failure, Record, Run, Trace, run};
use crate::laws::Violation;

const ENDS: &str = "every program ends, or says why it cannot";
const AGAIN: &str = "a program does the same when it runs again";
const READERS: &str = "every reader of a sequence sees the same";
const ARRIVES: &str = "what is sent arrives, once and in order";
const WHOLE: &str = "who awaits gets the first error, or all messages";

impl Program {
    /// Runs it and gives what happened.
    pub fn run(&self) -> Trace {
        run(self).trace
    }

    /// Runs it and holds the laws against what happened.
    ///
    /// # Errors
    ///
    /// The first law that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        check(self)
    }
}

fn check(program: &Program) -> Result<(), Violation> {
    let ran = run(program);
    if let Some(stuck) = ran.trace.stuck()
        && (!ran.trace.is_deadlock() || !may_be_stuck(program))
    {
        return Err(Violation::new(ENDS, stuck));
    }
    let again = run(program).trace;
    if again != ran.trace {
        let events = ran.trace.events().iter().zip(again.events());
        let place = events.take_while(|(one, other)| one == other).count();
        let at = |events: &[String]| events.get(place).cloned();
        let what = format_args!(
            "event {place} is {:?}, and the second time {:?}",
            at(ran.trace.events()),
            at(again.events())
        );
        return Err(Violation::new(AGAIN, what));
    }
    if ran.trace.stuck().is_some() {
        return Ok(()); // nobody could read what came of it
    }
    for (index, call) in ran.calls.iter().enumerate() {
        let of_call = |broken: Violation| {
            let what = format_args!("call {index}: {}", broken.what());
            Violation::new(broken.law(), what)
        };
        check_readers(call).map_err(of_call)?;
        check_input(&ran, call).map_err(of_call)?;
        check_replies(&ran, index).map_err(of_call)?;
        check_whole(&ran, index).map_err(of_call)?;
    }
    Ok(())
}

/// Whether somebody may wait for a call that is left open, or for one that waits for that.
fn may_be_stuck(program: &Program) -> bool {
    fn in_call(call: &Call) -> bool {
        call.open || in_item(&call.input)
    }
    fn in_item(item: &Item) -> bool {
        match item {
            Item::Call(call) => in_call(call),
            Item::List(items) => items.iter().any(in_item),
            _ => false,
        }
    }
    fn in_body(body: &Body) -> bool {
        body.iter().any(|step| match step {
            Step::Reply(item, _) => in_item(item),
            Step::Call(call) => in_call(call),
            Step::Spawn(body) | Step::SpawnAndWait(body) => in_body(body),
            _ => false,
        })
    }
    in_body(&program.main) || program.agents.iter().any(in_body)
}

fn check_readers(call: &Record) -> Result<(), Violation> {
    let (early, late) = (call.early.borrow(), call.late.borrow());
    if call.has_early.get() && *early != *late {
        let what = format_args!("an early reader sees {early:?}, a late one {late:?}");
        return Err(Violation::new(READERS, what));
    }
    Ok(())
}

/// What was sent, flat, as far as it goes: an error is the last of it.
fn flat(ran: &Run, expect: &Expect) -> Vec<Entry> {
    fn add(ran: &Run, expect: &Expect, flat: &mut Vec<Entry>) -> bool {
        let entries = match expect {
            Expect::Entry(entry) => vec![entry.clone()],
            Expect::List(all) => return all.iter().all(|expect| add(ran, expect, flat)),
            Expect::Input(call) => ran.calls[*call]
                .received
                .borrow()
                .clone()
                .unwrap_or_default(),
            Expect::Replies(call) => ran.calls[*call].late.borrow().clone().unwrap_or_default(),
        };
        for entry in entries {
            let error = matches!(entry, Entry::Error(_));
            flat.push(entry);
            if error {
                return false;
            }
        }
        true
    }
    let mut entries = Vec::new();
    add(ran, expect, &mut entries);
    entries
}

fn check_input(ran: &Run, call: &Record) -> Result<(), Violation> {
    let received = call.received.borrow();
    let Some(received) = &*received else {
        return Ok(()); // it never started
    };
    let sent = flat(ran, &call.input.borrow());
    let abandoned = call.unfinished
        && matches!(received.split_last(), Some((Entry::Error(last), before))
            if last.cancelled && sent.starts_with(before));
    if *received == sent || abandoned {
        return Ok(());
    }
    let what = format_args!("it was sent {sent:?} and received {received:?}");
    Err(Violation::new(ARRIVES, what))
}

/// Whether the call, or one around it, was cancelled or may have been over its time.
fn may_be_stopped(ran: &Run, index: usize) -> bool {
    let mut next = Some(index);
    while let Some(index) = next {
        let call: &Rc<Record> = &ran.calls[index];
        if call.cancelled.get() || call.timeout {
            return true;
        }
        next = call.caller;
    }
    false
}

fn check_replies(ran: &Run, index: usize) -> Result<(), Violation> {
    let call = &ran.calls[index];
    let (late, stopped) = (call.late.borrow(), may_be_stopped(ran, index));
    let got = late.as_deref().unwrap_or_default();
    let safe = |entries: Vec<Entry>| -> Vec<Entry> {
        if call.safe {
            entries.into_iter().map(Entry::made_safe).collect()
        } else {
            entries
        }
    };
    let mut in_order = Vec::new();
    let mut branches = Vec::new();
    for (order, expect) in call.replied.borrow().iter() {
        let entries = safe(flat(ran, expect));
        match order {
            Order::InOrder => in_order.extend(entries),
            Order::OutOfOrder => branches.push(entries),
        }
    }
    if let (Some(failure), false) = (&*call.failed.borrow(), call.closed.get()) {
        in_order.extend(safe(vec![Entry::Error(failure.clone())]));
    }
    branches.insert(0, in_order);

    let mut left: BTreeMap<&Entry, i32> = BTreeMap::new();
    for entry in branches.iter().flatten() {
        *left.entry(entry).or_default() += 1;
    }
    for entry in got {
        let count = left.entry(entry).or_default();
        *count -= 1;
        if *count < 0 && !(stopped && says_that_it_was_stopped(entry)) {
            let what = format_args!("{entry:?} was never replied; in full {got:?}");
            return Err(Violation::new(ARRIVES, what));
        }
    }
    let lost = left.into_iter().find(|(_, count)| *count > 0);
    match lost {
        // Of what was stopped the rest is lost, and the last that is read says so.
        Some(_) if stopped && got.last().is_some_and(says_that_it_was_stopped) => return Ok(()),
        Some((entry, _)) => {
            let what = format_args!("{entry:?} was replied and is lost; in full {got:?}");
            return Err(Violation::new(ARRIVES, what));
        }
        None => {}
    }
    for branch in &branches {
        let mut rest = got.iter();
        if let Some(entry) = branch
            .iter()
            .find(|entry| !rest.any(|other| other == *entry))
        {
            let what = format_args!("{entry:?} is not in its place; in full {got:?}");
            return Err(Violation::new(ARRIVES, what));
        }
    }
    Ok(())
}

fn says_that_it_was_stopped(entry: &Entry) -> bool {
    let over = "the call was not over within";
    match entry {
        Entry::Error(failure) => failure.cancelled || failure.text.starts_with(over),
        Entry::Message { whole, .. } => whole.as_ref().is_ok_and(|text| text.contains(over)),
    }
}

fn check_whole(ran: &Run, index: usize) -> Result<(), Violation> {
    let call = &ran.calls[index];
    let (late, whole) = (call.late.borrow(), call.whole.borrow());
    let (Some(entries), Some(whole)) = (&*late, &*whole) else {
        return Err(Violation::new(WHOLE, "nobody got anything"));
    };
    let errors = entries.iter().filter_map(|entry| match entry {
        Entry::Error(failure) => Some(failure.clone()),
        Entry::Message { .. } => None,
    });
    let texts = entries.iter().filter_map(|entry| match entry {
        Entry::Message { whole, .. } => Some(whole.clone()),
        Entry::Error(_) => None,
    });
    let expected: Result<Vec<String>, Failure> = match errors.into_iter().next() {
        Some(failure) => Err(failure),
        None => texts.collect(),
    };
    let stopped = |whole: &Result<_, Failure>| {
        let failure = whole.as_ref().err();
        failure.is_some_and(|it| says_that_it_was_stopped(&Entry::Error(it.clone())))
    };
    if *whole == expected || may_be_stopped(ran, index) && stopped(whole) {
        return Ok(());
    }
    let what = format_args!("it is {whole:?} and should be {expected:?}");
    Err(Violation::new(WHOLE, what))
}
