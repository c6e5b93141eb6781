"""One pod that podman runs, looked after by a thread."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.kubelet import status
from tests.cluster.probes import Probe
from tests.cluster.volumes import show_secret
from tests.containers import Podman

if TYPE_CHECKING:
    from tests.cluster.state import Cluster

__all__ = ["RealPod"]

Object = dict[str, Any]
_LOOK_SECONDS = 0.1
_SECRETS_SECONDS = 60.0
"""How often a kubelet looks at Secrets by itself; when the pod changes, it does so at once."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 300.0
_LEFT_OUT = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "terminationMessagePolicy")


class RealPod:
    """A pod from when it is bound to the node until nothing of it is left.

    Attributes:
        pid: of its container's first process; 0 while there is none.
        processors: how many it has used lately.
        is_over: whether nothing of it is left.
    """

    def __init__(self, podman: Podman, cluster: Cluster, pod: Object, folder: Path) -> None:
        self.name = str(pod["metadata"]["name"])
        self.pid = 0
        self.processors = 0.0
        self.is_over = False
        self._podman = podman
        self._cluster = cluster
        self._pod = copy.deepcopy(pod)
        self._container = self._pod["spec"]["containers"][0]
        self._folder = folder
        self._status = status(self._container, state={"waiting": {"reason": "ContainerCreating"}})
        self._seen = ""
        self._shown: dict[str, str] = {}
        self._shown_at = 0.0
        self._going = threading.Event()
        self._at_once = False
        self._address = ""
        self._restarts = 0
        self._ready_since: tuple[bool, str] = (False, "")
        self._last: Object | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def full_name(self) -> str:
        """The container's name, as podman has it."""
        return f"{self.name}-{self._container['name']}"

    def look_at(self, pod: Object) -> None:
        """Say how it is, and take note that the pod was changed."""
        if pod["metadata"]["resourceVersion"] != self._seen:
            self._seen = pod["metadata"]["resourceVersion"]
            self._shown_at = 0.0
        pod["status"] = self._status

    def end(self, at_once: bool = False) -> None:
        """Tell it to go."""
        self._at_once = self._at_once or at_once
        self._going.set()

    def _run(self) -> None:
        try:
            if self._pulled():
                self._show_secrets()
                self._play()
                self._look_after()
        except Exception as error:  # what no container came of
            waiting = {"reason": "CreateContainerError", "message": f"{error}"}
            self._status = status(self._container, state={"waiting": waiting})
            self._going.wait()
        finally:
            self._clear()

    def _pulled(self) -> bool:
        """Whether the image is there; False if the pod is to go before it is."""
        backoff, image = _FIRST_BACKOFF, self._container["image"]
        while not self._going.is_set():
            if (
                subprocess.run(
                    [*self._podman.command, "image", "exists", image], env=self._podman.environment
                ).returncode
                == 0
            ):
                return True
            done = subprocess.run(
                [*self._podman.command, "pull", "--quiet", "--tls-verify=false", image],
                env=self._podman.environment,
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return True
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            waiting = {"reason": "ErrImagePull", "message": reason}
            self._status = status(self._container, state={"waiting": waiting})
            if not self._going.wait(1.0):
                message = f'Back-off pulling image "{image}": {reason}'
                waiting = {"reason": "ImagePullBackOff", "message": message}
                self._status = status(self._container, state={"waiting": waiting})
            self._going.wait(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF)
        return False

    def _play(self) -> None:
        described = self._folder / "pod.json"
        described.write_text(json.dumps(self._for_podman()))
        self._podman("play", "kube", "--network", self._podman.network, str(described))
        infra = json.loads(self._podman("pod", "inspect", self.name))["InfraContainerID"]
        (network,) = self._podman.inspect(infra)["NetworkSettings"]["Networks"].values()
        self._address = network["IPAddress"]

    def _for_podman(self) -> Object:
        """The pod without what is done here; volumes are folders of this machine."""
        spec = copy.deepcopy(self._pod["spec"])
        for name in ("nodeName", "nodeSelector", "tolerations", "topologySpreadConstraints", "imagePullSecrets"):
            spec.pop(name, None)
        for container in spec["containers"]:
            for name in _LEFT_OUT:
                container.pop(name, None)
            # podman would publish all of them on this machine.
            container["ports"] = [one for one in container.get("ports", ()) if "hostPort" in one]
            for amounts in container.get("resources", {}).values():
                for name in [one for one in amounts if "/" in one]:
                    del amounts[name]
        for volume in spec.get("volumes", ()):
            path = self._folder / volume["name"]
            path.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                path.chmod(0o2777)
            name = volume["name"]
            volume.clear()
            volume |= {"name": name, "hostPath": {"path": str(path), "type": "Directory"}}
        spec["restartPolicy"] = "Never"
        meta = {"name": self.name, "labels": self._pod["metadata"].get("labels", {})}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    def _show_secrets(self) -> None:
        self._shown_at = time.monotonic()
        group = self._pod["spec"].get("securityContext", {}).get("fsGroup", 0)
        for volume in self._pod["spec"].get("volumes", ()):
            if "secret" not in volume:
                continue
            name = volume["secret"]["secretName"]
            while (found := self._secret(name)) is None:
                message = f'MountVolume.SetUp failed for volume "{volume["name"]}": secret "{name}" not found'
                waiting = {"reason": "ContainerCreating", "message": message}
                self._status = status(self._container, state={"waiting": waiting})
                if self._going.wait(1.0):
                    raise RuntimeError(message)
            version, data = found
            if self._shown.get(name) != version:
                self._shown[name] = version
                show_secret(self._folder / volume["name"], data, volume["secret"].get("defaultMode", 0o644), group)

    def _secret(self, name: str) -> tuple[str, dict[str, str]] | None:
        with self._cluster.lock:
            found = self._cluster.find("Secret", name, self._pod["metadata"]["namespace"])
            return None if found is None else (found["metadata"]["resourceVersion"], dict(found["data"]))

    def _look_after(self) -> None:
        backoff = 0.0
        while True:
            ended = self._live()
            if ended is None:
                return
            self._last = {"terminated": ended}
            if backoff:
                message = f"back-off {backoff:g}s restarting failed container={self._container['name']}"
                waiting = {"reason": "CrashLoopBackOff", "message": message}
                self._say(state={"waiting": waiting})
                if self._going.wait(backoff):
                    return
            backoff = min(2 * backoff, _LONGEST_BACKOFF) or _FIRST_BACKOFF
            self._restarts += 1
            self._podman("start", self.full_name)

    def _live(self) -> Object | None:
        """One life of the container: how it ended, or None if the pod is to go."""
        self.pid = int(self._podman.inspect(self.full_name)["State"]["Pid"])
        started, ready = "startupProbe" not in self._container, "readinessProbe" not in self._container
        probes = {name: Probe(said) for name, said in self._container.items() if name.endswith("Probe")}
        while not self._going.wait(_LOOK_SECONDS):
            if not self._is_alive():
                return self._ended()
            if time.monotonic() - self._shown_at >= _SECRETS_SECONDS:
                self._show_secrets()
            if not started:
                started = self._asked(probes["startupProbe"]) and probes["startupProbe"].has_succeeded
                if not started and probes["startupProbe"].has_failed:
                    self._kill()
            elif "readinessProbe" in probes and probes["readinessProbe"].is_due():
                probes["readinessProbe"].ask(self._address)
                ready = probes["readinessProbe"].has_succeeded or (
                    ready and not probes["readinessProbe"].has_failed
                )
            if started and "livenessProbe" in probes and probes["livenessProbe"].is_due():
                probes["livenessProbe"].ask(self._address)
                if probes["livenessProbe"].has_failed:
                    self._kill()
            self._say(started=started, ready=started and ready)
        return None

    def _asked(self, probe: Probe) -> bool:
        return probe.is_due() and probe.ask(self._address)

    def _say(self, *, ready: bool = False, started: bool = False, state: Object | None = None) -> None:
        from tests.cluster.state import now

        if self._ready_since[0] != ready or not self._ready_since[1]:
            self._ready_since = ready, now()
        self._status = status(
            self._container,
            ready=ready,
            started=started,
            restarts=self._restarts,
            state=state,
            last=self._last,
            address=self._address,
            since=self._ready_since[1],
        )

    def _is_alive(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def _ended(self) -> Object:
        """How it ended; the end of its log is the message, as ``FallbackToLogsOnError`` wants it."""
        deadline = time.monotonic() + 10
        while (state := self._podman.inspect(self.full_name)["State"])["Running"] and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        self.pid = 0
        code = int(state["ExitCode"])
        said = self._podman("logs", "--tail", "80", self.full_name, check=False, both=True)
        reason = "OOMKilled" if state["OOMKilled"] else "Error" if code else "Completed"
        return {"exitCode": code, "reason": reason, **({"message": said[-2048:]} if code else {})}

    def _kill(self) -> None:
        self._podman("stop", "--time", f"{self._grace}", self.full_name, check=False)

    @property
    def _grace(self) -> int:
        return int(self._pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _clear(self) -> None:
        """The farewell, then SIGTERM, then what is left of the time, then the end."""
        grace, start = self._grace, time.monotonic()
        farewell = self._container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if farewell and self.pid and self._is_alive() and not self._at_once:
            self._podman("exec", self.full_name, *farewell, check=False, timeout=grace + 10)
        left = 0 if self._at_once else max(grace - int(time.monotonic() - start), 1)
        self._podman("pod", "stop", "--time", f"{left}", self.name, check=False, timeout=left + 60)
        self._podman("pod", "rm", "--force", "--time", "0", self.name, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
        self.is_over = True
