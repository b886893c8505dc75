"""NURD: online straggler prediction from finished (negative) and running (unlabelled) tasks.

The public names; everything is imported on first use.
"""

from __future__ import annotations

from common.lazy import lazy

_HOME = {
    "BoostedTrees": "boosting",
    "Job": "job",
    "NURDClassifier": "estimator",
    "NotEnoughData": "job",
    "Protocol": "protocol",
    "StragglerMonitor": "monitor",
    "kaplan_meier_quantile": "thresholds",
    "metrics": "evaluation",
    "run_method": "evaluation",
    "task_events": "spark_log",
}
__all__ = list(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)
