"""Game tasks: an entrant becomes realization plans, and its exploitability is computed exactly.

The whole game is solved, so there is no sample: a run has one record, and every metric is a number
without an interval.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from pkubench.agents.contract import (
    Agent,
    BoolArray,
    Entrant,
    FloatArray,
    IntArray,
    MaskedObservation,
    Population,
    StochasticPolicy,
    Team,
)
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import RandomStreams, evaluation_seeds
from pkubench.errors import AgentError
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Aggregate, Episode, EpisodeFailure, Play, Tools, means
from pkubench.tasks.task import Metric, Task

if TYPE_CHECKING:
    from pkubench.envs.games import GameTree, ZeroSumGame

SEATS = ("player_0", "player_1")
WON = Metric(name="return", higher_is_better=True, unit="chips", describe="won against itself")
"""What one play of a game shows; its task's metrics are about whole strategies."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Exploitability, computed on the whole game: one record per run."""

    name: ClassVar[str] = "population"
    summary: ClassVar[str] = "exact computation on the whole game"
    unit: ClassVar[str] = "score"
    done: ClassVar[str] = "computed"
    is_played: ClassVar[bool] = False

    def plan(self, task: Task, seed: int, count: int) -> Sequence[Episode]:
        """Return one episode, whatever the number requested: there is nothing to sample."""
        (first,) = evaluation_seeds(seed, 1).tolist()
        return [Episode(number=0, seed=first, agent_seed=first)]

    def run(
        self, entrant: Entrant, task: Task, episodes: Sequence[Episode], tools: Tools
    ) -> Iterator[EpisodeRecord]:
        """Yield the one record of a game task.

        ``return`` is what the entrant's first seat wins against its own second seat.

        Raises:
            AgentError: the entrant cannot return its action probabilities.
        """
        from pkubench.envs.games.trees import registered_game

        (episode,) = episodes
        game = registered_game(task.id)
        members = [_member(entrant, player) for player in (0, 1)]
        try:
            plans = tools.ask(
                "policy", lambda: [_plans(who, game, seat) for seat, who in enumerate(members)]
            )
        except EpisodeFailure as failure:
            yield EpisodeRecord(
                episode=0, seed=episode.seed, return_=None, length=0, failure=str(failure)
            )
            return
        x, y = (_mixed(game, *found) for found in plans)
        nash_conv = game.nash_conv(x, y)
        value = game.expected_value(x, y)
        values = {
            "nash_conv": nash_conv,
            "exploitability": nash_conv / 2,
            "population_exploitability": _population_exploitability(game, plans, nash_conv),
        }
        yield EpisodeRecord(
            episode=0,
            seed=episode.seed,
            return_=value,
            returns={SEATS[0]: value, SEATS[1]: -value},
            length=0,
            metrics={m.name: values[m.name] for m in task.metrics if m.name in values},
        )

    def summarise(
        self, runs: Sequence[Sequence[EpisodeRecord]], task: Task
    ) -> Mapping[str, Aggregate]:
        """Return the mean of every metric over runs; of one run its own numbers."""
        return means(runs, task)

    def check(self, record: EpisodeRecord, task: Task) -> str:
        """Return "": the seats' returns have the sum 0, whatever the game's value."""
        return ""

    def stage(self, entrant: Entrant, task: Task) -> Play:
        """Return an environment in which the entrant plays both seats of the game."""
        from pkubench.envs.games.trees import registered_tree

        tree = registered_tree(task.id)
        plans = realization_plans(entrant, tree)
        seats = [tree.behaviour(plans[player], player) for player in (0, 1)]
        surely = np.ones(1)
        opponent = Population(([seats[0]], [seats[1]]), (surely, surely))
        env = make_batch(task.id, 1, opponent=opponent, **task.env_kwargs)
        player = cast(Agent, GamePlayer(tree, plans))
        return Play(env, player, dataclasses.replace(task, metrics=(WON,)))


def realization_plans(entrant: Entrant, game: ZeroSumGame) -> tuple[Any, Any]:
    """Return an entrant's strategies as realization plans, float64 (sequences,) for each seat.

    Raises:
        AgentError: it cannot return its action probabilities.
    """
    x, y = (_mixed(game, *_plans(_member(entrant, player), game, player)) for player in (0, 1))
    return x, y


def _member(entrant: Entrant, player: int) -> Population | StochasticPolicy:
    """Return the member of an entrant that plays a seat.

    Raises:
        AgentError: there is none, or it cannot return its action probabilities.
    """
    member: Any = entrant
    if isinstance(entrant, Team):
        if SEATS[player] not in entrant.members:
            raise AgentError(f"the team has no member for {SEATS[player]!r}")
        member = entrant.members[SEATS[player]]
    if not isinstance(member, Population | StochasticPolicy):
        raise AgentError(
            f"game tasks are scored exactly, so {type(member).__name__} must return its action "
            "probabilities (action_probabilities, see StochasticPolicy) or be a Population"
        )
    return member


def _plans(
    member: Population | StochasticPolicy, game: ZeroSumGame, player: int
) -> tuple[Any, Any]:
    """Return a seat's policies as realization plans, one per row, and the probability of each."""
    if isinstance(member, Population):
        plans = [game.realization_plan(policy, player) for policy in member.policies[player]]
        return np.stack(plans), np.asarray(member.meta_strategy[player], dtype=np.float64)
    mask = game.legal_mask(player)
    table = np.asarray(
        member.action_probabilities(game.tensors(player).copy(), mask.astype(np.int8))
    )
    if table.shape != mask.shape:
        raise AgentError(f"action_probabilities gave shape {table.shape}, wanted {mask.shape}")
    return game.plan_from_table(table, player)[None], np.ones(1)


def _mixed(game: ZeroSumGame, plans: Any, weights: Any) -> Any:
    """Return the plan that is played; a single policy's is its own, to the last bit."""
    return plans[0] if len(plans) == 1 else game.mix(plans, weights)


def _population_exploitability(
    game: ZeroSumGame, plans: Sequence[tuple[Any, Any]], nash_conv: float
) -> float:
    """Return what the policies lose however they are mixed; for one per seat that is NashConv."""
    (rows, _), (columns, _) = plans
    if len(rows) == len(columns) == 1:
        return nash_conv
    return game.population_exploitability(rows, columns)


class GamePlayer:
    """Plays the strategy that the game task scores exactly.

    The entrant's mixture over policies is played as the one behavioural strategy that has the
    same distribution over plays (Kuhn's theorem: the games have perfect recall).
    """

    def __init__(self, tree: GameTree, plans: tuple[Any, Any]) -> None:
        """Compute the behavioural strategy of realization plans in every information state."""
        self._table: dict[bytes, FloatArray] = {}
        for player in (0, 1):
            rows = tree.table(plans[player], player)
            for tensor, row in zip(tree.tensors(player), rows, strict=True):
                self._table[tensor.tobytes()] = row

    def begin(self, seeds: IntArray) -> RandomStreams:
        """Start a random stream for each episode."""
        return RandomStreams.started(seeds)

    def act(
        self, observation: MaskedObservation, state: RandomStreams, active: BoolArray
    ) -> tuple[IntArray, RandomStreams]:
        """Draw actions (episodes,) from the strategy."""
        indices = np.flatnonzero(active)
        actions = np.zeros(len(active), dtype=np.int64)
        draws = state.uniform(indices, 1)[:, 0]
        for index, draw in zip(indices, draws, strict=True):
            row = self._table[observation.observation[index].astype(np.float32).tobytes()]
            actions[index] = min(np.searchsorted(np.cumsum(row), draw, side="right"), len(row) - 1)
        return actions, state
