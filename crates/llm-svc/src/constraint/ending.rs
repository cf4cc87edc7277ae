//! A short way to complete a text under its grammar, found by trying.
//!
//! A depth-first search over bytes on a copy of the parser. What closes is tried first: a quote that ends a string, a
//! bracket that ends a list; then digits and letters, so that what must not be empty is filled with something plain. A
//! state of the lexer that was reached within one lexeme before is not entered again, so strings and numbers are not
//! spun out; rules that could go on forever are cut off by a depth that grows. What is found is not always the shortest
//! ending, but it is one: every byte of it went through the parser, which then accepted.

use std::collections::HashMap;

use llguidance::derivre::{NextByte, StateID};
use llguidance::earley::Parser;
use llguidance::toktrie::Recognizer;

/// The most bytes of an ending.
pub(super) const MAX_ENDING: usize = 2048;
/// How deep the search goes at first, then, and at last, in bytes; and how many states it may look at each time.
const ROUNDS: &[(usize, usize)] = &[(48, 1_000), (256, 1_500), (MAX_ENDING, 4_000)];
/// The search stops before the lexer has spent this much of what a step may cost: spent fuel would fail the answer.
const MAX_FUEL: usize = 50_000;
/// Or before the parser has made this many items: a grammar of many meanings makes more with every byte.
const MAX_ITEMS: usize = 100_000;
/// Is no token: bytes are given to the parser without one.
const NO_TOKEN: u32 = u32::MAX;
/// Begins the names of control tokens, which an ending cannot consist of.
const CONTROL: u8 = 0xFF;

/// What may end or separate something, in the order that it is tried.
const CLOSERS: &[u8] = b"\"}])>;\n`,";
/// What a lexeme is best begun or filled with.
const FILLERS: &[u8] = b"0123456789\"ntfabcdeghijklmopqrsuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.:@/[{";

/// An ending of at most `most` bytes from where `parser` stands. `hint` is an ending from a moment ago, and what has come
/// since: often the ending still is one, or its rest.
pub(super) fn find(mut parser: Parser, hint: Option<(&[u8], &[u8])>, most: usize) -> Option<Vec<u8>> {
    let forced = parser.currently_forced_bytes().to_vec();
    if forced.contains(&CONTROL) || !forced.iter().all(|&byte| parser.apply_token(&[byte], NO_TOKEN).is_ok()) {
        return None;
    }
    if let Some((ending, since)) = hint {
        let rest = ending.strip_prefix(since).unwrap_or(ending);
        if let Some(rest) = rest.strip_prefix(forced.as_slice())
            && forced.len() + rest.len() <= most
            && completes(&mut parser, rest)
        {
            return Some([&forced, rest].concat());
        }
    }
    let spent = parser.lexer_stats().total_fuel_spent;
    let items = parser.stats().all_items + MAX_ITEMS;
    for &(depth, states) in ROUNDS {
        let depth = depth.min(most.saturating_sub(forced.len()));
        let mut search = Search {
            parser: &mut parser,
            path: Vec::new(),
            frames: Vec::new(),
            reached: HashMap::new(),
            runs: 0,
            fuel: spent + MAX_FUEL,
            items,
        };
        match search.run(depth, states) {
            Outcome::Found(path) => return Some([forced, path].concat()),
            Outcome::Failed => return None,
            Outcome::NotFound if depth + forced.len() >= most => return None,
            Outcome::NotFound => {}
        }
    }
    None
}

/// True when `bytes` complete the text; the parser is left as it was.
fn completes(parser: &mut Parser, bytes: &[u8]) -> bool {
    let mut applied = 0;
    let mut fits = true;
    for &byte in bytes {
        fits = byte != CONTROL && try_byte(parser, byte).is_some() && parser.apply_token(&[byte], NO_TOKEN).is_ok();
        if !fits {
            break;
        }
        applied += 1;
    }
    let complete = fits && parser.is_accepting();
    (applied == 0 || parser.rollback(applied).is_ok()) && complete
}

/// The lexer's state after `byte`, and whether the byte ended a lexeme; `None` when the grammar does not allow it.
fn try_byte(parser: &mut Parser, byte: u8) -> Option<(StateID, bool)> {
    parser.with_recognizer(|recognizer| {
        recognizer.trie_started("ending");
        let rows = |stats: &mut llguidance::earley::ParserStats| stats.rows + stats.cached_rows;
        let before = rows(recognizer.stats_mut());
        let result = recognizer.try_push_byte(byte).then(|| {
            let ended = rows(recognizer.stats_mut()) != before;
            (recognizer.lexer_state(), ended)
        });
        if result.is_some() {
            recognizer.pop_bytes(1);
        }
        recognizer.trie_finished();
        result
    })
}

