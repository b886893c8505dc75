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
from common.workflow import Plan, load_config, model_key


report: "workflows/report/workflow.rst"


configfile: f"{ROOT}/workflows/config/quick.yaml"


origins = [*map(str, workflow.configfiles)]
if workflow.config_settings.config:
    origins.append("--config")
try:
    settings = load_config(config, " + ".join(origins))
    plans = {slug: Plan.of(settings, slug) for slug in settings.papers}
except ConfigError as error:
    raise WorkflowError(str(error)) from None


rule all:
    input:
        f"{settings.folder}/tracked.txt",


include: "workflows/shared.smk"


for slug in settings.papers:
    prefix = f"{slug}_"

    module:
        name: slug
        snakefile:
            "workflows/paper.smk"
        config:
            {"paper": slug, "settings": dict(config)}

    use rule * from slug as prefix*

    rule:
        name:
            slug
        input:
            plans[slug].results,


# All papers in one process: opening the tracking store costs seconds.
rule track:
    input:
        [path for plan in plans.values() for path in plan.results],
    output:
        listing=f"{settings.folder}/tracked.txt",
    log:
        f"{settings.folder}/logs/track.log",
    benchmark:
        f"{settings.folder}/benchmarks/track.tsv"
    localrule: True
    conda:
        "envs/default.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=settings.track_options,
        store=settings.store_digest,
    message:
        "results into the tracking store"
    shell:
        "python -m common.cli track {params.options} > {output.listing:q} 2> {log:q}"
