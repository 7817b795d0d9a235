# Training: a student is fine-tuned on a training set.


rule train_student:
    input:
        dataset=lambda wildcards: DATASET.format(
            dataset=config["students"][wildcards.student]["dataset"],
            file="train.jsonl",
        ),
        base=lambda wildcards: base_of(wildcards)[0],
    output:
        model_files("{student}"),
        metrics="models/{student}/metrics.jsonl",
    log:
        "logs/train_student/{student}.log",
    benchmark:
        "logs/train_student/{student}.tsv"
    wildcard_constraints:
        student=one_of(set(RECIPE.students) - set(ON_NODES)),
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(lambda wildcards: 8, mem_mb=64000, minutes=1440),
    params:
        base=lambda wildcards: base_of(wildcards)[1],
        ranks=value("students/{student}/ranks"),
        nodes=value("students/{student}/nodes"),
        training=setting("students/{student}/training"),
        shards=config["weight_shards"],
        code=code("train_student"),
        software=software(
            "torch", "transformers", "trl", "deepspeed", "accelerate", "peft"
        ),
    shell:
        "python -m retrace.training.launch"
        " --ranks {params.ranks} --nodes {params.nodes}"
        " scripts/train_student.py --student {wildcards.student}"
        " --dataset {input.dataset} {params.base:q}"
        " --training {params.training:q} --threads {threads}"
        " --checkpoints checkpoints/{wildcards.student} --shards {params.shards}"
        " --software {params.software} --code {params.code}"
        " --out models/{wildcards.student} --metrics {output.metrics} > {log} 2>&1"


# A student on several nodes: the same, but for what a batch system must be told.
use rule train_student as train_student_on_nodes with:
    wildcard_constraints:
        student=one_of(ON_NODES),
    resources:
        **on_nodes(nodes_of, mem_mb=64000, minutes=1440),
