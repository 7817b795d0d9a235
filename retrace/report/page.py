"""The page: what goes into the template, and the template rendered."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retrace.report import ablation, costs, curation, figures, summary
from retrace.report.browser import browse
from retrace.report.inputs import Inputs
from retrace.report.text import script_json, visible
from retrace.rows import Reason
from retrace.scoring import comparison, table
from retrace.scoring.verdicts import DIFFERS, MARGIN, REPRODUCED, UNDECIDED

Json = dict[str, Any]
REASONS = [reason.value for reason in Reason]


def build(inputs: Inputs) -> str:
    """The whole report as the text of one HTML file, the same for the same inputs."""
    counted = summary.summarise(inputs)
    script = _asset("report.js")
    katex_script = _asset("katex/katex.min.js")
    template = _environment().get_template("report.html.j2")
    stages = costs.by_stage(inputs)
    pairs = compare_all(inputs)
    groups = score_groups(inputs)
    return template.render(
        recipe=inputs.recipe,
        description=inputs.description,
        policy=_policy([script, katex_script]),
        css=Markup(_asset("report.css") + katex_css()),
        katex_script=Markup(katex_script),
        script=Markup(script),
        rows_json=Markup(script_json(browse(inputs, counted))),
        headline=headline(inputs),
        glances=glances(inputs, groups, pairs),
        facts=facts(inputs, counted, stages),
        groups=groups,
        compared=any(
            group.elsewhere or any(score["published"] for score in group.scores)
            for group in groups
        ),
        margin=f"{MARGIN:g}",
        incomplete=any(not score["complete"] for score in inputs.scores),
        pairs=pairs,
        ablation=ablation.table(inputs),
        funnel=summary.funnel(counted, inputs),
        reasons=reason_rows(inputs, counted),
        pass_drawing=pass_rates(inputs, counted),
        length_drawing=figures.lengths(summary.lengths(counted)),
        training_drawings=figures.training(inputs.metrics),
        curations=curation.tables(inputs),
        speed=costs.training_speed(inputs),
        manifests={
            name: _brief(manifest) for name, manifest in inputs.manifests.items()
        },
        stages=stages,
        all_stages=costs.total(stages),
        priced=costs.priced(inputs),
        unknown_apis=costs.unknown_apis(inputs),
        paid=paid(inputs),
        engines=engines(inputs),
        provenance=provenance(inputs),
        config=shown_config(inputs),
        confidential=sorted(inputs.confidential),
    )


@dataclass(frozen=True)
class ScoreGroup:
    """A benchmark with the scores of its models, and what others published for it.

    `skipped` is the reason why it was not run, if it was not.
    """

    name: str
    description: str
    scores: list[Json]
    elsewhere: dict[str, list[Json]]
    skipped: str = ""


def score_groups(inputs: Inputs) -> list[ScoreGroup]:
    """Scores by benchmark, students last, and published numbers of other models."""
    groups = []
    for name in benchmarks(inputs):
        about = inputs.section("benchmarks").get(name) or {}
        scores = _ordered(inputs, name)
        ours = {score["model"] for score in scores}
        groups.append(
            ScoreGroup(
                name=name,
                description=about.get("description", ""),
                scores=[dict(score) for score in scores],
                elsewhere=_elsewhere(inputs, name, ours),
            )
        )
    skipped = inputs.section("skipped").items()
    return groups + [ScoreGroup(name, "", [], {}, reason) for name, reason in skipped]


def _elsewhere(inputs: Inputs, benchmark: str, ours: set[str]) -> dict[str, list[Json]]:
    """Published numbers of models that have no score here, by model."""
    found: dict[str, list[Json]] = defaultdict(list)
    for entry in inputs.config.get("published") or []:
        if entry["benchmark"] == benchmark and entry["model"] not in ours:
            found[entry["model"]].append(entry)
    return dict(found)


def benchmarks(inputs: Inputs) -> list[str]:
    """Names of the benchmarks that have scores, in the recipe's order."""
    order = list(inputs.section("benchmarks"))
    return sorted(
        {score["benchmark"] for score in inputs.scores},
        key=lambda name: (order.index(name) if name in order else len(order), name),
    )


