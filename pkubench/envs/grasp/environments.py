"""The registered grasping environments: which objects there are."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from pkubench.envs.grasp.clouds.vision import CLOUD, KINDS, points_of
from pkubench.envs.grasp.grasp_batch import HORIZON, GraspBatch
from pkubench.envs.grasp.items import Ball, Solid
from pkubench.envs.grasp.objects import splits as published
from pkubench.envs.grasp.settings import number, whole
from pkubench.errors import ConfigError, UnknownName


class GraspSphere(GraspBatch):
    """A floating hand grasps a ball on a table: the smallest grasping task.

    | part        | type               | meaning                                              |
    |-------------|--------------------|------------------------------------------------------|
    | observation | Box(−5, 5, (300,)) | hand, object and goal; with `observation`: a cloud   |
    | action      | Box(−1, 1, (24,))  | force 3, torque 3, 18 joint targets                  |
    | reward      | float64            | for approaching, holding and lifting                 |
    | ends        |                    | never; truncated at 200 steps of 1/60 s              |

    `GraspBatch` describes each of them.

    The ball has a radius of 5 cm and a density of 500 kg/m³ (0.26 kg). `lift_relative` is on. A
    further setting is `radius` (m).

    >>> import gymnasium, pkubench
    >>> env = gymnasium.make("pkubench/GraspSphere-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, bool(info["success"])
    ((300,), False)

    Versions: v0 first release.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        radius: float = 0.05,
        lift_relative: bool = True,
        **settings: Any,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 200 steps of the paper, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            radius: of the ball, in m.
            lift_relative: measure goal and lift from where the ball rests.
            settings: of ``GraspBatch``: hand, friction, observation, points.

        Raises:
            ConfigError: a number that is out of range, or a hand that cannot be used.
        """
        ball = Ball(number("radius", radius, 0.0, 0.2, above=True))
        super().__init__(
            *([ball], num_envs, max_episode_steps, num_threads),
            lift_relative=lift_relative,
            **settings,
        )


class SplitObjects(GraspBatch):
    """Objects in three splits, numbered in this order.

    Seeds draw objects of the first split that is loaded: train, unless the setting `splits` leaves
    it out. An episode's option `object` can choose any that is loaded; `items` names them, and
    `members` has the numbers of each split. Further settings are `splits` (one or several of train,
    seen_category, unseen_category) and `objects` (of each split load this many, evenly spaced).
    """

    is_small: ClassVar[bool]
    """Whether the objects are those of the small sets; goal and lift are then relative."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        splits: str | Sequence[str] = published.SPLITS,
        objects: int | None = None,
        lift_relative: bool | None = None,
        **settings: Any,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 200 steps of the paper, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            splits: which objects are loaded.
            objects: how many of each split, at most; None: all.
            lift_relative: measure goal and lift from where the object rests; None: as the docs of
                the environment say.
            settings: of ``GraspBatch``: hand, friction, observation, points.

        Raises:
            UnknownName: there is no such split.
            ConfigError: a number that is out of range, or a hand that cannot be used.
        """
        names = _split_names(splits)
        count = None if objects is None else whole("objects", objects, 1)
        items: list[Solid] = []
        members: dict[str, range] = {}
        for name in names:
            found = load_split(name, self.is_small, count)
            members[name] = range(len(items), len(items) + len(found))
            items += found
        self.members: Mapping[str, range] = members
        super().__init__(
            *(items, num_envs, max_episode_steps, num_threads),
            drawn=len(members[names[0]]),
            lift_relative=self.is_small if lift_relative is None else lift_relative,
            **settings,
        )


def _split_names(splits: Any) -> tuple[str, ...]:
    if isinstance(splits, str):
        names: tuple[str, ...] = (splits,)
    elif isinstance(splits, Sequence):
        names = tuple(splits)
    else:
        known = ", ".join(published.SPLITS)
        raise ConfigError(f"splits must be one or several of {known}; got {splits!r}")
    for name in names:
        if name not in published.SPLITS:
            raise UnknownName("split of objects", str(name), published.SPLITS)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"splits must be different ones, at least one; got {splits!r}")
    return names


@functools.cache
def load_split(name: str, is_small: bool, objects: int | None = None) -> tuple[Solid, ...]:
    """Return the objects of a split at their scales.

    Args:
        name: of the split.
        is_small: 24, 18 and 9 objects of few parts, instead of 3,200, 141 and 100.
        objects: how many, evenly spaced; None: all.
    """
    made = published.small_split(name) if is_small else published.split(name)
    scales = published.small_scales(name) if is_small else published.scales(name)
    count = len(made) if objects is None else min(objects, len(made))
    chosen = (np.arange(count) * len(made)) // count
    return tuple(Solid(made[k], float(scales[k])) for k in chosen.tolist())


class GraspSmall(SplitObjects):
    """A floating hand grasps objects of 18 families with at most four convex parts.

    | part        | type               | meaning                                              |
    |-------------|--------------------|------------------------------------------------------|
    | observation | Box(−5, 5, (300,)) | hand, object and goal; with `observation`: a cloud   |
    | action      | Box(−1, 1, (24,))  | force 3, torque 3, 18 joint targets                  |
    | reward      | float64            | for approaching, holding and lifting                 |
    | ends        |                    | never; truncated at 200 steps of 1/60 s              |

    `GraspBatch` describes each of them.

    There are 24 objects of nine families to train on, 18 others of the same families, and 9 of nine
    families that are not trained on, 6, 8 or 10 cm from center to farthest point. `lift_relative`
    is on.

    >>> import pkubench
    >>> env = pkubench.make_batch("GraspSmall-v0", num_envs=2)
    >>> observations, info = env.reset([0, 0], options={"object": [0, 50]})
    >>> info["object"].tolist(), [len(numbers) for numbers in env.members.values()]
    ([0, 50], [24, 18, 9])

    Versions: v0 first release.
    """

    is_small: ClassVar[bool] = True


class GraspFull(SplitObjects):
    """A floating hand grasps 3,200 objects, and is tested on 241 others.

    | part        | type               | meaning                                              |
    |-------------|--------------------|------------------------------------------------------|
    | observation | Box(−5, 5, (300,)) | hand, object and goal; with `observation`: a cloud   |
    | action      | Box(−1, 1, (24,))  | force 3, torque 3, 18 joint targets                  |
    | reward      | float64            | for approaching, holding and lifting                 |
    | ends        |                    | never; truncated at 200 steps of 1/60 s              |

    `GraspBatch` describes each of them.

    Counts and scales are those of UniDexGrasp++: 3,200 objects to train on, 141 others of the same
    categories and 100 of other categories, 6 to 15 cm from center to farthest point. The objects
    are generated (`pkubench.envs.grasp.objects`), with up to 16 convex parts: the original's may
    not be redistributed. Goal and lift are the paper's (`lift_relative` is off).

    Loading all takes about 15 s and 1 GB; `splits="unseen_category"` or `objects=240` load fewer.

    >>> import pkubench
    >>> env = pkubench.make_batch("GraspFull-v0", splits="train", objects=2)
    >>> len(env.items)
    2

    Versions: v0 first release.
    """

    is_small: ClassVar[bool] = False


def variant(name: str, text: str) -> tuple[dict[str, Any], int]:
    """Return the settings and the time limit of ``GraspSmall-v0+observation=cloud+points=256``."""
    if name == "observation":
        if text not in KINDS:
            raise UnknownName("observation", text, KINDS)
        return {name: text}, HORIZON
    if name == "points" and text.isascii() and text.isdecimal():
        return {name: points_of(CLOUD, int(text))}, HORIZON
    raise ConfigError(
        f"grasping varies in what is seen, as in +observation=cloud or "
        f"+observation=views+points=256; got +{name}={text}"
    )
