"""How well both stages do on simulated surveys whose truth is known.

The study `label-errors` of rbkeras.experiment in the setting that docs/benchmarks.md reports:
stage 1 is judged by recall and precision of its suspects; stage 2, once per policy, by the test
set. `truth` trains on the true labels: what no treatment of label errors can beat. Called again
with the same settings, it goes on where it was interrupted.
"""

import argparse
import sys

from measure import machine

from rbkeras import experiment

EXAMPLES = """\
examples:
  python benchmarks/quality.py --work quality --seeds 2 3
  python benchmarks/quality.py --work long --policies unlabel keep -- --training.epochs 40

After -- come flags of rbkeras.fit, which hold for both stages of every training.
"""


def study_arguments(arguments: argparse.Namespace, flags: list[str]) -> list[str]:
    """Spell the study's command out."""
    survey = ("label_error", "test_real", "test_bogus")
    return [
        *("label-errors", "--out", arguments.work, "--seeds", *map(str, arguments.seeds)),
        *("--policies", *arguments.policies),
        *(f"--simulation.{name}={getattr(arguments, name)}" for name in survey),
        *flags,
    ]


def main() -> int:
    argv = sys.argv[1:]
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --work DIR [options] [-- FIT FLAGS]",
    )
    parser.add_argument("--work", required=True, help="folder of the study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    parser.add_argument(
        "--policies", nargs="+", default=["unlabel", "keep", "remove", "truth"], help="of stage 2"
    )
    parser.add_argument("--label_error", type=float, default=0.05, help="(default: 0.05)")
    parser.add_argument("--test_real", type=int, default=5000, help="(default: 5000)")
    parser.add_argument("--test_bogus", type=int, default=50000, help="(default: 50000)")
    arguments = parser.parse_args(argv[:split])
    print(machine())
    return experiment.main(study_arguments(arguments, argv[split + 1 :]))


if __name__ == "__main__":
    raise SystemExit(main())
