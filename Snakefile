"""The pipelines of all papers: `snakemake`, or `snakemake nurd` for one paper."""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The rules run the code of this tree with the interpreter of this process, also from another
# working directory and in the jobs of a cluster.
ROOT = str(workflow.basedir)
sys.path.insert(0, ROOT)
for variable, first in (
    ("PYTHONPATH", ROOT),
    ("PATH", str(Path(sys.executable).parent)),
):
    others = os.environ.get(variable)
    os.environ[variable] = f"{first}{os.pathsep}{others}" if others else first

from common.errors import ConfigError
from common.workflow import Plan, load_config


report: "workflows/report/workflow.rst"


configfile: f"{ROOT}/workflows/config/quick.yaml"


try:
    settings = load_config(config, " + ".join(map(str, workflow.configfiles)))
    plans = {slug: Plan.of(settings, slug) for slug in settings.papers}
except ConfigError as error:
    raise WorkflowError(str(error)) from None


include: "workflows/papers.smk"
include: "workflows/track.smk"


rule all:
    default_target: True
    input:
        rules.track.output,
