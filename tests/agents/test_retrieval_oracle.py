"""The oracle: the control that is told the optimal values and actions of what it looks up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.families.retrieval.bank import Bank, make_bank
from pkubench.agents.families.retrieval.objective import Objective
from pkubench.agents.families.retrieval.presets import PRESETS
from pkubench.agents.families.retrieval.reading import Optima, best
from pkubench.agents.families.retrieval.retrievers import OracleRetriever
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError, DataError
from tests.agents.retrieval_parts import batched, network, samples, training

EVERYWHERE: Any = None
ORACLE = {"retrieval": "oracle", "writes": False}


def optima(values: list[float], actions: list[int]) -> Optima:
    return Optima(torch.tensor(values), torch.tensor(actions, dtype=torch.uint8))


def bank(count: int = 60, **changes: Any) -> Bank:
    rng = np.random.default_rng(0)
    states = rng.integers(0, 3, (count, 7, 7, 3)).astype(np.uint8)
    actions = (1 << rng.integers(0, 7, count)).astype(np.uint8)
    answers = {"optimal_values": rng.random(count), "optimal_actions": actions, **changes}
    return make_bank(states, rng.random(count), np.arange(count) % 3, **answers)


def test_the_nearest_value_among_slots_with_a_common_action_is_read() -> None:
    known = optima([0.9, 0.5, 0.4, 0.1], [1, 2, 4, 3])
    values = torch.tensor([10.0, 20.0, 30.0, 40.0])
    asked = optima([0.45, 0.45, 0.45, 0.45], [1, 2, 4, 8])
    read = best(asked, known, values)
    # action 1: slots 0 and 3, 0.35 away is nearer; 2: slots 1 and 3; 4: slot 2; 8: none
    assert read.value.tolist() == [40.0, 20.0, 30.0, 0.0]
    assert read.confidence.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert read.found.tolist() == [True, True, True, False]


def test_the_loss_reads_the_oracles_slot_for_each_row() -> None:
    net, given = network(), samples(batch=4, slots=3)
    config = replace(PRESETS["retrieval-hypernetwork"], retrieval=OracleRetriever())
    batch, contents = batched(net, given)
    batch = batch._replace(optima=optima([0.1, 0.5, 0.9, 0.9], [1, 1, 1, 2]))
    contents = contents._replace(optima=optima([0.0, 0.6, 1.0], [1, 1, 1]))
    rows = torch.tensor([2, 3, 0])
    parts = Objective(config, net)(batch, rows, contents, EVERYWHERE)[1]
    wanted = torch.stack([given.slot_values[2], torch.tensor(0.0).double(), given.slot_values[0]])
    error = (wanted - given.returns[rows]).square().mean()
    assert float(parts["memory_error"]) == pytest.approx(float(error))
    assert float(parts["memory_weight"]) == pytest.approx(2 / 3)


def test_the_learner_knows_the_optimum_of_each_state_that_it_acts_in() -> None:
    made = training(changes=ORACLE, inputs={"bank": bank()})
    made.iterate()
    data = made.collect()
    values, actions = (np.stack(of) for of in zip(*made.optima, strict=True))
    assert values.shape == actions.shape == (24, 6)
    taken = data.actions[SOLE_AGENT]
    is_best = ((actions >> taken.astype(np.uint8)) & 1).astype(bool)
    ended = data.terminated | data.truncated
    earned = np.where(ended, data.team_rewards, 0.0)
    earned[:-1] += np.where(ended[:-1], 0.0, 0.99 * values[1:])
    known = np.ones_like(ended)
    known[-1] = ended[-1]
    # Bellman's optimality: equal after an optimal action, and at most the value after another
    assert (is_best & known).sum() > 5 and (~is_best & known).sum() > 5
    np.testing.assert_allclose(values[is_best & known], earned[is_best & known], atol=1e-6)
    assert (values[known] >= earned[known] - 1e-6).all() and values.max() > 0.5
    batch = made.prepare(data)
    assert batch.optima is not None
    np.testing.assert_array_equal(batch.optima.values.numpy(), values.ravel())
    assert np.isfinite(list(made.update(data).values())).all()


def test_slots_keep_the_answers_of_the_rows_that_fill_them() -> None:
    given = bank()
    made = training(changes=ORACLE, inputs={"bank": given})
    assert made.slots is not None and made.slots.filled.sum() == 48
    for slot in np.flatnonzero(made.slots.filled):
        row = int(np.flatnonzero(given.values == made.slots.values[slot])[0])
        assert made.slots.optimal_values[slot] == given.optimal_values[row]
        assert made.slots.optimal_actions[slot] == given.optimal_actions[row]
    assert not made.export().extra  # nothing to show without the answers


def test_an_oracle_without_answers_is_refused() -> None:
    blind = bank()._replace(optimal_values=np.zeros(0), optimal_actions=np.zeros(0))
    with pytest.raises(ConfigError, match="optimal values and actions in the bank"):
        training(changes=ORACLE, inputs={"bank": blind})
    with pytest.raises(ConfigError, match="needs the input bank"):
        training(changes=ORACLE)
    with pytest.raises(ConfigError, match="writes=false"):
        training(changes={"retrieval": "oracle"}, inputs={"bank": bank()})
    for wrong in ({"optimal_values": np.full(60, np.nan)}, {"optimal_actions": np.zeros(60)}):
        with pytest.raises(DataError):
            bank(**wrong)
