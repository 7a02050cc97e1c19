"""The game engine compared with OpenSpiel's C++ code and published loops, in one run.

``python -m benchmarks.games`` prints four Markdown tables, and exits with 1 if a bar is missed:
NashConv at least 1,000 times as fast as ``pyspiel.nash_conv`` on Leduc poker and 500 times on
Liar's dice with five sides, after a build of at most 2 seconds; Leduc episodes with a small network
in both seats at least 10 times as fast as on OpenSpiel's states. Both score the same random
behavioural policy and must agree to 1e-9. Ours takes realization plans, which a population has
anyway; the time to make both from a dictionary of probabilities is also reported. A step of the
second table is one decision of the learner's seat at Leduc poker against the uniform opponent, with
observation, action mask and resets; OpenSpiel's states are stepped by a Python loop, as its users
do. The third table plays whole episodes of both seats with the same NumPy network (30-64-64-3,
actions drawn from the softmax over what is legal), which OpenSpiel's states ask one decision at a
time. The fourth is an iteration of PSRO with its scores on a random game of skill of 888 actions,
at least 50 times as fast as a plain loop that, as published code does, solves every game by 1,000
rounds of fictitious play and keeps their history. Everything runs on one thread; runs alternate,
and the median of the rounds counts for both. About a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pyspiel

from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSRO_PRESETS
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import FloatArray, IntArray, TrainingSeeds
from pkubench.envs.games import GameTree
from pkubench.envs.games.game_batch import GameBatch
from pkubench.envs.games.matrix_catalogue import game_of_skill
from pkubench.envs.games.trees import game_tree

GAMES = ("kuhn_poker", "leduc_poker", "liars_dice(dice_sides=4)", "liars_dice(dice_sides=5)")
BARS = {"leduc_poker": 1000.0, "liars_dice(dice_sides=5)": 500.0}
"""How many times as fast as OpenSpiel NashConv must be."""
BUILD_S = 2.0
"""Maximal time for building one of these trees."""
BATCHES = (1, 64, 1024, 8192)
MATRIX_ACTIONS, MATRIX_ITERATION, FICTITIOUS = 888, 100, 1000
MATRIX_BAR = 50.0
"""How many times as fast as the published loop an iteration of PSRO with its scores must be."""
SELF_PLAY_BAR = 10.0
"""How many times the episodes of OpenSpiel's states ``SELF_PLAY_GAMES`` batched plays must do."""
SELF_PLAY_GAMES = 1024


def seconds_a_call(call: Callable[[], object], budget_s: float) -> float:
    """Return the mean seconds per call, over as many calls as fit in the budget, at least one."""
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= budget_s:
            return spent / calls


def medians(
    calls: dict[str, Callable[[], object]], rounds: int, budget_s: float
) -> dict[str, float]:
    """Alternate the calls; return each one's median seconds."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(seconds_a_call(call, budget_s))
    return {name: statistics.median(times) for name, times in found.items()}


def nash_conv_row(name: str, rounds: int) -> tuple[float, float]:
    """Print one game's row; return how many times as fast ours is, and the seconds of a build."""
    start = time.perf_counter()
    tree = GameTree.from_openspiel(name)
    build_s = time.perf_counter() - start
    game = pyspiel.load_game(name)
    rng = np.random.default_rng(0)
    plans = [tree.random_plan(player, rng) for player in (0, 1)]
    policy = {**tree.behaviour(plans[0], 0), **tree.behaviour(plans[1], 1)}
    theirs = pyspiel.TabularPolicy({text: list(row.items()) for text, row in policy.items()})
    ours, peers = tree.nash_conv(*plans), pyspiel.nash_conv(game, theirs)
    if abs(ours - peers) > 1e-9:
        sys.exit(f"{name}: NashConv is {ours} here and {peers} in OpenSpiel")
    spent = medians(
        {
            "ours": lambda: tree.nash_conv(plans[0], plans[1]),
            "plans": lambda: [tree.realization_plan(policy, player) for player in (0, 1)],
            "theirs": lambda: pyspiel.nash_conv(game, theirs),
        },
        rounds,
        0.15,
    )
    ratio = spent["theirs"] / spent["ours"]
    solve_s = seconds_a_call(tree.solve, 0.0)
    print(
        f"| {name} | {sum(tree.num_information_states):,} | {1e3 * spent['theirs']:.3f} "
        f"| {1e3 * spent['ours']:.4f} | {ratio:,.0f} | {1e3 * spent['plans']:.2f} "
        f"| {build_s:.2f} | {solve_s:.2f} |",
        flush=True,
    )
    return ratio, build_s


