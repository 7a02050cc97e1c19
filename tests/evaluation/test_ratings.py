"""Ratings against numbers worked by hand or published, and what copies may not change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from pkubench.envs.games.alpha_rank import alpha_rank_general, alpha_rank_symmetric
from pkubench.envs.games.errors import GameError
from pkubench.errors import ConfigError, RecordError
from pkubench.evaluation.ratings.elo import (
    POINTS,
    elo,
    hodge,
    log_odds,
    melo_update,
    melo_vectors,
    omega,
)
from pkubench.evaluation.ratings.nash_averaging import nash_average, nash_average_of_tasks
from pkubench.evaluation.ratings.rating import Settings, rate
from pkubench.evaluation.ratings.tables import (
    AgentRuns,
    RunTables,
    read_tables,
    wins_of_scores,
)

WINS = np.array([[0.5, 0.7, 0.45], [0.3, 0.5, 0.6], [0.55, 0.4, 0.5]])
CYCLE = np.array([[0.0, 1.0, -2.0], [-1.0, 0.0, 3.0], [2.0, -3.0, 0.0]])
RPS = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
CHAIN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
EXACT = {"rtol": 0.0, "atol": 1e-9}


def odds(share: float) -> float:
    return float(np.log(share / (1.0 - share)))


def test_shares_of_wins_split_into_ratings_and_a_circle() -> None:
    a, b, c = odds(0.7), odds(0.45), odds(0.6)
    found = hodge(log_odds(WINS))
    np.testing.assert_allclose(
        found.ratings, [(a + b) / 3.0, (c - a) / 3.0, -(b + c) / 3.0], **EXACT
    )
    np.testing.assert_allclose(found.ratings, [0.215542, -0.147278, -0.068265], atol=5e-7)
    # By the definition of the cyclic part, all three pairs of three agents have the same.
    np.testing.assert_allclose(found.cyclic, (a + c - b) / 3.0 * RPS, **EXACT)
    assert (a + c - b) / 3.0 == pytest.approx(0.484478, abs=5e-7)
    np.testing.assert_allclose(POINTS * found.ratings, [37.44, -25.58, -11.86], atol=5e-3)


def test_the_likeliest_elo_expects_the_wins_that_there_were() -> None:
    found = elo(WINS)
    np.testing.assert_allclose(found, [35.02, -23.34, -11.67], atol=5e-3)
    expected = 1.0 / (1.0 + np.exp(-(found[:, None] - found[None]) / POINTS))
    np.testing.assert_allclose(expected.sum(1), WINS.sum(1), **EXACT)
    two = np.array([[0.5, 10.0 / 11.0], [1.0 / 11.0, 0.5]])  # odds of 10 to 1
    np.testing.assert_allclose(elo(two), [200.0, -200.0], **EXACT)


def test_an_agent_that_always_wins_has_a_finite_rating() -> None:
    found = elo([[0.5, 1.0], [0.0, 0.5]])
    np.testing.assert_allclose(found, POINTS * odds(0.999) / 2.0 * np.array([1.0, -1.0]), **EXACT)


def test_nash_averaging_of_a_circle_is_worked_by_hand() -> None:
    # The equilibrium of three agents in a circle: the odds of the pair that it does not play in.
    sizes = np.array([odds(0.6), odds(0.55), odds(0.7)])
    found = nash_average(log_odds(WINS))
    np.testing.assert_allclose(found.weights, sizes / sizes.sum(), **EXACT)
    np.testing.assert_allclose(found.weights, [0.278970, 0.138067, 0.582963], atol=5e-7)
    np.testing.assert_allclose(found.ratings, 0.0, **EXACT)
    np.testing.assert_allclose(nash_average(CYCLE).weights, [1 / 2, 1 / 3, 1 / 6], **EXACT)


def test_of_several_equilibria_the_one_of_largest_entropy_is_taken() -> None:
    found = nash_average(CHAIN)  # (a, 0, 1 - a) for any a of at least 1/2
    np.testing.assert_allclose(found.weights, [0.5, 0.0, 0.5], **EXACT)
    np.testing.assert_allclose(nash_average(np.zeros((4, 4))).weights, 0.25, **EXACT)


def test_a_copy_takes_half_of_the_weight_and_changes_no_rating() -> None:
    both = WINS[[0, 0, 1, 2]][:, [0, 0, 1, 2]]
    alone, found = nash_average(log_odds(WINS)), nash_average(log_odds(both))
    half = alone.weights[0] / 2.0
    np.testing.assert_allclose(found.weights, [half, half, *alone.weights[1:]], **EXACT)
    # Elo is moved by it: the lead of A over C falls.
    assert elo(WINS)[0] - elo(WINS)[2] == pytest.approx(46.69, abs=5e-3)
    assert elo(both)[0] - elo(both)[3] == pytest.approx(26.33, abs=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_equilibrium_has_more_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(-1, 2, (6, 6)).astype(float)
    table -= table.T
    found = nash_average(table).weights
    assert (table @ found).max() < 1e-9
    general = minimize(
        lambda p: float((p * np.log(np.maximum(p, 1e-300))).sum()),
        np.full(6, 1 / 6),
        bounds=[(0.0, 1.0)] * 6,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1.0},
            {"type": "ineq", "fun": lambda p: -(table @ p)},
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    np.testing.assert_allclose(found, general.x, atol=1e-4)


def test_tasks_that_all_solve_and_copies_of_tasks_do_not_count() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.2, 0.2]])
    alone = nash_average_of_tasks(scores)
    np.testing.assert_allclose(alone.ratings, [0.5, 0.5, 0.2], **EXACT)
    np.testing.assert_allclose(alone.weights, [0.5, 0.5, 0.0], **EXACT)
    copied = nash_average_of_tasks(scores[:, [0, 1, 1]])
    np.testing.assert_allclose(copied.opponents, [0.5, 0.25, 0.25], **EXACT)
    np.testing.assert_allclose(copied.ratings, alone.ratings, **EXACT)
    easy = nash_average_of_tasks(np.hstack([scores, np.ones((3, 1))]))
    np.testing.assert_allclose(easy.opponents, [0.5, 0.5, 0.0], **EXACT)
    np.testing.assert_allclose(nash_average_of_tasks(np.ones((2, 3))).ratings, 1.0, **EXACT)


def test_the_share_of_a_circle_is_its_share_of_squares() -> None:
    found = hodge(CYCLE)
    np.testing.assert_allclose(found.ratings, [-1 / 3, 2 / 3, -1 / 3], **EXACT)
    np.testing.assert_allclose(found.cyclic, 2.0 * RPS, **EXACT)
    assert found.share == pytest.approx(24 / 28, abs=1e-12)
    assert hodge(RPS).share == 1.0 and hodge(np.zeros((2, 2))).share == 0.0
    ladder = np.arange(4.0)[:, None] - np.arange(4.0)
    assert hodge(ladder).share == pytest.approx(0.0, abs=1e-12)


def test_melo_of_one_plane_explains_three_agents() -> None:
    cyclic = hodge(log_odds(WINS)).cyclic
    vectors = melo_vectors(cyclic)
    np.testing.assert_allclose(vectors @ omega(1) @ vectors.T, cyclic, **EXACT)
    length = np.sqrt(cyclic[0, 1] / np.sin(2.0 * np.pi / 3.0))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), length, **EXACT)
    assert length == pytest.approx(0.747948, abs=5e-7)


def test_an_update_of_melo_is_worked_by_hand() -> None:
    vectors = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    ratings, moved = melo_update((0.0, 0.0), vectors, 1.0, rating_rate=0.2, vector_rate=0.1)
    missed = 1.0 - 1.0 / (1.0 + np.exp(-1.0))
    np.testing.assert_allclose(moved, [[1.0 + 0.1 * missed, 0.0], [0.0, 1.0 + 0.1 * missed]])
    assert moved[0][0] == pytest.approx(1.026894, abs=5e-7)
    assert ratings == pytest.approx((0.2 * missed, -0.2 * missed))
    still = melo_update((0.0, 0.0), (np.zeros(2),) * 2, 1.0, rating_rate=0.2, vector_rate=0.1)[1]
    np.testing.assert_array_equal(still, np.zeros((2, 2)))


def fixation(ahead: np.ndarray, alpha: float) -> float:
    """The probability that a mutant takes over, from its definition."""
    return float(1.0 / (1.0 + np.exp(-alpha * np.cumsum(ahead)).sum()))


def stationary_by_powers(rates: np.ndarray) -> np.ndarray:
    chain = rates / (len(rates) - 1)
    np.fill_diagonal(chain, 0.0)
    np.fill_diagonal(chain, 1.0 - chain.sum(1))
    return np.linalg.matrix_power(chain, 1 << 20)[0]


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [(0.1, (0.277916, 0.527529, 0.194555)), (1.0, (0.305505, 0.415623, 0.278872))],
)
def test_alpha_rank_of_a_circle(alpha: float, wanted: tuple[float, ...]) -> None:
    found = alpha_rank_symmetric(CYCLE, alpha=alpha, population=50)
    np.testing.assert_allclose(found, wanted, atol=5e-7)
    rates = np.ones((3, 3))
    for s in range(3):
        for r in range(3):
            rates[s, r] = fixation(np.full(49, CYCLE[r, s] * 50 / 49), alpha)
    np.testing.assert_allclose(found, stationary_by_powers(rates), **EXACT)
    # In the limit of selection all three are played alike: each beats one and loses to one.
    np.testing.assert_allclose(alpha_rank_symmetric(CYCLE), 1 / 3, **EXACT)


def test_alpha_rank_in_the_limit_is_worked_by_hand() -> None:
    tenth = alpha_rank_symmetric(CHAIN, epsilon=0.1)
    rates = np.where(CHAIN.T > 0.0, 0.9, np.where(CHAIN.T < 0.0, 0.1, 0.5))
    np.testing.assert_allclose(tenth, stationary_by_powers(rates), **EXACT)
    np.testing.assert_allclose(tenth, [0.543568, 0.244813, 0.211618], atol=5e-7)
    np.testing.assert_allclose(alpha_rank_symmetric(CHAIN), [0.6, 0.2, 0.2], **EXACT)


def test_alpha_rank_of_a_game_that_is_not_zero_sum() -> None:
    game = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])
    found = alpha_rank_general(game, alpha=0.1, population=20)
    np.testing.assert_allclose(found, [0.388307, 0.343802, 0.267892], atol=5e-7)
    rates, size = np.ones((3, 3)), 20
    for s in range(3):
        for r in range(3):
            k = np.arange(1, size)
            mutant = ((k - 1) * game[r, r] + (size - k) * game[r, s]) / (size - 1)
            resident = (k * game[s, r] + (size - k - 1) * game[s, s]) / (size - 1)
            rates[s, r] = fixation(mutant - resident, 0.1)
    np.testing.assert_allclose(found, stationary_by_powers(rates), **EXACT)
    # A zero-sum game is a special case.
    np.testing.assert_allclose(
        alpha_rank_general(CHAIN, alpha=0.3, population=7),
        alpha_rank_symmetric(CHAIN, alpha=0.3 * 6 / 7 * 7 / 6, population=7),
        atol=0.02,
    )


def test_runs_of_agents_meet_each_other_and_are_drawn_within_agents() -> None:
    scores = {"a": np.array([[1.0, 0.0], [3.0, 0.0]]), "b": np.array([[2.0, 0.0]])}
    found = wins_of_scores(scores)
    # Task 1: one of two runs is better; task 2: a draw.
    np.testing.assert_allclose(found.table(), [[0.5, 0.5], [0.5, 0.5]])
    drawn = [found.resampled(np.random.default_rng(seed))[0, 1] for seed in range(200)]
    assert set(np.round(drawn, 6)) == {0.25, 0.5, 0.75}
    assert found.runs == 1  # b has one: no interval
    rounding = wins_of_scores({"a": np.ones((1, 1)), "b": np.full((1, 1), 1.0 + 1e-15)})
    np.testing.assert_allclose(rounding.table(), 0.5)
    better = wins_of_scores({"a": np.full((3, 1), 1.0), "b": np.zeros((3, 1))})
    np.testing.assert_allclose(better.table(), [[0.5, 1.0], [0.0, 0.5]])


def test_intervals_are_over_runs_and_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(20):
        runs = WINS + 0.0
        noise = rng.normal(scale=0.02, size=(20, 3, 3))
        tables = runs + (noise - noise.transpose(0, 2, 1)) / 2.0
        results = RunTables(tuple("abc"), tuple("abc"), "wins", tables)
        found = rate(results, Settings(resamples=40, seed=trial))
        covered += bool(found.low["mean"][0] <= WINS[0].mean() <= found.high["mean"][0])
        assert (found.low["elo"] < found.values["elo"]).all()
    assert covered >= 15
    single = rate(RunTables(tuple("abc"), tuple("abc"), "wins", WINS[None]))
    assert np.isnan(single.low["elo"]).all() and single.cyclic_share is not None


def test_the_same_table_from_every_kind_of_file(tmp_path: Path) -> None:
    names = ["A", "B", "C"]
    rows = "\n".join(",".join([n, *map(str, r)]) for n, r in zip(names, WINS.tolist(), strict=True))
    (tmp_path / "t.csv").write_text(f",A,B,C\n{rows}\n")
    (tmp_path / "t.json").write_text(json.dumps({"agents": names, "table": WINS.tolist()}))
    np.savez(tmp_path / "t.npz", agents=np.array(names), tables=WINS[None])
    np.save(tmp_path / "t.npy", WINS)
    for suffix in ("csv", "json", "npz", "npy"):
        found = read_tables([tmp_path / f"t.{suffix}"])
        assert found.kind == "wins" and found.runs == 1
        np.testing.assert_allclose(found.table(), WINS, atol=1e-15)
        assert found.names == (
            tuple(names) if suffix != "npy" else ("agent 0", "agent 1", "agent 2")
        )
    twice = read_tables([tmp_path / "t.csv", tmp_path / "t.json"])
    assert twice.runs == 2


@pytest.mark.parametrize(
    ("table", "kind"),
    [(CYCLE, "payoffs"), (WINS, "wins"), (CYCLE + 1.0, "general"), (np.ones((2, 3)), "scores")],
)
def test_what_a_table_is_of_is_seen(tmp_path: Path, table: np.ndarray, kind: str) -> None:
    np.save(tmp_path / "t.npy", table)
    assert read_tables([tmp_path / "t.npy"]).kind == kind


def test_a_measured_table_is_made_antisymmetric_on_request(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", CYCLE + 0.01)
    found = read_tables([tmp_path / "t.npy"], "payoffs")
    np.testing.assert_allclose(found.table(), CYCLE, atol=1e-12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        (",A,B\nA,1\nB,2,3\n", "different numbers of cells"),
        (",A,B\nA,1,x\nB,2,3\n", "could not convert"),
        (",A,B\nA,0.5,0.5\nA,0.5,0.5\n", "twice"),
        ("0.5\n", "one row"),
        (",A,B\nA,0,1\nB,-1,0\nC,1,1\n", "columns of agents, such as A, but C has no column"),
        (",A,B,C\nA,0,1,2\nB,-1,0,3\n", "but C has no row"),
        (",B,A\nA,0,1\nB,-1,0\n", "in another order"),
    ],
)
def test_files_that_are_no_tables_are_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(RecordError, match=words):
        read_tables([tmp_path / "t.csv"])


def test_columns_of_agents_are_tasks_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",A,B\nA,0,1\nB,-1,0\nC,1,1\n")
    assert read_tables([tmp_path / "t.csv"], "scores").kind == "scores"


def test_pickles_and_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(RecordError, match="allow_pickle"):
        read_tables([tmp_path / "t.npy"])
    np.save(tmp_path / "n.npy", np.array([[0.0, np.nan], [0.0, 0.0]]))
    with pytest.raises(GameError, match="not finite"):
        read_tables([tmp_path / "n.npy"])
    with pytest.raises(RecordError, match=r"none of \.csv"):
        read_tables([tmp_path / "t.pkl"])
    with pytest.raises(RecordError, match="sum to 1"):
        log_odds([[0.5, 0.9], [0.9, 0.5]])
    with pytest.raises(ConfigError, match="epsilon"):
        alpha_rank_symmetric(RPS, epsilon=0.5)


def test_a_table_of_payoffs_of_runs_keeps_an_agents_own_cell_at_a_draw() -> None:
    met = np.array([[0.0, 4.0, 1.0], [-4.0, 0.0, 2.0], [-1.0, -2.0, 0.0]])
    found = AgentRuns(("a", "b"), "payoffs", (np.array([0, 1]), np.array([2])), met[None])
    np.testing.assert_allclose(found.table(), [[0.0, 1.5], [-1.5, 0.0]])
