# What the rules ask of the recipe: inputs, arguments and parameters by wildcards, a
# section for each stage. Nothing here runs a step.


# --- Traces ---------------------------------------------------------------------------


def asked_gpus(wildcards):
    return gpus(wildcards.model)


def is_taught(wildcards):
    return (wildcards.model, wildcards.set) in taught()


def sampling_minutes(wildcards):
    """A shard of a training set has thousands of problems, a benchmark hundreds."""
    return 1440 if is_taught(wildcards) else 120


# --- Labels ---------------------------------------------------------------------------


def labelling_inputs(wildcards):
    return model_weights(wildcards.model)[0]


# --- Verdicts -------------------------------------------------------------------------


def judging_model(wildcards):
    """The model that an `llm` judge asks; other judges ask none."""
    return config["sets"][wildcards.set]["judge"].get("model")


def judging_gpus(wildcards):
    model = judging_model(wildcards)
    return gpus(model) if model else 0


def judging_memory(wildcards):
    """MB: a model's server needs more than the judge's own workers."""
    return 32000 if judging_model(wildcards) else 8000


def judging_engine(wildcards):
    return engine_module(judging_model(wildcards))


def judging_rules(wildcards):
    """The judge that an `llm` judge tries first."""
    rules = config["sets"][wildcards.set]["judge"].get("rules")
    return f"retrace.judging.{rules['kind']}" if rules else None


def judging_inputs(wildcards):
    model = judging_model(wildcards)
    return model_weights(model)[0] if model else []


def judging_arguments(journal):
    """How a judge that asks a model reaches it; nothing for other judges."""

    def arguments(wildcards):
        model = judging_model(wildcards)
        if not model:
            return []
        words = reach(model, journal.format(**wildcards))
        named = {key[2:]: value for key, value in zip(words[::2], words[1::2])}
        named["engine"] = json.loads(named["engine"])
        return ["--judge-reach", canonical(named)]

    return arguments


# --- Rewrites -------------------------------------------------------------------------


def rewriter(wildcards):
    """The set's rewriter with all it consists of, or none: then a rule divides."""
    name = config["sets"][wildcards.set]["rewriter"]
    return config["rewriters"][name] if name else None


def rewriter_model(wildcards):
    chosen = rewriter(wildcards)
    return chosen["model"] if chosen else None


def rewriter_engine(wildcards):
    return engine_module(rewriter_model(wildcards))


def rewriting_gpus(wildcards):
    """The rewriting model and one that judges take turns on the same GPUs."""
    model = rewriter_model(wildcards)
    return max(gpus(model) if model else 0, judging_gpus(wildcards))


def rewriter_inputs(wildcards):
    model = rewriter_model(wildcards)
    return model_weights(model)[0] if model else []


def rewriter_arguments(wildcards):
    model = rewriter_model(wildcards)
    if not model:
        return []
    shard = f"{wildcards.set}/{wildcards.shard}"
    return reach(model, f"rewrites-of-{wildcards.model}/{shard}")


# --- Datasets -------------------------------------------------------------------------


def dataset_inputs(pattern):
    """Every shard of the teacher's files that a training set is made of."""

    def paths(wildcards):
        mixture = config["datasets"][wildcards.dataset]["mixture"]
        return files(
            pattern, [(teacher_of(wildcards.dataset, name), name) for name in mixture]
        )

    return paths


def labels(wildcards):
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    return files(LABELS, labelled(*mixture))


def benchmark_problems(wildcards):
    names = [name for b in config["benchmarks"].values() for name in b["sets"]]
    return files(PROBLEMS, [("", name) for name in names])


def templates(wildcards):
    """The user turns of the sets in the mixture."""
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    return canonical({name: config["sets"][name]["template"] for name in mixture})


def dataset_system(wildcards):
    return config["datasets"][wildcards.dataset]["system"]


def system_arguments(wildcards, input):
    """The system text of the rows, or the file that it was fetched into."""
    if input.system:
        return ["--system-file", *input.system]
    return ["--system", dataset_system(wildcards)]


def licenses(wildcards):
    """Licences of the sets in the mixture, as far as the recipe states them."""
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    found = {name: config["sets"][name]["license"] for name in mixture}
    return canonical({name: license for name, license in found.items() if license})


def teachers(wildcards):
    """What answers as the teachers of the mixture: weights, or the model of an API."""
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    names = {teacher_of(wildcards.dataset, name) for name in mixture}
    return canonical({name: RECIPE.answers_as(name) for name in names})


def tokenizer(wildcards):
    """The base of a student of this dataset: its tokens are what lengths count."""
    bases = [
        student["base"]
        for student in config["students"].values()
        if student["dataset"] == wildcards.dataset
    ]
    return weights(bases[0]) if bases else ([], [])


def tokenizer_arguments(wildcards):
    location = tokenizer(wildcards)[1][1:2]
    return ["--tokenizer", *location] if location else []


def meaning(wildcards):
    """How a dataset searches for benchmark problems by meaning, if it does."""
    curation = config["datasets"][wildcards.dataset]["curation"]
    return curation["decontamination"]["meaning"]


def encoder(wildcards):
    chosen = meaning(wildcards)
    return weights(chosen["weights"]) if chosen else ([], [])


def encoder_arguments(wildcards):
    names = {"--weights": "--encoder", "--revision": "--encoder-revision"}
    return [names.get(part, part) for part in encoder(wildcards)[1]]


def encoder_module(wildcards):
    return "retrace.curation.meaning" if meaning(wildcards) else None


# --- Training -------------------------------------------------------------------------


# Students that one node is not enough for.
ON_NODES = [name for name, one in RECIPE.students.items() if one.nodes > 1]


def nodes_of(wildcards):
    return RECIPE.students[wildcards.student].nodes


def base_of(wildcards):
    return weights(config["students"][wildcards.student]["base"])


# --- Scores ---------------------------------------------------------------------------


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
            "engine": engine(wildcards.model),
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


# --- Reports --------------------------------------------------------------------------


# The figures of the page, for Snakemake's own report as well.
FIGURES = {
    "scores": "Scores",
    "pass-rates": "Data",
    "lengths": "Data",
    "loss": "Training",
    "learning_rate": "Training",
}


# The numbers behind them, for `dvc plots`.
TABLES = ("scores", "training")


def report_figures():
    folder = f"reports/{config['recipe']}"
    return [f"{folder}/{name}.svg" for name in FIGURES] + [
        f"{folder}/{name}.csv" for name in TABLES
    ]


# --- Publishing -----------------------------------------------------------------------


def card_base(wildcards):
    """The arguments that say what a student was tuned from."""
    name = config["students"][wildcards.student]["base"]
    on_hub = config["weights"].get(name, {}).get("repo")
    repository = ["--base-repository", on_hub] if on_hub else []
    return ["--base", RECIPE.weights_in_words(name), *repository]


def publishing_target(kind, name):
    """The arguments that say where something goes; without them nothing goes."""
    to = config["publish"][kind].get(name)
    if to is None:
        sys.exit(
            f"publish.{kind} has no {name}: add `{name}: {{repo: owner/name}}` there"
        )
    return ["--repo", to["repo"], *(["--public"] if to["public"] else [])]
