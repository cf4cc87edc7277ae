#!/usr/bin/env bash
# The tests of Solo in containers (tests/tests/it/compose.rs), with images of the development build under a tag of their own. Where
# no engine answers and one is installed, root starts one for as long as the tests take; elsewhere they are skipped, aloud.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() {
    printf 'skipped: the tests of containers: %s\n' "$1"
    exit 0
}

[ "$(uname -s)" = Linux ] || skip "they want Linux"
docker/images.sh fits || skip "what is built here wants a newer C library than the images have"
command -v docker >/dev/null || skip "docker is not installed"
docker/compose.sh >/dev/null 2>&1 || skip "no compose is installed"
if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" -eq 0 ] && command -v dockerd >/dev/null || skip "no engine answers, and none can be started"
    log=$(mktemp)
    dockerd >"$log" 2>&1 &
    engine=$!
    # By its number: there may be others.
    trap 'kill "$engine" 2>/dev/null || true; wait "$engine" || true; rm -f "$log"' EXIT
    for _ in $(seq 100); do
        docker info >/dev/null 2>&1 && break
        kill -0 "$engine" 2>/dev/null || skip "an engine cannot be started here: $(tail -n 1 "$log")"
        sleep 0.2
    done
    docker info >/dev/null 2>&1 || skip "the engine that was started does not answer: $(tail -n 1 "$log")"
fi
if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1 && ! docker pull --quiet debian:bookworm-slim >/dev/null 2>&1; then
    command -v debootstrap >/dev/null && [ "$(id -u)" -eq 0 ] ||
        skip "there is no debian:bookworm-slim, no registry to pull it from, and no debootstrap that root could run"
    docker/local-base.sh
fi
# One folder for the images' binaries and for the tests.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}" SOLO_VERSION=test SOLO_IMAGE_PROFILE=dev
docker/images.sh build
cargo test --workspace --locked --no-fail-fast --profile "${SOLO_PROFILE:-dev}" -- --ignored --test-threads=1 compose_
