"""Secret episodes: nobody knows them, everyone is ranked by them, and a gap is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from pkubench.envs.core.seeding import MAX_SEED, agent_seeds, evaluation_seeds
from pkubench.leaderboard import Board, create_bundle, rank_task
from pkubench.leaderboard.board.secret import SecretSeeds, gap
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.site.builder import Site
from pkubench.tasks.balanced import BalancedEpisodes
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import Writer, spread_scores

TASK = "SimpleSpread-v0"
ID = f"pkubench/{TASK}"


def records(scores: list[float], first_seed: int = 7) -> list[EpisodeRecord]:
    return [
        EpisodeRecord(episode=k, seed=first_seed + k, return_=s, returns={"agent_0": s}, length=25)
        for k, s in enumerate(scores)
    ]


def test_a_board_draws_its_key_once(tmp_path: Path) -> None:
    task = make_task(TASK)
    with Board.open(tmp_path / "a.sqlite") as board:
        first = SecretSeeds.of(board.database)
    with Board.open(tmp_path / "a.sqlite") as board:
        assert SecretSeeds.of(board.database) == first
    with Board.open(tmp_path / "b.sqlite") as board:
        assert SecretSeeds.of(board.database).plan(task) != first.plan(task)
    assert len(first.key) == 32
    assert first.key.hex() not in repr(first)


def test_no_secret_seed_is_public_nor_derived_from_another() -> None:
    task, secret = make_task(TASK), SecretSeeds(bytes(32))
    planned = secret.plan(task)
    assert [episode.number for episode in planned] == list(range(task.protocol.episodes))
    seeds = {episode.seed for episode in planned}
    assert len(seeds) == len(planned)
    assert seeds.isdisjoint(evaluation_seeds(0, 2**16).tolist())
    # A public agent's seed is a hash of the environment's: that would let code find the episode.
    hashes = {int(s) for e in planned for s in agent_seeds(np.array([e.seed]), "agent_0")}
    own = {int(s) for e in planned for s in agent_seeds(np.array([e.agent_seed]), "agent_0")}
    assert len(own) == len(planned) and own.isdisjoint(hashes)
    # 31 bits could be tried one by one; of 200 seeds of 63 bits, one in 10^7 is below 2**40.
    assert min(min(e.seed, e.agent_seed) for e in planned) > 2**40
    assert all(0 <= e.seed <= MAX_SEED and 0 <= e.agent_seed <= MAX_SEED for e in planned)


def test_episodes_that_share_a_seed_share_the_secret_one() -> None:
    task = make_task("SimpleSpread-v0")
    paired = replace(task, scoring=BalancedEpisodes(option="side", values=(0, 1)))
    planned = SecretSeeds(bytes(32)).plan(paired)
    for first, second in zip(planned[::2], planned[1::2], strict=True):
        assert (first.seed, first.agent_seed) == (second.seed, second.agent_seed)
        assert (first.options, second.options) == ({"side": 0}, {"side": 1})
    assert len({episode.seed for episode in planned}) == len(planned) // 2


def test_what_is_computed_exactly_has_no_secret_episodes() -> None:
    assert SecretSeeds(bytes(32)).plan(make_task("KuhnPoker-v0")) == ()


def test_the_test_finds_an_agent_that_knows_the_public_answers_and_no_honest_one() -> None:
    task, rng = make_task(TASK), np.random.default_rng(0)
    honest = [rng.normal(-40.0, 5.0, 200).tolist() for _ in range(5)]
    again = [rng.normal(-40.0, 5.0, 200).tolist() for _ in range(5)]
    knowing = [rng.normal(-37.0, 5.0, 200).tolist() for _ in range(5)]

    def found(public: list[list[float]], secret: list[list[float]]) -> str:
        return gap(task, [records(r) for r in public], [records(r) for r in secret])

    assert found(honest, again) == ""
    assert found(again, knowing) == ""  # worse on what is known is no advantage
    text = found(knowing, honest)
    assert text.startswith("better on public episodes than on secret ones: -37")
    assert "level 0.001 over 5 runs" in text
    assert found([honest[0], [-1.0] * 200], [again[0], [-2.0] * 200])  # one run of several
    assert found([[-1.0] * 200], [[-1.0] * 200]) == ""
    # By hand: means 1 and 0, variances 1/3 each of n = 4, so t = 1 / sqrt(1/6) = 2.449 with 6
    # degrees of freedom, p = 0.025 one-sided: no gap at the level 0.001.
    assert found([[0.5, 0.5, 1.5, 1.5]], [[-0.5, -0.5, 0.5, 0.5]]) == ""


def test_entries_are_ranked_by_the_secret_episodes(tmp_path: Path, results: Writer) -> None:
    board, task = Board.open(), make_task(TASK)
    public = {"honest": -40.0, "knowing": -20.0}  # higher is better
    for number, (name, mean) in enumerate(public.items()):
        folder = results(name, TASK, spread_scores(mean, seed=number))
        bundle = create_bundle(folder, tmp_path / f"{name}.zip", weights=tmp_path / "weights")
        secret = {}
        for k, run in enumerate(bundle.tasks[0].runs):
            truth = -40.0 if name == "honest" else -60.0
            scores = np.random.default_rng([number, k]).normal(truth, 4.0, 200).tolist()
            lines = (record.line(task) for record in records(scores, first_seed=987_654_000))
            secret[run.name] = "".join(f"{line}\n" for line in lines).encode()
        verdict = Verdict(Tier.VERIFIED_CODE, "same bytes", secret=secret)
        board.submit(bundle, Verification({ID: verdict}))
    standings = rank_task(task, board.entries(ID))
    assert [(s.entry.submitter.name, s.rank) for s in standings] == [("honest", 1), ("knowing", 2)]
    (suite,) = (page for page in Site(board).suites if page.name == task.suite)
    assert [(row.standing.submitter.name, row.standing.rank) for row in suite.rows] == [
        ("honest", 1),
        ("knowing", 2),
    ]
    # Published to a tenth of the interval, and of no single run.
    score = standings[1].score
    exact = standings[1].entry.report.metrics["return"].mean
    assert score is not None and exact is not None
    assert 0 < abs(score.estimate - exact) < 0.05 * (score.high - score.low)
    text = json.dumps([board.export_json(), [s.to_json() for s in standings]])
    site = b"".join(make() for name, make in Site(board).files.items() if ".zip" not in name)
    for run in standings[1].entry.runs:
        for shown in (text, site.decode()):
            assert f"{run.metrics['return']:.6f}"[:7] not in shown
    assert standings[1].score is not None and -61 < standings[1].score.estimate < -59
    assert standings[0].entry.gap == "" and "than on secret ones: -" in standings[1].entry.gap
    folder = results("apart", TASK, spread_scores(-10.0, seed=3))
    apart = create_bundle(folder, tmp_path / "apart.zip", weights=tmp_path / "weights")
    board.submit(apart, Verification({ID: Verdict(Tier.VERIFIED_CODE, "same bytes")}))
    unranked = [s.unranked for s in rank_task(task, board.entries(ID)) if s.rank is None]
    assert unranked == ["not played on the secret episodes by which others are ranked here"]
    document = json.dumps(board.export_json())
    assert "987654" not in document  # seeds of secret episodes never leave the board
    assert '"gap": "better on public' in document
    # A new verification replaces the secret lines as well.
    bundle_again = create_bundle(
        tmp_path / "results" / "knowing", tmp_path / "k.zip", weights=tmp_path / "weights"
    )
    lines = {run.name: run.lines for run in bundle_again.tasks[0].runs}
    board.submit(
        bundle_again,
        Verification({ID: Verdict(Tier.VERIFIED_CODE, "same bytes", secret=lines)}),
    )
    first = rank_task(task, board.entries(ID))[0]
    assert (first.entry.submitter.name, first.entry.gap) == ("knowing", "")
    # One that played none leaves none behind, and lines played elsewhere go too.
    elsewhere = {
        run.name: lines[run.name].replace(b'"length": 25', b'"length": 24')
        for run in bundle_again.tasks[0].runs
    }
    assert elsewhere != lines
    board.submit(
        bundle_again, Verification({ID: Verdict(Tier.VERIFIED_CODE, "", played=elsewhere)})
    )
    board.submit(bundle_again, Verification({ID: Verdict(Tier.SELF_REPORTED, "")}))
    (entry,) = (e for e in board.entries(ID) if e.submitter.name == "knowing")
    assert not entry.is_secret
    assert {run.name: run.lines for run in entry.runs} == lines
