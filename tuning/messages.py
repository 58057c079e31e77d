"""What a search says on the terminal while it works and when it is done."""

import sys
from shlex import quote
from typing import Any

from tuning.plan import Plan
from tuning.results import best_result, given_result
from tuning.tuners import Limits


def announce(trial: str, values: dict[str, Any], limits: Limits) -> None:
    """Name a trial and its values."""
    shown = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
        if not name.startswith("tuner/")
    )
    print(f"trial {int(trial)} of {limits.max_trials}: {shown}", flush=True)


def report(result: dict[str, Any], results: list[dict[str, Any]], plan: Plan) -> None:
    """Say what a trial reached, and the best so far."""
    title, best = plan.goal.title, best_result(results, plan)
    if result["status"] == "failed":
        text = f"failed: {result['error']}"
    else:
        text = f"{result['status']}, {title} {result['score']:.6g}"
    if best is not None:
        text += f"; best so far {best['score']:.6g} (trial {int(best['trial'])})"
    print(f"trial {int(result['trial'])} {text}; {result['seconds']:.0f} s", flush=True)


def conclude(
    results: list[dict[str, Any]],
    plan: Plan,
    limits: Limits,
    *,
    as_given: dict[str, Any] | None = None,
) -> int:
    """Print what came out, beside the trial of the settings as given; return the exit status."""
    counts = {
        status: sum(result["status"] == status for result in results)
        for status in ("completed", "abandoned", "failed")
    }
    print(f"\n{', '.join(f'{count} {status}' for status, count in counts.items())}")
    failed = [result for result in results if result["status"] == "failed"]
    for result in failed[:5]:
        print(f"trial {int(result['trial'])} failed: {result['error']}")
    if len(failed) > 5:
        print(f"and {len(failed) - 5} more; all errors are in {plan.folder / 'trials.csv'}")
    best = best_result(results, plan)
    if best is None:
        if results:
            why = f"none of {len(results)} trials succeeded; the last one: {results[-1]['error']}"
        else:
            why = "no trial was begun"
        print(f"error: {plan.folder}: {why}", file=sys.stderr)
        return 1
    # With several workers trials do not end in the order of their numbers.
    last = sorted(results, key=lambda result: result["ended"])[-limits.failures :]
    if len(last) == limits.failures and all(r["status"] == "failed" for r in last):
        print(
            f"error: {plan.folder}: given up after {len(last)} failures in a row", file=sys.stderr
        )
        return 1
    print(f"best: trial {int(best['trial'])}, {plan.goal.title} {best['score']:.6g}")
    given = given_result(results, as_given)
    if given is not None:
        print(f"settings as given: trial {int(given['trial'])}, {given['score']:.6g}")
    print(f"everything is in {plan.folder}; open {plan.folder / 'sweep.html'}")
    print(f"python -m rbkeras.fit --config {quote(str(plan.folder / 'best.yaml'))}")
    return 0
