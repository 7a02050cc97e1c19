"""NFSP and Deep CFR: losses by autograd, memories and traversals one at a time, learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyspiel
import pytest
import torch

from pkubench.agents.components import changed
from pkubench.agents.families.psro.deep_cfr import matched, traverse
from pkubench.agents.families.psro.fitting import (
    Reservoir,
    advantage_error,
    imitation_error,
    policy_error,
)
from pkubench.agents.families.psro.nfsp import NFSP
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.agents.families.psro.sampled_settings import DeepCFRConfig, NFSPConfig
from pkubench.agents.families.psro.training import learner
from pkubench.envs.games.game_tables import game_tables
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError

KUHN = game_tree("kuhn_poker")
QUICK: dict[str, dict[str, Any]] = {
    "nfsp": {"plays": 256, "hidden": (16,), "batch_size": 32, "replay_size": 600},
    "deep-cfr": {"traversals": 20, "hidden": (16,), "advantage_steps": 5, "policy_steps": 5},
}


def quick(name: str, seed: int = 0) -> Any:
    return learner(changed(PRESETS[name], QUICK[name]), "KuhnPoker-v0", seed)


# Losses


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    legal = rng.random((6, 4)) < 0.6
    legal[:, 1] = True
    return rng.normal(size=(6, 4)), rng.random((6, 4)), legal, rng.random(6)


def test_losses_and_their_gradients_are_those_of_autograd() -> None:
    outputs, wanted, legal, weights = drawn()
    wanted = wanted * legal
    wanted /= wanted.sum(axis=1, keepdims=True)
    actions = np.array([np.flatnonzero(row)[-1] for row in legal])
    x = torch.tensor(outputs, requires_grad=True)
    # One sample and one action after the other, as the papers write them.
    advantages = policies = imitations = torch.zeros((), dtype=torch.float64)
    for b in range(6):
        allowed = np.flatnonzero(legal[b]).tolist()
        p = torch.softmax(x[b, allowed], dim=0)
        for k, a in enumerate(allowed):
            advantages = advantages + weights[b] * (x[b, a] - wanted[b, a]) ** 2 / 6
            policies = policies + weights[b] * (p[k] - wanted[b, a]) ** 2 / 6
            if a == actions[b]:
                imitations = imitations - torch.log(p[k]) / 6
    for loss, (slope, found) in (
        (advantages, advantage_error(outputs, wanted, legal, weights)),
        (policies, policy_error(outputs, wanted, legal, weights)),
        (imitations, imitation_error(outputs, actions, legal)),
    ):
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert found == pytest.approx(loss.item(), rel=1e-12)
        np.testing.assert_allclose(slope, gradient.numpy(), atol=1e-12)


def test_regret_matching_of_hand_worked_advantages() -> None:
    legal = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1]], bool)
    advantages = np.array([[3.0, -1.0, 1.0], [-2.0, -1.0, 9.0], [1.0, 1.0, 6.0], [0, 0, 0]])
    expected = [[0.75, 0, 0.25], [0, 1, 0], [0.5, 0.5, 0], [1, 0, 0]]
    np.testing.assert_allclose(matched(advantages, legal), expected)


# Memories


def test_a_reservoir_is_algorithm_r_whether_filled_at_once_or_in_parts() -> None:
    made = Reservoir(5, rows=0, wanted=2)
    rng, slow = np.random.default_rng(8), np.random.default_rng(8)
    kept = [-1] * 5
    seen = 0
    for count in (3, 1, 40, 7):
        new = seen + np.arange(count)
        made.add(rng, rows=new, wanted=np.stack([new, -new], axis=1))
        for item, draw in zip(new.tolist(), slow.random(count), strict=True):
            place = item if item < 5 else int(draw * (item + 1))
            if place < 5:
                kept[place] = item
        seen += count
        there = [item for item in kept if item >= 0]
        assert made.columns["rows"][: len(made)].tolist() == there
        np.testing.assert_array_equal(made.columns["wanted"][: len(made), 1], -np.array(there))
    # Every item is kept with the same probability, the first and the last too.
    counts = np.zeros(20)
    for _ in range(4000):
        made = Reservoir(5, rows=0)
        made.add(rng, rows=np.arange(20))
        counts[made.columns["rows"]] += 1
    assert np.abs(counts / 4000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_only_what_was_added_is_drawn() -> None:
    made = Reservoir(1000, rows=0)
    made.add(np.random.default_rng(0), rows=np.array([4, 5]))
    assert set(made.draw(200, np.random.default_rng(1))["rows"]) == {4, 5}


# Traversals


def slowly(state: Any, policy: dict[str, dict[int, float]], player: int) -> tuple[float, Any]:
    """Expected advantages of external sampling by recursion: others' reach times own gaps."""
    met: dict[str, np.ndarray] = {}

    def walk(state: Any, reach: float) -> float:
        if state.is_terminal():
            return float(state.returns()[player])
        if state.is_chance_node():
            return sum(p * walk(state.child(a), reach * p) for a, p in state.chance_outcomes())
        text, who = state.information_state_string(), state.current_player()
        if who != player:
            return sum(p * walk(state.child(a), reach * p) for a, p in policy[text].items())
        values = {a: walk(state.child(a), reach) for a in state.legal_actions()}
        worth = sum(policy[text][a] * value for a, value in values.items())
        gaps = np.array([values[a] - worth for a in sorted(values)])
        met[text] = met.get(text, 0.0) + reach * gaps
        return worth

    return walk(state, 1.0), met


