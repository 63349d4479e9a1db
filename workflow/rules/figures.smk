rule figure:
    input:
        **figure_tables(),
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
        order=table_order(),
        code=fingerprint.of_rooms(FIGURE_ROOMS, "draw_figure.py"),
    script:
        "../scripts/draw_figure.py"


use rule figure as figure_so_far with:
    input:
        **figure_tables("results/so_far"),
    output:
        svg="results/so_far/figures/{figure}.svg",
        png="results/so_far/figures/{figure}.png",
    log:
        "results/logs/figure_{figure}_so_far.log",


# All in one job, which takes a second for each, and after the tables: no run is measured any more.
rule timelines:
    input:
        runs_csv=all_tables()["runs_csv"],
        metrics=[f"results/{run.folder}/metrics.json" for run in timeline_runs()],
    output:
        svg=[f"{timeline_path(run)}.svg" for run in timeline_runs()],
        png=[f"{timeline_path(run)}.png" for run in timeline_runs()],
    log:
        "results/logs/timelines.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        runs=[f"results/{run.folder}/metrics.json" for run in timeline_runs()],
        leftovers=leftover_timelines,
        code=fingerprint.of_rooms(FIGURE_ROOMS, "draw_timelines.py"),
    script:
        "../scripts/draw_timelines.py"


# Of any other run, when it is asked for.
rule timeline:
    input:
        metrics=f"{RUN}/metrics.json",
    output:
        svg=[f"{TIMELINE}.svg"],
        png=[f"{TIMELINE}.png"],
    log:
        f"results/logs/timeline_{Path(TIMELINE).name}.log",
    wildcard_constraints:
        # Names may hold what stands between them, as cpu_16_threads does.
        model=one_of(STUDY.model_settings),
        device=one_of(STUDY.device_settings),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        runs=[f"{RUN}/metrics.json"],
        leftovers=[],
        code=fingerprint.of_rooms(FIGURE_ROOMS, "draw_timelines.py"),
    script:
        "../scripts/draw_timelines.py"


ruleorder: timelines > timeline
