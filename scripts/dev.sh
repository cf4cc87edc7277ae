#!/usr/bin/env bash
# Brings a fresh Debian or Ubuntu with Rust and Python to a running Solo. It only bootstraps: what there is to do stands in
# Makefile.toml, what Solo does in `solo --help`.
#
#   scripts/dev.sh up [--detach]    build, fetch models, start
#   scripts/dev.sh test             everything the project checks of itself
#   scripts/dev.sh images           the images of the services, for docker compose
#   scripts/dev.sh peers            servers of others that the tests talk to
#   scripts/dev.sh solo ARGS…       the built command line
#
# SOLO_PROFILE=release builds what you want to keep using: slower to build, faster to answer.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/target}"
export SOLO_PROFILE="${SOLO_PROFILE:-dev}"
folder=$([ "$SOLO_PROFILE" = dev ] && echo debug || echo "$SOLO_PROFILE")
solo="$CARGO_TARGET_DIR/$folder/solo"

packages=(protobuf-compiler cmake clang libclang-dev pkg-config libasound2-dev libssl-dev libsonic-dev espeak-ng-data git)
test_packages=(pocketsphinx-testdata pulseaudio pulseaudio-utils libasound2-plugins xvfb xdotool)

# Cargo tells what is fresh by times alone, and crates of two clones have the same names in a target folder that both use:
# whatever another clone has built since is built anew from these sources.
own_target() {
    local owner="$CARGO_TARGET_DIR/built-from"
    [ "$(cat "$owner" 2>/dev/null)" = "$PWD" ] && return
    [ ! -d "$CARGO_TARGET_DIR" ] || find crates tests benches -name '*.rs' -exec touch {} +
    mkdir -p "$CARGO_TARGET_DIR"
    printf '%s\n' "$PWD" >"$owner"
}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
[ -t 2 ] || say() { printf '%s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  help: %s\n' "$2" >&2
    exit 1
}

# Installs those of the named system packages that are missing.
system_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "this is no Debian or Ubuntu: make sure that these are installed: $*"
        return
    fi
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "these system packages are missing: ${missing[*]}" "install them as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    say "installing system packages: ${missing[*]}"
    "${root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
}

need_rust() {
    command -v cargo >/dev/null || fail "cargo is not installed" "install Rust (https://rustup.rs), then run this again"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n1)" = "$wanted" ] ||
        fail "Rust $wanted is wanted, $have is installed" "rustup update"
    command -v python3 >/dev/null || fail "python3 is not installed" "models are fetched with pip where the model hub is out of reach: apt-get install python3 python3-pip"
}

cargo_make() {
    command -v cargo-make >/dev/null && return
    say "installing cargo-make (about two minutes, once)"
    cargo install --quiet --locked --version 0.37.24 cargo-make
}

# What the first run takes, said before it is taken.
announce() {
    [ -x "$solo" ] && return
    say "The first build takes 10-20 minutes on two cores, 8 GB of disk in $CARGO_TARGET_DIR and 4 GB of memory."
    say "Models take another 0.8 GB in ${SOLO_MODELS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/models}; nothing is fetched twice."
}

prepare() {
    announce
    need_rust
    own_target
    system_packages "${packages[@]}"
}

# Tests and benchmarks are built along: another choice of targets would choose other features, and build the world again.
build() {
    cargo build --workspace --all-targets --locked --profile "$SOLO_PROFILE"
}

# llama.cpp's server from a wheel, in an environment of its own beside the models. Nothing is fetched twice.
peers() {
    local wanted=crates/llm-svc/tests/peers/requirements.txt
    local venv="${SOLO_MODELS_DIR:+$(dirname "$SOLO_MODELS_DIR")}"
    venv="${venv:-${XDG_CACHE_HOME:-$HOME/.cache}/solo}/venv-llama-server"
    if ! command -v python3 >/dev/null; then
        say "there is no python3: the tests against llama.cpp's server will be skipped"
        return
    fi
    cmp -s "$wanted" "$venv/installed.txt" && return
    say "installing llama.cpp's server (34 MB) in $venv"
    python3 -m venv --clear "$venv" ||
        fail "no virtual environment can be made in $venv" "apt-get install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
}

case "${1:-help}" in
up)
    shift
    prepare
    build
    "$solo" models pull
    exec "$solo" up "$@"
    ;;
test)
    prepare
    system_packages "${test_packages[@]}"
    cargo_make
    exec cargo make ci
    ;;
images)
    shift
    prepare
    exec docker/images.sh build "$@"
    ;;
peers)
    peers
    ;;
solo)
    shift
    [ -x "$solo" ] || (prepare && build)
    exec "$solo" "$@"
    ;;
*)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    ;;
esac
