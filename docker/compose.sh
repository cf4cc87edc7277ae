#!/usr/bin/env bash
# Prints the compose that this machine has: the plugin of `docker`, or the program of its own that was before it.
if docker compose version >/dev/null 2>&1; then
    echo docker compose
elif command -v docker-compose >/dev/null; then
    echo docker-compose
else
    printf 'error: neither `docker compose` nor `docker-compose` answers\n  help: install the compose plugin (Debian: apt-get install docker-compose)\n' >&2
    exit 1
fi
