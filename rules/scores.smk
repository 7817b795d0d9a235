# Scores: a pure function of verdicts, beside the published numbers.


rule score_benchmark:
    input:
        problems=benchmark_inputs(PROBLEMS),
        traces=benchmark_inputs(TRACES),
        verdicts=benchmark_inputs(VERDICTS),
    output:
        SCORE,
    log:
        "logs/score_benchmark/{model}/{benchmark}.log",
    benchmark:
        "logs/score_benchmark/{model}/{benchmark}.tsv"
    group:
        packed("score", "model")
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=2000, minutes=15),
    params:
        samples=benchmark_samples,
        protocol=protocol,
        published=setting("published"),
        code=code("score_benchmark"),
        software=software("numpy", "scipy"),
    shell:
        "python scripts/score_benchmark.py --model {wildcards.model}"
        " --benchmark {wildcards.benchmark} --problems {input.problems}"
        " --traces {input.traces} --verdicts {input.verdicts}"
        " --samples {params.samples:q} --protocol {params.protocol:q}"
        " --published {params.published:q} --software {params.software}"
        " --out {output} 2> {log}"
