from __future__ import annotations

import base64
import dataclasses
import itertools
from typing import Any

import pytest

from fieldwave.deploy.kubernetes import EVERYTHING, ClusterSpec, Offers, make_manifest
from fieldwave.deploy.kubernetes.offers import parse_version
from fieldwave.deploy.kubernetes.secret import keys_of
from fieldwave.errors import InputError, StorageError
from fieldwave.keys import Keys
from fieldwave.serving import ServeOptions
from tests import kubernetes_schemas
from tests.kubernetes_schemas import VERSIONS

IMAGE = "registry.example/vision/digits@sha256:" + "0123456789abcdef" * 4
KEYS = Keys("p" * 43, "s" * 43)
SPEC = ClusterSpec(
    "digits",
    IMAGE,
    tls_secret="digits-tls",
    package="sha256:" + "ab" * 32,
    model="digits:3@sha256:" + "cd" * 32,
    network="digits",
)
NPUS = dataclasses.replace(SPEC, device="board")
FULL = dataclasses.replace(
    NPUS,
    namespace="vision",
    replicas=2,
    most_replicas=5,
    client_ca=True,
    host_port=50051,
    host_address="192.0.2.1",
    gateway="edge/public",
    clients=("shop", "camera"),
    node_selector={"fieldwave.dev/board": "kv260"},
    pull_secret="registry",
    architecture="arm64",
)
SPECS = (
    SPEC,
    NPUS,
    FULL,
    dataclasses.replace(SPEC, replicas=3),
    dataclasses.replace(SPEC, keys=False, tls_secret="", clients=("*",)),
)


def kinds(spec: ClusterSpec, offers: Offers = EVERYTHING, keys: Keys | None = KEYS) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in make_manifest(spec, offers, keys).objects}


def pod(spec: ClusterSpec, offers: Offers = EVERYTHING) -> dict[str, Any]:
    found: dict[str, Any] = kinds(spec, offers)["Deployment"]["spec"]["template"]["spec"]
    return found


def container(spec: ClusterSpec, offers: Offers = EVERYTHING) -> dict[str, Any]:
    (found,) = pod(spec, offers)["containers"]
    return dict(found)


def settings(spec: ClusterSpec) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(spec)["env"]}


