rule tables:
    input:
        outdated_without_record(*all_tables().values()),
        metrics=all_metrics(),
    output:
        **reported_tables(),
    log:
        "results/logs/tables.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=table_order(),
        question=question(),
        sources=read_sources,
        leftovers=leftovers,
        code=fingerprint.of_rooms(TABLE_ROOMS, "make_tables.py"),
    script:
        "../scripts/make_tables.py"


# The metrics files are no inputs here: Snakemake would train what is missing or outdated.
rule tables_so_far:
    output:
        **all_tables("results/so_far"),
    log:
        "results/logs/tables_so_far.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=table_order(),
        question=question(),
        sources=read_sources,
        metrics=existing_metrics,
        absent=absent_runs,
        leftovers=leftovers,
        code=fingerprint.of_rooms(TABLE_ROOMS, "make_tables.py"),
    script:
        "../scripts/make_tables.py"


rule so_far:
    input:
        products("results/so_far"),
        outdated_without_record(*products("results/so_far")),
    localrule: True
