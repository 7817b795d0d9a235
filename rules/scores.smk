# Scores: a pure function of verdicts, beside the published numbers.


def benchmark_pairs(wildcards):
    names = config["benchmarks"][wildcards.benchmark]["sets"]
    return [(wildcards.model, name) for name in names]


def benchmark_inputs(pattern):
    return lambda wildcards: files(pattern, benchmark_pairs(wildcards))


def benchmark_samples(wildcards):
    return canonical(
        {
            name: effective_sampling(wildcards.model, name)["n"]
            for _, name in benchmark_pairs(wildcards)
        }
    )


def protocol(wildcards):
    """How a number was obtained: what must agree before two numbers are compared."""
    model = config["models"][wildcards.model]
    return canonical(
        {
            "weights": config["weights"].get(model["weights"], model["weights"]),
            "engine": model["engine"],
            "system": config["texts"].get(text_of(model["system"]), model["system"]),
            "few_shot": model["few_shot"],
            "sets": {
                name: {
                    "template": effective_template(wildcards.model, name),
                    "shots": config["sets"][name]["shots"] if model["few_shot"] else [],
                    "sampling": effective_sampling(wildcards.model, name),
                    "judge": config["sets"][name]["judge"],
                }
                for _, name in benchmark_pairs(wildcards)
            },
        }
    )


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
    resources:
        mem_mb=2000,
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
