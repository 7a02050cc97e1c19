"""How social dilemmas are scored: against scripted partners, from every seat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from pkubench.agents.contract import Agent, CentralisedTeam, Entrant, Population, Team
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.errors import AgentError
from pkubench.tasks.conversation import RETRIES, UNANSWERED, Conversation
from pkubench.tasks.grouped import Statistic, grouped, mean_of_groups
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Aggregate, Episode
from pkubench.tasks.task import Metric, Task

SELF_PLAY: Final = "itself"
"""The group of episodes in which the entrant plays all seats."""

PAYOFF = Metric(
    name="payoff",
    higher_is_better=True,
    unit="per round",
    describe="own payoff of a round, mean over partners",
    is_derived=True,
)
COOPERATION = Metric(
    name="cooperation",
    higher_is_better=True,
    unit="share",
    describe="share of rounds in which it cooperated, or of its coins that it gave",
    is_derived=True,
)
MATCH_METRICS: Final = (
    PAYOFF,
    COOPERATION,
    Metric(
        name="partner_payoff",
        higher_is_better=True,
        unit="per round",
        describe="the others' mean payoff of a round, mean over partners",
        is_derived=True,
    ),
    Metric(
        name="nra",
        higher_is_better=True,
        unit="share",
        describe="normalised relative advantage: own minus others' payoffs over the sum of both",
        is_derived=True,
    ),
    UNANSWERED,
    RETRIES,
)
GIVING_METRICS: Final = (COOPERATION, PAYOFF, UNANSWERED, RETRIES)


def relative_advantage(groups: Sequence[Any]) -> Any:
    """Return NRA, from own and others' payoffs of each match: (..., matches, 2) by group.

    (sum of own - sum of others') / sum of (|own| + |others'|), with absolute values match by match,
    and 0 where the denominator is 0: GTBench (arXiv 2402.12348). Antisymmetric, 0 in self-play, of
    the same value for scaled payoffs and not for shifted ones. Groups count as they have matches.
    """
    own = sum(group[..., 0].sum(axis=-1) for group in groups)
    others = sum(group[..., 1].sum(axis=-1) for group in groups)
    total = sum(np.abs(group).sum(axis=(-2, -1)) for group in groups)
    return np.where(total > 0.0, (own - others) / np.where(total > 0.0, total, 1.0), 0.0)


@dataclass(frozen=True, slots=True)
class Matches(Conversation):
    """Plays the entrant in each seat against each of the partners, all other seats theirs.

    Episode n is against partner n mod P; the entrant's seat changes every P episodes, and the names
    of the actions in words after all seats. Of a team, the member of the seat plays.
    """

    partners: tuple[str, ...] = ()
    """Names of the environment's scripted agents; empty: nobody else plays. ``SELF_PLAY`` is the
    entrant itself in all seats."""
    seats: int = 1
    summary: ClassVar[str] = "playing matches against scripted partners, on arrays or in words"

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return ``count`` matches; see :class:`Scoring`."""
        seeds = evaluation_seeds(seed, count).tolist()
        found = []
        for number, own in enumerate(seeds):
            _, rest = divmod(number, max(len(self.partners), 1))
            swapped = number // (max(len(self.partners), 1) * self.seats) % 2
            found.append(
                Episode(
                    number=number,
                    seed=own,
                    agent_seed=own,
                    options={"labels": swapped},
                    group=self.partners[rest] if self.partners else "",
                )
            )
        return found

    def seat(self, episode: Episode) -> int:
        """Return the entrant's seat in an episode."""
        return episode.number // max(len(self.partners), 1) % self.seats

    def part(self, episode: Episode) -> Any:
        """Return the partner and the seat."""
        return episode.group, self.seat(episode)

    def seating(
        self, entrant: Entrant, env: BatchEnv, task: Task, episode: Episode
    ) -> Mapping[str, Any]:
        """Return the entrant in its seat, and the partner in the others."""
        if isinstance(entrant, Population | CentralisedTeam):
            raise AgentError(
                f"a seat of {task.id} is one player's: it takes an agent or a team of agents, not "
                f"a {type(entrant).__name__}"
            )
        own = env.agents[self.seat(episode)]
        form: Any = env.unwrapped
        found: dict[str, Any] = {}
        for agent in env.agents:
            if agent != own and episode.group != SELF_PLAY:
                found[agent] = form.strategies[episode.group]
            elif isinstance(entrant, Team):
                if agent not in entrant.members:
                    raise AgentError(f"the team has no member for {agent}")
                found[agent] = entrant.members[agent]
            elif isinstance(entrant, Agent):
                found[agent] = entrant
            else:
                raise AgentError(f"{type(entrant).__name__} is not an agent: no begin and act")
        return found

    def finished(
        self, record: EpisodeRecord, env: BatchEnv, index: int, episode: Episode
    ) -> tuple[Mapping[str, float], Mapping[str, Any]]:
        """Add the payoffs, how much the entrant cooperated, and everybody's choices."""
        game: Any = env
        seat = self.seat(episode)
        paid = np.array([record.returns[agent] for agent in env.agents]) / game.rounds
        shares = game.shares()[index]
        metrics = {PAYOFF.name: float(paid[seat]), COOPERATION.name: float(shares[seat])}
        if len(paid) > 1:
            others = np.delete(paid, seat)
            metrics["partner_payoff"] = float(others.mean())
            metrics["nra"] = float(relative_advantage([np.array([[paid[seat], others.mean()]])]))
        return metrics, {"seat": seat, "choices": game.history[index].tolist()}

    def summarise(
        self, runs: Sequence[Sequence[EpisodeRecord]], task: Task
    ) -> Mapping[str, Aggregate]:
        """Return every metric: means over partners, of which each counts the same."""
        found = {}
        for metric in task.metrics:
            names, statistic = [metric.name], _MEAN
            if metric.name == "nra":
                names, statistic = [PAYOFF.name, "partner_payoff"], relative_advantage
            found[metric.name] = grouped(runs, names, statistic)
        return found


_MEAN: Statistic = mean_of_groups
