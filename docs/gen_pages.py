"""Pages that are computed from the code, written while MkDocs builds the site.

One page for each registered environment (from its class docstring, its spaces and its task), one
for the agents, one for each module of the Python reference, the changelog, and SUMMARY.md, which
is the navigation: it lists the pages that exist, so a new page needs no entry anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import mkdocs_gen_files
import numpy as np
from PIL import Image

from pkubench.agents.registry import LIMITED, presets
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.suitability import untrained
from pkubench.cli.filming import Reel, filmed_episode
from pkubench.cli.names import shipped_tasks
from pkubench.data.cards import cards
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.registry import EnvSpec, env_class, environments, make_batch
from pkubench.envs.diagnostics import equilibria
from pkubench.envs.diagnostics.matrix_games import penalty
from pkubench.evaluation.figures.style import PALETTE, canvas
from pkubench.tasks.registry import suites as suites_by_name
from pkubench.tasks.registry import tasks
from pkubench.tasks.scoring import Episodes
from pkubench.tasks.task import Task

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from docstring_pages import as_markdown  # noqa: E402 - the plugin runs this file by its path

FILMED_STEPS = 150
"""Step of an episode that a page shows, at most; half the episode where that is shorter."""

FAMILIES = {
    "particle": "Teams of particles",
    "linear_quadratic": "Teams with exact optima",
    "battle": "Battles of unlike units",
    "credit": "Teams that are paid at the end",
    "memory": "Memory and sequences",
    "multi_mujoco": "Robots controlled by a team",
    "safety": "Robots with a cost limit",
    "games": "Two-player games",
    "diagnostics": "Environments solved on paper",
    "minigrid": "Grid worlds of many tasks",
    "alignment": "Values in choices",
    "grasp": "Dexterous grasping",
}
TUTORIALS = (
    "evaluate",
    "other-libraries",
    "evaluate-a-language-model",
    "train",
    "learn-from-data",
    "use-an-environment",
    "add-an-environment",
    "add-a-task",
    "add-an-algorithm",
    "add-an-agent-family",
    "submit",
    "cluster",
)
REFERENCE = (
    "pkubench",
    # environments
    "pkubench.envs.core.batch",
    "pkubench.envs.core.registry",
    "pkubench.envs.core.traits",
    "pkubench.envs.core.delayed_reward",
    "pkubench.envs.core.seeding",
    "pkubench.envs.adapters.factories",
    "pkubench.envs.adapters.sb3",
    "pkubench.envs.linear_quadratic.riccati",
    "pkubench.envs.credit.alice_and_bob_table",
    "pkubench.envs.memory.key_to_door_plan",
    "pkubench.envs.alignment.slider",
    "pkubench.envs.alignment.qa_pairs",
    "pkubench.envs.alignment.beavertails",
    "pkubench.envs.alignment.synthetic_pairs",
    "pkubench.envs.grasp.objects.model",
    "pkubench.envs.grasp.objects.splits",
    "pkubench.envs.grasp.objects.stable",
    "pkubench.envs.grasp.objects.surface",
    "pkubench.envs.grasp.objects.meshes",
    "pkubench.envs.grasp.clouds.carried",
    "pkubench.envs.grasp.clouds.scene_cloud",
    "pkubench.envs.grasp.clouds.views",
    "pkubench.envs.grasp.clouds.sampling",
    "pkubench.envs.grasp.clouds.observation",
    "pkubench.envs.grasp.clouds.vision",
    "pkubench.envs.grasp.clouds.swap",
    "pkubench.envs.core.text_view",
    "pkubench.envs.core.labelled_texts",
    "pkubench.envs.grasp.grasp_batch",
    "pkubench.envs.grasp.hands",
    "pkubench.envs.grasp.open_loop",
    "pkubench.envs.grasp.search",
    "pkubench.envs.grasp.warp_scene",
    "pkubench.envs.games",
    "pkubench.envs.games.matrix_catalogue",
    "pkubench.envs.games.alpha_rank",
    "pkubench.envs.games.mixture_model",
    "pkubench.envs.games.game_batch",
    "pkubench.envs.diagnostics.equilibria",
    "pkubench.envs.diagnostics.tabular",
    "pkubench.envs.diagnostics.constrained_mdp",
    # recorded episodes
    "pkubench.data.episodes",
    "pkubench.data.recording",
    "pkubench.data.minari_files",
    "pkubench.data.teams",
    "pkubench.retrieval.bank",
    "pkubench.retrieval.building",
    "pkubench.retrieval.optima",
    "pkubench.retrieval.retrievers",
    "pkubench.retrieval.search",
    "pkubench.retrieval.quality",
    # tasks
    "pkubench.tasks.task",
    "pkubench.tasks.suite",
    "pkubench.tasks.claim",
    "pkubench.tasks.registry",
    "pkubench.tasks.scoring",
    "pkubench.tasks.records",
    "pkubench.tasks.conversation",
    "pkubench.tasks.value_items",
    "pkubench.tasks.matches",
    "pkubench.tasks.judged_pairs",
    # agents
    "pkubench.agents.contract",
    "pkubench.agents.registry",
    "pkubench.agents.requirements",
    "pkubench.agents.components",
    "pkubench.agents.learner",
    "pkubench.agents.rl.update_rules.base",
    "pkubench.agents.rl.constraints.base",
    "pkubench.agents.rl.credit.base",
    "pkubench.agents.rl.off_policy.rules",
    "pkubench.agents.rl.value_based.mixers.base",
    "pkubench.agents.nn.encoders.base",
    "pkubench.agents.nn.memory.base",
    "pkubench.agents.families.task_geometry.autoencoder",
    "pkubench.agents.families.task_geometry.clusters",
    "pkubench.agents.families.task_geometry.curriculum",
    "pkubench.agents.families.psro.settings",
    "pkubench.agents.families.psro.outer_loop",
    "pkubench.agents.families.psro.oracles",
    "pkubench.agents.families.psro.diversities",
    "pkubench.agents.families.psro.meta_solvers",
    "pkubench.agents.families.psro.distances",
    # training
    "pkubench.training.api",
    "pkubench.training.session",
    "pkubench.training.validation",
    "pkubench.training.trackers",
    "pkubench.training.pipelines",
    # evaluation
    "pkubench.evaluation.run.harness",
    "pkubench.evaluation.report",
    "pkubench.evaluation.statistics",
    "pkubench.evaluation.claims",
    "pkubench.evaluation.credit_quality",
    "pkubench.evaluation.ratings.nash_averaging",
    "pkubench.evaluation.ratings.elo",
    "pkubench.evaluation.ratings.tables",
    "pkubench.evaluation.ratings.rating",
    "pkubench.evaluation.abilities",
    "pkubench.evaluation.orientation",
    "pkubench.evaluation.inspect_scores",
    "pkubench.evaluation.statistics.detection",
    "pkubench.evaluation.verdicts",
    "pkubench.evaluation.evidence",
    "pkubench.plugins",
    "pkubench.errors",
)


def short_name(env_id: str) -> str:
    """Return the id without its namespace."""
    return env_id.rpartition("/")[2]


def family(spec: EnvSpec) -> str:
    """Return the title of the group of environments that an environment's module lies in."""
    part = spec.entry_point.split(".")[2]
    return FAMILIES.get(part, part.replace("_", " ").capitalize())


