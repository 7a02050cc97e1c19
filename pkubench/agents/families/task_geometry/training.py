"""A training of the autoencoder on the objects of a task, and what other trainings take from it.

A task is an object in one of its stable poses (UniDexGrasp++, Wan et al. 2023). Its feature is the
mean, over rotations about the vertical, of the codes of its cloud as it lies: turning an object on
the table makes no other task.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.families.task_geometry.autoencoder import (
    AutoencoderSettings,
    AutoencoderTraining,
    Codes,
)
from pkubench.agents.families.task_geometry.clusters import geo_clustering
from pkubench.agents.families.task_geometry.curriculum import category_curriculum, geo_curriculum
from pkubench.agents.families.task_geometry.presets import GeometryConfig
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.envs.grasp.grasp_batch import GraspBatch
from pkubench.envs.grasp.rotations import conjugate, rotate, yaw_quaternions
from pkubench.errors import ConfigError

FloatArray = npt.NDArray[np.float64]


class Posed(NamedTuple):
    """Objects in their stable poses."""

    pairs: list[tuple[int, int]]
    """Number of the object, and of its pose."""
    families: list[str]
    """Family of each pair's object."""
    surfaces: dict[int, FloatArray]
    """Object -> points of its surface in its own frame, (N, 3) in m."""
    quaternion: FloatArray
    """(n, 4), from the object's frame to the world's."""
    height: FloatArray
    """(n,), of the object's center above the table, in m."""
    code: FloatArray
    """(n, 64), the object's geometry code, which observations have."""

    @property
    def up(self) -> FloatArray:
        """The vertical in the object's frame, (n, 3): the pose up to its yaw."""
        found: FloatArray = rotate(conjugate(self.quaternion), np.array([0.0, 0.0, 1.0]))
        return found

    def clouds(self, of: npt.NDArray[np.int64], yaw: FloatArray, places: Any) -> FloatArray:
        """Return clouds (n, P, 3) in m of pairs by number, turned by ``yaw`` (n,).

        Args:
            of: numbers of pairs, (n,).
            yaw: in rad, (n,).
            places: which points of each surface, (n, P) or a slice.
        """
        each = []
        for row, (number, angle) in enumerate(zip(of.tolist(), yaw, strict=True)):
            chosen = places if isinstance(places, slice) else places[row]
            turned = rotate(self.quaternion[number], self.surfaces[self.pairs[number][0]][chosen])
            turned = rotate(yaw_quaternions(np.array([angle]))[0], turned)
            turned[:, 2] += self.height[number]
            each.append(turned)
        return np.stack(each)


def posed(context: Context, points: int) -> Posed:
    """Return the tasks of the objects to train on.

    Raises:
        ConfigError: there are no objects to grasp.
    """
    env = context.make_env(1)
    try:
        scene = env.unwrapped
        if not isinstance(scene, GraspBatch):
            raise ConfigError(f"{context.task.id} has no objects to grasp")
        members = getattr(scene, "members", {"train": range(len(scene.items))})
        pairs, families, surfaces, rest = [], [], {}, []
        for number in members.get("train", range(0)):
            item = scene.items[number]
            surfaces[number] = item.surface(4 * points)
            for pose, (quat, height) in enumerate(
                zip(item.poses.quaternion, item.poses.height, strict=True)
            ):
                pairs.append((number, pose))
                families.append(item.family)
                rest.append((quat, height, scene.code(number)))
        if not pairs:
            raise ConfigError("no objects to train on: load the split train")
        quaternion, height, code = (np.array(of) for of in zip(*rest, strict=True))
        return Posed(pairs, families, surfaces, quaternion, height, code)
    finally:
        env.close()


class GeometryTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Find the tasks, and make the network.

        Raises:
            ConfigError: the settings do not fit the task.
        """
        config: GeometryConfig = context.settings
        torch.set_num_threads(config.threads)
        self.config, self.seed = config, context.seed
        self.tasks = posed(context, config.points)
        if config.clusters > len(self.tasks.pairs):
            raise ConfigError(
                f"{context.task.id} has {len(self.tasks.pairs)} tasks, too few for "
                f"clusters={config.clusters}"
            )
        self.settings = AutoencoderSettings(
            code=config.code,
            points=config.points,
            point_hidden=config.point_hidden,
            hidden=config.hidden,
            batch=config.batch,
            lr=config.lr,
            weight_decay=config.weight_decay,
            steps=context.total,
        )
        self.training = AutoencoderTraining(self.settings, self._draw, context.seed)

    def _draw(self, random: np.random.Generator, count: int, points: int) -> FloatArray:
        """Return clouds of random tasks, turned at random, with random points."""
        of = random.integers(len(self.tasks.pairs), size=count)
        places = random.integers(4 * points, size=(count, points))
        return self.tasks.clouds(of, random.uniform(-np.pi, np.pi, count), places)

    @property
    def counters(self) -> Counters:
        """Gradient steps so far."""
        steps = self.training.optimiser.count
        return Counters(iterations=steps, gradient_steps=steps)

    def iterate(self) -> dict[str, float]:
        """Take a gradient step."""
        return {name: round(value, 8) for name, value in self.training.iterate().items()}

    def state(self) -> State:
        """Return network, optimizer and generator."""
        return self.training.state()

    def load_state(self, state: State) -> None:
        """Restore a state."""
        self.training.load_state(state)

    def features(self) -> FloatArray:
        """Return the feature of each task, (n, code)."""
        codes = Codes(self.settings, self.training.tensors())
        every = np.arange(len(self.tasks.pairs))
        total = np.zeros((len(every), self.config.code))
        for k in range(self.config.yaws):
            yaw = np.full(len(every), 2.0 * np.pi * k / self.config.yaws)
            total += codes(self.tasks.clouds(every, yaw, slice(0, None, 4)))
        return total / self.config.yaws

    def export(self) -> Export:
        """Return the encoder, and tasks with their features, clusters and levels."""
        config, features = self.config, self.features()
        found = geo_clustering(features, config.clusters, self.seed)
        levels = geo_curriculum(features, self.seed, config.levels)
        about = {
            "settings": as_plain(config),
            "tasks": [list(pair) for pair in self.tasks.pairs],
            "families": self.tasks.families,
            "labels": found.labels.tolist(),
            "levels": [level.tolist() for level in levels],
            "category_levels": [
                level.tolist()
                for level in category_curriculum(self.tasks.families, int(levels[0][0]))
            ],
        }
        arrays = {
            "features": features,
            "centroids": found.centroids,
            "object_codes": self.tasks.code,
            "up": self.tasks.up,
        }
        tensors = {f"autoencoder.{k}": value for k, value in self.training.tensors().items()}
        return Export(about, tensors | {k: v.astype(np.float32) for k, v in arrays.items()})

    def close(self) -> None:
        """Nothing is held."""
