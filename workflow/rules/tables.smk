rule tables:
    input:
        outdated_without_record(*products.tables().values()),
        metrics=ALL_METRICS,
    output:
        **{
            name: report(path, **marks) if (marks := products.marks_of_table(CALL.repository, name)) else path
            for name, path in products.tables().items()
        },
    log:
        "results/logs/tables.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=ORDER,
        question=table_params.question(CONFIG),
        sources=lambda wildcards: table_params.read_sources(CONFIG),
        leftovers=leftovers,
        code=rooms.code_of("make_tables.py"),
    script:
        "../scripts/make_tables.py"


# The metrics files are no inputs here: Snakemake would train what is missing or outdated.
rule tables_so_far:
    output:
        **products.tables(products.SO_FAR),
    log:
        "results/logs/tables_so_far.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=ORDER,
        question=table_params.question(CONFIG),
        sources=lambda wildcards: table_params.read_sources(CONFIG),
        metrics=lambda wildcards: so_far.contents(CALL),
        absent=lambda wildcards: so_far.absent(CALL),
        leftovers=leftovers,
        code=rooms.code_of("make_tables.py"),
    script:
        "../scripts/make_tables.py"


rule so_far:
    input:
        products.everything(STUDY, CONFIG, products.SO_FAR),
        outdated_without_record(*products.everything(STUDY, CONFIG, products.SO_FAR)),
    localrule: True
