"""What a job costs beside the work itself, and how fast many of them are listed.

::

    python benchmarks/jobs.py --write

Compared are a conversion of the digits network as a job and the same in a Python process that does nothing else,
in turns: what else the machine does meets both alike. Prints one line of JSON; ``--write`` keeps it in
``benchmarks/results/jobs.json`` as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fieldwave import zoo
from fieldwave.jobs import Jobs, begin, convert
from fieldwave.jobs.state import JobFolder
from fieldwave.workspace import Workspace

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests import scripted_work  # noqa: E402

RESULTS = PROJECT / "benchmarks" / "results" / "jobs.json"
JOBS = 1000
IDLE_SECONDS = 20.0
ALONE = """
import sys
from fieldwave.conversion import convert
convert("digits", calibration=sys.argv[1], output=sys.argv[2])
"""


def figures(folder: Path, rounds: int) -> dict[str, Any]:
    """All of them."""
    workspace, photos = Workspace.create(folder), folder / "photos"
    photos.mkdir()
    for index, pixels in enumerate(zoo.digits_images().calibration_images[:4]):
        (photos / f"{index}.png").write_bytes(zoo.digit_png(pixels))
    begun, jobs, alone = [], [], []
    for number in range(rounds):
        seconds, operation = timed(lambda: convert("digits", calibration=photos, workspace=workspace))
        begun.append(seconds)
        rest, succeeded = timed(operation.wait_for_completion)
        assert succeeded, operation.error
        jobs.append(seconds + rest)
        command = [sys.executable, "-c", ALONE, str(photos), str(folder / f"{number}.zip")]
        alone.append(timed(lambda command=command: subprocess.run(command, check=True))[0])
    return {
        "begin_seconds": round(statistics.median(begun), 3),
        "job_seconds": round(statistics.median(jobs), 3),
        "alone_seconds": round(statistics.median(alone), 3),
        "overhead_seconds": round(statistics.median(j - a for j, a in zip(jobs, alone, strict=True)), 3),
        **supervised(workspace, rounds),
        **listed(workspace),
        "rounds": rounds,
    }


def supervised(workspace: Workspace, rounds: int) -> dict[str, float]:
    """What the supervisor takes while its worker works, and how long cancelling takes."""
    begin._COMMAND = scripted_work.SUPERVISE
    cancelled = []
    for number in range(rounds):
        arguments = {"behaviour": "hang"}
        operation = begin.start(workspace, kind="hang", work=scripted_work.NAME, arguments=arguments)
        next(line for line in operation.logs(follow=True) if line.endswith("hanging"))
        if number == 0:
            pid = JobFolder(operation.folder).leader()
            before = processor_seconds(pid)
            time.sleep(IDLE_SECONDS)
            share = (processor_seconds(pid) - before) / IDLE_SECONDS
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        cancelled.append(timed(operation.cancel)[0])
    return {
        "supervisor_megabytes": round(kilobytes / 1000, 1),
        "supervisor_processor_percent": round(100 * share, 2),
        "cancel_seconds": round(statistics.median(cancelled), 3),
    }


def listed(workspace: Workspace) -> dict[str, float]:
    """The list of many jobs."""
    jobs = Jobs(workspace)
    one = jobs.get().folder
    for number in range(JOBS):
        shutil.copytree(one, one.with_name(f"20250102-030405-{number:05x}"))
    assert len(jobs.list()) >= JOBS
    return {
        "list_1000_seconds": round(statistics.median(timed(jobs.list)[0] for _ in range(5)), 3),
        "list_newest_20_seconds": round(statistics.median(timed(lambda: jobs.list(20))[0] for _ in range(5)), 4),
    }


def processor_seconds(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = what()
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        found = {**figures(Path(name), options.rounds), "load_before": load}
    print(json.dumps(found))
    if options.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
