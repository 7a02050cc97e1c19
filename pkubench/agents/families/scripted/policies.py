"""Scripted agents: controllers that know a task's rules, as references for learned ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Literal

import numpy as np

from pkubench.agents.contract import Agent, Array, BoolArray, Entrant, FloatArray, IntArray, Team
from pkubench.agents.families.scripted.lazy import no_op, pacing, standing
from pkubench.agents.families.scripted.linear import ConstantAgent, LinearAgent, PlanAgent
from pkubench.agents.families.scripted.steering import DEFAULT_GAINS, ChaseAgent, Gains, PushAgent
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import AgentError, ConfigError, UnknownName

_MOVES: Final = 5
"""Movement actions of a particle; SimpleReference's Discrete(50) is movement + 5 x message."""
Role = Literal["both", "speaker", "listener"]
"""What an agent does in a task with messages."""
_MAX_ENUMERATED: Final = 6
"""Teams up to this size try every assignment (720); larger ones solve each episode separately."""


@dataclass(frozen=True, slots=True)
class AssignmentAgent:
    """Covers landmarks by the assignment with the least total distance.

    Every agent of SimpleSpread, and of Navigation with 3 or 6 agents, observes all bodies and
    landmarks, so each computes the whole team's assignment from its own observation, and all agree:
    execution is decentralised. With 15 agents each assigns the 6 landmarks and 5 agents that it
    sees. With the default gains a team of three gets -22.4 with discrete and -19.8 with continuous
    actions in SimpleSpread (v3 rules, the sum over agents; 20,000 episodes, standard error 0.07).
    """

    index: int
    """This agent's index among those that it observes and itself."""
    continuous: bool
    gains: Gains = DEFAULT_GAINS
    channels: int = 2
    """Numbers at the end of an observation for each of the others, which are ignored."""

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Move to the landmark assigned to this agent.

        The observation of N landmarks and N - 1 others is (episodes, 2 + 4 N + channels (N - 1)).
        """
        batch, length = observation.shape
        count, rest = divmod(length - 2 + self.channels, 4 + self.channels)
        if rest or not self.index < count:
            raise AgentError(
                "scripted:assignment plays tasks where agents observe as many landmarks as agents; "
                f"an observation of {length} numbers is of another kind"
            )
        seen = observation.astype(np.float64)
        velocity = seen[:, 0:2]
        landmarks = seen[:, 4 : 4 + 2 * count].reshape(batch, count, 2)
        others = seen[:, 4 + 2 * count : 2 + 4 * count].reshape(batch, count - 1, 2)
        team = np.zeros((batch, count, 2))
        team[:, : self.index] = others[:, : self.index]
        team[:, self.index + 1 :] = others[:, self.index :]
        apart = team[:, :, None] - landmarks[:, None]
        distance = np.sqrt(apart[..., 0] ** 2 + apart[..., 1] ** 2)
        target = best_assignment(distance)[:, self.index]
        offset = landmarks[np.arange(batch), target]
        steer = self.gains.push if self.continuous else self.gains.move
        return steer(offset, velocity), None


def best_assignment(cost: FloatArray) -> IntArray:
    """Return the columns of each row's agents that minimise the total cost.

    Args:
        cost: (batch, agents, landmarks), square.

    Returns:
        (batch, agents) int64, a permutation in each row; the first one in lexical order if several
        are optimal (up to 6 agents).
    """
    batch, count, _ = cost.shape
    if count > _MAX_ENUMERATED:
        from scipy.optimize import linear_sum_assignment

        return np.array([linear_sum_assignment(matrix)[1] for matrix in cost], dtype=np.int64)
    choices = _permutations(count)
    totals = np.zeros((batch, len(choices)))
    for agent in range(count):
        totals += cost[:, agent, choices[:, agent]]
    best: IntArray = choices[totals.argmin(axis=1)]
    return best


@lru_cache
def _permutations(count: int) -> IntArray:
    return np.array(list(itertools.permutations(range(count))), dtype=np.int64)


def assignment_team(task_id: str) -> Entrant:
    """Return the team for a SimpleSpread or a Navigation task.

    Raises:
        AgentError: another task.
    """
    name = task_id.rsplit("/", 1)[-1]
    if name.startswith("Navigation"):
        member = AssignmentAgent(0, continuous=False, channels=0)
        return Team(dict.fromkeys(_agents_of(task_id), member))
    if not name.startswith("SimpleSpread"):
        raise AgentError(
            f"scripted:assignment plays the SimpleSpread and Navigation tasks only, not {task_id!r}"
        )
    continuous = "Continuous" in name
    return Team({f"agent_{i}": AssignmentAgent(i, continuous) for i in range(3)})


def chase_team(task_id: str) -> Entrant:
    """Return the predators that each move to the nearest prey.

    Raises:
        AgentError: another task than PredatorPrey.
    """
    if not task_id.rsplit("/", 1)[-1].startswith("PredatorPrey"):
        raise AgentError(f"scripted:chase plays the PredatorPrey tasks only, not {task_id!r}")
    agents = _agents_of(task_id)
    return Team(dict.fromkeys(agents, ChaseAgent(prey=len(agents) // 3)))


def push_team(task_id: str) -> Entrant:
    """Return the agents that push the ball from behind.

    Raises:
        AgentError: another task than CooperativePush.
    """
    if not task_id.rsplit("/", 1)[-1].startswith("CooperativePush"):
        raise AgentError(f"scripted:push plays the CooperativePush tasks only, not {task_id!r}")
    return Team(dict.fromkeys(_agents_of(task_id), PushAgent()))


def _agents_of(task_id: str) -> tuple[str, ...]:
    env = make_batch(task_id)
    env.close()
    return env.agents


@dataclass(frozen=True, slots=True)
class MessengerAgent:
    """Sends the goal that it observes and moves to the landmark of the message that it receives.

    Message k means landmark k. For SimpleReference, where each agent does both, and for the two
    roles of SimpleSpeakerListener. Until the first message arrives, one step into the episode, an
    agent moves to the mean of the landmarks. The sum over agents, discrete and continuous
    actions (2,000 episodes, standard error 0.15 to 0.35): -15.1 and -12.5 in SimpleReference, -14.8
    and -11.8 in SimpleSpeakerListener.
    """

    role: Role
    continuous: bool
    gains: Gains = DEFAULT_GAINS
    is_silent: bool = False
    """Send nothing (with discrete actions always the first message) and move to the mean of the
    landmarks: what a team earns that has not learned to communicate."""

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(self, observation: Array, state: None, active: BoolArray) -> tuple[Array, None]:
        """Send, move, or both; observation (episodes, 3, 11 or 21), see the two environments."""
        wanted = {"both": 21, "speaker": 3, "listener": 11}[self.role]
        if observation.shape[1] != wanted:
            raise AgentError(
                f"scripted:messenger observes {wanted} numbers as {self.role}, "
                f"got {observation.shape[1]}"
            )
        seen = observation.astype(np.float64)
        if self.role == "speaker":
            return self._words(seen, channels=3), None
        velocity = seen[:, 0:2]
        landmarks = seen[:, 2:8].reshape(-1, 3, 2)
        received = seen[:, 11:14] if self.role == "both" else seen[:, 8:11]
        target = landmarks[np.arange(len(seen)), received.argmax(1)]
        is_told = received.any(1, keepdims=True) & (not self.is_silent)
        offset = np.where(is_told, target, landmarks.mean(1))
        steps: Array = (self.gains.push if self.continuous else self.gains.move)(offset, velocity)
        if self.role == "listener":
            return steps, None
        words = self._words(seen[:, 8:11], channels=10)
        if self.continuous:
            return np.concatenate([steps, words], axis=1), None
        both: Array = steps + _MOVES * words
        return both, None

    def _words(self, goal: FloatArray, channels: int) -> Array:
        """Return messages (episodes,), or one-hot channels (episodes, channels)."""
        word = np.zeros(len(goal), np.int64) if self.is_silent else goal.argmax(1)
        strengths: Array = np.eye(channels, dtype=np.float32)[word]
        if self.is_silent:
            strengths = np.zeros_like(strengths)
        return strengths if self.continuous else word


def messenger_team(task_id: str, *, is_silent: bool = False) -> Entrant:
    """Return the team for a SimpleReference or SimpleSpeakerListener task.

    Raises:
        AgentError: another task.
    """
    name = task_id.rsplit("/", 1)[-1]

    def member(role: Role) -> MessengerAgent:
        return MessengerAgent(role, "Continuous" in name, is_silent=is_silent)

    if name.startswith("SimpleReference"):
        return Team({f"agent_{i}": member("both") for i in range(2)})
    if name.startswith("SimpleSpeakerListener"):
        return Team(
            {
                "speaker_0": member("speaker"),
                "listener_0": member("listener"),
            }
        )
    raise AgentError(
        f"scripted:{'silent' if is_silent else 'messenger'} plays the SimpleReference and "
        f"SimpleSpeakerListener tasks only, not {task_id!r}"
    )


def silent_team(task_id: str) -> Entrant:
    """Return the team that does not communicate, as ``messenger_team`` does.

    Raises:
        AgentError: another task.
    """
    return messenger_team(task_id, is_silent=True)


@dataclass(frozen=True, slots=True)
class OptimalAgent:
    """Plays the best policy within the cost limit, in an environment that provides it."""

    choose: Callable[[Array, FloatArray], Array]
    """From observations (episodes, ...) and uniform numbers (episodes,) in [0, 1) to actions."""

    def begin(self, seeds: IntArray) -> RandomStreams:
        """Start one random stream per episode: the policy may be stochastic."""
        return RandomStreams.started(seeds)

    def act(
        self, observation: Array, state: RandomStreams, active: BoolArray
    ) -> tuple[Array, RandomStreams]:
        """Return the actions (episodes, ...)."""
        uniform = state.uniform(np.arange(len(active)), 1)[:, 0]
        return self.choose(observation, uniform), state


def optimum_team(task_id: str) -> Entrant:
    """Return the agents of the known optimum.

    It is a game's joint action, a policy within a limit, the linear policies of a team, a plan
    where nothing is random, or an agent that the environment provides.

    Raises:
        AgentError: the optimum of the task's environment is not known.
    """
    env = make_batch(task_id).unwrapped
    plan: dict[str, Array] | None = getattr(env, "optimal_plan", None)
    actions: dict[str, Array] | None = getattr(env, "optimal_actions", None)
    choose: Callable[[Array, FloatArray], Array] | None = getattr(env, "choose_optimally", None)
    provided = _provided_by(env)
    is_linear = hasattr(env, "linear_policies")
    env.close()
    if choose is not None:
        return OptimalAgent(choose)
    if "optimum" in provided:
        return provided["optimum"]
    if is_linear:
        return _linear_team(task_id, shared=False)
    if plan is not None:
        return Team({agent: PlanAgent(actions) for agent, actions in plan.items()})
    if actions is None:
        raise AgentError(
            "scripted:optimum plays the suites diagnostics and sequence, linear-quadratic teams "
            f"and AliceAndBob, where the optima are known, not {task_id!r}"
        )
    return Team({agent: ConstantAgent(action) for agent, action in actions.items()})


_OPTIMA = ("optimal_plan", "optimal_actions", "choose_optimally")
"""What an environment that knows its optimum has one of."""


def _provided_by(env: BatchEnv) -> Mapping[str, Agent]:
    """Return the agents that an environment brings along, by name."""
    make: Callable[[], Mapping[str, Agent]] | None = getattr(env, "scripted_agents", None)
    return {} if make is None else make()


def brought_by(env: BatchEnv) -> set[str]:
    """Return the scripted agents that an environment knows: provided ones, and known optima."""
    own = env.unwrapped
    found = set(_provided_by(own))
    if hasattr(own, "linear_policies"):
        found |= {"optimum", "best-shared"}
    if any(getattr(own, name, None) is not None for name in _OPTIMA):
        found.add("optimum")
    return found


def provided_agent(name: str, task_id: str) -> Entrant:
    """Return an agent that the task's environment brings along; in a team, everyone plays it.

    Raises:
        AgentError: it has none of this name.
    """
    env = make_batch(task_id).unwrapped
    provided = _provided_by(env)
    env.close()
    if name not in provided:
        raise AgentError(f"scripted:{name} does not play {task_id!r}")
    found = provided[name]
    return Team(dict.fromkeys(env.agents, found)) if env.num_agents > 1 else found


def best_shared_team(task_id: str) -> Entrant:
    """Return agents that all play the best policy that a team can share.

    Raises:
        AgentError: it is not known in the task's environment.
    """
    return _linear_team(task_id, shared=True)


def _linear_team(task_id: str, shared: bool) -> Entrant:
    env = make_batch(task_id).unwrapped
    policies: Callable[[bool], dict[str, FloatArray]] | None = getattr(env, "linear_policies", None)
    env.close()
    if policies is None:
        raise AgentError(
            f"scripted:best-shared plays linear-quadratic teams, where it is known, not {task_id!r}"
        )
    return Team({agent: LinearAgent(gains) for agent, gains in policies(shared).items()})


def equilibrium_population(task_id: str) -> Entrant:
    """Return an equilibrium of a game, by linear programming: one policy for each seat.

    Raises:
        AgentError: the task is not a game.
        GameError: the engine does not support the game.
    """
    from pkubench.agents.saved.plans import population_of
    from pkubench.envs.games.trees import registered_game

    try:
        game = registered_game(task_id)
    except ConfigError as error:
        raise AgentError(f"scripted:equilibrium plays games, not {task_id!r}") from error
    _, x, y = game.solve()
    return population_of(game, (x, y), (np.ones(1), np.ones(1)))


EQUILIBRIUM = "equilibrium"
_PROVIDED = ("focus", "heuristic", "lucky", "memoryless", "safe", "staying", "without-key")
KNOWN_BY_ENVIRONMENTS = ("optimum", "best-shared", *_PROVIDED)
"""Names that ``brought_by`` finds."""
SCRIPTED: dict[str, Callable[[str], Entrant]] = {
    "assignment": assignment_team,
    "chase": chase_team,
    "messenger": messenger_team,
    "no-op": no_op,
    "pacing": pacing,
    "push": push_team,
    "silent": silent_team,
    "standing": standing,
    "optimum": optimum_team,
    "best-shared": best_shared_team,
    EQUILIBRIUM: equilibrium_population,
    **{name: partial(provided_agent, name) for name in _PROVIDED},
}
"""Factories of the scripted agents, by the NAME of ``scripted:NAME``, from a task id."""


def scripted_agent(name: str, task_id: str) -> Entrant:
    """Return the scripted agent ``name`` for a task.

    Raises:
        UnknownName: no such scripted agent.
        AgentError: it does not play this task.
    """
    if name not in SCRIPTED:
        raise UnknownName("scripted agent", name, SCRIPTED)
    return SCRIPTED[name](task_id)
