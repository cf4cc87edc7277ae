// The page: one conversation with the gateway over /ws, as solo.gateway.v1 in proto3 JSON, audio as binary frames.
import { element, watchServices } from "./services.js";
import { audio, speech } from "./sound.js";

const $ = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  ["mark", "state", "log", "welcome", "composer", "text", "send", "stop", "talk", "aloud", "handsfree", "fresh"].map((id) => [id, $(id)]),
);

const PHASES = {
  TURN_PHASE_IDLE: ["idle", "Ready"],
  TURN_PHASE_LISTENING: ["listening", "Listening…"],
  TURN_PHASE_DECIDING: ["deciding", "One moment…"],
  TURN_PHASE_THINKING: ["thinking", "Thinking…"],
  TURN_PHASE_SPEAKING: ["speaking", "Speaking…"],
};

const REJECTED = {
  NO_VOICE: "I heard nobody speak.",
  NO_SPEECH: "I heard no words.",
  NO_WORDS: "I heard only my name.",
  LOW_CONFIDENCE: "I did not understand that.",
  REPETITION: "I did not understand that.",
  PHANTOM_PHRASE: "I did not understand that.",
};

// ---------------------------------------------------------------- what is remembered

const kept = {
  get: (key, otherwise) => {
    try { return localStorage.getItem(`solo.${key}`) ?? otherwise; } catch { return otherwise; }
  },
  set: (key, value) => {
    try { localStorage.setItem(`solo.${key}`, value); } catch { /* a private window keeps nothing */ }
  },
};

ui.aloud.checked = kept.get("aloud", "yes") === "yes";

// ---------------------------------------------------------------- the conversation as it is shown

let phase = "offline";
/** What is shown of each turn, by its identifier; the newest is `current`. */
const turns = new Map();
let current = blank("");
/** What the person has written and the gateway has not taken up yet. */
let written = null;

function blank(id) {
  return { id, person: null, solo: null, sources: null };
}

function add(made) {
  ui.welcome.hidden = true;
  const atEnd = ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 80;
  ui.log.append(made);
  if (atEnd) ui.log.scrollTop = ui.log.scrollHeight;
  return made;
}

function follow() {
  if (ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 120) ui.log.scrollTop = ui.log.scrollHeight;
}

function bubble(who) {
  const made = element("div", `said ${who}`);
  made.append(element("span", "sr-only", who === "person" ? "You: " : "Solo: "), element("p"));
  return add(made);
}

function setText(said, text) {
  said.querySelector("p").textContent = text;
  follow();
}

function notice(text) {
  add(element("p", "notice", text));
}

function fault(text) {
  const made = element("p", "fault", text);
  made.setAttribute("role", "alert");
  add(made);
}

function show(next, words) {
  phase = next;
  ui.mark.dataset.phase = next;
  ui.state.textContent = words;
  ui.stop.hidden = !["thinking", "speaking", "deciding"].includes(next);
  ui.talk.disabled = next === "offline";
  sendable();
}

function sendable() {
  ui.send.disabled = phase === "offline" || ui.text.value.trim() === "";
}

/** The turn that a message belongs to. */
function turnOf(id) {
  if (!id) return current;
  if (!turns.has(id)) {
    current = blank(id);
    current.person = written;
    written = null;
    turns.set(id, current);
    if (turns.size > 8) turns.delete(turns.keys().next().value);
    speech.begin();
  }
  return turns.get(id);
}

function cite(citation, turn) {
  const where = citation.citation ?? {};
  if (!turn.sources) {
    turn.sources = element("ul", "sources");
    turn.sources.setAttribute("aria-label", "Sources");
    (turn.solo ??= bubble("solo")).append(turn.sources);
  }
  const item = element("li");
  const more = element("details");
  more.append(element("summary", "", `${citation.number}. ${where.title || where.uri || "memory"}`), element("p", "", where.text ?? ""));
  item.append(more);
  turn.sources.append(item);
  follow();
}

function seconds(ms) {
  return `${(Number(ms) / 1000).toFixed(2)} s`;
}

