"""MicroBattle: a team of soldiers fights another one that plays by a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.battle.combat import ATTACK, STOP, Combat
from pkubench.envs.battle.drawing import draw_battle
from pkubench.envs.battle.heuristic import across, command
from pkubench.envs.battle.soldier import FocusAgent, SoldierAgent
from pkubench.envs.battle.starts import draw_positions, draw_types
from pkubench.envs.battle.units import read_scenario
from pkubench.envs.battle.views import OWN, Views
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.core.traits import ACTION_MASK, ALIVE

BATTLE_WON = "battle_won"
"""The info that says that all enemies are dead and an ally lives."""


class MicroBattle(BatchEnv):
    """Allies of unlike health, range and speed fight a scripted team; the rules are SMAX's.

    | part        | type                     | meaning                                             |
    |-------------|--------------------------|-----------------------------------------------------|
    | agents      | `ally_0` ...             | soldiers of one team; one that is dead stays in the |
    |             |                          | list, sees zeros and can only stop                  |
    | observation | Box(13 (N − 1) + 10)     | the other units, allies first, then itself          |
    | action      | Discrete(5 + enemies)    | 0 north, 1 east, 2 south, 3 west, 4 stop, 5 + k     |
    |             |                          | attack enemy k                                      |
    | reward      | float64, 1/n each        | team: mean over enemies of the share of full health |
    |             |                          | that each loses, and 1 for a victory: at most 2     |
    | state       | Box(12 N)                | of every unit health, place, cooldown, type; then   |
    |             |                          | teams and types                                     |
    | ends        |                          | terminated when a team is dead, truncated at 100    |
    |             |                          | steps                                               |

    n allies and N units in all; y points north, and an episode takes place on a map of 32 x 32
    cells. A step is half a second, 8 ticks. Units of six types:

    | type      | health | damage | range | sight | speed | radius | cooldown (s) |
    |-----------|--------|--------|-------|-------|-------|--------|--------------|
    | marine    | 45     | 9      | 5     | 9     | 3.15  | 0.375  | 0.61         |
    | marauder  | 125    | 10     | 6     | 10    | 2.25  | 0.5625 | 1.07         |
    | stalker   | 160    | 13     | 6     | 10    | 4.13  | 0.625  | 1.87         |
    | zealot    | 150    | 8      | 2     | 9     | 3.15  | 0.5    | 0.86         |
    | zergling  | 35     | 5      | 2     | 8     | 4.13  | 0.375  | 0.5          |
    | hydralisk | 80     | 12     | 5     | 9     | 3.15  | 0.625  | 0.59         |

    | environment                | allies                 | enemies                | last agent |
    |----------------------------|------------------------|------------------------|------------|
    | MicroBattle3m-v0           | 3 marines              | the same               | `ally_2`   |
    | MicroBattle2s3z-v0         | 2 stalkers, 3 zealots  | the same               | `ally_4`   |
    | MicroBattle3s5z-v0         | 3 stalkers, 5 zealots  | the same               | `ally_7`   |
    | MicroBattle5m_vs_6m-v0     | 5 marines              | 6 marines              | `ally_4`   |
    | MicroBattle6h_vs_8z-v0     | 6 hydralisks           | 8 zealots              | `ally_5`   |
    | MicroBattle3s5z_vs_3s6z-v0 | 3 stalkers, 5 zealots  | 3 stalkers, 6 zealots  | `ally_7`   |
    | MicroBattleRandom5-v0      | 5, each of any type    | the same types         | `ally_4`   |
    | MicroBattleRandom10-v0     | 10, each of any type   | the same types         | `ally_9`   |

    **A tick**, all of it from the state before: living units move, no further than the edge of the
    map. A shot lands if its target is alive and nearer than the range, and if the shooter is alive
    and its weapon is ready; damages add up. A weapon is then ready again after its cooldown and a
    uniform number between −1/16 and 2/16 s. Who touches the edge of the map dies. Living units that
    overlap push each other half of the overlap away.

    **The enemies** shoot at their last target while it is within range, else at the nearest one
    that is; if there is none they walk towards one of the allies that they see, drawn in each step,
    or else to the place opposite of where they started. They see as little as the allies do.

    **Starts.** Allies stand around (8, 16) and enemies around (24, 16), uniform within 2 on each
    axis. In the environments Random5 and Random10 (after SMACv2) types are uniform and equal in
    both teams. With probability 1/2 allies are uniform in the left half and enemies mirror them;
    otherwise one of the teams, either with probability 1/2, stands around the centre, and the
    other's units in up to four groups between the corners and the centre.

    **Observation.** Of each other unit: health as a share, x and y of the way there divided by the
    own sight, the direction of its last move, its last attack (its number divided by the highest,
    0 for none), cooldown as a share, its type (one-hot of 6). All are 0 unless both are alive and
    it is nearer than the own sight. Of itself: health, x / 32, y / 32, cooldown, type.

    **Info.** `action_mask:AGENT`, int8 (5 + enemies,), says which actions are available: stop
    always, moves to the living, attacks of living enemies within range (whether or not the weapon
    is ready). Others have no effect. `alive`, bool (n,), says who of the allies lives, and
    `battle_won`, bool, whether the battle is won: all enemies are dead and an ally lives. If the
    last of both teams die in the same tick, nobody wins.

    **Scripts.** `scripted:heuristic` plays as the enemies do. `scripted:focus` shoots at the
    weakest enemy in range, and steps back from those of a shorter range while its weapon cools.

    Setting: `scenario` names the teams, as `2s3z`, `5m_vs_6m` or `random5`: numbers of units of a
    type, by the letters m marine, M marauder, s stalker, z zealot, Z zergling, h hydralisk.

    Source: Rutherford et al., "JaxMARL: Multi-Agent RL Environments and Algorithms in JAX", NeurIPS
    2024, after SMAC (Samvelyan et al. 2019) and SMACv2 (Ellis et al. 2023). From a copied state, a
    step equals that of JaxMARL 0.2.0. Departures: SMAX's limit of 100 steps ends an episode after
    101, and is not told apart from a terminal state; it gives the whole reward to each ally; some
    of its surrounding groups start beyond the edge of the map, where units die at once, and here
    groups start at least 3 cells inside.
    Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}
    default_horizon: ClassVar[int | None] = 100
    no_op_action: ClassVar[int] = STOP

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        scenario: str = "3m",
    ) -> None:
        """Make ``num_envs`` environments of a ``scenario``."""
        super().__init__(num_envs, max_episode_steps)
        self.scenario = read_scenario(scenario)
        allies, units = self.scenario.num_allies, self.scenario.num_units
        self.combat = Combat(self.scenario, num_envs)
        """All that moves. Call ``refresh`` after writing to it."""
        self.views = Views(self.combat)
        self.agents = tuple(f"ally_{i}" for i in range(allies))
        self.observation_spaces = {
            a: spaces.Box(-np.inf, np.inf, (self.views.length,), np.float32) for a in self.agents
        }
        self.action_spaces = {
            a: spaces.Discrete(ATTACK + self.scenario.num_enemies) for a in self.agents
        }
        self.state_space = spaces.Box(-np.inf, np.inf, ((OWN + 2) * units,), np.float32)
        self.random = RandomStreams(num_envs)
        shape = (self.scenario.num_enemies, num_envs)
        self.enemy_targets: IntArray = np.full(shape, -1, dtype=np.int64)
        """Whom each enemy attacks, as in its actions; -1 for nobody."""
        self.enemy_goals: FloatArray = np.zeros((2, *shape))
        """Where each enemy goes while it sees nobody."""
        self._actions: IntArray = np.full((units, num_envs), STOP, dtype=np.int64)

    def refresh(self) -> None:
        """Recompute what follows from the fight's state; call it after writing to it."""
        self.combat.settle()
        self.views.refresh()

    def enemy_actions(self) -> IntArray:
        """Return what the enemies do now, (enemies, num_envs), and remember whom they attack."""
        enemies, allies = self.scenario.num_enemies, self.scenario.num_allies
        luck = self.random.uniform(self._all, enemies).T
        goal = self.enemy_goals - self.combat.positions[:, allies:]
        order = command(self.views.enemy_view(), self.enemy_targets, goal, luck)
        self.enemy_targets = order.targets
        return order.actions

    def scripted_agents(self) -> dict[str, SoldierAgent]:
        """Return ``heuristic``, who plays the script of the enemies, and ``focus``, who aims."""
        return {"heuristic": SoldierAgent(self.scenario), "focus": FocusAgent(self.scenario)}

    def fight(
        self, actions: IntArray, noise: FloatArray | None = None
    ) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Advance by the actions of all units, (units, num_envs); see ``Combat.act``.

        Returns:
            The reward of the team, whether a team is dead, and whether the allies have won, each
            (num_envs,).
        """
        allies, combat = self.scenario.num_allies, self.combat
        before = combat.health[allies:].copy()
        combat.act(actions, self.random, noise)
        self.views.refresh()
        lost = (before - combat.health[allies:]) / combat.stats.health[allies:]
        allies_left: BoolArray = np.logical_or.reduce(combat.alive[:allies])
        enemies_left: BoolArray = np.logical_or.reduce(combat.alive[allies:])
        is_won = allies_left & ~enemies_left
        reward = _total(lost) / self.scenario.num_enemies + is_won
        return reward, ~(allies_left & enemies_left), is_won

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        positions = draw_positions(self.scenario, ids, self.random)
        self.combat.place(ids, positions, draw_types(self.scenario, ids, self.random))
        self.enemy_targets[:, ids] = -1
        starts = self.combat.positions[:, self.scenario.num_allies :, ids]
        self.enemy_goals[:, :, ids] = across(starts)
        self.views.refresh()

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        for index, agent in enumerate(self.agents):
            self._actions[index] = actions[agent]
        self._actions[self.num_agents :] = self.enemy_actions()
        reward, is_over, is_won = self.fight(self._actions)
        rewards = np.repeat(reward[:, None] / self.num_agents, self.num_agents, axis=1)
        return rewards, is_over, self._report(is_won)

    def _info(self) -> Info:
        return self._report(np.zeros(self.num_envs, dtype=np.bool_))

    def _report(self, is_won: BoolArray) -> Info:
        masks = self.views.action_masks()
        own = zip(self.agents, masks, strict=True)
        info: Info = {f"{ACTION_MASK}:{agent}": mask for agent, mask in own}
        info[ALIVE] = self.combat.alive[: self.num_agents].T.copy(order="C")
        info[BATTLE_WON] = is_won
        return info

    def _observe(self) -> dict[str, Array]:
        return dict(zip(self.agents, self.views.observations(), strict=True))

    def state(self) -> npt.NDArray[np.float32]:
        """Return the global state, (num_envs, 12 units)."""
        return self.views.state()

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment from above: (480, 480, 3) uint8."""
        return draw_battle(self.combat, index)


def _total(rows: FloatArray) -> FloatArray:
    """Return the sum of rows, added in their order whatever the batch."""
    total = np.zeros(rows.shape[1])
    for row in rows:
        total += row
    return total
