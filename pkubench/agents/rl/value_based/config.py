"""The settings of a learner that factorises the team's value. A preset is one instance of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.memory.gru import GRUMemory
from pkubench.agents.rl.value_based.mixers.base import Mixer
from pkubench.agents.rl.value_based.mixers.qmix import QMIX
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompositionConfig:
    """Utilities + mixer + replay of episodes; defaults are PyMARL2's for QMIX."""

    mixer: Mixer = field(default=QMIX())
    """From the agents' utilities to the value of the joint action: their sum (``vdn``), or a
    monotone network of the state (``qmix``)."""
    memory: Memory = field(default=GRUMemory())
    """What an agent remembers of the episode; ``none`` leaves its present observation."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the ReLU layers before the memory."""
    shared: bool = True
    """One network for each group of agents with equal spaces, which is told who acts."""
    last_action: bool = True
    """An agent's previous action is among its network's inputs, one-hot; zeros at the start."""
    dead_agents: Literal["excluded", "included"] = "excluded"
    """``excluded``: the utility of a dead agent is 0 in the mix; ``included``: it counts as if the
    agent lived, with an observation of zeros (PyMARL and EPyMARL)."""

    num_envs: int = 8
    """Environments that play an episode each between updates."""
    updates: int = 1
    """Updates after these episodes."""
    batch_episodes: int = 128
    """Episodes of an update, drawn without repetition; the first update waits for so many."""
    buffer_episodes: int = 5000
    """Episodes that the replay holds."""
    epsilon_start: float = 1.0
    """Probability of a random legal action at the beginning, of each agent by itself."""
    epsilon_end: float = 0.05
    """The same after ``epsilon_steps``."""
    epsilon_steps: int = 100_000
    """Environment steps of the linear decay."""

    gamma: float = 0.99
    """Discount per step."""
    lam: float = 0.6
    """TD(lambda) of the targets: 0 is one step, 1 the return."""
    double_q: bool = True
    """The next actions are the greedy ones of the trained networks, valued by the target networks;
    otherwise of the target networks."""
    reward_norm: Literal["none", "scale", "standardise"] = "none"
    """``scale``: rewards are divided by their running deviation; ``standardise``: their running
    mean is subtracted first (EPyMARL), which can change what is optimal where episodes differ in
    length. Every step that was taken counts once."""
    state_norm: bool = True
    """States are normalised by running moments before they are mixed with. A state in large units
    multiplies what the mixer's weights are computed from; the states that PyMARL trains on are
    scaled by its environment."""
    target_interval: int = 25
    """Updates between two updates of the target networks."""
    tau: float = 1.0
    """Rate of these; 1 copies the networks."""
    loss: Literal["squared", "half-squared"] = "half-squared"
    """Of the temporal-difference error, averaged over the steps that were taken."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """``rmsprop`` has a smoothing constant of 0.99 and an epsilon of 1e-5 (PyMARL)."""
    lr: float = 1e-3
    """Its learning rate."""
    max_grad_norm: float = 10.0
    """Maximum gradient norm over all networks; longer gradients are scaled down to it."""

    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Number of recent episodes in the reported return."""

    def __post_init__(self) -> None:
        """Check each setting's domain."""
        check_domains(
            self,
            at_least_one=(
                *("num_envs", "updates", "batch_episodes", "buffer_episodes", "epsilon_steps"),
                *("target_interval", "threads", "window"),
            ),
            shares=("gamma", "lam", "epsilon_start", "epsilon_end", "tau"),
            positive=("lr", "max_grad_norm"),
        )
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden must be widths of at least 1, got {list(self.hidden)}")
        if self.batch_episodes > self.buffer_episodes:
            raise ConfigError(
                f"batch_episodes must be at most buffer_episodes={self.buffer_episodes}, got "
                f"{self.batch_episodes}"
            )

    def epsilon(self, steps: int) -> float:
        """Return the probability of a random action after so many environment steps."""
        share = min(steps / self.epsilon_steps, 1.0)
        return self.epsilon_start + share * (self.epsilon_end - self.epsilon_start)
