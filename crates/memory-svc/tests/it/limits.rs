//! Limits, each with its own clear refusal, and the service works on after each.

use solo_proto::memory::v1::*;
use solo_service::ErrorCode;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_and_nothing_breaks() {
    let fixture = start_with("max_document_bytes = 1000\n[memory.search]\nmax_query_chars = 50\n").await;
    let client = &fixture.client;
    let message = refused(
        client.put_with(DocumentHeader::default(), &[b'x'; 1001]).await,
        ErrorCode::ResourceExhausted,
        "DOCUMENT_TOO_LARGE",
    );
    assert!(
        message.contains("1000 bytes") && message.contains("max_document_bytes"),
        "{message}"
    );
    let message = refused(
        client.search(query(&"ä".repeat(51))).await,
        ErrorCode::InvalidArgument,
        "QUERY_TOO_LONG",
    );
    assert!(message.contains("51 characters"), "{message}");
    let header = DocumentHeader {
        uri: "file:///a\nb".into(),
        ..Default::default()
    };
    refused(
        client.put_with(header, b"x").await,
        ErrorCode::InvalidArgument,
        "BAD_URI",
    );
    let header = DocumentHeader {
        content_sha256: vec![1; 31],
        ..Default::default()
    };
    refused(
        client.put_with(header, b"x").await,
        ErrorCode::InvalidArgument,
        "BAD_HASH",
    );
    let pages = ListDocumentsRequest {
        page_size: 1001,
        ..Default::default()
    };
    refused(
        client.list_documents(pages).await,
        ErrorCode::InvalidArgument,
        "BAD_PAGE_SIZE",
    );
    let description = "x".repeat(501);
    let collection = CreateCollectionRequest {
        name: "a".into(),
        description,
    };
    refused(
        client.create_collection(collection).await,
        ErrorCode::InvalidArgument,
        "DESCRIPTION_TOO_LONG",
    );
    assert!(client.documents().await.is_empty());
    client.put("", "and it still works").await;
    assert_eq!(client.find(&"still works".repeat(2)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_more_than_a_mebibyte_is_refused() {
    let fixture = start().await;
    let mut messages = messages(DocumentHeader::default(), b"");
    let data = put_document_request::Payload::Data(vec![b'x'; (1 << 20) + 1]);
    messages.push(PutDocumentRequest { payload: Some(data) });
    refused(
        fixture.client.send(messages).await,
        ErrorCode::InvalidArgument,
        "PIECE_TOO_LARGE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_a_blank_is_cut_and_kept() {
    let fixture = start().await;
    let text = format!("{}{}", "y".repeat(300_000), "\u{1F600}".repeat(1000));
    let document = fixture.client.put("file:///line", &text).await.document;
    assert!(document.chunks > 20, "{}", document.chunks);
    let whole = GetPassageRequest {
        document_id: document.id,
        range: Some(TextRange {
            start: 299_000,
            end: text.len() as u64,
        }),
        context_bytes: 0,
    };
    assert_eq!(fixture.client.get_passage(whole).await.unwrap().text, text[299_000..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (held, holder) = Held::new();
    let harness = start_in(folder.path(), "queue = 1\n", loader_with("words", held))
        .await
        .unwrap();
    let client = Client::new(harness.channel().await);
    let search = || {
        let client = client.clone();
        tokio::spawn(async move { client.search(query("x")).await })
    };
    let running = search();
    let holder = holder.reached().await;
    let waiting = search();
    let depth = || harness.context().status.snapshot().queue.unwrap().depth;
    solo_testkit::wait_for("a search to wait", std::time::Duration::from_secs(10), async || {
        depth() == 1
    })
    .await;
    refused(
        client.search(query("x")).await,
        ErrorCode::ResourceExhausted,
        "QUEUE_FULL",
    );
    holder.release();
    holder.release();
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_faults_are_all_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = "queue = 0\nsurprise = 1\n[memory.chunking]\ntokens = 1000\n[memory.search]\nmin_score = 3.0\n";
    let error = start_in(folder.path(), overrides, loader()).await.err().unwrap();
    assert_eq!(error.exit_code(), 64);
    let message = error.to_string();
    assert!(message.contains("memory.surprise"), "{message}");
    let overrides = "queue = 0\n[memory.chunking]\ntokens = 1000\n[memory.search]\nmin_score = 3.0\n";
    let message = start_in(folder.path(), overrides, loader())
        .await
        .err()
        .unwrap()
        .to_string();
    for key in ["memory.queue", "memory.chunking.tokens", "memory.search.min_score"] {
        assert!(message.contains(key), "{key}: {message}");
    }
}
