"""The recipes of docs/tutorials/other-libraries.md, run as written, give policies that act."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.agent import Team

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "other-libraries.md"
ACTIVE = np.ones(6, np.bool_)


def recipes() -> str:
    """The page's Python that is not a doctest (those run by themselves)."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return "\n".join(block for block in blocks if not block.startswith(">>>"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_recipes_of_the_page_give_policies_that_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(recipes(), made)

    task = pkubench.make_task("HopperVelocity-v0")
    observation = np.random.default_rng(0).normal(size=(6, 11))
    with torch.no_grad():
        expected, _ = made["model"].predict(observation, deterministic=True)
    agent: Any = pkubench.load_agent("onnx:my_ppo_model.onnx", task)
    np.testing.assert_allclose(agent.act(observation, None, ACTIVE)[0], expected, atol=1e-6)
    both: list[Any] = [pkubench.load_agent(f"onnx:{n}.onnx", task) for n in ("policy", "older")]
    first, second = (agent.act(observation, None, ACTIVE)[0] for agent in both)
    np.testing.assert_allclose(first, second, atol=1e-6)
    team = pkubench.load_agent("onnx:my-team", "SimpleSpread-v0")
    assert isinstance(team, Team) and set(team.members) == {"agent_0", "agent_1", "agent_2"}
    for spelling, name in (("onnx:policy.onnx", task.id), ("onnx:my-team", "SimpleSpread-v0")):
        assert pkubench.evaluate(spelling, name, episodes=1, workers=0).failed == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_in_double_precision_is_taken(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Rounded(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(11, 64), torch.nn.Tanh()).double()
            self.head = torch.nn.Linear(64, 3).double()

        def forward(self, x: Any) -> Any:
            return self.head(self.net(x)).float()

    net, x = Rounded(), torch.randn(6, 11, dtype=torch.float64)
    path = tmp_path / "policy.onnx"
    shapes = ({0: "batch"},)
    torch.onnx.export(net, (x,), path, external_data=False, dynamic_shapes=shapes)
    agent: Any = pkubench.load_agent(f"onnx:{path}", "HopperVelocity-v0")
    found, _ = agent.act(x.numpy(), None, ACTIVE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, net(x).detach().numpy())
