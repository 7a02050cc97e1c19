"""Game learners for a training session: an iteration at a time, with exact metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pkubench.agents.families.psro.anytime import AnytimeConfig, AnytimePSRO
from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import FictitiousPlay, XFPConfig
from pkubench.agents.families.psro.learner import Floats, GameLearner
from pkubench.agents.families.psro.mmd import MMD, MMDConfig
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.population import population_export
from pkubench.agents.families.psro.presets import Settings
from pkubench.agents.families.psro.sampled_settings import DeepCFRConfig, NFSPConfig
from pkubench.agents.families.psro.xdo import XDO, XDOConfig
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.saved.runs import where_solved
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.trees import registered_game, registered_tree
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import PkubenchError, WeightsError


def learner(config: Settings, environment: str, seed: int) -> GameLearner:
    """Return the learner of some settings, before its first iteration.

    Population learners and fictitious play use matrix games directly (a symmetric one with one
    population for both sides); the others use the game's tree.
    """
    if isinstance(config, CFRPlusConfig):
        return CFRPlus(registered_tree(environment), config, seed)
    if isinstance(config, XFPConfig):
        return FictitiousPlay(registered_game(environment), config, seed)
    if isinstance(config, AnytimeConfig):
        return AnytimePSRO(registered_game(environment), config, seed)
    if isinstance(config, XDOConfig):
        return XDO(registered_tree(environment), config, seed)
    if isinstance(config, MMDConfig):
        return MMD(registered_tree(environment), config, seed)
    if isinstance(config, NFSPConfig | DeepCFRConfig):
        return _network_learner(config, environment, seed)
    return PopulationLearner(registered_game(environment), config, seed)


def _network_learner(
    config: NFSPConfig | DeepCFRConfig, environment: str, seed: int
) -> GameLearner:
    """Return a learner with networks; torch is imported here, which takes a second."""
    from pkubench.agents.families.psro.deep_cfr import DeepCFR
    from pkubench.agents.families.psro.nfsp import NFSP

    tree = registered_tree(environment)
    if isinstance(config, NFSPConfig):
        return NFSP(tree, config, seed)
    return DeepCFR(tree, config, seed)


class GameTraining:
    """One training seed of a game learner; see ``pkubench.agents.learner.Learner``.

    Metrics are ``nash_conv``, ``exploitability``, ``population_exploitability`` (where computed),
    ``policies``, ``episodes`` (the equivalent of learning from episodes), ``seconds`` of learning
    and ``scoring_seconds`` of computing the metrics. It runs on the CPU, whatever the device.
    """

    is_anytime = True

    def __init__(self, context: Context) -> None:
        """Make the learner of a game."""
        self.config, self.total = context.settings, context.total
        self.game = registered_game(context.task.id)
        self.learner = learner(context.settings, context.task.id, context.seed)
        self.seconds = np.zeros(2)
        """Seconds of learning and of scoring."""

    @property
    def counters(self) -> Counters:
        """Iterations done."""
        return Counters(iterations=self.learner.iteration)

    @property
    def ended(self) -> str:
        """Where it ended, if further iterations would change nothing."""
        if not self.learner.finished:
            return ""
        return where_solved({"tolerance": getattr(self.config, "tolerance", None)})

    def iterate(self) -> Mapping[str, float]:
        """Do one iteration; return metrics every ``report_every`` iterations and at the last."""
        made = self.learner
        started = time.perf_counter()
        made.advance()
        is_last = made.iteration >= self.total or made.finished
        trained = time.perf_counter()
        self.seconds = self.seconds + np.array([trained - started, 0.0])
        if not is_last and made.iteration % made.report_every:
            return {}
        figures = made.measure(is_last)
        self.seconds = self.seconds + np.array([0.0, time.perf_counter() - trained])
        figures["seconds"], figures["scoring_seconds"] = self.seconds.tolist()
        return figures

    def state(self) -> State:
        """Return copies of everything that the next iterations depend on."""
        return {
            **self.learner.state(),
            "seconds": self.seconds,
            "fingerprint": self.game.fingerprint,
        }

    def load_state(self, state: State) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of another game or other settings.
        """
        try:
            if state["fingerprint"] != self.game.fingerprint:
                raise ValueError("it is of another game")
            self.learner.restore(dict(state))
            self.seconds = np.asarray(state["seconds"], np.float64)
        except (KeyError, ValueError, IndexError, TypeError, PkubenchError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return both populations and their meta-strategy."""
        made, game = self.learner, self.game
        rows, columns = (_plans_of(game, player, made.plans()[player]) for player in (0, 1))
        facts, tensors = population_export(
            game, (rows, columns), made.meta_strategy(), pure=made.pure
        )
        return Export(facts, tensors)

    def close(self) -> None:
        """Do nothing: there are no environments."""


def _plans_of(game: ZeroSumGame, player: int, plans: Floats) -> Any:
    """Return plans of the game itself: those on a matrix game's tree have an empty sequence."""
    return (
        plans[:, 1:]
        if isinstance(game, MatrixGame) and plans.shape[1] > game.shape[player]
        else plans
    )
