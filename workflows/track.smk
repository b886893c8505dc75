"""The results tree into the tracking store, in one process: opening the store costs seconds."""


rule track:
    input:
        [path for plan in plans.values() for path in plan.results],
    output:
        listing=f"{settings.results}/{settings.size}/{settings.target}/tracked.txt",
    log:
        f"{settings.results}/{settings.size}/{settings.target}/logs/track.log",
    benchmark:
        f"{settings.results}/{settings.size}/{settings.target}/benchmarks/track.tsv"
    conda:
        "../envs/default.yaml"
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
