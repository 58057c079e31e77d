"""Running a study: every arm, every seed, nothing twice; tables at the end."""

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from rbkeras.config import FitConfig
from rbkeras.data.labels import BOGUS, REAL
from rbkeras.data.records import require_no_records
from rbkeras.distribution import do_on_dask
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.resume import claim, mark_finished
from rbkeras.statistics import Scores
from rbkeras.studies.grid import MIX, NEED_TRUTH, POLICIES, POLICY_NAMES, Grid, make_grid
from rbkeras.studies.noise_settings import Noise
from rbkeras.studies.page import write_page
from rbkeras.studies.results import (
    arms_markdown,
    differences_markdown,
    summarise_study,
    suspect_intervals,
    suspects_markdown,
)
from rbkeras.studies.schedule import study_pieces, training_name
from rbkeras.studies.trainings import Seed, open_seed, suspect_quality
from rbkeras.validation import LARGEST

#: Files that a study ends with.
_TABLES = ("arms.csv", "differences.csv", "suspects.csv", "results.md", "report.html")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's settings.

    Attributes
    ----------
    name
        One of `rbkeras.studies.grid.STUDIES`.
    config
        What all trainings have in common. Without data, each seed simulates a survey and a test
        set of its own.
    seeds
        Seeds of surveys and trainings.
    networks, errors
        See `rbkeras.studies.grid.make_grid`.
    policies
        See there; None takes `rbkeras.studies.grid.POLICIES`, as far as the truth is known.
    noise
        How label errors are added.
    """

    name: str
    config: FitConfig
    seeds: tuple[int, ...]
    networks: tuple[str, ...]
    errors: tuple[float, ...]
    policies: tuple[str, ...] | None
    noise: Noise

    @property
    def out(self) -> Path:
        """The study's folder."""
        return self.config.out

    @property
    def shared(self) -> bool:
        """Whether all seeds are tested on the same samples."""
        return self.config.test_real is not None

    @cached_property
    def grid(self) -> Grid:
        """Arms and pairs; needs the data, where some are given."""
        if self.config.data is None:
            detectors, known = list(range(1, self.config.simulation.detectors + 1)), True
        else:
            first = self.seed(self.seeds[0])
            detectors = sorted(first.records.samples["detector_id"].unique().tolist())
            known = first.truth is not None
        policies = POLICIES if self.policies is None else self.policies
        if not known:
            unknown = [policy for policy in policies if policy in NEED_TRUTH]
            if unknown and self.policies is not None:
                raise InputError(
                    f"--policies: expected --truth with {', '.join(unknown)}, since the true "
                    f"labels of {self.config.data} are not known, got none"
                )
            policies = tuple(policy for policy in policies if policy not in NEED_TRUTH)
        return make_grid(
            self.name,
            networks=self.networks,
            errors=self.errors,
            detectors=detectors,
            policies=policies,
            auc_beta=self.config.loss.auc_beta,
        )

    @cached_property
    def _seeds(self) -> dict[int, Seed]:
        return {}

    def seed(self, seed: int) -> Seed:
        """Simulate a seed's survey if need be, and name its folder."""
        if seed not in self._seeds:
            self._seeds[seed] = open_seed(self.config, seed, self.noise)
        return self._seeds[seed]


def check_study(study: Study) -> None:
    """See that a study can be run before anything is.

    Raises
    ------
    InputError
        Naming the flag.
    """
    require_no_records(study.config.out)
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise InputError(f"--seeds: expected different seeds, at least one, got {study.seeds}")
    for seed in study.seeds:
        if not 0 <= seed < LARGEST:
            raise InputError(f"--seeds: expected numbers in [0, {LARGEST}), got {seed}")
    if study.config.data is not None and not study.shared:
        raise InputError("--data: expected --test_real and --test_bogus with it, got neither")
    # As the arms name them.
    factors = {f"{factor:g}" for factor in study.errors if 1 <= factor < math.inf}
    if not factors or len(factors) < len(study.errors):
        got = " ".join(f"{factor:.15g}" for factor in study.errors)
        raise InputError(f"--errors: expected different factors of at least 1, got {got or 'none'}")
    if study.policies is not None:
        got = " ".join(study.policies) or "none"
        if len(set(study.policies)) < len(study.policies):
            raise InputError(f"--policies: expected different policies, got {got}")
        if not set(study.policies) - NEED_TRUTH:
            known = ", ".join(POLICY_NAMES)
            raise InputError(f"--policies: expected at least one of {known}, got {got}")
    if study.name == "losses":
        for name in ("lambda_ce", "lambda_auc", "lambda_vat"):
            if not getattr(study.config.loss, name) > 0:
                raise InputError(
                    f"--loss.{name}: expected a weight above 0 in the study losses, which switches "
                    "terms off itself, got 0"
                )
    if not study.networks or len(set(study.networks)) < len(study.networks):
        raise InputError(f"--networks: expected different networks, got {study.networks}")


