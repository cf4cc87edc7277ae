"""The models of the Python stack, loaded once, warm, in one process, and one turn through them.

Each does what its own documentation shows for low latency: greedy Whisper without timestamps, llama.cpp streaming with its
prompt's prefix kept, Piper sentence by sentence. The first sentence is spoken as soon as the model has written it; the
model goes on afterwards, so nothing competes with the first audio for the cores.
"""

import re
import threading
import time

import ears
import numpy as np
from faster_whisper import WhisperModel
from llama_cpp import Llama
from piper import PiperVoice

SENTENCE = re.compile(r"[.!?…][\"')\]]*\s")


class Stack:
    def __init__(self, folders, threads):
        self.vad = ears.load(folders["vad"])
        self.whisper = WhisperModel(
            folders["whisper"], device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )
        self.llm = Llama(
            folders["llm"], n_ctx=4096, n_threads=threads, n_threads_batch=threads, use_mmap=False, verbose=False
        )
        self.voice = PiperVoice.load(folders["voice"], f"{folders['voice']}.json")
        # llama.cpp's context serves one caller at a time.
        self.thinking = threading.Lock()

    def warm_up(self, system):
        """One turn that nobody hears."""
        self.transcribe(np.zeros(ears.RATE, dtype=np.float32))
        for _ in self.reply(system, "Hello.", 16, threading.Event(), lambda _: None):
            pass

    def transcribe(self, samples):
        segments, _ = self.whisper.transcribe(
            samples,
            language="en",
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)

    def reply(self, system, question, max_tokens, cancelled, note):
        """Sentences of the reply, each with its audio, one after another."""
        now = time.strftime("%A, %d %B %Y, %H:%M")
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": f"(It is {now}.)\n\n{question}"},
        ]
        with self.thinking:
            pending = ""
            for piece in self.llm.create_chat_completion(
                messages, max_tokens=max_tokens, temperature=0.2, stream=True
            ):
                if cancelled.is_set():
                    return
                delta = piece["choices"][0]["delta"].get("content") or ""
                if delta:
                    note("first_token")
                pending += delta
                while match := SENTENCE.search(pending):
                    sentence, pending = pending[: match.end()].strip(), pending[match.end() :]
                    note("first_sentence")
                    yield from self.speak(sentence)
            if pending.strip() and not cancelled.is_set():
                note("first_sentence")
                yield from self.speak(pending.strip())

    def speak(self, text):
        """(text, rate, s16le) for each sentence, as Piper streams them."""
        for chunk in self.voice.synthesize(text):
            yield text, chunk.sample_rate, chunk.audio_int16_bytes