def openspiel_steps(steps: int) -> float:
    """Play Leduc poker on OpenSpiel's states; return decisions per second."""
    game = pyspiel.load_game("leduc_poker")
    draw = random.Random(0)
    done, start = 0, time.perf_counter()
    while done < steps:
        seat = draw.randrange(2)
        state = game.new_initial_state()
        while not state.is_terminal():
            if state.is_chance_node():
                state.apply_action(draw.choice(state.legal_actions()))  # all cards as likely
            elif state.current_player() == seat:
                np.array(state.information_state_tensor(seat), np.float32)
                np.array(state.legal_actions_mask(seat), np.int8)
                state.apply_action(draw.choice(state.legal_actions()))
                done += 1
            else:
                state.apply_action(draw.choice(state.legal_actions()))
        state.returns()
    return done / (time.perf_counter() - start)


def batch_steps(num_envs: int, seconds: float) -> float:
    """Play Leduc poker with uniformly random legal actions; return decisions per second."""
    env = make_batch("LeducPoker-v0", num_envs)
    seeds, everyone = TrainingSeeds(0, num_envs), np.arange(num_envs)
    _, info = env.reset(seeds.next(everyone))
    draws = np.random.default_rng(0).random((64, num_envs, 3))
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        for draw in draws:
            step = env.step({"agent": (info["action_mask"] * (1.0 - draw)).argmax(axis=1)})
            info = step.info
            over = np.flatnonzero(step.terminated)
            if len(over):
                _, info = env.reset(seeds.next(over), over)
            done += num_envs
    return done / spent


Layers = list[tuple[FloatArray, FloatArray]]


def network() -> Layers:
    """Return the layers of a network for Leduc poker, with fixed random weights."""
    rng = np.random.default_rng(0)
    sizes = (30, 64, 64, 3)
    return [
        (rng.normal(size=(i, o)) / i**0.5, rng.normal(size=o)) for i, o in itertools.pairwise(sizes)
    ]


def chosen(layers: Layers, observed: FloatArray, mask: FloatArray, draws: FloatArray) -> IntArray:
    """Draw legal actions from the network's softmax; all arguments are batches."""
    for place, (weights, bias) in enumerate(layers):
        observed = observed @ weights + bias
        if place + 1 < len(layers):
            observed = np.maximum(observed, 0.0)
    chances = np.exp(observed - observed.max(axis=1, keepdims=True)) * mask
    running = np.cumsum(chances, axis=1)
    # From (0, total]: an illegal first action has a running sum of 0 and is never drawn.
    return (running < (1.0 - draws)[:, None] * running[:, -1:]).sum(axis=1)


def openspiel_episodes(layers: Layers, episodes: int) -> float:
    """Play Leduc poker with a network in both seats, state by state; return episodes per second."""
    game = pyspiel.load_game("leduc_poker")
    draw = random.Random(0)
    start = time.perf_counter()
    for _ in range(episodes):
        state = game.new_initial_state()
        while not state.is_terminal():
            if state.is_chance_node():
                state.apply_action(draw.choice(state.legal_actions()))  # all cards as likely
                continue
            observed = np.array([state.information_state_tensor()])
            mask = np.array([state.legal_actions_mask()])
            state.apply_action(int(chosen(layers, observed, mask, np.array([draw.random()]))[0]))
        state.returns()
    return episodes / (time.perf_counter() - start)


