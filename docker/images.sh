#!/usr/bin/env bash
# The images of Solo:
#
#   docker/images.sh build [SERVICE…]    from this machine's binaries (docker/binaries.sh); all, or those named
#   docker/images.sh list                what there is, and how large each is beyond the base image
#   docker/images.sh save [FILE]         one file to carry to a machine without network: images, command line, compose.yaml,
#                                        configuration
#   docker/images.sh load FILE           what is in such a file: the images into the engine, the rest here. What .env and
#                                        deploy/config say stays, but for the images' tag; in a clone everything does
#
# SOLO_VERSION, of the environment or .env, is the images' tag: "dev" where it is not set.
set -euo pipefail

asked_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/target}"
# As compose reads it.
version="${SOLO_VERSION:-$(sed -n 's/^SOLO_VERSION=//p' .env 2>/dev/null | tail -n1 || true)}"
version="${version:-dev}"
base=debian:bookworm-slim
services=(gateway wake-svc stt-svc tts-svc llm-svc memory-svc agent-svc solo)

. docker/engine.sh

case "${1:-}" in
build | list | save | load) need_engine ;;
esac

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
    [ -x docker/binaries.sh ] || fail "there are no sources here to build from" "a clone of the repository has them"
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
    local beyond="beyond $base"
    # Where images were loaded, it is a part of them and has no name.
    beneath=$(docker image inspect --format '{{.Size}}' "$base" 2>/dev/null) || {
        beneath=0
        beyond="with $base"
    }
    for service in "${services[@]}"; do
        size=$(docker image inspect --format '{{.Size}}' "solo/$service:$version" 2>/dev/null) || {
            printf '%-12s %s\n' "$service" "not built"
            continue
        }
        printf '%-12s %4d MB %s\n' "$service" $(((size - beneath) / 1000000)) "$beyond"
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
    container=""
    trap 'rm -rf "$work"; [ -z "$container" ] || docker rm "$container" >/dev/null' EXIT
    local images=("${services[@]/#/solo/}")
    docker save --output "$work/images.tar" "${images[@]/%/:$version}"
    # The command line, which is in an image, too.
    container=$(docker create "solo/solo:$version")
    docker cp "$container:/usr/local/bin/solo" "$work/solo" >/dev/null
    cp -r --parents compose.yaml .env.example deploy docker/images.sh docker/engine.sh docker/compose.sh "$work"
    # Compose is told which images these are, and that volumes are the same ones in whatever folder.
    printf 'SOLO_VERSION=%s\nCOMPOSE_PROJECT_NAME=solo\n' "$version" >"$work/.env"
    tar -C "$work" -cf "$file" images.tar solo compose.yaml .env .env.example deploy docker
    printf '%s\n' "$file: $(du -h "$file" | cut -f1). Not in it: models (carry your models folder along, solo --config deploy/config/solo.toml models pull) and images of others." \
        "There:  tar -xf FILE docker && docker/images.sh load FILE" \
        "        echo SOLO_MODELS_DIR=/path/of/models >>.env && \$(docker/compose.sh) up -d" \
        "        ./solo talk   (wants libasound2)"
}

load() {
    local file
    file=$(named "${1:?the file that \`save\` made is wanted}")
    tar -xOf "$file" images.tar | docker load
    # A clone has a compose.yaml of its own, and its person knows which images it means.
    [ ! -e "$asked_in/Cargo.toml" ] || {
        printf 'loaded; SOLO_VERSION=%s makes compose take them\n' "$(saved_version)"
        return
    }
    tar -C "$asked_in" -xf "$file" --exclude images.tar --exclude .env --exclude deploy/config
    # The person's, but for the tag of the images.
    tar -C "$asked_in" --skip-old-files -xf "$file" .env deploy/config
    # A last line without an end gets one.
    sed -i -e '/^SOLO_VERSION=/d' -e '$a\' "$asked_in/.env"
    printf 'SOLO_VERSION=%s\n' "$(saved_version)" >>"$asked_in/.env"
}

saved_version() { tar -xOf "$file" .env | sed -n 's/^SOLO_VERSION=//p'; }

case "${1:-help}" in
build | list | save | load | fits)
    "$@"
    ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" ;;
esac
