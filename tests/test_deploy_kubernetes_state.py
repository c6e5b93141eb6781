"""States from what API servers answer: the shapes are those of Kubernetes 1.27 and later."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from fieldwave.compute import Held, Npus
from fieldwave.deploy.kubernetes.holders import oldest_services, why_not_free
from fieldwave.deploy.kubernetes.rollout import Patience, wait_for_rollout
from fieldwave.deploy.kubernetes.state import Seen, look
from fieldwave.deploy.target import Replicas, Service, State
from fieldwave.errors import HostError, ServiceError

DONE = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}


def deployment(wanted: int = 2, ready: int = 0, *conditions: dict[str, str], **status: Any) -> Any:
    counts = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready, "availableReplicas": ready}
    return Deployment.from_dict(
        {
            "metadata": {"name": "digits", "generation": 4},
            "spec": {
                "replicas": wanted,
                "selector": {},
                "template": {"metadata": {}, "spec": {"containers": [{"name": "server"}]}},
            },
            "status": {"observedGeneration": 4, "conditions": list(conditions), **counts, **status},
        }
    )


def pod(container: dict[str, Any] | None = None, *conditions: dict[str, str], going: bool = False) -> Any:
    metadata = {"name": "digits-5c9f-x", "uid": "1"}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status: dict[str, Any] = {"conditions": list(conditions)}
    if container is not None:
        about = {"name": "server", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        status["containerStatuses"] = [about | container]
    return Pod.from_dict({"metadata": metadata, "spec": {"containers": [{"name": "server"}]}, "status": status})


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **more}


def died(reason: str, code: int, message: str = "") -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return waiting("CrashLoopBackOff", "back-off 20s restarting failed container", lastState=ended, restartCount=4)


@pytest.mark.parametrize(
    ("one", "pods", "state", "reason"),
    [
        (deployment(2, 2, DONE), [], "Healthy", ""),
        (deployment(0), [], "Stopped", ""),
        (deployment(2, 1), [pod({"started": False})], "Transitioning", "1 of 2 replicas answer"),
        # The controller has not seen the change yet: what was is no answer.
        (deployment(2, 2, DONE, observedGeneration=3), [], "Transitioning", "2 of 2 replicas answer"),
        (deployment(2, 2, DONE, updatedReplicas=1), [], "Transitioning", "2 of 2 replicas answer"),
        # One more is on its way out.
        (deployment(2, 2, DONE, replicas=3), [], "Transitioning", "2 of 2 replicas answer"),
        (
            deployment(2, 1, DONE),
            [pod({"started": True})],
            "Unhealthy",
            "1 of 2 replicas answer; one does not say that it is ready",
        ),
        (
            deployment(1, 0),
            [pod(waiting("ImagePullBackOff", 'Back-off pulling image "x"'))],
            "Failed",
            'its image cannot be pulled: Back-off pulling image "x"',
        ),
        (
            deployment(2, 1),
            [pod(waiting("ErrImagePull", "unauthorized"))],
            "Unhealthy",
            "1 of 2 replicas answer; its image cannot be pulled: unauthorized",
        ),
        (
            deployment(1, 0),
            [pod(died("Error", 1, "loading\nerror: /opt/fieldwave/package.zip is damaged\n"))],
            "Failed",
            "it keeps dying: exit code 1: error: /opt/fieldwave/package.zip is damaged",
        ),
        (deployment(1, 0), [pod(died("OOMKilled", 137))], "Failed", "it keeps dying: OOMKilled"),
        (
            deployment(1, 0),
            [pod(waiting("CreateContainerConfigError", 'secret "digits-tls" not found'))],
            "Failed",
            'its container cannot be made: secret "digits-tls" not found',
        ),
        (deployment(1, 0), [pod(died("Error", 1, "old"), going=True)], "Transitioning", "0 of 1 replicas answer"),
        (deployment(1, 0), [pod(waiting("ContainerCreating"))], "Transitioning", "0 of 1 replicas answer"),
        (
            deployment(1, 0, {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}),
            [],
            "Failed",
            "0 of 1 replicas answer, and no more became ready in time",
        ),
        (
            deployment(
                1, 0, {"type": "ReplicaFailure", "status": "True", "message": "admission webhook denied it"}
            ),
            [],
            "Failed",
            "admission webhook denied it",
        ),
        (
            deployment(1, 0, {"type": "ReplicaFailure", "status": "True", "message": "forbidden: exceeded quota"}),
            [],
            "Unschedulable",
            "forbidden: exceeded quota",
        ),
        (
            deployment(2, 1),
            [
                pod(
                    None,
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available:\n 3 Insufficient cpu.",
                    },
                )
            ],
            "Unschedulable",
            "no node can take it: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
    ],
)
def test_states_and_their_reasons(one: Any, pods: list[Any], state: State, reason: str) -> None:
    seen = look(one, pods)
    assert (seen.state, seen.reason) == (state, reason)


def test_a_deployment_that_is_new_has_no_status() -> None:
    one = deployment(1)
    one.status = None
    assert look(one, []) == Seen("Transitioning", "0 of 1 replicas answer", Replicas(1, 0), 0)


def test_restarts_are_those_of_the_pods_that_are_there() -> None:
    assert look(deployment(1, 0), [pod(died("Error", 1)), pod(died("Error", 1), going=True)]).restarts == 4


def test_a_long_reason_is_cut() -> None:
    seen = look(deployment(1, 0), [pod(waiting("ErrImagePull", "x" * 1000))])
    assert (len(seen.reason), seen.reason[-1]) == (300, "…")


@pytest.mark.parametrize(
    ("npus", "wanted", "words"),
    [
        (None, 1, ""),
        (Npus(allocatable=2, allocated=1, held=(Held("n", "a"),)), 1, ""),
        (Npus(allocatable=0), 0, ""),
        (Npus(allocatable=0), 1, "no node has an NPU in working order"),
        (Npus(allocatable=1, allocated=1, held=(Held("n", "a"),)), 1, "1 NPU, held by service a"),
        (
            Npus(allocatable=2, allocated=2, held=(Held("n", "a"), Held("m", "b"))),
            1,
            "2 NPUs, both held by services a and b",
        ),
        (
            Npus(allocatable=4, allocated=4, held=(Held("n", "a", 3), Held("m", "other/pod-1"))),
            1,
            "4 NPUs, all held by services a and other/pod-1",
        ),
        (
            Npus(allocatable=3, allocated=2, held=(Held("n", "a", 2),)),
            2,
            "3 NPUs, 2 of them held by service a",
        ),
        (Npus(limit=1, used=1, allocatable=4, allocated=1), 1, "the namespace may hold 1 NPU, and holds 1"),
        (Npus(allocatable=1), 2, "1 NPU, none of them held"),
    ],
)
def test_who_holds_the_npus_in_words(npus: Npus | None, wanted: int, words: str) -> None:
    assert why_not_free(npus, wanted) == words


def test_those_who_have_held_longest_go_first_and_others_namespaces_never() -> None:
    held = (
        Held("n", "young", 1, "2026-01-03T00:00:00Z"),
        Held("n", "other/pod", 1, "2026-01-01T00:00:00Z"),
        Held("n", "old", 1, "2026-01-02T00:00:00Z"),
    )
    npus = Npus(allocatable=3, allocated=3, held=held)
    assert oldest_services(npus, 1) == ["old"]
    assert oldest_services(npus, 2) == ["old", "young"]
    assert oldest_services(npus, 3) == []


def service(state: State, reason: str = "") -> Service:
    where: Any = None
    return Service("digits", state, "", 0, None, 0, "", "", "", "", reason, where, replicas=Replicas(2, 1))


def test_a_state_that_may_pass_is_looked_at_for_a_while() -> None:
    patience = Patience({"Failed": 3600.0, "Unschedulable": 0.0}, poll=0.0)
    states = iter([service("Failed", "no image yet"), service("Transitioning", "comes"), service("Healthy")])
    said: list[tuple[str, float]] = []
    found = wait_for_rollout(
        lambda: next(states), 60, patience=patience, progress=lambda what, done: said.append((what, done))
    )
    assert found.state == "Healthy"
    assert said == [("digits is Failed: no image yet", 0.5), ("digits is Transitioning: comes", 0.5)]
    with pytest.raises(ServiceError, match=r"^both are held$"):
        wait_for_rollout(
            lambda: service("Unschedulable", "both are held"),
            60,
            patience=patience,
            progress=lambda what, done: None,
        )
    states = iter([service("Unschedulable", "both are held"), service("Healthy")])
    found = wait_for_rollout(
        lambda: next(states), 60, until_schedulable=True, patience=patience, progress=lambda *one: None
    )
    assert found.state == "Healthy"


def test_a_cluster_that_does_not_answer_is_asked_again() -> None:
    gone = HostError("gone")
    answers: list[Any] = [gone, gone, service("Transitioning"), gone, service("Healthy")]

    def asked() -> Service:
        answer = answers.pop(0)
        if isinstance(answer, HostError):
            raise answer
        return answer  # type: ignore[no-any-return]

    patience = Patience(poll=0.0)
    assert wait_for_rollout(asked, 60, patience=patience, progress=lambda what, done: None).state == "Healthy"
    answers = [HostError("gone"), HostError("gone for good")]
    with pytest.raises(HostError, match=r"^gone$"):
        wait_for_rollout(asked, 60, patience=Patience(poll=0.0, silence=0.0), progress=lambda what, done: None)
