"""Responses learned from plays: the update, the played and scored policy, and its quality."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.families.psro.deep_oracle import Opponents, ValueSpace
from pkubench.agents.families.psro.dqn import DQN, Anchor, Decisions, log_policy, targets
from pkubench.agents.families.psro.oracles.learned import DQNOracle
from pkubench.agents.families.psro.plays import play
from pkubench.agents.families.psro.settings import PSRO_PRESETS
from pkubench.agents.families.psro.spaces import Situation
from pkubench.agents.families.psro.training import learner
from pkubench.envs.games.game_batch import GameBatch
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.games.configs import adjusted, psro

KUHN, LEDUC = game_tree("kuhn_poker"), game_tree("leduc_poker")
QUICK = psro(
    oracle="softmax",
    response_episodes=400,
    parallel_games=100,
    hidden=(16,),
    batch_size=64,
    replay_size=500,
)


# The update


def small_dqn(**settings: Any) -> DQN:
    """Seven rows of four numbers and three actions, twenty decisions in the replay."""
    rng = np.random.default_rng(6)
    masks = (rng.random((7, 3)) < 0.6).astype(np.int8)
    masks[:, 1] = 1
    masks[6] = 1
    config = DQNOracle(hidden=(6, 5), batch_size=20, replay_size=20, **settings)
    made = DQN(rng.normal(size=(7, 4)).astype(np.float32), masks, config, rng)
    rows = rng.integers(0, 6, 20)
    actions = np.array([rng.choice(np.flatnonzero(masks[row])) for row in rows])
    after = np.where(rng.random(20) < 0.4, 6, rng.integers(0, 6, 20))
    rewards = np.where(after == 6, rng.normal(size=20), 0.0)
    made.replay.add(Decisions(rows, actions, rewards, after))
    return made


class SlowDQN:
    """The same learning, one decision after the other, by autograd, and Adam by its formulae."""

    def __init__(self, made: DQN) -> None:
        self.made, self.count = made, 0
        self.layers = [
            [part[0].clone().requires_grad_() for part in layer] for layer in made._net.layers
        ]
        self.parts = [part for layer in self.layers for part in layer]
        self.moments = [[torch.zeros_like(part) for part in self.parts] for _ in range(2)]
        self.target = copy.deepcopy(self.layers)

    def forward(self, layers: list[list[torch.Tensor]], row: int) -> torch.Tensor:
        x = self.made._observations[row]
        for weight, bias in layers[:-1]:
            x = torch.relu(x @ weight + bias[0])
        weight, bias = layers[-1]
        return x @ weight + bias[0]

    def step(self, anchor: Anchor | None) -> None:
        config, columns = self.made.config, self.made.replay._columns
        loss = torch.zeros(())
        for row, action, reward, after in zip(*columns, strict=True):
            wanted = float(reward)
            if after != 6:
                values = self.forward(self.target, after).tolist()
                may = [a for a in range(3) if self.made._masks[after, a]]
                wanted += max(values[a] for a in (may if config.masked_targets else range(3)))
            values = self.forward(self.layers, row)
            loss = loss + (values[action] - wanted) ** 2 / 20
            if anchor is not None:
                legal = np.flatnonzero(self.made._masks[row]).tolist()
                p = torch.softmax(values[legal] / anchor.temperature, 0)
                other = torch.tensor(anchor.log_policy[row, legal])
                loss = loss - anchor.weight * (p * (p.log() - other)).sum() / 20
        slopes = torch.autograd.grad(loss, self.parts)
        self.count += 1
        with torch.no_grad():
            for part, slope, mean, square in zip(self.parts, slopes, *self.moments, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope**2 - square)
                size = (square / (1 - 0.999**self.count)).sqrt() + 1e-8
                part -= config.learning_rate * mean / (1 - 0.9**self.count) / size
        if self.count % config.target_updates == 0:
            self.target = copy.deepcopy(self.layers)


@pytest.mark.parametrize("is_masked", [True, False])
@pytest.mark.parametrize("is_pushed", [True, False])
def test_updates_are_those_of_a_slow_reference(is_masked: bool, is_pushed: bool) -> None:
    made = small_dqn(target_updates=3, masked_targets=is_masked)
    slow = SlowDQN(made)
    # The best next action is illegal somewhere, or the mask would not show.
    after = made.replay._columns.next_rows[made.replay._columns.next_rows != 6]
    best = made.values(after).argmax(axis=1)
    assert (made._masks[after, best] == 0).any()
    anchor = None
    if is_pushed:
        logits = np.random.default_rng(1).normal(size=(7, 3))
        anchor = Anchor(log_policy(logits, made._masks > 0), 0.3, 0.7)
    before = made._net.flat.clone()
    for k in range(8):
        made.update(np.random.default_rng(k), anchor)
        slow.step(anchor)
        for ours, theirs in zip(made._net.layers, slow.layers, strict=True):
            for part, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(part[0], other.detach(), atol=2e-5, rtol=1e-4)
    assert (made._net.flat - before).abs().max() > 1e-3
    assert not torch.equal(made._net.flat, made._target.flat)  # copied after steps 3 and 6


def test_targets_take_the_best_legal_action_and_nothing_after_the_end() -> None:
    values = np.array([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0], [7.0, 8.0, 9.0]])
    legal = np.array([[True, False, True], [True, True, True], [True, True, True]])
    is_end = np.array([False, False, True])
    rewards = np.array([0.0, 0.5, -3.0])
    assert targets(rewards, values, legal, is_end).tolist() == [2.0, 5.5, -3.0]
    assert targets(rewards, values, None, is_end).tolist() == [5.0, 5.5, -3.0]


def test_a_replay_keeps_the_newest_decisions() -> None:
    made = small_dqn()
    column = np.arange(100, 127)
    made.replay.add(Decisions(column, column, column * 1.0, column))
    assert sorted(made.replay._columns.rows.tolist()) == list(range(107, 127))
    made.replay.add(Decisions(*(np.array([x]) for x in (1, 2, 3.0, 4))))
    drawn = made.replay.draw(20, np.random.default_rng(0))
    assert sorted(drawn.rows.tolist()) == [1, *range(108, 127)]
    (k,) = np.flatnonzero(drawn.rows == 1)
    assert [column[k] for column in drawn] == [1, 2, 3.0, 4]


def test_exploration_draws_from_all_legal_actions_alike() -> None:
    rng = np.random.default_rng(3)
    made = ValueSpace(LEDUC, QUICK)._new(rng)
    legal = LEDUC.legal_mask(0)
    rows = np.flatnonzero(made._legal(np.arange(len(legal))).sum(axis=1) == 3)[:2]
    rows = np.append(rows, np.flatnonzero(made._legal(np.arange(len(legal))).sum(axis=1) == 2)[:1])
    many = np.repeat(rows, 6000)
    for is_greedy in (False, True):
        drawn, soft = made.act(many, rng, is_greedy=is_greedy, temperature=0.01, exploration=1.0)
        for row in rows:
            chances = made._legal(np.array([row]))[0] / made._legal(np.array([row])).sum()
            np.testing.assert_array_equal(soft[many == row], np.tile(chances, (6000, 1)))
            found = np.bincount(drawn[many == row], minlength=3) / 6000
            np.testing.assert_allclose(found, chances, atol=0.03)
            assert (found[chances == 0.0] == 0.0).all()
        # Half of the time exploring: the rest plays as before.
        drawn, soft = made.act(many, rng, is_greedy=True, temperature=0.01, exploration=0.5)
        (greedy,) = np.unique(
            made.act(many, rng, is_greedy=True, temperature=1, exploration=0)[0][:1]
        )
        assert (drawn[:6000] == greedy).mean() == pytest.approx(0.5 + 0.5 / 3, abs=0.03)


# What is played is what is scored


@pytest.mark.parametrize("oracle", ["softmax", "dqn"])
def test_the_scored_plan_is_what_opponents_and_the_learner_play(oracle: str) -> None:
    config = adjusted(QUICK, oracle=oracle, temperature=0.3, exploration=0.0)
    space = ValueSpace(LEDUC, config)
    rng = np.random.default_rng(2)
    count = 20_000
    rows = [np.stack([space.fresh(p, rng) for _ in range(3)]) for p in (0, 1)]
    plans = [space.plans(p, rows[p]) for p in (0, 1)]
    weights = np.array([0.5, 0.2, 0.3])
    both = [Opponents(LEDUC, p, plans[p], weights) for p in (0, 1)]
    games = GameBatch(LEDUC, count)
    games.reset(np.arange(count))
    drawn = [other.draw(count, rng) for other in both]
    while not games.over.all():
        actions = np.zeros(count, np.int64)
        for p in (0, 1):
            turn = np.flatnonzero(games.player == p)
            actions[turn] = both[p].act(drawn[p][turn], games.row[turn], rng)
        games.step(actions)
    # Frequencies of own sequences at the end are (mixed plan x chance x opponent's mixed plan).
    mixed = [LEDUC.mix(plans[p], weights) for p in (0, 1)]
    for p in (0, 1):
        wanted = mixed[p] * LEDUC.terminal_weights(p, mixed[1 - p])
        found = np.bincount(LEDUC.form.sequence[p, games.history], minlength=len(wanted)) / count
        assert np.abs(found - wanted).max() < 5.0 * np.sqrt(wanted.max() / count)
        assert ((wanted > 0.0) | (found == 0.0)).all()
    assert games.returns[:, 0].mean() == pytest.approx(
        LEDUC.expected_value(*mixed), abs=5 * games.returns[:, 0].std() / np.sqrt(count)
    )

    # The learner, when it does not explore, plays the plan of its own table.
    made = space._new(rng)
    table = LEDUC.table(space.plans(0, space._table(0, made)[None])[0], 0)
    state = 3
    chosen, _ = made.act(
        np.full(count, state), rng, is_greedy=oracle == "dqn", temperature=0.3 * LEDUC.max_utility
    )
    found = np.bincount(chosen, minlength=3) / count
    np.testing.assert_allclose(found, table[state], atol=0.02)


def test_opponents_are_whole_policies_and_not_averages_of_their_actions() -> None:
    # One always passes, the other always bets: who has passed first is the one that folds.
    timid = KUHN.realization_plan(lambda _: {0: 1.0}, 0)
    bold = KUHN.realization_plan(lambda _: {1: 1.0}, 0)
    opponents = Opponents(KUHN, 0, np.stack([timid, bold]), np.array([0.5, 0.5]))
    rng = np.random.default_rng(0)
    games = GameBatch(KUHN, 2000)
    games.reset(np.arange(2000))
    drawn = opponents.draw(2000, rng)
    first = opponents.act(drawn, games.row, rng)
    assert 0.45 < first.mean() < 0.55
    games.step(first)
    games.step(np.ones(2000, np.int64))  # the second seat bets, or calls
    again = np.flatnonzero(~games.over)
    assert len(again) == (first == 0).sum()
    assert (opponents.act(drawn[again], games.row[again], rng) == 0).all()


def test_training_plays_meet_each_policy_as_often_as_its_weight_says() -> None:
    # One passes, the other bets: the second seat's observation identifies its opponent.
    plans = np.stack([KUHN.realization_plan(lambda _, a=a: {a: 1.0}, 0) for a in (0, 1)])
    opponents = Opponents(KUHN, 0, plans, np.array([0.25, 0.75]))

    def passing(rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(rows), np.int64), np.ones((len(rows), 2))

    rng = np.random.default_rng(0)
    played = play(GameBatch(KUHN, 2000), 2000, 1, opponents, passing, 12, rng)
    assert played is not None
    texts = [state.text for state in KUHN.information_states(1)]
    bets = np.mean([texts[row - 6].endswith("b") for row in played.decisions.rows.tolist()])
    assert bets == pytest.approx(0.75, abs=0.04)


# Quality


def response(
    space: ValueSpace, side: int, opponents: np.ndarray, seed: int
) -> tuple[float, float, np.ndarray]:
    """A response to equal parts of ``opponents``: its payoff, the best one's, and its row."""
    weights = np.full(len(opponents), 1.0 / len(opponents))
    own = space.fresh(side, np.random.default_rng(9))[None]
    situation = Situation(
        side, own[0], own, np.ones(1), opponents, weights, np.zeros((1, len(opponents))), 0
    )
    found = space.respond(situation, np.random.default_rng(seed))
    met = space.game.mix(space.plans(1 - side, opponents), weights)
    best, _ = space.game.best_response(side, met)
    plan = space.plans(side, found.row[None])[0]
    assert found.payoff == pytest.approx(float(plan @ space.game.gains(side, met)))
    return found.payoff, best, found.row


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("oracle", ["softmax", "dqn"])
def test_a_learned_response_on_kuhn_poker_is_nearly_optimal(oracle: str, side: int) -> None:
    config = adjusted(
        PSRO_PRESETS["psro-deep"], oracle=oracle, response_episodes=2000, hidden=(32, 32)
    )
    space = ValueSpace(KUHN, config)
    opponents = np.stack([space.fresh(1 - side, np.random.default_rng(k)) for k in range(3)])
    payoff, best, _ = response(space, side, opponents, seed=0)
    uniform, _, _ = response(
        ValueSpace(KUHN, adjusted(config, response_episodes=100, batch_size=20_000)),
        side,
        opponents,
        seed=0,
    )
    assert payoff <= best + 1e-9
    assert payoff > best - 0.06
    assert payoff > uniform + 0.1  # one batch of plays, no training


