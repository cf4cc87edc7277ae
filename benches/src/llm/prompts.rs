//! What is asked: questions that take long answers, and as much text as is wanted, never the same twice.
//!
//! Every prompt is made from a number, so that contenders get the same one, and rounds never meet what a prefix cache
//! kept of another. Words are common ones, nearly all of them one token.

use solo_proto::llm::v1::Role;

use super::client::Chat;

const TOPICS: [&str; 16] = [
    "a bicycle",
    "a refrigerator",
    "a compiler",
    "a sailing boat",
    "a violin",
    "a power station",
    "a garden",
    "the human heart",
    "a railway signal",
    "a lighthouse",
    "a bank",
    "a glacier",
    "a printing press",
    "a beehive",
    "a telescope",
    "a piano",
];

const AUDIENCES: [&str; 12] = [
    "a child of ten",
    "an engineer",
    "a painter",
    "a farmer",
    "a judge",
    "a nurse",
    "a sailor",
    "a teacher of history",
    "a cook",
    "a pilot",
    "a poet",
    "a visitor from the past",
];

const WORDS: [&str; 64] = [
    "time", "water", "house", "light", "river", "stone", "paper", "night", "music", "table", "green", "north", "small",
    "heavy", "open", "early", "road", "glass", "field", "horse", "ship", "winter", "market", "garden", "window",
    "letter", "bread", "silver", "engine", "forest", "island", "number", "story", "bridge", "color", "spring",
    "summer", "person", "family", "school", "street", "office", "doctor", "mother", "father", "sister", "friend",
    "animal", "flower", "mountain", "ocean", "cloud", "storm", "fire", "metal", "wood", "cotton", "sugar", "coffee",
    "orange", "yellow", "purple", "black", "white",
];

/// The system prompt that all concurrent clients share: about 60 tokens.
pub const SHARED_SYSTEM: &str = "You are a patient teacher. You explain how things work in plain words, step by step, with one \
     example for every step and the reason behind it. You never stop early: a long and complete answer is what people come to \
     you for. You write whole sentences and no lists.";

/// Question `number`: its answer takes any model more than a hundred tokens.
pub fn question(number: usize) -> String {
    let topic = TOPICS[number % TOPICS.len()];
    let audience = AUDIENCES[(number / TOPICS.len()) % AUDIENCES.len()];
    format!("Explain in great detail, in at least ten paragraphs, how {topic} works, to {audience}.")
}

/// About `tokens` tokens of text that no other number gives.
pub fn text(number: usize, tokens: usize) -> String {
    // Numerical Recipes' linear congruential generator: its upper bits are good enough to pick words with.
    let mut state = (number as u32).wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut text = String::new();
    for index in 0..tokens {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if index > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[(state >> 16) as usize % WORDS.len()]);
    }
    text
}

/// A dialogue that shares no prefix with that of another number, asking question `number` after `tokens` tokens of text.
pub fn cold(number: usize, tokens: usize) -> Chat {
    let system = format!("{} These were your last words.", text(number, tokens));
    vec![(Role::System, system), (Role::User, question(number))]
}

/// Question `number` under the system prompt that all share.
pub fn shared(number: usize) -> Chat {
    vec![(Role::System, SHARED_SYSTEM.to_owned()), (Role::User, question(number))]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_prompts_are_the_same() {
        let texts: HashSet<String> = (0..2000).map(|number| text(number, 8)).collect();
        assert!(texts.len() > 1995, "{}", texts.len());
        let questions: HashSet<String> = (0..192).map(question).collect();
        assert_eq!(questions.len(), 192);
    }

    #[test]
    fn a_text_is_as_long_as_is_wanted() {
        assert_eq!(text(1, 100).split(' ').count(), 100);
        assert_eq!(text(1, 0), "");
    }
}
