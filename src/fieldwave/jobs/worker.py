"""The process that does a job's work: ``python -m fieldwave.jobs.worker FOLDER``."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from fieldwave.errors import FieldwaveError
from fieldwave.jobs.job import Job, load_work
from fieldwave.jobs.state import JobFolder
from fieldwave.processes.child import one_line
from fieldwave.processes.lock import inherited
from fieldwave.processes.report import say

__all__ = ["leave", "main"]


def main() -> int:
    folder = JobFolder(Path(sys.argv[1]))
    if (lock := inherited(folder.lock)) is not None:
        os.set_inheritable(lock, False)  # the job's end is ours, not that of what we start
    try:
        spec = folder.read_spec()
        result = load_work(spec.work).run(Job(folder, spec))
    except FieldwaveError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        say(error=one_line(str(error)))
        return 1
    except (OSError, MemoryError) as error:
        traceback.print_exc()
        what = error.strerror or str(error) if isinstance(error, OSError) else "the machine ran out of memory"
        say(error=one_line(what))
        return 1
    except BaseException as error:
        traceback.print_exc()
        say(error=f"{one_line(f'{type(error).__name__}: {error}')} (a defect; its log shows where)")
        return 1
    say(result=result)
    return 0


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter down, which costs seconds where TensorFlow is in it."""
    atexit._run_exitfuncs()  # temporary files
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