@pytest.mark.parametrize("side", [0, 1])
def test_a_learned_response_on_leduc_poker_wins_most_of_the_best_responses_gain(side: int) -> None:
    space = ValueSpace(LEDUC, PSRO_PRESETS["psro-deep"])
    uniform = np.zeros((1, LEDUC.num_sequences[1 - side]))  # equal values: a uniform softmax
    payoff, best, _ = response(space, side, uniform, seed=0)
    assert best == pytest.approx(2.09 if side == 0 else 2.66, abs=0.01)
    assert 0.75 * best < payoff <= best


def test_diversity_pays_each_play_its_divergence_from_the_closest_member() -> None:
    config = adjusted(
        QUICK, parallel_games=50, diversity="members", diversity_chance=1.0, diversity_weight=0.1
    )
    space = ValueSpace(KUHN, config)
    rng = np.random.default_rng(3)
    members = np.stack([space.fresh(0, rng) for _ in range(3)])
    opponents = Opponents(KUHN, 1, KUHN.uniform_plan(1)[None], np.ones(1))
    logs = space._log_policies(0, members)
    plain, paid = space._new(np.random.default_rng(1)), space._new(np.random.default_rng(1))
    assert space._gather(plain, 0, opponents, None, np.random.default_rng(4)) is None
    anchor = space._gather(paid, 0, opponents, logs, np.random.default_rng(4))
    assert anchor is not None
    old, new = plain.replay._columns, paid.replay._columns
    size = len(plain.replay)
    assert size > 50  # the first seat decides twice in some plays
    np.testing.assert_array_equal(old.rows, new.rows)
    # Slowly: the distributions are the softmax, or uniform where exploring; the exploring decisions
    # are those of the same draws.
    total = [0.0, 0.0, 0.0]
    bonuses: list[list[float]] = []
    tau = config.oracle.temperature * KUHN.max_utility
    added = (new.rewards - old.rewards)[:size]
    for member in range(3):
        walked, found = 0.0, []
        for k in range(size):
            row = int(old.rows[k])
            values = plain.values(np.array([row]))[0]
            own = np.exp(values / tau) / np.exp(values / tau).sum()
            table = members[member][1 + 2 * row :][:2] / tau
            other = np.exp(table) / np.exp(table).sum()
            walked += float((own * np.log(own / other)).sum())
            if old.next_rows[k] == 12:
                found.append(walked)
                total[member] += walked
                walked = 0.0
        bonuses.append(found)
    nearest = int(np.argmin(total))
    np.testing.assert_allclose(np.exp(anchor.log_policy[:6]), np.exp(logs[nearest]), atol=1e-12)
    ends = added[old.next_rows[:size] == 12]
    assert (added[old.next_rows[:size] != 12] == 0.0).all()
    wanted = 0.1 * KUHN.max_utility * np.array(bonuses[nearest])
    exact = np.isclose(ends, wanted, rtol=1e-5, atol=1e-9)
    assert exact.mean() > 0.8  # the others explored


