"""Claims about sequence models, offline learning and memory: DT, Online DT, TT, IQL, GTrXL, MAT."""

from __future__ import annotations

from collections.abc import Iterable

from pkubench.tasks.claim import RECORDED, Claim, pairs

_LUCKY, _STITCHING, _GRAPH, _DOOR = (
    f"pkubench/{name}-v0" for name in ("LuckyArm", "Stitching", "GraphPath", "KeyToDoor")
)
_DOOR_LONG = "pkubench/KeyToDoorLong-v0"
_LATE = f"{_GRAPH}+delay=episode"
_ROBOTS = tuple(f"pkubench/{name}Velocity-v0" for name in ("Hopper", "HalfCheetah"))
_LATE_ROBOT = f"{_ROBOTS[0]}+delay=episode"
_PASSIVE, _ACTIVE = (f"pkubench/TMaze{name}-v0" for name in ("Passive", "Active"))
_LONG = f"{_PASSIVE}+corridor=100"
_TEAMS = tuple(f"pkubench/Simple{name}Continuous-v0" for name in ("Spread", "Reference"))
_OWN_DATA = (
    "Data, robots and gradient steps are ours: 10,000 for DT, where the papers have 100,000 and "
    "more. D4RL's data sets are others."
)
_WIDE = "num_envs=128, rollout_steps=32"
_LONG_ROLLOUTS = "num_envs=64, rollout_steps=128, minibatches=4"
_ODT = "odt with width=64, pretrain_steps=2000, updates=10"


def _of(agents: Iterable[tuple[str, str]], kind: str) -> list[tuple[str, str]]:
    """Return pairs of agents that learn from a data set of a kind."""
    return [
        tuple(f"{name}{', ' if ' with ' in name else ' with '}data={kind}" for name in pair)  # type: ignore[misc]
        for pair in agents
    ]


