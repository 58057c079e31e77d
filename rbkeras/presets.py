"""Named settings to start from."""

from typing import Any

# A preset is what it changes about the defaults, by flag name.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "quick": {
        "simulation.detectors": 2,
        "simulation.per_detector": 1000,
        "simulation.test_bogus": 4000,
        "label_errors.folds": 3,
        "label_errors.epochs": 8,
        "label_errors.min_steps": 300,
        "training.epochs": 14,
        "training.min_steps": 500,
    },
    "original": {
        "model.network": "complex",
        "model.normalisation": "minmax",
        "loss.lambda_ce": 0.1,
        "loss.lambda_auc": 1.0,
        "loss.lambda_vat": 0.1,
        "loss.vat_epsilon": 0.1,
        "loss.vat_xi": 1.0,
        "loss.vat_space": "input",
        "loss.vat_share": 1.0,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 1e-3,
        "optimizer.schedule": "constant",
        "optimizer.weight_decay": 0.0,
        "training.epochs": 1000,
        "training.min_steps": 0,
        "training.batch_size": 256,
        "training.keep": "best",
        "training.patience": 10,
        "training.augment": False,
        "training.shift": 0,
        "training.labelled_share": 0.0,
        "training.minority_share": 0.0,
        "label_errors.epochs": 100,
        "label_errors.min_steps": 0,
        "label_errors.rule": "argmax",
        "label_errors.network": "simple",
    },
}
