"""The figures show the data they are given, in the same bytes each time, or say why not."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.errors import ConfigError, MissingExtra, PkubenchError, RecordError, StorageError
from pkubench.evaluation.figures import curves as curve_plots
from pkubench.evaluation.figures import plots
from pkubench.evaluation.figures import style as plot_style
from pkubench.evaluation.statistics import mean_interval

matplotlib = pytest.importorskip("matplotlib")


def run(level: float, points: int = 6, every: int = 1000, metric: str = "return") -> list[dict]:
    return [{"steps": every * (i + 1), metric: level * (i + 1)} for i in range(points)]


RUNS = {"happo": [run(1.0), run(1.2), run(1.5)], "mappo": [run(0.8), run(0.9)]}
SOLVED = {"psro": [[{"steps": i, "exploitability": 2.0 * 10.0**-i} for i in range(15)]]}
SCORES = {
    "Spread-v0": {
        "happo": {"mean": -37.0, "low": -38.0, "high": -36.0, "n": 5},
        "one seed": {"mean": -40.0, "low": None, "high": float("nan"), "n": 1},
    },
    "Leduc-v0": {"psro": {"mean": 0.25, "low": 0.2, "high": 0.3, "n": 3}},
}
COSTS = {
    "ppo": [{"return": 4000.0 + i, "cost": 700.0 + i} for i in range(3)],
    "ppo-lag": [{"return": 2800.0 + i, "cost": 20.0 + i} for i in range(3)],
}
ARRAYS = {"happo": np.linspace(0, 1, 10).reshape(5, 2), "mappo": np.linspace(0.2, 0.7, 6)[:, None]}

FIGURES: dict[str, Callable[[Path], Path]] = {
    "training": lambda out: curve_plots.training_curves(
        RUNS, out, references={"random": 0.5}, title="T"
    ),
    "exploitability": lambda out: curve_plots.exploitability_curves(SOLVED, out),
    "scores": lambda out: plots.score_intervals(
        SCORES, out, higher_is_better=True, references={"Spread-v0": {"reference": -36.5}}
    ),
    "profiles": lambda out: plots.performance_profiles(
        {name: values[:, :1] for name, values in ARRAYS.items()}, out, resamples=50
    ),
    "cost": lambda out: plots.return_against_cost(COSTS, out, cost_limit=25.0),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects every figure as it is written, so that a test can read the marks in it."""
    from matplotlib.figure import Figure

    figures: list[Any] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def line(axes: Any, label: str) -> Any:
    return next(x for x in axes.get_lines() if x.get_label() == label)


def words(figure: Any) -> str:
    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text)).replace("\n", " ")


def test_a_score_over_the_cost_limit_is_hollow_and_the_caption_says_so(
    tmp_path: Path, drawn: list[Any]
) -> None:
    scores = {"Goal": {"ppo": {**SCORES["Leduc-v0"]["psro"], "feasible": False}}}
    scores["Goal"]["cpo"] = {**SCORES["Leduc-v0"]["psro"], "feasible": True}
    plots.score_intervals(scores, tmp_path / "f.svg")
    fills = [line.get_markerfacecolor() for line in drawn[0].axes[0].lines]
    assert fills[0] == "white" and fills[1] != "white"
    assert "Hollow: over the cost limit" in words(drawn[0])
    plots.score_intervals(SCORES, tmp_path / "g.svg")
    assert "Hollow" not in words(drawn[1])


def test_runs_without_common_steps_are_drawn_apart(tmp_path: Path, drawn: list[Any]) -> None:
    later = [{"steps": 10**6 + i, "return": 1.0} for i in range(2)]
    curve_plots.training_curves({"a": [run(1), later], "b": [run(2), run(3)]}, tmp_path / "f.svg")
    axes = drawn[0].axes[0]
    spans = [
        (line.get_xdata()[0], line.get_xdata()[-1]) for line in axes.lines if len(line.get_xdata())
    ]
    assert spans.count((10**6, 10**6 + 1)) == 1
    assert spans.count((1000, 6000)) == 4  # a's first run, b's two and their mean
    assert len(axes.collections) == 1  # a band of b, none of a
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["a (no steps in common)", "b"]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("extension", ["svg", "PNG"])
def test_each_figure_is_written_without_a_warning(
    name: str, extension: str, tmp_path: Path
) -> None:
    out = tmp_path / "new folder" / f"{name}.{extension}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FIGURES[name](out) == out
    head = out.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if extension == "PNG" else b"<?xml" in head


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_data_give_the_same_svg_bytes(name: str, tmp_path: Path) -> None:
    first, second = (FIGURES[name](tmp_path / f"{i}.svg").read_bytes() for i in range(2))
    assert first == second
    assert b"dc:date" not in first
    assert b"Matplotlib v" not in first


