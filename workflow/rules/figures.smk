rule figure:
    input:
        **products.tables(),
    output:
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png="results/figures/{figure}.png",
    log:
        "results/logs/figure_{figure}.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=ORDER,
        shows=lambda wildcards: of_study.shows(wildcards.figure),
        code=rooms.code_of("draw_figure.py"),
    script:
        "../scripts/draw_figure.py"


use rule figure as figure_so_far with:
    input:
        **products.tables(products.SO_FAR),
    output:
        svg="results/so_far/figures/{figure}.svg",
        png="results/so_far/figures/{figure}.png",
    log:
        "results/logs/figure_{figure}_so_far.log",


# All in one job, which takes a second for each, and after the tables: no run is measured any more.
rule timelines:
    input:
        runs_csv=products.tables()["runs_csv"],
        metrics=products.metrics(products.timeline_runs(STUDY)),
    output:
        svg=[f"{products.timeline(run)}.svg" for run in products.timeline_runs(STUDY)],
        png=[f"{products.timeline(run)}.png" for run in products.timeline_runs(STUDY)],
    log:
        "results/logs/timelines.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        runs=products.metrics(products.timeline_runs(STUDY)),
        # As with leftovers of tables, they go when the others are drawn.
        leftovers=lambda wildcards, output: products.leftover_timelines(STUDY),
        code=rooms.code_of("draw_timelines.py"),
    script:
        "../scripts/draw_timelines.py"


# Of any other run, when it is asked for.
rule timeline:
    input:
        metrics=f"{products.RUN}/metrics.json",
    output:
        svg=[f"{products.TIMELINE}.svg"],
        png=[f"{products.TIMELINE}.png"],
    log:
        f"results/logs/timeline_{Path(products.TIMELINE).name}.log",
    wildcard_constraints:
        # Names may hold what stands between them, as cpu_16_threads does.
        model=one_of(STUDY.model_settings),
        device=one_of(STUDY.device_settings),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        runs=[f"{products.RUN}/metrics.json"],
        leftovers=[],
        code=rooms.code_of("draw_timelines.py"),
    script:
        "../scripts/draw_timelines.py"


ruleorder: timelines > timeline