def compare_all(inputs: Inputs) -> list[Json]:
    """Every pair of models on every benchmark, with p values corrected by Holm.

    Where a student was scored, only pairs with a student count: they are what the
    recipe is about, and every further comparison makes each one harder to decide. The
    verdicts are those after Holm's correction for all of them.
    """
    students = set(inputs.students())
    pairs: list[Json] = []
    for order, name in enumerate(benchmarks(inputs)):
        scores = [score for score in _ordered(inputs, name) if score["samples_judged"]]
        trained = any(score["model"] in students for score in scores)
        for index, second in enumerate(scores):
            for first in scores[:index]:
                if trained and second["model"] not in students:
                    continue
                if not comparison.comparable(first, second):
                    continue
                pair = comparison.between_models(first, second)
                pairs.append({"order": order, **pair})
    return comparison.corrected(pairs)


def headline(inputs: Inputs) -> list[str]:
    """The result against published numbers in a sentence, and what is missing."""
    lines = []
    verdicts = Counter(
        score["verdict"] for score in inputs.scores if score["published"]
    )
    if verdicts:
        parts = [
            f"{verdicts[verdict]} {verdict}"
            for verdict in (REPRODUCED, UNDECIDED, DIFFERS)
            if verdicts[verdict]
        ]
        scores = "score" if verdicts.total() == 1 else "scores"
        lines.append(
            f"Of {verdicts.total()} {scores} with a published number:"
            f" {', '.join(parts)}."
        )
    elif inputs.scores:
        lines.append("No number was published for these scores to compare with.")
    incomplete = sum(not score["complete"] for score in inputs.scores)
    if incomplete:
        lines.append(
            f"{incomplete} of {len(inputs.scores)} scores are incomplete: samples are"
            " missing."
        )
    return lines


@dataclass(frozen=True)
class Glance:
    """A comparison over all benchmarks.

    sides: what is compared; rows: benchmark, a number of each, difference, verdict.
    """

    title: str
    summary: str
    sides: tuple[str, str]
    rows: list[tuple[str, str, str, str, str]]


def glances(
    inputs: Inputs, groups: Sequence[ScoreGroup], pairs: Sequence[Json]
) -> list[Glance]:
    """The result at a glance: students against what was published, and other models."""
    students = set(inputs.students())
    cards = []
    for model in dict.fromkeys(s["model"] for g in groups for s in g.scores):
        if not students or model in students:
            cards.append(_against_published(model, groups))
    between: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for pair in pairs:
        if pair["second"] in students and pair["first"] not in students:
            between[pair["second"], pair["first"]].append(pair)
    for (second, first), found in between.items():
        rows = [
            (
                pair["benchmark"],
                table.number(pair["second_score"]),
                table.number(pair["first_score"]),
                _points(pair["difference"], bool(pair["protocol_differences"])),
                pair["verdict"],
            )
            for pair in found
        ]
        title = f"{second} against {first}"
        cards.append(Glance(title, _tally(rows), (second, first), rows))
    return [card for card in cards if card.rows]


def _against_published(model: str, groups: Sequence[ScoreGroup]) -> Glance:
    rows = []
    for group in groups:
        for score in group.scores:
            if score["model"] == model and score["published"]:
                first = score["published"][0]
                rows.append(
                    (
                        group.name,
                        table.number(score["accuracy"]),
                        table.number(first["score"]),
                        _points(first["difference"], table.unlike(score)),
                        score["verdict"],
                    )
                )
    title = f"{model} against the published numbers"
    return Glance(title, _tally(rows), ("here", "published"), rows)


def _points(difference: float, unlike: bool) -> str:
    return f"{difference:+.1f}{table.CAVEAT if unlike else ''}"


