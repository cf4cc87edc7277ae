"""The spoken turns of bench-voice: 13 questions by Piper's voice at several heights and speeds, and 7 recordings of people.

    corpus.py FOLDER VOICE.onnx RECORDINGS LIBRIVOX     makes them in a folder below FOLDER, once, and prints its path

Everything is seeded: the same packages make the same bytes. Each file is 16,000 Hz mono: 300 ms of a quiet room, then the
words, at one loudness. `corpus.tsv` has file, words, and the last voiced sample: the end of the last 10 ms whose level (median of
50 ms) comes within 35 dB of the loud parts (95th percentile); within 22 dB where a recording has noise of its own.
"""

import hashlib
import pathlib
import sys
import wave

import numpy as np
import onnxruntime
from piper import PiperVoice, SynthesisConfig

RATE = 16_000
LOUDNESS = 2_000.0
ROOM = 3.0
# (words, height of the voice, length of its sounds)
QUESTIONS = [
    ("What is the capital of France?", 1.00, 1.00),
    ("How many legs does a spider have?", 1.12, 1.00),
    ("Who wrote Romeo and Juliet?", 0.92, 1.05),
    ("What color is the sky at noon?", 1.06, 0.90),
    ("How long should I boil an egg?", 1.00, 1.15),
    ("Tell me a short joke about computers.", 0.95, 0.90),
    ("What should I wear when it rains?", 1.15, 1.05),
    ("How do I make a good cup of tea?", 0.90, 0.95),
    ("Why do cats like to sleep so much?", 1.03, 1.00),
    ("Give me a nice name for a puppy.", 1.10, 1.10),
    ("Which planet is the biggest of all?", 0.97, 1.00),
    ("What can I cook with rice and eggs?", 1.00, 0.88),
    ("Is a tomato a fruit or a vegetable?", 1.08, 1.00),
]
RECORDINGS = [
    ("cards/001.wav", "ten of clubs"),
    ("cards/002.wav", "four queen of clubs"),
    ("cards/003.wav", "seven of clubs"),
    ("goforward.raw", "go forward ten meters"),
    ("something.raw", "go somewhere and do something"),
]
LIBRIVOX = [
    ("0880.wav", "he was not an ill disposed young man"),
    ("0930.wav", "he might even have been made amiable himself"),
]


def main():
    folder, voice, recordings, librivox = map(pathlib.Path, sys.argv[1:])
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    target = folder / f"turns-{digest}"
    table = target / "corpus.tsv"
    if not table.exists():
        target.mkdir(parents=True, exist_ok=True)
        rows = []
        for index, (samples, words, depth) in enumerate(clips(voice, recordings, librivox)):
            name = f"{index:02}.wav"
            room = np.random.default_rng(index).normal(0.0, ROOM, len(samples) + RATE * 3 // 10)
            room[-len(samples) :] += samples
            write(target / name, np.clip(np.rint(room), -32768, 32767).astype("<i2"))
            rows.append(f"{name}\t{words}\t{RATE * 3 // 10 + last_voiced(samples, depth)}\n")
        # Written last: without it the folder counts as not made.
        table.write_text("".join(rows))
    print(target)


def clips(voice, recordings, librivox):
    onnxruntime.set_seed(4)
    piper = PiperVoice.load(voice, f"{voice}.json")
    for words, height, length in QUESTIONS:
        config = SynthesisConfig(length_scale=length * height)
        spoken = np.concatenate([chunk.audio_float_array for chunk in piper.synthesize(words, config)])
        yield loud(resample(spoken, piper.config.sample_rate * height)), words, 35.0
    for name, words in RECORDINGS:
        yield loud(read(recordings / name)), words, 22.0
    for name, words in LIBRIVOX:
        yield loud(read(librivox / name)), words, 22.0


def resample(samples, rate):
    """To 16,000 Hz by way of the spectrum: exact, and the same everywhere."""
    count = round(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, dtype=complex)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, count)


def frames(samples):
    """10 ms each."""
    return samples[: len(samples) // 160 * 160].reshape(-1, 160)


def levels(samples):
    return 10.0 * np.log10(np.mean(frames(samples) ** 2, axis=1) + 1e-3)


def last_voiced(samples, depth):
    level = np.pad(levels(samples), 2, mode="edge")
    level = np.median(np.lib.stride_tricks.sliding_window_view(level, 5), axis=1)
    return int(np.flatnonzero(level > np.percentile(level, 95) - depth)[-1] + 1) * 160 - 1


def loud(samples):
    level = levels(samples)
    speech = frames(samples)[level > np.percentile(level, 95) - 25.0]
    return samples * (LOUDNESS / np.sqrt(np.mean(speech**2)))


def read(path):
    if path.suffix == ".raw":
        return np.fromfile(path, dtype="<i2").astype(float)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


if __name__ == "__main__":
    main()
