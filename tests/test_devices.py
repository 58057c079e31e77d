"""Several devices that share each batch: two logical CPUs, in processes of their own."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import SMALL

from rbkeras import find_label_errors
from rbkeras.config import FitConfig, TrainingConfig
from rbkeras.data.records import open_records
from rbkeras.devices import find_strategy, padded_batches
from rbkeras.errors import InputError
from rbkeras.rundir import Run

TWO_DEVICES = """
import sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


def run_python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


# --- asking for them ------------------------------------------------------------------------------


def test_one_device_is_no_strategy():
    assert find_strategy(None) is find_strategy(1) is tf.distribute.get_strategy()


def test_more_devices_than_there_are(records_dir, tmp_path, fails_with):
    arguments = ["--data", records_dir, "--out", tmp_path / "run", "--training.devices"]
    message = fails_with(find_label_errors.main, [*arguments, 512])
    assert "--training.devices: expected at most " in message
    assert "got 512" in message
    message = fails_with(find_label_errors.main, [*arguments, 0])
    assert "--training.devices: expected at least 1, or all, got 0" in message
    assert not (tmp_path / "run" / "folds").exists()


def test_batches_have_to_be_divisible(records_dir, tmp_path, monkeypatch):
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setattr("rbkeras.rundir.find_strategy", lambda devices: Three())
    config = FitConfig(data=records_dir, out=tmp_path, training=TrainingConfig(devices="all"))
    with pytest.raises(InputError, match=r"batch_size: expected a multiple of 3, .*, got 64"):
        _ = Run(config, open_records(records_dir)).strategy


def test_several_devices_and_xla_exclude_each_other(records_dir, tmp_path):
    code = """
        from pathlib import Path
        from rbkeras.config import FitConfig, TrainingConfig
        from rbkeras.data.records import open_records
        from rbkeras.errors import InputError
        from rbkeras.rundir import Run

        records = open_records(sys.argv[1])
        training = TrainingConfig(devices=2, jit_compile=True)
        run = Run(FitConfig(out=Path(sys.argv[2]), training=training), records)
        try:
            run.strategy
        except InputError as error:
            print(error)
    """
    said = run_python(code, records_dir, tmp_path)
    assert said.startswith("--training.jit_compile: expected one device, got --training.devices 2")


def test_a_run_shares_its_batches_among_its_devices(records_dir, tmp_path):
    code = """
        from pathlib import Path
        from rbkeras.config import FitConfig, TrainingConfig
        from rbkeras.data.records import open_records
        from rbkeras.losses import RealBogusLoss
        from rbkeras.rundir import Run

        records = open_records(sys.argv[1])
        assert len(records) == 36
        training = TrainingConfig(devices=2, batch_size=10)
        run = Run(FitConfig(out=Path(sys.argv[2]), training=training), records)
        model = run.compiled({"network": "simple", "padding": "same"}, RealBogusLoss(), 10)
        assert model.distribute_strategy.num_replicas_in_sync == 2
        # An odd stamp is left out, so that the last batch has two equal shares.
        targets = np.where(np.arange(36) < 35, 0, -2).astype(np.int8)
        targets[:17] = 1
        batches = run.batches.dataset(targets, training=True)
        print([len(labels) for _, labels in batches.as_numpy_iterator()])
    """
    assert run_python(code, records_dir, tmp_path) == "[10, 10, 10, 4]"


def test_one_device_by_number_is_the_same_training_as_by_default(records_dir, tmp_path):
    records = open_records(records_dir)
    settings = [
        Run(FitConfig(out=tmp_path, training=TrainingConfig(devices=n)), records).settings()
        for n in (None, 1, 2)
    ]
    assert settings[0] == settings[1] != settings[2]


# --- equal shares ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "expected"), [(1, 4), (4, 4), (5, 8), (8, 8)])
def test_validation_batches_are_filled_up_with_unlabelled_stamps(size, expected):
    stamps = np.ones((size, 3, 3, 2), np.float32)
    data = tf.data.Dataset.from_tensors((stamps, np.ones(size, np.int32)))
    ((found, labels),) = padded_batches(data, 4).as_numpy_iterator()
    assert found.shape == (expected, 3, 3, 2)
    assert labels.tolist() == [1] * size + [-1] * (expected - size)
    np.testing.assert_array_equal(found[:size], stamps)
    assert not found[size:].any()


def test_training_leaves_out_other_stamps_every_epoch(records_dir, read_all):
    from rbkeras.data.pipeline import stamp_dataset

    records = open_records(records_dir)
    options = {"batch_size": 5, "shuffle_buffer": 100, "with_index": True, "samples": 35}
    dataset = stamp_dataset(records, np.zeros(36, np.int8), **options)
    epochs = [np.concatenate([i for _, i in dataset.as_numpy_iterator()]) for _ in range(4)]
    assert {len(epoch) for epoch in epochs} == {35}
    assert int(dataset.cardinality()) == 7
    assert len({frozenset(range(36)) - frozenset(epoch) for epoch in epochs}) > 1


# --- what is equal, and what is not ---------------------------------------------------------------


