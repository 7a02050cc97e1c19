"""Who moves which joint of a robot, and which numbers each of them sees.

A robot is a graph of joints. A *factorization* deals the joints out to agents. An agent that sees
its *k nearest joints* (``agent_obsk``) is given all about its own joints, the angles of the joints
at most k edges away, and the motion of the root. Everything becomes index arrays here, so that a
batch gathers the observations of all environments at once.

The graphs, the factorizations and the order of the numbers are those of Gymnasium-Robotics'
``mamujoco_v1``, which continues Peng et al., "FACMAC: Factored Multi-Agent Centralised Policy
Gradients", NeurIPS 2021 (``tests/envs/test_multi_mujoco.py`` compares number by number).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pkubench.envs.core.seeding import IntArray

Part = tuple[str, ...]
"""The joints of one agent, in the order of its actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A robot as its agents know it."""

    joints: tuple[str, ...]
    """Names of the joints, in the order of their angles, which end ``qpos`` and ``qvel``."""
    motors: tuple[str, ...]
    """The same names, in the order of the motors that belong to them."""
    edges: tuple[tuple[str, ...], ...]
    """Sets of joints that are neighbours of one another."""
    parts: Mapping[str, tuple[Part, ...]]
    """Name of a factorization -> the joints of each agent."""
    root_positions: tuple[int, ...]
    """Entries of ``qpos`` that every agent sees."""
    root_velocities: tuple[int, ...]
    """Entries of ``qvel`` that every agent sees."""
    bodies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Joint -> the bodies whose derived quantities its agent sees."""
    derived: tuple[str, ...] = ()
    """What an agent sees of its joints besides angle and velocity, in order."""
    velocities: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Joint -> the entries of ``qvel`` its agent sees instead of the joint's own."""

    def neighbourhoods(self, part: Part, depth: int) -> list[list[str]]:
        """Return the joints at distance 0, 1, ..., ``depth`` of an agent, each set by name."""
        seen, rings = set(part), [sorted(part)]
        for _ in range(depth):
            touched = [edge for edge in self.edges if not set(edge).isdisjoint(rings[-1])]
            near = {joint for edge in touched for joint in edge}
            rings.append(sorted(near - seen))
            seen |= near
        return rings


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields of a simulation lie in one row of numbers.

    ``starts`` is the name of a field -> its first column; ``widths`` the name -> numbers a body.
    """

    starts: Mapping[str, int]
    widths: Mapping[str, int]
    positions: int
    """Length of ``qpos``."""
    velocities: int
    """Length of ``qvel``."""


def action_order(graph: Graph, parts: tuple[Part, ...]) -> IntArray:
    """Return, for each motor, the place of its action among the actions of all agents in turn."""
    given = [joint for part in parts for joint in part]
    return np.array([given.index(joint) for joint in graph.motors], dtype=np.int64)


def nearest_columns(graph: Graph, part: Part, depth: int, layout: Layout) -> IntArray:
    """Return the columns of ``layout`` that an agent sees, in its order."""
    return np.fromiter(_columns(graph, part, depth, layout), dtype=np.int64)


def _columns(graph: Graph, part: Part, depth: int, layout: Layout) -> Iterator[int]:
    count = len(graph.joints)
    position = {j: layout.positions - count + i for i, j in enumerate(graph.joints)}
    velocity = {j: layout.velocities - count + i for i, j in enumerate(graph.joints)}
    qpos, qvel = layout.starts["qpos"], layout.starts["qvel"]
    own, *others = graph.neighbourhoods(part, depth)
    listed: set[tuple[str, int]] = set()
    for joint in own:
        yield qpos + position[joint]
        yield from (qvel + i for i in graph.velocities.get(joint, (velocity[joint],)))
        for name in graph.derived:
            start = layout.starts[name]
            if name == "qfrc_actuator":
                yield start + velocity[joint]
                continue
            # Two joints of an agent may share a body; it is listed once.
            for body in graph.bodies[joint]:
                if (name, body) not in listed:
                    listed.add((name, body))
                    width = layout.widths[name]
                    yield from range(start + body * width, start + (body + 1) * width)
    for ring in others:
        yield from (qpos + position[joint] for joint in ring)
    yield from (qpos + i for i in graph.root_positions)
    yield from (qvel + i for i in graph.root_velocities)
