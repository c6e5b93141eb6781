"""A base made of Debian's own packages, without a registry: glibc, libstdc++, Python, and nothing that runs else.

mmdebstrap fetches and unpacks the packages; none of their scripts run. What a service has no use for is left out:
every program but Python, so there is no shell; documentation but for the licences; all that tells where or when it
was made. What scanners for vulnerabilities look for, the packages' own descriptions, is in /var/lib/dpkg/status.d.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from fieldwave.errors import InputError, NotFoundError, StorageError
from fieldwave.images.inside import USER
from fieldwave.images.lock import ARCHITECTURES, PYTHON
from fieldwave.images.wheels import Progress

__all__ = ["PACKAGES", "SUITE", "make_debian"]

SUITE = "bookworm"
"""Debian 12: its Python is that of the runtime's wheels."""
PACKAGES = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "base-files", "netbase")

_LEFT_OUT = re.compile(
    r"(dev|proc|sys|run|boot|media|mnt|srv|var/(cache|log|backups)|etc/(apt|dpkg|cron[^/]*|logrotate\.d)"
    r"|usr/share/(man|locale|info|lintian|bug|groff|perl5|polkit-1|dpkg|base-files|pixmaps|common-licenses/GFDL.*)"
    r"|usr/lib/[^/]+/gconv|usr/(games|local|include|src)|lib/systemd|var/lib/(apt|dpkg/(?!status\.d).*))/.+"
    r"|(usr/)?s?bin/(?!python3).+|etc/(resolv\.conf|hostname|fstab|machine-id|rmt)|usr/share/doc/.+(?<!/copyright)"
)
_NOT_USED = ("dpkg", "tar", "mawk")
"""Packages that others ask for, whose programs are left out."""
_USERS = {
    "etc/passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nfieldwave:x:{USER}:{USER}::/tmp:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nfieldwave:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_DESCRIBE = (
    'mkdir -p "$1/var/lib/dpkg/status.d"; for deb in "$1"/var/cache/apt/archives/*.deb; do '
    'dpkg-deb -f "$deb" > "$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; done'
)


def make_debian(
    path: Path,
    *,
    architecture: str = "amd64",
    suite: str = SUITE,
    mirror: str = "",
    progress: Progress = lambda what, share: None,
) -> list[str]:
    """Write the archive of a root filesystem, gzipped, and return its packages as ``name version``.

    Packages that are the same give the same archive; under another version of zlib its bytes may differ.

    Parameters:
        mirror: where the packages come from: an address, or the path of a mirror's copy for a site without a
            network; apt's usual one if not given. Nothing of it is in the archive.

    Raises:
        NotFoundError: mmdebstrap is not installed, or could not get the packages.
        StorageError: the archive cannot be written.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"no runtime for {architecture!r}; there is one for {', '.join(ARCHITECTURES)}")
    program = shutil.which("mmdebstrap")
    if program is None:
        raise NotFoundError("mmdebstrap is not installed: apt-get install mmdebstrap")
    command = [
        *(program, "--quiet", "--variant=extract", "--format=tar", f"--architectures={architecture}"),
        *(f"--include={','.join(PACKAGES)}", f"--extract-hook={_DESCRIBE}", suite, "-"),
        *([f"copy:{Path(mirror).absolute()}" if mirror.startswith(("/", ".")) else mirror] if mirror else []),
    ]
    progress(f"fetching Debian's packages ({suite})", 0.0)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "LC_ALL": "C"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            packages = _filtered(process.stdout, path, progress)
        except tarfile.TarError:
            packages = []
        except BaseException:
            process.terminate()
            path.unlink(missing_ok=True)
            raise
        complaint = process.stderr.read().decode(errors="replace")
    if process.returncode or not packages:
        path.unlink(missing_ok=True)
        lines = [line for line in complaint.splitlines() if line.startswith("E:")] or complaint.splitlines()[-1:]
        reason = lines[0].removeprefix("E:").strip() if lines else f"it ended with status {process.returncode}"
        raise NotFoundError(f"mmdebstrap could not make a base of {suite}: {reason}")
    return packages


def _filtered(stream: IO[bytes], path: Path, progress: Progress) -> list[str]:
    packages: list[str] = []
    try:
        with path.open("xb") as file:
            zipped = _Gzip(file)
            with (
                tarfile.open(fileobj=stream, mode="r|") as source,
                tarfile.open(fileobj=cast("IO[bytes]", zipped), mode="w|", format=tarfile.PAX_FORMAT) as target,
            ):
                for number, (member, data) in enumerate(_members(source)):
                    if number % 500 == 0:
                        progress("packing the base", 0.5)
                    target.addfile(member, io.BytesIO(data))
                    if member.name.startswith("var/lib/dpkg/status.d/"):
                        packages.append(_described(data.decode()))
            zipped.finish()
    except FileExistsError:
        raise StorageError(f"{path} is there already; choose another file") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    return sorted(packages)


def _members(source: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """What is kept, as it is to be written: all of root's, at the time 0, with the packages' modes."""
    for name, text in _USERS.items():
        member = tarfile.TarInfo(name)
        member.size = len(text)
        yield member, text.encode()
    for member in source:
        member.name = member.name.removeprefix("./")
        unused = member.name.removeprefix("var/lib/dpkg/status.d/") in _NOT_USED
        if member.name in (".", "") or member.name in _USERS or unused or _LEFT_OUT.fullmatch(member.name):
            continue
        if member.islnk():
            member.linkname = member.linkname.removeprefix("./")
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        member.pax_headers = {}
        content = source.extractfile(member) if member.isfile() else None
        yield member, content.read() if content else b""


def _described(control: str) -> str:
    fields = dict(line.partition(": ")[::2] for line in control.splitlines() if ": " in line and line[0] != " ")
    return f"{fields.get('Package', '?')} {fields.get('Version', '?')}"


class _Gzip:
    """A file that is gzipped as it is written, without a name or time in its header."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zlib.compressobj(9, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> int:
        self._file.write(self._compressor.compress(data))
        return len(data)

    def finish(self) -> None:
        self._file.write(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
