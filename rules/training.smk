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
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(lambda wildcards: 8, mem_mb=64000, minutes=1440),
    params:
        base=lambda wildcards: base_of(wildcards)[1],
        ranks=lookup("students/{student}/ranks", within=config),
        nodes=lookup("students/{student}/nodes", within=config),
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
