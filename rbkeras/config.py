"""Settings of a run: frozen dataclasses that become flags, a YAML file and `--help`.

Commands, orchestration, studies and tuning know these classes; the rooms above them in
docs/architecture.md take plain keyword arguments.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: Networks by name, the default first.
NetworkName = Literal["compact", "simple", "middle", "residual", "complex"]
Policy = Literal["unlabel", "remove", "keep", "flip", "threshold"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    network
        compact is small and the default; simple and complex are the original's.
    normalisation
        What happens to the pixel values inside the network; null takes the network's own.
    width
        Factor on the channels of every layer; null, here and below, takes the network's own value.
    depth
        Number of repeated layers or blocks.
    kernel
        Size of the first convolution.
    stride
        Stride of the first convolution.
    padding
        Padding of the convolutions ahead of the residual part.
    excitation
        Squeeze-and-excitation in the residual blocks of residual and complex.
    dropout
        Dropout rate before the head.
    """

    network: NetworkName = "compact"
    normalisation: (
        Literal[
            "minmax",
            "zscore_asinh",
            "clipped_zscore",
            "asinh_minmax",
            "minmax_and_asinh",
            "noise_asinh",
        ]
        | None
    ) = None
    width: float | None = None
    depth: int | None = None
    kernel: int | None = None
    stride: int | None = None
    padding: Literal["same", "valid"] | None = None
    excitation: bool | None = None
    dropout: float | None = None


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss of stage 2.

    Parameters
    ----------
    lambda_ce
        Weight of the cross-entropy.
    lambda_auc
        Weight of the AUC hinge.
    lambda_vat
        Weight of virtual adversarial training.
    auc_margin
        Margin of the AUC hinge: log-odds by which a real has to score above a bogus.
    auc_beta
        Fraction of the bogus, from the highest score down, that the AUC hinge looks at.
    vat_epsilon
        Length of the adversarial perturbation of a stamp, in units of its pixels: of the normalised
        ones, or of raw counts with vat_space input.
    vat_xi
        Length of the finite difference that finds its direction.
    vat_iterations
        Number of power iterations.
    vat_space
        Perturb the normalised stamp, or the raw pixels (input) as the original did.
    vat_share
        Fraction of each batch that VAT looks at, unlabelled stamps first.
    """

    lambda_ce: float = 1.0
    lambda_auc: float = 0.1
    lambda_vat: float = 1.0
    auc_margin: float = 0.25
    auc_beta: float = 1.0
    vat_epsilon: float = 0.3
    vat_xi: float = 1.0
    vat_iterations: int = 1
    vat_space: Literal["normalised", "input"] = "normalised"
    vat_share: float = 0.25


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer, of both stages.

    Parameters
    ----------
    name
        Optimization algorithm.
    learning_rate
        Peak learning rate.
    schedule
        cosine rises linearly during the warm-up and falls to 0 over all epochs.
    warmup
        Fraction of all steps that the warm-up takes.
    weight_decay
        Decoupled weight decay (adamw alone).
    momentum
        Momentum (sgd alone).
    clip_value
        Clip each gradient element to this; null does not.
    clip_norm
        Clip the norm of the whole gradient to this; null does not.
    """

    name: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.01
    momentum: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How stage 2, and each fold of stage 1, goes through the data.

    Parameters
    ----------
    epochs
        Epochs of stage 2, or as many more as min_steps take.
    min_steps
        Optimizer steps that stage 2 takes at least: small surveys get more epochs.
    batch_size
        Stamps in a batch.
    keep
        Weights that stage 2 ends with: the last, as suits a schedule that falls to 0, or those
        of the lowest validation loss (best), as suits a constant learning rate.
    patience
        With best: epochs without a better validation loss after which stage 2 stops; null goes
        on to the end.
    validation_fraction
        Part of the data that stage 2 holds out to watch itself.
    augment
        Rotate by 90 degrees and flip at random.
    shift
        With augment, also move stamps by up to so many pixels.
    labelled_share
        Fraction of each batch of stage 2 that has labels where fewer of its stamps have: those with
        a label then come more often than those without. 0 takes all as they come.
    minority_share
        Fraction of the labelled stamps of each batch that are of the rarer class where fewer of all
        are, up to 0.5: they then come more often than the others. 0 takes all as they come, and so
        does a class of more stamps than shuffle_buffer.
    shuffle_buffer
        Stamps among which the next one is drawn.
    cache
        none streams the records anew every epoch; memory and disk keep the parsed stamps.
    precision
        Arithmetic of the network.
    jit_compile
        Compile the training step with XLA.
    devices
        GPUs of this machine, or logical CPUs, that share each batch: a number, or all; null takes
        one.
    start_from
        A run directory or its model.keras whose weights stage 2 begins with, of the same network.
        It must not have been trained on the test stamps; null begins with random ones.
    """

    epochs: int = 30
    min_steps: int = 1500
    batch_size: int = 64
    keep: Literal["last", "best"] = "last"
    patience: int | None = None
    validation_fraction: float = 0.1
    augment: bool = True
    shift: int = 1
    labelled_share: float = 0.5
    minority_share: float = 0.25
    shuffle_buffer: int = 8192
    cache: Literal["none", "memory", "disk"] = "none"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    devices: int | Literal["all"] | None = None
    start_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class LabelErrorConfig:
    """Stage 1: cross-validation that finds label errors.

    Parameters
    ----------
    folds
        Number of folds.
    repeats
        Number of cross-validations, each with other folds and seeds, whose predictions are
        averaged; raised later, only the new ones are trained.
    epochs
        Epochs of each fold, or as many more as min_steps take, without early stopping: nothing is
        tuned on the held-out fold.
    min_steps
        Optimizer steps that a fold takes at least: small surveys get more epochs.
    network
        Network of the folds; null takes that of stage 2.
    rule
        posterior suspects labels whose probability of being wrong, given the rate of errors that
        the predictions show, exceeds the threshold; confident those where the prediction is
        confident of the other class; prune as many as the predictions say there are; argmax every
        label that the prediction contradicts, as the original did.
    threshold
        For the rule posterior: probability of a label's being wrong, 0 to 1, from which it is
        suspect (error_probability in label_errors.csv).
    certainty
        For the rule posterior: probability of the other class that a suspect has at least.
    group
        Column of the records (objectId, object_id, night) whose samples have to share a fold, and a
        side of stage 2's validation split; null has none.
    table
        The label_errors.csv of an earlier stage 1 on the same records, used instead of a new one.
    gallery
        Number of stamps in label_errors.html, the most suspicious ones; 0 writes none.
    start_from
        A run directory or its model.keras whose weights every fold begins with. It must not have
        been trained on these samples, whose wrong labels it would repeat; null begins with random
        ones.
    """

    folds: int = 5
    repeats: int = 1
    epochs: int = 20
    min_steps: int = 750
    network: NetworkName | None = None
    rule: Literal["posterior", "confident", "prune", "argmax"] = "posterior"
    threshold: float = 0.2
    certainty: float = 0.67
    group: str | None = None
    table: Path | None = None
    gallery: int = 300
    start_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """What is made of a score, measured on the validation part of stage 2.

    Parameters
    ----------
    calibration
        How scores become probabilities: one temperature, isotonic regression, or none.
    true_positive_rate
        Fraction of reals that the threshold of predict lets pass.
    prevalence
        Fraction of reals among the detections to come, to which probabilities shall refer; null
        leaves that of the training set.
    second_look
        Stamps above the score that this fraction of reals reaches are scored in every orientation
        too, and the mean counts. 0 scores every stamp once, as does a network trained without
        augment.
    """

    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    true_positive_rate: float = 0.9
    prevalence: float | None = None
    second_look: float = 0.98


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """The survey that is simulated where no data are given.

    Parameters
    ----------
    detectors
        Number of detectors.
    per_detector
        Stamps of each.
    label_error
        Fraction of each class that has the other's label.
    test_real
        Real stamps of the test set.
    test_bogus
        Bogus stamps of the test set.
    """

    detectors: int = 4
    per_detector: int = 1500
    label_error: float = 0.05
    test_real: int = 1000
    test_bogus: int = 10000


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Train a real/bogus classifier on labels that are partly wrong.

    Parameters
    ----------
    data
        Records directory; without one a survey is simulated.
    out
        Run directory; an interrupted run goes on there.
    test_real
        Test stamps that are real, a .npy file.
    test_bogus
        Test stamps that are bogus, a .npy file.
    hold_out
        Fraction of the records that is set aside as a test set, which neither stage sees, where
        there are no test stamps: stratified, and by whole groups of label_errors.group. Its labels
        are those given, or a person's verdicts. It is one of round(1 / hold_out) parts.
    preset
        Settings to start from: default, whose values are shown here, quick (a few minutes on two
        cores) or original. Null takes default where --data is named, else quick (experiment takes
        default then too).
    seed
        Seed of everything random.
    deterministic
        Make runs repeatable bit by bit (slower).
    policy
        What happens to suspected label errors: unlabel them, remove them, keep or flip their
        labels, or unlabel every label more wrong than policy_threshold.
    policy_threshold
        Wrongness, 1 - label_quality of label_errors.csv, above which the policy threshold unlabels.
    verdicts
        A person's verdicts on labels, a CSV file as label_errors.html makes; they overrule policy.
    overwrite
        Train again what was finished with other settings.
    model
        The network.
    loss
        The loss of stage 2.
    optimizer
        The optimizer, of both stages.
    training
        How training goes through the data.
    label_errors
        Stage 1.
    decision
        Threshold and calibration of the trained network.
    simulation
        The survey that is simulated where no data are given.
    """

    data: Path | None = None
    out: Path = Path("rbkeras-run")
    test_real: Path | None = None
    test_bogus: Path | None = None
    hold_out: float = 0.0
    preset: Literal["default", "quick", "original"] | None = None
    seed: int = 0
    deterministic: bool = False
    policy: Policy = "unlabel"
    policy_threshold: float = 0.9
    verdicts: Path | None = None
    overwrite: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    label_errors: LabelErrorConfig = field(default_factory=LabelErrorConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    simulation: SimulationConfig = field(default_factory=SimulationConfig)

    @property
    def records_directory(self) -> Path:
        """The data, of a run that has some: given, or simulated by now."""
        if self.data is None:
            raise ValueError("data: expected a records directory, got None")
        return self.data


def lookup(config: Any, flag: str) -> Any:
    """Give a setting by flag name, such as 'loss.lambda_vat'."""
    for name in flag.split("."):
        config = getattr(config, name)
    return config
