import keras
import numpy as np
import pytest

from rbkeras.decision_fit import fit_decision
from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import build_classifier

SHAPE = (13, 13, 2)


def draw(n, seed, peak):
    """Noise, with something in the middle of half of the stamps at most."""
    stamps = np.random.default_rng(seed).normal(100, 10, (n, *SHAPE)).astype(np.float32)
    stamps[: n // 2, 5:8, 5:8, 1] += peak
    stamps[0, 2, 3, 0] = np.nan
    return stamps


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A run directory with every format in it, its stamps, and Keras's logits of them."""
    from rbkeras import export
    from rbkeras.inference import predict_logits

    run = tmp_path_factory.mktemp("exported")
    keras.utils.set_random_seed(0)
    model = build_classifier(SHAPE, width=0.25)
    stamps = np.concatenate([draw(60, 0, 200), draw(60, 1, 0)])
    # Untrained, all its scores would lie within what int8 resolves.
    bright = np.repeat([1, 0, 0], [30, 30, 60]).astype(np.int32)
    model.compile(keras.optimizers.Adam(3e-3), loss=RealBogusLoss(lambda_vat=0.0))
    model.fit(stamps, bright, batch_size=30, epochs=5, verbose=0)
    logits = predict_logits(model, [stamps])
    # So that it is right most of the time, whatever it makes of a stamp.
    score = logits[:, 1] - logits[:, 0]
    labels = (score + np.random.default_rng(2).normal(0, score.std(), 120) > score.mean()).astype(
        int
    )
    model.decision = fit_decision(
        labels, score, calibration_method="isotonic", prevalence=0.05, label_names={"star": 1}
    )
    model.save(run / "model.keras")
    np.save(run / "real.npy", stamps[labels == 1])
    np.save(run / "bogus.npy", stamps[labels == 0])
    flags = ["--test_real", run / "real.npy", "--test_bogus", run / "bogus.npy"]
    flags += [
        "--calibration",
        run / "bogus.npy",
        "--formats",
        *("saved_model", "onnx", "litert", "int8", "onnx_int8"),
    ]
    assert export.main([str(run), *map(str, flags)]) == 0
    np.save(run / "stamps.npy", stamps)
    return run, model, stamps, logits