_DT_PUBLISHED = (
    "Key-to-door success after 1,000 and 10,000 random episodes: DT 71.8 and 94.6 %, best 10 % BC "
    "69.9 and 95.1, CQL 13.1 and 13.3, BC 1.4 and 1.6."
)
_DMLAB = (
    "DMLab-30, mean human-normalized return after 10 billion steps of V-MPO: GTrXL with GRU gates "
    "117.6, a 3-layer LSTM 99.3."
)
CLAIMS = (
    Claim(
        name="dt-over-values-at-late-rewards",
        paper="DT",
        text="Decision Transformer earns more than CQL and IQL where rewards come late.",
        pairs=(
            *pairs(_of([("dt", "cql"), ("dt", "iql")], "random"), (_DOOR, _DOOR_LONG, _LATE)),
            *pairs(_of([("dt", "cql")], "random-1k"), (_DOOR,)),
            *pairs(_of([("dt", "cql"), ("dt", "iql")], "medium"), (_LATE_ROBOT,)),
        ),
        equal=RECORDED,
        published=(
            f"{_DT_PUBLISHED} Hopper with rewards paid at the end, medium data: DT 60.7, CQL 5.2. "
            "IQL is later than the paper."
        ),
        note=(
            "The key-to-door layouts of the paper are not published. GraphPath and Hopper with all "
            "rewards paid at the end."
        ),
    ),
    Claim(
        name="dt-over-imitation",
        paper="DT",
        text="Decision Transformer earns more than imitating the data.",
        pairs=(
            *pairs(_of([("dt", "bc")], "random"), (_DOOR, _DOOR_LONG, _GRAPH)),
            *pairs(_of([("dt", "bc")], "random-1k"), (_DOOR,)),
            *pairs(_of([("dt", "bc")], "medium"), _ROBOTS),
            *pairs(_of([("dt", "bc")], "mixed"), _ROBOTS),
        ),
        equal=RECORDED,
        published=f"{_DT_PUBLISHED} D4RL, mean of nine: DT 74.7.",
        note=_OWN_DATA,
        ablation="dt-over-the-best-episodes",
    ),
    Claim(
        name="dt-over-the-best-episodes",
        paper="DT",
        text="Decision Transformer earns more than imitating the best tenth of the data.",
        pairs=(
            *pairs(_of([("dt", "bc-10")], "random"), (_DOOR, _DOOR_LONG, _GRAPH)),
            *pairs(_of([("dt", "bc-10")], "random-1k"), (_DOOR,)),
            *pairs(_of([("dt", "bc-10")], "medium"), _ROBOTS),
            *pairs(_of([("dt", "bc-10")], "mixed"), _ROBOTS),
        ),
        equal=RECORDED,
        published=(
            f"{_DT_PUBLISHED} The paper calls the two competitive on D4RL, and DT better where "
            "data are few."
        ),
        note=_OWN_DATA,
    ),
    Claim(
        name="dt-context",
        paper="DT",
        text="Decision Transformer earns more with a context of 20 steps than with one.",
        pairs=pairs([("dt with data=random", "dt with context=1, data=random")], (_DOOR, _GRAPH)),
        equal=RECORDED,
        published="Atari, normalized by gamers: Breakout 267.5 and 73.9, Pong 106.1 and 2.5.",
        note="Both tasks show their state, but for the key.",
    ),
    Claim(
        name="luck-is-not-skill",
        paper="ESPER",
        text=(
            "Where returns depend on luck, methods that estimate values earn more than Decision "
            "Transformer."
        ),
        pairs=pairs(_of([("iql", "dt"), ("cql", "dt")], "random"), (_LUCKY,)),
        equal=RECORDED,
        published=(
            "Paster et al. 2022, for DT in stochastic environments: returns fall short of those "
            "that are asked for. The environment is ours."
        ),
    ),
    Claim(
        name="values-stitch",
        paper="IQL",
        text=(
            "Methods that estimate values join halves of different episodes, and earn more than "
            "sequence models and imitation."
        ),
        pairs=pairs(
            _of([(a, b) for a in ("iql", "cql") for b in ("dt", "bc-10")], "halves"),
            (_STITCHING,),
        ),
        equal=RECORDED,
        published=(
            "AntMaze, whose paths must be joined: the best results of its time are IQL's, and DT "
            "has a mean of 18.1 in CORL."
        ),
        note="The environment is ours: three states, where nothing else has to be learned.",
    ),
    Claim(
        name="iql-over-dt",
        paper="IQL",
        text="IQL earns more than Decision Transformer on data of robots.",
        pairs=(
            *pairs(_of([("iql", "dt")], "medium"), _ROBOTS),
            *pairs(_of([("iql", "dt")], "mixed"), _ROBOTS),
        ),
        equal=RECORDED,
        published="CORL, D4RL's locomotion, last checkpoints: IQL 81.6, DT 73.8, CQL 78.3.",
        note=_OWN_DATA,
    ),
    Claim(
        name="online-dt-over-dt",
        paper="Online DT",
        text="Training Decision Transformer on its own episodes too earns more.",
        pairs=(
            *pairs(_of([(_ODT, "dt")], "random"), (_LUCKY, _GRAPH, _DOOR)),
            *pairs(_of([(_ODT, "dt")], "halves"), (_STITCHING,)),
        ),
        equal=RECORDED,
        published=(
            "D4RL, by the abstract: competitive in absolute terms, with much larger gains from the "
            "episodes of its own than other methods have."
        ),
        note="4,000 gradient steps against 10,000; 200 episodes of its own.",
    ),
    Claim(
        name="tt-over-dt",
        paper="TT",
        text="Planning in a Trajectory Transformer earns more than Decision Transformer.",
        pairs=(
            *pairs(_of([("tt", "dt")], "random"), (_LUCKY, _GRAPH)),
            *pairs(_of([("tt", "dt")], "halves"), (_STITCHING,)),
        ),
        equal=RECORDED,
        published="D4RL's locomotion, mean of nine: TT 78.9, DT 74.7.",
        note="2,000 to 4,000 gradient steps against 10,000.",
    ),
    Claim(
        name="memory-is-needed",
        paper="GTrXL",
        text="PPO with a GTrXL earns more than without a memory where the state is hidden.",
        pairs=(
            *pairs(
                [(f"gtrxl-ppo with {_WIDE}", f"gru-ppo with memory=none, {_WIDE}")],
                (_PASSIVE, _ACTIVE, _DOOR),
            ),
        ),
        published=_DMLAB,
    ),
    Claim(
        name="gtrxl-over-gru",
        paper="GTrXL",
        text="PPO with a GTrXL earns more than with a recurrent network.",
        pairs=(
            *pairs(
                [(f"gtrxl-ppo with {_WIDE}", f"gru-ppo with {_WIDE}")],
                (_PASSIVE, _ACTIVE, _DOOR),
            ),
            *pairs(
                [(f"gtrxl-ppo with {_LONG_ROLLOUTS}", f"gru-ppo with {_LONG_ROLLOUTS}")],
                (_LONG,),
            ),
        ),
        published=(
            f"{_DMLAB} Ni et al. 2023: transformers help memory, up to observations 1,500 steps "
            "ago, and do not improve long-term credit assignment."
        ),
        note="A GRU for the LSTM; gradients end at the beginning of a rollout.",
    ),
    Claim(
        name="mat-over-happo-and-mappo",
        paper="MAT",
        text="MAT earns a higher team return than HAPPO and MAPPO.",
        pairs=pairs([("mat", "happo"), ("mat", "mappo")], _TEAMS),
        budget={"": 20_000_000.0},
        published="Curves on SMAC, MA-MuJoCo, dexterous hands and football; 20 M steps for MPE.",
        note="MAT's execution is centralized, that of the others is not.",
        ablation="mat-over-mat-dec",
    ),
    Claim(
        name="mat-over-mat-dec",
        paper="MAT",
        text="MAT earns more than MAT-Dec, whose agents act on their own observations.",
        pairs=pairs([("mat", "mat-dec")], _TEAMS),
        budget={"": 20_000_000.0},
        published="Curves, in which MAT-Dec is below MAT.",
    ),
    Claim(
        name="sable-over-mat",
        paper="Sable",
        text="Sable earns a higher team return than MAT.",
        pairs=pairs([("sable", "mat")], _TEAMS),
        budget={"": 20_000_000.0},
        published="Best on 34 of 45 tasks, at 20 M steps; MAT among the others.",
    ),
)
