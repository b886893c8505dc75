"""The rules that every paper shares: data, run, verdict, figure."""

from common.workflow import Plan, load_config

plan = Plan.of(load_config(config["settings"], "config"), config["paper"])


rule data:
    output:
        listing=f"{plan.folder}/data.txt",
    log:
        f"{plan.folder}/logs/data.log",
    benchmark:
        f"{plan.folder}/benchmarks/data.tsv"
    localrule: True
    conda:
        "../envs/default.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        paper=plan.paper.slug,
        datasets=plan.datasets,
        mode=plan.config.data,
        trigger=plan.data_triggers(),
    message:
        "data of {params.paper}"
    shell:
        "python -m common.cli data fetch {params.datasets} --mode {params.mode}"
        " > {output.listing:q} 2> {log:q}"


# run.json is no output: when a run fails Snakemake removes the outputs, but the record says why.
rule run:
    input:
        lambda wildcards: plan.inputs(wildcards.experiment),
    output:
        f"{plan.folder}/{{experiment}}/observations.parquet",
    log:
        f"{plan.folder}/logs/run-{{experiment}}.log",
    benchmark:
        f"{plan.folder}/benchmarks/run-{{experiment}}.tsv"
    wildcard_constraints:
        experiment="|".join(plan.experiments),
    conda:
        "../envs/default.yaml"
    threads: lambda wildcards: plan.declared(wildcards.experiment).threads
    resources:
        mem_mb=lambda wildcards: plan.declared(wildcards.experiment).memory_mb,
        runtime=lambda wildcards: plan.declared(wildcards.experiment).minutes,
        timing=lambda wildcards: plan.timing(wildcards.experiment),
        slurm_extra=lambda wildcards: plan.slurm_extra(wildcards.experiment),
    params:
        python=lambda wildcards: plan.python(wildcards.experiment),
        record=lambda wildcards: plan.record(wildcards.experiment),
        paper=plan.paper.slug,
        where=plan.where,
        mode=plan.config.data,
        overrides=lambda wildcards: plan.overrides(wildcards.experiment),
        trigger=lambda wildcards: plan.run_triggers(wildcards.experiment),
    message:
        "{params.paper}: {wildcards.experiment}"
    shell:
        "rm -f {params.record}; {params.python} -m common.cli run {params.paper} {wildcards.experiment}"
        " {params.where} --data {params.mode} {params.overrides} > {log:q} 2>&1"


rule verdict:
    input:
        plan.observations(plan.experiments),
    output:
        verdicts=f"{plan.folder}/verdicts.json",
        scorecard=report(
            f"{plan.folder}/scorecard.txt",
            caption="report/scorecard.rst",
            category=plan.paper.title,
            labels={"content": "scorecard"},
        ),
    log:
        f"{plan.folder}/logs/verdict.log",
    benchmark:
        f"{plan.folder}/benchmarks/verdict.tsv"
    localrule: True
    conda:
        "../envs/default.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        paper=plan.paper.slug,
        title=plan.paper.title,
        where=plan.where,
        trigger=plan.claim_triggers(),
    message:
        "{params.paper}: verdicts"
    shell:
        "python -m common.cli verdicts {params.paper} {params.where}"
        " > {output.scorecard:q} 2> {log:q}"


rule figure:
    input:
        plan.observations(plan.figure_experiments),
    output:
        report(
            directory(f"{plan.folder}/figures"),
            patterns=["{figure}.png"],
            caption="report/figure.rst",
            category=plan.paper.title,
            labels={"content": "{figure}"},
        ),
    log:
        f"{plan.folder}/logs/figure.log",
    benchmark:
        f"{plan.folder}/benchmarks/figure.tsv"
    localrule: True
    conda:
        "../envs/default.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        paper=plan.paper.slug,
        where=plan.where,
        figures=plan.captions(),
        trigger=plan.figure_code(),
    message:
        "{params.paper}: figures"
    shell:
        "python -m common.cli figures {params.paper} {params.where} > {log:q} 2>&1"