function finish(summary, turn) {
  dialogue = summary.dialogueId || dialogue;
  turn.solo?.classList.remove("waiting");
  if (summary.interrupted) turn.solo?.classList.add("cut");
  const stages = summary.stages ?? {};
  const parts = [];
  if (summary.voiceToVoiceMs !== undefined) parts.push(`answered after ${seconds(summary.voiceToVoiceMs)}`);
  else if (stages.llmFirstToken !== undefined) parts.push(`first word after ${seconds(stages.llmFirstToken)}`);
  if (summary.interrupted) parts.push("interrupted");
  if (turn.solo && parts.length) turn.solo.after(element("p", "meta", parts.join(" · ")));
  follow();
}

// ---------------------------------------------------------------- what the gateway says

const hear = {
  opened: () => show("idle", "Ready"),
  state: ({ phase: next }, turn) => {
    const [name, words] = PHASES[next] ?? ["idle", "Ready"];
    show(name, words);
    speech.deaf = false;
    if (name === "thinking") (turn.solo ??= bubble("solo")).classList.add("waiting");
    if (name === "listening") speech.silence();
    if (name === "idle" || name === "thinking" || name === "deciding") released();
    if (name === "idle") {
      turn.solo?.classList.remove("waiting");
      if (turn.person?.classList.contains("partial")) turn.person.remove();
    }
  },
  wake: () => {},
  partial: ({ stableText = "", unstableText = "" }, turn) => {
    turn.person ??= bubble("person");
    turn.person.classList.add("partial");
    setText(turn.person, [stableText, unstableText].filter(Boolean).join(" "));
  },
  final: ({ text }, turn) => {
    turn.person ??= bubble("person");
    const before = turn.person.classList.contains("partial") ? "" : turn.person.querySelector("p").textContent;
    turn.person.classList.remove("partial");
    setText(turn.person, before ? `${before} ${text}` : text);
  },
  reply: ({ delta = "" }, turn) => {
    turn.solo ??= bubble("solo");
    turn.solo.classList.remove("waiting");
    setText(turn.solo, turn.solo.querySelector("p").textContent + delta);
  },
  citation: cite,
  action: ({ tool, why }) => notice(`${tool}: ${why}`),
  mark: () => {},
  summary: finish,
  error: ({ message }, turn) => {
    if (turn.solo?.classList.contains("waiting")) {
      turn.solo.remove();
      turn.solo = null;
    }
    fault(message || "Something went wrong.");
  },
  rejected: ({ reason }) => notice(REJECTED[reason] ?? "I did not understand that."),
  chime: ({ data }) => speech.chime(data),
};

function take(message) {
  const turn = turnOf(message.turnId);
  for (const [name, act] of Object.entries(hear)) {
    if (name in message) act(message[name], turn);
  }
}

// ---------------------------------------------------------------- the line to the gateway

let socket = null;
let attempts = 0;
let dialogue = "";

