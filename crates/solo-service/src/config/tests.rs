use std::io::Write;

use serde::Deserialize;

use super::*;

const DEFAULTS: &str = r#"
[stt]
listen = "127.0.0.1:50051"
engine = "whisper"
threads = 0
words = ["a"]
[stt.vad]
threshold = 0.5
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stt {
    listen: SocketAddr,
    engine: String,
    threads: u32,
    words: Vec<String>,
    vad: Vad,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vad {
    threshold: f32,
}

impl ServiceConfig for Stt {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
    fn validate(&self, _: &GlobalConfig, faults: &mut Faults) {
        faults.range("stt.vad.threshold", self.vad.threshold, 0.0, 1.0);
    }
}

fn inputs(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> (Inputs, tempfile::NamedTempFile) {
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(file.as_bytes()).unwrap();
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
    };
    let inputs = Inputs {
        file: Some(named.path().to_owned()),
        inline: None,
        environment: own(environment).into_iter().collect(),
        flags: own(flags),
    };
    (inputs, named)
}

fn faults(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    let (inputs, _file) = inputs(file, environment, flags);
    let faults = load::<Stt>("stt", DEFAULTS, &inputs).unwrap_err();
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.key, fault.problem))
        .collect()
}

#[test]
fn later_layers_win() {
    let (inputs, _file) = inputs(
        "[stt]\nengine = \"file\"\nthreads = 2\n[stt.vad]\nthreshold = 0.1\n[llm]\nwhatever = 1\n",
        &[
            ("SOLO_STT__THREADS", "3"),
            ("SOLO_STT__VAD__THRESHOLD", "0.2"),
            ("SOLO_STT__WORDS", "b, c"),
        ],
        &[("stt.vad.threshold", "0.3")],
    );
    let (_, stt) = load::<Stt>("stt", DEFAULTS, &inputs).unwrap();
    assert_eq!((stt.engine.as_str(), stt.threads), ("file", 3));
    assert_eq!(stt.vad.threshold, 0.3);
    assert_eq!(stt.words, ["b", "c"]);
}

#[test]
fn all_faults_come_at_once() {
    let found = faults(
        "[stt]\nengin = \"x\"\nthreads = \"many\"\n[stt.vad]\nthreshold = 7.0\n[sst]\n[global]\ndrain_ms = -1\n",
        &[],
        &[],
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("sst: no such section; did you mean `stt`?")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("stt.engin: no such key; did you mean `engine`?")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|f| f.starts_with("stt.threads: invalid type: string")),
        "{found:#?}"
    );
    assert!(found.iter().any(|f| f.starts_with("global.drain_ms: ")), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|f| f == "stt.vad.threshold: 0 to 1 is wanted, found 7"),
        "{found:#?}"
    );
}

#[test]
fn a_fault_says_where_it_was_made() {
    let (inputs, file) = inputs(
        "[stt]\nthreads = true\n",
        &[("SOLO_STT__VAD__THRESHOLD", "loud")],
        &[("stt.nope", "1")],
    );
    let text = load::<Stt>("stt", DEFAULTS, &inputs).unwrap_err().to_string();
    assert!(text.contains(&file.path().display().to_string()), "{text}");
    assert!(text.contains("environment variable SOLO_STT__VAD__THRESHOLD"), "{text}");
    assert!(text.contains("flag --set stt.nope"), "{text}");
}

#[test]
fn a_named_file_must_be_there() {
    let inputs = Inputs {
        file: Some("/nowhere/solo.toml".into()),
        ..Inputs::default()
    };
    let text = load_global(&inputs).unwrap_err().to_string();
    assert!(
        text.contains("cannot be read") && text.contains("/nowhere/solo.toml"),
        "{text}"
    );
}

#[test]
fn loopback_is_kept_unless_said_otherwise() {
    let found = faults("", &[("SOLO_STT__LISTEN", "0.0.0.0:50051")], &[]);
    assert!(
        found[0].starts_with("stt.listen: 0.0.0.0:50051 is reachable from outside"),
        "{found:?}"
    );
    let private = [("global.exposure", "private")];
    let found = faults("", &[("SOLO_STT__LISTEN", "8.8.8.8:50051")], &private);
    assert!(found[0].contains("public address"), "{found:?}");
    let (inputs, _file) = inputs("", &[("SOLO_STT__LISTEN", "0.0.0.0:50051")], &private);
    assert!(load::<Stt>("stt", DEFAULTS, &inputs).is_ok());
    assert!(!faults("", &[], &[("global.exposure", "public")]).is_empty());
}

#[test]
fn folders_come_from_their_short_names_too() {
    let (inputs, _file) = inputs(
        "",
        &[("SOLO_MODELS_DIR", "/big/models"), ("SOLO_DATA_DIR", "/big/data")],
        &[],
    );
    let global = load_global(&inputs).unwrap();
    assert_eq!(global.models_dir, PathBuf::from("/big/models"));
    assert_eq!(global.data_dir, PathBuf::from("/big/data"));
    assert!(global.threads >= 1);
}
