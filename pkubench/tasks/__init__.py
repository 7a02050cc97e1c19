"""Standardized tasks: environment, protocol, metrics and reference scores."""

from pkubench.tasks.task import Metric, Protocol, Reference, Task

__all__ = ["Metric", "Protocol", "Reference", "Task"]
