"""A serving process for the tests of supervision: real, and up in a blink.

``deploy_child.py BEHAVIOUR FOLDER`` listens on its port and answers each connection with its process id, the
device and the package that it serves. The device ``rtl:tiny`` does not come up, ``rtl:sim16`` beats; packages of
the networks bad, deadly and deaf are refused, kill, and go without an answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path

from fieldwave.deploy.orders import read_orders
from fieldwave.processes.report import report, say

behaviour = sys.argv[1]
assignment, orders = read_orders()
if behaviour == "silent":
    sys.exit(4)
print(f"behaviour {behaviour}")
print("")
if behaviour == "broken":
    print("Traceback and so on", file=sys.stderr)
    print("ValueError: the network is broken", file=sys.stderr)
    sys.exit(3)
if behaviour == "reporting":
    report("the device is away;\n look for it")
    print("noise at the end")
    sys.exit(1)
if behaviour == "hanging":
    time.sleep(600)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "flooding":
    for line in range(30_000):
        print(f"line {line} " + "x" * 90)


def drain(*_: object) -> None:
    print("drained")
    sys.exit(0)


if behaviour in ("serving", "flooding", "environment"):
    signal.signal(signal.SIGTERM, drain)
if assignment.device == "rtl:tiny":
    report("the device is away")
    sys.exit(1)
if (Path(sys.argv[2]) / "full").exists():
    say(waiting="1 NPU, held by service a")
    report("no NPU is free: 1 NPU, held by service a")
    sys.exit(1)
serves = Path(assignment.package)


def follow() -> None:
    global serves
    for order in orders:
        label = json.loads(zipfile.ZipFile(order.package).read("manifest.json"))["network"]
        if label == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if label == "deaf":
            continue
        if label == "bad":
            say(order=order.number, refused="it does not fit")
            continue
        serves = Path(order.package)
        say(order=order.number, refused="")


def beat() -> None:
    while True:
        trouble = Path(sys.argv[2]) / "trouble"
        say(beat=trouble.read_text() if trouble.exists() else "")
        time.sleep(0.05)


threading.Thread(target=follow, daemon=True).start()
if assignment.device == "rtl:sim16":
    threading.Thread(target=beat, daemon=True).start()
with socket.create_server((assignment.host, assignment.port)) as server:
    if behaviour == "environment":
        for name in ("COLOUR", "PYTHONPATH"):
            print(f"{name}={os.environ.get(name)}")
        print(f"cwd={os.getcwd()} session={os.getsid(0) == os.getpgrp() == os.getppid()}")
        print(f"descriptors={sorted(map(int, os.listdir('/proc/self/fd')))[:-1]}")
    report()
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(f"{os.getpid()} {assignment.device} {serves.name}".encode())
