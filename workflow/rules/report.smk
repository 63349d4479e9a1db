rule page:
    input:
        **all_tables(),
        figures=all_figures(),
        timelines=all_timelines(),
    output:
        page=report(
            f"results/{PAGE}",
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
        order=table_order(),
        repetition=repetition,
        code=fingerprint.of_rooms(PAGE_ROOMS, "make_report.py"),
    script:
        "../scripts/make_report.py"


use rule page as page_so_far with:
    input:
        **all_tables("results/so_far"),
        figures=all_figures("results/so_far"),
    output:
        page=f"results/so_far/{PAGE}",
    log:
        "results/logs/page_so_far.log",
