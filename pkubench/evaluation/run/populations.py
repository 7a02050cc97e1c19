"""Game tasks: an entrant becomes realization plans, and its exploitability is computed exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.contract import Entrant, Population, StochasticPolicy, Team
from pkubench.errors import AgentError
from pkubench.evaluation.run.episodes import Clock, StepLimit, failed_record, failure_reason
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.task import Task

if TYPE_CHECKING:
    from pkubench.envs.games import ZeroSumGame

SEATS = ("player_0", "player_1")


def score_population(
    entrant: Entrant, task: Task, seed: int, clock: Clock | None = None
) -> Iterator[EpisodeRecord]:
    """Yield the one record of a game task.

    ``return`` is what the entrant's first seat wins against its own second seat.

    Raises:
        AgentError: the entrant cannot tell its action probabilities.
    """
    from pkubench.envs.games.trees import registered_game

    game = registered_game(task.id)
    members = [_member(entrant, player) for player in (0, 1)]
    try:
        with clock or nullcontext():
            plans = [_plans(member, game, player) for player, member in enumerate(members)]
    except (Exception, SystemExit, StepLimit) as error:
        yield failed_record(0, seed, 0, failure_reason("policy", error))
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
        seed=seed,
        return_=value,
        returns={SEATS[0]: value, SEATS[1]: -value},
        length=0,
        metrics={m.name: values[m.name] for m in task.metrics if m.name in values},
    )


def realization_plans(entrant: Entrant, game: ZeroSumGame) -> tuple[Any, Any]:
    """Return an entrant's strategies as realization plans, float64 (sequences,) for each seat.

    Raises:
        AgentError: it cannot tell its action probabilities.
    """
    x, y = (_mixed(game, *_plans(_member(entrant, player), game, player)) for player in (0, 1))
    return x, y


def _member(entrant: Entrant, player: int) -> Population | StochasticPolicy:
    """Return who plays a seat.

    Raises:
        AgentError: nobody does, or nobody whose probabilities can be asked for.
    """
    member: Any = entrant
    if isinstance(entrant, Team):
        if SEATS[player] not in entrant.members:
            raise AgentError(f"the team has no member for {SEATS[player]!r}")
        member = entrant.members[SEATS[player]]
    if not isinstance(member, Population | StochasticPolicy):
        raise AgentError(
            f"game tasks are scored exactly, so {type(member).__name__} must tell its action "
            "probabilities (action_probabilities, see StochasticPolicy) or be a Population"
        )
    return member


def _plans(
    member: Population | StochasticPolicy, game: ZeroSumGame, player: int
) -> tuple[Any, Any]:
    """Return a seat's policies as realization plans, one a row, and the probability of each."""
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
    """Return what the policies lose however they are mixed; of one a seat that is NashConv."""
    (rows, _), (columns, _) = plans
    if len(rows) == len(columns) == 1:
        return nash_conv
    return game.population_exploitability(rows, columns)
