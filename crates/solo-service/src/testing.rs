//! Running a service inside a test: on a free port, with its real boot and drain.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::config::{self, Inputs, ServiceConfig};
use crate::server::{self, Control};
use crate::service::{Context, Definition, Service, StartupError};

/// A service that runs in this process. Dropping it stops it without draining.
pub struct Harness {
    address: SocketAddr,
    context: Context,
    stop: CancellationToken,
    served: JoinHandle<Result<(), StartupError>>,
}

impl Harness {
    /// Starts a service on a free port with `overrides` (TOML, as in the configuration file) and waits until it serves.
    ///
    /// # Errors
    /// Whatever kept it from serving, configuration faults included.
    pub async fn start<C, F, Fut>(definition: Definition, overrides: &str, build: F) -> Result<Self, StartupError>
    where
        C: ServiceConfig + Sync,
        F: FnOnce(C, Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Service, StartupError>> + Send,
    {
        Self::start_loading(definition, overrides, build).await?.serving().await
    }

    /// The same, on the address that `overrides` say.
    ///
    /// # Errors
    /// Whatever kept it from serving, a taken port included.
    pub async fn start_at<C, F, Fut>(definition: Definition, overrides: &str, build: F) -> Result<Self, StartupError>
    where
        C: ServiceConfig + Sync,
        F: FnOnce(C, Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Service, StartupError>> + Send,
    {
        let inputs = Inputs {
            inline: Some(overrides.to_owned()),
            ..Inputs::default()
        };
        Self::launch(definition, inputs, build).await?.serving().await
    }

    async fn serving(mut self) -> Result<Self, StartupError> {
        loop {
            if self.served.is_finished() {
                return Err(match (&mut self.served).await {
                    Ok(Err(error)) => error,
                    Ok(Ok(())) => StartupError::other("it stopped before it served"),
                    Err(panic) => StartupError::other(panic),
                });
            }
            if self.context.status.state() == solo_proto::status::v1::ServiceState::Serving {
                return Ok(self);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The same, but returns as soon as the listener is open, while the engine may still load.
    ///
    /// # Errors
    /// Configuration faults, or a port that cannot be bound.
    pub async fn start_loading<C, F, Fut>(
        definition: Definition,
        overrides: &str,
        build: F,
    ) -> Result<Self, StartupError>
    where
        C: ServiceConfig + Sync,
        F: FnOnce(C, Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Service, StartupError>> + Send,
    {
        let inputs = Inputs {
            inline: Some(overrides.to_owned()),
            flags: vec![(format!("{}.listen", definition.section), "127.0.0.1:0".into())],
            ..Inputs::default()
        };
        Self::launch(definition, inputs, build).await
    }

    async fn launch<C, F, Fut>(definition: Definition, inputs: Inputs, build: F) -> Result<Self, StartupError>
    where
        C: ServiceConfig + Sync,
        F: FnOnce(C, Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Service, StartupError>> + Send,
    {
        let (global, config) = config::load::<C>(definition.section, definition.defaults, &inputs)
            .map_err(|faults| StartupError::Config(faults.to_string()))?;
        let listen = config.listen();
        let stop = CancellationToken::new();
        let (bound, listening) = oneshot::channel();
        let control = Control {
            stop: stop.clone(),
            bound: Some(bound),
        };
        let served = tokio::spawn(async move {
            server::run(definition, global, listen, control, |context| build(config, context)).await
        });
        match listening.await {
            Ok((address, context)) => Ok(Self {
                address,
                context,
                stop,
                served,
            }),
            Err(_) => Err(match served.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) => StartupError::other("it stopped before it listened"),
                Err(panic) => StartupError::other(panic),
            }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was built in.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// A connection to it.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.endpoint()).expect("an address makes a URL");
        endpoint.connect().await.expect("the harness listens")
    }

    /// Begins to drain, as SIGTERM does, without waiting for the end.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Drains and waits for the end, as SIGTERM does.
    pub async fn stop(mut self) -> Result<(), StartupError> {
        self.stop.cancel();
        (&mut self.served)
            .await
            .unwrap_or_else(|panic| Err(StartupError::other(panic)))
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
        self.served.abort();
    }
}