def check_data(study: Study) -> None:
    """See that the data have what is asked of them, before anything is trained.

    Raises
    ------
    InputError
        When policies need true labels that are not known, or a detector that is to be trained on
        by itself lacks a class.
    """
    # Laying the grid out refuses those policies.
    alone = {part for arm in study.grid.arms for part in arm.parts if part not in (None, MIX)}
    if not alone or study.config.data is None:
        return
    samples = study.seed(study.seeds[0]).records.samples
    for name, label in (("real", REAL), ("bogus", BOGUS)):
        having = samples.loc[samples["label"] == label, "detector_id"]
        lacking = sorted(alone - set(having))
        if lacking:
            raise InputError(
                f"{study.config.data}: expected real and bogus labels of every detector for the "
                f"study treatments, found no {name} of detector {lacking[0]}"
            )


def run_study(study: Study, *, dask: str | None = None) -> None:
    """Train what is not trained yet, here or by workers, and write the tables and the page."""
    check_study(study)
    check_data(study)
    if study.shared:
        from rbkeras.early_checks import check_test_files

        check_test_files(study.config, study.seed(study.seeds[0]).records)
    marker = study.out / "study.json"
    # Seeds and arms may be added to a study; what its trainings have in common may not change.
    settings = {"study": study.name, "noise": asdict(study.noise)} | {
        "config": asdict(replace(study.config, out=Path("."), seed=0, overwrite=False))
    }
    claim(
        marker,
        settings,
        products=[],
        derived=[study.out / name for name in _TABLES],
        overwrite=study.config.overwrite,
    )
    if dask is not None:
        pieces = study_pieces(study.config, study.noise, seeds=study.seeds, arms=study.grid.arms)
        do_on_dask(pieces, dask, title=study.name)
    scores = _train_all(study)
    suspects = _suspects(study)
    arms, differences = summarise_study(scores, study.grid, seeds=study.seeds, shared=study.shared)
    tables = {"arms": arms, "differences": differences, "suspects": suspects}
    for name, table in tables.items():
        with whole_file(study.out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    text = study_markdown(study, arms, differences, suspects)
    with whole_file(study.out / "results.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_page(study.out / "report.html", study.name, _remarks(study), tables)
    mark_finished(marker, settings, seeds=study.seeds)
    print(f"\n{text}\neverything is in {study.out}; open {study.out / 'report.html'}")


def _train_all(study: Study) -> dict[str, list[list[Scores]]]:
    jobs = [
        (seed, arm, part) for seed in study.seeds for arm in study.grid.arms for part in arm.parts
    ]
    scores: dict[str, dict[int | str | None, list[Scores]]] = {}
    with tqdm(jobs, desc=study.name, unit="training") as bar:
        for seed, arm, part in bar:
            bar.set_postfix_str(training_name(seed, arm, part))
            found = study.seed(seed).train(arm, part)
            scores.setdefault(arm.name, {}).setdefault(part, []).append(found)
    return {name: list(parts.values()) for name, parts in scores.items()}


def _suspects(study: Study) -> pd.DataFrame:
    """Tell how well stage 1 did wherever it ran and the truth is known."""
    rows = []
    needed = {arm.errors for arm in study.grid.arms if arm.policy != "keep"}
    for number in study.seeds:
        seed = study.seed(number)
        if seed.truth is None:
            continue
        for errors in sorted(needed):
            rated = seed.rated(errors=errors, part=None)
            wrong = rated["label"].to_numpy() != seed.truth[rated["unique_index"]]
            rows.append(
                {"errors_x": errors, "seed": number}
                | suspect_quality(rated, seed.truth)
                | suspect_intervals(wrong, rated["suspect"] == 1)
            )
    columns = ["errors_x", "seed", "errors", "suspects", "recall", "precision", "f1"]
    columns += [f"{name}_{end}" for name in columns[-3:] for end in ("low", "high")]
    return pd.DataFrame(rows, columns=columns)


def _remarks(study: Study) -> list[str]:
    count = len(study.seeds)
    if study.config.data is not None:
        data = "the same data"
    elif study.shared:
        data = "a survey of its own and the same test set"
    else:
        data = "a survey and a test set of its own"
    plural = "s" if count > 1 else ""
    remarks = [
        f"{count} seed{plural} ({', '.join(map(str, study.seeds))}), each with {data}.",
        "Intervals are of 95%; differences are paired over seeds and test samples, and p-values "
        "are not corrected for the number of comparisons.",
    ]
    if count == 1:
        remarks.append("With one seed the intervals know nothing of the training's chance.")
    return remarks


def study_markdown(
    study: Study, arms: pd.DataFrame, differences: pd.DataFrame, suspects: pd.DataFrame
) -> str:
    """Write the results as a Markdown page."""
    parts = [f"# Study: {study.name}", *_remarks(study), arms_markdown(arms)]
    if len(differences):
        parts.append(differences_markdown(differences))
    if len(suspects):
        parts += ["Label errors found by stage 1:", suspects_markdown(suspects)]
    return "\n\n".join(parts) + "\n"


def plan(study: Study) -> list[str]:
    """Name every training that the study consists of."""
    return [
        training_name(seed, arm, part)
        for seed in study.seeds
        for arm in study.grid.arms
        for part in arm.parts
    ]
