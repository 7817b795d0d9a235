# Rewrites: a right trace becomes a thought and a solution, and is judged again.


def rewriter(wildcards):
    """The set's rewriter with all it consists of, or none: then a rule divides."""
    name = config["sets"][wildcards.set]["rewriter"]
    return config["rewriters"][name] if name else None


def rewriter_model(wildcards):
    chosen = rewriter(wildcards)
    return chosen["model"] if chosen else None


def rewriter_engine(wildcards):
    return engine_module(rewriter_model(wildcards))


def rewriter_inputs(wildcards):
    model = rewriter_model(wildcards)
    return model_weights(model)[0] if model else []


def rewriter_arguments(wildcards):
    model = rewriter_model(wildcards)
    if not model:
        return []
    shard = f"{wildcards.set}/{wildcards.shard}"
    return reach(model, f"rewrites-of-{wildcards.model}/{shard}")


rule rewrite_traces:
    input:
        problems=PROBLEMS,
        traces=TRACES,
        verdicts=VERDICTS,
        weights=rewriter_inputs,
    output:
        REWRITES,
    log:
        "logs/rewrite_traces/{model}/{set}/{shard}.log",
    benchmark:
        "logs/rewrite_traces/{model}/{set}/{shard}.tsv"
    threads: 8
    resources:
        mem_mb=32000,
        gpu=lambda wildcards: (
            gpus(rewriter_model(wildcards)) if rewriter(wildcards) else 0
        ),
    params:
        judge=setting("sets/{set}/judge"),
        rewriter=lambda wildcards: canonical(rewriter(wildcards)),
        reach=rewriter_arguments,
        code=code("rewrite_traces", JUDGE, rewriter_engine),
        software=software(JUDGE, rewriter_engine),
    shell:
        "python scripts/rewrite_traces.py --problems {input.problems}"
        " --traces {input.traces} --verdicts {input.verdicts}"
        " --judge {params.judge:q} --rewriter {params.rewriter:q} {params.reach:q}"
        " --threads {threads} --software {params.software} --out {output} 2> {log}"
