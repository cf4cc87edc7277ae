//! What is heard, where, and how often.

use std::time::Duration;

use solo_proto::wake::v1::detect_response::Payload;
use solo_proto::wake::v1::{KeywordConfig, ListKeywordsRequest};
use solo_service::error::Fault;
use solo_testkit::wait_for;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::fake::{audio, block, chunks, config, keyword, listen, next, start};

/// Blocks of probabilities, in per mille, as samples.
fn stream(blocks: &[(i16, i16)]) -> Vec<i16> {
    blocks
        .iter()
        .flat_map(|(index, per_mille)| block(*index, *per_mille))
        .collect()
}

#[tokio::test]
async fn a_keyword_is_heard_where_it_was_spoken_whatever_the_chunks() {
    let mut fake = start("").await.unwrap();
    let samples = stream(&[
        (0, 0),
        (0, 0),
        (0, 500),
        (0, 0),
        (0, 0),
        (0, 0),
        (0, 0),
        (0, 970),
        (0, 990),
        (0, 10),
    ]);
    for length in [1, 7, 160, 200, 1600] {
        let mut requests = vec![config(vec![])];
        requests.extend(chunks(10_000, &samples, length));
        let (started, wakes) = listen(&mut fake.client, requests).await.unwrap();
        assert_eq!(
            (started.keywords.as_slice(), started.engine.as_str()),
            (["alpha".to_owned()].as_slice(), "micro-wake-word")
        );
        assert_eq!(wakes.len(), 1, "once, though it was above the threshold twice");
        let wake = &wakes[0];
        assert_eq!((wake.keyword.as_str(), wake.score), ("alpha", 0.97));
        assert_eq!(
            (wake.start_sample, wake.end_sample),
            (10_480, 11_280),
            "chunks of {length}"
        );
    }
}

#[tokio::test]
async fn several_keywords_each_have_their_own_threshold_and_rest() {
    let mut fake = start("keywords = [\"alpha=0.5\"]\nrefractory_ms = 20").await.unwrap();
    let samples = stream(&[(0, 600), (1, 600), (0, 950), (1, 950), (0, 600), (1, 950)]);
    let heard = async |client: &mut _, keywords| {
        let requests = [vec![config(keywords)], chunks(0, &samples, 160)].concat();
        let (_, wakes) = listen(client, requests).await.unwrap();
        wakes
            .into_iter()
            .map(|wake| (wake.keyword, wake.end_sample / 160))
            .collect::<Vec<_>>()
    };
    let named = |wakes: &[(&str, u64)]| {
        wakes
            .iter()
            .map(|(id, end)| ((*id).to_owned(), *end))
            .collect::<Vec<_>>()
    };
    // The configuration: from 0.5, not twice within two blocks.
    assert_eq!(
        heard(&mut fake.client, vec![]).await,
        named(&[("alpha", 1), ("alpha", 3), ("alpha", 5)])
    );
    let strict = KeywordConfig {
        threshold: Some(0.9),
        ..keyword("alpha")
    };
    let rare = KeywordConfig {
        refractory_ms: Some(60_000),
        ..keyword("beta")
    };
    assert_eq!(
        heard(&mut fake.client, vec![strict, rare]).await,
        named(&[("alpha", 3), ("beta", 4)])
    );
    // Named without a threshold: the configured one of alpha, the model's own (0.9) of beta.
    let both = heard(&mut fake.client, vec![keyword("beta"), keyword("alpha")]).await;
    assert_eq!(
        both,
        named(&[("alpha", 1), ("alpha", 3), ("beta", 4), ("alpha", 5), ("beta", 6)])
    );
}

#[tokio::test]
async fn a_keyword_may_have_to_be_sure_more_than_once() {
    let mut fake = start("keywords = [\"alpha=0.5x2\", \"beta\"]\ntrigger_count = 3\nrefractory_ms = 0")
        .await
        .unwrap();
    let samples = stream(&[
        (0, 600),
        (0, 600),
        (0, 600),
        (0, 600),
        (1, 950),
        (1, 950),
        (1, 950),
        (1, 950),
    ]);
    let heard = async |client: &mut _, keywords| {
        let requests = [vec![config(keywords)], chunks(0, &samples, 160)].concat();
        let (_, wakes) = listen(client, requests).await.unwrap();
        wakes
            .into_iter()
            .map(|wake| (wake.keyword, wake.end_sample / 160))
            .collect::<Vec<_>>()
    };
    let (alpha, beta) = (|end| ("alpha".to_owned(), end), |end| ("beta".to_owned(), end));
    assert_eq!(heard(&mut fake.client, vec![]).await, [alpha(2), alpha(4), beta(7)]);
    // Named without a count: the configured one of each; named with one: that.
    let twice = KeywordConfig {
        trigger_count: Some(4),
        ..keyword("alpha")
    };
    assert_eq!(
        heard(&mut fake.client, vec![twice, keyword("beta")]).await,
        [alpha(4), beta(7)]
    );
}

#[tokio::test]
async fn an_answer_comes_while_the_stream_goes_on() {
    let mut fake = start("").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    say.send(config(vec![])).unwrap();
    let mut answers = fake
        .client
        .detect(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Started(_))));
    say.send(audio(0, &block(0, 990))).unwrap();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Wake(wake)) if wake.end_sample == 160));
    drop(say);
    assert!(next(&mut answers).await.unwrap().is_none());
}

#[tokio::test]
async fn a_restart_ends_the_streams_at_once() {
    let mut fake = start("").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    say.send(config(vec![])).unwrap();
    let mut answers = fake
        .client
        .detect(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Started(_))));
    fake.harness.begin_stop();
    let ended = next(&mut answers).await.unwrap_err();
    assert_eq!(Fault::from(&ended).reason, "DRAINING");
    fake.harness.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_makes_room_for_another() {
    let mut fake = start("max_streams = 1").await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    say.send(config(vec![])).unwrap();
    let mut answers = fake
        .client
        .detect(UnboundedReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Payload::Started(_))));
    let refused = listen(&mut fake.client, vec![config(vec![])]).await.unwrap_err();
    assert_eq!(Fault::from(&refused).reason, "TOO_MANY_STREAMS");
    assert!(
        refused.message().starts_with("1 streams are listened to"),
        "{}",
        refused.message()
    );
    drop((answers, say));
    let mut client = fake.client.clone();
    let free = async || listen(&mut client, vec![config(vec![])]).await.is_ok();
    wait_for("the place to be free again", Duration::from_secs(10), free).await;
}

#[tokio::test]
async fn keywords_are_listed_with_those_in_use_first() {
    let mut fake = start("keywords = [\"beta\"]").await.unwrap();
    let listed = fake
        .client
        .list_keywords(ListKeywordsRequest {})
        .await
        .unwrap()
        .into_inner()
        .keywords;
    let listed: Vec<_> = listed
        .iter()
        .map(|known| (known.keyword.as_str(), known.active, known.installed))
        .collect();
    assert_eq!(
        listed,
        [("beta", true, true), ("alpha", false, true), ("gone", false, false)]
    );
    let status = fake.harness.context().status.snapshot();
    assert_eq!(
        (status.engine.as_str(), status.model.as_str()),
        ("micro-wake-word", "beta")
    );
}
