//! A conversation as a Markdown file: who speaks is a heading, what is said is the text below it.
//!
//! ```text
//!
//! user
//! ========================================
//! What is CommonMark?
//!
//! assistant / gpt-4o
//! ========================================
//! A specification of Markdown.
//! ```
//!
//! - Written is exactly this, what is said as it is. These are the files of the Python package.
//! - Read is more: a heading of the first level, however it is written (`# User` is one too), whose text
//!   is `system`, `user` or `assistant` in any case, by itself or with a slash and a name without spaces
//!   behind it. What is a heading says CommonMark: lines in a block of code, in a quotation or in a list
//!   are none. Other headings belong to what is said.
//! - Around what is said, empty lines are left out.
//! - Text before the first such heading is nobody's.
//!
//! An answer may open a block of code, or of HTML, and break off. In CommonMark a block that is never closed
//! reaches to the end of the file; here it ends before the next heading that looks exactly as it is written.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag};

/// The line under a speaker, as it is written.
const UNDERLINE: &str = "========================================";

/// Who may speak.
const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Something that somebody said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) role: String,
    pub(crate) model: Option<String>,
    pub(crate) content: String,
}

/// What is written before the text of a message.
pub(crate) fn heading(role: &str, model: Option<&str>) -> String {
    match model.filter(|model| !model.is_empty()) {
        Some(model) => format!("\n{role} / {model}\n{UNDERLINE}\n"),
        None => format!("\n{role}\n{UNDERLINE}\n"),
    }
}

/// What was said, in order.
pub(crate) fn read(text: &str) -> Vec<Section> {
    let text = with_plain_line_ends(text.strip_prefix('\u{feff}').unwrap_or(text));
    let headings = headings(&text);
    let ends = headings.iter().skip(1).map(|next| next.place.start);
    let ends = ends.chain([text.len()]);
    let sections = headings.iter().zip(ends);
    sections
        .map(|(heading, end)| Section {
            role: heading.role.clone(),
            model: heading.model.clone(),
            content: without_empty_lines_around(&text[heading.place.end..end]).to_owned(),
        })
        .collect()
}

/// Lines end in a line feed, also where somebody has edited them elsewhere.
fn with_plain_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        text.into()
    }
}

/// A heading that says who speaks.
struct Heading {
    role: String,
    model: Option<String>,
    /// Its whole lines.
    place: Range<usize>,
}

fn headings(text: &str) -> Vec<Heading> {
    let mut found = Vec::new();
    let mut start = 0;
    // Once, and once more behind each block that is never closed.
    loop {
        let rest = &text[start..];
        let (headings, open) = headings_until_open(rest);
        let cut = open.and_then(|open| written_heading(rest, open));
        for mut heading in headings {
            if cut.is_none_or(|cut| heading.place.start < cut) {
                heading.place = heading.place.start + start..heading.place.end + start;
                found.push(heading);
            }
        }
        match cut {
            Some(cut) => start += cut,
            None => return found,
        }
    }
}

/// The headings in `text`, and where a block begins that is never closed.
fn headings_until_open(text: &str) -> (Vec<Heading>, Option<usize>) {
    let (mut headings, mut open) = (Vec::new(), None);
    let mut depth = 0;
    for (event, place) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    let reaches_the_end = text[place.end..].trim().is_empty();
                    match tag {
                        Tag::Heading {
                            level: HeadingLevel::H1,
                            ..
                        } => headings.extend(speaker(text, place)),
                        Tag::CodeBlock(CodeBlockKind::Fenced(_))
                            if reaches_the_end && !is_closed(&text[place.clone()]) =>
                        {
                            open = Some(place.start);
                        }
                        Tag::HtmlBlock if reaches_the_end => open = Some(place.start),
                        _ => {}
                    }
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    (headings, open)
}

/// Whether a fenced block has its closing fence.
fn is_closed(block: &str) -> bool {
    let mut lines = block.trim_end_matches('\n').lines();
    let opening = lines.next().unwrap_or_default().trim_start();
    let Some(mark) = opening.chars().next() else {
        return false;
    };
    let length = opening.chars().take_while(|c| *c == mark).count();
    lines.next_back().is_some_and(|last| {
        let fence = last.trim();
        let indent = last.len() - last.trim_start_matches(' ').len();
        indent < 4 && fence.len() >= length && fence.chars().all(|c| c == mark)
    })
}

/// The first heading from there on that looks exactly as it is written.
fn written_heading(text: &str, from: usize) -> Option<usize> {
    let underline = format!("\n{UNDERLINE}\n");
    let mut at = from;
    while let Some(found) = text[at..].find(&underline) {
        let end = at + found;
        let start = text[..end].rfind('\n').map_or(0, |line| line + 1);
        let line = &text[start..end];
        let stands_alone = text[..start].ends_with("\n\n");
        if start > from && stands_alone && line.trim_end() == line && who(line).is_some() {
            return Some(start);
        }
        at = end + 1;
    }
    None
}

/// The heading at that place, if it says who speaks.
fn speaker(text: &str, place: Range<usize>) -> Option<Heading> {
    let lines = text[place.clone()].trim_end_matches('\n');
    let title = match lines.rsplit_once('\n') {
        // Underlined.
        Some((title, _)) => title.trim(),
        None => {
            let title = lines.trim().strip_prefix('#')?.trim();
            let without = title.trim_end_matches('#');
            if without.is_empty() || without.ends_with([' ', '\t']) {
                without.trim_end()
            } else {
                title
            }
        }
    };
    let (role, model) = who(title)?;
    let start = text[..place.start].rfind('\n').map_or(0, |line| line + 1);
    let end = text[place.end..].find('\n');
    let end = match text[..place.end].ends_with('\n') {
        true => place.end,
        false => end.map_or(text.len(), |end| place.end + end + 1),
    };
    Some(Heading {
        role,
        model,
        place: start..end,
    })
}

/// Who speaks below a heading with that text: the role, and the name of the model.
fn who(title: &str) -> Option<(String, Option<String>)> {
    let (role, model) = match title.split_once('/') {
        Some((role, model)) => (role, Some(trimmed(model))),
        None => (title, None),
    };
    let role = trimmed(role).to_lowercase();
    let is_name = |model: &str| !model.chars().any(is_space);
    let is_speaker = ROLES.contains(&&*role) && model.is_none_or(is_name);
    is_speaker.then(|| (role, model.map(str::to_owned)))
}

/// What Python takes for a space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Lines are empty that are so in CommonMark: leaving out another one could change what the next one is.
fn without_empty_lines_around(text: &str) -> &str {
    let is_empty = |line: &str| line.bytes().all(|b| b == b' ' || b == b'\t');
    let mut text = text;
    while let Some((_, rest)) = text.split_once('\n').filter(|(first, _)| is_empty(first)) {
        text = rest;
    }
    while let Some((rest, _)) = text.rsplit_once('\n').filter(|(_, last)| is_empty(last)) {
        text = rest;
    }
    if is_empty(text) { "" } else { text }
}
