"""Serves a GGUF file with llama.cpp's own server, on a free port of this machine, until standard input ends.

usage: llama_server.py MODEL.gguf CONTEXT

Prints "listening ADDRESS" when it answers.
"""

import os
import sys

import xllamacpp


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.model_alias = {"smollm2"}
    # Two slots, each with the context that was asked for.
    parameters.n_parallel = 2
    parameters.n_ctx = 2 * int(sys.argv[2])
    parameters.hostname = "127.0.0.1"
    parameters.port = 0
    parameters.cpuparams.n_threads = 2
    parameters.warmup = False
    # Standard output is the caller's: whatever the library prints goes with the log.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = xllamacpp.Server(parameters)
    print(f"listening {server.listening_address}", file=told, flush=True)
    sys.stdin.read()
    # The server's threads need not be waited for: nothing is kept.
    os._exit(0)


main()
