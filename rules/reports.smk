# The report: one self-contained page that says what was done and what came out.


rule build_report:
    input:
        problems=files(PROBLEMS, pairs()),
        traces=files(TRACES, pairs()),
        engines=files(CONTRACTS, pairs()),
        verdicts=files(VERDICTS, pairs()),
        rewrites=files(REWRITES, taught()),
        train=dataset_files("train.jsonl"),
        rejected=dataset_files("rejected.jsonl"),
        datasets=dataset_files("report.json"),
        manifests=[f"models/{name}/manifest.json" for name in config["students"]],
        metrics=[f"models/{name}/metrics.jsonl" for name in config["students"]],
        scores=score_files(),
    output:
        page=report(
            f"reports/{config['recipe']}.html",
            caption="captions/report.rst",
            category="Report",
        ),
        figures=[
            report(
                f"reports/{config['recipe']}/{name}.svg",
                caption=f"captions/{name}.rst",
                category=category,
            )
            for name, category in FIGURES.items()
        ],
        tables=[f"reports/{config['recipe']}/{name}.csv" for name in TABLES],
    log:
        f"logs/build_report/{config['recipe']}.log",
    benchmark:
        f"logs/build_report/{config['recipe']}.tsv"
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=4000, minutes=60),
    params:
        name=config["recipe"],
        description=config["description"],
        # In the recipe's order, which is that of its tables.
        recipe=lambda wildcards: json.dumps(config, ensure_ascii=False),
        code=code("build_report"),
        software=software("jinja2", "matplotlib"),
    shell:
        "python scripts/build_report.py --recipe {params.name:q}"
        " --description={params.description:q} --config {params.recipe:q}"
        " --problems {input.problems} --traces {input.traces}"
        " --engines {input.engines} --verdicts {input.verdicts}"
        " --rewrites {input.rewrites}"
        " --train {input.train} --rejected {input.rejected}"
        " --dataset-reports {input.datasets} --manifests {input.manifests}"
        " --metrics {input.metrics} --scores {input.scores}"
        " --benchmark-timings $(find logs -name '*.tsv' | sort)"
        " --journals $(find journals -name '*.jsonl' 2> /dev/null | sort)"
        " --commit=$(git describe --always --dirty --abbrev=40 --exclude='*'"
        " 2> /dev/null || true)"
        " --software {params.software} --figures-out reports/{params.name}"
        " --out {output.page} 2> {log}"
