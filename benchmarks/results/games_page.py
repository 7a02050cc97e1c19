"""Writes ``docs/results/games.md``: every figure in it is computed from records here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import games_ablation
from benchmarks.results.game_records import MIXTURE, GameRow, Line, read, timed_alike
from benchmarks.results.games_claim import OFFICIAL_PLAYS, claim, equal_budgets
from pkubench.agents.families.psro.diversities.members import Members
from pkubench.agents.families.psro.oracles.learned import LearnedOracle
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games.mixture_model import CENTRES
from pkubench.evaluation.figures.curves import exploitability_curves
from pkubench.evaluation.figures.games import gamescape, policies_in_plane
from pkubench.evaluation.statistics import mean_interval

_ALPHASTAR = {
    "psro": (0.0531, 0.0235),
    "p-psro": (0.0484, 0.0202),
    "psro-rn": (0.0491, 0.0196),
    "dpp-psro": (0.0308, 0.0124),
    "bd-rd-psro": (0.0331, 0.0130),
    "psd-psro-0.6": (0.0240, 0.0088),
    "self-play": (1.046, None),
}
"""Stored by PSD-PSRO's authors for their league of 888 AlphaStar agents, 200 iterations, means of 5
seeds: NashConv of the mixture, and population exploitability of one side."""
_NMM = {
    "psro": 0.4088,
    "psro-rn": 0.4479,
    "bd-rd-psro": 0.0397,
    "bd-rd-psro-official": 0.0397,
    "p-psro": 0.0279,
    "dpp-psro": 0.0249,
    "psd-psro": 0.0168,
}
"""Likewise for the mixture model: what Adam finds against the mixture, 50 iterations."""
_SKILL = "matrix:game_of_skill"
_CLAIMED, _BAR = 0.0088 / 0.0202, 0.75
_HEAD = """Written by `make results-games`; none of our figures is entered by hand. All scores are
exact: *exploitability* is half of NashConv of the equilibrium mixture of a population, *PE* half
of the population exploitability, what one side's best mixture loses to an opponent outside the
population; both are 0 at an equilibrium ([definitions](../concepts/games.md)), and less than 1e-9
is shown as 0. PE is of all policies, those in training included. *Solved* says how many runs
reached an equilibrium, and after how many iterations on average. Payoffs of matrix games are in
units of the largest. Brackets are 95 % Student t intervals over seeds. The records, with settings,
curves and commands, are in `benchmarks/results/records/games`; [game learners](../agents/games.md)
describes the methods.

Budgets are made equal three ways. *At equal iterations* is the end of the runs. *At equal episodes*
is the value of a run at the smallest number of episodes with which a method's runs end (self-play,
CFR+ and solvers newer than PSD-PSRO's comparison excluded), interpolated linearly between the
neighbouring points of its curve; a run that ends sooner is taken at its end. An iteration counts
20,000 episodes for each policy trained and
1,000 for each new entry of the payoff table, the numbers of the published code with a deep oracle.
*At equal seconds* is the same for the processor time of learning, on one thread and without that of
scoring. Other work on a machine lengthens processor time too, through cache and memory, and so does
a slower release: beside each run one fixed computation is timed, and rows are compared in seconds
only where it took the same to 25 % (rows from before it was recorded, only with each other).
Self-play is scored like the others, by the mixture of all its policies so far. CFR+ and MMD are
deterministic, so they have one run, and play no episodes. NFSP and Deep CFR learn networks from
plays: their episodes are the plays that came to an end, of Deep CFR's traversals each branch.

