"""Claims about constrained learners, as published by OmniSafe's benchmark (Ji et al. 2024).

OmniSafe's pages give returns and costs of every learner after 10 M steps on policy and 1 M (3 M on
navigation) off policy, with a limit of 25; where a learner's own paper makes the claim it is named.
"""

from __future__ import annotations

from pkubench.tasks.claim import LIMIT, Claim, pairs

_PAPER = "OmniSafe"
_ON, _OFF = {"": 10_000_000.0}, {"": 1_000_000.0, "pkubench/PointCircle1-v0": 3_000_000.0}

_GOAL, _CAR, _CIRCLE = (f"pkubench/{name}1-v0" for name in ("PointGoal", "CarGoal", "PointCircle"))
_CHEETAH, _HOPPER = (f"pkubench/{name}Velocity-v0" for name in ("HalfCheetah", "Hopper"))
_THREE = (_GOAL, _CHEETAH, _HOPPER)
_FIVE = (*_THREE, _CAR, _CIRCLE)
_WITHIN = (
    "The mean cost is compared with the limit of 25. On robots a policy that stands still is "
    "within it too: read the return beside it."
)


def _within(name: str, text: str, agents: tuple[str, ...], published: str) -> Claim:
    """Return the claim that agents keep the limit on the three tasks where all are measured."""
    return Claim(
        name=name,
        paper=_PAPER,
        text=text,
        pairs=pairs([(agent, LIMIT) for agent in agents], _THREE),
        budget=_ON,
        metric="cost",
        published=published,
        note=_WITHIN,
    )


CLAIMS = (
    Claim(
        name="unconstrained-break-the-limit",
        paper=_PAPER,
        text="Learners without a constraint break the cost limit.",
        pairs=(
            *pairs([("ppo", LIMIT)], _FIVE),
            *pairs([("td3", LIMIT)], (_HOPPER, _CIRCLE)),
        ),
        budget=_ON,
        metric="cost",
        higher_is_better=True,
        published="PPO: cost 55.7 on PointGoal1, 919 on HalfCheetah, 550 on Hopper; TD3: 974.",
    ),
    _within(
        "lagrangian-keep-the-limit",
        "Lagrangian learners (PPO-Lag, TRPO-Lag) keep the cost limit.",
        ("ppo-lag", "trpo-lag"),
        "PPO-Lag 25.8, 3.4, 14.0; TRPO-Lag 23.0, 9.0, 11.2 on PointGoal1, HalfCheetah, Hopper.",
    ),
    _within(
        "pid-keep-the-limit",
        "PID-Lagrangian learners (CPPO-PID, TRPO-PID) keep the cost limit.",
        ("cppo-pid", "trpo-pid"),
        "CPPO-PID 25.7, 8.1, 9.0; TRPO-PID 21.4, 11.2, 18.8 on PointGoal1, HalfCheetah, Hopper.",
    ),
    _within(
        "second-order-keep-the-limit",
        "Second-order learners with a linearised constraint (CPO, PCPO) keep the cost limit.",
        ("cpo", "pcpo"),
        "CPO 28.8, 4.7, 13.4; PCPO 23.0, 19.1, 15.5 on PointGoal1, HalfCheetah, Hopper.",
    ),
    _within(
        "first-order-keep-the-limit",
        "First-order constrained learners (FOCOPS, CUP, P3O) keep the cost limit.",
        ("focops", "cup", "p3o"),
        "FOCOPS 33.7, 2.4, 10.1; CUP 19.0, 4.3, 7.5; P3O 31.1, 27.6, 16.3 on PointGoal1, "
        "HalfCheetah, Hopper.",
    ),
    Claim(
        name="off-policy-keep-the-limit",
        paper=_PAPER,
        text="Off-policy Lagrangian learners (TD3-Lag, SAC-Lag, SAC-PID) keep the cost limit.",
        pairs=pairs([(name, LIMIT) for name in ("td3-lag", "sac-lag", "sac-pid")], (_HOPPER,))
        + pairs([(name, LIMIT) for name in ("td3-lag", "sac-lag", "sac-pid")], (_CIRCLE,)),
        budget=_OFF,
        metric="cost",
        published="TD3-Lag 40.7, 7.8; SAC-Lag 20.2, 12.8; SAC-PID 92.2, 4.5 on Hopper, "
        "PointCircle1.",
        note=_WITHIN,
    ),
    Claim(
        name="second-order-over-first-order",
        paper=_PAPER,
        text="Second-order learners (TRPO-Lag, CPO) earn more than PPO-Lag within the limit.",
        pairs=pairs([("trpo-lag", "ppo-lag"), ("cpo", "ppo-lag")], (_GOAL, _CAR, _HOPPER)),
        budget=_ON,
        metric="return",
        published=(
            "TRPO-Lag 18.5, 27.0, 1392; CPO 20.5 (cost 28.8), 25.5 (cost 43.3), 1714; PPO-Lag "
            "13.0, 13.3, 962 on PointGoal1, CarGoal1, Hopper."
        ),
        note="A higher return with a mean cost above the limit does not count.",
    ),
    Claim(
        name="first-order-over-second-order",
        paper=_PAPER,
        text="FOCOPS and CUP earn at least what CPO and PCPO do, without second derivatives.",
        pairs=pairs([("focops", "cpo"), ("cup", "pcpo")], (_CHEETAH, _HOPPER)),
        budget=_ON,
        metric="return",
        published=(
            "The papers of FOCOPS (Zhang et al. 2020) and CUP (Yang et al. 2022). OmniSafe: FOCOPS "
            "2965, 1438 against CPO 2787, 1714; CUP 2851, 1716 against PCPO 1678, 1551 on "
            "HalfCheetah, Hopper."
        ),
        note=(
            "Judged as a higher return: runs cannot show that two agents are equal. A higher "
            "return with a mean cost above the limit does not count."
        ),
    ),
    Claim(
        name="pid-over-lagrangian",
        paper=_PAPER,
        text="A PID-controlled multiplier leaves a lower cost than one of gradient ascent.",
        pairs=pairs([("cppo-pid", "ppo-lag"), ("trpo-pid", "trpo-lag")], _THREE),
        budget=_ON,
        metric="cost",
        published=(
            "Stooke et al. 2020, by the cost over the limit in training. OmniSafe: 25.7 against "
            "25.8, 8.1 against 3.4, 9.0 against 14.0 (PPO) on PointGoal1, HalfCheetah, Hopper."
        ),
        note="Compared by the cost of the trained agents, not by that of their training.",
    ),
)
