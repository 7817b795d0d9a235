# The audit: a run that succeeded is recorded by DVC, where DVC records this recipe.
import subprocess

from retrace.provenance import after_run


def wanted_artefacts():
    """Every artefact, or those of one stage of dvc.yaml: `--config stage=NAME`."""
    if STAGE is None:
        return every_artefact()
    try:
        return after_run.of_stage(every_artefact(), Path.cwd(), STAGE)
    except after_run.StageError as error:
        sys.exit(str(error))


def config_files():
    """The recipe's config files, as they are given on the command line."""
    return [os.path.relpath(file) for file in workflow.configfiles]


def record_run():
    """Let DVC record this run where it records the recipe; say why where it does not."""
    if not RECORD or STAGE is not None or not workflow.is_main_process:
        return
    reason = after_run.why_not(Path.cwd(), config["recipe"], config_files())
    if reason is None:
        subprocess.run(after_run.command(config_files()))
    elif reason:
        print(reason, file=sys.stderr)