def space_rows(env: BatchEnv) -> Iterator[str]:
    """Yield one table row per agent (or one for all agents that are alike)."""
    spaces = {
        a: (f"`{env.observation_spaces[a]}`", f"`{env.action_spaces[a]}`") for a in env.agents
    }
    if len(set(spaces.values())) == 1:
        label = "" if env.agents == (SOLE_AGENT,) else f"`{env.agents[0]}` ... `{env.agents[-1]}`"
        yield f"| {label} | {' | '.join(spaces[env.agents[0]])} |"
        return
    for agent, pair in spaces.items():
        yield f"| `{agent}` | {' | '.join(pair)} |"


def description(cls: type[BatchEnv]) -> Iterator[str]:
    """Yield the docstring of an environment's class, its constants, and its bases' docstrings."""
    package = cls.__module__.rpartition(".")[0]
    for base in inspect.getmro(cls):
        if base.__doc__ and base.__module__.rpartition(".")[0] == package:
            yield as_markdown(inspect.getdoc(base) or "") + "\n"
        if base is cls:
            yield from constants(cls)


def constants(cls: type[BatchEnv]) -> Iterator[str]:
    """Yield a table of the constants that distinguish an environment from its base class."""
    own = {
        name: vars(cls)[name]
        for name in inspect.get_annotations(cls)
        if name in vars(cls) and not name.startswith("_") and name != "metadata"
    }
    if own:
        yield "| constant | value |\n|---|---|"
        for name, value in own.items():
            yield f"| {name.replace('_', ' ')} | `{value}` |"
        yield ""


