//! A small model that needs no network, no key and no weights: a conversation partner in the manner
//! of ELIZA. Examples and tests talk to it when there is no other.
//!
//! An [`Eliza`] reads what the user says, takes the most telling keyword, takes the clause apart
//! around it, turns `my` into `your`, and puts the parts into an answer of its script.
//!
//! - The same conversation always gives the same answer. Nothing is kept between calls: what it
//!   remembers, and which of its answers it has used up, follows from the conversation it is given.
//! - Of several keywords the one with the highest rank is answered, of equal ones the first. The
//!   answers of a rule are used in turn.
//! - What the user says about something of theirs is remembered, and brought up again when nothing
//!   else can be said.
//! - Any text will do. Of each turn the first [`MOST_CHARACTERS`] are read.
//!
//! [`tokens`] cuts an answer as a model would stream it.
//!
//! ```
//! use miniagents::llm::embedded::{Eliza, tokens};
//!
//! let reply = Eliza::new().reply(&[("user", "I need my coffee.")]);
//! assert_eq!(reply, "What would change if you had your coffee?");
//!
//! let tokens: Vec<&str> = tokens(&reply).collect();
//! assert_eq!(tokens[..3], ["What", " would", " change"]);
//! assert_eq!(tokens.concat(), reply);
//! ```
//!
//! # Scripts
//!
//! [`Eliza::with_script`] takes a script of your own. A line that begins at the margin has keywords
//! and their rank; below it, indented by two, are the patterns, which are tried in their order;
//! below each, indented by four, its answers. In a pattern `*` is any number of words, `+` at least
//! one, `a/b` one of these. In an answer `$1` is what the first of them stands for. An answer that
//! begins with `~` is for later, when there is nothing else to say. `@greeting`, `@silence` and
//! `@default` are said when the user has not spoken, said nothing, or said nothing that is known.
//!
//! ```
//! use miniagents::llm::embedded::Eliza;
//!
//! let cook = Eliza::with_script(
//!     "
//! @greeting
//!     What are you hungry for?
//! @silence
//!     Soup, then.
//! @default
//!     How would that taste?
//! cook bake = 1
//!   * cook/bake +
//!     Who taught you to make $2?
//! ",
//! )?;
//! assert_eq!(cook.reply(&[("user", "I bake my bread")]), "Who taught you to make your bread?");
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! The idea is that of [J. Weizenbaum, 1966]; the script is another.
//!
//! [J. Weizenbaum, 1966]: https://doi.org/10.1145/365153.365168

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

pub use super::words::tokens;
use crate::error::{Error, Result, What};

/// How much of a turn is read.
pub const MOST_CHARACTERS: usize = 2000;

/// How many things are remembered at once; older ones are forgotten.
const MOST_MEMORIES: usize = 8;

/// The conversation partner; see the [module](self). Clones share the script.
#[derive(Clone)]
pub struct Eliza {
    script: Rc<Script>,
}

impl Eliza {
    /// A conversation partner with the built-in script.
    pub fn new() -> Self {
        Eliza::with_script(SCRIPT).expect("the built-in script is right")
    }

    /// A conversation partner with a script of your own; the [module](self) says how it is written.
    ///
    /// # Errors
    ///
    /// A line is not understood, or something has no answers.
    pub fn with_script(script: &str) -> Result<Self> {
        let script = Rc::new(Script::parse(script)?);
        Ok(Eliza { script })
    }

    /// The answer to the last turn of the user. The conversation is a list of roles and texts, the
    /// oldest first; only the turns of `user` are looked at.
    ///
    /// ```
    /// use miniagents::llm::embedded::Eliza;
    ///
    /// let nothing: [(&str, &str); 0] = [];
    /// assert_eq!(Eliza::new().reply(&nothing), "Hello! What shall we talk about?");
    /// ```
    pub fn reply<R: AsRef<str>, T: AsRef<str>>(&self, conversation: &[(R, T)]) -> String {
        let mut mind = Mind {
            script: &self.script,
            used: BTreeMap::new(),
            memories: VecDeque::new(),
        };
        let turns = conversation
            .iter()
            .filter(|(role, _)| role.as_ref() == "user");
        let replies = turns.map(|(_, text)| mind.answer(text.as_ref()));
        let last = replies.last();
        last.unwrap_or_else(|| self.script.greetings[0].clone())
    }
}

impl Default for Eliza {
    fn default() -> Self {
        Eliza::new()
    }
}

