"""PPO on many grid worlds for a session: a rollout, a write to the memory, passes of Adam.

The order is the paper's: the memory is written before the update that reads it. It corrects the
critic and never acts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.components import as_plain
from pkubench.agents.contract import IntArray
from pkubench.agents.families.retrieval.bank import Bank
from pkubench.agents.families.retrieval.config import RetrievalConfig
from pkubench.agents.families.retrieval.episodes import EpisodeRecorder, Steps
from pkubench.agents.families.retrieval.missions import embedded
from pkubench.agents.families.retrieval.networks import Groups, Layers, MultitaskNet
from pkubench.agents.families.retrieval.objective import Batch, Objective
from pkubench.agents.families.retrieval.reading import Optima
from pkubench.agents.families.retrieval.retrievers import (
    AttentionRetriever,
    OracleRetriever,
    SlotRetriever,
)
from pkubench.agents.families.retrieval.setup import (
    missions_of,
    one_task,
    optimum_in,
    spec_of_env,
    task_options,
    tasks_of,
)
from pkubench.agents.families.retrieval.showing import MEMORY, described, remembered
from pkubench.agents.families.retrieval.slots import Slots
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.nn.distributions import Categorical
from pkubench.agents.rl.advantages import gae
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.optimiser import Optimiser
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError, WeightsError

Array = npt.NDArray[Any]


class RetrievalTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Make environments, networks, memory and collector.

        Raises:
            ConfigError: the task's observations are no grid views, or the settings do not fit.
        """
        config: RetrievalConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config, self.device = config, context.device
        self.env = context.make_env(config.num_envs)
        try:
            missions = missions_of(self.env)
            self.spec = spec_of_env(self.env, config, len(missions))
            self.generator = torch.Generator().manual_seed(context.seed)
            self.net = self._make_net(torch.from_numpy(embedded(missions))).to(self.device)
            self.objective = Objective(config, self.net)
            self.optimiser = Optimiser(
                lambda p: torch.optim.Adam(p, lr=config.lr, eps=config.adam_epsilon, fused=True),
                self.net.parameters(),
                max_grad_norm=config.max_grad_norm,
            )
            self.collector = Collector(
                self.env,
                context.seed,
                config.window,
                _plain,
                units={SOLE_AGENT: self.net.policy.units},
                has_states=False,
                options=task_options(self.env, len(missions)),
            )
            self.recorder = EpisodeRecorder(config.num_envs, config.gamma)
            self.bank: Bank | None = context.inputs.get("bank")
            self.slots = self._make_slots(context)
        except BaseException:
            self.env.close()
            raise
        self.layers = Layers(None, None)
        """What the hypernetwork generates, in the present rollout."""
        with torch.no_grad():
            self.matrices = self.net.policy.encoder.matrices()
        """Of the encoder, in the present rollout."""
        self.optima: list[tuple[Array, Array]] = []
        """Optimal values and actions of the states of the present rollout, for the oracle."""
        self.groups = np.zeros(0, np.int64), Groups.of(np.zeros(0, np.int64), self.spec.tasks)
        """Tasks of the environments in the last step, and their groups."""
        self.counters = Counters()

    def _make_net(self, missions: Tensor) -> MultitaskNet:
        read = self.config.retrieval
        return MultitaskNet(
            self.spec,
            missions,
            self.generator,
            is_retrieval_generated=read.is_generated,
            has_static_retrieval=isinstance(read, AttentionRetriever) and not read.is_generated,
        )

    def _make_slots(self, context: Context) -> Slots | None:
        read = self.config.retrieval
        if not isinstance(read, SlotRetriever):
            if self.bank is not None:
                raise ConfigError(f"retrieval={read.name} has no memory that a bank could fill")
            return None
        slots = Slots(read, self.spec.tasks, self.generator)
        if isinstance(read, OracleRetriever):
            if not getattr(self.env.unwrapped, "optimum_by_search", False):
                raise ConfigError("retrieval=oracle needs grid worlds, whose optimum is searched")
            if self.bank is not None and not len(self.bank.optimal_values):
                raise ConfigError("retrieval=oracle needs optimal values and actions in the bank")
        if self.bank is not None:
            levels = tuple(getattr(self.env.unwrapped, "levels", ()))
            if self.bank.targets and levels and self.bank.targets != levels:
                raise ConfigError(
                    f"the bank is for {', '.join(self.bank.targets)}, and this trains on "
                    f"{', '.join(levels)}"
                )
            if self.bank.tasks.max() >= self.spec.tasks:
                raise ConfigError(
                    f"the bank has states of task {self.bank.tasks.max()}, and there are "
                    f"{self.spec.tasks} tasks"
                )
            slots.fill(self.bank)
        elif not read.writes:
            raise ConfigError("writes=false needs the input bank: the memory would stay empty")
        elif read.initial == "one-task":
            slots.write(one_task(context, self.spec.tasks, read.slots))
        return slots

    def iterate(self) -> dict[str, float]:
        """Collect a rollout, write to the memory and update once."""
        config, done = self.config, self.counters
        data = self.collect()
        figures = self.update(data)
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + config.rollout_steps * config.num_envs,
            episodes=done.episodes + int((data.terminated | data.truncated).sum()),
            gradient_steps=self.optimiser.count,
        )
        figures = {**self.collector.window.curve(), **figures}
        return {name: round(value, 6) for name, value in figures.items()}

    def collect(self) -> Rollout:
        """Collect a rollout."""
        with torch.no_grad():
            self.layers = self.net.generate(decision_only=True)
            self.matrices = self.net.policy.encoder.matrices()
        self.optima = []
        behave = self.behave_with_memory if self.net.policy.units else self.behave
        return self.collector.collect(self.config.rollout_steps, behave, restart=False)

    @torch.no_grad()
    def behave(
        self, observations: Mapping[str, Array], masks: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act (see ``rl.behaviour.Behaviour``)."""
        seen = observations[SOLE_AGENT]
        return self._sample(self._encoded(seen), tasks_of(seen))

    @torch.no_grad()
    def behave_with_memory(
        self,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
        hidden: Mapping[str, Array],
        first: Array,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act (see ``rl.behaviour.RecurrentBehaviour``)."""
        seen, policy = observations[SOLE_AGENT], self.net.policy
        h, states = policy.remember(
            self._encoded(seen)[None],
            torch.from_numpy(np.asarray(first))[None].to(self.device),
            torch.from_numpy(hidden[SOLE_AGENT]).to(self.device),
        )
        return *self._sample(h[0], tasks_of(seen)), {SOLE_AGENT: states[0].cpu().numpy()}

    def _sample(
        self, features: Tensor, tasks: IntArray
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        if isinstance(self.config.retrieval, OracleRetriever):
            self.optima.append(optimum_in(self.env, self.config.gamma))
        if not np.array_equal(tasks, self.groups[0]):
            self.groups = tasks, Groups.of(tasks, self.spec.tasks, self.device)
        numbers = torch.from_numpy(tasks).to(self.device)
        logits = self.net.policy.logits(features, numbers, self.groups[1], self.layers.decision)
        chosen = Categorical.from_logits(logits)
        actions = chosen.sample(self.generator)
        space = self.env.action_spaces[SOLE_AGENT]
        assert isinstance(space, spaces.Discrete)
        raw = actions.cpu().numpy()
        return (
            {SOLE_AGENT: raw},
            {SOLE_AGENT: raw + int(space.start)},
            {SOLE_AGENT: chosen.log_prob(actions).cpu().numpy()},
        )

    def update(self, data: Rollout) -> dict[str, float]:
        """Write what ended to the memory, and improve the networks; return diagnostics."""
        batch = self.prepare(data)
        encoder = self.net.policy.encoder
        contents = None if self.slots is None else self.slots.contents(encoder, self.device)
        sums: dict[str, float] = {}
        count = 0
        for rows in self._minibatches(data):
            loss, figures = self.objective(batch, rows, contents, data)
            self.optimiser.step(loss)
            count += 1
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
        return {name: value / count for name, value in sums.items()}

    def prepare(self, data: Rollout) -> Batch:
        """Return what an update reads, after the episodes that ended were written to the memory."""
        config, seen = self.config, data.observations[SOLE_AGENT]
        patches = self._patches(seen.reshape(-1, *seen.shape[2:]))
        values, following = self._values(data, patches)
        is_terminal = config.truncation == "terminal"
        rewards = data.team_rewards
        advantages = gae(
            rewards,
            values,
            following,
            data.terminated | data.truncated if is_terminal else data.terminated,
            data.truncated,
            gamma=config.gamma,
            lam=config.lam,
        )
        tasks = tasks_of(seen)
        ended = data.terminated | data.truncated
        steps = Steps(seen[..., :3], tasks, values, rewards, data.first, ended)
        numbers = np.zeros(tasks.shape, np.int64)
        if self.slots is not None and self.slots.settings.writes:
            experience, numbers = self.recorder.add(steps)
            self.slots.write(experience)
        elif self.slots is not None and self.bank is not None:
            self.slots.fill(self.bank)
        flat = (
            *(tasks, data.actions[SOLE_AGENT], data.log_probs[SOLE_AGENT]),
            *(values, advantages + values, advantages, numbers),
        )
        optima = None
        if self.optima:
            stacked = (np.stack(of).reshape(-1) for of in zip(*self.optima, strict=True))
            optima = Optima(*(torch.from_numpy(of).to(self.device) for of in stacked))
        tensors = [
            torch.from_numpy(np.ascontiguousarray(of.reshape(-1, *of.shape[2:]))).to(self.device)
            for of in flat
        ]
        return Batch._make([patches, *tensors, optima])

    def _minibatches(self, data: Rollout) -> Iterator[Tensor]:
        """Yield rows of each minibatch of an update; with a memory, of whole environments."""
        config, (steps, envs) = self.config, data.first.shape
        size = config.batch_size
        for _ in range(config.epochs):
            if not self.net.policy.units:
                order = torch.randperm(steps * envs, generator=self.generator)
                yield from torch.split(order.to(self.device), size)
                continue
            chosen = torch.randperm(envs, generator=self.generator)
            for some in torch.split(chosen, max(1, size // steps)):
                rows = torch.arange(steps)[:, None] * envs + some
                yield rows.flatten().to(self.device)

    @torch.no_grad()
    def _values(self, data: Rollout, patches: Tensor) -> tuple[Array, Array]:
        """Return V(s_t) and V(s_{t+1}), of the final state where an episode ends, (T, N).

        ``patches`` are those of the rollout's observations.
        """
        final = data.truncated.copy()
        final[-1] = True
        seen, ahead = (of[SOLE_AGENT] for of in (data.observations, data.next_observations))
        policy, states = self.net.policy, None
        h = policy.encoder.encode(patches, self.matrices)
        after = self._encoded(ahead[final])
        if policy.units:
            first = torch.from_numpy(data.first).to(self.device)
            hidden = torch.from_numpy(data.hidden[SOLE_AGENT]).to(self.device)
            h, states = policy.remember(h.view(*final.shape, -1), first, hidden)
            h = h.flatten(0, 1)
            before = states[torch.from_numpy(final).to(self.device)]
            never = torch.zeros(1, len(after), dtype=torch.bool, device=self.device)
            after = policy.remember(after[None], never, before)[0][0]
        values = self._critic(h, tasks_of(seen).reshape(-1)).reshape(final.shape)
        following = np.empty_like(values)
        following[:-1] = values[1:]
        following[final] = self._critic(after, tasks_of(ahead[final]))
        return values, following

    @torch.no_grad()
    def _critic(self, features: Tensor, tasks: IntArray) -> Array:
        numbers = torch.from_numpy(tasks).to(self.device)
        groups = Groups.of(tasks, self.spec.tasks, self.device)
        found: Array = (
            self.net.evaluate(features, numbers, groups, self.layers.decision)[1].cpu().numpy()
        )
        return found

    def _patches(self, seen: Array) -> Tensor:
        return self.net.policy.encoder.patches(torch.from_numpy(seen).to(self.device))

    def _encoded(self, seen: Array) -> Tensor:
        """Return features of views (B, 7, 7, 3 or 4), by the encoder of the present rollout."""
        return self.net.policy.encoder.encode(self._patches(seen), self.matrices)

    def state(self) -> State:
        """Return networks, optimiser, memory, episodes under way and counters."""
        return {
            "net": {k: v.cpu().numpy().copy() for k, v in self.net.state_dict().items()},
            "optimiser": self.optimiser.state(),
            "slots": None if self.slots is None else self.slots.state(),
            "episodes": self.recorder.state(),
            "generator": self.generator.get_state().numpy().copy(),
            "collector": self.collector.freeze(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state; unfinished episodes are replayed."""
        try:
            tensors = {k: torch.from_numpy(v.copy()) for k, v in state["net"].items()}
            self.net.load_state_dict(tensors)
            self.optimiser.load_state(state["optimiser"])
            if self.slots is not None:
                self.slots.load_state(state["slots"])
            self.recorder.load_state(state["episodes"])
            self.generator.set_state(torch.from_numpy(state["generator"].copy()))
            self.collector.thaw(state["collector"])
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    @torch.no_grad()
    def export(self) -> Export:
        """Return the policy, its generated layers without the generator, and the memory.

        The memory does not act: films show what a state retrieves from it.
        """
        tensors = {k: v.cpu().numpy().copy() for k, v in self.net.policy.state_dict().items()}
        layer, retrieval = self.net.generate()
        if layer is not None:
            tensors["layer.weight"] = layer.weight.cpu().numpy().copy()
            tensors["layer.bias"] = layer.bias.cpu().numpy().copy()
        spec = self.spec._asdict() | {"memory": as_plain(self.config)["memory"]}
        kept = self.config.defects
        config: dict[str, Any] = {
            "settings": as_plain(self.config),
            "spec": spec,
            "missions": list(missions_of(self.env)),
            "kept_defects": list(kept),
        }
        extra = {}
        if self.slots is not None and not isinstance(self.slots.settings, OracleRetriever):
            config[MEMORY] = described(self.slots, self.env)
            extra[MEMORY] = remembered(self.slots, retrieval)
        about = self.collector.window.training_cost_entry()
        return Export(config, tensors, extra=extra, about=about)

    def close(self) -> None:
        """Release the environments."""
        self.env.close()


def _plain(
    observations: Mapping[str, Array],
    state: Array,
    fresh: bool | Array,
    alive: Array | None = None,
) -> tuple[dict[str, Array], Array]:
    """Return the observations; the encoder scales them."""
    return dict(observations), state