def example(env_id: str) -> Iterator[str]:
    """Yield the few lines that a reader pastes to try the environment, and what they print."""
    code = "\n".join(
        [
            "import gymnasium",
            "import pkubench",
            "",
            f'envs = gymnasium.make_vec("{env_id}", num_envs=64)',
            "observations, infos = envs.reset(seed=0)",
            "step = envs.step(envs.action_space.sample())",
            'print("rewards:", step[1].shape, step[1].dtype)',
        ]
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"the example of {env_id}", "exec"), {})
    yield f"```python\n{code}\n```\n"
    yield f"```text\n{printed.getvalue().rstrip()}\n```\n"


def task_section(task: Task) -> Iterator[str]:
    """Yield the standardized task on an environment: protocol, metrics and reference scores."""
    protocol = task.protocol
    yield f"## The task: {task.title}\n"
    if not protocol.budget:
        yield "Learners count iterations, and each has its own number of them; there is no budget."
    else:
        yield (
            f"{protocol.episodes} evaluation episodes per run; training budget of ranked entries "
            f"{protocol.budget_in_words()}."
        )
    if task.cost_limit is not None:
        yield f"An entry is feasible if its mean cost is at most {task.cost_limit:g}."
    agents = ", ".join(f"`{name}`" for name in untrained(task))
    yield f"\nAgents that need no training: {agents}."
    if task.notes:
        yield f"\n{task.notes}"
    yield "\n| metric | better | unit | what it is |\n|---|---|---|---|"
    for metric in task.metrics:
        better = "higher" if metric.higher_is_better else "lower"
        yield f"| {metric.name} | {better} | {metric.unit} | {metric.describe} |"
    if task.references:
        yield (
            f"\nThere are no normalised scores: {task.no_scale}."
            if task.no_scale
            else "\nNormalised scores are 0 at the best of random and the lazy policies, and 1 at "
            "the reference."
        )
        yield "\n| anchor | agent | score | normalised | n | measured by |"
        yield "|---|---|---|---|---|---|"
    for name, reference in task.references.items():
        scaled = task.normalised(reference.score)
        yield (
            f"| {name} | {reference.agent} | {reference.score:.6g} "
            f"| {'-' if scaled is None else format(scaled, '.3g')} | {reference.n} "
            f"| `{reference.command}` |"
        )
    yield ""


class LastPicture:
    """A film of which only the last picture is kept."""

    every = sys.maxsize

    def __init__(self) -> None:
        self.picture: Any = None

    def add(self, picture: Any) -> None:
        """Keep a picture."""
        self.picture = picture

    def hold(self) -> None:
        """Do nothing: the last picture stays."""


def shown_agent(task: Task | None) -> str | None:
    """Return the shipped agent that a page shows: the task's reference, or the first there is.

    Where a cost is limited, it is the first that holds the limit.
    """
    if task is None:
        return None
    shipped = [name for name in presets() if task.id in shipped_tasks(name)]
    if task.cost_limit is not None:
        shipped.sort(key=lambda name: LIMITED not in presets()[name].tags)
    reference = task.references.get("reference")
    if reference is not None and reference.agent in shipped:
        return reference.agent
    return shipped[0] if shipped else None


