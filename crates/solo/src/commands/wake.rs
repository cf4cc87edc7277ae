//! `solo wake`: which keywords there are, and how well they are heard.

mod bench;
mod list;

use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use tonic::transport::Channel;

use crate::connection;
use crate::failure::Failure;
use crate::services::{self, Service};
use crate::settings::Settings;

/// What `solo wake` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the keywords, their licences, and which are listened for
    List,
    /// Measure misses, false wakes, latency and processor share on recordings
    Bench(bench::Arguments),
}

/// Does what was asked for.
pub async fn run(settings: &Settings, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List => list::run(settings).await,
        Command::Bench(arguments) => bench::run(settings, arguments).await,
    }
}

/// wake-svc, and the way to it.
async fn service(settings: &Settings) -> Result<(&'static Service, Channel), Failure> {
    let wake = services::parse("wake").map_err(Failure::failed)?;
    Ok((wake, connection::to(settings, wake).await?))
}

/// The keywords that the service knows, those that it listens for first.
async fn keywords(channel: Channel) -> Result<Vec<solo_proto::wake::v1::Keyword>, Failure> {
    let answer = WakeServiceClient::new(channel)
        .list_keywords(solo_proto::wake::v1::ListKeywordsRequest {})
        .await;
    let answer = answer.map_err(|status| Failure::from_status("wake-svc", &status))?;
    Ok(answer.into_inner().keywords)
}
