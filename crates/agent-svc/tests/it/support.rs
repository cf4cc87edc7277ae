//! A running agent-svc with fakes behind it, and a client that reads what it says.

use std::time::Duration;

use solo_proto::agent::v1::agent_service_client::AgentServiceClient;
use solo_proto::agent::v1::converse_request::Payload as In;
use solo_proto::agent::v1::converse_response::Payload as Out;
use solo_proto::agent::v1::*;
use solo_service::testing::Harness;
use solo_testkit::{FakeLlm, FakeMemory, FakeServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Longest wait for anything; nothing comes near it unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// agent-svc, its fakes, its folder.
pub(crate) struct Setup {
    pub(crate) agent: Harness,
    pub(crate) llm: FakeLlm,
    pub(crate) memory: FakeMemory,
    pub(crate) llm_server: Option<FakeServer>,
    pub(crate) memory_server: Option<FakeServer>,
    folder: tempfile::TempDir,
    extra: String,
}

impl Setup {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// Starts with further keys of `[agent]`.
    pub(crate) async fn with(extra: &str) -> Self {
        let (llm, memory) = (FakeLlm::new(), FakeMemory::new());
        memory.set_hits(Vec::new());
        let (llm_server, memory_server) = (llm.serve().await, memory.serve().await);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let agent = start(&folder, &llm_server.endpoint(), &memory_server.endpoint(), extra).await;
        let (llm_server, memory_server) = (Some(llm_server), Some(memory_server));
        Self {
            agent,
            llm,
            memory,
            llm_server,
            memory_server,
            folder,
            extra: extra.to_owned(),
        }
    }

    /// Stops agent-svc as SIGTERM does and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            agent,
            llm,
            memory,
            llm_server,
            memory_server,
            folder,
            extra,
        } = self;
        agent.stop().await.expect("it drains");
        let endpoint = |server: &Option<FakeServer>| server.as_ref().expect("it runs").endpoint();
        let agent = start(&folder, &endpoint(&llm_server), &endpoint(&memory_server), &extra).await;
        Self {
            agent,
            llm,
            memory,
            llm_server,
            memory_server,
            folder,
            extra,
        }
    }

    /// Ends agent-svc as `kill -9` does and starts another on the same folder.
    pub(crate) async fn kill_and_restart(self) -> Self {
        let Self {
            agent,
            llm,
            memory,
            llm_server,
            memory_server,
            folder,
            extra,
        } = self;
        drop(agent);
        let endpoint = |server: &Option<FakeServer>| server.as_ref().expect("it runs").endpoint();
        let agent = start(&folder, &endpoint(&llm_server), &endpoint(&memory_server), &extra).await;
        Self {
            agent,
            llm,
            memory,
            llm_server,
            memory_server,
            folder,
            extra,
        }
    }

    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("agent").join("agent.db")
    }

    pub(crate) async fn client(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.agent.channel().await).max_encoding_message_size(usize::MAX)
    }

    /// Opens a new dialogue in writing, in UTC.
    pub(crate) async fn talk(&self) -> Talk {
        self.open(OpenDialogue {
            time_zone: "UTC".into(),
            ..OpenDialogue::default()
        })
        .await
    }

    /// Goes on with a dialogue.
    pub(crate) async fn resume(&self, dialogue: &str) -> Talk {
        let dialogue_id = dialogue.to_owned();
        self.open(OpenDialogue {
            dialogue_id,
            time_zone: "UTC".into(),
            ..OpenDialogue::default()
        })
        .await
    }

    pub(crate) async fn open(&self, open: OpenDialogue) -> Talk {
        Talk::open(self.client().await, open, "local")
            .await
            .expect("the dialogue opens")
    }

    pub(crate) async fn get(&self, dialogue: &str) -> GetDialogueResponse {
        let request = GetDialogueRequest { id: dialogue.into() };
        self.client()
            .await
            .get_dialogue(request)
            .await
            .expect("the dialogue is there")
            .into_inner()
    }

    /// A figure of the status page.
    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let status = self.agent.context().status.snapshot();
        let gauge = status.gauges.iter().find(|gauge| gauge.name == name);
        gauge.unwrap_or_else(|| panic!("there is no gauge {name}")).value
    }

    pub(crate) async fn wait_gauge(&self, name: &str, value: f64) {
        solo_testkit::wait_for(&format!("{name} = {value}"), PATIENCE, async || {
            self.gauge(name) == value
        })
        .await;
    }
}

async fn start(folder: &tempfile::TempDir, llm: &str, memory: &str, extra: &str) -> Harness {
    let data_dir = folder.path().display();
    // The model's script would be read by who learns.
    let learning = if extra.contains("learn_facts") {
        ""
    } else {
        "learn_facts = false\n"
    };
    let overrides = format!(
        "[global]\ndata_dir = \"{data_dir}\"\nendpoints.llm = \"{llm}\"\nendpoints.memory = \"{memory}\"\n[agent]\n{learning}{extra}\n"
    );
    Harness::start(agent_svc::DEFINITION, &overrides, agent_svc::build)
        .await
        .expect("agent-svc starts")
}

