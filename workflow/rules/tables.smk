rule tables:
    input:
        metrics=all_metrics(),
    output:
        **TABLES,
    log:
        "results/logs/tables.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=table_order(),
        sources=read_sources,
        code=fingerprint.of_code(TABLES_CODE),
    script:
        "../scripts/make_tables.py"
