// The audio thread: what the microphone hears goes out as s16le, what Solo says comes in and is played.

/** Sends what it hears in pieces of about 40 ms, with how loud they are. */
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate * 0.04));
    this.filled = 0;
    this.energy = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (const sample of channel) {
      this.energy += sample * sample;
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === this.piece.length) {
        const samples = this.piece.slice();
        this.port.postMessage({ samples, level: Math.sqrt(this.energy / this.filled) }, [samples.buffer]);
        this.filled = 0;
        this.energy = 0;
      }
    }
    return true;
  }
}

/** Plays what it is given, piece after piece, and says how much of the reply was really played. */
class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.offset = 0;
    this.turn = 0;
    this.played = 0;
    this.told = 0;
    this.port.onmessage = ({ data }) => {
      if (data.clear) this.clear();
      if (data.turn !== undefined) {
        this.turn = data.turn;
        this.played = 0;
        this.told = 0;
      }
      if (data.samples) this.queue.push(data);
    };
  }

  /** Forgets what is left of replies; other sounds are played to their end. */
  clear() {
    if (this.queue[0]?.of) this.offset = 0;
    this.queue = this.queue.filter(({ of }) => of === 0);
  }

  process(_, outputs) {
    const channel = outputs[0][0];
    for (let at = 0; at < channel.length && this.queue.length; ) {
      const { samples, of } = this.queue[0];
      const count = Math.min(channel.length - at, samples.length - this.offset);
      for (let n = 0; n < count; n++) channel[at + n] = samples[this.offset + n] / 32768;
      at += count;
      this.offset += count;
      if (of === this.turn) this.played += count;
      if (this.offset === samples.length) {
        this.queue.shift();
        this.offset = 0;
      }
    }
    const silent = this.queue.length === 0;
    if (this.played - this.told > sampleRate / 5 || (silent && this.played !== this.told)) {
      this.told = this.played;
      this.port.postMessage({ turn: this.turn, played: this.played });
    }
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("playback", Playback);