def _tally(rows: Sequence[tuple[str, str, str, str, str]]) -> str:
    """`higher on 3 of 5 benchmarks, not distinguishable on 2`."""
    counts = Counter(verdict for *_, verdict in rows)
    order = [verdict for verdict in counts if verdict != UNDECIDED]
    order += [UNDECIDED] if counts[UNDECIDED] else []
    parts = [f"{verdict} on {counts[verdict]}" for verdict in order]
    if parts:
        noun = "benchmark" if len(rows) == 1 else "benchmarks"
        parts[0] += f" of {len(rows)} {noun}"
    return ", ".join(parts)


def facts(
    inputs: Inputs, counted: summary.Summary, stages: Sequence[costs.StageCost]
) -> list[tuple[str, str, str]]:
    """Label, value and note of the figures at the top."""
    whole = costs.total(stages)
    kept = {f.row for fates in counted.fates.values() for f in fates if f.row}
    found = [
        ("Problems", f"{sum(counted.problem_counts.values()):,}", "in all sets"),
        ("Traces", f"{len(counted.traces):,}", "of all models"),
        ("Training rows", f"{len(kept):,}", _kept_how(inputs)),
        (
            "Job time",
            duration(whole.seconds) if stages else "not measured",
            f"the sum over {whole.jobs:,} jobs" if stages else "no timings given",
        ),
    ]
    if costs.priced(inputs) and stages:
        parts = f"${whole.gpu_dollars:,.2f} GPUs, ${whole.api_dollars:,.2f} APIs"
        if costs.unknown_apis(inputs):
            parts = f"without {', '.join(costs.unknown_apis(inputs))}: no journal here"
        return [*found, ("Cost", f"${whole.dollars:,.2f}", parts)]
    return [*found, ("Cost", "not priced", "the recipe has no prices")]


def _kept_how(inputs: Inputs) -> str:
    """What training rows have passed: of all datasets, or only of some."""
    verified = {
        (dataset.get("curation") or {}).get("verify", True)
        for dataset in inputs.section("datasets").values()
    }
    how = "verified and kept"
    if False in verified:
        how = "kept, some not verified" if True in verified else "kept, not verified"
    several = len(inputs.section("datasets")) > 1
    return f"distinct ones of all datasets; {how}" if several else how


def reason_rows(inputs: Inputs, counted: summary.Summary) -> list[Json]:
    """The reasons of each model and set, as shares of its traces."""
    result = []
    names = [*inputs.section("sets"), *sorted(counted.problem_counts)]
    found = summary.reasons(counted)
    for model, set_name in sorted(found, key=lambda pair: (names.index(pair[1]), pair)):
        counts = found[model, set_name]
        total = counts.total()
        parts = [
            {"reason": reason, "count": count, "share": 100 * count / total}
            for reason, count in sorted(counts.items(), key=_reason_order)
        ]
        result.append({"model": model, "set": set_name, "total": total, "parts": parts})
    return result


def pass_rates(inputs: Inputs, counted: summary.Summary) -> figures.Drawing | None:
    """Of what teachers were asked more than once, or else any model; six at most."""
    teachers = {d["teacher"] for d in inputs.section("datasets").values()}
    rates = {
        key: values
        for key, values in summary.pass_rates(counted).items()
        if any(0 < value < 1 for value in values)
    }
    taught = {key: values for key, values in rates.items() if key[0] in teachers}
    shown = list((taught or rates).items())[:6]
    models = {model for (model, _), _ in shown}
    return figures.pass_rates(
        {
            set_name if len(models) == 1 else f"{model}, {set_name}": values
            for (model, set_name), values in shown
        },
        f"Problems as {next(iter(models))} answers them. " if len(models) == 1 else "",
    )


def paid(inputs: Inputs) -> list[Json]:
    """What others paid for the same stage, from the recipe's prices."""
    return list(inputs.section("prices").get("published") or [])


def provenance(inputs: Inputs) -> list[tuple[str, str]]:
    """Where everything came from, as label and value."""
    canonical = json.dumps(inputs.config, sort_keys=True, separators=(",", ":"))
    lines = [
        ("Commit", _commit(inputs.commit)),
        ("Recipe", f"sha256 {hashlib.sha256(canonical.encode()).hexdigest()}"),
        ("Environment", str(inputs.config.get("environment", "not given"))),
    ]
    for dataset, path in sorted(inputs.train.items()):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append((f"Training rows of {dataset}", f"sha256 {digest}"))
    return lines