impl fmt::Debug for Eliza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eliza")
            .field("keywords", &self.script.keywords.len())
            .finish_non_exhaustive()
    }
}

/// What is known and what is said to it.
#[derive(Default)]
struct Script {
    greetings: Vec<String>,
    silence: Vec<String>,
    defaults: Vec<String>,
    keywords: Vec<Keyword>,
}

/// A word and its synonyms, in lower case.
struct Keyword {
    words: Vec<String>,
    /// How telling it is.
    rank: u32,
    /// Tried in this order.
    rules: Vec<Rule>,
}

/// How a clause is taken apart, and what is said then.
struct Rule {
    /// Where it stands in the script, which is its name.
    line: usize,
    pattern: String,
    answers: Vec<String>,
    /// What is said later, when nothing else can be.
    memory: Option<String>,
}

impl Script {
    fn parse(text: &str) -> Result<Self> {
        let mut script = Script::default();
        let mut section = None;
        let lines = text
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line));
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |what: &str| {
                let text = format!("line {number} of the script: {what}: {}", line.trim());
                Error::own(What::Value, text)
            };
            let content = line.trim_start();
            match (line.len() - content.len(), section) {
                (0, _) if content.starts_with('@') => section = Some(content),
                (0, _) => {
                    let (words, rank) =
                        content.split_once(" = ").ok_or_else(|| wrong("no rank"))?;
                    let rank = rank.trim().parse().map_err(|_| wrong("no number"))?;
                    let words = words.split_whitespace().map(str::to_owned).collect();
                    let rules = Vec::new();
                    script.keywords.push(Keyword { words, rank, rules });
                    section = None;
                }
                (2, None) => {
                    let rule = Rule {
                        line: number,
                        pattern: content.to_owned(),
                        answers: Vec::new(),
                        memory: None,
                    };
                    let keyword = script.keywords.last_mut();
                    keyword.ok_or_else(|| wrong("no keyword"))?.rules.push(rule);
                }
                (4, None) => {
                    let keyword = script.keywords.last_mut();
                    let rule = keyword.and_then(|keyword| keyword.rules.last_mut());
                    let rule = rule.ok_or_else(|| wrong("no pattern"))?;
                    let wildcards = rule.pattern.matches(['*', '+']).count();
                    let part = |part: &str| part.get(..1)?.parse::<usize>().ok();
                    let known = |number| part(number).is_some_and(|n| (1..=wildcards).contains(&n));
                    if !content.split('$').skip(1).all(known) {
                        return Err(wrong("no such part"));
                    }
                    match content.strip_prefix("~ ") {
                        Some(memory) => rule.memory = Some(memory.to_owned()),
                        None => rule.answers.push(content.to_owned()),
                    }
                }
                (4, Some("@greeting")) => script.greetings.push(content.to_owned()),
                (4, Some("@silence")) => script.silence.push(content.to_owned()),
                (4, Some("@default")) => script.defaults.push(content.to_owned()),
                _ => return Err(wrong("what is this")),
            }
        }
        let mut rules = script.keywords.iter().flat_map(|keyword| &keyword.rules);
        if let Some(rule) = rules.find(|rule| rule.answers.is_empty()) {
            let text = format!("line {} of the script has no answers", rule.line);
            return Err(Error::own(What::Value, text));
        }
        let sections = [&script.greetings, &script.silence, &script.defaults];
        if sections.iter().any(|answers| answers.is_empty()) {
            let text = "the script needs a @greeting, a @silence and a @default";
            return Err(Error::own(What::Value, text));
        }
        Ok(script)
    }
}

/// What follows from the conversation so far.
struct Mind<'a> {
    script: &'a Script,
    /// How often the answers at each line of the script were used.
    used: BTreeMap<usize, usize>,
    /// What can be brought up again, the oldest first.
    memories: VecDeque<String>,
}

