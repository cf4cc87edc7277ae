//! Which words of a growing transcript will not change any more.
//!
//! LocalAgreement-2 (Macháček, Dabre, Bojar: "Turning Whisper into Real-Time Transcription System", 2023): a word is
//! stable once two decodes in a row have written it at the same place. Words are compared as written, so that
//! "man." which becomes "man," is not stable yet. What has been called stable is never taken back, even where a later
//! decode disagrees: the final transcript corrects it.

/// Words so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Partial {
    /// Words that will not change any more.
    pub(crate) stable: String,
    /// Words that may still change.
    pub(crate) unstable: String,
}

/// Compares the decodes of one utterance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreement {
    /// Words of stretches that are finished.
    before: Vec<String>,
    stable: Vec<String>,
    last: Vec<String>,
}

impl Agreement {
    /// Takes the next decode of the stretch that grows, and says where the words stand now.
    pub(crate) fn update(&mut self, text: &str) -> Partial {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let agreed = words
            .iter()
            .zip(&self.last)
            .take_while(|(now, before)| now == before)
            .count();
        let contradicted = words.iter().zip(&self.stable).any(|(now, stable)| now != stable);
        if agreed > self.stable.len() && !contradicted {
            self.stable = words[..agreed].to_vec();
        }
        self.last = words;
        self.partial()
    }

    /// The stretch is finished and another begins: all its words are stable now.
    pub(crate) fn next_stretch(&mut self) {
        let rest = self.last.drain(..).skip(self.stable.len());
        self.before.append(&mut self.stable);
        self.before.extend(rest);
    }

    fn partial(&self) -> Partial {
        let stable: Vec<&str> = self.before.iter().chain(&self.stable).map(String::as_str).collect();
        let unstable = self.last.get(self.stable.len()..).unwrap_or_default();
        Partial {
            stable: stable.join(" "),
            unstable: unstable.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partial(stable: &str, unstable: &str) -> Partial {
        Partial {
            stable: stable.into(),
            unstable: unstable.into(),
        }
    }

    #[test]
    fn words_become_stable_when_two_decodes_agree() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.update("He was"), partial("", "He was"));
        assert_eq!(agreement.update("He was not."), partial("He was", "not."));
        assert_eq!(agreement.update("He was not an ill"), partial("He was", "not an ill"));
        assert_eq!(
            agreement.update("He was not an old man"),
            partial("He was not an", "old man")
        );
    }

    #[test]
    fn stable_words_stay_although_a_decode_disagrees() {
        let mut agreement = Agreement::default();
        agreement.update("set a timer");
        agreement.update("set a timer");
        assert_eq!(
            agreement.update("said the time for ten"),
            partial("set a timer", "for ten")
        );
        assert_eq!(agreement.update(""), partial("set a timer", ""));
    }

    #[test]
    fn a_finished_stretch_is_stable() {
        let mut agreement = Agreement::default();
        agreement.update("one two");
        agreement.next_stretch();
        assert_eq!(agreement.update("three"), partial("one two", "three"));
        assert_eq!(agreement.update("three four"), partial("one two three", "four"));
    }

    proptest! {
        #[test]
        fn stable_text_only_grows(decodes in prop::collection::vec("[ab]( [abc]){0,6}", 1..12), cut in 0_usize..12) {
            let mut agreement = Agreement::default();
            let mut before = String::new();
            for (index, decode) in decodes.iter().enumerate() {
                if index == cut {
                    agreement.next_stretch();
                }
                let now = agreement.update(decode).stable;
                prop_assert!(now.starts_with(&before), "{before:?} became {now:?}");
                before = now;
            }
        }
    }
}
