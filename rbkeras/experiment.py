"""`python -m rbkeras.experiment`: the published comparisons, over several seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from rbkeras.cli import continues, load_tensorflow, run_command
from rbkeras.config import FitConfig, NetworkName, lookup
from rbkeras.distribution import check_dask
from rbkeras.errors import InputError
from rbkeras.options import add_dask_flag, checked, make_parser, parse_config, with_settings
from rbkeras.presets import PRESETS
from rbkeras.studies.grid import PLAIN_LOSS, POLICIES, STUDIES

if TYPE_CHECKING:
    from rbkeras.studies.runner import Study

_DESCRIPTION = """\
Train the networks of a study, several seeds each, and compare them.

  treatments    one classifier per detector, a mix as large as one detector, all detectors
  label-errors  all labels, suspects removed, unlabelled, flipped; true labels where known
  label-noise   the same with label errors multiplied
  losses        cross-entropy, AUC hinge, partial AUC, VAT, and their sums

Without --data every seed simulates a survey and a test set of its own.
"""
_EXAMPLES = """\
examples:
  python -m rbkeras.experiment label-errors --out STUDY --seeds 0 1 2 --networks simple compact
  python -m rbkeras.experiment label-noise --out STUDY --errors 1 2 3 4 --noise score
  python -m rbkeras.experiment label-noise --out STUDY --noise score --data RECORDS \\
      --test_real real.npy --test_bogus bogus.npy --noise_reviewed verdicts.csv
  python -m rbkeras.experiment label-errors --out STUDY --data RECORDS --truth SIM/truth.csv \\
      --test_real SIM/test/real.npy --test_bogus SIM/test/bogus.npy
  python -m rbkeras.experiment label-errors --out STUDY --dask local:4
  python -m rbkeras.experiment losses --out STUDY --errors 4 --simulation.test_bogus 20000
  python -m rbkeras.experiment treatments --out STUDY --data RECORDS \\
      --test_real real.npy --test_bogus bogus.npy --networks simple --optimizer.name adadelta

