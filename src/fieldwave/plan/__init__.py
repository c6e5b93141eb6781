"""How many devices a load needs, before there is one."""

from fieldwave.plan.costs import BETWEEN_RUNS, COSTS, Sent, process_costs
from fieldwave.plan.kinds import DeviceKind, cpu_kind, npu_kind
from fieldwave.plan.profile import Profile
from fieldwave.plan.search import Plan, devices_for
from fieldwave.plan.simulate import Outcome, simulate

__all__ = [
    "BETWEEN_RUNS",
    "COSTS",
    "DeviceKind",
    "Outcome",
    "Plan",
    "Profile",
    "Sent",
    "cpu_kind",
    "devices_for",
    "npu_kind",
    "process_costs",
    "simulate",
]
