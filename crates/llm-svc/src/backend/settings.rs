//! `[llm.openai]` and `[llm.ollama]`: where another server is, what it is called there, and how patient to be with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use solo_service::Faults;

/// The `[llm.openai]` block, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiConfig {
    /// True: requests may name this engine.
    pub enabled: bool,
    /// Where the server is, as OpenAI's own clients are told it: "/v1" included.
    pub base_url: String,
    /// The environment variable that holds the API key; empty: none is sent.
    pub api_key_env: String,
    /// Names that differ here and there, as "id=server's name".
    pub models: Vec<String>,
    /// Tokens that the server's models hold, as far as Solo is told.
    pub context_length: usize,
    /// How the server wants regular expressions and grammars.
    pub grammar_style: GrammarStyle,
    /// True: the server knows top_k, min_p and repetition penalties.
    pub extended_sampling: bool,
    /// How patient to be.
    pub limits: Limits,
}

/// The `[llm.ollama]` block, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OllamaConfig {
    /// True: requests may name this engine.
    pub enabled: bool,
    /// Where the server is.
    pub base_url: String,
    /// The environment variable that holds the API key; empty: none is sent.
    pub api_key_env: String,
    /// Names that differ here and there, as "id=server's name".
    pub models: Vec<String>,
    /// Tokens that the server is told to hold (`num_ctx`).
    pub context_length: usize,
    /// How patient to be.
    pub limits: Limits,
}

/// How a server wants to be given regular expressions and grammars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrammarStyle {
    /// Not at all.
    None,
    /// vLLM's `structured_outputs`.
    Vllm,
    /// `guided_regex` and `guided_grammar` of vLLM before 0.12.
    VllmGuided,
    /// llama.cpp's `grammar`: GBNF only.
    LlamaServer,
}

/// How patient to be with a server, and how much to ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Seconds that start-up waits for the server's first answer.
    pub start_timeout_s: f64,
    /// Seconds that connecting may take.
    pub connect_timeout_s: f64,
    /// Seconds to the first token, retries included.
    pub first_token_timeout_s: f64,
    /// Seconds from one token to the next.
    pub idle_timeout_s: f64,
    /// How often a request is sent again before its first token.
    pub retries: u32,
    /// Seconds before it is sent again the first time; doubled each time.
    pub retry_backoff_s: f64,
    /// Requests to the server at once.
    pub max_requests: usize,
}

impl Limits {
    /// What start-up waits.
    pub fn start_timeout(&self) -> Duration {
        seconds(self.start_timeout_s)
    }

    /// What connecting may take.
    pub fn connect_timeout(&self) -> Duration {
        seconds(self.connect_timeout_s)
    }

    /// What the first token may take.
    pub fn first_token_timeout(&self) -> Duration {
        seconds(self.first_token_timeout_s)
    }

    /// What each further token may take.
    pub fn idle_timeout(&self) -> Duration {
        seconds(self.idle_timeout_s)
    }

    /// What is waited before the `attempt`-th retry, from 0.
    pub fn backoff(&self, attempt: u32) -> Duration {
        seconds(self.retry_backoff_s * f64::from(2_u32.saturating_pow(attempt)))
    }

    fn validate(&self, block: &str, faults: &mut Faults) {
        let key = |name: &str| format!("{block}.limits.{name}");
        let hour = 3600.0;
        faults.range(&key("start_timeout_s"), self.start_timeout_s, 0.001, hour);
        faults.range(&key("connect_timeout_s"), self.connect_timeout_s, 0.001, hour);
        faults.range(&key("first_token_timeout_s"), self.first_token_timeout_s, 0.001, hour);
        faults.range(&key("idle_timeout_s"), self.idle_timeout_s, 0.001, hour);
        faults.range(&key("retries"), self.retries, 0, 10);
        faults.range(&key("retry_backoff_s"), self.retry_backoff_s, 0.001, 60.0);
        faults.range(&key("max_requests"), self.max_requests, 1, 10_000);
    }
}

/// The ranges that [`Limits::validate`] wants make every value a duration.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl OpenAiConfig {
    /// Notes what is wrong with the block.
    pub(crate) fn validate(&self, top_k: usize, used: bool, faults: &mut Faults) {
        validate("llm.openai", &self.base_url, &self.api_key_env, &self.models, faults);
        faults.range("llm.openai.context_length", self.context_length, 64, 1 << 24);
        self.limits.validate("llm.openai", faults);
        if used && !self.extended_sampling && top_k != 0 {
            // It would have to be left out of every request that does not say otherwise.
            faults.add(
                "llm.sampling.top_k",
                format!("0 is wanted where llm.openai.extended_sampling is false, found {top_k}"),
            );
        }
    }
}

