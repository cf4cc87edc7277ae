//! Documents: taken in, shown, replaced, deleted.

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use solo_proto::memory::v1::*;
use solo_service::ErrorCode;

use crate::support::*;

const GARDEN: &str = "# The garden\n\nIt lies behind the house.\n\n## Tomatoes\n\nWater them in the morning.\n\n## Beans\n\nLeave them alone.\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_note_gets_a_uri_and_a_title_and_is_found_with_its_citation() {
    let fixture = start().await;
    let client = &fixture.client;
    let text = "My sister's birthday is on the fourth of May.";
    let put = client.put("", text).await;
    assert!(put.document.uri.starts_with("note:"), "{}", put.document.uri);
    assert_eq!(put.document.title, text);
    assert_eq!(
        (put.document.media_type.as_str(), put.document.version),
        ("text/plain", 1)
    );
    assert_eq!((put.document.chunks, put.document.bytes), (1, text.len() as u64));
    let hits = client.find("when is my sister's birthday?").await;
    assert_eq!(hits.len(), 1);
    let citation = citation(&hits[0]);
    assert_eq!((&hits[0].text, &citation.text), (&text.to_owned(), &text.to_owned()));
    assert_eq!(
        (&citation.document, &citation.uri),
        (&put.document.id, &put.document.uri)
    );
    assert_eq!(range(citation.range), 0..text.len());
    assert_eq!(hits[0].kind(), HitKind::Document);
    let again = client.put("", text).await;
    assert_ne!(again.document.id, put.document.id, "notes without a URI are separate");
}

