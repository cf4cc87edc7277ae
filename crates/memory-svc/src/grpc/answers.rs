//! Answers of many messages: how far it is, then the end.
//!
//! The work lives in the stream: a caller that goes away drops it, and embedding stops.

use std::pin::Pin;

use futures::Stream;
use solo_proto::memory::v1::{ExportResponse, ReembedResponse};
use solo_service::IntoStatus;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status};

use super::transfer::send;
use crate::convert;
use crate::error::Error;
use crate::memory::{Memory, Step};
use crate::names::Principal;

/// Steps of progress that wait for a slow reader before some are left out.
pub(super) const PROGRESS_BUFFER: usize = 8;

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Each step of `work` as `step` shows it, then its end as `last` does.
pub(super) fn progressing<P, T, R>(
    mut steps: mpsc::Receiver<P>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    step: fn(P) -> R,
    last: fn(T) -> R,
) -> Response<Answers<R>>
where
    P: Send + 'static,
    T: Send + 'static,
    R: Send + 'static,
{
    Response::new(Box::pin(async_stream::stream! {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(told) = steps.recv() => yield Ok(step(told)),
                done = &mut work => {
                    yield done.map(last).map_err(IntoStatus::into_status);
                    break;
                }
            }
        }
    }))
}

/// An export, then the file's pieces.
pub(super) fn exporting(memory: Memory, principal: Principal) -> Response<Answers<ExportResponse>> {
    Response::new(Box::pin(async_stream::stream! {
        let (progress, mut steps) = mpsc::channel(PROGRESS_BUFFER);
        // A task of its own: a caller that reads slowly must not keep the store from tidying up.
        let exporting = tokio::spawn(async move { memory.export(&principal, progress).await });
        let exporting = AbortOnDropHandle::new(exporting);
        while let Some(step) = steps.recv().await {
            yield Ok(convert::export_progress(step));
        }
        let exported = exporting.await.unwrap_or(Err(Error::Panicked { doing: "exporting" }));
        let mut pieces = match exported {
            Ok(exported) => send(exported),
            Err(error) => {
                yield Err(error.into_status());
                return;
            }
        };
        while let Some(sent) = pieces.recv().await {
            yield sent.map_err(IntoStatus::into_status);
        }
    }))
}

/// A re-embedding, which goes on without those who listen.
pub(super) fn reembedding(mut steps: watch::Receiver<Step>) -> Response<Answers<ReembedResponse>> {
    Response::new(Box::pin(async_stream::stream! {
        loop {
            let step = steps.borrow_and_update().clone();
            let is_last = step.is_last();
            yield convert::reembedding(step).map_err(IntoStatus::into_status);
            if is_last {
                break;
            }
            if steps.changed().await.is_err() {
                let doing = "making the vectors anew";
                yield Err(Error::Panicked { doing }.into_status());
                break;
            }
        }
    }))
}