@pytest.mark.parametrize("player", [0, 1])
def test_traversals_sample_counterfactual_regrets(player: int) -> None:
    tables, rng = game_tables(KUHN), np.random.default_rng(5)
    policy = rng.dirichlet([1.0, 1.0], len(tables.masks))
    split = KUHN.num_information_states[0]
    texts = [s.text for seat in (0, 1) for s in KUHN.information_states(seat)]
    named = {text: dict(enumerate(policy[row].tolist())) for row, text in enumerate(texts)}
    count = 40_000
    found = traverse(tables, KUHN.histories.player, policy, player, count, rng)
    _, exact = slowly(pyspiel.load_game("kuhn_poker").new_initial_state(), named, player)
    for row in range(split) if player == 0 else range(split, 2 * split):
        own = found.advantages[found.rows == row]
        spread = 5 * own.std(axis=0) * np.sqrt(len(own)) / count + 0.01
        assert (np.abs(own.sum(axis=0) / count - exact[texts[row]]) < spread).all()
    assert ((found.met < split) == (player == 1)).all()
    # Every traversal passes each own action: at least two ends, at most three in Kuhn poker.
    assert 2 * count <= found.ends <= 3 * count


# Learners


def test_what_networks_take_in_is_what_was_played() -> None:
    made = quick("nfsp")
    assert isinstance(made, NFSP)
    made.advance()
    for player, rows in enumerate(made.rows):
        replay = made._responses[player].replay
        columns = replay._columns
        own, after = columns.rows[: len(replay)], columns.next_rows[: len(replay)]
        assert ((own >= rows.start) & (own < rows.stop)).all()
        is_end = after == len(made.legal) - 1
        assert set(columns.rewards[: len(replay)][is_end]) <= {-2.0, -1.0, 1.0, 2.0}
        assert (columns.rewards[: len(replay)][~is_end] == 0.0).all()
        # A tenth of seats respond; each has at least one decision.
        assert 5 < len(made._reservoirs[player]) < 80


def test_nfsp_without_responses_fills_no_reservoir_and_with_them_only_greedy_actions() -> None:
    for share in (0.0, 1.0):
        config = changed(PRESETS["nfsp"], {**QUICK["nfsp"], "anticipation": share, "plays": 128})
        made = NFSP(KUHN, config, 0)
        best = made.greedy()
        made.advance()
        for player, memory in enumerate(made._reservoirs):
            assert len(memory) == share * len(made._responses[player].replay)
            kept = {name: column[: len(memory)] for name, column in memory.columns.items()}
            assert (kept["actions"] == best[kept["rows"]]).all()


def test_deep_cfr_weighs_samples_by_their_iteration_and_starts_advantages_anew() -> None:
    made = quick("deep-cfr")
    made.advance()
    before = made._advantages[0].state()["weights"].copy()
    made.advance()
    for memory in made._memories:
        assert set(memory.columns["iterations"][: len(memory)]) == {1, 2}
    # Five steps of Adam move a weight by at most five rates; another start is farther.
    assert np.abs(made._advantages[0].state()["weights"][0] - before[0]).max() > 10 * 1e-3
    assert made._average._adam.count == 10 and made._advantages[0]._adam.count == 5


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_run_resumes_to_the_same_bits(name: str) -> None:
    straight, first, second = quick(name), quick(name), quick(name)
    for _ in range(3):
        straight.advance()
    first.advance()
    second.restore({key: value.copy() for key, value in first.state().items()})
    for _ in range(2):
        second.advance()
    for found, expected in zip(second.average(), straight.average(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert second.measure(True) == straight.measure(True)
    assert straight.measure(True)["episodes"] > 0
    other = quick(name, seed=1)
    other.advance()
    assert not np.array_equal(other.average()[0], first.average()[0])


def test_deep_cfr_comes_near_an_equilibrium_of_kuhn_poker() -> None:
    made = learner(PRESETS["deep-cfr"], "KuhnPoker-v0", 0)
    assert made.measure(True)["exploitability"] > 0.3
    for _ in range(12):
        made.advance()
    assert made.measure(True)["exploitability"] < 0.12


@pytest.mark.slow
def test_the_order_on_kuhn_poker_at_equal_plays() -> None:
    # Deep CFR is ahead of NFSP at equal budget (Brown et al. 2019, in flop hold'em), CFR without
    # sampling of both: 130,000 plays for the networks, 101 iterations for the table.
    found = {}
    for name in ("nfsp", "deep-cfr"):
        made = learner(PRESETS[name], "KuhnPoker-v0", 0)
        while made.measure(False)["episodes"] < 130_000:
            made.advance()
        found[name] = made.measure(True)["exploitability"]
    table = learner(PRESETS["cfr"], "KuhnPoker-v0", 0)
    for _ in range(101):
        table.advance()
    found["cfr"] = table.measure(True)["exploitability"]
    assert found["cfr"] < found["deep-cfr"] < found["nfsp"]
    assert found["deep-cfr"] < 0.06 and found["nfsp"] < 0.2


@pytest.mark.slow
def test_nfsp_comes_near_an_equilibrium_of_kuhn_poker() -> None:
    made = learner(PRESETS["nfsp"], "KuhnPoker-v0", 0)
    for _ in range(80):
        made.advance()
    assert made.measure(True)["exploitability"] < 0.08


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: NFSPConfig(plays=100), "plays must be at least parallel_games"),
        (lambda: NFSPConfig(replay_size=100), "batch_size must be at most replay_size"),
        (lambda: NFSPConfig(anticipation=1.5), "anticipation"),
        (lambda: DeepCFRConfig(hidden=()), "hidden must be layers"),
        (lambda: DeepCFRConfig(learning_rate=0.0), "learning_rate"),
    ],
)
def test_settings_outside_their_domain_are_refused(made: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made()
