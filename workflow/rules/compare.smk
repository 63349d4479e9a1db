BASELINE_TABLES = dict(zip(("csv", "markdown"), [f"results/tables/{name}" for name in COMPARED_TABLES]))

# The tables are written whatever they say; `compare` tells it, and ends with exit code 1 where something became slower.
if CONCLUSIONS.baseline is not None:

    rule baseline_tables:
        input:
            outdated_without_record(*BASELINE_TABLES.values()),
            metrics=all_metrics(),
        output:
            **BASELINE_TABLES,
        log:
            "results/logs/baseline_tables.log",
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        params:
            order=table_order(),
            baseline=read_baseline,
            smallest_difference_percent=CONCLUSIONS.smallest_difference_percent,
            code=fingerprint.of_rooms(TABLE_ROOMS, "make_baseline_tables.py"),
        script:
            "../scripts/make_baseline_tables.py"


rule compare:
    input:
        **(BASELINE_TABLES if CONCLUSIONS.baseline is not None else {}),
    log:
        "results/logs/compare.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/compare.py"