impl OllamaConfig {
    /// Notes what is wrong with the block.
    pub(crate) fn validate(&self, faults: &mut Faults) {
        validate("llm.ollama", &self.base_url, &self.api_key_env, &self.models, faults);
        faults.range("llm.ollama.context_length", self.context_length, 64, 1 << 24);
        self.limits.validate("llm.ollama", faults);
    }
}

fn validate(block: &str, base_url: &str, api_key_env: &str, models: &[String], faults: &mut Faults) {
    if let Err(problem) = parse_base_url(base_url) {
        faults.add(format!("{block}.base_url"), problem);
    }
    if api_key_env.chars().any(|c| !(c.is_ascii_alphanumeric() || c == '_')) {
        // What stands here may be the key itself: it is not repeated.
        faults.add(
            format!("{block}.api_key_env"),
            "the name of an environment variable is wanted (letters, digits, `_`), not a key",
        );
    }
    if let Err(problem) = Names::parse(models) {
        faults.add(format!("{block}.models"), problem);
    }
}

/// A server's address, without a slash at its end.
///
/// # Errors
/// What is wrong with it, in words that do not repeat a password.
pub(crate) fn parse_base_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("an address like http://127.0.0.1:8080/v1 is wanted: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("an address that begins with http:// or https:// is wanted".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "no user name or password may stand in it: name the key's environment variable in api_key_env".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("nothing may follow the path (`?…`, `#…`)".to_owned());
    }
    Ok(url)
}

/// True when what is sent there leaves this machine unencrypted.
pub(crate) fn in_the_clear(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !here
}

/// What models are called here and there.
#[derive(Debug, Clone, Default)]
pub struct Names {
    there: HashMap<String, String>,
    here: HashMap<String, String>,
}

impl Names {
    /// From lines of "id=server's name".
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(lines: &[String]) -> Result<Self, String> {
        let mut names = Self::default();
        for line in lines {
            let (here, there) = match line.split_once('=') {
                Some((here, there)) if !here.trim().is_empty() && !there.trim().is_empty() => {
                    (here.trim(), there.trim())
                }
                _ => {
                    return Err(format!(
                        "\"id=the server's name\" is wanted, found `{}`",
                        line.escape_debug()
                    ));
                }
            };
            let again = names.there.insert(here.to_owned(), there.to_owned()).is_some();
            if names.here.insert(there.to_owned(), here.to_owned()).is_some() || again {
                return Err(format!("`{}` names a model that was named before", line.escape_debug()));
            }
        }
        Ok(names)
    }

    /// The server's name of a model.
    pub fn there<'a>(&'a self, id: &'a str) -> &'a str {
        self.there.get(id).map_or(id, String::as_str)
    }

    /// Solo's name of a server's model.
    pub fn here<'a>(&'a self, name: &'a str) -> &'a str {
        self.here.get(name).map_or(name, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let names = Names::parse(&["small=qwen2.5:0.5b".into(), "big = org/Model=7B".into()]).unwrap();
        assert_eq!(names.there("small"), "qwen2.5:0.5b");
        assert_eq!(
            (names.there("big"), names.here("org/Model=7B")),
            ("org/Model=7B", "big")
        );
        assert_eq!((names.there("else"), names.here("else")), ("else", "else"));
        for wrong in [&["a"][..], &["=b"], &["a="], &["a=b", "a=c"], &["a=b", "c=b"]] {
            let lines: Vec<String> = wrong.iter().map(|&line| line.to_owned()).collect();
            assert!(Names::parse(&lines).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        assert!(parse_base_url("http://127.0.0.1:8080/v1").is_ok());
        for wrong in [
            "127.0.0.1:8080",
            "ftp://host/",
            "http://me:secret@host/v1",
            "http://host/v1?key=secret",
            "",
        ] {
            let problem = parse_base_url(wrong).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
        let clear = |text: &str| in_the_clear(&parse_base_url(text).unwrap());
        assert!(clear("http://10.0.0.7:8000/v1"));
        assert!(!clear("http://[::1]:8000/v1") && !clear("http://localhost:1") && !clear("https://host/v1"));
    }
}
