#!/bin/sh
# The system programs that the longest tests run against the real thing with: containers, a registry, ssh, apt's
# bootstrap, a browser. 'make test-all' calls it; without root, or off Debian, it says what is missing, and those tests skip.
set -eu

missing=""
want() { # program package...
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || { shift; missing="$missing $*"; }
}
want podman podman netavark aardvark-dns
want runc runc
want catatonit catatonit
want skopeo skopeo
want umoci umoci
want docker-registry docker-registry
want mmdebstrap mmdebstrap
want sshd openssh-server
want chromium chromium

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "not installed, so what needs it is skipped:$missing (as root: apt-get install$missing)"
fi
