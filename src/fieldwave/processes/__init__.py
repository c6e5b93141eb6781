"""Processes that outlive whoever starts them: a folder each, with a lock, a log and records of what is."""

from fieldwave.processes.folder import ProcessFolder

__all__ = ["ProcessFolder"]
