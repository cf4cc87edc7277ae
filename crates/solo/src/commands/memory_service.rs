//! memory-svc, as the commands talk to it.

use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use tonic::transport::Channel;

use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;

/// The way to it.
pub(super) struct MemoryService {
    pub(super) client: MemoryServiceClient<Channel>,
    pub(super) name: &'static str,
}

impl MemoryService {
    pub(super) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let memory = services::parse("memory").map_err(Failure::failed)?;
        let channel = connection::to(settings, memory).await?;
        Ok(Self {
            client: MemoryServiceClient::new(channel),
            name: memory.name,
        })
    }

    /// What a person hears of a call that failed.
    pub(super) fn failed(&self) -> impl Fn(tonic::Status) -> Failure + use<> {
        let name = self.name;
        move |status| Failure::from_status(name, &status)
    }
}
