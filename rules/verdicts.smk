# Verdicts: each trace is judged against its problem's reference.


rule judge_traces:
    input:
        problems=PROBLEMS,
        traces=TRACES,
        weights=judging_inputs,
    output:
        verdicts=VERDICTS,
        contract="data/verdicts/{model}/{set}/{shard}.judge.json",
    log:
        "logs/judge_traces/{model}/{set}/{shard}.log",
    benchmark:
        "logs/judge_traces/{model}/{set}/{shard}.tsv"
    group:
        packed("judge", "model", gpus=judging_gpus)
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(judging_gpus, mem_mb=judging_memory, minutes=120),
    params:
        judge=setting("sets/{set}/judge"),
        reach=judging_arguments("verdicts-on-{model}/{set}/{shard}"),
        code=code("judge_traces", JUDGE, judging_rules, judging_engine),
        software=software(JUDGE, judging_rules, judging_engine),
    shell:
        "python scripts/judge_traces.py --problems {input.problems}"
        " --traces {input.traces} --judge {params.judge:q} {params.reach:q} --threads {threads}"
        " --software {params.software}"
        " --out {output.verdicts} --contract-out {output.contract} 2> {log}"
