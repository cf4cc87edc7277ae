//! A database's errors, told apart.

use std::path::Path;

use crate::store::StoreError;

/// A database's error as the store's, where other processes may write to it.
pub(super) fn failed(path: &Path, doing: &'static str, error: lancedb::Error) -> StoreError {
    if is_conflict(&error) {
        StoreError::Busy
    } else {
        broken(path, doing, error)
    }
}

/// A database's error as the store's, where nobody else writes to it.
pub(super) fn broken(path: &Path, doing: &'static str, error: lancedb::Error) -> StoreError {
    if is_disk_full(&error) {
        StoreError::DiskFull {
            path: path.to_owned(),
            source: error.into(),
        }
    } else {
        StoreError::Backend {
            doing,
            source: error.into(),
        }
    }
}

/// True when other commits came first, and nothing was changed.
pub(super) fn is_conflict(error: &lancedb::Error) -> bool {
    use lance::Error::{CommitConflict, IncompatibleTransaction, RetryableCommitConflict, TooMuchWriteContention};
    let lancedb::Error::Lance { source } = error else {
        return false;
    };
    matches!(
        source,
        CommitConflict { .. }
            | IncompatibleTransaction { .. }
            | RetryableCommitConflict { .. }
            | TooMuchWriteContention { .. }
    )
}

/// True when the store did not say whether a commit was made.
pub(super) fn is_unknown(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // Its type is wrapped differently by each layer.
        if error
            .to_string()
            .contains("is unknown: the commit may or may not have been applied")
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| {
            matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        }) {
            return true;
        }
        next = error.source();
    }
    // Some layers keep only the text of what they wrap.
    error.to_string().contains("No space left on device")
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn commits_that_came_too_late_and_commits_without_an_answer_are_told_apart() {
        let late = lance::Error::incompatible_transaction_source("another one came first".into());
        let late = lancedb::Error::from(late);
        assert!(is_conflict(&late) && !is_unknown(&late));
        let unanswered = lance::Error::commit_status_unknown_source(7, "the line broke".into());
        let unanswered = lancedb::Error::from(unanswered);
        assert!(is_unknown(&unanswered) && !is_conflict(&unanswered), "{unanswered:?}");
    }

    #[test]
    fn a_full_disk_is_known_however_it_is_wrapped() {
        let wrapped = |error: Error| lancedb::Error::Other {
            message: "x".into(),
            source: Some(error.into()),
        };
        let full = failed(
            Path::new("/store"),
            "appended rows",
            wrapped(ErrorKind::StorageFull.into()),
        );
        assert!(matches!(full, StoreError::DiskFull { .. }), "{full:?}");
        assert!(full.to_string().contains("/store"));
        let text = lancedb::Error::Runtime {
            message: "LanceError(IO): No space left on device (os error 28)".into(),
        };
        assert!(matches!(
            failed(Path::new("/store"), "x", text),
            StoreError::DiskFull { .. }
        ));
        let other = failed(Path::new("/store"), "x", wrapped(ErrorKind::PermissionDenied.into()));
        assert!(matches!(other, StoreError::Backend { .. }), "{other:?}");
    }
}
