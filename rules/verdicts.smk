# Verdicts: each trace is judged against its problem's reference.


def judging_model(wildcards):
    """The model that an `llm` judge asks; other judges ask none."""
    return config["sets"][wildcards.set]["judge"].get("model")


def judging_engine(wildcards):
    return engine_module(judging_model(wildcards))


def judging_rules(wildcards):
    """The judge that an `llm` judge tries first."""
    rules = config["sets"][wildcards.set]["judge"].get("rules")
    return f"retrace.judging.{rules['kind']}" if rules else None


def judging_inputs(wildcards):
    model = judging_model(wildcards)
    return model_weights(model)[0] if model else []


def judging_arguments(wildcards):
    model = judging_model(wildcards)
    if not model:
        return []
    shard = f"{wildcards.set}/{wildcards.shard}"
    return reach(model, f"verdicts-on-{wildcards.model}/{shard}")


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
    threads: 8
    resources:
        mem_mb=8000,
    params:
        judge=setting("sets/{set}/judge"),
        reach=judging_arguments,
        code=code("judge_traces", JUDGE, judging_rules, judging_engine),
        software=software(JUDGE, judging_rules, judging_engine),
    shell:
        "python scripts/judge_traces.py --problems {input.problems}"
        " --traces {input.traces} --judge {params.judge:q} {params.reach:q} --threads {threads}"
        " --software {params.software}"
        " --out {output.verdicts} --contract-out {output.contract} 2> {log}"