def batch_episodes(layers: Layers, num_games: int, seconds: float) -> float:
    """Play the same in a batch; finished plays are dealt again. Return episodes per second."""
    games = GameBatch(game_tree("leduc_poker"), num_games)
    seeds, everyone = TrainingSeeds(0, num_games), np.arange(num_games)
    games.reset(seeds.next(everyone))
    rng = np.random.default_rng(0)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        draws = rng.random(num_games)
        games.step(chosen(layers, games.observations, games.action_mask, draws))
        over = np.flatnonzero(games.over)
        if len(over):
            games.returns[over].sum()
            games.reset(seeds.next(over), over)
            done += len(over)
    return done / spent


def self_play_table(rounds: int) -> float:
    """Print the third table; return how many times as fast the batch is."""
    layers = network()
    batch_episodes(layers, 64, 0.1)
    peers, ours = [], {games: list[float]() for games in (64, SELF_PLAY_GAMES, 8192)}
    for _ in range(rounds):
        peers.append(openspiel_episodes(layers, 1_000))
        for games in ours:
            ours[games].append(batch_episodes(layers, games, 0.3))
    peer = statistics.median(peers)
    print("\n| Leduc poker, network in both seats | episodes per second | / OpenSpiel |")
    print("|---|---|---|")
    print(f"| OpenSpiel states, Python loop | {peer:,.0f} | 1 |")
    ratios = {games: statistics.median(rates) / peer for games, rates in ours.items()}
    for games, ratio in ratios.items():
        print(f"| ours, {games} plays in parallel | {ratio * peer:,.0f} | {ratio:.1f} |")
    return ratios[SELF_PLAY_GAMES]


def played(payoff: FloatArray, rounds: int) -> FloatArray:
    """Return the average of fictitious play as published code has it, history and all."""
    history = np.full((1, len(payoff)), 1.0 / len(payoff))
    averages, gaps = history, []
    for _ in range(rounds):
        average = np.average(history, axis=0)
        answer = np.zeros(len(payoff))
        answer[np.argmin(average @ payoff)] = 1.0
        gaps.append(answer @ payoff @ average - average @ payoff @ answer)
        averages = np.vstack((averages, average))
        history = np.vstack((history, answer))
    return np.asarray(averages[-1])


def guaranteed(payoff: FloatArray, rounds: int) -> float:
    """Return what the rows guarantee, by fictitious play of both sides."""
    x, y = (np.full(size, 1.0 / size) for size in payoff.shape)
    for turn in range(1, rounds + 1):
        column, row = np.zeros(len(y)), np.zeros(len(x))
        column[np.argmin(x @ payoff)] = 1.0
        row[np.argmin(y @ -payoff.T)] = 1.0
        x, y = (x * turn + row) / (turn + 1), (y * turn + column) / (turn + 1)
    return float(x @ payoff @ y)


def published_iteration(rows: FloatArray, payoff: FloatArray) -> tuple[float, float]:
    """Do PSRO's iteration with 1,000 rounds of fictitious play wherever a game is to be solved.

    Returns:
        Exploitability of the mixture and population exploitability, both biased upwards.
    """
    before = rows[:-1]
    against = played(before @ payoff @ before.T, FICTITIOUS) @ before
    answer = np.zeros(len(payoff))
    answer[np.argmin(against @ payoff)] = 1.0
    rows = np.vstack((before, 0.5 * rows[-1] + 0.5 * answer))
    mixed = played(rows @ payoff @ rows.T, FICTITIOUS) @ rows
    return float((payoff @ mixed).max()), -guaranteed(rows @ payoff, FICTITIOUS)