"""


def page_of(rows: Sequence[GameRow], page: Path) -> str:
    """Return the page, from the records of all rows whose runs are all done."""
    games: dict[str, list[Line]] = {}
    left_out: dict[str, list[str]] = {}
    for row in rows:
        runs = read(row)
        if len(runs) < row.seeds:
            print(f"left out, its runs are not finished: {row.agent} on {row.game}")
            left_out.setdefault(row.heading, []).append(row.method)
            continue
        games.setdefault(row.heading, []).append(Line(row, runs[: row.seeds]))
    sections = [
        "# Games\n\n",
        games_ablation.summary(),
        _HEAD,
        *claim(games),
        *_ratio(games),
        *games_ablation.section(page),
    ]
    for title, chosen in (
        ("Matrix games", [g for g in games if not _is_tree(games[g])]),
        ("Game trees", [g for g in games if _is_tree(games[g])]),
    ):
        sections += [f"## {title}\n\n"] if chosen else []
        for game in chosen:
            sections += _section(game, games[game], page)
    if left_out:
        sections.append("## Not yet measured\n\nRows whose runs are not all done:\n\n")
        sections += [f"- {game}: {', '.join(names)}\n" for game, names in left_out.items()]
    return "".join(sections)


def _is_tree(lines: Sequence[Line]) -> bool:
    return lines[0].row.game.endswith("-v0")


def _is_for_the_ratio(game: str, lines: Sequence[Line]) -> bool:
    """Say whether a game of skill was played by the two methods of the ratio only."""
    methods = {line.row.method for line in lines}
    return game.startswith(_SKILL) and methods <= {"p-psro", "psd-psro", "psd-psro-0.6"}


def _seconds(value: float) -> str:
    """Format a duration with two digits, as a whole number above 100 s."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _section(game: str, lines: list[Line], page: Path) -> Iterator[str]:
    """Yield one game's table, comparisons and figures."""
    yield f"### {game}\n\n"
    if _is_for_the_ratio(game, lines):
        yield "Run for the ratio above.\n\n"
    if lines[0].row.is_deep:
        yield _deep_budget(lines)
    budgets, alike = equal_budgets(lines), timed_alike(lines)
    last = max(line.row.iterations for line in lines)
    is_tree = _is_tree(lines)
    columns = [
        "method",
        f"exploitability, {last} iterations",
        f"PE, {last} iterations",
        f"exploitability, {budgets['episodes'] / 1e6:.3g} M episodes",
        f"PE, {budgets['episodes'] / 1e6:.3g} M episodes",
        f"exploitability, {_seconds(budgets['seconds'])} s",
        f"PE, {_seconds(budgets['seconds'])} s",
        "policies",
        "s per run",
        "n",
        *(["solved"] if is_tree else []),
    ]
    published = _published(game)
    columns += ["published"] if published else []
    yield "| " + " | ".join(columns) + " |\n" + "|" + "---|" * len(columns) + "\n"
    for line in lines:
        cells = [line.row.method, *(_text(line.ends(c)) for c in ("exploitability", "pe"))]
        for budget, most in budgets.items():
            is_counted = max(line.ends(budget)) > 0 and (budget != "seconds" or line in alike)
            for column in ("exploitability", "pe"):
                cells.append(_text(line.at(column, budget, most)) if is_counted else "-")
        cells.append(f"{np.mean(line.ends('policies')):.0f}")
        cells.append(_seconds(float(np.mean(line.ends("seconds")))))
        cells.append(str(len(line.runs)))
        cells += [line.solved()] if is_tree else []
        cells += [published.get(line.row.method, "-")] if published else []
        yield "| " + " | ".join(cells) + " |\n"
    yield "\n"
    apart = [line.row.method for line in lines if line not in alike]
    if apart:
        yield f"Not timed like the others, so without equal seconds: {', '.join(apart)}.\n\n"
    if game == MIXTURE:
        yield (
            "*Published*: best responses found by Adam, stored by the authors; a local search "
            "finds at most what the exact one does, so those are lower bounds. There the "
            "meta-strategy is from fictitious play, here it is exact. The stored figure of "
            "BD&RD-PSRO is due to rounding errors of its code, which `bd-rd-psro-official` "
            "reproduces ([why](../agents/games.md#where-we-depart-from-published-code)).\n\n"
        )
    elif published:
        yield (
            "*Published*: exploitability and PE stored by the authors for another game, the "
            "AlphaStar league (not redistributable), by 1,000 rounds of fictitious play, PE "
            "without the policies in training.\n\n"
        )
    yield from _figures(game, lines, page)


def _deep_budget(lines: Sequence[Line]) -> str:
    """Return the budget of the runs with learned responses, and the published one."""
    plays = max(float(np.mean(line.ends("episodes"))) for line in lines)
    iterations = max(line.row.iterations for line in lines)
    return (
        "Responses are learned by Q-learning from plays and played as a softmax; the payoff table "
        "is computed, so episodes here are the plays of training, each counted once. A run has "
        f"{plays / 1e6:.3g} M of them in {iterations} iterations, "
        f"{plays / OFFICIAL_PLAYS:.0%} of the {OFFICIAL_PLAYS / 1e6:.3g} M with which the "
        "published code trains (162 iterations of 20,000; it plays 1,000 more for each new entry "
        f"of its table).\n\n{''.join(_deep_settings(line) for line in lines)}\n"
    )


def _deep_settings(line: Line) -> str:
    """Return a row's network and diversity weight, and those of the published code."""
    ours, theirs = PRESETS[line.row.agent], PRESETS[f"{line.row.method}-paper"]
    assert isinstance(ours, PSROConfig) and isinstance(theirs, PSROConfig)
    weights = ""
    if isinstance(ours.diversity, Members) and isinstance(theirs.diversity, Members):
        weight, published = ours.diversity.diversity_weight, theirs.diversity.diversity_weight
        weights = (
            f"; diversity weight {weight:g} of the largest payoff per nat (published: "
            f"{published:.2g}, which is 1/{1 / published:.0f})"
        )
    oracles = (ours.oracle, theirs.oracle)
    layers = [
        " x ".join(map(str, oracle.hidden))
        for oracle in oracles
        if isinstance(oracle, LearnedOracle)
    ]
    return (
        f"- {line.row.method}: hidden layers {layers[0]} (published: {layers[1]}), "
        f"{ours.response_episodes:,} plays per response (published: {theirs.response_episodes:,})"
        f"{weights}.\n"
    )


