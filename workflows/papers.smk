"""One module per paper, and a rule of the paper's name that asks for all of its results.

Apart from the Snakefile because the formatter cannot read modules named by a variable.
"""

for slug in settings.papers:
    prefix = f"{slug}_"

    module:
        name: slug
        snakefile:
            "paper.smk"
        config:
            {"paper": slug, "settings": dict(config)}

    use rule * from slug as prefix*

    rule:
        name:
            slug
        input:
            plans[slug].results,
