//! `solo chat`: line by line, with a history. Ctrl-C stops the reply that is being written, Ctrl-D ends the chat.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use solo_proto::gateway::v1::OpenSession;
use solo_proto::gateway::v1::converse_response::Payload;

use super::ask::{SILENCE, show_interrupted, show_sources, silent, time_zone};
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings::Settings;
use crate::terminal::{self, FAINT, STRONG, paint};
use crate::turn::Turn;

const PROMPT: &str = "you> ";
const HELP: &str = "/new begins a new dialogue, /quit or Ctrl-D ends, Ctrl-C stops a reply";

/// What `solo chat` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Go on with this dialogue
    #[arg(long, value_name = "ID")]
    pub dialogue: Option<String>,
}

/// Reads lines and answers them until the end of input.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let mut lines = Lines::open(settings)?;
    let mut chat = Chat {
        settings,
        dialogue: arguments.dialogue.clone().unwrap_or_default(),
        session: None,
    };
    // Opened before the first line, so that a person learns at once when nobody answers.
    chat.session().await?;
    if !settings.json && terminal::is_interactive() {
        terminal::line(paint(FAINT, HELP))?;
    }
    while let Some(line) = lines.next(PROMPT.to_owned()).await? {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => break,
            "/help" => terminal::line(HELP)?,
            "/new" => {
                chat.session = None;
                chat.dialogue.clear();
            }
            command if command.starts_with('/') => terminal::line(format_args!("there is no {command}: {HELP}"))?,
            text => match chat.turn(text, &mut lines).await {
                // A closed output ends the chat, anything else just this turn.
                Err(failure) if failure.message.is_empty() => return Err(failure),
                Err(failure) => {
                    terminal::report(&failure);
                    chat.session = None;
                }
                Ok(()) => {}
            },
        }
    }
    Ok(())
}

struct Chat<'a> {
    settings: &'a Settings,
    dialogue: String,
    session: Option<Session>,
}

impl Chat<'_> {
    /// The open conversation; a broken one is opened anew, in the same dialogue.
    async fn session(&mut self) -> Result<&mut Session, Failure> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let dialogue_id = self.dialogue.clone();
                let open = OpenSession {
                    dialogue_id,
                    time_zone: time_zone(),
                    ..OpenSession::default()
                };
                Session::open(self.settings, open).await?
            }
        };
        Ok(self.session.insert(session))
    }

    async fn turn(&mut self, text: &str, lines: &mut Lines) -> Result<(), Failure> {
        let show = !self.settings.json;
        let session = self.session().await?;
        let sender = session.sender();
        if !sender.text(text).await {
            return Err(session::cut_off());
        }
        if show {
            terminal::write(paint(STRONG, "solo> "))?;
        }
        let mut turn = Turn::default();
        while turn.summary.is_none() && turn.error.is_none() {
            let payload = tokio::select! {
                next = tokio::time::timeout(SILENCE, session.next()) => {
                    next.map_err(|_| silent())??.ok_or_else(session::cut_off)?
                }
                pressed = tokio::signal::ctrl_c() => {
                    pressed.map_err(|e| Failure::failed(format!("cannot handle Ctrl-C: {e}")))?;
                    sender.interrupt().await;
                    continue;
                }
            };
            match &payload {
                Payload::Reply(reply) if show => terminal::write(&reply.delta)?,
                Payload::Action(action) => {
                    let question = format!("\nMay I use {}? {} [y/N] ", action.tool, action.why);
                    let answer = lines.next(question).await?.unwrap_or_default();
                    let approved = matches!(answer.trim(), "y" | "Y" | "yes");
                    sender.decide(&action.action_id, approved).await;
                }
                _ => {}
            }
            turn.take(&payload);
        }
        if show {
            terminal::line("")?;
        }
        if let Some(failure) = turn.failure() {
            return Err(failure);
        }
        if let Some(summary) = turn.summary.as_ref().filter(|summary| !summary.dialogue_id.is_empty()) {
            self.dialogue.clone_from(&summary.dialogue_id);
        }
        if self.settings.json {
            return terminal::json(&turn.written());
        }
        show_interrupted(&turn)?;
        show_sources(&turn)
    }
}

/// Lines that a person types, with editing and a history that only they can read.
struct Lines {
    editor: Option<DefaultEditor>,
    history: PathBuf,
}

impl Lines {
    fn open(settings: &Settings) -> Result<Self, Failure> {
        let history = settings.global.data_dir.join("chat_history");
        let mut editor = DefaultEditor::new().map_err(|e| Failure::failed(format!("cannot read lines: {e}")))?;
        match editor.load_history(&history) {
            Ok(()) => {}
            Err(ReadlineError::Io(e)) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => terminal::remark(format_args!(
                "warning: the history {} cannot be read: {e}",
                history.display()
            )),
        }
        Ok(Self {
            editor: Some(editor),
            history,
        })
    }

    /// The next line; none at the end of input. Ctrl-C at the prompt drops the line.
    async fn next(&mut self, prompt: String) -> Result<Option<String>, Failure> {
        let broken = |what: String| Failure::failed(format!("cannot read lines: {what}"));
        let mut editor = self.editor.take().ok_or_else(|| broken("the editor is gone".into()))?;
        let read = tokio::task::spawn_blocking(move || {
            let line = editor.readline(&prompt);
            (editor, line)
        });
        let (mut editor, line) = read.await.map_err(|e| broken(e.to_string()))?;
        let line = match line {
            Ok(line) => {
                let kept = editor.add_history_entry(&line).and_then(|_| self.keep(&mut editor));
                if let Err(e) = kept {
                    terminal::remark(format_args!(
                        "warning: the history {} cannot be written: {e}",
                        self.history.display()
                    ));
                }
                Some(line)
            }
            Err(ReadlineError::Interrupted) => Some(String::new()),
            Err(ReadlineError::Eof) => None,
            Err(e) => return Err(broken(e.to_string())),
        };
        self.editor = Some(editor);
        Ok(line)
    }

    fn keep(&self, editor: &mut DefaultEditor) -> rustyline::Result<()> {
        if let Some(folder) = self.history.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // rustyline creates the file for its owner alone.
        editor.save_history(&self.history)
    }
}
