"""The steps that several papers share: the reference language models."""


# A model that ships with the package costs a second, any other is trained within its budget into
# the user's cache; the listing says where it is. Fewer cores cap the threads.
rule language_model:
    output:
        where=f"{settings.shared}/{{model}}.txt",
    log:
        f"{settings.shared}/logs/{{model}}.log",
    benchmark:
        f"{settings.shared}/benchmarks/{{model}}.tsv"
    # Others wait for it.
    priority: 10000
    conda:
        "../envs/default.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=90,
    params:
        trigger=lambda wildcards: model_key(wildcards.model),
    message:
        "language model {wildcards.model}"
    shell:
        "python -m common.llm where {wildcards.model} > {output.where:q} 2> {log:q}"
