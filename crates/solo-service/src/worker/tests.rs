use std::sync::mpsc as sync_mpsc;

use futures::StreamExt;

use super::*;

async fn counter(capacity: usize) -> (Worker<u64>, Context) {
    let context = Context::for_tests("test-svc").await;
    let worker = Worker::start(&context, "counter", capacity, || Ok(0_u64))
        .await
        .unwrap();
    (worker, context)
}

/// Occupies the engine until the sender is dropped; returns once the engine is in it.
async fn block(worker: &Worker<u64>) -> sync_mpsc::Sender<()> {
    let (release, gate) = sync_mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    let worker = worker.clone();
    tokio::spawn(async move {
        let _ = worker
            .run(move |_, _| {
                let _ = entered.send(());
                let _ = gate.recv();
            })
            .await;
    });
    inside.await.unwrap();
    release
}

#[tokio::test]
async fn jobs_run_in_turn_on_one_engine() {
    let (worker, _context) = counter(8).await;
    for expected in 1..=3 {
        let seen = worker.run(|count, _| {
            *count += 1;
            *count
        });
        assert_eq!(seen.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_is_seen_in_the_status() {
    let (worker, context) = counter(1).await;
    let release = block(&worker).await;
    let waiting = worker.stream(1, |_, emit, _| {
        let _ = emit.send(7);
    });
    let mut waiting = waiting.unwrap();
    let refused = worker.run(|_, _| ()).await;
    assert_eq!(
        refused,
        Err(WorkerError::QueueFull {
            worker: "counter",
            capacity: 1
        })
    );
    let queue = context.status.snapshot().queue.unwrap();
    assert_eq!((queue.depth, queue.capacity), (1, 1));
    drop(release);
    assert_eq!(waiting.next().await, Some(7));
    assert_eq!(waiting.next().await, None);
    assert_eq!(context.status.snapshot().queue.unwrap().depth, 0);
}

#[tokio::test]
async fn dropping_a_stream_cancels_the_running_job() {
    let (worker, _context) = counter(4).await;
    let (stopped, seen) = oneshot::channel();
    let mut stream = worker
        .stream(1, |_, emit, cancel| {
            let mut sent = 0_u64;
            while emit.send(sent).is_ok() {
                sent += 1;
            }
            let _ = stopped.send(cancel.is_cancelled());
        })
        .unwrap();
    assert_eq!(stream.next().await, Some(0));
    drop(stream);
    assert!(seen.await.unwrap());
}

#[tokio::test]
async fn a_panic_is_told_and_ends_the_process() {
    let (worker, context) = counter(4).await;
    let panicked = worker.run(|_, _| -> () { panic!("boom") }).await;
    assert_eq!(panicked, Err(WorkerError::Panicked { worker: "counter" }));
    context.failed.cancelled().await;
    assert_eq!(context.status.state(), solo_proto::status::v1::ServiceState::NotServing);
}

#[tokio::test]
async fn an_engine_that_cannot_load_is_an_error_not_a_panic() {
    let context = Context::for_tests("test-svc").await;
    let refused = Worker::<()>::start(&context, "x", 1, || Err(StartupError::other("no such model"))).await;
    assert_eq!(refused.err().unwrap().to_string(), "no such model");
    let panicked = Worker::<()>::start(&context, "x", 1, || panic!("boom")).await;
    assert!(panicked.err().unwrap().to_string().contains("panicked"));
}
