rule page:
    input:
        **products.tables(),
        figures=products.figures(STUDY, CONFIG),
        timelines=products.timelines(STUDY),
    output:
        page=report(
            products.page(),
            caption="../report/page.rst",
            category="Page",
            labels={"shows": "everything on one page"},
        ),
    log:
        "results/logs/page.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=ORDER,
        # What alters a number alters a table as well: a function that takes the output is not tracked.
        repetition=lambda wildcards, output: table_params.repetition(CALL),
        repository=lambda wildcards, output: REPOSITORY,
        code=rooms.code_of("make_report.py"),
    script:
        "../scripts/make_report.py"


use rule page as page_so_far with:
    input:
        **products.tables(products.SO_FAR),
        figures=products.figures(STUDY, CONFIG, products.SO_FAR),
    output:
        page=products.page(products.SO_FAR),
    log:
        "results/logs/page_so_far.log",
