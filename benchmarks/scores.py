"""How well the intervals and verdicts of scores keep their promises, by simulation.

Coverage of the 95 % interval for one sample (Wilson) and for avg@8 (bootstrap over
problems); how often a rerun of the published model is called different, and how often
a true drop of 20 points is found. With --json, prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))

from retrace.scoring import comparison, estimates

# Problems and published score of Sky-T1-32B-Preview.
PUBLISHED = {
    "MATH500": (500, 86.4),
    "AIME2024": (30, 43.3),
    "LiveCodeBench easy": (182, 86.3),
    "LiveCodeBench medium": (206, 56.8),
    "LiveCodeBench hard": (123, 17.9),
    "GPQA-Diamond": (198, 56.8),
}
# Populations of problems, as Beta distributions of the share of right samples: most
# problems decided, an even spread, mostly easy, mostly hard.
POPULATIONS = {
    "decided": (0.6, 0.78),
    "even": (1.5, 1.1),
    "easy": (2.2, 0.35),
    "hard": (0.3, 1.4),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=999)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    estimates.RESAMPLES = args.resamples
    result = {
        "coverage": [
            coverage(name, n, k, args.draws)
            for n in (30, 198, 500)
            for k in (1, 8)
            for name in POPULATIONS
        ],
        "verdicts": [verdicts(name, args.draws) for name in PUBLISHED],
    }
    if args.json:
        print(json.dumps(result))
    else:
        for title, rows in result.items():
            print(title)
            print("  " + "  ".join(rows[0]))
            for row in rows:
                print("  " + "  ".join(str(value) for value in row.values()))
    return 0


def coverage(population: str, n: int, k: int, draws: int) -> dict[str, Any]:
    """How often the interval holds the true mean, in percent."""
    a, b = POPULATIONS[population]
    rng = np.random.default_rng(0)
    truth = a / (a + b)
    covered = 0
    for _ in range(draws):
        correct = [int(c) for c in rng.binomial(k, rng.beta(a, b, n))]
        found = estimates.mean_interval(correct, [k] * n)
        covered += found.low <= truth <= found.high
    return {
        "population": population,
        "problems": n,
        "samples": k,
        "covered": round(100 * covered / draws, 2),
    }


def verdicts(name: str, draws: int) -> dict[str, Any]:
    """Verdicts of one-sample reruns: of the same model, and of one 20 points worse."""
    n, published = PUBLISHED[name]
    found = [_verdict(right, n, published) for right in range(n + 1)]
    rng = np.random.default_rng(0)
    same = [found[right] for right in rng.binomial(n, published / 100, draws)]
    worse_share = max(0.0, published - 20) / 100
    worse = [found[right] for right in rng.binomial(n, worse_share, draws)]
    chance = stats.binom.pmf(np.arange(n + 1), n, published / 100)
    differs = np.array([verdict == "differs" for verdict in found])
    return {
        "benchmark": name,
        "problems": n,
        "published": published,
        "same_differs": round(100 * same.count("differs") / draws, 2),
        "same_differs_exact": round(100 * float(chance[differs].sum()), 2),
        "same_reproduced": round(100 * same.count("reproduced") / draws, 2),
        "drop_found": round(100 * worse.count("differs") / draws, 2),
        "not_different": _range(found, n),
    }


def _verdict(right: int, n: int, published: float) -> str:
    correct = [1] * right + [0] * (n - right)
    entry = comparison.with_published(correct, [1] * n, {"score": published}, {})
    return str(entry["verdict"])


def _range(found: list[str], n: int) -> str:
    """The scores that are not called different."""
    same = [right for right, verdict in enumerate(found) if verdict != "differs"]
    return f"{100 * same[0] / n:.1f} to {100 * same[-1] / n:.1f}"


if __name__ == "__main__":
    sys.exit(main())
