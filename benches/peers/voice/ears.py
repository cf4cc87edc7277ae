"""Voice activity as silero-vad's own VADIterator decides it, without the PyTorch that its package brings.

Frames of 512 samples at 16,000 Hz, 64 samples of context before each. Speech begins with a frame at the threshold, and has
ended when no frame of the last 500 ms came near it.
"""

import numpy as np
import onnxruntime

RATE = 16_000
FRAME = 512
CONTEXT = 64
THRESHOLD = 0.5
# Below this a frame is silence: VADIterator's own distance.
NEGATIVE = THRESHOLD - 0.15
MIN_SILENCE = RATE * 500 // 1000
# What was heard before the first voiced frame belongs to it.
PRE_ROLL = RATE * 300 // 1000


def load(model):
    """The network, with one thread, as silero-vad opens it."""
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Ears:
    """One microphone. `hear` takes s16 samples and gives an utterance (f32) when one has ended, else None."""

    def __init__(self, network):
        self.network = network
        self.reset()

    def reset(self):
        """Forgets everything that was heard."""
        self.state = np.zeros((2, 1, 128), dtype=np.float32)
        self.context = np.zeros(CONTEXT, dtype=np.float32)
        self.pending = np.zeros(0, dtype=np.float32)
        self.heard = []
        self.speaking = False
        self.silence = 0

    def hear(self, samples):
        self.pending = np.concatenate([self.pending, samples.astype(np.float32) / 32768.0])
        while len(self.pending) >= FRAME:
            frame, self.pending = self.pending[:FRAME], self.pending[FRAME:]
            if (utterance := self.frame(frame)) is not None:
                return utterance
        return None

    def frame(self, frame):
        probability = self.probability(frame)
        self.heard.append(frame)
        if probability >= THRESHOLD:
            self.speaking, self.silence = True, 0
        elif not self.speaking:
            while (len(self.heard) - 1) * FRAME >= PRE_ROLL:
                self.heard.pop(0)
        elif self.silence or probability < NEGATIVE:
            self.silence += FRAME
            if self.silence >= MIN_SILENCE:
                utterance = np.concatenate(self.heard)
                self.reset()
                return utterance
        return None

    def probability(self, frame):
        window = np.concatenate([self.context, frame])
        self.context = frame[-CONTEXT:]
        out, self.state = self.network.run(
            None, {"input": window[None, :], "state": self.state, "sr": np.array(RATE, dtype=np.int64)}
        )
        return float(out[0, 0])