def test_diverse_responses_go_away_from_the_members() -> None:
    moved = []
    for weight in (0.0, 1.0):
        config = adjusted(
            QUICK,
            response_episodes=2000,
            temperature=0.3,
            diversity="members",
            diversity_chance=1.0,
            diversity_weight=weight,
            updates=4,
        )
        space = ValueSpace(KUHN, config)
        member = np.zeros((1, KUHN.num_sequences[0]))
        situation = Situation(
            0, member[0], member, np.ones(1), np.zeros((1, 13)), np.ones(1), np.zeros((1, 1)), 0
        )
        row = space.respond(situation, np.random.default_rng(0)).row
        policies = np.exp(space._log_policies(0, row[None])[0])
        moved.append(float(np.abs(policies - 0.5).mean()))
    assert moved[1] > moved[0] + 0.05


# The outer loop


def test_the_outer_loop_grows_populations_and_counts_the_plays_played() -> None:
    made = learner(adjusted(QUICK, response_episodes=450), "KuhnPoker-v0", 0)
    first = made.measure(last=True)
    assert first["episodes"] == 0.0
    for _ in range(3):
        made.advance()
    figures = made.measure(last=True)
    assert figures["policies"] == 8.0
    assert figures["episodes"] == 3 * 2 * 400.0  # whole batches of 100
    x, y = (
        KUHN.mix(rows, mass) for rows, mass in zip(made.plans(), made.meta_strategy(), strict=True)
    )
    assert figures["nash_conv"] == pytest.approx(KUHN.nash_conv(x, y))
    assert figures["restricted_value"] == pytest.approx(KUHN.expected_value(x, y))
    assert figures["population_exploitability"] == pytest.approx(
        KUHN.population_exploitability(*made.plans()), abs=1e-9
    )


