//! Wyoming as strangers may speak it: every wrong thing has its error, and is nobody else's trouble.

use serde_json::json;
use solo_proto::stt::v1::listen_control::Action;
use solo_proto::stt::v1::listen_response::Payload as Said;
use solo_service::testing::Harness;
use solo_testkit::stt::final_text;
use solo_testkit::{Cue, ListenCue, Then};
use tonic::Status;

use crate::world::{NO_WYOMING, World, gauge};
use crate::wyoming_client::Client;

#[tokio::test]
async fn malformed_events_end_their_own_connection_with_a_reason() {
    let world =
        World::with("gateway.wyoming.max_header_bytes = 1024\ngateway.wyoming.max_data_bytes = 1024\ngateway.wyoming.max_payload_bytes = 4096")
            .await;
    let words = Said::Final(final_text("nobody disturbed me", 0, 1));
    world
        .stt
        .listen(vec![ListenCue::say(Cue::Control(Action::Finalize), words)]);
    let mut bystander = Client::to(&world, "stt").await;
    bystander.audio(16_000, 1, 6400, 640).await;
    let long = format!("{{\"type\": \"{}\"}}\n", "t".repeat(2000));
    for (bytes, code) in [
        ("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "BAD_HEADER"),
        ("\n", "BAD_HEADER"),
        ("{\"type\": 7}\n", "BAD_HEADER"),
        ("{\"type\": \"audio-chunk\", \"payload_length\": -1}\n", "BAD_HEADER"),
        (&long, "HEADER_TOO_LONG"),
        ("{\"type\": \"describe\", \"data_length\": 1025}\n", "DATA_TOO_LONG"),
        (
            "{\"type\": \"audio-chunk\", \"payload_length\": 4097}\n",
            "PAYLOAD_TOO_LONG",
        ),
        ("{\"type\": \"describe\", \"data_length\": 4}\nnull", "BAD_DATA"),
        (
            "{\"type\": \"audio-start\", \"data\": {\"rate\": \"fast\"}}\n",
            "BAD_DATA",
        ),
        ("{\"type\": \"audio-chunk\"}\n", "BAD_DATA"),
    ] {
        for port in ["stt", "wake"] {
            let mut client = Client::to(&world, port).await;
            client.raw(bytes.as_bytes()).await;
            let (found, text) = client.failure().await;
            assert_eq!(found, code, "{bytes}: {text}");
        }
    }
    bystander.say("audio-stop", json!({})).await;
    assert_eq!(bystander.expect("transcript").await.data["text"], "nobody disturbed me");
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let world = World::with("gateway.limits.max_audio_seconds = 5").await;
    let start = |rate: u32, width: u32, channels: u32| json!({ "rate": rate, "width": width, "channels": channels });
    for (port, kind, data, code, said) in [
        (
            "stt",
            "audio-start",
            start(16_000, 4, 1),
            "BAD_AUDIO_FORMAT",
            "samples of 4 bytes",
        ),
        (
            "stt",
            "audio-start",
            start(16_000, 2, 6),
            "BAD_AUDIO_FORMAT",
            "6 channels",
        ),
        (
            "wake",
            "audio-start",
            start(192_000, 2, 1),
            "BAD_AUDIO_FORMAT",
            "192000 Hz",
        ),
        (
            "stt",
            "synthesize",
            json!({ "text": "Hello" }),
            "WRONG_PORT",
            "gateway.wyoming.tts_listen",
        ),
        ("tts", "detect", json!({}), "WRONG_PORT", "gateway.wyoming.wake_listen"),
        (
            "tts",
            "synthesize",
            json!({ "text": " " }),
            "EMPTY_TEXT",
            "at least one word",
        ),
        ("tts", "synthesize", json!({ "text": 3 }), "BAD_DATA", "synthesize"),
        (
            "tts",
            "synthesize",
            json!({ "text": "a", "voice": { "name": "nobody" } }),
            "NOT_FOUND",
            "nobody",
        ),
        (
            "tts",
            "synthesize",
            json!({ "text": "a", "voice": { "name": "v", "speaker": "p" } }),
            "UNKNOWN_SPEAKER",
            "`p`",
        ),
        (
            "tts",
            "synthesize-start",
            json!({ "text_format": "ssml" }),
            "UNSUPPORTED_TEXT_FORMAT",
            "`synthesize`",
        ),
        (
            "tts",
            "synthesize-start",
            json!({ "text_format": "morse" }),
            "UNSUPPORTED_TEXT_FORMAT",
            "`morse`",
        ),
    ] {
        let mut client = Client::to(&world, port).await;
        client.say(kind, data).await;
        let (found, text) = client.failure().await;
        assert_eq!(found, code, "{kind}: {text}");
        assert!(text.contains(said), "{text}");
    }
    let mut client = Client::to(&world, "stt").await;
    client.say("transcribe", json!({ "name": "whisper-huge" })).await;
    client.audio(16_000, 1, 640, 640).await;
    let (code, text) = client.failure().await;
    assert_eq!(code, "UNKNOWN_MODEL");
    assert!(text.contains("whisper-huge") && text.contains("fake-ears"), "{text}");
    let mut client = Client::to(&world, "stt").await;
    client.audio(8_000, 1, 6 * 16_000, 1024).await;
    let (code, text) = client.failure().await;
    assert_eq!(code, "UTTERANCE_TOO_LONG");
    assert!(text.contains("5 s"), "{text}");
}

#[tokio::test]
async fn a_service_that_goes_away_is_asked_once_more_and_then_named() {
    let mut world = World::new().await;
    world.stt.listen(vec![ListenCue {
        when: Cue::Samples(1600),
        then: Then::Fail(Status::unavailable("the roof fell in")),
    }]);
    let mut client = Client::to(&world, "stt").await;
    client.audio(16_000, 1, 6400, 640).await;
    let (_, text) = client.failure().await;
    assert!(text.contains("stt-svc") && text.contains("the roof fell in"), "{text}");
    assert_eq!(world.stt.configs().len(), 2);
    world.servers.wake.take().unwrap().stop().await;
    let mut client = Client::to(&world, "wake").await;
    client.say("describe", json!({})).await;
    let (code, text) = client.failure().await;
    assert!(code == "NOT_SERVING" && text.contains("wake-svc"), "{code}: {text}");
}

#[tokio::test]
async fn who_keeps_others_waiting_is_sent_away() {
    let world = World::with("gateway.wyoming.stall_ms = 200\ngateway.wyoming.idle_ms = 1000").await;
    let mut client = Client::to(&world, "tts").await;
    client.raw(b"{\"type\": \"synth").await;
    let (code, text) = client.failure().await;
    assert!(code == "CLIENT_TOO_SLOW" && text.contains("stall_ms"), "{code}: {text}");
    let mut client = Client::to(&world, "tts").await;
    let (code, text) = client.failure().await;
    assert!(code == "CLIENT_TOO_SLOW" && text.contains("idle_ms"), "{code}: {text}");
    let mut client = Client::to(&world, "stt").await;
    client.audio(16_000, 1, 640, 640).await;
    assert_eq!(client.failure().await.0, "CLIENT_TOO_SLOW");
}

#[tokio::test]
async fn connections_are_counted() {
    let world = World::with("gateway.wyoming.max_connections = 1").await;
    let mut first = Client::to(&world, "tts").await;
    first.say("ping", json!({})).await;
    first.expect("pong").await;
    let mut second = Client::to(&world, "tts").await;
    assert_eq!(second.failure().await.0, "TOO_MANY_CONNECTIONS");
    let mut elsewhere = Client::to(&world, "stt").await;
    elsewhere.say("ping", json!({ "text": "hello" })).await;
    assert_eq!(elsewhere.expect("pong").await.data["text"], "hello");
    drop(first);
    solo_testkit::wait_for("the place to be free again", crate::world::PATIENCE, async || {
        let mut client = Client::to(&world, "tts").await;
        client.say("ping", json!({})).await;
        client.next().await.is_some_and(|event| event.kind == "pong")
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_with_its_remedy_and_no_port_is_none() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let others = "gateway.http_listen = \"127.0.0.1:0\"\ngateway.wyoming.tts_listen = \"\"\ngateway.wyoming.wake_listen = \"\"\n";
    let config = format!("{others}gateway.wyoming.stt_listen = \"{address}\"");
    let refused = Harness::start(gateway::DEFINITION, &config, gateway::build).await;
    let error = refused.err().unwrap().to_string();
    for said in [
        address.to_string().as_str(),
        "is taken",
        "gateway.wyoming.stt_listen",
        "\"\"",
    ] {
        assert!(error.contains(said), "{said} in {error}");
    }
    let config = format!("gateway.http_listen = \"127.0.0.1:0\"\n{NO_WYOMING}");
    let gateway = Harness::start(gateway::DEFINITION, &config, gateway::build)
        .await
        .unwrap();
    assert_eq!(gauge(&gateway, "wyoming_stt_port"), None);
    assert!(gauge(&gateway, "http_port").is_some());
}

#[tokio::test]
async fn machines_of_other_networks_are_refused() {
    // An address of this machine that is not its loopback; nothing is sent to find it.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()) else {
        eprintln!("skipped: this machine has no address but its loopback");
        return;
    };
    let std::net::IpAddr::V4(own) = own.ip() else {
        unreachable!("the socket is one of IPv4");
    };
    let other = std::net::Ipv4Addr::from_bits(own.to_bits() ^ 1);
    let beyond = |network: &str| {
        format!(
            "global.exposure = \"private\"\n[gateway.wyoming]\nallowed_networks = [\"{network}\"]\nwake_listen = \"0.0.0.0:0\"\n"
        )
    };
    for (network, admitted) in [(format!("{other}/32"), false), (format!("{own}/32"), true)] {
        let config = format!(
            "{}stt_listen = \"\"\ntts_listen = \"\"\n[gateway]\nhttp_listen = \"127.0.0.1:0\"\n",
            beyond(&network)
        );
        let gateway = Harness::start(gateway::DEFINITION, &config, gateway::build)
            .await
            .unwrap();
        let port = gauge(&gateway, "wyoming_wake_port").unwrap() as u16;
        let mut client = Client::at((own, port).into()).await;
        client.say("ping", json!({})).await;
        assert_eq!(client.hears_anything().await, admitted, "{network}");
        let mut local = Client::at((std::net::Ipv4Addr::LOCALHOST, port).into()).await;
        local.say("ping", json!({})).await;
        local.expect("pong").await;
    }
}
