# Asking for an engine, and saying what is wrong: sourced by the scripts here.

fail() { # WHAT, REMEDY
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

# Ends the script where no engine answers.
need_engine() {
    local said
    said=$(docker info 2>&1) && return
    case "$said" in
    *"permission denied"*) fail "the Docker engine does not let you in" "sudo usermod -aG docker \$USER, then log in again" ;;
    *) fail "no Docker engine answers" "start it (systemctl start docker), or see \`solo doctor --compose\`" ;;
    esac
}