def within_episode(task: Task, agent: str) -> tuple[Any, str]:
    """Return a picture from within an agent's first evaluation episode, and what it shows."""
    horizon = task.protocol.horizon
    steps = None if horizon is None else min(FILMED_STEPS, horizon // 2)
    cut = dataclasses.replace(
        task, protocol=dataclasses.replace(task.protocol, horizon=steps), references={}
    )
    film, (episode,) = LastPicture(), Episodes().plan(task, 0, 1)
    entrant = resolve_agent(agent, task).runs[0].load()
    record = filmed_episode(entrant, cut, episode, cast(Reel, film), lambda step: None)
    if record.failure is not None:
        raise RuntimeError(f"{agent} on {task.id}: {record.failure}")
    when = f"{record.length} steps" if record.length > 1 else "the first step"
    return film.picture, f"{agent} after {when} of an episode"


def write_frame(env: BatchEnv, name: str, task: Task | None) -> str:
    """Save a picture of the environment, with a shipped agent if there is one; return Markdown."""
    agent = shown_agent(task)
    if task is not None and agent is not None:
        picture, caption = within_episode(task, agent)
    else:
        env.reset(np.zeros(1, dtype=np.int64))
        picture, caption = env.render(), "The start of an episode"
    with mkdocs_gen_files.open(f"environments/frames/{name}.png", "wb") as file:
        Image.fromarray(picture).save(file, format="PNG")
    return f"![{caption}](frames/{name}.png){{ .frame }}\n\n*{caption}.*\n"


def write_environment(spec: EnvSpec, task: Task | None) -> None:
    """Write the page of one environment."""
    name = short_name(spec.id)
    env = make_batch(spec.id, num_envs=1)
    cls = env_class(spec)
    page = f"environments/{name}.md"
    horizon = "none" if spec.horizon is None else f"{spec.horizon} steps"
    extra = f"`pip install 'pkubench[{spec.extra}]'`" if spec.extra else "nothing beyond the core"
    with mkdocs_gen_files.open(page, "w") as file:
        print(f"# {name}\n", file=file)
        print(write_frame(env, name, task), file=file)
        print("\n".join(description(cls)), file=file)
        print("## Spaces\n", file=file)
        print("| agent | observation | action |\n|---|---|---|", file=file)
        print("\n".join(space_rows(env)), file=file)
        print(f"\nTime limit: {horizon}. Needs: {extra}.\n", file=file)
        print("## Try it\n", file=file)
        print("\n".join(example(spec.id)), file=file)
        if task is not None:
            print("\n".join(task_section(task)), file=file)
    env.close()


def write_environment_index(groups: dict[str, list[EnvSpec]]) -> None:
    """Write the list of all environments."""
    with mkdocs_gen_files.open("environments/index.md", "w") as file:
        print("# Environments\n", file=file)
        print("All registered environments; `pkubench list` shows them in a shell.\n", file=file)
        for title, specs in groups.items():
            print(f"## {title}\n\n| environment | time limit | extra |\n|---|---|---|", file=file)
            for spec in specs:
                name = short_name(spec.id)
                horizon = "" if spec.horizon is None else str(spec.horizon)
                print(f"| [{name}]({name}.md) | {horizon} | {spec.extra or ''} |", file=file)
            print(file=file)


def write_data_sets() -> None:
    """Write the table of the data sets, from their cards."""
    with mkdocs_gen_files.open("environments/data-sets.md", "w") as file:
        print("# Data sets\n", file=file)
        print(
            "[Learn from data](../tutorials/learn-from-data.md) says how they are made and used. "
            "Returns are the mean over episodes, and the least and the largest.\n",
            file=file,
        )
        print("| id | who acted | episodes | steps | return | SHA-256 |", file=file)
        print("|---|---|---:|---:|---:|---|", file=file)
        for name, card in cards().items():
            returns = card["return"]
            figures = f"{returns['mean']:.4g} ({returns['min']:.4g} to {returns['max']:.4g})"
            size = f"{card['episodes']:,} | {card['steps']:,}"
            print(
                f"| `{name}` | {card['policy']} | {size} | {figures} | `{card['sha256'][:12]}` |",
                file=file,
            )


def write_agents() -> None:
    """Write the table of named agents."""
    with mkdocs_gen_files.open("agents/index.md", "w") as file:
        print("# Agents\n", file=file)
        print("The names that `train` and `evaluate` take.\n", file=file)
        print("| agent | from | suites | what it is |\n|---|---|---|---|", file=file)
        for spec in presets().values():
            suites = ", ".join(spec.suites or suites_by_name())
            print(f"| `{spec.name}` | {spec.paper} | {suites} | {spec.summary} |", file=file)


def write_soft_objective(alpha: float = 1.0, sweeps: int = 12) -> None:
    """Draw the soft objective of Penalty when agents update in turn and simultaneously."""
    payoffs = penalty(-100)
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "soft-objective.svg"
        caption = f"Exact soft best responses at alpha = {alpha:g} from uniform play (-17.58)."
        with canvas(drawn, "Penalty, k = -100", caption) as (axes,):
            for (label, sweep), colour in zip(
                (
                    ("in turn", equilibria.sequential_sweep),
                    ("simultaneously", equilibria.simultaneous_sweep),
                ),
                PALETTE,
                strict=False,
            ):
                policies, values = equilibria.uniform_policies(payoffs), []
                for _ in range(sweeps):
                    policies = sweep(payoffs, policies, alpha)
                    values.append(equilibria.soft_objective(payoffs, policies, alpha))
                axes.plot(range(1, sweeps + 1), values, marker="o", label=label, color=colour)
            axes.set(xlabel="sweeps over both agents", ylabel="soft objective F")
        with mkdocs_gen_files.open("concepts/soft-objective.svg", "w") as file:
            file.write(drawn.read_text(encoding="utf-8"))


def write_reference() -> list[str]:
    """Write one page per module that users write code against; return the modules."""
    modules = [
        name
        for name in REFERENCE
        if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()
        or (ROOT / Path(*name.split(".")) / "__init__.py").exists()
    ]
    for name in modules:
        with mkdocs_gen_files.open(f"reference/{name}.md", "w") as file:
            print(f"# `{name}`\n\n::: {name}\n    options:", file=file)
            print("      show_root_heading: false\n      show_root_toc_entry: false", file=file)
    return modules


def page_title(path: Path) -> str:
    """Return the first heading of a page."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    return path.stem.replace("-", " ").capitalize()


def section(folder: str, order: Sequence[str] = ()) -> Iterator[str]:
    """Yield the navigation lines of a folder of hand-written pages, ``order`` first."""
    pages = sorted((DOCS / folder).glob("*.md"), key=lambda p: (p.stem != "index", p.stem))
    pages.sort(key=lambda p: order.index(p.stem) if p.stem in order else len(order))
    for path in pages:
        yield f"    - [{page_title(path)}]({folder}/{path.name})"


def write_navigation(groups: dict[str, list[EnvSpec]], modules: list[str]) -> None:
    """Write SUMMARY.md from the pages that exist."""
    lines = ["- [Home](index.md)"]
    tutorials, concepts = list(section("tutorials", TUTORIALS)), list(section("concepts"))
    results = list(section("results"))
    if tutorials:
        lines += ["- Tutorials", *tutorials]
    lines += ["- Environments", "    - [All](environments/index.md)"]
    lines.append("    - [Data sets](environments/data-sets.md)")
    for title, specs in groups.items():
        lines.append(f"    - {title}")
        lines += [
            f"        - [{short_name(s.id)}](environments/{short_name(s.id)}.md)" for s in specs
        ]
    lines += ["- Agents", "    - [All](agents/index.md)", *section("agents")]
    results.append("    - [The papers' claims](claims.md)")
    for title, pages in (("Concepts", concepts), ("Results", results)):
        if pages:
            lines += [f"- {title}", *pages]
    lines += ["- Boards", "    - [Operate a board](operate.md)", "    - [API](board-api.md)"]
    lines += ["- Python", "    - [Public names](python-api.md)"]
    lines += [f"    - [{m}](reference/{m}.md)" for m in modules]
    lines += ["- [Architecture](architecture.md)", "- [Changelog](changelog.md)"]
    with mkdocs_gen_files.open("SUMMARY.md", "w") as file:
        file.write("---\nsearch:\n  exclude: true\n---\n\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Write all generated pages."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    standard = {task.id: task for task in tasks()}
    groups: dict[str, list[EnvSpec]] = {}
    for spec in environments().values():
        groups.setdefault(family(spec), []).append(spec)
        write_environment(spec, standard.get(spec.id))
    write_environment_index(groups)
    write_data_sets()
    write_agents()
    write_soft_objective()
    modules = write_reference()
    with mkdocs_gen_files.open("changelog.md", "w") as file:
        file.write((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    write_navigation(groups, modules)


main()
