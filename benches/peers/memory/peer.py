"""What people put a memory together of in Python: sentence-transformers for vectors, Chroma to keep and find them.

Driven through its standard streams: a JSON object a line in, one out. It says {"ready": true} once its model is loaded.

  {"fill": FILE, "count": N, "dimension": D, "port": P}   N vectors (float32, row by row) into the Chroma that serves at P
  {"ingest": FILE, "folder": FOLDER}                      documents ({"uri", "text"} a line) into an embedded Chroma
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time

os.environ.update(ANONYMIZED_TELEMETRY="False", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import chromadb
import numpy
import tokenizers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

# Pieces as memory-svc cuts them: tokens of a piece, and how many of them the next one repeats.
TOKENS, OVERLAP = 200, 30
# Texts embedded together. The library's own default of 32 is slower here (27 instead of 31 pieces a second).
BATCH = 8
# Documents whose pieces are embedded and stored together.
DOCUMENTS = 4
# Rows in one call of Chroma's.
ROWS = 5000


def model(folder: pathlib.Path, threads: int) -> SentenceTransformer:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as copy:
        for file in ("model.safetensors", "tokenizer.json", "config.json"):
            shutil.copy(folder / file, copy)
        words = modules.Transformer(copy, max_seq_length=256)
        pooling = modules.Pooling(words.get_embedding_dimension())
        return SentenceTransformer(modules=[words, pooling, modules.Normalize()], device="cpu")


def fill(job: dict) -> dict:
    client = chromadb.HttpClient(host="127.0.0.1", port=job["port"])
    collection = client.create_collection("vectors", metadata={"hnsw:space": "cosine"})
    shape = (job["count"], job["dimension"])
    vectors = numpy.memmap(job["fill"], dtype=numpy.float32, mode="r", shape=shape)
    text = "x" * 400
    for first in range(0, job["count"], ROWS):
        some = range(first, min(first + ROWS, job["count"]))
        collection.add(
            ids=[str(index) for index in some],
            embeddings=vectors[some.start : some.stop],
            documents=[text] * len(some),
            metadatas=[{"uri": f"file:///{index}.txt", "start": 0} for index in some],
        )
    return {"collection": str(collection.id)}


def pieces(tokenizer, text: str) -> list[str]:
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    cut = []
    for first in range(0, len(offsets), TOKENS - OVERLAP):
        some = offsets[first : first + TOKENS]
        cut.append(text[some[0][0] : some[-1][1]])
        if first + TOKENS >= len(offsets):
            break
    return cut


def ingest(job: dict, embedder: SentenceTransformer) -> dict:
    # A copy: embedding sets the original to cut texts off.
    tokenizer = tokenizers.Tokenizer.from_str(embedder.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    documents = [json.loads(line) for line in open(job["ingest"], encoding="utf-8")]
    collection = chromadb.PersistentClient(job["folder"]).create_collection("documents", metadata={"hnsw:space": "cosine"})
    count = 0
    started = time.monotonic()
    for first in range(0, len(documents), DOCUMENTS):
        some = [
            (document["uri"], index, text)
            for document in documents[first : first + DOCUMENTS]
            for index, text in enumerate(pieces(tokenizer, document["text"]))
        ]
        texts = [text for _, _, text in some]
        vectors = embedder.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        collection.add(
            ids=[f"{uri}#{index}" for uri, index, _ in some],
            embeddings=vectors,
            documents=texts,
            metadatas=[{"uri": uri, "ordinal": index} for uri, index, _ in some],
        )
        count += len(texts)
    return {"pieces": count, "seconds": time.monotonic() - started}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", type=pathlib.Path, required=True)
    arguments.add_argument("--threads", type=int, required=True)
    arguments = arguments.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr
    embedder = model(arguments.model, arguments.threads)
    embedder.encode(["a first text"])
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        answer = fill(job) if "fill" in job else ingest(job, embedder)
        answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)


main()
