"""docs/kubernetes.md says what is so: the settings, and what a user needs to be allowed."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes import ClusterSpec
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.settings import SETTINGS
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import HostError, NotFoundError, ServiceError
from fieldwave.workspace import Workspace
from tests.cluster import Cluster, serving

DOCUMENT = (Path(__file__).parents[1] / "docs" / "kubernetes.md").read_text()
IMAGE = "registry.example/digits@sha256:" + "1" * 64
OTHER = "registry.example/digits@sha256:" + "2" * 64


def test_every_setting_is_described_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", DOCUMENT, re.MULTILINE)
    assert [name for name, _ in rows] == list(SETTINGS)
    spec = ClusterSpec("any", IMAGE)
    for name, default in rows:
        value = getattr(spec, name)
        assert default == ("" if value in ("", (), None) else str(value).lower() if value is False else str(value))


def test_the_role_allows_what_is_asked_for_and_no_more(tmp_path: Path) -> None:
    (role,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    allowed = {
        (group, resource): set(rule["verbs"])
        for rule in yaml.safe_load(role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    cluster = Cluster()
    with serving(cluster, tmp_path) as path:
        compute = Compute("lab", "kubernetes", kubeconfig=str(path), namespace="vision")
        workspace = Workspace(tmp_path)
        target = KubernetesTarget(compute, workspace, tls_secret="t", most_replicas=3, gateway="vision/public")
        target._patience = Patience(poll=0.01)
        target.deploy(IMAGE, "digits")
        target.update("digits", OTHER)
        list(target.logs("digits"))
        with contextlib.suppress(ServiceError, HostError):  # there is nothing behind it
            target.get("digits").client()
        target.regenerate_key("digits", "primary")
        cluster.stuck = True
        target.delete("digits", timeout=0.05)
        with pytest.raises(NotFoundError):
            target.get("digits")
    asked = defaultdict(set)
    for method, address, query in cluster.requests:
        found = re.fullmatch(
            r"/apis?(?:/([^/]+))?/v\d/namespaces/vision/(\w+)(/[-\w]+)?(/log|/portforward)?", address
        )
        if found is None or found[2] == "gateways":
            continue  # discovery, which everybody may, and the Gateway, which need not be seen
        group, resource, name, log = found.groups(default="")
        asked[group, resource + log] |= _verbs(method, bool(name), query)
        if log == "/portforward":  # WebSockets are GET; from 1.35 on the server wants both verbs
            asked[group, resource + log] |= {"create"}
    assert dict(asked) == allowed


def _verbs(method: str, named: bool, query: dict[str, str]) -> set[str]:
    if method == "GET":
        return {"get" if named else "list"}
    if method == "PATCH":  # to apply what is not there is to create it
        return {"patch", "create"} if query.get("force") else {"patch"}
    return {{"POST": "create", "DELETE": "delete"}[method]}
