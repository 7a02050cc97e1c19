"""Agents from other libraries: files and objects that can be evaluated."""

from pkubench.agents.adapters.text.agent import ACTING
from pkubench.agents.registry import AgentPrefix, ObjectAdapter

PREFIXES = (
    AgentPrefix(
        prefix="onnx",
        summary="an ONNX policy, or a folder with one for each agent id",
        resolve=f"{__name__}.onnx:resolve",
        runtimes=("onnxruntime",),
        bundle="onnx",
        files=(".onnx", "team.json"),
        noun="an ONNX policy",
    ),
    AgentPrefix(
        prefix="sb3",
        summary="a Stable-Baselines3 model; contains pickles, so it must be trusted",
        resolve=f"{__name__}.sb3:resolve",
        runtimes=("onnxruntime", "stable-baselines3", "torch"),
        needs_trust=True,
        files=(".zip",),
        noun="a zip of Stable-Baselines3",
    ),
    AgentPrefix(
        prefix="openspiel",
        summary="a file of an OpenSpiel TabularPolicy: policy.serialize(), or to_dict() as JSON",
        resolve=f"{__name__}.openspiel_files:resolve",
        noun="a tabular policy of OpenSpiel",
    ),
    AgentPrefix(
        prefix="openai-api",
        summary="a language model on a server: openai-api:MODEL@URL",
        resolve=f"{__name__}.text.loading:resolve_endpoint",
        acting=ACTING,
    ),
    AgentPrefix(
        prefix="hf",
        summary="a folder with a language model of transformers",
        resolve=f"{__name__}.text.loading:resolve_local",
        runtimes=("transformers", "torch"),
        acting=ACTING,
    ),
    AgentPrefix(
        prefix="inspect",
        summary="a model of inspect-ai: inspect:PROVIDER/MODEL",
        resolve=f"{__name__}.text.inspect_model:resolve",
        runtimes=("inspect_ai",),
        acting=ACTING,
    ),
    AgentPrefix(
        prefix="human",
        summary="a person at the keyboard, by a name: human:ada",
        resolve=f"{__name__}.text.loading:resolve_person",
    ),
)
OBJECTS = (
    ObjectAdapter(
        classes=("open_spiel.python.policy.Policy", "pyspiel.Policy"),
        adapt=f"{__name__}.openspiel:as_population",
        noun="an OpenSpiel policy",
    ),
)
