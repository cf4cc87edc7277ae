//! What Solo does where nobody configures it, read from the defaults of its services, so that what is measured beside it does
//! the same.

use serde::Deserialize;

const AGENT: &str = include_str!("../../../crates/agent-svc/config.toml");
const GATEWAY: &str = include_str!("../../../crates/gateway/config.toml");

#[derive(Deserialize)]
struct AgentFile {
    agent: Agent,
}

#[derive(Deserialize)]
struct Agent {
    system_prompt: String,
    voice_style: String,
    max_tokens: u32,
}

#[derive(Deserialize)]
struct GatewayFile {
    gateway: Gateway,
}

#[derive(Deserialize)]
struct Gateway {
    voice: Listening,
}

/// When the gateway takes a turn for over.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Listening {
    /// Silence that ends every turn, in ms.
    pub silence_ms: u32,
    /// Silence after which the words are prepared, in ms.
    pub candidate_ms: u32,
    /// Probability from which a pause sounds like the end of a turn.
    pub end_probability: f32,
    /// Silence that ends a turn which sounds finished, in ms.
    pub end_silence_ms: u32,
    /// Time between partial transcripts, in ms.
    pub partial_interval_ms: u32,
}

/// The system message of a spoken dialogue, and the most tokens of a reply.
///
/// # Panics
/// When agent-svc's defaults have no such fields any more.
pub fn prompt() -> (String, u32) {
    let AgentFile { agent } = toml::from_str(AGENT).expect("agent-svc's defaults say it");
    let system = format!("{} {}", agent.system_prompt, agent.voice_style);
    (system, agent.max_tokens)
}

/// How the gateway listens.
///
/// # Panics
/// When its defaults have no such fields any more.
pub fn listening() -> Listening {
    let GatewayFile { gateway } = toml::from_str(GATEWAY).expect("the gateway's defaults say it");
    gateway.voice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_say_what_is_needed() {
        let (system, max_tokens) = prompt();
        assert!(system.contains("spoken aloud"), "{system}");
        assert!(max_tokens > 0);
        let listening = listening();
        assert!(listening.end_silence_ms < listening.silence_ms, "{listening:?}");
    }
}
