"""The labelled terms of the training loss, and the object that carries every weight.

Shapes and conventions, everywhere in this module: `labels` are integers of shape (N,), 0 bogus,
1 real, -1 unlabelled; `logits` are float32 of shape (N, 2), in the order bogus, real. The score
of a stamp is s = z1 - z0. Terms are scalars. Masks are dense, so shapes stay static. Logits are
expected finite: a NaN in an unlabelled row does not reach a term, one in a labelled row does.
"""

from typing import Any

import keras
from keras import ops

from rbkeras.tensors import Tensor

# Beyond this the exponential hinge is flat, which keeps one hopeless pair from ruling the batch.
HINGE_CAP = 6.0


def score(logits: Tensor) -> Tensor:
    """Return z1 - z0, the log-odds of real, shape (N,)."""
    return logits[:, 1] - logits[:, 0]


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Mean softmax cross-entropy over the labelled samples; 0 where there are none."""
    labels = ops.cast(labels, "int32")
    logits = ops.cast(logits, "float32")
    labelled = labels >= 0
    # Cross-entropy of two classes is softplus of minus the signed score; no gather, so label -1
    # never indexes anything.
    signed = ops.where(labels == 1, score(logits), -score(logits))
    per_sample = ops.where(labelled, ops.softplus(-ops.where(labelled, signed, 0.0)), 0.0)
    count = ops.sum(ops.cast(labelled, "float32"))
    return ops.sum(per_sample) / ops.maximum(count, 1.0)


def auc_hinge(labels: Tensor, logits: Tensor, *, margin: float = 0.25, beta: float = 1.0) -> Tensor:
    """Exponential-hinge surrogate of 1 - AUC over the real-bogus pairs of a batch.

    The mean over pairs of exp(min(max(s_bogus - s_real + margin, 0), 6)) - 1; 0 when either
    class is missing. With `beta` < 1 only the ceil(beta n_bogus) highest-scored bogus enter the
    pairs: the partial-AUC form, which looks at the low false positive rates alone.

    Parameters
    ----------
    labels, logits
        As in the module's description.
    margin
        Score distance that a pair has to keep to cost nothing.
    beta
        Fraction of the bogus that counts, in (0, 1].

    References
    ----------
    Takahashi et al. 2022, PASJ 74, 946 (section 3); Narasimhan & Agarwal 2013 (partial AUC).
    """
    labels = ops.cast(labels, "int32")
    scores = score(ops.cast(logits, "float32"))
    is_real = labels == 1
    is_bogus = labels == 0
    if beta < 1.0:
        is_bogus = _highest(scores, is_bogus, beta)
    pair = ops.logical_and(is_real[:, None], is_bogus[None, :])
    gap = ops.where(pair, scores[None, :] - scores[:, None] + margin, 0.0)
    cost = ops.expm1(ops.clip(gap, 0.0, HINGE_CAP))
    pairs = ops.sum(ops.cast(pair, "float32"))
    return ops.sum(ops.where(pair, cost, 0.0)) / ops.maximum(pairs, 1.0)


def _highest(scores: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """Keep the ceil(fraction n) members of `mask` with the highest scores."""
    count = ops.sum(ops.cast(mask, "float32"))
    # float32 turns 0.3 x 50 into slightly more than 15, which ceil would make 16. The correction
    # is a factor, so that a fraction however small keeps one.
    keep = ops.ceil(fraction * (1 - 1e-6) * count)
    descending = ops.argsort(ops.where(mask, -scores, float("inf")))
    rank = ops.argsort(descending)
    return ops.logical_and(mask, ops.cast(rank, "float32") < keep)


VAT_SPACES = ("normalised", "input")


@keras.saving.register_keras_serializable(package="rbkeras")
class RealBogusLoss(keras.losses.Loss):
    """Weights and settings of the three terms: cross-entropy, AUC hinge, VAT.

    Called as a Keras loss it gives the labelled part, lambda_ce CE + lambda_auc AUC. The VAT term
    needs the network itself; `RealBogusClassifier.train_step` adds it with the settings kept
    here, so that they are saved and loaded with the compiled model.

    Parameters
    ----------
    lambda_ce, lambda_auc, lambda_vat
        Weights of the terms, each at least 0. A term of weight 0 is not computed.
    auc_margin, auc_beta
        See `auc_hinge`.
    vat_epsilon, vat_xi, vat_iterations
        Perturbation length, finite-difference length, number of power iterations: see
        `rbkeras.vat`.
    vat_space
        'normalised' perturbs what the normalisation layer puts out, where lengths have a scale;
        'input' perturbs raw pixel values, as the original did.
    vat_share
        Fraction of each batch that VAT looks at, in (0, 1]: unlabelled stamps first, of which it
        is the only teacher, then labelled ones drawn at random.
    """

    def __init__(
        self,
        *,
        lambda_ce: float = 1.0,
        lambda_auc: float = 0.0,
        lambda_vat: float = 0.0,
        auc_margin: float = 0.25,
        auc_beta: float = 1.0,
        vat_epsilon: float = 1.0,
        vat_xi: float = 1.0,
        vat_iterations: int = 1,
        vat_space: str = "normalised",
        vat_share: float = 1.0,
        name: str = "real_bogus_loss",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        weights = {"lambda_ce": lambda_ce, "lambda_auc": lambda_auc, "lambda_vat": lambda_vat}
        for key, value in weights.items():
            if not value >= 0:
                raise ValueError(f"{key}: expected a number of at least 0, got {value}")
        for key, value in {"vat_epsilon": vat_epsilon, "vat_xi": vat_xi}.items():
            if not value > 0:
                raise ValueError(f"{key}: expected a number above 0, got {value}")
        for key, value in {"auc_beta": auc_beta, "vat_share": vat_share}.items():
            if not 0 < value <= 1:
                raise ValueError(f"{key}: expected a number in (0, 1], got {value}")
        if vat_iterations < 1:
            raise ValueError(f"vat_iterations: expected at least 1, got {vat_iterations}")
        if vat_space not in VAT_SPACES:
            raise ValueError(f"vat_space: expected one of {VAT_SPACES}, got {vat_space!r}")
        self.lambda_ce = lambda_ce
        self.lambda_auc = lambda_auc
        self.lambda_vat = lambda_vat
        self.auc_margin = auc_margin
        self.auc_beta = auc_beta
        self.vat_epsilon = vat_epsilon
        self.vat_xi = vat_xi
        self.vat_iterations = vat_iterations
        self.vat_space = vat_space
        self.vat_share = vat_share

    def labelled_terms(self, labels: Tensor, logits: Tensor) -> dict[str, Any]:
        """Return the unweighted labelled terms, `ce` and `auc_hinge`; 0 for weight 0."""
        zero = ops.zeros((), "float32")
        ce = cross_entropy(labels, logits) if self.lambda_ce else zero
        hinge = zero
        if self.lambda_auc:
            hinge = auc_hinge(labels, logits, margin=self.auc_margin, beta=self.auc_beta)
        return {"ce": ce, "auc_hinge": hinge}

    def total(self, *, ce: Tensor, auc_hinge: Tensor, vat: Tensor = 0.0) -> Tensor:
        """Return lambda_ce CE + lambda_auc AUC + lambda_vat VAT."""
        return self.lambda_ce * ce + self.lambda_auc * auc_hinge + self.lambda_vat * vat

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the labelled part of the loss, a scalar."""
        return self.total(**self.labelled_terms(y_true, y_pred))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "lambda_ce": self.lambda_ce,
            "lambda_auc": self.lambda_auc,
            "lambda_vat": self.lambda_vat,
            "auc_margin": self.auc_margin,
            "auc_beta": self.auc_beta,
            "vat_epsilon": self.vat_epsilon,
            "vat_xi": self.vat_xi,
            "vat_iterations": self.vat_iterations,
            "vat_space": self.vat_space,
            "vat_share": self.vat_share,
        }