def offers_of(version: str) -> Offers:
    return Offers(parse_version(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_by_the_strict_schemas(version: str) -> None:
    seen = set()
    for spec in SPECS:
        for one in make_manifest(spec, offers_of(version), KEYS).objects:
            assert kubernetes_schemas.errors(one, version) == []
            seen.add(one["kind"])
    assert seen == {
        "Deployment",
        "GRPCRoute",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
    }


def test_the_schemas_find_what_is_wrong() -> None:
    wrong = kinds(FULL)["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["often"] = True
    wrong["spec"]["replicas"] = "three"
    assert kubernetes_schemas.errors(wrong, "1.30") == [
        "Deployment $.spec.replicas: 'three' is not of type 'integer', 'null'",
        "Deployment $.spec.template.spec.containers[0].livenessProbe: "
        "Additional properties are not allowed ('often' was unexpected)",
    ]
    route = kinds(FULL)["GRPCRoute"]
    route["spec"]["rules"][0]["matches"][0]["headers"][0]["type"] = "Prefix"
    assert len(kubernetes_schemas.errors(route, "1.30")) == 1


def test_the_service_comes_first_and_the_secret_before_the_pods() -> None:
    order = [one["kind"] for one in make_manifest(FULL, EVERYTHING, KEYS).objects]
    assert order == [
        "Service",
        "Secret",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Deployment",
        "HorizontalPodAutoscaler",
        "GRPCRoute",
    ]


def test_every_object_has_the_recommended_labels_and_the_namespace() -> None:
    labels = {
        "app.kubernetes.io/name": "fieldwave",
        "app.kubernetes.io/instance": "digits",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/managed-by": "fieldwave",
        "app.kubernetes.io/version": "3",
    }
    for one in make_manifest(FULL, EVERYTHING, KEYS).objects:
        assert one["metadata"]["labels"] == labels
        assert one["metadata"]["namespace"] == "vision"
    for one in make_manifest(SPEC, EVERYTHING, KEYS).objects:
        assert "namespace" not in one["metadata"]
    template = kinds(FULL)["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"] == labels


def test_selectors_pick_the_pods_and_never_change_with_the_version() -> None:
    expected = {"app.kubernetes.io/name": "fieldwave", "app.kubernetes.io/instance": "digits"}
    every = kinds(FULL)
    assert every["Deployment"]["spec"]["selector"]["matchLabels"] == expected
    assert every["Service"]["spec"]["selector"] == expected
    assert every["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == expected
    assert every["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == expected
    (spread,) = pod(FULL)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == expected


def test_pods_say_what_they_serve() -> None:
    deployment = kinds(SPEC)["Deployment"]
    said = {
        "fieldwave.dev/package": "sha256:" + "ab" * 32,
        "fieldwave.dev/model": "digits:3@sha256:" + "cd" * 32,
        "fieldwave.dev/network": "digits",
        "fieldwave.dev/device": "cpu",
    }
    template = deployment["spec"]["template"]["metadata"]["annotations"]
    assert template == {"kubectl.kubernetes.io/default-container": "server", **said}
    kept = dict(deployment["metadata"]["annotations"])
    assert ClusterSpec.from_json(kept.pop("fieldwave.dev/spec")) == SPEC
    assert kept == {"kubernetes.io/change-cause": "digits:3 on cpu", **said}


@pytest.mark.parametrize("spec", SPECS)
def test_a_description_survives_its_annotation(spec: ClusterSpec) -> None:
    assert ClusterSpec.from_json(spec.to_json()) == spec


def test_a_description_of_a_newer_fieldwave_is_read_and_a_damaged_one_is_not() -> None:
    assert ClusterSpec.from_json(SPEC.to_json()[:-1] + ', "colour": "red"}') == SPEC
    for text in ("", "[]", "{}", '{"name": "digits"}', '{"name": "digits", "image": "digits:1"}'):
        with pytest.raises(StorageError, match=r"^the description of the service is damaged: "):
            ClusterSpec.from_json(text)


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({"device": "board"}, {"type": "Recreate"}),
        ({"npus": 1}, {"type": "Recreate"}),
        ({"host_port": 50051}, {"type": "Recreate"}),
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"replicas": 2}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        (
            {"device": "board", "replicas": 2},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
        (
            {"device": "board", "most_replicas": 2},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
    ],
)
def test_no_pod_waits_for_what_its_predecessor_holds(changes: dict[str, Any], strategy: dict[str, Any]) -> None:
    spec = dataclasses.replace(SPEC, **changes)
    assert kinds(spec)["Deployment"]["spec"]["strategy"] == strategy


def test_scaling_leaves_the_pods_alone() -> None:
    one, more = (dataclasses.replace(NPUS, replicas=number) for number in (1, 3))
    assert kinds(one)["Deployment"]["spec"]["template"] == kinds(more)["Deployment"]["spec"]["template"]


def test_an_npu_is_asked_for_in_whole_and_its_nodes_are_tolerated() -> None:
    expected = {"cpu": "2", "memory": "2Gi", "fieldwave.dev/npu": "1"}
    assert container(NPUS)["resources"] == {"requests": expected, "limits": expected}
    assert pod(NPUS)["tolerations"] == [{"key": "fieldwave.dev/npu", "operator": "Exists", "effect": "NoSchedule"}]
    assert container(SPEC)["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    assert "tolerations" not in pod(SPEC)
    other = dataclasses.replace(NPUS, resource="amd.com/xilinx_u30", npus=2)
    assert container(other)["resources"]["limits"]["amd.com/xilinx_u30"] == "2"


@pytest.mark.parametrize("spec", SPECS)
def test_the_container_may_do_nothing_but_compute(spec: ClusterSpec) -> None:
    one = pod(spec)
    assert one["automountServiceAccountToken"] is False
    assert one["enableServiceLinks"] is False
    assert one["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(spec)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & one.keys()
    assert not any("hostPath" in volume for volume in one["volumes"])


def test_the_settings_are_those_of_serve() -> None:
    assert settings(FULL) == {
        "FIELDWAVE_NAME": "digits",
        "FIELDWAVE_DEVICE": "board",
        "FIELDWAVE_HOST": "0.0.0.0",
        "FIELDWAVE_GRPC_PORT": "50051",
        "FIELDWAVE_PROBE_PORT": "50052",
        "FIELDWAVE_KEYS": "/etc/fieldwave/keys",
        "FIELDWAVE_TLS_CERT": "/etc/fieldwave/tls/tls.crt",
        "FIELDWAVE_TLS_KEY": "/etc/fieldwave/tls/tls.key",
        "FIELDWAVE_CLIENT_CA": "/etc/fieldwave/tls/ca.crt",
    }


@pytest.mark.parametrize(("keys", "tls"), [*itertools.product([True, False], ["", "digits-tls"])])
def test_insecure_is_said_where_keys_or_tls_are_missing(keys: bool, tls: str) -> None:
    spec = dataclasses.replace(SPEC, keys=keys, tls_secret=tls)
    said = settings(spec)
    assert ("FIELDWAVE_INSECURE" in said) is not (keys and bool(tls))
    assert ("FIELDWAVE_KEYS" in said) is keys
    assert ("FIELDWAVE_TLS_CERT" in said) is bool(tls)
    names = {volume["name"] for volume in pod(spec)["volumes"]}
    assert names == {"digits-tmp"} | ({"keys"} if keys else set()) | ({"tls"} if tls else set())
    assert {mount["name"] for mount in container(spec)["volumeMounts"]} == names
    assert ("Secret" in kinds(spec)) is keys


def test_keys_are_mounted_whole_for_the_group_of_the_server_only() -> None:
    volumes = {volume["name"]: volume for volume in pod(SPEC)["volumes"]}
    assert volumes["keys"]["secret"] == {"secretName": "digits-keys", "defaultMode": 0o440, "optional": False}
    assert volumes["tls"]["secret"] == {"secretName": "digits-tls", "defaultMode": 0o440, "optional": False}
    assert not any("subPath" in mount for mount in container(SPEC)["volumeMounts"])


def test_claims_stand_where_podman_needs_volumes() -> None:
    spec = dataclasses.replace(SPEC, claims=True)
    volumes = {volume["name"]: volume for volume in pod(spec)["volumes"]}
    assert volumes["keys"]["persistentVolumeClaim"] == {"claimName": "digits-keys", "readOnly": True}
    assert volumes["tls"]["persistentVolumeClaim"] == {"claimName": "digits-tls", "readOnly": True}
    assert "Secret" not in kinds(spec)
    for one in make_manifest(spec).objects:
        assert kubernetes_schemas.errors(one, "1.27") == []


def test_pods_run_where_their_image_can() -> None:
    assert pod(SPEC)["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod(FULL)["nodeSelector"] == {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64",
        "fieldwave.dev/board": "kv260",
    }


def test_only_the_port_for_callers_is_named() -> None:
    assert container(SPEC)["ports"] == [{"name": "grpc", "containerPort": 50051, "protocol": "TCP"}]
    assert container(FULL)["ports"] == [
        {"name": "grpc", "containerPort": 50051, "protocol": "TCP", "hostPort": 50051, "hostIP": "192.0.2.1"}
    ]


def test_a_secret_holds_both_keys_and_gives_them_back() -> None:
    secret = kinds(SPEC)["Secret"]
    assert secret["metadata"]["name"] == "digits-keys"
    assert {key: base64.b64decode(value).decode() for key, value in secret["data"].items()} == {
        "primary": KEYS.primary,
        "secondary": KEYS.secondary,
    }
    assert keys_of("digits-keys", secret["data"]) == KEYS
    assert "Secret" not in kinds(SPEC, keys=None)


@pytest.mark.parametrize("data", [None, {}, {"primary": "cA=="}, {"primary": "%", "secondary": "cA=="}])
def test_a_secret_without_two_keys_is_none(data: dict[str, str] | None) -> None:
    with pytest.raises(StorageError) as caught:
        keys_of("digits-keys", data)
    assert str(caught.value) == "the Secret 'digits-keys' does not hold two keys, 'primary' and 'secondary'"


def test_probes_ask_by_grpc_on_their_own_port_and_leave_time_to_program_a_device() -> None:
    one = container(SPEC)
    ask = {"grpc": {"port": 50052}}
    assert one["startupProbe"] == {**ask, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 150}
    assert one["readinessProbe"] == {**ask, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1}
    assert one["livenessProbe"] == {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}
    slow = dataclasses.replace(SPEC, startup_seconds=901)
    assert container(slow)["startupProbe"]["failureThreshold"] == 451
    assert kinds(slow)["Deployment"]["spec"]["progressDeadlineSeconds"] == 1201


def test_a_pod_that_goes_has_time_for_the_farewell_and_for_requests_in_hand() -> None:
    assert container(SPEC)["lifecycle"]["preStop"]["exec"]["command"][-1] == "import time; time.sleep(5)"
    options = {one.name: one.default for one in dataclasses.fields(ServeOptions)}
    assert pod(SPEC)["terminationGracePeriodSeconds"] > 5 + options["grace_seconds"]


def test_the_service_is_headless_and_says_what_it_speaks() -> None:
    plain = dataclasses.replace(SPEC, tls_secret="")
    port = {"name": "grpc", "port": 50051, "protocol": "TCP", "targetPort": "grpc"}
    assert kinds(SPEC)["Service"]["spec"]["clusterIP"] == "None"
    assert kinds(SPEC)["Service"]["spec"]["ports"] == [port]
    assert kinds(plain)["Service"]["spec"]["ports"] == [{**port, "appProtocol": "kubernetes.io/h2c"}]


def test_the_network_policy_lets_callers_in_and_nothing_out() -> None:
    policy = kinds(FULL)["NetworkPolicy"]["spec"]
    (callers,) = policy["ingress"]
    assert callers["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "camera"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}},
    ]
    assert callers["ports"] == [{"protocol": "TCP", "port": 50051}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    anyone = kinds(dataclasses.replace(SPEC, clients=("*",)))["NetworkPolicy"]["spec"]["ingress"][0]
    assert "from" not in anyone


def test_the_route_matches_the_header_of_the_retired_client() -> None:
    route = kinds(FULL)["GRPCRoute"]["spec"]
    assert route["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    (rule,) = route["rules"]
    assert rule["matches"] == [
        {"headers": [{"type": "Exact", "name": "x-ms-aml-grpc-service-route", "value": "/api/v1/service/digits"}]}
    ]
    assert rule["backendRefs"] == [{"name": "digits", "port": 50051}]
    assert "GRPCRoute" not in kinds(SPEC)


def test_http_has_a_port_of_its_own_wherever_ports_are_named() -> None:
    spec = ClusterSpec("digits", IMAGE, http=True, tls_secret="digits-tls")
    one = {each["kind"]: each for each in make_manifest(spec).objects}
    container = one["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert [port["name"] for port in container["ports"]] == ["grpc", "http"]
    assert {"name": "FIELDWAVE_HTTP_PORT", "value": "8080"} in container["env"]
    said = {"name": "http", "port": 8080, "protocol": "TCP", "targetPort": "http", "appProtocol": "https"}
    assert one["Service"]["spec"]["ports"][1] == said
    assert [port["port"] for port in one["NetworkPolicy"]["spec"]["ingress"][0]["ports"]] == [50051, 8080]
    assert [errors for each in one.values() if (errors := kubernetes_schemas.errors(each, "1.37"))] == []


def test_the_autoscaler_follows_a_metric_of_the_pods_where_one_is_named() -> None:
    spec = ClusterSpec("digits", IMAGE, most_replicas=3, scale_on="fieldwave_waiting=500m")
    (scaler,) = [one for one in make_manifest(spec).objects if one["kind"] == "HorizontalPodAutoscaler"]
    target = {"type": "AverageValue", "averageValue": "500m"}
    assert scaler["spec"]["metrics"] == [
        {"type": "Pods", "pods": {"metric": {"name": "fieldwave_waiting"}, "target": target}}
    ]
    assert kubernetes_schemas.errors(scaler, "1.37") == []


def test_the_autoscaler_owns_the_number_of_pods() -> None:
    scaler = kinds(FULL)["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert "replicas" not in kinds(FULL)["Deployment"]["spec"]
    assert kinds(SPEC)["Deployment"]["spec"]["replicas"] == 1
    assert "HorizontalPodAutoscaler" not in kinds(SPEC)


def test_what_an_old_cluster_does_not_know_is_left_out_and_said() -> None:
    old = Offers((1, 20), frozenset({"apps/v1/Deployment", "v1/Service", "v1/Secret"}))
    manifest = make_manifest(FULL, old, KEYS)
    assert [one["kind"] for one in manifest.objects] == ["Service", "Secret", "Deployment"]
    assert manifest.warnings == (
        "the cluster has no NetworkPolicy: whoever reaches the pods may call them",
        "the cluster has no policy/v1: a drain may take all replicas away at the same time",
        "the cluster has no autoscaling/v2: there will be 2 replicas, always",
        "the cluster has no GRPCRoute: install Gateway API 1.1 or later to call through a Gateway",
        "the cluster does not label namespaces by itself: label those of callers and of the Gateway",
        "the cluster has no probes by gRPC: a pod counts as ready when its port is open",
    )
    deployment = manifest.objects[-1]
    assert deployment["spec"]["replicas"] == 2
    one = deployment["spec"]["template"]["spec"]["containers"][0]
    assert one["readinessProbe"]["tcpSocket"] == {"port": 50052}
    assert "grpc" not in one["readinessProbe"]
    assert make_manifest(FULL, EVERYTHING, KEYS).warnings == ()
    budget = kinds(SPEC, Offers((1, 26)))["PodDisruptionBudget"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": budget["selector"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image": "digits:3"},
            "image is 'digits:3', expected an image by its digest, such as registry.example/digits@sha256:0123...",
        ),
        ({"cpus": "two"}, "cpus is 'two', expected processors, such as 2, 0.5 or 500m"),
        ({"memory": "12XX"}, "memory is '12XX', expected bytes, such as 512Mi or 2Gi"),
        ({"resource": "npu"}, "resource is 'npu', expected an extended resource, such as fieldwave.dev/npu"),
        ({"namespace": "A"}, "namespace is 'A', expected a namespace: lower-case letters, digits and '-'"),
        ({"gateway": "a/b/c"}, "gateway is 'a/b/c', expected NAMESPACE/NAME"),
        ({"most_replicas": 1}, "most_replicas is 1; to scale by itself it must be more than 1"),
        ({"utilization": 0}, "utilization is 0; it must be 1 to 100 percent"),
        (
            {"scale_on": "waiting"},
            "scale_on is 'waiting', expected a metric of pods and what it may be on average, such as NAME=2 or "
            "NAME=500m",
        ),
        ({"host_port": 70000}, "port 70000 does not exist; choose one from 1 to 65535, or 0 for none"),
        (
            {"client_ca": True, "tls_secret": ""},
            "client_ca needs tls_secret: callers show certificates over TLS only",
        ),
        ({"host_address": "here"}, "host_address is 'here', expected an IP address of the node"),
        ({"startup_seconds": 0}, "startup_seconds is 0; it must be at least 1"),
        ({"npus": -1}, "npus is -1; it must be at least 0"),
        ({"replicas": 0}, "0 replicas are not possible; give a number from 1 to 100"),
    ],
)
def test_what_no_cluster_would_take_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(SPEC, **changes)
    assert str(caught.value) == message


def test_versions_of_servers() -> None:
    assert parse_version("v1.27.3+k3s1") == (1, 27)
    assert parse_version("1.20+") == (1, 20)
    with pytest.raises(InputError, match=r"^'new' is no version of Kubernetes, expected one such as 1\.30$"):
        parse_version("new")
