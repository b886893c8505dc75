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
    # Others wait for it.
    priority: 10000
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


# One rule per experiment, since a priority belongs to a rule: of the jobs that may start, the
# longest goes first, so that none is left over when the other cores have run out of work.
# run.json is no output: when a run fails Snakemake removes the outputs, but the record says why.
for experiment in plan.experiments:

    rule:
        name:
            f"run_{experiment}"
        input:
            plan.inputs(experiment),
        output:
            f"{plan.folder}/{experiment}/observations.parquet",
        log:
            f"{plan.folder}/logs/run-{experiment}.log",
        benchmark:
            f"{plan.folder}/benchmarks/run-{experiment}.tsv"
        priority: plan.declared(experiment).minutes
        conda:
            "../envs/default.yaml"
        threads: plan.declared(experiment).threads
        resources:
            mem_mb=plan.declared(experiment).memory_mb,
            runtime=plan.declared(experiment).minutes,
            timing=plan.timing(experiment),
            slurm_extra=plan.slurm_extra(experiment),
        params:
            python=plan.python(experiment),
            record=plan.record(experiment),
            paper=plan.paper.slug,
            experiment=experiment,
            where=plan.where,
            mode=plan.config.data,
            overrides=plan.overrides(experiment),
            trigger=plan.run_triggers(experiment),
        message:
            "{params.paper}: {params.experiment}"
        shell:
            "rm -f {params.record}; {params.python} -m common.cli run {params.paper} {params.experiment}"
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
