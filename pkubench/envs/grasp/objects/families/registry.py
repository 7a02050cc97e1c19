"""What a family of objects is, and how its module declares it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pkubench.envs.grasp.objects.draws import Draws
from pkubench.envs.grasp.objects.model import GraspObject, make_object
from pkubench.envs.grasp.objects.shapes import Corners

Builder = Callable[[Draws], Sequence[Corners]]


@dataclass(frozen=True, slots=True)
class Family:
    """Objects of one name, which differ in the numbers that their builder draws."""

    name: str
    build: Builder
    share: int
    """Weight in the split: how many objects it has beside the other families."""
    is_unseen: bool
    """Whether all of its objects are kept for the test on unseen categories."""

    def make(self, number: int) -> GraspObject:
        """Return the object ``name/number``, the same each time."""
        name = f"{self.name}/{number:04d}"
        return make_object(name, self.build(Draws(name)))


FAMILIES: dict[str, Family] = {}
"""Name -> family, in the order of declaration."""


def family(share: int = 2, *, is_unseen: bool = False) -> Callable[[Builder], Builder]:
    """Declare a family; the decorator of its builder, whose name it takes."""

    def enter(build: Builder) -> Builder:
        name = build.__name__
        if name in FAMILIES:
            raise ValueError(f"two families are called {name}")
        FAMILIES[name] = Family(name, build, share, is_unseen)
        return build

    return enter
