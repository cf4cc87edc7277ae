#!/usr/bin/env bash
# The images of Solo:
#
#   docker/images.sh build [SERVICE…]    from this machine's binaries (docker/binaries.sh); all, or those named
#   docker/images.sh list                what there is, and how large each is beyond the base image
#   docker/images.sh save [FILE]         one file to carry to a machine without network, compose.yaml included
#   docker/images.sh load FILE           and there: the images into the engine, the rest beside the file
#
# SOLO_VERSION is the images' tag: "dev" where it is not set.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/target}"
version="${SOLO_VERSION:-dev}"
base=debian:bookworm-slim
services=(gateway wake-svc stt-svc tts-svc llm-svc memory-svc agent-svc solo)

fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

docker info >/dev/null 2>&1 || fail "no Docker engine answers" "start it (systemctl start docker), or see \`solo doctor --compose\`"

# The Dockerfile, without the stage that compiles: engines without BuildKit make all stages, wanted or not.
dockerfile() { sed '/^# ── compiled here/,/^# ── compiled by the host/d' docker/service.Dockerfile; }

build() {
    [ $# -gt 0 ] || set -- "${services[@]}"
    local context="$CARGO_TARGET_DIR/images" log before service buildkit=1
    # From version 23 on the client has it from a plugin only.
    docker buildx version >/dev/null 2>&1 || [ "$(docker --version | grep -oE '[0-9]+' | head -n1)" -lt 23 ] || buildkit=0
    docker/binaries.sh "$context"
    docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null 2>&1 ||
        fail "there is no image $base, and no registry to pull it from" "docker/local-base.sh makes it from Debian's packages"
    for service; do
        before=$(docker image inspect --format '{{.Id}}' "solo/$service:$version" 2>/dev/null || true)
        # What the client says about itself is of interest only where it fails.
        log=$(dockerfile | DOCKER_BUILDKIT="$buildkit" docker build --file - --tag "solo/$service:$version" \
            --build-arg BINARIES=prebuilt --build-arg SERVICE="$service" --build-arg VERSION="$version" \
            --build-arg REVISION="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "$context/$service" 2>&1) || {
            printf '%s\n' "$log" | tail -n 30 >&2
            fail "solo/$service was not built" "what the engine said stands above"
        }
        echo "built solo/$service:$version"
        # What it takes the place of goes, unless a container still runs it.
        [ -z "$before" ] || [ "$before" = "$(docker image inspect --format '{{.Id}}' "solo/$service:$version")" ] ||
            docker image rm "$before" >/dev/null 2>&1 || true
    done
    docker image prune --force --filter label=solo.stage=prebuilt >/dev/null
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

save() {
    local file="${1:-solo-images-$version.tar}" folder
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    local images=("${services[@]/#/solo/}")
    docker save --output "$folder/images.tar" "${images[@]/%/:$version}"
    cp -r --parents compose.yaml .env.example deploy/config "$folder"
    tar -C "$folder" -cf "$file" images.tar compose.yaml .env.example deploy
    echo "$file: $(du -h "$file" | cut -f1); on the other machine: tar xf it, docker load -i images.tar, docker compose up -d"
}

load() {
    local file="${1:?the file that \`images-save\` made is wanted}"
    tar -xOf "$file" images.tar | docker load
}

case "${1:-help}" in
build | list | save | load)
    "$@"
    ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" ;;
esac
