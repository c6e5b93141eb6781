from __future__ import annotations

import pytest

from fieldwave.compute.device_plugin import daemon_set
from tests.kubernetes_schemas import VERSIONS, errors

SERVED = daemon_set("registry.example/digits@sha256:0", node_selector={"accelerator": "u250"})


@pytest.mark.parametrize("version", VERSIONS)
def test_the_daemon_set_is_valid_by_the_strict_schema(version: str) -> None:
    assert errors(SERVED, version) == []


def test_the_plugin_has_no_more_rights_than_it_needs() -> None:
    pod = SERVED["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(pod)
    [container] = pod["containers"]
    security = container["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in security
    writable = [one["mountPath"] for one in container["volumeMounts"] if not one["readOnly"]]
    assert writable == ["/var/lib/kubelet/device-plugins", "/run/lock/fieldwave"]
