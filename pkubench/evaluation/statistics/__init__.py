"""What may be claimed from a handful of training seeds: aggregates, intervals, ranks.

Scores come as an array of shape (runs, tasks): one row per training seed, one column per task, each
entry already averaged over that run's episodes. **Runs are the sample.** Episodes of one trained
agent say how well *that* agent acts; only further seeds say how well the *algorithm* does.

The aggregates follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021). Every random draw comes from a generator made from the ``seed``
argument: the same seed gives the same bits, and NumPy's global generator is never touched.
``docs/concepts/statistics.md`` has the formulae and the measured coverage of each interval.
"""

from .aggregates import iqm, optimality_gap, performance_profile, probability_of_improvement
from .bootstrap import Band, profile_band, rank_intervals, stratified_bootstrap
from .corrections import holm
from .intervals import (
    Difference,
    Interval,
    mean_interval,
    offset_interval,
    welch_interval,
    wilson_interval,
)
from .pooled import Runs, improvement_interval, permutation_test
from .power import runs_needed
from .samples import StatisticsError

__all__ = [
    "Band",
    "Difference",
    "Interval",
    "Runs",
    "StatisticsError",
    "holm",
    "improvement_interval",
    "iqm",
    "mean_interval",
    "offset_interval",
    "optimality_gap",
    "performance_profile",
    "permutation_test",
    "probability_of_improvement",
    "profile_band",
    "rank_intervals",
    "runs_needed",
    "stratified_bootstrap",
    "welch_interval",
    "wilson_interval",
]
