# The tables are written whatever they say; `compare` tells it, and ends with exit code 1 where something became slower.
if CONFIG["baseline"] is not None:

    rule baseline_tables:
        input:
            outdated_without_record(*products.COMPARED_TABLES.values()),
            metrics=ALL_METRICS,
        output:
            **products.COMPARED_TABLES,
        log:
            "results/logs/baseline_tables.log",
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        params:
            order=ORDER,
            baseline=lambda wildcards: table_params.read_baseline(CONFIG["baseline"]),
            smallest_difference_percent=CONFIG["compare"]["smallest_difference_percent"],
            code=rooms.code_of("make_baseline_tables.py"),
        script:
            "../scripts/make_baseline_tables.py"


rule compare:
    input:
        **(products.COMPARED_TABLES if CONFIG["baseline"] is not None else {}),
    log:
        "results/logs/compare.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/compare.py"
