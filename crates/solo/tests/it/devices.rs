//! `talk` on devices: a sound server of the test's own, whose loudspeaker and microphone are files' ends. Nothing here needs
//! a sound card; PulseAudio (and ALSA's plugin for it) must be installed, so these are run with the tests of models.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use solo_audio::{SampleRate, wav};

use crate::conversation::serve;
use crate::sandbox::{Sandbox, text, until};

/// A sound server with one microphone, which hears what is played into the "room", and one loudspeaker.
pub struct Sound {
    folder: tempfile::TempDir,
    server: Child,
}

impl Sound {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("native");
        let script = format!(
            "load-module module-native-protocol-unix socket={} auth-anonymous=1\n\
             load-module module-null-sink sink_name=speaker rate=48000\n\
             load-module module-null-sink sink_name=room rate=44100\n\
             load-module module-remap-source master=room.monitor source_name=microphone\n\
             set-default-sink speaker\nset-default-source microphone\n",
            socket.display()
        );
        std::fs::write(folder.path().join("daemon.pa"), script).unwrap();
        let alsa = format!(
            "</usr/share/alsa/alsa.conf>\n\
             pcm.!default {{ type pulse server \"unix:{0}\" }}\nctl.!default {{ type pulse server \"unix:{0}\" }}\n",
            socket.display()
        );
        std::fs::write(folder.path().join("asound.conf"), alsa).unwrap();
        let server = Command::new("pulseaudio")
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--disable-shm=yes",
                "-F",
            ])
            .arg(folder.path().join("daemon.pa"))
            .env("HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env_remove("DISPLAY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio is installed, with libasound2-plugins and pulseaudio-utils");
        let sound = Self { folder, server };
        until("the sound server answers", || {
            let listed = sound
                .client("pactl")
                .args(["list", "short", "sources"])
                .output()
                .unwrap();
            String::from_utf8_lossy(&listed.stdout)
                .contains("microphone")
                .then_some(())
        });
        sound
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(
                "PULSE_SERVER",
                format!("unix:{}", self.folder.path().join("native").display()),
            )
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// `solo ARGUMENTS` with these devices.
    pub fn solo(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        let mut command = sandbox.command(arguments);
        command
            .env("ALSA_CONFIG_PATH", self.folder.path().join("asound.conf"))
            .env("PULSE_LATENCY_MSEC", "60")
            .env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    /// Speaks a WAV file into the room, to its end.
    fn speak(&self, file: &Path) {
        let status = self.client("paplay").arg("--device=room").arg(file).status().unwrap();
        assert!(status.success());
    }

    /// Records what the loudspeaker plays, raw s16le at 22,050 Hz, until the recorder is killed.
    fn record(&self, file: &Path) -> Child {
        self.client("parec")
            .args([
                "--device=speaker.monitor",
                "--rate=22050",
                "--channels=1",
                "--format=s16le",
                "--latency-msec=50",
            ])
            .stdout(std::fs::File::create(file).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A process that ends with the test.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of a process, one by one, from a thread of their own.
pub fn lines(child: &mut Child) -> std::sync::mpsc::Receiver<String> {
    let (sender, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

pub fn line_with(lines: &std::sync::mpsc::Receiver<String>, part: &str) -> String {
    loop {
        let line = lines
            .recv_timeout(crate::sandbox::PATIENCE)
            .unwrap_or_else(|e| panic!("no line has {part:?}: {e}"));
        if line.contains(part) {
            return line;
        }
    }
}

fn tone(sandbox: &Sandbox, samples: i32) -> std::path::PathBuf {
    let samples: Vec<i16> = (0..samples)
        .map(|n| (8_000.0 * (n as f32 * 0.2).sin()) as i16)
        .collect();
    let path = sandbox.path("tone.wav");
    std::fs::write(&path, wav::encode(&samples, SampleRate::SPEECH)).unwrap();
    path
}

#[test]
#[ignore = "needs pulseaudio"]
fn model_devices_are_listed_and_a_wrong_one_is_refused_with_what_there_is() {
    let (sandbox, sound) = (Sandbox::new(), Sound::start());
    let output = sound
        .solo(&sandbox, &["talk", "--list-devices", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let default = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["id"] == "default");
    let default = default.unwrap_or_else(|| panic!("{listed}"));
    assert_eq!(
        (&default["default_input"], &default["default_output"]),
        (&true.into(), &true.into())
    );
    assert!(
        default["input_hz"].is_u64() && default["output_hz"].is_u64(),
        "{default}"
    );
    let output = sound
        .solo(&sandbox, &["talk", "--input-device", "gramophone"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("there is no such microphone"),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains("default"), "{}", text(&output));
}

#[test]
#[ignore = "needs pulseaudio"]
fn model_a_reply_is_heard_and_the_dialogue_outlives_its_gateway() {
    let (sandbox, sound) = (Sandbox::new(), Sound::start());
    let gateway = serve(&sandbox);
    let recorded = sandbox.path("speaker.raw");
    let _recorder = Ends(sound.record(&recorded));
    let mut talk = sound.solo(&sandbox, &["talk"]);
    let mut talk = Ends(talk.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = lines(&mut talk.0);
    line_with(&lines, "Say the wake word");
    sound.speak(&tone(&sandbox, 24_000));
    line_with(&lines, "wake  hey_jarvis");
    assert_eq!(line_with(&lines, "you "), "you   What colour is my bike?");
    assert_eq!(line_with(&lines, "solo "), "solo It is green.");
    // This gateway's reply is 100 ms of the sample 0x0101.
    until("the loudspeaker plays the reply", || {
        let bytes = std::fs::read(&recorded).unwrap();
        let loud = bytes
            .chunks_exact(2)
            .filter(|pair| i16::from_le_bytes([pair[0], pair[1]]) > 200)
            .count();
        (loud > 1_500).then_some(())
    });
    drop(gateway);
    line_with(&lines, "the gateway is gone");
    let _gateway = serve(&sandbox);
    line_with(&lines, "the gateway is back");
    sound.speak(&tone(&sandbox, 24_000));
    assert_eq!(line_with(&lines, "you "), "you   What colour is my bike?");
}

#[test]
#[ignore = "needs pulseaudio"]
fn model_a_question_outlives_the_gateway_that_did_not_hear_all_of_it() {
    let (sandbox, sound) = (Sandbox::new(), Sound::start());
    let gateway = serve(&sandbox);
    let mut talk = sound.solo(&sandbox, &["talk"]);
    let mut talk = Ends(talk.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = lines(&mut talk.0);
    line_with(&lines, "Say the wake word");
    // All of it is spoken before anybody hears again: half a second, which the gateway is left alone for at least.
    std::thread::scope(|scope| {
        scope.spawn(|| sound.speak(&tone(&sandbox, 8_000)));
        line_with(&lines, "wake  hey_jarvis");
        drop(gateway);
        line_with(&lines, "the gateway is gone");
    });
    let _gateway = serve(&sandbox);
    line_with(&lines, "the gateway is back");
    line_with(&lines, "wake  hey_jarvis");
    assert_eq!(line_with(&lines, "you "), "you   What colour is my bike?");
}