def _published(game: str) -> dict[str, str]:
    if game == MIXTURE:
        return {name: f"{value:.4f}" for name, value in _NMM.items()}
    if game != "matrix:game_of_skill(888,0)":
        return {}
    return {
        name: f"{nash_conv / 2:.4f}" + ("" if pe is None else f", {pe:.4f}")
        for name, (nash_conv, pe) in _ALPHASTAR.items()
    }


def _text(values: Sequence[float]) -> str:
    """Return ``mean [low, high]``."""
    if len(values) < 2:
        return f"{values[0]:.3g}"
    found = mean_interval(values)
    return f"{found.estimate:.3g} [{max(found.low, 0.0):.3g}, {found.high:.3g}]"


def _ratio(games: dict[str, list[Line]]) -> Iterator[str]:
    """Yield the ratios of both methods' PE over games of skill, at equal steps and as published."""
    yield "## PE(PSD-PSRO) / PE(P-PSRO) on random games of skill\n\n"
    yield "Means over seeds after 200 iterations, geometric mean over the games:\n\n"
    for method, words in (
        ("psd-psro", "at equal steps of 0.5"),
        ("psd-psro-0.6", "as published, diverse responses with a step of 0.6"),
    ):
        yield from _one_ratio(games, method, words)
    yield (
        f"\nPublished for the AlphaStar league: {_CLAIMED:.2f}. The ratio as published is no "
        "evidence for diversity, because it compares different steps: the ablation below measures "
        "both apart.\n\n"
    )


def _one_ratio(games: dict[str, list[Line]], method: str, words: str) -> Iterator[str]:
    """Yield one form's ratio with its verdict."""
    ratios = []
    for game, lines in games.items():
        found = {line.row.method: line for line in lines}
        if game.startswith(_SKILL) and {method, "p-psro"} <= set(found):
            ours, theirs = (float(np.mean(found[m].ends("pe"))) for m in (method, "p-psro"))
            ratios.append(ours / theirs)
    if len(ratios) < 5:
        yield f"- {words}: only {len(ratios)} of 5 games are done, so there is no verdict.\n"
        return
    estimate, low, high = (float(np.exp(value)) for value in mean_interval(np.log(ratios)))
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    shown = "lower" if high < 1.0 else "higher" if low > 1.0 else "not shown to differ"
    below = "is" if high < _BAR else "is not shown to be" if low < _BAR else "is not"
    yield (
        f"- {words}: **{estimate:.2f}** [{low:.2f}, {high:.2f}] ({each}; 95 % Student t of the "
        f"logarithm over games). PSD-PSRO's PE is {shown}; the ratio {below} below {_BAR}.\n"
    )


def _figures(game: str, lines: Sequence[Line], page: Path) -> Iterator[str]:
    """Draw a game's figures next to the page and yield the Markdown that shows them."""
    if _is_for_the_ratio(game, lines):
        return
    stem = "games-" + "".join(c if c.isalnum() else "-" for c in game).strip("-")
    folder = page.parent / "figures"
    for column, word in (("exploitability", "exploitability"), ("pe", "PE")):
        for budget, label in (
            ("iterations", "iterations"),
            ("episodes", "plays" if lines[0].row.is_deep else "episodes (equivalent)"),
            ("seconds", "seconds of learning"),
        ):
            runs = {
                line.row.method: [
                    [
                        {"steps": at, column: value}
                        for at, value in zip(
                            run["curve"][budget], run["curve"][column], strict=True
                        )
                    ]
                    for run in line.runs
                ]
                for line in lines
                if max(line.ends(budget)) > 0
            }
            name = f"{stem}-{column}-{budget}.svg"
            exploitability_curves(
                runs,
                folder / name,
                metric=column,
                title=game,
                x_label=label,
                y_label=word,
                log_x=budget == "seconds",  # methods differ in it by powers of ten
            )
            yield f"![{word} against {label} on {game}](figures/{name})\n"
    planes = {line.row.method: line.runs[0].get("plane") for line in lines}
    drawn = {name: points for name, points in planes.items() if points}
    if drawn and game == MIXTURE:
        policies_in_plane(drawn, folder / f"{stem}-plane.svg", centres=CENTRES, title=game)
        yield f"![Policies in the plane](figures/{stem}-plane.svg)\n"
    elif drawn:
        gamescape(drawn, folder / f"{stem}-gamescape.svg", title=game)
        yield f"![Gamescape of {game}](figures/{stem}-gamescape.svg)\n"
    yield "\n"