def test_bytes_do_not_depend_on_the_process_or_the_users_matplotlibrc(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\nsvg.hashsalt: x\n")
    code = (
        "from pkubench.evaluation.figures import curves as curve_plots; import sys;"
        "curve_plots.training_curves("
        "{'b': [[{'steps': 1, 'return': 2.0}, {'steps': 2, 'return': 1.0}]],"
        "'a': [[{'steps': 1, 'return': 0.0}, {'steps': 3, 'return': 1.0}]]}, sys.argv[1])"
    )
    root = Path(__file__).resolve().parents[2]
    for name, extra in (
        ("plain", {"PYTHONHASHSEED": "1"}),
        ("other", {"PYTHONHASHSEED": "2", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}),
    ):
        command = [sys.executable, "-c", code, str(tmp_path / f"{name}.svg")]
        subprocess.run(command, check=True, cwd=root, env=os.environ | extra)
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_drawing_leaves_matplotlibs_settings_as_they_were(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 3.0, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        FIGURES["training"](tmp_path / "a.png")
        assert dict(matplotlib.rcParams) == before


# What is drawn ---------------------------------------------------------------------------------


def test_training_curves_show_mean_band_seeds_references_and_n(
    drawn: list[Any], tmp_path: Path
) -> None:
    FIGURES["training"](tmp_path / "a.svg")
    (axes,) = drawn[0].axes
    mean = line(axes, "happo")
    assert mean.get_xdata() == pytest.approx([1000, 2000, 3000, 4000, 5000, 6000])
    assert mean.get_ydata()[-1] == pytest.approx(6 * (1.0 + 1.2 + 1.5) / 3)
    seeds = [x for x in axes.get_lines() if x.get_color() == mean.get_color() and x is not mean]
    assert sorted(x.get_ydata()[-1] for x in seeds) == pytest.approx([6.0, 7.2, 9.0])
    band = axes.collections[0].get_paths()[0].vertices
    at_end = band[band[:, 0] == 6000, 1]
    expected = mean_interval([6.0, 7.2, 9.0])
    assert (at_end.min(), at_end.max()) == pytest.approx((expected.low, expected.high))
    reference = [x for x in axes.get_lines() if list(x.get_ydata()) == [0.5, 0.5]]
    assert len(reference) == 1
    assert reference[0].get_linestyle() == "--"
    for text in ("random", "happo 3, mappo 2", "environment steps", "95 %", "T"):
        assert text in words(drawn[0])


def test_the_band_of_a_cost_ends_at_0(drawn: list[Any], tmp_path: Path) -> None:
    apart = [[{"steps": s, "cost": c, "return": c} for s in (0, 10)] for c in (10.0, 90.0)]
    for metric, low in (("cost", 0.0), ("return", 50.0 - 12.706 * 40.0)):
        curve_plots.training_curves({"a": apart}, tmp_path / "a.svg", metric=metric)
        band = drawn[-1].axes[0].collections[0].get_paths()[0].vertices
        assert band[:, 1].min() == pytest.approx(low, abs=0.1)


@pytest.mark.parametrize(("cost", "scale"), [(150.0, "linear"), (900.0, "symlog")])
def test_costs_far_over_the_limit_leave_room_for_those_near_it(
    drawn: list[Any], tmp_path: Path, cost: float, scale: str
) -> None:
    runs = {"a": [{"return": 1.0, "cost": 5.0}], "b": [{"return": 3.0, "cost": cost}]}
    plots.return_against_cost(runs, tmp_path / "a.svg", cost_limit=25.0, x_label="cost")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == scale
    assert ("cost, logarithmic from 50 on" in words(drawn[0])) == (scale == "symlog")
    low, high = axes.get_xlim()
    assert low < 0.0 and high > cost
    if scale == "symlog":
        at_limit, _ = axes.transAxes.inverted().transform(axes.transData.transform((25.0, 0.0)))
        assert 0.2 < at_limit < 0.5
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "0",
            "25",
            "50",
            "100",
            "250",
            "500",
        ]


def test_a_figure_of_single_runs_promises_no_crosses(drawn: list[Any], tmp_path: Path) -> None:
    single = {"a": [{"return": 1.0, "cost": 1.0}], "b": [{"return": 3.0, "cost": 28.0}]}
    plots.return_against_cost(single, tmp_path / "a.svg", cost_limit=25.0)
    assert "Mark: mean of a run, hollow where" in words(drawn[0])
    assert "Cross" not in words(drawn[0]) and "Faint" not in words(drawn[0])
    plots.return_against_cost({**single, "c": single["a"] * 2}, tmp_path / "b.svg", cost_limit=25.0)
    assert "Cross" in words(drawn[1])


def test_seeds_logged_at_different_steps_are_joined_where_they_overlap(
    drawn: list[Any], tmp_path: Path
) -> None:
    early = [{"steps": s, "return": float(s)} for s in (0, 10, 20)]
    late = [{"steps": s, "return": float(s) + 4} for s in (25, 5, 15)]  # out of order, too
    curve_plots.training_curves({"a": [early, late]}, tmp_path / "a.svg")
    mean = line(drawn[0].axes[0], "a")
    assert list(mean.get_xdata()) == [5, 10, 15, 20]
    assert mean.get_ydata() == pytest.approx([7, 12, 17, 22])


def test_one_seed_has_a_line_and_no_band(drawn: list[Any], tmp_path: Path) -> None:
    curve_plots.training_curves({"a": [run(1.0)]}, tmp_path / "a.svg")
    assert len(drawn[0].axes[0].collections) == 0
    assert "n = 1 seed." in words(drawn[0])


def test_lines_before_the_first_finished_episode_are_left_out(
    drawn: list[Any], tmp_path: Path
) -> None:
    lines = [{"steps": 1}, {"steps": 2, "return": float("nan")}, {"steps": 3, "return": None}]
    curve_plots.training_curves({"a": [[*lines, {"steps": 4, "return": 7.0}]]}, tmp_path / "a.svg")
    mean = line(drawn[0].axes[0], "a")
    assert (list(mean.get_xdata()), list(mean.get_ydata())) == ([4], [7])
    assert mean.get_marker() == "o"


def test_exploitability_is_a_geometric_mean_on_a_log_axis_with_a_floor(
    drawn: list[Any], tmp_path: Path
) -> None:
    seeds = [[{"steps": 0, "exploitability": v}, {"steps": 1, "exploitability": 0}] for v in (1, 4)]
    curve_plots.exploitability_curves({"psro": seeds}, tmp_path / "a.svg")
    (axes,) = drawn[0].axes
    assert axes.get_yscale() == "log"
    # Solved games are drawn a power of ten below the rest, on a line called 0.
    assert line(axes, "psro").get_ydata() == pytest.approx([2.0, 0.1])
    labels = {
        round(float(place), 6): text.get_text()
        for place, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert (labels[0.1], labels[1.0]) == ("0", "1")
    assert "0 is an equilibrium, which counts as the bottom line" in words(drawn[0])


def test_what_solvers_leave_of_zero_does_not_stretch_the_axis(
    drawn: list[Any], tmp_path: Path
) -> None:
    seeds = [
        [{"steps": i, "exploitability": v} for i, v in enumerate(of, start=1)]
        for of in ([0.3, 0.1, 3e-17], [0.3, 0.2, 0.05, 2e-13], [0.25, 0.1, 0.04, 0.02, 0.0])
    ]
    curve_plots.exploitability_curves(
        {"psro": seeds}, tmp_path / "a.svg", references={"random": 0.46}
    )
    (axes,) = drawn[0].axes
    low, high = axes.get_ylim()
    assert 0.0005 < low < 0.001 and 0.46 < high < 1.0
    # A run that has solved the game stays solved: the mean extends to the end of the longest.
    mean = line(axes, "psro")
    assert list(mean.get_xdata()) == [1, 2, 3, 4, 5]
    assert mean.get_ydata()[3:] == pytest.approx([(0.001**2 * 0.02) ** (1 / 3), 0.001])


def test_what_is_at_0_has_no_place_on_a_log_axis_of_seconds(tmp_path: Path) -> None:
    """A point at 0 s would lie infinitely far left; the caption's n stays that of the runs."""
    seeds = [[{"steps": x, "exploitability": y} for x, y in ((0.0, 3.0), (0.1, 1.0), (40.0, 0.1))]]
    with_start = curve_plots.exploitability_curves({"psro": seeds}, tmp_path / "a.svg", log_x=True)
    without = [seeds[0][1:]]
    curve_plots.exploitability_curves({"psro": without}, tmp_path / "b.svg", log_x=True)
    assert with_start.read_text() == (tmp_path / "b.svg").read_text()
    plain = curve_plots.exploitability_curves({"psro": without}, tmp_path / "c.svg")
    assert plain.read_text() != with_start.read_text()


def test_a_run_that_was_only_stopped_is_not_drawn_on(drawn: list[Any], tmp_path: Path) -> None:
    seeds = [[{"steps": i, "exploitability": 1.0 / i} for i in range(1, n)] for n in (4, 6)]
    curve_plots.exploitability_curves({"psro": seeds}, tmp_path / "a.svg")
    assert list(line(drawn[0].axes[0], "psro").get_xdata()) == [1, 2, 3]
    assert "bottom" not in words(drawn[0])


def test_scores_that_differ_by_rounding_alone_make_one_step(
    drawn: list[Any], tmp_path: Path
) -> None:
    plots.performance_profiles({"psro": [[1.0], [1.0 - 2e-16], [1.0]]}, tmp_path / "a.svg")
    heights = line(drawn[0].axes[0], "psro").get_ydata()
    assert (heights[0], heights[-1]) == (1.0, 0.0) and set(heights) == {0.0, 1.0}


def test_a_long_label_has_its_unit_on_a_line_of_its_own(drawn: list[Any], tmp_path: Path) -> None:
    label = "population exploitability (payoff per game)"
    curve_plots.exploitability_curves(SOLVED, tmp_path / "a.svg", y_label=label)
    assert drawn[0].axes[0].get_ylabel() == "population exploitability\n(payoff per game)"


@pytest.mark.parametrize("high", [2.5e-16, None])
def test_a_score_of_nothing_but_rounding_is_written_and_drawn_as_0(
    high: float | None, drawn: list[Any], tmp_path: Path
) -> None:
    scores = {"T": {"psro": {"mean": 2.2e-16, "low": high, "high": high, "n": 3}}}
    plots.score_intervals(scores, tmp_path / "a.svg")
    (axes,) = drawn[0].axes
    assert "0" in [text.get_text() for text in axes.texts]
    low, up = axes.get_xlim()
    assert low < -0.01 and up > 0.01, "an axis in units of 1e-16 shows nothing"
    assert not axes.xaxis.get_offset_text().get_text()


def test_score_intervals_have_a_panel_a_task_and_a_bar_an_interval(
    drawn: list[Any], tmp_path: Path
) -> None:
    FIGURES["scores"](tmp_path / "a.svg")
    first, second = drawn[0].axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("Spread-v0", "Leduc-v0")
    (bar,) = first.collections[0].get_segments()
    assert bar[:, 0].tolist() == [-38.0, -36.0]
    assert [t.get_text() for t in first.get_yticklabels()] == ["happo", "one seed"]
    assert first.get_ylim()[0] > first.get_ylim()[1], "the first agent is on top"
    for text in ("−37", "n=5", "n=1", "reference", "right is better"):
        assert text in words(drawn[0])


def test_a_score_says_what_it_counts_where_that_is_known(drawn: list[Any], tmp_path: Path) -> None:
    measured = {"mean": 1.0, "low": 0.5, "high": 1.5}
    scores = {"T": {"a": {**measured, "n": 200, "sample": "episodes"}, "b": {**measured, "n": 3}}}
    plots.score_intervals(scores, tmp_path / "a.svg", x_label="return (m)", higher_is_better=False)
    for text in ("200 episodes", "n=3", "return (m), left is better"):
        assert text in words(drawn[0])


def test_profiles_start_at_one_and_end_at_zero(drawn: list[Any], tmp_path: Path) -> None:
    plots.performance_profiles({"a": [[0.0, 1.0], [0.5, 0.25]]}, tmp_path / "a.svg", resamples=20)
    curve = line(drawn[0].axes[0], "a")
    heights = curve.get_ydata()
    assert (heights[0], heights[-1]) == (1.0, 0.0)
    at_third = heights[np.searchsorted(curve.get_xdata(), 0.3)]
    assert at_third == 0.5
    assert "n = 2 runs." in words(drawn[0])


def test_the_cost_limit_is_inside_the_figure_and_the_feasible_side_is_shaded(
    drawn: list[Any], tmp_path: Path
) -> None:
    mixed = {
        "a": [{"return": 1.0, "cost": 1.0}, {"return": 2.0, "cost": 2.0}],
        "b": [{"return": 3.0, "cost": 24.0}, {"return": 3.0, "cost": 28.0}],
    }
    plots.return_against_cost(
        mixed, tmp_path / "a.svg", cost_limit=25.0, references={"reference": 2.5}
    )
    (axes,) = drawn[0].axes
    left, right = axes.get_xlim()
    assert left < 1.0 < 25.0 < right
    (shade,) = axes.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (left, 25.0)
    within, over = line(axes, "a"), line(axes, "b")
    assert (within.get_xdata()[0], within.get_ydata()[0]) == (1.5, 1.5)
    assert within.get_markerfacecolor() == within.get_color()
    assert over.get_xdata()[0] == 26.0 and over.get_markerfacecolor() == "white"
    # Student t, 95 %, two runs 1 apart: 12.706 x 0.5 to either side; no cost is below 0.
    (cross,) = axes.collections[0].get_segments()
    assert cross[:, 0].tolist() == pytest.approx([0.0, 1.5 + 6.353], abs=1e-3)
    for text in ("limit 25", "reference", "hollow", "n = 2 runs per agent."):
        assert text in words(drawn[0])


@pytest.mark.parametrize("name", FIGURES)
def test_no_word_leaves_the_figure(name: str, drawn: list[Any], tmp_path: Path) -> None:
    FIGURES[name](tmp_path / "a.png")
    figure = drawn[0]
    with matplotlib.rc_context():
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def test_strange_names_are_shown_as_they_are(drawn: list[Any], tmp_path: Path) -> None:
    long = "runs/" + "very-" * 20 + "long/seed0"
    named = {"$\\frac$": [run(1.0)], "_hidden": [run(2.0)], long: [run(3.0)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve_plots.training_curves(named, tmp_path / "a.svg", title="costs $5 and 6$")
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert len(labels) == 3
    assert max(map(len, labels)) <= 30
    assert any(label.endswith("long/seed0") for label in labels)


# Colours ---------------------------------------------------------------------------------------


def test_an_agent_has_one_colour_whatever_the_figure_and_the_order() -> None:
    alone = plot_style.agent_styles(["happo"])["happo"]
    together = plot_style.agent_styles(["mappo", "random", "happo", "ippo"])
    assert together["happo"] == alone
    assert together == plot_style.agent_styles(["ippo", "happo", "mappo", "random"])
    crowd = [f"agent {i}" for i in range(12)]  # some of them must collide
    assert plot_style.agent_styles(crowd) == plot_style.agent_styles(crowd[::-1])
    assert together["random"].colour == plot_style.BASELINE_COLOUR


@pytest.mark.parametrize(
    "family",
    [
        ["happo", "mappo", "ippo", "hatrpo", "haa2c"],
        ["ppo", "ppo-lag", "cpo", "pcpo", "cup", "focops"],
        ["psro", "cfr+", "double-oracle", "psd-psro", "fictitious-play"],
    ],
)
def test_agents_often_drawn_together_keep_their_own_colours(family: list[str]) -> None:
    styles = plot_style.agent_styles(family)
    assert len({style.colour for style in styles.values()}) == len(family)
    assert all(plot_style.agent_styles([name])[name] == styles[name] for name in family)


def test_agents_of_one_figure_never_look_alike() -> None:
    for n in (7, 8, 20, 28):
        names = [f"agent {i}" for i in range(n)]
        styles = plot_style.agent_styles(names)
        assert len({(s.colour, str(s.dash)) for s in styles.values()}) == n
        assert len({s.colour for s in styles.values()}) == 7


def test_colours_are_told_apart_with_every_kind_of_colour_vision() -> None:
    # Machado et al. 2009, severity 1, on linear RGB: protanopia and deuteranopia.
    protan = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    deutan = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    from matplotlib.colors import to_rgb

    rgb = np.array([to_rgb(colour) for colour in plot_style.PALETTE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in (np.eye(3), np.array(protan), np.array(deutan)):
        seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.4)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[~np.eye(7, dtype=bool)]
        assert apart.min() > 0.15


def test_an_equilibrium_reference_of_zero_does_not_break_a_log_axis(
    tmp_path: Path, drawn: list[Any]
) -> None:
    lines = [[{"steps": i, "nash_conv": 1.0 / i} for i in range(1, 6)]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that collapses only warns
        curve_plots.exploitability_curves(
            {"psro": lines},
            tmp_path / "e.svg",
            metric="nash_conv",
            references={"random": 0.5, "reference": 0.0},
        )
    axes = drawn[0].axes[0]
    assert [t.get_text() for t in axes.texts] == ["random"]
    assert axes.get_ylabel() == "nash_conv"
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_a_task_is_titled_without_its_namespace_and_in_full(
    tmp_path: Path, drawn: list[Any]
) -> None:
    scores = {"pkubench/SimpleSpeakerListener-v0": {"a": {"mean": 1, "low": 0, "high": 2, "n": 5}}}
    plots.score_intervals(scores, tmp_path / "s.svg")
    assert drawn[0].axes[0].get_title(loc="left") == "SimpleSpeakerListener-v0"


# Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda out: curve_plots.training_curves({}, out), RecordError, "at least one run"),
        (lambda out: curve_plots.training_curves({"a": []}, out), RecordError, "at least one run"),
        (
            lambda out: curve_plots.training_curves(RUNS, out, metric="retrun"),
            PkubenchError,
            "no metric 'retrun'; did you mean 'return'",
        ),
        (
            lambda out: curve_plots.training_curves({"a": [run(1), [{"steps": 1}]]}, out),
            RecordError,
            "run 1 of 'a' has no finite 'return'",
        ),
        (
            lambda out: curve_plots.training_curves({"a": [[{"return": 1.0}]]}, out),
            RecordError,
            "run 0 of 'a'.*'steps'",
        ),
        (
            lambda out: curve_plots.training_curves({"a": [[{"steps": 1, "return": "x"}]]}, out),
            RecordError,
            "needs numbers",
        ),
        (lambda out: plots.score_intervals({}, out), RecordError, "at least one agent"),
        (lambda out: plots.score_intervals({"T": {}}, out), RecordError, "at least one agent"),
        (
            lambda out: plots.score_intervals({"T": {"a": {"mean": 1.0}}}, out),
            RecordError,
            "'a' on 'T'.*mean, low, high and n",
        ),
        (
            lambda out: plots.score_intervals(
                {"T": {"a": {"mean": float("nan"), "low": 0, "high": 1, "n": 2}}}, out
            ),
            RecordError,
            "no finite mean",
        ),
        (lambda out: plots.performance_profiles({}, out), RecordError, "at least one agent"),
        (
            lambda out: plots.performance_profiles({"a": [1.0, 2.0]}, out),
            PkubenchError,
            r"\(runs, tasks\)",
        ),
        (
            lambda out: plots.return_against_cost({"a": [{"return": 1.0}]}, out, cost_limit=1),
            RecordError,
            "'a' has no finite 'cost', got None",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    call: Callable[[Path], Path], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        call(tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.svg or \.png, got 'a\.gif'"):
        FIGURES["training"](tmp_path / "a.gif")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the figure"):
        FIGURES["training"](tmp_path / "file" / "a.svg")


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pkubench\[plots\]'"):
        FIGURES["training"](tmp_path / "a.svg")


def test_importing_the_plots_does_not_import_matplotlib() -> None:
    code = (
        "import sys; from pkubench.evaluation.figures import curves, games, plots;"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
