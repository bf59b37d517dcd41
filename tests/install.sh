# Sourced by ./quickstart and ./test from the project's root: `need build` or `need build test` installs what
# tests/packages lists for those uses and the system lacks. Asks nobody, and touches nothing when all is there.

# $1: pattern of uses, build or build|test
missing_packages() {
    sed -En "s/^($1) //p" tests/packages | while read -r package; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
        # pkgconf replaces pkg-config on newer releases
        [ "$state" = installed ] || { [ "$package" = pkg-config ] && command -v pkg-config > /dev/null; } ||
            printf '%s ' "$package"
    done
}

need() {
    local missing run=
    if ! command -v dpkg-query > /dev/null; then
        echo "not a Debian system: install the counterparts of tests/packages yourself" >&2
        return 0
    fi
    missing=$(missing_packages "$(echo "$*" | tr ' ' '|')")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        run=sudo
        if ! command -v sudo > /dev/null; then
            echo "missing packages, and neither root nor sudo to install them: $missing" >&2
            return 1
        fi
    fi
    echo "installing $missing" >&2
    local log
    log=$(mktemp)
    if ! { $run apt-get update && $run env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing; } > "$log" 2>&1; then
        tail -20 "$log" >&2
        return 1
    fi
    rm -f "$log"
}
