"""The Python stack as bench-voice drives it: JSON lines in, JSON lines out, audio as base64 of s16le.

    in   {"op": "open", "session", "system", "max_tokens", "reply": bool}    a microphone; with "reply" each utterance is answered
         {"op": "audio", "session", "data"}          16,000 Hz mono, at the pace of real time
         {"op": "close", "session"}                  whatever runs for it is cancelled
         {"op": "transcribe", "session", "data"}     a recording
         {"op": "speak", "session", "text"}          a text
    out  {"event": "ready"}, then for each session: ended, final, first_token, first_sentence, audio, done, failed

Each session has a thread of its own; the models are shared. While a session answers, its microphone is not listened to.
"""

import argparse
import base64
import json
import queue
import sys
import threading

import numpy as np
from ears import Ears
from stack import Stack

OUT = threading.Lock()


def say(event, session=0, **more):
    line = json.dumps({"event": event, "session": session, **more})
    with OUT:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def samples_of(data):
    return np.frombuffer(base64.b64decode(data), dtype="<i2")


class Session(threading.Thread):
    """One caller: a conversation, or one request."""

    def __init__(self, stack, number):
        super().__init__(daemon=True)
        self.stack, self.number = stack, number
        self.inbox = queue.SimpleQueue()
        self.cancelled = threading.Event()
        self.start()

    def run(self):
        while (request := self.inbox.get()) is not None:
            try:
                getattr(self, f"on_{request['op']}")(request)
            except Exception as error:  # told to the harness, which ends the run
                say("failed", self.number, message=f"{type(error).__name__}: {error}")

    def close(self):
        self.cancelled.set()
        self.inbox.put(None)

    def on_open(self, request):
        self.manner = request
        self.ears = Ears(self.stack.vad)

    def on_audio(self, request):
        if self.cancelled.is_set():
            return
        utterance = self.ears.hear(samples_of(request["data"]))
        if utterance is None:
            return
        say("ended", self.number)
        text = self.stack.transcribe(utterance)
        say("final", self.number, text=text)
        if not self.manner["reply"] or not text or self.cancelled.is_set():
            return
        seen = set()

        def note(stage):
            if stage not in seen:
                seen.add(stage)
                say(stage, self.number)

        reply = []
        for sentence, rate, audio in self.stack.reply(
            self.manner["system"], text, self.manner["max_tokens"], self.cancelled, note
        ):
            reply.append(sentence)
            self.say_audio(rate, audio)
        say("done", self.number, text=" ".join(reply))
        self.ears.reset()

    def on_transcribe(self, request):
        text = self.stack.transcribe(samples_of(request["data"]).astype(np.float32) / 32768.0)
        say("done", self.number, text=text)

    def on_speak(self, request):
        for _, rate, audio in self.stack.speak(request["text"]):
            self.say_audio(rate, audio)
        say("done", self.number, text="")

    def say_audio(self, rate, audio):
        say("audio", self.number, rate=rate, data=base64.b64encode(audio).decode("ascii"))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("vad", "whisper", "llm", "voice"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--threads", type=int, required=True)
    options.add_argument("--system", required=True)
    options = options.parse_args()
    stack = Stack(vars(options), options.threads)
    stack.warm_up(options.system)
    say("ready")
    sessions = {}
    for line in sys.stdin:
        request = json.loads(line)
        number = request["session"]
        if request["op"] == "close":
            sessions.pop(number).close()
            continue
        if number not in sessions:
            sessions[number] = Session(stack, number)
        sessions[number].inbox.put(request)


if __name__ == "__main__":
    main()