def matrix_psro_table(rounds: int) -> float:
    """Print the fourth table; return how many times as fast an iteration is."""
    game = game_of_skill(MATRIX_ACTIONS).normalised()
    learner = PopulationLearner(game, PSRO_PRESETS["psro-paper"], 0)
    while learner.iteration < MATRIX_ITERATION:
        learner.advance()
    state, rows = learner.state(), learner.plans()[0]
    exact = learner.measure(True)
    spent: dict[str, list[float]] = {"theirs": [], "ours": [], "ours, scored": []}
    noisy = (0.0, 0.0)
    for _ in range(rounds):
        start = time.perf_counter()
        noisy = published_iteration(rows, game.payoff)
        spent["theirs"].append(time.perf_counter() - start)
        learner.restore(state)
        learner.measure(True)
        for _ in range(10):
            start = time.perf_counter()
            learner.advance()
            spent["ours"].append(time.perf_counter() - start)
            learner.measure(True)
            spent["ours, scored"].append(time.perf_counter() - start)
    medians_s = {name: statistics.median(times) for name, times in spent.items()}
    print(f"\n| PSRO on a game of skill, n = {MATRIX_ACTIONS} | ms per iteration | ratio |")
    print("|---|---|---|")
    for name, label in (
        ("theirs", f"loop with {FICTITIOUS:,} rounds of fictitious play, scored"),
        ("ours", "ours, with exact exploitability"),
        ("ours, scored", "ours, with exact exploitability and PE"),
    ):
        ratio = medians_s["theirs"] / medians_s[name]
        print(f"| {label} | {1e3 * medians_s[name]:.2f} | {ratio:.0f} |")
    print(
        f"\nFor {len(rows)} policies: exploitability {exact['exploitability']:.4f}, by fictitious "
        f"play {noisy[0]:.4f}; PE {exact['population_exploitability'] / 2:.4f} and {noisy[1]:.4f}."
    )
    return medians_s["theirs"] / medians_s["ours, scored"]


def main() -> None:
    """Print the tables, and whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("| game | states | OpenSpiel C++ ms | ours ms | ratio | plans ms | build s | solve s |")
    print("|---|---|---|---|---|---|---|---|")
    found = {name: nash_conv_row(name, rounds) for name in GAMES}

    print("\n| Leduc poker | decisions per second | / OpenSpiel |")
    print("|---|---|---|")
    batch_steps(64, 0.1)
    peers, ours = [], {num_envs: list[float]() for num_envs in BATCHES}
    for _ in range(rounds):
        peers.append(openspiel_steps(5_000))
        for num_envs in BATCHES:
            ours[num_envs].append(batch_steps(num_envs, 0.3))
    peer = statistics.median(peers)
    print(f"| OpenSpiel states, Python loop | {peer:,.0f} | 1 |")
    for num_envs, rates in ours.items():
        rate = statistics.median(rates)
        print(f"| ours, {num_envs} environments | {rate:,.0f} | {rate / peer:.1f} |")

    self_play = self_play_table(rounds)
    matrix_psro = matrix_psro_table(rounds)
    print()
    missed = self_play < SELF_PLAY_BAR or matrix_psro < MATRIX_BAR
    for name, bar in BARS.items():
        ratio, build_s = found[name]
        is_met = ratio >= bar and build_s <= BUILD_S
        missed = missed or not is_met
        print(
            f"{name}: NashConv {ratio:,.0f} times as fast as OpenSpiel ({bar:,.0f} wanted), built "
            f"in {build_s:.2f} s ({BUILD_S:g} allowed): {'yes' if is_met else 'NO'}"
        )
    print(
        f"Leduc episodes: {self_play:.1f} times OpenSpiel's ({SELF_PLAY_BAR:g} wanted): "
        f"{'NO' if self_play < SELF_PLAY_BAR else 'yes'}"
    )
    print(
        f"Matrix PSRO: an iteration {matrix_psro:.0f} times as fast as with fictitious play "
        f"({MATRIX_BAR:g} wanted): {'NO' if matrix_psro < MATRIX_BAR else 'yes'}"
    )
    sys.exit(missed)


if __name__ == "__main__":
    main()
