"""Small games written out by hand, among them the shapes that poker does not have."""

from __future__ import annotations

import pyspiel
import pytest

from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games import GameError, GameTree
from pkubench.envs.games.histories import enumerate_histories

BLUFF = """EFG 2 R "Bluff" { "A" "B" } ""
c "" 1 "" { "high" 1/4 "low" 3/4 } 0
p "" 1 1 "" { "bet" "pass" } 0
p "" 2 1 "" { "call" "fold" } 0
t "" 1 "" { 2 -2 }
t "" 2 "" { 1 -1 }
t "" 3 "" { 0 0 }
p "" 1 2 "" { "bet" "pass" } 0
p "" 2 1 "" { "call" "fold" } 0
t "" 4 "" { -2 2 }
t "" 2 "" { 1 -1 }
t "" 3 "" { 0 0 }
"""
ALONE = """EFG 2 R "Alone" { "A" "B" } ""
p "" 1 1 "" { "left" "right" } 0
t "" 1 "" { 3 -3 }
c "" 1 "" { "up" 1/2 "down" 1/2 } 0
t "" 2 "" { 8 -8 }
t "" 3 "" { 0 0 }
"""


def tree_of(text: str) -> GameTree:
    return GameTree(enumerate_histories(pyspiel.load_efg_game(text)))


def test_the_bluffing_game_is_solved_as_on_paper() -> None:
    # With a low card A bluffs so often (b) that B does not care: calling loses 2/4 - 2 b 3/4,
    # folding (1 + 3 b)/4, hence b = 1/9. B calls (c) so often that a bluff is worth passing:
    # (1 - c) - 2 c = 0, hence c = 1/3. A wins 1/4 (2 c + 1 - c) = 1/3 on average.
    tree = tree_of(BLUFF)
    assert tree.num_information_states == (2, 1)
    assert tree.num_sequences == (5, 3)
    solution = tree.solve()
    assert solution.value == pytest.approx(1 / 3, abs=1e-12)
    # OpenSpiel numbers bet, pass, call and fold from 0 to 3.
    high, low = tree.information_states(0)
    play = tree.behaviour(solution.x, 0)
    assert play[high.text] == pytest.approx({0: 1.0, 1: 0.0})
    assert play[low.text] == pytest.approx({0: 1 / 9, 1: 8 / 9})
    (answer,) = tree.behaviour(solution.y, 1).values()
    assert answer == pytest.approx({2: 1 / 3, 3: 2 / 3})


def test_a_game_in_which_only_one_player_moves_is_a_decision_problem() -> None:
    # Right is worth (8 + 0) / 2 = 4, left 3.
    tree = tree_of(ALONE)
    assert tree.num_sequences == (3, 1)
    x, y = tree.uniform_plan(0), tree.uniform_plan(1)
    assert tree.expected_value(x, y) == pytest.approx(3.5)
    assert tree.nash_conv(x, y) == pytest.approx(0.5)
    assert tree.best_response(0, y)[0] == pytest.approx(4.0)
    assert tree.best_response(1, x)[0] == pytest.approx(-3.5)
    assert tree.population_exploitability([x], [y]) == pytest.approx(0.5)
    assert tree.solve().value == pytest.approx(4.0)
    learner = PopulationLearner(tree, PSROConfig(), 0)
    while not learner.finished:
        learner.advance()
    assert learner.measure(True)["restricted_value"] == pytest.approx(4.0)
    cfr = CFRPlus(tree, CFRPlusConfig())
    for _ in range(30):
        cfr.advance()
    assert cfr.measure(True)["nash_conv"] < 0.05


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Whoever moves first takes the only winning line.
        ("dark_hex(num_rows=2,num_cols=2)", 1.0),
        ("nim(pile_sizes=1;2,is_misere=False)", 1.0),
        ("nim(pile_sizes=2;2,is_misere=False)", -1.0),
    ],
)
def test_players_may_have_different_numbers_of_states(name: str, value: float) -> None:
    tree = GameTree.from_openspiel(name)
    assert tree.solve().value == pytest.approx(value, abs=1e-9)
    game = pyspiel.load_game(name)
    theirs = pyspiel.nash_conv(game, pyspiel.UniformRandomPolicy(game))
    ours = tree.nash_conv(tree.uniform_plan(0), tree.uniform_plan(1))
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_returns_that_do_not_cancel_are_refused() -> None:
    with pytest.raises(GameError, match="must sum to zero"):
        tree_of(ALONE.replace("{ 3 -3 }", "{ 3 3 }"))
