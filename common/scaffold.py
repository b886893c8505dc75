"""The skeleton of a new paper, as ``reprise new`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import ConfigError
from common.papers import projects_root, slugs
from common.results import write_bytes

# What every paper's package holds; tests/projects/test_contract.py checks it.
FILES = {
    "paper.yaml": """\
slug: {slug}
title: "{title}"
authors: [First Author]
venue: Venue
year: 2022
url: https://example.org/paper
group: Group
summary: >-
  The idea of the paper in two or three sentences.
code:
  - url: https://example.org/code
    commit: ""
    licence: none
experiments:
  example:
    title: What this experiment shows
    params: {{items: 20}}
    sizes:
      smoke: {{items: 5}}
      quick: {{}}
      full: {{items: 200}}
figures:
  example:
    title: Title of the figure
    caption: What a reader should see in it.
    experiments: [example]
""",
    "claims.yaml": """\
# What the paper claims, and what would count as reproducing it. Changed only with a reason in
# CHANGELOG.md. A value that could not be obtained is null, never a guess.
claims:
  - id: example
    title: The method is better than the baseline
    source: section or table of the paper
    statement: Our paraphrase of the claim.
    kind: difference
    experiment: example
    metric: score
    of: {{variant: method}}
    over: {{variant: baseline}}
    paper: {{value: null}}
    accept: {{low: 0}}
""",
    "README.md": """\
# {title}

The idea in five lines.

## Use it

```python
from projects.{slug} import method
```

## Claims and verdicts

<!-- verdicts -->
<!-- /verdicts -->

## Deviations

None so far.

## Data and licences

Generated data only.
""",
    "__init__.py": '''\
"""{title}: the public names."""

from projects.{slug}.method import method

__all__ = ["method"]
''',
    "method.py": '''\
"""The method of the paper; rename this module for what the method is in its field."""

from __future__ import annotations

import numpy as np


def method(x: np.ndarray) -> np.ndarray:
    """Return the method's answer, shape of ``x`` (section and equation of the paper).

    Examples
    --------
    >>> method(np.array([1.0])).tolist()
    [1.0]
    """
    return x
''',
    "baselines.py": '''\
"""What the paper compares against, with the call shape of the method."""

from __future__ import annotations

import numpy as np


def baseline(x: np.ndarray) -> np.ndarray:
    """Return the baseline's answer, shape of ``x``."""
    return np.zeros_like(x)
''',
    "data.py": '''\
"""The paper's data as arrays, and its stand-in generator."""

from __future__ import annotations

import numpy as np


def generate(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw ``n`` values, shape (n,)."""
    return rng.uniform(1, 2, n)
''',
    "experiments.py": '''\
"""The experiments of the paper, one plain function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projects.{slug}.baselines import baseline
from projects.{slug}.data import generate
from projects.{slug}.method import method

if TYPE_CHECKING:
    from common.run import Run


def example(run: Run) -> None:
    """Compare the method with the baseline."""
    run.synthetic("generated", "uniform values")
    for item in run.cells(range(run.params["items"])):
        x = generate(run.rng(item), 100)
        for variant, function in (("method", method), ("baseline", baseline)):
            score = function(x).mean()
            run.observe({{"score": score}}, variant=variant, dataset="generated", item=str(item))
''',
    "figures.py": '''\
"""The figures of the paper, each from observations alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.plotting import distribution_by_group, figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def example(observations: pd.DataFrame) -> Figure:
    fig, ax = figure()
    distribution_by_group(ax, observations, ylabel="score")
    return fig
''',
    "bench.py": '''\
"""The hot path beside its peers."""

from __future__ import annotations

from functools import partial

import numpy as np

from common.bench import Benchmark
from projects.{slug}.method import method


def benchmarks() -> list[Benchmark]:
    """Time the method beside a peer that does the same work."""
    x = np.ones(1000)
    peer = partial(np.copy, x)
    return [Benchmark("method", partial(method, x), peer, "numpy copy", {{"n": 1000}})]
''',
}


def create(slug: str, title: str, root: Path | None = None) -> list[Path]:
    """Write the skeleton of a paper that runs, is judged and is drawn as it stands.

    Raises
    ------
    ConfigError
        If the slug is malformed or taken.
    """
    root = root or projects_root()
    if not re.fullmatch(r"[a-z][a-z0-9]+", slug):
        raise ConfigError(f"slug {slug!r}: lower-case letters and digits, a letter first")
    if slug in slugs(root) or (root / slug).exists():
        raise ConfigError(f"{root / slug} exists; choose another slug")
    safe_title = title.replace('"', "'")
    written = []
    for name, template in FILES.items():
        path = root / slug / name
        write_bytes(path, template.format(slug=slug, title=safe_title).encode())
        written.append(path)
    return written