def test_the_deep_loop_comes_near_an_equilibrium_of_kuhn_poker() -> None:
    config = adjusted(PSRO_PRESETS["psro-deep"], response_episodes=1000, hidden=(32, 32))
    made = learner(config, "KuhnPoker-v0", 0)
    start = made.measure(last=False)["exploitability"]
    for _ in range(6):
        made.advance()
    assert made.measure(last=False)["exploitability"] < 0.15 < start / 2


SETTINGS = {
    "response_episodes": "300",
    "hidden": "[16]",
    "batch_size": "64",
    "replay_size": "500",
}


def run(out: Path, stop_after: int | None = None, resume: bool = False, **settings: str) -> None:
    progress = train(
        "psd-psro-deep",
        make_task("KuhnPoker-v0"),
        steps=4,
        seed=settings.pop("seed", 1),  # type: ignore[arg-type]
        settings={**SETTINGS, **settings},
        out=out,
        resume=resume,
    )
    for done, _ in enumerate(progress, start=1):
        if done == stop_after:
            progress.close()  # type: ignore[attr-defined]
            break


@pytest.mark.parametrize("warm_start", ["fresh", "weights", "weights-and-replay"])
def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path, warm_start: str) -> None:
    run(tmp_path / "whole", warm_start=warm_start)
    run(tmp_path / "parts", stop_after=2, warm_start=warm_start)
    run(tmp_path / "parts", resume=True, warm_start=warm_start)
    for name in ("weights.safetensors", "config.json"):
        whole, parts = ((tmp_path / f / name).read_bytes() for f in ("whole", "parts"))
        assert whole == parts
    lines = [
        [json.loads(line) for line in (tmp_path / f / "training.jsonl").read_text().splitlines()]
        for f in ("whole", "parts")
    ]
    for one, other in zip(*lines, strict=True):
        assert one["episodes"] == other["episodes"] == one["steps"] * 600
        assert one["nash_conv"] == other["nash_conv"]
    run(tmp_path / "other", warm_start=warm_start, seed=2)  # type: ignore[arg-type]
    weights = [(tmp_path / f / "weights.safetensors").read_bytes() for f in ("whole", "other")]
    assert weights[0] != weights[1]


