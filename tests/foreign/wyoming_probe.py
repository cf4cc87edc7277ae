"""Uses speech to text, text to speech and wake words as Home Assistant does, with the protocol's own client.

usage: wyoming_probe.py STT_PORT TTS_PORT WAKE_PORT QUESTION_WAV KEYWORD_WAV; prints one JSON object of what was answered.
Both recordings are 16 kHz mono. Every answer has a minute.
"""

import array
import asyncio
import json
import math
import sys
import wave

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice
from wyoming.wake import Detect, Detection, NotDetected

PATIENCE = 60


def connect(port):
    return AsyncTcpClient("127.0.0.1", port, connect_timeout=PATIENCE, read_timeout=PATIENCE)


async def answer(client, *kinds):
    """The next event of one of these kinds; others are passed over, as clients do."""
    while True:
        event = await client.read_event()
        if event is None:
            sys.exit(f"the connection ended before {[kind.__name__ for kind in kinds]}")
        if Error.is_type(event.type) and Error not in kinds:
            sys.exit(f"an error in place of {[kind.__name__ for kind in kinds]}: {event.data}")
        for kind in kinds:
            if kind.is_type(event.type):
                return kind.from_event(event)


def samples_of(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), path
        return array.array("h", file.readframes(file.getnframes()))


def half(samples):
    """Every second sample, after a low-pass at 3.6 kHz: a windowed sinc."""
    reach, cut = 32, 0.45
    taps = [
        cut * (math.sin(math.pi * cut * n) / (math.pi * cut * n) if n else 1) * (0.5 + 0.5 * math.cos(math.pi * n / reach))
        for n in range(-reach + 1, reach)
    ]
    padded = [0] * (reach - 1) + list(samples) + [0] * reach
    middles = range(0, len(samples), 2)
    return [round(sum(tap * padded[i + n] for n, tap in enumerate(taps))) for i in middles]


def at(samples, rate, channels):
    """Mono samples at 16 kHz in another format; higher rates are drawn between two samples."""
    if rate == 8000:
        samples = half(samples)
    elif rate != 16000:
        drawn = []
        for index in range(len(samples) * rate // 16000):
            place, rest = divmod(index * 16000, rate)
            here = samples[place]
            then = samples[min(place + 1, len(samples) - 1)]
            drawn.append(here + (then - here) * rest // rate)
        samples = drawn
    return array.array("h", [sample for sample in samples for _ in range(channels)]).tobytes()


async def stream(client, audio, rate, channels, size):
    await client.write_event(AudioStart(rate, 2, channels, timestamp=0).event())
    for start in range(0, len(audio), size):
        timestamp = start * 1000 // (rate * 2 * channels)
        piece = audio[start : start + size]
        await client.write_event(AudioChunk(rate, 2, channels, piece, timestamp=timestamp).event())
    await client.write_event(AudioStop().event())


async def transcribe(port, audio, rate, channels, size):
    async with connect(port) as client:
        await client.write_event(Transcribe(language="en").event())
        await stream(client, audio, rate, channels, size)
        return (await answer(client, Transcript)).text


async def collect(client):
    """Audio from its start to its stop: rate and samples."""
    start = await answer(client, AudioStart)
    assert (start.width, start.channels) == (2, 1), start
    audio = array.array("h")
    while True:
        event = await answer(client, AudioChunk, AudioStop)
        if isinstance(event, AudioStop):
            return start.rate, audio
        audio.frombytes(event.audio)


async def synthesize(port, text, voice=None):
    async with connect(port) as client:
        await client.write_event(Synthesize(text=text, voice=voice).event())
        return await collect(client)


async def synthesize_as_written(port, pieces):
    async with connect(port) as client:
        await client.write_event(SynthesizeStart().event())
        for piece in pieces:
            await client.write_event(SynthesizeChunk(text=piece).event())
        await client.write_event(Synthesize(text="".join(pieces)).event())
        await client.write_event(SynthesizeStop().event())
        spoken = await collect(client)
        await answer(client, SynthesizeStopped)
        return spoken


async def detect(port, audio, rate, channels, size, names):
    async with connect(port) as client:
        await client.write_event(Detect(names=names).event())
        await stream(client, audio, rate, channels, size)
        found = await answer(client, Detection, NotDetected)
        return {"name": found.name, "timestamp": found.timestamp} if isinstance(found, Detection) else None


async def info(port):
    async with connect(port) as client:
        await client.write_event(Describe().event())
        described = await answer(client, Info)
        await client.write_event(Ping(text="hello").event())
        assert (await answer(client, Pong)).text == "hello"
        return described


async def nonsense(port):
    """What somebody hears who speaks another language."""
    async with connect(port) as client:
        client._writer.write(b"GET / HTTP/1.1\r\n\r\n")
        error = await answer(client, Error)
        assert await client.read_event() is None
        return error.code


async def main(stt, tts, wake, question, keyword):
    question, keyword = samples_of(question), samples_of(keyword)
    asr = (await info(stt)).asr[0]
    voices = (await info(tts)).tts[0]
    words = (await info(wake)).wake[0]
    formats = [(16000, 1, 2048), (8000, 1, 333), (44100, 2, 4097), (48000, 1, 1001)]
    transcripts = {}
    for rate, channels, size in formats:
        audio = at(question, rate, channels)
        # Somebody speaks nonsense meanwhile.
        heard, code = await asyncio.gather(transcribe(stt, audio, rate, channels, size), nonsense(stt))
        assert code == "BAD_HEADER", code
        transcripts[f"{rate} Hz, {channels} channel(s), {size} bytes"] = heard
    detections = {}
    for rate, channels, size in formats:
        audio = at(keyword, rate, channels)
        detections[rate] = await detect(wake, audio, rate, channels, size, ["hey_jarvis"])
    rate, morning = await synthesize(tts, "Good morning.")
    named = await synthesize(tts, "Good morning.", SynthesizeVoice(name=voices.voices[0].name))
    pieces = ["Good mor", "ning. It is", " a fine", " day."]
    stream_rate, written = await synthesize_as_written(tts, pieces)
    print(
        json.dumps(
            {
                "models": [[model.name, model.installed, len(model.languages)] for model in asr.models],
                "voices": [[voice.name, voice.installed, voice.languages] for voice in voices.voices],
                "keywords": [[model.name, model.installed, model.phrase] for model in words.models],
                "versions": [asr.version, voices.version, words.version],
                "transcripts": transcripts,
                "silence": await transcribe(stt, bytes(64000), 16000, 1, 2048),
                "detections": detections,
                "not_detected": await detect(wake, at(question, 16000, 1), 16000, 1, 2048, None),
                "synthesized_seconds": len(morning) / rate,
                "named_seconds": len(named[1]) / named[0],
                "synthesized_says": await transcribe(stt, morning.tobytes(), rate, 1, 4096),
                "written_says": await transcribe(stt, written.tobytes(), stream_rate, 1, 4096),
            }
        )
    )


asyncio.run(main(*(int(port) for port in sys.argv[1:4]), *sys.argv[4:]))
