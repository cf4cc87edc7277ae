#!/usr/bin/env bash
# The images of Solo:
#
#   docker/images.sh build [SERVICE…]    from this machine's binaries (docker/binaries.sh); all, or those named
#   docker/images.sh list                what there is, and how large each is beyond the base image
#   docker/images.sh save [FILE]         one file to carry to a machine without network: images, compose.yaml, configuration
#   docker/images.sh load FILE           what is in such a file: the images into the engine, the rest here
#
# SOLO_VERSION is the images' tag: "dev" where it is not set.
set -euo pipefail

asked_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/target}"
version="${SOLO_VERSION:-dev}"
base=debian:bookworm-slim
services=(gateway wake-svc stt-svc tts-svc llm-svc memory-svc agent-svc solo)

fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

[ "${1:-}" = fits ] || docker info >/dev/null 2>&1 ||
    fail "no Docker engine answers" "start it (systemctl start docker), or see \`solo doctor --compose\`"

# The Dockerfile, without the stage that compiles: engines without BuildKit make all stages, wanted or not.
dockerfile() { sed '/^# ── compiled here/,/^# ── compiled by the host/d' docker/service.Dockerfile; }

# espeak-ng is linked by one service alone.
licences() {
    [ "$1" = tts-svc ] && echo "(Apache-2.0 OR MIT) AND GPL-3.0-or-later" || echo "Apache-2.0 OR MIT"
}

# Programs run where the C library is as new as the one that they were linked with, or newer.
fits() {
    local here there=2.36
    here=$(ldd --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+$' | head -n1)
    [ -n "$here" ] && [ "$(printf '%s\n' "$here" "$there" | sort -V | tail -n1)" = "$there" ]
}

build() {
    [ $# -gt 0 ] || set -- "${services[@]}"
    fits || fail "this machine's C library is newer than that of $base (2.36): what is built here does not run there" \
        "build in containers instead: docker compose build"
    local context="$CARGO_TARGET_DIR/images/${SOLO_IMAGE_PROFILE:-release}" log service buildkit=1
    # From version 23 on the client has it from a plugin only.
    docker buildx version >/dev/null 2>&1 || [ "$(docker --version | grep -oE '[0-9]+' | head -n1)" -lt 23 ] || buildkit=0
    docker/binaries.sh "$context"
    docker/notices.sh "$context"
    docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null 2>&1 ||
        fail "there is no image $base, and no registry to pull it from" "docker/local-base.sh makes it from Debian's packages"
    for service; do
        # What the client says about itself is of interest only where it fails.
        log=$(dockerfile | DOCKER_BUILDKIT="$buildkit" docker build --file - --tag "solo/$service:$version" \
            --build-arg BINARIES=prebuilt --build-arg SERVICE="$service" --build-arg VERSION="$version" \
            --build-arg LICENSES="$(licences "$service")" \
            --build-arg REVISION="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "$context/$service" 2>&1) || {
            printf '%s\n' "$log" | tail -n 30 >&2
            fail "solo/$service was not built" "what the engine said stands above"
        }
        echo "built solo/$service:$version"
    done
    # What has no name any more, and no container.
    docker image prune --force --filter label=solo.service >/dev/null
    docker image prune --force --filter label=solo.stage >/dev/null
}

list() {
    local service beneath size
    beneath=$(docker image inspect --format '{{.Size}}' "$base")
    for service in "${services[@]}"; do
        size=$(docker image inspect --format '{{.Size}}' "solo/$service:$version" 2>/dev/null) || {
            printf '%-12s %s\n' "$service" "not built"
            continue
        }
        printf '%-12s %4d MB beyond %s\n' "$service" $(((size - beneath) / 1000000)) "$base"
    done
}

# A file that was named where the person stands.
named() {
    case "$1" in
    /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$asked_in" "$1" ;;
    esac
}

save() {
    local file
    file=$(named "${1:-solo-images-$version.tar}")
    # Beside the file, where there is room for it. Not local: it goes when the script ends.
    work=$(mktemp -d "$(dirname "$file")/.solo-images.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    local images=("${services[@]/#/solo/}")
    docker save --output "$work/images.tar" "${images[@]/%/:$version}"
    cp -r --parents compose.yaml .env.example deploy "$work"
    # Compose is told which images these are.
    printf 'SOLO_VERSION=%s\n' "$version" >"$work/.env"
    tar -C "$work" -cf "$file" images.tar compose.yaml .env .env.example deploy
    printf '%s\n' "$file: $(du -h "$file" | cut -f1). Models are not in it: carry your models folder along (solo models pull)." \
        "There:  tar xf FILE; docker load -i images.tar; echo SOLO_MODELS_DIR=FOLDER >>.env; docker compose up -d"
}

load() {
    local file
    file=$(named "${1:?the file that \`save\` made is wanted}")
    tar -xOf "$file" images.tar | docker load
    tar -C "$asked_in" --skip-old-files -xf "$file" --exclude images.tar
}

case "${1:-help}" in
build | list | save | load | fits)
    "$@"
    ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" ;;
esac