/// One Converse stream.
pub(crate) struct Talk {
    pub(crate) dialogue: String,
    pub(crate) opened: DialogueOpened,
    inbound: Option<mpsc::UnboundedSender<ConverseRequest>>,
    outbound: Streaming<ConverseResponse>,
}

/// All that was said of one turn.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) accepted: Option<TurnAccepted>,
    pub(crate) stages: Vec<turn_status::Stage>,
    pub(crate) text: String,
    pub(crate) citations: Vec<ReplyCitation>,
    pub(crate) done: Option<TurnDone>,
    pub(crate) failed: Option<TurnFailed>,
}

impl Answer {
    /// The reply of a turn that was done.
    pub(crate) fn reply(&self) -> &str {
        let done = self
            .done
            .as_ref()
            .unwrap_or_else(|| panic!("the turn was not done: {:?}", self.failed));
        assert_eq!(done.reply, self.text, "the whole is what its deltas were");
        &done.reply
    }

    pub(crate) fn failure(&self) -> &TurnFailed {
        self.failed
            .as_ref()
            .unwrap_or_else(|| panic!("the turn did not fail: {:?}", self.done))
    }
}

impl Talk {
    pub(crate) async fn open(
        mut client: AgentServiceClient<Channel>,
        open: OpenDialogue,
        principal: &str,
    ) -> Result<Self, Status> {
        let (inbound, receiver) = mpsc::unbounded_channel();
        inbound
            .send(ConverseRequest {
                payload: Some(In::Open(open)),
            })
            .expect("the receiver is here");
        let mut request = Request::new(UnboundedReceiverStream::new(receiver));
        request
            .metadata_mut()
            .insert("solo-principal", principal.parse().expect("ASCII"));
        let mut outbound = client.converse(request).await?.into_inner();
        let first = outbound.message().await?.expect("a first message");
        let Some(Out::Opened(opened)) = first.payload else {
            panic!("opened is wanted first, found {first:?}")
        };
        Ok(Self {
            dialogue: opened.dialogue_id.clone(),
            opened,
            inbound: Some(inbound),
            outbound,
        })
    }

    pub(crate) fn send(&self, payload: In) {
        let inbound = self.inbound.as_ref().expect("not half-closed");
        inbound
            .send(ConverseRequest { payload: Some(payload) })
            .expect("the stream is open");
    }

    pub(crate) fn draft(&self, text: &str) {
        self.send(In::Draft(Draft { text: text.into() }));
    }

    pub(crate) fn commit(&self, turn: &str, text: &str) {
        self.send(In::Commit(Commit {
            turn_id: turn.into(),
            text: text.into(),
            max_tokens: 0,
        }));
    }

    pub(crate) fn heard(&self, turn: &str, bytes: usize, interrupted: bool) {
        self.send(In::Heard(Heard {
            turn_id: turn.into(),
            text_bytes: bytes as u32,
            interrupted,
        }));
    }

    pub(crate) fn half_close(&mut self) {
        self.inbound = None;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<ConverseResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.outbound.message())
            .await
            .expect("a message in time")
    }

    /// Reads until the turn is done or failed.
    pub(crate) async fn answer(&mut self, turn: &str) -> Answer {
        let mut answer = Answer::default();
        while answer.done.is_none() && answer.failed.is_none() {
            let message = self
                .next()
                .await
                .expect("no error")
                .expect("the turn ends before the stream");
            assert_eq!(message.turn_id, turn, "{message:?}");
            match message.payload.expect("a payload") {
                Out::Accepted(accepted) => answer.accepted = Some(accepted),
                Out::Status(status) => answer.stages.push(status.stage()),
                Out::Text(delta) => answer.text.push_str(&delta.text),
                Out::Citation(citation) => answer.citations.push(citation),
                Out::Done(done) => answer.done = Some(done),
                Out::Failed(failed) => answer.failed = Some(failed),
                other => panic!("unexpected {other:?}"),
            }
        }
        answer
    }

    /// Commits and reads the answer.
    pub(crate) async fn ask(&mut self, turn: &str, text: &str) -> Answer {
        self.commit(turn, text);
        self.answer(turn).await
    }

    /// Reads deltas until the reply so far ends with `text`.
    pub(crate) async fn wait_text(&mut self, text: &str) {
        let mut reply = String::new();
        while !reply.ends_with(text) {
            let message = self.next().await.expect("no error").expect("more text");
            if let Some(Out::Text(delta)) = message.payload {
                reply.push_str(&delta.text);
            }
        }
    }
}
