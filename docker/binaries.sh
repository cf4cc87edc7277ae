#!/usr/bin/env bash
# Puts the binaries of all images into a folder, stripped, each in a folder of its own that is the context of its build
# (docker/service.Dockerfile): FOLDER/stt-svc/bin/stt-svc.
#
#   docker/binaries.sh FOLDER
#
# They run on any x86-64 machine with AVX2; where the arithmetic is compiled into a program (stt-svc, llm-svc) there is a second
# one beside it for AVX-512 (NAME.x86-64-v4), which the first becomes when it starts on a CPU that has it. SOLO_IMAGE_PROFILE=dev
# takes the development build instead, quickly made, for machines like this one: what tests want.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:?a folder is wanted}"
target="${CARGO_TARGET_DIR:-target}"
services=(gateway wake-svc stt-svc tts-svc llm-svc memory-svc agent-svc solo)

take() { # FROM SUFFIX NAME…: those that are there already and no older stay, and with them the layers of images
    local from="$1" suffix="$2" name
    shift 2
    for name; do
        mkdir -p "$folder/$name/bin"
        [ "$folder/$name/bin/$name$suffix" -nt "$from/$name" ] || strip -o "$folder/$name/bin/$name$suffix" "$from/$name"
    done
}

# whisper.cpp and llama.cpp choose instructions when they are compiled: without this, those of the machine that compiles.
compile() { # LEVEL, then cargo's arguments
    local level="$1"
    shift
    GGML_NATIVE=OFF CFLAGS="${CFLAGS:-} -march=$level" CXXFLAGS="${CXXFLAGS:-} -march=$level" \
        RUSTFLAGS="-C target-cpu=$level" SOLO_SMALL=1 CARGO_TARGET_DIR="$target/$level" CARGO_PROFILE_RELEASE_LTO=off \
        cargo build --locked --release "$@"
}

if [ "${SOLO_IMAGE_PROFILE:-release}" = dev ]; then
    # Another choice of targets would choose other features, and build the world again.
    cargo build --locked --workspace --all-targets
    rm -f "$folder"/*/bin/*.x86-64-v4
    take "$target/debug" "" "${services[@]}"
elif [ "$(uname -m)" = x86_64 ]; then
    compile x86-64-v3 --workspace --bins
    take "$target/x86-64-v3/release" "" "${services[@]}"
    compile x86-64-v4 --package stt-svc --package llm-svc --bins
    take "$target/x86-64-v4/release" .x86-64-v4 stt-svc llm-svc
    # Whoever runs these without a container (bench-compose) has the same.
    for name in stt-svc llm-svc; do
        cp -u "$folder/$name/bin/$name.x86-64-v4" "$target/x86-64-v3/release/"
    done
else
    CARGO_PROFILE_RELEASE_LTO=off cargo build --locked --release --workspace --bins
    take "$target/release" "" "${services[@]}"
fi
