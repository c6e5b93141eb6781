"""Operations that outlive their caller: each in a process of its own, all their state in files."""

from fieldwave.jobs.begin import start
from fieldwave.jobs.conversion import convert
from fieldwave.jobs.image_build import build_image
from fieldwave.jobs.jobs import Jobs
from fieldwave.jobs.operation import Operation, Snapshot
from fieldwave.jobs.state import ENDED, State

__all__ = ["ENDED", "Jobs", "Operation", "Snapshot", "State", "build_image", "convert", "start"]