impl<'a> Mind<'a> {
    fn answer(&mut self, text: &str) -> String {
        let script = self.script;
        let clauses = clauses(text);
        if clauses.is_empty() {
            return self.next(SILENCE, &script.silence).to_owned();
        }
        let mut found: Vec<(&Keyword, &[Word])> = Vec::new();
        for clause in &clauses {
            for word in clause {
                let keywords = script.keywords.iter();
                let known = keywords.filter(|keyword| keyword.words.contains(&word.lower));
                found.extend(known.map(|keyword| (keyword, clause.as_slice())));
            }
        }
        found.sort_by_key(|(keyword, _)| Reverse(keyword.rank));
        for (keyword, clause) in found {
            for rule in &keyword.rules {
                if let Some(parts) = take_apart(&rule.pattern, clause) {
                    if let Some(memory) = &rule.memory {
                        if self.memories.len() == MOST_MEMORIES {
                            self.memories.pop_front();
                        }
                        self.memories.push_back(put_together(memory, &parts));
                    }
                    return put_together(self.next(rule.line, &rule.answers), &parts);
                }
            }
        }
        match self.memories.pop_front() {
            Some(memory) => memory,
            None => self.next(DEFAULTS, &script.defaults).to_owned(),
        }
    }

    /// The next of the answers at this line, and the first after the last.
    fn next(&mut self, line: usize, answers: &'a [String]) -> &'a str {
        let used = self.used.entry(line).or_default();
        let answer = &answers[*used % answers.len()];
        *used += 1;
        answer
    }
}

/// Stands for the line of a rule where there is none.
const SILENCE: usize = usize::MAX;
const DEFAULTS: usize = usize::MAX - 1;

/// A word of the user, as it was written and as it is compared.
struct Word {
    written: String,
    lower: String,
}

/// The words of `text`, clause by clause. Short forms are written out: `I'm` is `I am`.
fn clauses(text: &str) -> Vec<Vec<Word>> {
    let text: String = text.chars().take(MOST_CHARACTERS).collect();
    let text = text.replace('\u{2019}', "'");
    let clauses = text.split(['.', ',', ';', ':', '!', '?', '\n', '(', ')', '"']);
    let clauses = clauses.map(|clause| {
        let words = clause.split_whitespace();
        let words = words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        let words = words.filter(|word| !word.is_empty());
        words.flat_map(written_out).collect::<Vec<Word>>()
    });
    clauses.filter(|clause| !clause.is_empty()).collect()
}

fn written_out(word: &str) -> Vec<Word> {
    let lower = word.to_lowercase();
    let (stem, ending) = match lower.as_str() {
        "im" => (Some("i"), Some("am")),
        "dont" => (Some("don't"), None),
        "cant" | "cannot" => (Some("can't"), None),
        lower => match lower.rsplit_once('\'') {
            Some((stem, "m")) => (Some(stem), Some("am")),
            Some((stem, "re")) => (Some(stem), Some("are")),
            Some((stem, "ve")) => (Some(stem), Some("have")),
            Some((stem, "ll")) => (Some(stem), Some("will")),
            Some((stem, "d")) => (Some(stem), Some("would")),
            Some((stem @ ("what" | "who" | "how" | "it" | "that"), "s")) => {
                (Some(stem), Some("is"))
            }
            _ => (None, None),
        },
    };
    let both = stem.into_iter().chain(ending);
    let both: Vec<Word> = both
        .map(|part| Word {
            written: part.to_owned(),
            lower: part.to_owned(),
        })
        .collect();
    if both.is_empty() {
        let written = word.to_owned();
        vec![Word { written, lower }]
    } else {
        both
    }
}

/// What the wildcards of `pattern` stand for in `clause`, or `None` if it does not fit: `*` is any
/// number of words, `+` at least one, `a/b` one of these. Each wildcard takes as little as it can,
/// the last one the rest.
fn take_apart<'a>(pattern: &str, clause: &'a [Word]) -> Option<Vec<&'a [Word]>> {
    let mut parts = Vec::new();
    let mut literal: Vec<&str> = Vec::new();
    // The wildcard that waits for what comes after it: where it begins, and its shortest end.
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    for element in pattern.split(' ').chain([""]) {
        if !matches!(element, "*" | "+" | "") {
            literal.push(element);
            continue;
        }
        let fits = |at: usize| {
            let words = clause.get(at..at + literal.len())?;
            let mut both = words.iter().zip(&literal);
            both.all(|(word, any)| any.split('/').any(|one| one == word.lower))
                .then_some(at)
        };
        let last = clause.len().saturating_sub(literal.len());
        let found = match (open, element) {
            (None, _) => fits(at)?,
            // The end of the pattern is the end of the clause.
            (Some((_, shortest)), "") => fits(last).filter(|at| *at >= shortest)?,
            (Some((_, shortest)), _) => (shortest..=last).find_map(fits)?,
        };
        if let Some((begin, _)) = open {
            parts.push(&clause[begin..found]);
        }
        at = found + literal.len();
        literal.clear();
        open = match element {
            "*" => Some((at, at)),
            "+" => Some((at, at + 1)),
            _ => None,
        };
    }
    (at == clause.len()).then_some(parts)
}