All flags of fit hold for every training, but those that the study decides, such as --seed and
--policy, which are not listed here. What tells the trainings of a study apart is no flag of it:
losses takes no --loss.vat_space, treatments no --loss.lambda_auc. A --loss.auc_beta below 1 is that
of the partial AUC in losses. Without --data a survey is simulated for every seed. Called
again with the same settings, it goes on where it was interrupted; more seeds, networks or factors
may be added later. --plan names the trainings.
"""
# Studies that take factors on the label errors, and those they take by default.
_ERRORS = {"label-noise": [1.0, 2.0, 3.0, 4.0], "losses": [1.0]}
_WITH_POLICIES = ("label-errors", "label-noise")
# Settings that the study decides, and why nobody else does.
_OF_EACH_TRAINING = {
    "label_errors.table": "a study does its own stage 1",
    "seed": "--seeds names those of the trainings",
    "policy": "--policies names those of the trainings",
    "policy_threshold": "no policy of a study has one",
    "verdicts": "a study compares what is done without them",
    "training.start_from": "the networks of a study begin untrained",
    "label_errors.start_from": "the networks of a study begin untrained",
    "hold_out": "--test_real and --test_bogus name the test set of --data",
}
# What single studies decide beside those.
_OF_STUDY = {
    "treatments": dict.fromkeys(PLAIN_LOSS, "what is compared are data, on cross-entropy alone"),
    "losses": {"loss.vat_space": "the study has one of either kind"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    config, parsed = parse_config(_parser(), argv, preset_without_data="default")

    def work() -> None:
        checked(config)
        check_dask(parsed.dask)
        load_tensorflow()
        from rbkeras.studies.noise_settings import check_noise
        from rbkeras.studies.runner import check_study, plan, run_study

        study = _study(config, parsed)
        check_study(study)
        check_noise(study.noise, config, study.errors)
        if parsed.plan:
            print("\n".join(plan(study)))
        else:
            run_study(study, dask=parsed.dask)

    return run_command(work, interrupted=continues(overwrite=config.overwrite))


def _parser() -> ArgumentParser:
    parser = make_parser(
        prog="rbkeras experiment",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        unlisted=_OF_EACH_TRAINING,
    )
    parser.add_argument("study", choices=STUDIES, help="which comparison")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    parser.add_argument(
        "--networks",
        type=NetworkName,
        nargs="+",
        default=None,
        help="networks to train; by default that of --model.network",
    )
    parser.add_argument(
        "--policies",
        type=Literal["keep", "remove", "unlabel", "flip", "truth", "oracle"],
        nargs="+",
        default=None,
        help="label-errors and label-noise: what is done about suspects; by default "
        f"{' '.join(POLICIES)}, the last where it is known",
    )
    parser.add_argument(
        "--errors",
        type=float,
        nargs="+",
        default=None,
        help="label-noise and losses: factors on the label errors; by default 1 2 3 4, in losses 1",
    )
    parser.add_argument(
        "--noise",
        type=Literal["uniform", "score"],
        default="uniform",
        help="added errors: flip any label, or by bins of out-of-fold probability",
    )
    parser.add_argument(
        "--noise_rate",
        type=float | None,
        default=None,
        help="added errors: fraction of wrong labels in --data; null takes it from the truth",
    )
    parser.add_argument(
        "--noise_table",
        type=Path | None,
        default=None,
        help="added errors: CSV of r1, r2, probability; null estimates it from the truth",
    )
    parser.add_argument(
        "--noise_reviewed",
        type=Path | None,
        default=None,
        help="added errors: CSV of verdicts on a sample of --data, to estimate rate and bins from",
    )
    parser.add_argument(
        "--truth",
        type=Path | None,
        default=None,
        help="CSV of detector_id, sample_index, true_label of --data, such as rbkeras.simulate "
        "leaves; null looks for survey/truth.csv beside --data",
    )
    add_dask_flag(parser, "surveys, folds and trainings")
    parser.add_argument("--plan", action="store_true", help="name the trainings and stop")
    return parser


def _study(config: FitConfig, parsed: Namespace) -> "Study":
    """Make a study of the settings and of the command's own flags."""
    from rbkeras.studies.noise_settings import Noise
    from rbkeras.studies.runner import Study

    noise = Noise(
        kind=parsed.noise,
        rate=parsed.noise_rate,
        table=parsed.noise_table,
        reviewed=parsed.noise_reviewed,
        truth=parsed.truth,
    )
    _refuse_flags_of_others(parsed, noisy=noise != Noise(truth=noise.truth))
    return Study(
        name=parsed.study,
        config=_of_all(config, parsed.study),
        seeds=tuple(parsed.seeds),
        networks=tuple(parsed.networks or [config.model.network]),
        errors=tuple(parsed.errors or _ERRORS.get(parsed.study, [1.0])),
        policies=None if parsed.policies is None else tuple(parsed.policies),
        noise=noise,
    )


def _refuse_flags_of_others(parsed: Namespace, *, noisy: bool) -> None:
    """Refuse flags that this study has no use for; `noisy` where one of added errors is given."""
    with_errors = " or ".join(_ERRORS)
    if parsed.errors is not None and parsed.study not in _ERRORS:
        raise InputError(f"--errors: expected the study {with_errors} with it")
    if noisy and parsed.study not in _ERRORS:
        raise InputError(
            f"--noise and what belongs to it: expected the study {with_errors} with "
            f"it, got {parsed.study}, which adds no label errors"
        )
    if noisy and max(parsed.errors or _ERRORS[parsed.study]) == 1:
        raise InputError(
            "--noise and what belongs to it: expected --errors above 1 with it, since label "
            "errors are added by these factors, got 1"
        )
    if parsed.policies is not None and parsed.study not in _WITH_POLICIES:
        raise InputError(f"--policies: expected the study {' or '.join(_WITH_POLICIES)} with it")


def _of_all(config: FitConfig, study: str) -> FitConfig:
    """Refuse what every training has of its own."""
    unsaid = with_settings(FitConfig(), PRESETS[config.preset or "default"])
    for flag, reason in (_OF_EACH_TRAINING | _OF_STUDY.get(study, {})).items():
        value = lookup(config, flag)
        if value not in (lookup(unsaid, flag), PLAIN_LOSS.get(flag)):
            raise InputError(f"--{flag}: expected none, since {reason}, got {value}")
    return config


if __name__ == "__main__":
    raise SystemExit(main())
