"""The header of a Stable-Baselines3 zip: algorithm, spaces, and the wrappers of its training.

The settings in a zip are JSON; entries that JSON cannot represent are pickles. Only the requested
pickles are opened here, one by one.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gymnasium import spaces

from pkubench.agents.adapters.predicting import Statistics
from pkubench.errors import AgentError, MissingExtra, WeightsError

CONTRIB = "sb3_contrib"


class Algorithm(NamedTuple):
    """An algorithm that saves zips, and how they are recognised."""

    name: str
    package: str
    setting: str
    """A setting that its zips have, and no algorithm below it in the table."""
    policy: str
    """``module:Class`` that its policies derive from."""


_SB3, _ACTOR_CRITIC = "stable_baselines3", "stable_baselines3.common.policies:ActorCriticPolicy"
_RECURRENT = f"{CONTRIB}.common.recurrent.policies:RecurrentActorCriticPolicy"
_MASKABLE = f"{CONTRIB}.common.maskable.policies:MaskableActorCriticPolicy"

ALGORITHMS = (
    Algorithm("RecurrentPPO", CONTRIB, "clip_range", _RECURRENT),
    Algorithm("MaskablePPO", CONTRIB, "clip_range", _MASKABLE),
    Algorithm("PPO", _SB3, "clip_range", _ACTOR_CRITIC),
    Algorithm("TRPO", CONTRIB, "cg_damping", _ACTOR_CRITIC),
    Algorithm("A2C", _SB3, "gae_lambda", _ACTOR_CRITIC),
    Algorithm("ARS", CONTRIB, "n_delta", f"{CONTRIB}.ars.policies:ARSPolicy"),
    Algorithm("QRDQN", CONTRIB, "n_quantiles", f"{CONTRIB}.qrdqn.policies:QRDQNPolicy"),
    Algorithm("DQN", _SB3, "exploration_rate", f"{_SB3}.dqn.policies:DQNPolicy"),
    Algorithm("TQC", CONTRIB, "top_quantiles_to_drop_per_net", f"{CONTRIB}.tqc.policies:TQCPolicy"),
    Algorithm("CrossQ", CONTRIB, "target_entropy", f"{CONTRIB}.crossq.policies:CrossQPolicy"),
    Algorithm("SAC", _SB3, "target_entropy", f"{_SB3}.sac.policies:SACPolicy"),
    # DDPG is TD3 with other settings, which are in the zip.
    Algorithm("TD3", _SB3, "policy_delay", f"{_SB3}.td3.policies:TD3Policy"),
)
"""The most specific first: setting and policy must both agree, and the first match counts."""

TRAINING_ONLY: dict[str, Any] = {
    "learning_rate": 0.0,
    "lr_schedule": None,
    "clip_range": 0.0,
    "clip_range_vf": None,
    "exploration_schedule": None,
    "buffer_size": 1,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "action_noise": None,
    "_last_obs": None,
    "ep_info_buffer": None,
    "ep_success_buffer": None,
}
"""Entries that acting does not need, and their replacements: their pickles are not opened."""


class Header:
    """The settings of a zip."""

    def __init__(self, path: Path) -> None:
        """Read a zip's JSON; no pickle is opened.

        Raises:
            WeightsError: it is not a zip of Stable-Baselines3.
        """
        self.path = path
        self._settings = _settings(path)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The observation space of the training."""
        return self._space("observation_space")

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The action space of the training."""
        return self._space("action_space")

    @property
    def is_normalised(self) -> bool:
        """Whether the training used ``VecNormalize``; its statistics are not in a zip."""
        return self._settings.get("_last_original_obs") is not None

    def algorithm(self) -> Algorithm:
        """Return the algorithm that saved the zip, by its settings and the class of its policy.

        Raises:
            AgentError: it is unknown, or its package is not installed.
            MissingExtra: stable-baselines3 is not installed.
        """
        check_installed(_SB3)
        policy = self.unpickled("policy_class")
        for algorithm in ALGORITHMS:
            if algorithm.setting in self._settings and _derives(policy, algorithm.policy):
                check_installed(algorithm.package, self.path.name)
                return algorithm
        names = ", ".join(algorithm.name for algorithm in ALGORITHMS)
        raise AgentError(
            f"{self.path.name} has a policy of {getattr(policy, '__module__', '?')}."
            f"{getattr(policy, '__qualname__', policy)}, which was saved by none of {names}; load "
            "it in a module:factory of your own"
        )

    def unpickled(self, name: str) -> Any:
        """Return an entry, running the code in its pickle.

        Raises:
            AgentError: a module that it needs is not installed.
            WeightsError: the entry is missing or damaged.
        """
        entry = self._settings.get(name)
        if not isinstance(entry, Mapping) or ":serialized:" not in entry:
            raise WeightsError(f"{self.path} is not a Stable-Baselines3 model: it has no {name}")
        try:
            return pickle.loads(base64.b64decode(entry[":serialized:"]))
        except ModuleNotFoundError as error:
            module = str(error.name).partition(".")[0]
            check_installed(module, self.path.name)
            raise AgentError(f"{self.path.name}: {error}") from error
        except Exception as error:  # a pickle's classes may raise anything
            raise WeightsError(
                f"{self.path}: {name} cannot be read ({_first_line(error)}); load and save the "
                "model again with the versions that are installed here"
            ) from error

    def _space(self, name: str) -> spaces.Space[Any]:
        space = self.unpickled(name)
        if not isinstance(space, spaces.Space):
            raise AgentError(
                f"{self.path.name}: its {name} is not one of Gymnasium's; load and save the model "
                "again with stable-baselines3 >= 2"
            )
        return space


def check_installed(package: str, name: str = "a Stable-Baselines3 model") -> None:
    """Check that a package that a zip needs can be imported.

    Raises:
        MissingExtra: stable-baselines3 is not installed.
        AgentError: another package is not.
    """
    if importlib.util.find_spec(package) is not None:
        return
    if package == _SB3:
        raise MissingExtra("agents", name)
    if package == CONTRIB:
        raise AgentError(
            f"{name} was saved by sb3-contrib, which is not installed: pip install sb3-contrib"
        )
    raise AgentError(
        f"{name} needs the module {package!r}, which cannot be imported here: install it, or add "
        "its folder to PYTHONPATH"
    )


def statistics_file(path: Path) -> Path | None:
    """Return the ``VecNormalize`` statistics next to a zip, by the usual names.

    They are ``vecnormalize.pkl`` next to it or in a folder of its name (RL Zoo), and
    ``NAME_vecnormalize_N_steps.pkl`` next to ``NAME_N_steps.zip`` (``CheckpointCallback``).
    """
    checkpoint = re.sub(r"_(\d+_steps)$", r"_vecnormalize_\1", path.stem)
    for found in (
        path.with_name(f"{checkpoint}.pkl") if checkpoint != path.stem else None,
        path.parent / path.stem / "vecnormalize.pkl",
        path.with_name("vecnormalize.pkl"),
    ):
        if found is not None and found.is_file():
            return found
    return None


def read_statistics(path: Path, shape: tuple[int, ...]) -> Statistics | None:
    """Return ``VecNormalize``'s observation statistics; None without any. Runs pickled code.

    Raises:
        WeightsError: the file is damaged, or of observations of another shape.
        MissingExtra: stable-baselines3 is not installed.
    """
    check_installed(_SB3)
    import numpy as np

    try:
        saved = pickle.loads(path.read_bytes())
        if not saved.norm_obs:
            return None
        mean = np.asarray(saved.obs_rms.mean, np.float64)
        std = np.sqrt(np.asarray(saved.obs_rms.var, np.float64) + saved.epsilon)
        found = Statistics(mean, std, float(saved.clip_obs))
    except Exception as error:  # a pickle's classes may raise anything, or be other objects
        raise WeightsError(f"{path} is not a saved VecNormalize: {_first_line(error)}") from error
    if found.mean.shape != shape:
        raise WeightsError(
            f"{path} has statistics of observations of shape {found.mean.shape}, the policy takes "
            f"{shape}"
        )
    return found


def _settings(path: Path) -> Mapping[str, Any]:
    wrong = f"{path} is not a Stable-Baselines3 model"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "data" not in names:
                # In a truncated zip, a torch archive inside it may be found instead.
                is_torch = any(name.endswith("/data.pkl") for name in names)
                what = "; it was written by torch.save, or is truncated" if is_torch else ""
                raise WeightsError(
                    f"{wrong}: it has no settings (entry 'data'){what}; save with model.save(FILE)"
                )
            if "policy.pth" not in names:
                raise WeightsError(f"{wrong}: it has no weights (policy.pth)")
            settings = json.loads(archive.read("data"))
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{wrong}: it is not a zip file, or damaged ({error})") from error
    except (ValueError, RecursionError, RuntimeError, OSError) as error:
        raise WeightsError(f"{wrong}: {_first_line(error)}") from error
    if not isinstance(settings, dict):
        raise WeightsError(f"{wrong}: its settings are not an object")
    return settings


def _derives(policy: Any, wanted: str) -> bool:
    """Return whether a class derives from ``module:Class``, without importing that."""
    module, _, name = wanted.partition(":")
    parents = getattr(policy, "__mro__", ())
    return any(parent.__module__ == module and parent.__name__ == name for parent in parents)


def _first_line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{text or type(error).__name__:.200}"
