//! Mutual TLS between services.

use std::fmt::Write;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use solo_proto::wake::v1::ListKeywordsRequest;
use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_service::config::{Inputs, load_global};
use solo_service::{RequestContext, Upstream};
use tonic::transport::Endpoint;

use crate::toy::{self, Finish};

/// Writes an authority and one certificate for 127.0.0.1, and gives the configuration that names them.
fn certificates(folder: &std::path::Path) -> String {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".into()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let mut config = "[global.tls]\n".to_owned();
    for (name, pem) in [
        ("cert", cert.pem()),
        ("key", key.serialize_pem()),
        ("ca", authority.pem()),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, pem).unwrap();
        writeln!(config, "{name} = {:?}", file.display().to_string()).unwrap();
    }
    config
}

#[tokio::test]
async fn services_with_certificates_talk_and_strangers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificates(folder.path());
    let harness = toy::start(&tls, Finish::default()).await;

    let stranger = Endpoint::from_shared(harness.endpoint()).unwrap().connect_lazy();
    assert!(
        WakeServiceClient::new(stranger)
            .list_keywords(ListKeywordsRequest {})
            .await
            .is_err()
    );

    let mut global = load_global(&Inputs {
        inline: Some(tls),
        ..Inputs::default()
    })
    .unwrap();
    global.endpoints.wake = harness.endpoint().replace("http:", "https:");
    let upstream = Upstream::connect("wake-svc", &global).unwrap();
    let answer = upstream
        .call(Instant::now() + Duration::from_secs(10), |channel| {
            let request = RequestContext::new("ada").request(ListKeywordsRequest {});
            async move { WakeServiceClient::new(channel).list_keywords(request).await }
        })
        .await
        .unwrap();
    assert_eq!(answer.keywords[0].keyword, "ada");
}
