"""Work for the tests of jobs: real processes that do what a test tells them, up in a blink.

``scripted_work.py supervise FOLDER`` and ``scripted_work.py work FOLDER`` are the supervisor and the worker of
Fieldwave, for this work. What it stores is a file in the workspace, named by the job.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fieldwave.errors import InputError, NotFoundError
from fieldwave.jobs.job import Job
from fieldwave.jobs.state import Spec
from fieldwave.workspace import Workspace

NAME = "fieldwave.scripted_work"
SUPERVISE = [sys.executable, "-P", __file__, "supervise"]


def run(job: Job) -> str:
    behaviour, stored = job.arguments["behaviour"], job.workspace.root / f"{job.id}.result"
    (job.folder / "half").write_bytes(b"half of it")
    job.progress("beginning", 0.0)
    job.progress("going on", 0.5)
    if behaviour == "raise":
        raise InputError("the network is broken")
    if behaviour == "defect":
        raise ZeroDivisionError("by zero")
    if behaviour == "memory":
        raise MemoryError
    if behaviour == "silent":
        os._exit(0)
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "bell":
        job.log("\a\x1b[2Jgone")
    if behaviour == "flood":
        for line in range(30_000):
            print(f"line {line} " + "x" * 90)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        behaviour = "hang"
    if behaviour == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        job.log(f"child {child.pid}")
        behaviour = "hang"
    if behaviour == "environment":
        job.log(f"cwd={os.getcwd()} descriptors={sorted(map(int, os.listdir('/dev/fd')))[3:-1]}")
        with subprocess.Popen(["ls", "/dev/fd"], stdout=subprocess.PIPE, text=True) as listing:
            job.log(f"child {sorted(listing.communicate()[0].split())}")
    if behaviour == "fill":
        (job.folder / "much").write_bytes(bytes(64_000_000))
    if behaviour == "hang":
        job.log("hanging")
        time.sleep(600)
    if behaviour == "lines":
        for number in range(3):
            job.log(f"line {number}")
            while not (job.workspace.root / f"go{number}").exists():
                time.sleep(0.005)
    if behaviour.startswith("pauses"):
        time.sleep(float(behaviour.split()[1]))
    job.commit()
    if behaviour.startswith("pauses"):
        time.sleep(float(behaviour.split()[2]))
    if behaviour == "commit":
        job.log("committing")
        while not (job.workspace.root / "go").exists():
            time.sleep(0.005)
    stored.write_text("stored")
    if behaviour.startswith("pauses"):
        time.sleep(float(behaviour.split()[3]))
    if behaviour == "stored":
        job.log("stored")
        time.sleep(600)
    return f"{stored.name}"


def settle(workspace: Workspace, spec: Spec) -> str:
    stored = workspace.root / f"{spec.id}.result"
    return stored.name if stored.exists() else ""


def result(workspace: Workspace, reference: str) -> str:
    try:
        return (workspace.root / reference).read_text()
    except FileNotFoundError:
        raise NotFoundError(f"{reference} was deleted") from None


if __name__ == "__main__":
    from fieldwave.jobs import supervisor, worker

    sys.modules[NAME] = sys.modules["__main__"]
    role = sys.argv.pop(1)
    if role == "work":
        worker.leave(worker.main())
    supervisor._WORKER = [sys.executable, "-P", str(Path(__file__)), "work"]
    supervisor.main()
