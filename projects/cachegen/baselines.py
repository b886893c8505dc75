"""What the paper compares against, by the names that :func:`projects.cachegen.codec` takes."""

from __future__ import annotations

BASELINES = {
    "fp16": "the cache as it is, the upper bound on bytes",
    "uniform8": "8-bit quantisation per token, the paper's default baseline",
    "uniform4": "the same with 4 bits",
    "uniform3": "the same with 3 bits",
    "h2o+uniform8": "heavy hitters and recent tokens alone, in 8 bits",
    "lmcache": "the codec as released, without deltas",
    "kivi2": "KIVI: K by channel, V by token, 2 bits (arXiv 2402.02750)",
    "rotation3": "random rotation and a Gaussian codebook, 3 bits (TurboQuant, arXiv 2504.19874)",
    "rotation4": "the same with 4 bits",
    "kvtc": "principal components and a bit allocation (after KVTC, ICLR 2026)",
}