#[tokio::test(flavor = "multi_thread")]
async fn markdown_is_cited_by_heading_and_range() {
    let fixture = start().await;
    let put = fixture.client.put("file:///home/a/garden.md", GARDEN).await;
    assert_eq!(
        (
            put.document.title.as_str(),
            put.document.media_type.as_str(),
            put.document.chunks
        ),
        ("The garden", "text/markdown", 3)
    );
    let hits = fixture.client.find("leave beans alone").await;
    assert_eq!(hits[0].text, "## Beans\n\nLeave them alone.");
    let citation = citation(&hits[0]);
    assert_eq!(citation.heading, "The garden › Beans");
    assert_eq!(&GARDEN[range(citation.range)], hits[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_content_changes_nothing() {
    let fixture = start().await;
    let first = fixture.client.put("file:///a.txt", "one two three").await;
    let second = fixture.client.put("file:///a.txt", "one two three").await;
    assert!(!first.unchanged && second.unchanged);
    assert_eq!(first.document, second.document);
    assert_eq!(fixture.client.find("one").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_replaces_the_old_version() {
    let fixture = start().await;
    let client = &fixture.client;
    let long = words("old", 900);
    let first = client.put("file:///a.txt", &long).await.document;
    assert!(first.chunks > 3);
    let second = client.put("file:///a.txt", "entirely new").await.document;
    assert_eq!((&second.id, second.version, second.chunks), (&first.id, 2, 1));
    assert_eq!(second.created_at, first.created_at);
    let found = client.search(query("old1 old2 new")).await.unwrap();
    assert_eq!(
        (found.hits.len(), found.searched),
        (1, 1),
        "nothing of the old version is left"
    );
    assert_eq!(client.text_of(&first.id).await.unwrap(), "entirely new");
    assert_eq!(fixture.gauge("chunks"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_version_or_the_other_while_it_is_replaced() {
    let fixture = start().await;
    let client = fixture.client.clone();
    let text = |version: usize| words(&format!("v{version}w"), 300);
    let id = client.put("file:///a.txt", &text(0)).await.document.id;
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for version in 1..12 {
                client.put("file:///a.txt", &text(version)).await;
            }
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        let hits = client.find("v0w1").await;
        let version = |hit: &Hit| hit.text.split('w').next().unwrap().to_owned();
        assert!(!hits.is_empty(), "neither version was seen");
        assert!(
            hits.iter().all(|hit| version(hit) == version(&hits[0])),
            "two versions were seen at once"
        );
        let whole: usize = hits.len();
        assert_eq!(whole, 2, "a version was seen in part");
        seen.insert(version(&hits[0]));
        let shown = client.text_of(&id).await.unwrap();
        let version = shown
            .split('w')
            .next()
            .unwrap()
            .trim_start_matches('v')
            .parse()
            .unwrap();
        assert_eq!(shown, text(version), "a passage mixes versions");
    }
    writer.await.unwrap();
    assert!(seen.len() > 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_times_are_kept() {
    let fixture = start().await;
    let value = Value {
        kind: Some(Kind::StringValue("Anna's \"list\"".into())),
    };
    let metadata = Struct {
        fields: [("author".to_owned(), value)].into_iter().collect(),
    };
    let header = DocumentHeader {
        uri: "file:///a.txt".into(),
        title: "A title".into(),
        media_type: "text/plain".into(),
        metadata: Some(metadata.clone()),
        ..Default::default()
    };
    let put = fixture.client.put_with(header, b"text").await.unwrap().document;
    let fixture = fixture.restart().await;
    let kept = fixture
        .client
        .get_document(GetDocumentRequest { id: put.id.clone() })
        .await
        .unwrap()
        .document
        .unwrap();
    assert_eq!(kept, put);
    assert_eq!((kept.metadata, kept.title.as_str()), (Some(metadata), "A title"));
    assert!(kept.created_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_upload_is_refused() {
    let fixture = start().await;
    let header = DocumentHeader {
        content_sha256: vec![7; 32],
        ..Default::default()
    };
    let result = fixture.client.put_with(header, b"text").await;
    refused(result, ErrorCode::InvalidArgument, "CONTENT_HASH_MISMATCH");
    assert!(fixture.client.documents().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_text_is_refused_by_name() {
    let fixture = start().await;
    let put = async |media_type: &str, uri: &str, content: &[u8]| {
        let header = DocumentHeader {
            media_type: media_type.into(),
            uri: uri.into(),
            ..Default::default()
        };
        fixture.client.put_with(header, content).await
    };
    for result in [put("image/png", "", b"x").await, put("", "file:///a.jpeg", b"x").await] {
        let message = refused(result, ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE");
        assert!(message.contains("plain text, Markdown"), "{message}");
    }
    refused(
        put("", "", b"\xFF\xFF\xFF").await,
        ErrorCode::InvalidArgument,
        "NOT_TEXT",
    );
    refused(put("", "", b" \n").await, ErrorCode::InvalidArgument, "EMPTY_DOCUMENT");
    refused(put("", "", b"").await, ErrorCode::InvalidArgument, "EMPTY_DOCUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_step_by_step() {
    let fixture = start().await;
    let put = fixture.client.put("file:///long.txt", &words("w", 4000)).await;
    let total = put.document.chunks;
    assert!(total >= 20);
    assert!(!put.steps.is_empty());
    assert!(
        put.steps
            .iter()
            .all(|step| step.chunks_total == total && step.chunks_done <= total)
    );
    assert!(put.steps.is_sorted_by_key(|step| step.chunks_done));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_document_once_newest_first() {
    let fixture = start().await;
    for n in 0..7 {
        fixture
            .client
            .put(&format!("file:///{}/{n}.txt", if n < 4 { "a" } else { "b%_" }), "text")
            .await;
    }
    let mut request = ListDocumentsRequest {
        page_size: 3,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = fixture.client.list_documents(request.clone()).await.unwrap();
        assert!(page.documents.len() <= 3);
        seen.extend(page.documents.into_iter().map(|document| document.uri));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected: Vec<_> = (0..7)
        .rev()
        .map(|n| format!("file:///{}/{n}.txt", if n < 4 { "a" } else { "b%_" }))
        .collect();
    assert_eq!(seen, expected);
    let list = async |prefix: &str| {
        let request = ListDocumentsRequest {
            uri_prefix: prefix.into(),
            ..Default::default()
        };
        fixture.client.list_documents(request).await.unwrap().documents.len()
    };
    assert_eq!((list("file:///a/").await, list("file:///b%_/").await), (4, 3));
    assert_eq!(
        (
            list("file:///%").await,
            list("file:///_").await,
            list("file:///b%_/5").await
        ),
        (0, 0, 1)
    );
    let bad = ListDocumentsRequest {
        page_token: "' OR 1=1".into(),
        ..Default::default()
    };
    refused(
        fixture.client.list_documents(bad).await,
        ErrorCode::InvalidArgument,
        "BAD_PAGE_TOKEN",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_is_all_or_nothing_and_leaves_nothing_to_find() {
    let fixture = start().await;
    let client = &fixture.client;
    let keep = client.put("file:///keep.txt", "keep this").await.document;
    let drop = client.put("file:///drop.txt", "drop this").await.document;
    let nobody = uuid::Uuid::now_v7().to_string();
    let result = client.delete(&[&drop.id, &nobody]).await;
    let message = refused(result, ErrorCode::NotFound, "DOCUMENT_NOT_FOUND");
    assert!(message.contains(&nobody), "{message}");
    assert_eq!(client.documents().await.len(), 2);
    assert_eq!(client.delete(&[&drop.id]).await.unwrap(), 1);
    assert_eq!(
        client
            .find("this")
            .await
            .iter()
            .map(|hit| hit.text.as_str())
            .collect::<Vec<_>>(),
        ["keep this"]
    );
    refused(
        client.delete(&[&drop.id]).await,
        ErrorCode::NotFound,
        "DOCUMENT_NOT_FOUND",
    );
    refused(
        client.text_of(&drop.id).await,
        ErrorCode::NotFound,
        "DOCUMENT_NOT_FOUND",
    );
    refused(client.delete(&[]).await, ErrorCode::InvalidArgument, "BAD_IDS");
    refused(
        client.delete(&["x' OR 'a'='a"]).await,
        ErrorCode::InvalidArgument,
        "BAD_ID",
    );
    assert_eq!(client.documents().await, [keep]);
    assert_eq!((fixture.gauge("documents"), fixture.gauge("chunks")), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn passages_reproduce_the_text() {
    let fixture = start().await;
    let text = format!(
        "\n\n{}\n\n   {}ß中\u{1F600}\r\n",
        words("añadir", 500),
        words("straße", 500)
    );
    let id = fixture.client.put("file:///a.txt", &text).await.document.id;
    assert_eq!(fixture.client.text_of(&id).await.unwrap(), text);
    let passage = async |start: usize, end: usize, context_bytes: u32| {
        let wanted = Some(TextRange {
            start: start as u64,
            end: end as u64,
        });
        let request = GetPassageRequest {
            document_id: id.clone(),
            range: wanted,
            context_bytes,
        };
        fixture.client.get_passage(request).await
    };
    for (start, end, context) in [
        (0, 0, 0),
        (3, 9, 0),
        (4000, 4100, 50),
        (text.len() - 5, text.len() + 99, 3),
    ] {
        let answer = passage(start, end, context).await.unwrap();
        let shown = range(answer.range);
        assert_eq!(answer.text, text[shown.clone()]);
        let wanted = start.saturating_sub(context as usize)..(end + context as usize).min(text.len());
        assert!(
            shown.start <= wanted.start && wanted.start - shown.start < 4,
            "{shown:?} {wanted:?}"
        );
        assert!(
            shown.end >= wanted.end && shown.end - wanted.end < 4,
            "{shown:?} {wanted:?}"
        );
    }
    refused(passage(9, 3, 0).await, ErrorCode::InvalidArgument, "BAD_RANGE");
    refused(
        passage(text.len() + 1, text.len() + 2, 0).await,
        ErrorCode::InvalidArgument,
        "BAD_RANGE",
    );
    refused(passage(0, 1, 10_001).await, ErrorCode::InvalidArgument, "BAD_CONTEXT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_without_a_header_is_refused() {
    let fixture = start().await;
    let mut both = messages(DocumentHeader::default(), b"text");
    refused(
        fixture.client.send(vec![]).await,
        ErrorCode::InvalidArgument,
        "MISSING_HEADER",
    );
    refused(
        fixture.client.send(both.split_off(1)).await,
        ErrorCode::InvalidArgument,
        "MISSING_HEADER",
    );
    let twice = vec![both[0].clone(), both[0].clone()];
    refused(
        fixture.client.send(twice).await,
        ErrorCode::InvalidArgument,
        "UNEXPECTED_HEADER",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_told_as_events() {
    use solo_proto::events::v1::event::Payload;
    let fixture = start().await;
    let (_, _, mut events) = fixture.harness.context().events.subscribe(None);
    fixture.client.of("anna").put("file:///a.txt", "text").await;
    let mut last = None;
    while let Ok(event) = events.try_recv() {
        if let Some(Payload::IngestProgress(step)) = event.payload {
            assert_eq!((event.principal.as_str(), step.uri.as_str()), ("anna", "file:///a.txt"));
            last = Some((step.chunks_done, step.chunks_total, step.done));
        }
    }
    assert_eq!(last, Some((1, 1, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_stops_the_work_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (held, holder) = Held::new();
    let harness = start_in(folder.path(), "", loader_with("words", held)).await.unwrap();
    let client = Client::new(harness.channel().await);
    let putting = tokio::spawn({
        let client = client.clone();
        async move { client.put("file:///a.txt", &words("w", 4000)).await }
    });
    let holder = holder.reached().await;
    putting.abort();
    assert!(putting.await.is_err());
    // The engine is released by the cancellation alone, and its next job is this search: none of the document's other
    // batches comes before it.
    let searching = tokio::spawn(async move { (client.find("w1").await, client.documents().await) });
    let holder = holder.reached().await;
    holder.release();
    let (hits, documents) = searching.await.unwrap();
    assert!(hits.is_empty() && documents.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_put_one_uri_at_once_both_are_versions_of_one_document() {
    let fixture = start().await;
    let client = &fixture.client;
    let (first, second) = tokio::join!(
        client.put("file:///a", "first text"),
        client.put("file:///a", "second text")
    );
    assert_eq!(first.document.id, second.document.id);
    assert_eq!(first.document.version + second.document.version, 3);
    let last = if first.document.version == 2 {
        "first text"
    } else {
        "second text"
    };
    assert_eq!(
        client
            .find("text")
            .await
            .iter()
            .map(|hit| hit.text.as_str())
            .collect::<Vec<_>>(),
        [last]
    );
}