/// `answer` with each `$1`, `$2`, … replaced by that part, said from the other side.
fn put_together(answer: &str, parts: &[&[Word]]) -> String {
    let mut pieces = answer.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, after) = piece.split_at(1);
        let number: usize = number.parse().expect("the script numbers its parts");
        text += &reflected(parts[number - 1]);
        text += after;
    }
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => text,
    }
}

/// What the user said about themselves, said about them.
fn reflected(words: &[Word]) -> String {
    let mut said: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let next = words.get(at + 1).map_or("", |word| word.lower.as_str());
        let before = at.checked_sub(1).map(|before| words[before].lower.as_str());
        let pair = match (word.lower.as_str(), next) {
            ("i", "am") => Some(["you", "are"]),
            ("i", "was") => Some(["you", "were"]),
            ("am", "i") => Some(["are", "you"]),
            ("was", "i") => Some(["were", "you"]),
            ("you", "are") => Some(["I", "am"]),
            ("you", "were") => Some(["I", "was"]),
            ("are", "you") => Some(["am", "I"]),
            ("were", "you") => Some(["was", "I"]),
            _ => None,
        };
        if let Some(pair) = pair {
            said.extend(pair);
            at += 2;
            continue;
        }
        said.push(match word.lower.as_str() {
            "i" | "me" => "you",
            "my" => "your",
            "mine" => "yours",
            "myself" => "yourself",
            "am" => "are",
            "your" => "my",
            "yours" => "mine",
            "yourself" => "myself",
            "you" if next.is_empty() => "me",
            "you" if before.is_none_or(|before| BEGINS_A_CLAUSE.contains(&before)) => "I",
            "you" => "me",
            _ => &word.written,
        });
        at += 1;
    }
    said.join(" ")
}

/// Words after which `you` is the one who acts.
const BEGINS_A_CLAUSE: &[&str] = &[
    "that", "if", "when", "because", "and", "but", "or", "what", "how", "why", "where", "which",
    "do", "did", "can", "could", "will", "would", "should", "think", "know", "hope", "wish", "so",
];

/// What it knows and says.
const SCRIPT: &str = "
@greeting
    Hello! What shall we talk about?
@silence
    I am listening.
    Take your time.
    You may also say nothing at all.
@default
    I would like to hear more about that.
    And then?
    What makes this important today?
    Say it once more in other words, please.
    Let us stay with that for a moment.
    Where would you go from there?

hello hi hey greetings = 1
  *
    Hello! How has your day been so far?
    Hello again! What is on your mind now?
    We have greeted each other well. What next?
bye goodbye farewell quit exit = 9
  bye/goodbye/farewell/quit/exit *
    Goodbye! It was good to talk to you.
    Goodbye! Come back with more.
sorry apologize apologies = 4
  *
    There is nothing to be sorry for.
    No harm was done. Go on, if you like.
thanks thank = 4
  *
    You are welcome. Was it of any use?
    You are welcome. What else is there?
yes yeah sure indeed = 1
  *
    Good. What follows from that?
    You seem quite certain.
    Then tell me how it came about.
no nope never = 1
  * never *
    Never is a long time. What stands in the way?
  *
    What would have to change for a yes?
    Are you saying no to me, or to something else?
maybe perhaps probably = 2
  *
    What would make you certain?
    On which side of maybe do you stand?
always everyone everybody nobody everything = 3
  * everyone/everybody *
    Everyone? Whom do you see before you when you say that?
    Name one who is different.
  * nobody *
    Nobody at all? Who came closest?
  *
    When was it otherwise for the last time?
    Is there truly no exception?
because = 3
  * because +
    Suppose it were not so that $2. What then?
    Is it only because $2?
if = 3
  * if +
    How likely is it that $2?
    And what if not?
remember forget forgot = 5
  * i remember that +
    What makes you think of it just now, that $2?
  * i remember +
    What brings $2 back just now?
    How clear is it still, $2?
  * you remember *
    I know only what was said here. What should I keep in mind?
  * forget/forgot +
    Would it be so bad to forget $2?
