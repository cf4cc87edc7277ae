//! Which rows: filters as typed expressions.
//!
//! Values never become SQL text, so there is nothing to escape and nothing to inject into; names were checked on the way
//! in besides ([`crate::names`]). The only way to begin a filter over somebody's data is [`Predicate::of`], which takes
//! the principal, so none can be forgotten.

use lancedb::expr::{DfExpr, col, lit};

use crate::names::Principal;

/// A condition on rows.
#[derive(Debug, Clone)]
pub(super) struct Predicate(DfExpr);

impl Predicate {
    /// Rows of a principal.
    pub(super) fn of(principal: &Principal) -> Self {
        Self(col("principal").eq(lit(principal.as_str())))
    }

    /// Rows of everybody whose `column` is one of `values`: for upkeep, never for requests.
    pub(super) fn of_everybody(column: &str, values: impl IntoIterator<Item = String>) -> Self {
        Self(one_of(column, values, false))
    }

    /// Rows of everybody whose `column` is `value`: for upkeep, never for requests.
    pub(super) fn of_everybody_number(column: &str, value: u32) -> Self {
        Self(col(column).eq(lit(value)))
    }

    /// Facts of everybody that were neither superseded nor retracted: for upkeep, never for requests.
    pub(super) fn of_everybody_not_ended() -> Self {
        Self(col("ended_at").is_null())
    }

    fn and(self, other: DfExpr) -> Self {
        Self(self.0.and(other))
    }

    /// Whose `column` is `value`.
    pub(super) fn is(self, column: &str, value: &str) -> Self {
        self.and(col(column).eq(lit(value)))
    }

    /// Whose `column` is one of `values`; none given: no condition.
    pub(super) fn any_of(self, column: &str, values: impl IntoIterator<Item = String>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            self
        } else {
            self.and(one_of(column, values, false))
        }
    }

    /// Whose `column` is none of `values`.
    pub(super) fn none_of(self, column: &str, values: impl IntoIterator<Item = String>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            self
        } else {
            self.and(one_of(column, values, true))
        }
    }

    /// Whose `column` starts with `prefix`; an empty one: no condition.
    ///
    /// A range rather than a pattern: nothing in the prefix can act as a wildcard.
    pub(super) fn starts_with(self, column: &str, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let from = self.and(col(column).gt_eq(lit(prefix)));
        match successor(prefix) {
            Some(end) => from.and(col(column).lt(lit(end))),
            None => from,
        }
    }

    /// Whose text `column` comes before `value`.
    pub(super) fn less(self, column: &str, value: &str) -> Self {
        self.and(col(column).lt(lit(value)))
    }

    /// Whose text `column` comes after `value`.
    pub(super) fn greater(self, column: &str, value: &str) -> Self {
        self.and(col(column).gt(lit(value)))
    }

    /// Whose time `column` is later than `micros`.
    pub(super) fn later(self, column: &str, micros: i64) -> Self {
        self.and(col(column).gt(lit(micros)))
    }

    /// Whose time `column` is earlier than `micros`.
    pub(super) fn earlier(self, column: &str, micros: i64) -> Self {
        self.and(col(column).lt(lit(micros)))
    }

    /// Whose number `column` is less than `value`.
    pub(super) fn below(self, column: &str, value: u64) -> Self {
        self.and(col(column).lt(lit(value)))
    }

    /// Whose number `column` is more than `value`.
    pub(super) fn above(self, column: &str, value: u64) -> Self {
        self.and(col(column).gt(lit(value)))
    }

    /// Facts that hold at `micros`: not ended, and not valid only until before.
    pub(super) fn holding(self, micros: i64) -> Self {
        let lasting = col("valid_to").is_null().or(col("valid_to").gt(lit(micros)));
        self.not_ended().and(lasting)
    }

    /// Facts that were neither superseded nor retracted.
    pub(super) fn not_ended(self) -> Self {
        self.and(col("ended_at").is_null())
    }

    /// The expression.
    pub(super) fn expr(&self) -> &DfExpr {
        &self.0
    }
}

fn one_of(column: &str, values: impl IntoIterator<Item = String>, negated: bool) -> DfExpr {
    col(column).in_list(values.into_iter().map(lit).collect(), negated)
}

/// The least text that is greater than every text that starts with `prefix`; `None`: there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // `char`'s own stepping leaps over the surrogates; UTF-8 sorts as its characters do.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_ends_the_range_of_a_prefix() {
        assert_eq!(successor("file:///a").as_deref(), Some("file:///b"));
        assert_eq!(successor("a%").as_deref(), Some("a&"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }

    #[test]
    fn values_stay_values() {
        let principal = Principal::new("local").unwrap();
        let hostile = "x' OR '1'='1";
        let expression = Predicate::of(&principal).is("uri", hostile).expr().to_string();
        // One literal with the whole text in it, not a condition of its own.
        assert!(expression.contains(&format!("Utf8(\"{hostile}\")")), "{expression}");
    }
}