function tell(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

const control = (name, value = {}) => tell({ control: { [name]: value } });

function connect() {
  const here = new URL("/ws", location.href);
  here.protocol = here.protocol.replace("http", "ws");
  const line = new WebSocket(here);
  line.binaryType = "arraybuffer";
  socket = line;
  line.onopen = () => {
    attempts = 0;
    const rate = audio.rate();
    tell({
      open: {
        audioIn: { encoding: "ENCODING_S16LE", sampleRateHz: rate, channels: 1 },
        audioOut: { encoding: "ENCODING_S16LE", sampleRateHz: rate, channels: 1 },
        echoCancelled: true, // the browser's own, see sound.js
        wakeMode: ui.handsfree.checked ? "WAKE_MODE_KEYWORD" : "WAKE_MODE_PUSH_TO_TALK",
        dialogueId: dialogue,
        locale: navigator.language || "",
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone || "",
      },
    });
    // Says that this client tells how far it has played.
    control("played", { samples: "0" });
  };
  line.onmessage = ({ data }) => {
    if (line !== socket) return;
    if (typeof data === "string") take(JSON.parse(data));
    else speech.play(new Int16Array(data));
  };
  line.onclose = () => {
    if (line !== socket) return;
    released();
    speech.silence();
    show("offline", attempts ? "Not connected" : "Connecting…");
    attempts += 1;
    setTimeout(connect, Math.min(8000, 300 * 2 ** attempts));
  };
}

/** Opens the conversation anew, with other settings. */
function reconnect() {
  const old = socket;
  socket = null;
  old?.close();
  attempts = 0;
  show("offline", "Connecting…");
  connect();
}

// ---------------------------------------------------------------- the microphone

function heard({ samples, level }) {
  ui.talk.style.setProperty("--level", talking ? Math.min(1, level * 6).toFixed(3) : "0");
  if ((talking || ui.handsfree.checked) && socket?.readyState === WebSocket.OPEN) socket.send(samples.buffer);
}

// ---------------------------------------------------------------- talking

/** Whether the button is held. */
let talking = false;
let pressedAt = 0;

async function press() {
  if (talking || phase === "offline") return;
  talking = true;
  pressedAt = performance.now();
  ui.talk.setAttribute("aria-pressed", "true");
  speech.interrupt(phase);
  try {
    await audio.listen();
  } catch (error) {
    released();
    fault(error.message);
    return;
  }
  if (talking) control("listen");
}

/** The button was let go. A tap instead of a hold leaves it on until the next tap. */
function release() {
  if (!talking || performance.now() - pressedAt < 350) return;
  // The last words are still on their way through the microphone.
  setTimeout(() => control("endOfSpeech"), 120);
  setTimeout(released, 120);
}

function released() {
  talking = false;
  ui.talk.setAttribute("aria-pressed", "false");
  ui.talk.style.setProperty("--level", "0");
}

ui.talk.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  ui.talk.focus({ preventScroll: true });
  ui.talk.setPointerCapture(event.pointerId);
  if (talking) { pressedAt = -Infinity; release(); } else press();
});
ui.talk.addEventListener("pointerup", release);
ui.talk.addEventListener("pointercancel", release);
ui.talk.addEventListener("contextmenu", (event) => event.preventDefault());

const holds = (event) => event.code === "Space" && !event.ctrlKey && !event.metaKey && !event.altKey;
const typing = (target) => target.closest("textarea, input, summary, button:not(#talk)");

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (!holds(event) || typing(event.target)) return;
  event.preventDefault();
  if (event.repeat) return;
  if (talking) { pressedAt = -Infinity; release(); } else press();
});
document.addEventListener("keyup", (event) => {
  if (!holds(event) || typing(event.target)) return;
  event.preventDefault();
  release();
});

function stop() {
  if (phase === "offline" || phase === "idle") return;
  control("interrupt");
  speech.interrupt(phase);
  released();
}

ui.stop.addEventListener("click", stop);

// ---------------------------------------------------------------- writing

function write() {
  const text = ui.text.value.trim();
  if (!text || phase === "offline") return;
  const aloud = ui.aloud.checked;
  if (aloud) audio.start().catch(() => {});
  speech.interrupt(phase);
  written = bubble("person");
  setText(written, text);
  ui.log.scrollTop = ui.log.scrollHeight;
  tell({ text: { text, speak: aloud } });
  ui.text.value = "";
  grow();
  sendable();
}

function grow() {
  ui.text.style.height = "auto";
  ui.text.style.height = `${ui.text.scrollHeight}px`;
}

ui.composer.addEventListener("submit", (event) => { event.preventDefault(); write(); });
ui.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); write(); }
});
ui.text.addEventListener("input", () => { grow(); sendable(); });

ui.aloud.addEventListener("change", () => kept.set("aloud", ui.aloud.checked ? "yes" : "no"));
ui.handsfree.addEventListener("change", async () => {
  if (ui.handsfree.checked) {
    try {
      await audio.listen();
    } catch (error) {
      ui.handsfree.checked = false;
      fault(error.message);
      return;
    }
  }
  reconnect();
});
ui.fresh.addEventListener("click", () => {
  dialogue = "";
  speech.silence();
  turns.clear();
  current = blank("");
  written = null;
  for (const shown of [...ui.log.children]) if (shown !== ui.welcome) shown.remove();
  ui.welcome.hidden = false;
  reconnect();
  ui.text.focus();
});

audio.heard = heard;
audio.played = (samples) => control("played", { samples: String(samples) });
show("offline", "Connecting…");
watchServices();
connect();