def _commit(described: str) -> str:
    """A commit as `git describe --dirty` gives it, in words."""
    if described.endswith("-dirty"):
        commit = described.removesuffix("-dirty")
        return f"{commit}, with changes that were not committed"
    return described or "not given"


def engines(inputs: Inputs) -> list[Json]:
    """What answered: every contract once, with the models and shards it served."""
    found: dict[str, Json] = {}
    for engine in inputs.engines:
        for contract in engine.get("contracts") or [engine]:
            about = {k: v for k, v in contract.items() if k not in ("answers", "file")}
            key = json.dumps(about, sort_keys=True)
            entry = found.setdefault(key, {"contract": about, "models": {}, "count": 0})
            entry["models"][str(engine.get("model", "a model"))] = None
            entry["count"] += 1
    return [
        {
            "title": ", ".join(entry["models"]),
            "shards": f"{entry['count']} shards",
            "contract": entry["contract"],
        }
        for entry in found.values()
    ]


def shown_config(inputs: Inputs) -> str:
    """The resolved recipe as YAML, without the examples of confidential sets."""
    config = json.loads(json.dumps(dict(inputs.config)))
    for name in inputs.confidential:
        section = (config.get("sets") or {}).get(name)
        if section and section.get("shots"):
            section["shots"] = ["not shown: the set is confidential"]
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=88)
    return text


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 5 min 20 s, 19 h 3 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


# --- Assets ---------------------------------------------------------------------------


@cache
def katex_css() -> str:
    """KaTeX's style sheet with its fonts inside."""

    def embed(match: re.Match[str]) -> str:
        font = _files().joinpath("katex", "fonts", match.group(1)).read_bytes()
        text = base64.b64encode(font).decode()
        return f'src:url(data:font/woff2;base64,{text}) format("woff2")'

    pattern = r"src:url\(fonts/([\w-]+\.woff2)\) format\(\"woff2\"\)[^}]*"
    return re.sub(pattern, embed, _asset("katex/katex.min.css"))


def _asset(name: str) -> str:
    return str(_files().joinpath(*name.split("/")).read_text("utf-8"))


def _files() -> Any:
    return resources.files("retrace.report").joinpath("assets")


def _policy(scripts: Sequence[str]) -> str:
    """A content security policy: our scripts by their hash, and nothing else."""
    hashes = " ".join(
        "'sha256-"
        + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        + "'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline';"
        " font-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("retrace.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    environment.filters |= {
        "number": table.number,
        "duration": duration,
        "slug": _slug,
        "published": table.published,
        "samples": table.sample_count,
        "p_value": lambda p: "< 0.0001" if p < 0.0001 else f"{p:.2g}",
        "value": _value,
        "count": lambda number: f"{number:,}" if number else "–",
        "dollars": lambda amount: f"${amount:,.2f}" if amount else "–",
        "words": lambda text: str(text).replace("_", " "),
    }
    return environment


def _safe(value: Any) -> Any:
    """Every text that reaches the page shows its control characters."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value


def _value(value: Any) -> str:
    """A single value as a reader expects it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


# --- Parts ----------------------------------------------------------------------------


def _ordered(inputs: Inputs, benchmark: str) -> list[Mapping[str, Any]]:
    students = set(inputs.students())
    models = list(inputs.section("models"))

    def key(score: Mapping[str, Any]) -> tuple[bool, int, str]:
        name = score["model"]
        place = models.index(name) if name in models else len(models)
        return name in students, place, name

    return sorted((s for s in inputs.scores if s["benchmark"] == benchmark), key=key)


def _reason_order(entry: tuple[str, int]) -> int:
    """The same order in every bar, so that bars can be compared."""
    return REASONS.index(entry[0])


def _brief(manifest: Mapping[str, Any]) -> Json:
    """A manifest with long lists as their length."""
    return {
        key: f"{len(value)} entries" if isinstance(value, list) else value
        for key, value in manifest.items()
    }
