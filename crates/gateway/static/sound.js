// Sound: the microphone and the loudspeaker of the page. What the audio thread does is in audio.js.

export const audio = {
  /** Called with what the microphone hears: { samples, level }. */
  heard: () => {},
  /** Called with how many samples of the reply have been played. */
  played: () => {},
  context: null,
  ready: null,
  microphone: null,

  /** Rate of this machine's sound, and so of the conversation's. */
  rate() {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      if (this.context.sampleRate > 48000) this.context = new AudioContext({ latencyHint: "interactive", sampleRate: 48000 });
    }
    return this.context.sampleRate;
  },

  /** Makes playing possible; browsers want a person's gesture for it. */
  async start() {
    this.rate();
    this.ready ??= this.context.audioWorklet.addModule("/audio.js").then(() => {
      const player = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
      player.connect(this.context.destination);
      player.port.onmessage = ({ data }) => {
        if (data.turn === speech.turn) this.played(data.played);
      };
      player.port.postMessage({ turn: speech.turn });
      this.player = player;
    });
    await this.context.resume();
    await this.ready;
  },

  /** Opens the microphone once; the browser asks the person. */
  async listen() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("The microphone works only on this machine's own address (localhost) or over https.");
    }
    await this.start();
    this.microphone ??= (async () => {
      const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
      const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
      const capture = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
      capture.port.onmessage = ({ data }) => this.heard(data);
      this.context.createMediaStreamSource(stream).connect(capture);
      this.stream = stream;
    })();
    try {
      await this.microphone;
    } catch (error) {
      this.microphone = null;
      throw new Error(error.name === "NotAllowedError"
        ? "The browser was not allowed to use the microphone. Allow it for this page, then try again."
        : error.name === "NotFoundError" ? "There is no microphone." : `The microphone cannot be used: ${error.message}`);
    }
  },
};

export const speech = {
  /** Number of the turn whose samples are counted. */
  turn: 0,
  /** True after an interruption, until the gateway has taken note of it: what still comes is of before. */
  deaf: false,

  begin() {
    this.turn += 1;
    audio.player?.port.postMessage({ turn: this.turn });
  },

  async play(samples) {
    if (this.deaf) return;
    const of = this.turn;
    await audio.start();
    audio.player.port.postMessage({ samples, of }, [samples.buffer]);
  },

  async chime(base64 = "") {
    await audio.start();
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const samples = new Int16Array(bytes.buffer, 0, bytes.length >> 1).slice();
    audio.player.port.postMessage({ samples, of: 0 }, [samples.buffer]);
  },

  silence() {
    audio.player?.port.postMessage({ clear: true });
  },

  /** Falls silent because the person wants to be heard. */
  interrupt(phase) {
    this.deaf = phase === "speaking" || phase === "thinking";
    this.silence();
  },
};