enum Outcome {
    Found(Vec<u8>),
    NotFound,
    /// The parser gave up, or it would become too costly.
    Failed,
}

struct Frame {
    /// Number of the next byte to try, in the order of `candidate`.
    next: usize,
    /// The only byte that can come, where the lexer knows it.
    only: Option<u8>,
    /// True in the middle of a lexeme.
    within: bool,
    /// The lexeme that the state belongs to.
    run: usize,
}

struct Search<'a> {
    parser: &'a mut Parser,
    path: Vec<u8>,
    frames: Vec<Frame>,
    /// Where a state was reached within a lexeme: as few bytes from the beginning as yet.
    reached: HashMap<(usize, StateID), usize>,
    runs: usize,
    fuel: usize,
    items: usize,
}

impl Search<'_> {
    fn run(&mut self, depth: usize, states: usize) -> Outcome {
        let state = self.parser.with_recognizer(|recognizer| recognizer.lexer_state());
        self.reached.insert((0, state), 0);
        if self.enter(0) {
            return Outcome::Found(Vec::new());
        }
        for looked in 1..=states {
            if self.parser.stats().all_items > self.items || (looked % 64 == 0 && self.out_of_fuel()) {
                return Outcome::Failed;
            }
            let Some((byte, run)) = self.step(depth) else {
                // Nothing leads on from here: back by one byte, or the search is over.
                self.frames.pop();
                if self.path.pop().is_none() {
                    return Outcome::NotFound;
                }
                if self.parser.rollback(1).is_err() {
                    return Outcome::Failed;
                }
                continue;
            };
            if self.parser.apply_token(&[byte], NO_TOKEN).is_err() {
                return Outcome::Failed;
            }
            self.path.push(byte);
            if self.enter(run) {
                return Outcome::Found(std::mem::take(&mut self.path));
            }
        }
        let back = self.path.len();
        if back > 0 && self.parser.rollback(back).is_err() {
            return Outcome::Failed;
        }
        Outcome::NotFound
    }

    /// Begins to look round at the state that `path` leads to; true when the text may end here.
    fn enter(&mut self, run: usize) -> bool {
        if self.parser.is_accepting() {
            return true;
        }
        let within = self.parser.has_pending_lexeme_bytes();
        let only = self.parser.with_recognizer(|recognizer| {
            let state = recognizer.lexer_state();
            match recognizer.lexer_mut().next_byte(state) {
                NextByte::ForcedByte(byte) => Some(byte),
                _ => None,
            }
        });
        self.frames.push(Frame {
            next: 0,
            only,
            within,
            run,
        });
        false
    }

    /// The next byte that leads on from the state at the end of `path`, and the lexeme that it belongs to.
    fn step(&mut self, depth: usize) -> Option<(u8, usize)> {
        let at = self.path.len() + 1;
        if at > depth {
            return None;
        }
        let frame = self.frames.last_mut()?;
        loop {
            let byte = match frame.only {
                Some(byte) if frame.next == 0 => byte,
                Some(_) => return None,
                None => candidate(frame.next, frame.within)?,
            };
            let closing = frame.next < CLOSERS.len() && frame.only.is_none();
            frame.next += 1;
            if byte == CONTROL {
                continue;
            }
            let Some((state, ended)) = try_byte(self.parser, byte) else {
                continue;
            };
            // Within a lexeme a bracket may be text of a string: it closes only if the lexeme ends before it.
            if closing && frame.within && byte != b'"' && !ended {
                continue;
            }
            if ended {
                self.runs += 1;
                return Some((byte, self.runs));
            }
            let reached = self.reached.entry((frame.run, state)).or_insert(usize::MAX);
            if *reached > at {
                *reached = at;
                return Some((byte, frame.run));
            }
        }
    }

    fn out_of_fuel(&self) -> bool {
        let stats = self.parser.lexer_stats();
        stats.error || stats.total_fuel_spent > self.fuel
    }
}

/// The bytes in the order that they are tried: what closes, what fills, all others; `None` after the last.
fn candidate(index: usize, within: bool) -> Option<u8> {
    if index < CLOSERS.len() {
        // Where a lexeme begins, a quote opens: it is tried with the fillers.
        let byte = CLOSERS[index];
        return Some(if byte == b'"' && !within { b'}' } else { byte });
    }
    let index = index - CLOSERS.len();
    if index < FILLERS.len() {
        return Some(FILLERS[index]);
    }
    u8::try_from(index - FILLERS.len()).ok()
}
