# What a batch system must be told of a job. Elsewhere only memory and GPUs are said.
SITE_FILE = ROOT / "profiles/slurm/site.yaml"
try:
    SITE = site.read_site(SITE_FILE)
except site.SiteError as error:
    sys.exit(str(error))

# A SLURM job ends itself shortly before SLURM would.
if not workflow.is_main_process:
    slurm.tell_end_of_job()
    slurm.tell_processors()
if BATCH and SITE.scratch:
    staging.use(SITE.scratch)

# What every job asked for, for `retrace efficiency`.
ASKED_FILE = Path("logs/asked.jsonl")


def on_cpus(mem_mb, minutes):
    """Resources of a job without GPUs; both grow with each attempt, up to the site's
    limits. MEM_MB may depend on wildcards."""
    return asked(SITE.cpu, lambda wildcards: 0, mem_mb, minutes)


def on_gpus(count, mem_mb, minutes):
    """Resources of a job that may need GPUs, all on one node: COUNT by its wildcards."""
    return asked(SITE.gpu, count, mem_mb, minutes) | {"gpu": count}


def on_nodes(count, mem_mb, minutes):
    """Resources of a job that takes COUNT whole nodes of 8 GPUs. It starts a process on
    each by `srun`, so the plugin must leave its tasks alone (`mpi`)."""
    if not BATCH:
        return {"mem_mb": mem_mb}
    kind = "" if SITE.gpu.type == site.UNTYPED else f"{SITE.gpu.type}:"
    single = asked(SITE.gpu, lambda wildcards: 8, mem_mb, minutes)
    return {key: value for key, value in single.items() if key != "gpu_model"} | {
        "mpi": "srun",
        "nodes": count,
        "tasks": count,
        "slurm_extra": f"--gpus-per-node={kind}8 --ntasks-per-node=1 --exclusive",
    }


def asked(where, count, mem_mb, minutes):
    if not BATCH:
        return {"mem_mb": mem_mb}
    place = lambda wildcards: where if count(wildcards) else SITE.cpu
    least = mem_mb if callable(mem_mb) else lambda wildcards: mem_mb
    time = minutes if callable(minutes) else lambda wildcards: minutes

    def memory(wildcards, attempt):
        share = SITE.gpu.memory_gb_per_gpu * count(wildcards)
        wanted = attempt * max(least(wildcards), 1000 * share)
        return min(wanted, 1000 * place(wildcards).memory_gb)

    def runtime(wildcards, attempt):
        return min(attempt * time(wildcards), place(wildcards).minutes)

    told = {
        "mem_mb": memory,
        "runtime": runtime,
        "slurm_partition": lambda wildcards: partition_of(place(wildcards)),
        "slurm_account": None if SITE.account == site.NONE else SITE.account,
        "cpus_per_task": lambda wildcards, threads: max(
            threads, SITE.gpu.cpus_per_gpu * count(wildcards)
        ),
    }
    if where is SITE.gpu:
        told |= {
            "gpu_model": lambda wildcards: gpu_model(count(wildcards)),
            "nodes": 1,
        }
    return told


def partition_of(place):
    return None if place.partition == site.CHOSEN else place.partition


def gpu_model(count):
    return SITE.gpu.type if count and SITE.gpu.type != site.UNTYPED else None


def packed(kind, *by, gpus=None, unless=None):
    """The group of a rule's jobs: those that agree in the wildcards BY and in whether
    they need GPUs may share a batch job. How many do stands in the profile."""
    if not BATCH:
        return None

    def name(wildcards):
        if unless and unless(wildcards):
            return None
        place = "gpu" if gpus and gpus(wildcards) else "cpu"
        full = "-".join([kind, place, *(wildcards[one] for one in by)])
        workflow.parent_groupids[full] = kind
        return full

    return name


def note_what_is_asked():
    """Remember the requests of the jobs to come, beside what Snakemake will measure."""
    efficiency.note(
        ASKED_FILE,
        [
            efficiency.Asked(
                job.rule.name,
                str(job.benchmark),
                cpus=job.resources.get("cpus_per_task") or job.threads,
                mem_mb=job.resources.get("mem_mb") or 0,
                minutes=job.resources.get("runtime") or 0,
                gpus=job.resources.get("gpu") or 0,
            )
            for job in workflow.dag.needrun_jobs()
            if job.benchmark
        ],
    )


def tell_efficiency():
    if BATCH and workflow.is_main_process:
        retrace_command(["efficiency"])