def test_warm_starts_keep_what_they_say() -> None:
    kept = {}
    for warm_start in ("fresh", "weights", "weights-and-replay"):
        config = adjusted(QUICK, replay_size=5000, warm_start=warm_start)
        space = ValueSpace(KUHN, config)
        uniform = np.zeros((1, KUHN.num_sequences[1]))
        sizes, steps = [], []
        for seed in range(2):
            response(space, 0, uniform, seed)
            sizes.append(space._learners[0].replay.seen)
            steps.append(space._learners[0].updates)
        kept[warm_start] = (sizes[1] > 1.5 * sizes[0], steps[1] > steps[0])
    assert kept == {
        "fresh": (False, False),
        "weights": (False, True),
        "weights-and-replay": (True, True),
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learners": 2}, "one policy per side"),
        ({"diversity": "dpp"}, "'none' or 'members'"),
        ({"diversity": "members", "diversity_step": 0.5}, "whole steps"),
        ({"response_episodes": 50}, "at least parallel_games"),
        ({"batch_size": 501}, "at most replay_size"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"exploration": 1.5}, "exploration"),
        ({"warm_start": "cold"}, "warm_start"),
        ({"hidden": ()}, "hidden"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        adjusted(QUICK, **changes)


def test_a_matrix_is_refused_with_the_oracle_that_takes_it() -> None:
    with pytest.raises(ConfigError, match="oracle=exact"):
        learner(QUICK, "matrix:rock_paper_scissors", 0)
