//! Long lists in pages: how many, from where on, and where the next one starts.
//!
//! Pages are keyset pages: a token names the last item shown, so that what is added or deleted meanwhile neither repeats
//! nor hides an item. Identifiers are UUIDv7, whose order is that of their making; "newest first" is their order reversed.

use crate::error::Error;
use crate::names::shorten;

/// Items of a page where a request names no number.
const DEFAULT_SIZE: usize = 100;
/// Most items of a page.
const MAX_SIZE: usize = 1000;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<T> {
    /// At most so many items.
    pub size: usize,
    /// The last item of the page before; `None`: the first page.
    pub after: Option<T>,
}

impl<T> PageRequest<T> {
    /// All there is, as one page.
    pub fn everything() -> Self {
        Self {
            // One more is asked for, to see whether there is another page.
            size: usize::MAX - 1,
            after: None,
        }
    }

    /// Reads a request's `page_size` and `page_token`.
    pub fn new(size: u32, token: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Self, Error> {
        let size = match size as usize {
            0 => DEFAULT_SIZE,
            size @ 1..=MAX_SIZE => size,
            size => {
                let message = format!("{size} is no page size: 1 to {MAX_SIZE} is wanted, 0 means {DEFAULT_SIZE}");
                return Err(Error::invalid("page_size", "BAD_PAGE_SIZE", message));
            }
        };
        let after = match token {
            "" => None,
            token => Some(read(token).ok_or_else(|| {
                let message = format!("`{}` is no page token of this list", shorten(token));
                Error::invalid("page_token", "BAD_PAGE_TOKEN", message)
            })?),
        };
        Ok(Self { size, after })
    }
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its items, in order.
    pub items: Vec<T>,
    /// Names the last item; `None`: there is no more.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `size` of `items`, of which one more than `size` was fetched to see whether there are more.
    pub fn cut(mut items: Vec<T>, size: usize, token: impl FnOnce(&T) -> String) -> Self {
        let more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| more).map(token);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_tokens_are_checked() {
        let read = |token: &str| token.parse::<u32>().ok();
        assert_eq!(
            PageRequest::new(0, "", read).unwrap(),
            PageRequest { size: 100, after: None }
        );
        assert_eq!(
            PageRequest::new(7, "3", read).unwrap(),
            PageRequest {
                size: 7,
                after: Some(3)
            }
        );
        assert!(PageRequest::new(1001, "", read).is_err());
        assert!(PageRequest::new(1, "x' OR 1=1", read).is_err());
    }

    #[test]
    fn a_page_knows_whether_there_are_more() {
        let page = Page::cut(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((page.items, page.next), (vec![1, 2], Some("2".into())));
        assert_eq!(Page::cut(vec![1, 2], 2, ToString::to_string).next, None);
    }
}