dream dreams dreamed dreamt nightmare = 6
  * i dreamed/dreamt that +
    And when you were awake again, was it still so that $2?
  *
    Who else is in your dreams?
    How do such dreams end?
sleep tired exhausted = 4
  *
    What keeps you from resting?
    When did you last sleep well?
computer computers machine machines robot robots ai = 6
  *
    Does it bother you to talk to a program?
    What should machines leave to people?
    I am a rather small machine. Which ones do you have in mind?
job work boss office colleague colleagues = 4
  * my +
    ~ A while ago you spoke of this: your $2. How does it look now?
    What would have to happen at work for that to change?
    And what do you like about it?
  *
    How much of your day does work take?
    What did you hope for when you began there?
mother mom mum father dad sister brother family parents = 5
  * my +
    ~ You told me of this: your $2. Who else knows?
    Has it been like that for long?
    And what do the others at home say?
  *
    Who in a family is most like you?
    What have you learned at home?
friend friends = 4
  *
    What do your friends know of this?
    How would you notice that someone is a friend?
love hate adore despise = 4
  * i love/adore +
    What was it about $2 that won you over?
    Could you do without $2 for a year?
  * i hate/despise +
    When did you first turn against $2?
    Is there anything good to be said about $2?
  *
    Strong words. What is behind them?
feel felt feeling = 4
  * i feel/felt +
    Since when do you feel $2?
    What helps when you feel $2?
    Where do you notice first that you feel $2?
  *
    What would be another name for that feeling?
need want = 4
  * i need/want to +
    What keeps you from it, to $2?
    Who would be the first to see you $2?
  * i need/want +
    What would change if you had $2?
    Who could give you $2?
    And what would come next, after $2?
think believe guess = 3
  * i think/believe/guess that +
    What speaks against it, that $2?
  * i think/believe/guess +
    How did you come to think $2?
    Would you bet on it that $2?
can't couldn't unable = 4
  * i can't/couldn't +
    What is the smallest part of it that you can do?
    Who has managed to $2, and how?
sad unhappy lonely depressed = 5
  *
    I am sorry to hear that. What was it like before?
    What would a somewhat lighter day look like?
afraid scared worried angry = 5
  * afraid/scared/worried/angry +
    What would be the worst of it, and how likely is it?
    Does it grow or shrink when you speak of it?
  *
    What sets it off?
happy glad excited great wonderful = 5
  *
    That is good to hear! Whom will you tell?
    What did you do to bring that about?
am was = 2
  * am i +
    Would you like to be $2?
    Who says that you might be $2?
  * i am +
    For how long have you been $2?
    What is it like to be $2?
    Who knows that you are $2?
  * was i +
    Would it matter now if you had been $2?
  * i was +
    And are you still $2?
you your eliza = 3
  * who/what are you *
    I am Eliza, a few rules that turn sentences around, inside this program.
    Still the same few rules. And who are you?
  * how are you *
    As well as a program can be. How are you?
  * your name *
    My name is Eliza. And yours?
  * are you +
    Would you prefer it if I were not $2?
    Sometimes I may seem $2. What made you ask?
  * you are +
    What have I done to seem $2?
    Perhaps I am $2. Is anyone else?
  * why don't you +
    Do you think that I should $2?
  * can you +
    You would have to show me how to $2.
    What if nobody could $2?
  * you + me
    How do you notice that I $2 you?
    Who else might $2 you?
  *
    We were speaking of you, not of me.
    There is little to know about me. Back to you.
my = 2
  * my name is +
    Pleased to meet you, $2. What brings you here?
  * my +
    ~ A while ago you spoke of this: your $2. How does that fit in?
    Your $2? Tell me how that came to matter.
    What is the first thing that comes to mind about your $2?
    Whom have you told about your $2?
why what how who when where = 2
  * why can't i +
    Have you tried to $2 in another way?
  why *
    Which reason comes to your own mind first?
    Would knowing why change anything?
  *
    What would you answer if I asked you that?
    Where have you looked for an answer so far?
    I do not know. A larger model might.
like same similar = 3
  * i like +
    What do you like best about $2?
    How did you find out that you like $2?
  *
    Where does the likeness end?
weather rain rains sun snow = 3
  *
    What would you do in other weather?
music song book books film movie = 4
  *
    Which part of it would you keep if you had to choose?
    Whom would you recommend it to?
bug bugs error errors crash crashes test tests = 5
  *
    What is the smallest program that shows it?
    What did you expect, and what happened?
    What changed since it last worked?
