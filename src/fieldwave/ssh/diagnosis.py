"""What ssh's complaint means, and what to do about it, in one line."""

from __future__ import annotations

import re

from fieldwave.ssh.host import Host

__all__ = ["diagnose"]


def diagnose(host: Host, said: str) -> str:
    """From what OpenSSH wrote to its standard error to a sentence for the engineer.

    The texts are those of OpenSSH 7 to 10; what is none of them is handed on in ssh's own words.
    """
    name = host.destination
    options = "".join(
        f" {option} {value}"
        for option, value in (("-F", host.config), ("-p", host.port or ""), ("-i", host.identity))
        if value
    )
    login = f"ssh{options} {name}"
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said or "HOST IDENTIFICATION HAS CHANGED" in said:
        found = re.search(r"Offending \S+ key in (\S+?):(\d+)", said)
        where = f", line {found[2]} of {found[1]}" if found else ""
        return (
            f"{name}: its host key is not the one known here{where}: it is another machine, or was set up anew; "
            f"if that is so, remove the line and run '{login}' once to compare the new key's fingerprint"
        )
    if "Host key verification failed" in said:
        return (
            f"{name}: its host key is not known here; run '{login}' once, compare the fingerprint with the one "
            "that 'ssh-keygen -lf' shows at the box, and accept it"
        )
    if found := re.search(r"(\S+): Permission denied \(([^)]*)\)", said):
        return (
            f"{name}: {found[1]} is not let in with any key that ssh has here (it takes: {found[2]}); "
            f"put your public key into the box with 'ssh-copy-id{options} {name}'"
        )
    if "Too many authentication failures" in said:
        return f"{name}: too many keys were offered before the right one; name that one as its identity"
    if found := re.search(r"Could not resolve hostname (\S+?):", said):
        return f"{name}: there is no host {found[1]!r} by that name; check the spelling, or give its address"
    for text, meaning in _UNREACHABLE.items():
        if text in said:
            port = re.search(r"port (\d+)", said)
            return f"{name}: {meaning.format(port=port[1] if port else host.port or 22)}"
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    return f"{name}: ssh failed: {lines[-1] if lines else 'it said nothing'}; try '{login}'"


_UNREACHABLE = {
    "Connection refused": "no sshd answers on port {port}; is the box up, and is that its port?",
    "timed out": "no answer on port {port}; is the box up, and is it reached from this network?",
    "No route to host": "there is no way to it from this network",
    "Network is unreachable": "there is no way to it from this network",
    "Connection closed by": "its sshd closed the connection at once; are there too many, or are we not allowed?",
    "Connection reset by": "its sshd closed the connection at once; are there too many, or are we not allowed?",
    "Bad owner or permissions on": "ssh's own settings have wrong permissions: others may write them (chmod go-w)",
}
