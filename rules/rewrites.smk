# Rewrites: a right trace becomes a thought and a solution, and is judged again.


rule rewrite_traces:
    input:
        problems=PROBLEMS,
        traces=TRACES,
        verdicts=VERDICTS,
        weights=rewriter_inputs,
        judge_weights=judging_inputs,
    output:
        REWRITES,
    log:
        "logs/rewrite_traces/{model}/{set}/{shard}.log",
    benchmark:
        "logs/rewrite_traces/{model}/{set}/{shard}.tsv"
    # A server that is up is kept busy.
    priority: 1
    group:
        packed("rewrite", "model", gpus=rewriting_gpus)
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(rewriting_gpus, mem_mb=32000, minutes=120),
    params:
        judge=setting("sets/{set}/judge"),
        rewriter=lambda wildcards: canonical(rewriter(wildcards)),
        reach=rewriter_arguments,
        judge_reach=judging_arguments("verdicts-on-rewrites-of-{model}/{set}/{shard}"),
        code=code(
            "rewrite_traces", JUDGE, judging_rules, judging_engine, rewriter_engine
        ),
        software=software(JUDGE, judging_rules, judging_engine, rewriter_engine),
    shell:
        "python scripts/rewrite_traces.py --problems {input.problems}"
        " --traces {input.traces} --verdicts {input.verdicts}"
        " --judge {params.judge:q} --rewriter {params.rewriter:q} {params.reach:q}"
        " {params.judge_reach:q}"
        " --threads {threads} --software {params.software} --out {output} 2> {log}"
