//! Two services on one store, one of which keeps a watched folder: what the other one forgets does not come back.

use std::path::Path;

use memory_svc::embedding::Embedder;
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_testkit::wait_for;

use crate::pair::{SHARED, insist};
use crate::support::*;
use crate::watch::{QUICK, SOON, write};

/// Two processes of one store: the first keeps its watched folders, one of which is `folder`.
struct Shared {
    keeper: Client,
    other: Client,
    _harnesses: [Harness; 2],
}

impl Shared {
    async fn start(store: &Path, folder: &Path, engine: impl Embedder) -> Self {
        let keeping = format!("{SHARED}{QUICK}keeper = true\n");
        let one = start_in(store, &keeping, loader_with("words", engine)).await.unwrap();
        let two = start_in(store, SHARED, loader()).await.unwrap();
        let (keeper, other) = (Client::new(one.channel().await), Client::new(two.channel().await));
        let request = AddWatchRequest {
            path: folder.to_str().unwrap().into(),
            collection: String::new(),
        };
        keeper.add_watch(request).await.unwrap();
        wait_for("the watch", SOON, async || !watches(&other).await.is_empty()).await;
        Self {
            keeper,
            other,
            _harnesses: [one, two],
        }
    }

    /// The other process forgets everything.
    async fn forget(&self) {
        let request = ForgetRequest {
            selector: Some(forget_request::Selector::Everything(true)),
        };
        insist(async || self.other.forget(request.clone()).await).await.unwrap();
    }

    /// The keeper has noticed that the folder is not watched any more, and nobody has anything of it.
    async fn nothing_comes_back(&self) {
        wait_for("the keeper", SOON, async || {
            watches(&self.keeper).await[0].problem.contains("there is no watch")
        })
        .await;
        for client in [&self.keeper, &self.other] {
            assert!(client.documents().await.is_empty());
        }
    }
}

async fn watches(client: &Client) -> Vec<Watch> {
    client.list_watches(ListWatchesRequest {}).await.unwrap().watches
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_forgets_while_a_folder_is_read_does_not_come_back() {
    let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(folder.path(), "a.txt", "about me");
    let (held, holder) = Held::new();
    let shared = Shared::start(store.path(), folder.path(), held).await;
    // The folder has been compared, and nothing is stored yet.
    let holder = holder.reached().await;
    shared.forget().await;
    (0..100).for_each(|_| holder.release());
    shared.nothing_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_another_process_forgot_is_not_read_again() {
    let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(folder.path(), "a.txt", "about me");
    let shared = Shared::start(store.path(), folder.path(), WordVectors).await;
    wait_for("the folder", SOON, async || !shared.other.documents().await.is_empty()).await;
    shared.forget().await;
    write(folder.path(), "b.txt", "about me, too");
    shared.nothing_comes_back().await;
}
