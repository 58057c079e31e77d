"""What each study trains and what it compares: tables, no work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

STUDIES = ("treatments", "label-errors", "label-noise", "losses")

#: How the policies are called in tables.
POLICY_NAMES = {
    "keep": "all labels",
    "remove": "removed",
    "unlabel": "unlabelled",
    "flip": "flipped",
}
TRUTH, ORACLE = "truth", "oracle"
#: What only those can train who know which labels are wrong.
NEED_TRUTH = {TRUTH, ORACLE}
#: What a study of policies compares unless told otherwise; `truth` where it is known.
POLICIES = ("keep", "remove", "unlabel", "flip", TRUTH)
TRUE_LABELS = "true labels"
WRONG_UNLABELLED = "wrong ones unlabelled"
MIX = "mix"
#: Of 'treatments', as published: what is compared is the data, not the method.
PLAIN_LOSS = {"loss.lambda_ce": 1.0, "loss.lambda_auc": 0.0, "loss.lambda_vat": 0.0}
#: Highest-scored fraction of a batch's bogus that the partial AUC is of, unless told otherwise.
PARTIAL_BETA = 0.1


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of a study: a kind of training, done once per seed and part of the data.

    Attributes
    ----------
    name
        Unique in its study.
    policy
        Of stage 2; see `rbkeras.label_errors.apply_policy`.
    settings
        Settings of `FitConfig` that this arm changes, by flag name.
    true_labels
        Train on the true labels, which only a simulation knows.
    oracle
        Unlabel the labels that are wrong, and those alone: a stage 1 without mistakes.
    errors
        Factor on the label errors that are there.
    parts
        What to train on: None for everything, a detector's number for its stamps alone, 'mix' for
        a stratified sample of all detectors as large as one. Several parts are several trainings,
        whose figures are averaged.
    """

    name: str
    policy: str = "unlabel"
    settings: dict[str, Any] = field(default_factory=dict)
    true_labels: bool = False
    oracle: bool = False
    errors: float = 1.0
    parts: tuple[int | str | None, ...] = (None,)


@dataclass(frozen=True)
class Grid:
    """The arms of a study, and the pairs (this, beside that) whose difference is told."""

    arms: tuple[Arm, ...]
    pairs: tuple[tuple[str, str], ...]


def make_grid(
    study: str,
    *,
    networks: Sequence[str],
    errors: Sequence[float],
    detectors: Sequence[int],
    policies: Sequence[str],
    auc_beta: float = 1.0,
) -> Grid:
    """Lay out a study.

    Parameters
    ----------
    study
        One of `STUDIES`.
    networks
        Networks that are trained.
    errors
        Factors on the label errors, for 'label-noise' and 'losses'.
    detectors
        Numbers of the detectors, for 'treatments' alone.
    policies
        What is done about suspects, for 'label-errors' and 'label-noise': keys of `POLICY_NAMES`,
        and beside them 'truth' to train on the true labels and 'oracle' to unlabel the wrong ones.
    auc_beta
        Of the partial AUC, for 'losses'; 1, which is no part, stands for `PARTIAL_BETA`.
    """
    make: dict[str, Callable[[], Grid]] = {
        "treatments": lambda: _treatments(networks, detectors),
        "label-errors": lambda: _policies(networks, [1.0], policies),
        "label-noise": lambda: _policies(networks, errors, policies),
        "losses": lambda: _losses(networks, errors, PARTIAL_BETA if auc_beta == 1 else auc_beta),
    }
    return make[study]()


def _treatments(networks: Sequence[str], detectors: Sequence[int]) -> Grid:
    arms: list[Arm] = []
    pairs: list[tuple[str, str]] = []
    for network in networks:
        settings = PLAIN_LOSS | {"model.network": network}
        parts: dict[str, tuple[int | str | None, ...]]
        parts = {"each": tuple(detectors), "mix": (MIX,), "all": (None,)}
        arms += [
            Arm(name=f"{network}-{name}", policy="keep", settings=settings, parts=part)
            for name, part in parts.items()
        ]
        pairs += [(f"{network}-all", f"{network}-{name}") for name in ("each", "mix")]
        pairs += [(f"{network}-mix", f"{network}-each")]
    return Grid(tuple(arms), tuple(pairs))


def _policies(networks: Sequence[str], errors: Sequence[float], policies: Sequence[str]) -> Grid:
    treated = [policy for policy in policies if policy not in NEED_TRUTH]
    arms: list[Arm] = []
    pairs: list[tuple[str, str]] = []
    for network in networks:
        settings = {"model.network": network}
        for factor in errors:
            prefix = _prefix(network, factor)
            for policy in treated:
                arms.append(
                    Arm(
                        name=f"{prefix}, {POLICY_NAMES[policy]}",
                        policy=policy,
                        settings=settings,
                        errors=factor,
                    )
                )
            unlabelled = f"{prefix}, {POLICY_NAMES['unlabel']}"
            oracle = f"{prefix}, {WRONG_UNLABELLED}"
            if ORACLE in policies:
                # Its suspects are known: what remains is to keep the other labels.
                arms.append(
                    Arm(name=oracle, policy="keep", settings=settings, oracle=True, errors=factor)
                )
            if "unlabel" not in treated:
                continue
            pairs += [
                (unlabelled, f"{prefix}, {POLICY_NAMES[policy]}")
                for policy in treated
                if policy != "unlabel"
            ]
            if ORACLE in policies:
                pairs.append((unlabelled, oracle))
            if TRUTH in policies:
                pairs.append((unlabelled, f"{network}, {TRUE_LABELS}"))
        if TRUTH in policies:
            arms.append(
                Arm(
                    name=f"{network}, {TRUE_LABELS}",
                    policy="keep",
                    settings=settings,
                    true_labels=True,
                )
            )
    return Grid(tuple(arms), tuple(pairs))


def _prefix(network: str, factor: float) -> str:
    """Begin an arm's name, which must not depend on what other factors a study has now."""
    return network if factor == 1 else f"{network}, errors x {factor:g}"


def _losses(networks: Sequence[str], errors: Sequence[float], auc_beta: float) -> Grid:
    no_auc, no_vat = {"loss.lambda_auc": 0.0}, {"loss.lambda_vat": 0.0}
    # A weight that a variant does not switch off keeps the value of the study's own settings; what
    # tells variants apart does not.
    auc, vat = {"loss.auc_beta": 1.0}, {"loss.vat_space": "normalised"}
    variants: dict[str, dict[str, Any]] = {
        "CE": no_auc | no_vat,
        "CE + AUC": auc | no_vat,
        "CE + partial AUC": {"loss.auc_beta": auc_beta} | no_vat,
        "CE + VAT": no_auc | vat,
        "CE + AUC + VAT": auc | vat,
        "CE + VAT on raw pixels": no_auc | {"loss.vat_space": "input"},
    }
    arms: list[Arm] = []
    pairs: list[tuple[str, str]] = []
    for network, factor in product(networks, errors):
        prefix = _prefix(network, factor)
        arms += [
            Arm(
                name=f"{prefix}, {name}",
                settings=settings | {"model.network": network},
                errors=factor,
            )
            for name, settings in variants.items()
        ]
        pairs += [(f"{prefix}, {name}", f"{prefix}, CE") for name in variants if name != "CE"]
    return Grid(tuple(arms), tuple(pairs))
