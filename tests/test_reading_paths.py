"""The pictures of docs/architecture.md are those of the code, and a wrong one is seen."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from docs import house, reading_paths
from docs.pictures import Picture, PictureError
from docs.reading_paths import ADDITIONS, FOLDER, MAX_FILES, PATHS, BrokenPath, Place, link
from tests.architecture import PACKAGE, ROOT, SOURCES, references

PAGE = ROOT / "docs" / "architecture.md"
PPO = Place("pkubench.agents.rl.update_rules.ppo_clip", "PPOClip")
A2C = Place("pkubench.agents.rl.update_rules.a2c", "A2C")
LEARNER = Place("pkubench.agents.rl.on_policy.learner", "OnPolicyLearner")
FAMILY = Place("pkubench.agents.families.on_policy", "FAMILY")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_path_is_short_and_each_step_leads_to_the_next(path: reading_paths.ReadingPath) -> None:
    files = [place.file for place in path.places]
    assert 2 <= len(files) == len(set(files)) <= MAX_FILES
    for file in files:
        assert (ROOT / file).is_file()
    assert all(link(here, there, path.agent) for here, there in pairwise(path.places))


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda addition: addition.what)
def test_an_example_and_a_user_both_refer_to_the_contract(addition: reading_paths.Addition) -> None:
    assert link(addition.example, addition.contract) and link(addition.user, addition.contract)


def test_committed_pictures_are_those_that_the_code_draws() -> None:
    drawn = reading_paths.pictures()
    assert {path.name for path in FOLDER.iterdir()} == drawn.keys()
    old = [name for name, svg in drawn.items() if (FOLDER / name).read_text("utf-8") != svg]
    assert not old, f"python -m docs.reading_paths draws {old} anew"
    shown = set(re.findall(r'--8<-- "docs/assets/architecture/(.*)"', PAGE.read_text("utf-8")))
    assert shown == drawn.keys()


@pytest.mark.parametrize(
    ("here", "there", "agent", "why"),
    [
        (Place("pkubench.cli.trian", "train"), PPO, "", "no module pkubench.cli.trian"),
        (Place("pkubench.cli.train", "trian"), PPO, "", "does not define trian"),
        (LEARNER, Place(PPO.module, "PPO"), "happo", "does not define PPO"),
        (Place("pkubench.cli.train", "train"), PPO, "happo", "does not refer to"),
        (LEARNER, PPO, "", "does not refer to"),  # whose preset?
        (LEARNER, A2C, "happo", "does not refer to"),  # another preset's
        (LEARNER, PPO, "hatrpo", "does not refer to"),
        (FAMILY, Place("pkubench.training.api", "train"), "", "does not refer to"),
        (Place("pkubench.training.session", "Session"), FAMILY, "psro", "does not refer to"),
        (Place("pkubench.training.session", "train"), FAMILY, "happo", "does not refer to"),
    ],
)
def test_a_step_that_leads_nowhere_is_refused(
    here: Place, there: Place, agent: str, why: str
) -> None:
    with pytest.raises(BrokenPath, match=why):
        link(here, there, agent)


def test_the_words_on_an_arrow_say_by_what_it_leads() -> None:
    happo = next(path for path in PATHS if path.name == "happo")
    words = [link(here, there, happo.agent) for here, there in pairwise(happo.places)]
    assert words == [
        "imports run_request",
        "the registry: family.learner of happo",
        'learner = "pkubench.agents.rl.on_policy:make_learner"',
        "imports OnPolicyLearner",
        "config.update, which is ppo-clip in happo",
    ]


def test_every_box_and_line_has_its_own_place() -> None:
    picture = Picture("x", 100, "")
    picture.text(0, 20, "1234567890", size=10)
    assert picture.svg(30)
    picture.text(20, 24, "1234567890", size=10)
    with pytest.raises(PictureError, match="overlap"):
        picture.svg(30)
    wide = Picture("x", 100, "")
    wide.text(60, 20, "1234567890", size=10)
    with pytest.raises(PictureError, match="leaves the picture"):
        wide.svg(30)


# The house


def imports() -> set[tuple[str, str]]:
    """Every (room, room) of which one module imports another, types aside."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    found = set()
    for source, text in SOURCES.items():
        for reference in references(source, text):
            pair = tuple(name.split(".")[1:2] for name in (source, reference.target))
            here, there = (name[0] if name else "" for name in pair)
            if here != there and {here, there} <= rooms and not reference.is_typing:
                found.add((here, there))
    return found


def below(room: str, arrows: set[tuple[str, str]]) -> set[str]:
    nearest = {there for here, there in arrows if here == room}
    return nearest.union(*(below(there, arrows) for there in nearest))


def test_the_house_has_every_room_and_every_import_goes_along_its_arrows() -> None:
    names = {room.name for room in house.ROOMS}
    assert names == {p.name for p in PACKAGE.iterdir() if any(p.glob("*.py"))}
    found, drawn = imports(), set(house.ARROWS)
    assert drawn <= found, "an arrow that no import follows"
    narrow = {(here, there) for here, there, _ in house.NARROW}
    wrong = {pair for pair in found if pair[1] not in below(pair[0], drawn)} - narrow
    # Functions of arrays that import nothing else of the house (see test_architecture.py).
    assert wrong == {("tasks", "evaluation")}
    places = {room.name: room for room in house.ROOMS}
    assert all(places[here].y < places[there].y for here, there in drawn), "imports point down"