rust python compiler = 6
  * borrow/borrows/lifetime/lifetimes *
    Whose is it, and for how long? Ask that, and the rest follows.
  *
    What does that language make easy for you?
    Is it the compiler that refuses, or you?
agent agents = 7
  * what is/are * agent/agents *
    An agent is an async function: it reads messages and replies with messages, or promises of them.
  *
    An agent starts soon after it is triggered and replies piece by piece. What should yours do?
    Could two small agents do it better than a large one?
promise promises promised = 7
  * i promise/promised to +
    How will you keep it, to $2?
  *
    A promise is a value that may not be there yet. Every reader gets the same one, early or late.
    A promise resolves once, for everyone. Which one are you waiting for?
stream streams streaming token tokens = 7
  *
    A stream gives its pieces as they come. Even this answer came word by word.
    Each reader of a stream begins at the first piece, whenever it comes.
message messages = 7
  *
    Messages here never change, so they can be shared. What would you write in one?
    A message is known by the hash of what it says.
miniagents = 8
  *
    MiniAgents runs many small agents that exchange promises of messages. Ask me about any of these.
    With MiniAgents nobody waits who need not: agents run side by side on one thread.
";

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to each of these turns, in one conversation.
    fn dialogue(turns: &[&str]) -> Vec<String> {
        let mut conversation: Vec<(&str, String)> = Vec::new();
        let mut replies = Vec::new();
        for turn in turns {
            conversation.push(("user", (*turn).to_owned()));
            let reply = Eliza::new().reply(&conversation);
            conversation.push(("assistant", reply.clone()));
            replies.push(reply);
        }
        replies
    }

    #[test]
    fn smoke() {
        assert_eq!(
            dialogue(&[
                "Hello",
                "I am a bit worried about my garden",
                "My garden is all I have",
                "Nobody waters it",
                "xyzzy",
                "plugh",
                "Bye.",
            ]),
            [
                "Hello! How has your day been so far?",
                "What would be the worst of it, and how likely is it?", // worry ranks above `my`
                "Your garden is all you have? Tell me how that came to matter.",
                "Nobody at all? Who came closest?",
                // nothing is known of xyzzy, so something from before comes up, once
                "A while ago you spoke of this: your garden is all you have. How does that fit in?",
                "I would like to hear more about that.",
                "Goodbye! It was good to talk to you.",
            ]
        );
    }

    #[test]
    fn persons_change_sides() {
        assert_eq!(
            dialogue(&[
                "I need you",
                "I think you need me more than my mirror does",
                "Are you cleverer than I am?",
                "You are not yourself; I said that to myself",
                "Do you think that I believe you?",
                "I remember that you were with me",
                "Was I wrong?",
                "You remind me",
                "You’re late, and I’m early",
            ]),
            [
                "What would change if you had me?",
                "How did you come to think I need you more than your mirror does?",
                "Would you prefer it if I were not cleverer than you are?",
                "What have I done to seem not myself?",
                "We were speaking of you, not of me.",
                "What makes you think of it just now, that I was with you?",
                "Would it matter now if you had been wrong?",
                "How do you notice that I remind you?",
                "Perhaps I am late. Is anyone else?",
            ]
        );
    }

    #[test]
    fn it_knows_what_it_runs_in() {
        assert_eq!(
            dialogue(&[
                "Tell me about MiniAgents",
                "What are agents?",
                "What is a promise?",
                "How do streams work?",
                "And messages?",
                "Who are you?",
            ]),
            [
                "MiniAgents runs many small agents that exchange promises of messages. Ask me about any of these.",
                "An agent is an async function: it reads messages and replies with messages, or promises of them.",
                "A promise is a value that may not be there yet. Every reader gets the same one, early or late.",
                "A stream gives its pieces as they come. Even this answer came word by word.",
                "Messages here never change, so they can be shared. What would you write in one?",
                "I am Eliza, a few rules that turn sentences around, inside this program.",
            ]
        );
    }

    #[test]
    fn answers_come_in_turn_and_begin_again() {
        assert_eq!(
            dialogue(&["maybe", "Maybe!", "perhaps", "", "🦀", "...", ""]),
            [
                "What would make you certain?",
                "On which side of maybe do you stand?",
                "What would make you certain?",
                "I am listening.",
                "Take your time.",
                "You may also say nothing at all.",
                "I am listening.",
            ]
        );
    }

    #[test]
    fn only_the_user_is_listened_to() {
        let eliza = Eliza::new();

        assert_eq!(
            eliza.reply(&[("system", "I am sad"), ("assistant", "I am sad")]),
            "Hello! What shall we talk about?"
        );
        assert_eq!(
            eliza.reply(&[("user", "I like tea"), ("assistant", "I am sad")]),
            "What do you like best about tea?"
        );
    }

    #[test]
    fn only_the_beginning_of_a_long_text_is_read() {
        let eliza = Eliza::new();

        for piece in [
            "a ",
            "i am ",
            "my my you ",
            "a",
            "🦀",
            "because if ",
            "* + $1 ",
            ".\u{0}",
            "'s 'm d'",
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            let reply = eliza.reply(&[("user", &text), ("user", &text)]);
            assert!(
                !reply.is_empty() && reply.len() <= 2 * 4 * MOST_CHARACTERS,
                "{piece}"
            );
        }
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut turns: Vec<String> = (0..20).map(|n| format!("my thing {n}")).collect();
        turns.push("xyzzy".into());
        let turns: Vec<&str> = turns.iter().map(String::as_str).collect();

        assert_eq!(
            dialogue(&turns).last().unwrap(),
            "A while ago you spoke of this: your thing 12. How does that fit in?"
        );
    }

    #[test]
    fn patterns_take_clauses_apart() {
        let parts = |pattern: &str, text: &str| {
            let clauses = clauses(text);
            let parts = take_apart(pattern, &clauses[0])?;
            let written = |part: &[Word]| {
                let words: Vec<&str> = part.iter().map(|word| word.written.as_str()).collect();
                words.join(" ")
            };
            Some(parts.into_iter().map(written).collect::<Vec<_>>())
        };

        let some = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect());
        assert_eq!(parts("*", "a b"), some(&["a b"]));
        assert_eq!(parts("a b", "A b"), some(&[]));
        assert_eq!(parts("a", "a b"), None);
        assert_eq!(parts("* x/y *", "a Y b x c"), some(&["a", "b x c"]));
        assert_eq!(parts("* x +", "a x"), None);
        assert_eq!(parts("* x +", "x x"), some(&["", "x"]));
        assert_eq!(parts("+ x", "x x x"), some(&["x x"]));
        assert_eq!(parts("+ x", "x"), None);
        assert_eq!(parts("* i am + x", "I'm not so x"), some(&["", "not so"]));
        assert_eq!(parts("a * b * c", "a b c b c"), some(&["", "c b"]));
        assert_eq!(parts("a b c", "a"), None);
    }

    #[test]
    fn tokens_together_are_the_text() {
        let text = "\n Well,  it's half-past 🦀👩‍👩‍👧 你好!? (a_b)\t";
        let all: Vec<&str> = tokens(text).collect();

        assert_eq!(all.concat(), text);
        assert_eq!(
            all,
            [
                "\n Well",
                ",",
                "  it's",
                " half-past",
                " 🦀👩‍👩‍👧",
                " 你好",
                "!",
                "?",
                " (",
                "a_b",
                ")",
                "\t"
            ]
        );
        assert_eq!(tokens("").next(), None);
    }

    #[test]
    fn a_script_that_cannot_work_is_refused() {
        let sections = "@greeting\n    a\n@silence\n    b\n@default\n    c\n";

        assert!(Eliza::with_script(sections).is_ok());
        for (script, error) in [
            (
                "",
                "the script needs a @greeting, a @silence and a @default",
            ),
            ("a b\n", "line 1 of the script: no rank: a b"),
            ("a = x\n", "line 1 of the script: no number: a = x"),
            ("  *\n", "line 1 of the script: no keyword: *"),
            ("a = 1\n    b\n", "line 2 of the script: no pattern: b"),
            (
                "a = 1\n  * x +\n    $3\n",
                "line 3 of the script: no such part: $3",
            ),
            (
                "a = 1\n  *\n    $é\n",
                "line 3 of the script: no such part: $é",
            ),
            ("a = 1\n  *\n", "line 2 of the script has no answers"),
            ("a = 1\n   *\n", "line 2 of the script: what is this: *"),
            ("@other\n    a\n", "line 2 of the script: what is this: a"),
        ] {
            let refused = Eliza::with_script(script).unwrap_err();
            assert!(refused.is_value());
            assert_eq!(refused.to_string(), error);
        }
    }
}
