"""Self-play: two-player games as PettingZoo AEC environments.

Example:
    >>> from pkubench.envs.games import aec
    >>> env = aec.env("kuhn_poker")
    >>> env.reset(seed=0)
    >>> for agent in env.agent_iter():
    ...     observation, reward, terminated, truncated, info = env.last()
    ...     done = terminated or truncated
    ...     env.step(None if done else int(observation["action_mask"].argmax()))
    >>> sum(env.rewards.values())
    0
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.episode_seeds import EpisodeSeeds
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.games.histories import CHANCE
from pkubench.envs.games.openspiel_games import load_openspiel, observer
from pkubench.errors import ActionError, ConfigError, MissingExtra

try:
    from pettingzoo import AECEnv
except ModuleNotFoundError as missing:
    raise MissingExtra("marl", "self-play through PettingZoo") from missing

PLAYERS = ("player_0", "player_1")
RENDER_MODES = ("ansi", "rgb_array")
_LANE = np.zeros(1, dtype=np.int64)


def env(game: str = "leduc_poker", render_mode: str | None = None) -> GameAEC:
    """Make a game for self-play.

    Args:
        game: OpenSpiel's name, which may carry parameters. Simultaneous games are turn-based.
        render_mode: None, ``"ansi"`` (text), or ``"rgb_array"``.

    Raises:
        MissingExtra, UnknownName, GameError: As :func:`load_openspiel`; or the game has nothing
            to observe (``openspiel_games.observer``).
        ConfigError: No such render mode.
    """
    return GameAEC(game, render_mode)


class GameAEC(AECEnv[str, Any, Any]):  # type: ignore[misc]
    """A two-player zero-sum OpenSpiel game in which both seats act in turn.

    Observations follow PettingZoo's classic games: ``{"observation": information-state tensor
    (float32), "action_mask": int8}``; the mask of who is not to move is all zeros. Rewards come
    at the end and sum to zero. Chance draws from the episode's seed; ``reset()`` without a seed
    continues with the episode that follows the last one.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - PettingZoo declares it so
        "name": "pkubench_game_v0",
        "render_modes": list(RENDER_MODES),
        "is_parallelizable": False,
        "render_fps": 2,
    }

    def __init__(self, game: str, render_mode: str | None = None) -> None:
        """Load the game; ``reset`` starts a play."""
        super().__init__()
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ConfigError(f"render_mode must be None or one of {RENDER_MODES}: {render_mode!r}")
        self.game = load_openspiel(game)
        size, self._see = observer(self.game)
        self.render_mode = render_mode
        self.possible_agents = list(PLAYERS)
        self.agents = list(PLAYERS)
        actions = int(self.game.num_distinct_actions())
        self._observation_space = spaces.Dict(
            {
                "observation": spaces.Box(-np.inf, np.inf, (size,), np.float32),
                "action_mask": spaces.Box(0, 1, (actions,), np.int8),
            }
        )
        self.observation_spaces = dict.fromkeys(PLAYERS, self._observation_space)
        self.action_spaces = {agent: spaces.Discrete(actions) for agent in PLAYERS}
        self._seeds = EpisodeSeeds(1)
        self._random = RandomStreams(1)

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the space of ``observe(agent)``."""
        return self._observation_space

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return the action space, all actions of the game; the mask says which are legal."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a new play; games have no ``options``."""
        self._random.seed(_LANE, self._seeds.take(_LANE, seed))
        self.agents = list(PLAYERS)
        self.rewards = dict.fromkeys(PLAYERS, 0)
        self._cumulative_rewards = dict.fromkeys(PLAYERS, 0)
        self.terminations = dict.fromkeys(PLAYERS, False)
        self.truncations = dict.fromkeys(PLAYERS, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in PLAYERS}
        self.state_of_play = self.game.new_initial_state()
        self._deal()
        self.agent_selection = PLAYERS[self.state_of_play.current_player()]

    def observe(self, agent: str) -> dict[str, npt.NDArray[Any]]:
        """Return what ``agent`` knows now."""
        state, player = self.state_of_play, PLAYERS.index(agent)
        mask = np.zeros(int(self.action_spaces[agent].n), dtype=np.int8)
        if not state.is_terminal() and state.current_player() == player:
            mask[state.legal_actions()] = 1
        return {"observation": self._see(state, player), "action_mask": mask}

    def step(self, action: int | None) -> None:
        """Play ``action`` for the agent to move (None for one whose play is over).

        Raises:
            ActionError: The action is illegal; the message lists the legal ones.
        """
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        state = self.state_of_play
        legal = state.legal_actions()
        if action is None or int(action) not in legal:
            raise ActionError(f"action {action!r} of {agent} is illegal here; legal are {legal}")
        self._cumulative_rewards[agent] = 0
        state.apply_action(int(action))
        self._deal()
        if state.is_terminal():
            self.rewards = dict(zip(PLAYERS, state.returns(), strict=True))
            self.terminations = dict.fromkeys(PLAYERS, True)
            self.agent_selection = PLAYERS[1 - PLAYERS.index(agent)]
        else:
            self.agent_selection = PLAYERS[state.current_player()]
        self._accumulate_rewards()

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """Return the play as text or as a picture of that text, cards of both seats open."""
        if self.render_mode is None:
            return None
        text = f"{self.game.get_type().short_name}\n{self.state_of_play}"
        if self.render_mode == "ansi":
            return text
        from pkubench.envs.games.table_picture import draw_text

        return draw_text(text)

    def close(self) -> None:
        """Nothing is held that needs closing."""

    def _deal(self) -> None:
        state = self.state_of_play
        while state.current_player() == CHANCE:
            actions, weights = zip(*state.chance_outcomes(), strict=True)
            draw = self._random.uniform(_LANE, 1)[0, 0]
            reached = int(np.searchsorted(np.cumsum(weights), draw * sum(weights), "right"))
            state.apply_action(actions[min(reached, len(actions) - 1)])
