rule tables:
    input:
        metrics=all_metrics(),
    output:
        **TABLES,
    log:
        "results/logs/tables.log",
    params:
        order=table_order(),
        code=fingerprint.of_code(TABLES_CODE),
    conda:
        "../../envs/analysis.yaml"
    localrule: True
    script:
        "../scripts/make_tables.py"