def test_two_devices_measure_and_teach_what_the_documentation_says():
    code = """
        from rbkeras import vat
        from rbkeras.losses import RealBogusLoss, auc_hinge, cross_entropy
        from rbkeras.devices import find_strategy, padded_batches
        from rbkeras.streaming_metrics import default_metrics
        from rbkeras.models.classifier import build_classifier

        labels = np.tile([0, 1, 1, 0, -1], 13).astype(np.int32)
        stamps = np.random.default_rng(0).normal(size=(65, 13, 13, 2)).astype(np.float32)
        stamps[labels == 1, 5:8, 5:8] += 1
        strategy = find_strategy("all")
        assert strategy.num_replicas_in_sync == 2

        def make(scope, loss, rate=0.0, policy="float32"):
            keras.utils.set_random_seed(0)
            keras.mixed_precision.set_dtype_policy(policy)
            with scope:
                model = build_classifier((13, 13, 2), network="simple", width=0.25, dropout=0.0)
                model.compile(keras.optimizers.SGD(rate), loss, metrics=default_metrics())
            keras.mixed_precision.set_dtype_policy("float32")
            return model

        one = tf.distribute.get_strategy()
        data = tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(16)

        # Metrics of the validation part, with a last batch of one stamp, are those of all of it.
        loss = RealBogusLoss()
        alone = make(one.scope(), loss).evaluate(data, verbose=0, return_dict=True)
        shared = make(strategy.scope(), loss)
        found = shared.evaluate(padded_batches(data, 2), verbose=0, return_dict=True)
        assert "vat" not in found and found.keys() == alone.keys()
        for name, value in alone.items():
            if name != "auc_hinge":
                np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)

        # What teaches are means over the devices of what each finds in its half of the batch; the
        # log counts each half by its labelled stamps.
        loss = RealBogusLoss(lambda_ce=1.0, lambda_auc=2.0)
        model = make(strategy.scope(), loss)
        first = data.take(1)
        logits = np.asarray(model(stamps[:16]))
        halves = [slice(0, 8), slice(8, 16)]
        logs = model.fit(first, verbose=0).history
        counts, taught = [(labels[half] >= 0).sum() for half in halves], 0.0
        assert counts == [7, 6]
        for name, term, weight in (("ce", cross_entropy, 1), ("auc_hinge", auc_hinge, 2)):
            parts = [float(term(labels[half], logits[half])) for half in halves]
            np.testing.assert_allclose(logs[name][0], np.average(parts, weights=counts), rtol=1e-4)
            taught += weight * np.mean(parts)
            whole = float(term(labels[:16], logits))
            assert abs(np.mean(parts) - whole) > 1e-4 * whole, name
        np.testing.assert_allclose(logs["loss"][0], taught, rtol=1e-4)

        # Directions of VAT are drawn by each device for itself.
        seen = []
        original = vat.vat_loss

        def watched(logits_of, stamps, logits, direction, *, epsilon):
            tf.numpy_function(lambda d: seen.append(d) or np.float32(0), [direction], tf.float32)
            with tf.control_dependencies([]):
                return original(logits_of, stamps, logits, direction, epsilon=epsilon)

        vat.vat_loss = watched
        twice = np.concatenate([stamps[:8], stamps[:8]])
        same = tf.data.Dataset.from_tensors((twice, np.tile(labels[:8], 2)))
        make(strategy.scope(), RealBogusLoss(lambda_vat=1.0)).fit(same, verbose=0)
        assert len(seen) == 2 and seen[0].shape == seen[1].shape == (8, 13, 13, 2)
        assert (np.abs(seen[0] - seen[1]).max(axis=(1, 2, 3)) > 0).all()
        vat.vat_loss = original

        # Half precision scales the loss, and unscales it, once.
        finals = []
        for scope in (one.scope(), strategy.scope()):
            model = make(scope, RealBogusLoss(), 0.5, "mixed_float16")
            assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
            full = tf.data.Dataset.from_tensor_slices((stamps[labels >= 0], labels[labels >= 0]))
            model.fit(full.batch(26), epochs=2, verbose=0)
            finals.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        np.testing.assert_allclose(*finals, atol=2e-3)
        print("all so")
    """
    assert run_python(code) == "all so"


@pytest.mark.slow
def test_a_run_on_two_devices_is_that_on_one(tiny_survey, tmp_path):
    """Fully labelled, without dropout: equal shares make equal means, so the curves agree."""
    code = """
        from rbkeras import find_label_errors
        raise SystemExit(find_label_errors.main(sys.argv[1:]) or print("done"))
    """
    arguments = ["--data", tiny_survey / "records", *SMALL, "--model.width", "0.2"]
    arguments += ["--model.dropout", "0", "--label_errors.epochs", "3"]
    for devices in ("1", "2"):
        more = ["--out", tmp_path / devices, "--training.devices", devices]
        assert run_python(code, *arguments, *more) == "done"
    for fold in ("0", "1"):
        one, two = (pd.read_csv(tmp_path / n / "folds" / fold / "log.csv") for n in "12")
        np.testing.assert_allclose(two[["loss", "val_loss"]], one[["loss", "val_loss"]], rtol=1e-4)
    one, two = (pd.read_csv(tmp_path / n / "label_errors.csv") for n in "12")
    np.testing.assert_allclose(two["probability_real"], one["probability_real"], atol=1e-4)
