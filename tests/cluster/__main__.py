"""``python -m tests.cluster FOLDER``: a cluster to try things on, until it is interrupted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.cluster.real import MISSING, running


def main() -> None:
    if MISSING:
        sys.exit(MISSING)
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder) as here:
        print(
            f"export FIELDWAVE_TEST_KUBECONFIG={here.kubeconfig} FIELDWAVE_TEST_REGISTRY={here.registry}",
            flush=True,
        )
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # one at the start is not lost
    main()
