import inspect
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from rbkeras import vat
from rbkeras.decision_fit import fit_decision
from rbkeras.errors import InputError
from rbkeras.inference import load_classifier
from rbkeras.losses import RealBogusLoss, auc_hinge, cross_entropy
from rbkeras.models.backbones import NETWORKS
from rbkeras.models.classifier import RealBogusClassifier, build_classifier
from rbkeras.models.precision import precision
from rbkeras.streaming_metrics import default_metrics

SHAPE = (13, 13, 2)

#: The default and the original's; with others the same tests are slow.
MOST_USED = [
    name if name in ("compact", "complex") else pytest.param(name, marks=pytest.mark.slow)
    for name in NETWORKS
]


def draw_stamps(count, seed=0, *, labels=None):
    """Noise on a level of 1000 counts; reals have a bright middle."""
    rng = np.random.default_rng(seed)
    stamps = rng.normal(1000, 10, (count, *SHAPE)).astype(np.float32)
    if labels is not None:
        stamps[labels == 1, 5:8, 5:8] += 100
    return stamps


def make_model(loss=None, *, network="compact", learning_rate=1e-3, eager=True, **options):
    # Eager by default: tracing would take longer than the few steps of most tests.
    keras.utils.set_random_seed(1)
    options = {"width": 0.25, "depth": 1, "dropout": 0.0} | options
    model = build_classifier(SHAPE, network=network, **options)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=loss or RealBogusLoss(),
        metrics=default_metrics(),
        run_eagerly=eager,
    )
    return model


def step(model, stamps, labels):
    labels = np.asarray(labels, np.int32)
    return model.train_on_batch(stamps, labels, return_dict=True)


def count_backbone_calls(model, monkeypatch):
    backbone, calls = model.get_layer("backbone"), []
    original = backbone.call

    def counting(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(backbone, "call", counting)
    return calls


LABELS = np.array([0, 1, 0, 1, -1, -1, 0, -1])


def test_loss_is_the_weighted_sum_of_the_logged_terms():
    stamps = draw_stamps(8)
    model = make_model(RealBogusLoss(lambda_ce=0.1, lambda_auc=2.0, lambda_vat=0.3))
    logits = model(stamps).numpy()
    logs = step(model, stamps, LABELS)
    assert logs["ce"] == pytest.approx(float(cross_entropy(LABELS, logits)), rel=1e-4)
    assert logs["auc_hinge"] == pytest.approx(float(auc_hinge(LABELS, logits)), rel=1e-4)
    assert logs["vat"] > 0
    expected = 0.1 * logs["ce"] + 2.0 * logs["auc_hinge"] + 0.3 * logs["vat"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("space", ["normalised", "input"])
def test_vat_term_is_that_of_the_module_in_the_chosen_space(space, monkeypatch):
    stamps = draw_stamps(8)
    settings = {"vat_epsilon": 2.0, "vat_xi": 0.5, "vat_iterations": 2, "vat_space": space}
    model = make_model(RealBogusLoss(lambda_ce=0, lambda_vat=1, **settings))
    normalisation, backbone = model.get_layer("normalisation"), model.get_layer("backbone")
    base = normalisation(stamps) if space == "normalised" else tf.constant(stamps)

    def logits_of(x):
        return backbone(x if space == "normalised" else normalisation(x))

    start = tf.random.normal(base.shape)
    monkeypatch.setattr(tf.random, "normal", lambda shape: start)
    clean = logits_of(base)
    direction = vat.adversarial_direction(logits_of, base, clean, start, xi=0.5, iterations=2)
    expected = float(vat.vat_loss(logits_of, base, clean, direction, epsilon=2.0))
    entropy = float(tf.reduce_mean(vat.soft_cross_entropy(tf.nn.softmax(clean), clean)))
    assert expected > entropy * (1 + 1e-6)
    found = step(model, stamps, LABELS)["vat"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_vat_on_a_share_is_that_of_the_stamps_it_chose(monkeypatch):
    stamps, chosen = draw_stamps(8), tf.constant([4, 1])
    monkeypatch.setattr(vat, "choose_share", lambda labels, share: chosen)
    start = tf.random.normal((2, *SHAPE))
    monkeypatch.setattr(tf.random, "normal", lambda shape: start)
    part = step(make_model(RealBogusLoss(lambda_vat=1, vat_share=0.25)), stamps, LABELS)["vat"]
    alone = make_model(RealBogusLoss(lambda_vat=1))
    found = step(alone, stamps[chosen.numpy()], LABELS[chosen.numpy()])["vat"]
    assert part == pytest.approx(found, rel=1e-4)


def test_gradients_are_those_of_the_total_loss():
    stamps = draw_stamps(8)
    model = make_model(RealBogusLoss(lambda_ce=0.5, lambda_auc=2.0))
    model.optimizer = keras.optimizers.SGD(1.0)
    with tf.GradientTape() as tape:
        logits = model(stamps, training=True)
        loss = 0.5 * cross_entropy(LABELS, logits) + 2.0 * auc_hinge(LABELS, logits)
    gradients = tape.gradient(loss, model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    step(model, stamps, LABELS)
    for old, variable, gradient in zip(before, model.trainable_variables, gradients, strict=True):
        np.testing.assert_allclose(old - variable.numpy(), gradient, atol=1e-5)


@pytest.mark.parametrize(("weight", "iterations", "calls"), [(0, 1, 1), (1, 1, 3), (1, 2, 4)])
@pytest.mark.parametrize("space", ["normalised", "input"])
def test_one_clean_pass_serves_all_terms(monkeypatch, weight, iterations, calls, space):
    loss = RealBogusLoss(
        lambda_auc=1, lambda_vat=weight, vat_iterations=iterations, vat_space=space
    )
    model = make_model(loss)
    # Metrics and optimizer are built once, ahead of the first step.
    step(model, draw_stamps(8), LABELS)
    counted = count_backbone_calls(model, monkeypatch)
    logs = step(model, draw_stamps(8), LABELS)
    assert len(counted) == calls
    assert (logs["vat"] > 0) == bool(weight)


def test_a_training_step_is_traced_once(monkeypatch):
    """Keras would trace it a second time after building what the first time needs."""
    model = make_model(RealBogusLoss(lambda_auc=1, lambda_vat=1), eager=False)
    steps = []
    original = type(model).train_step
    monkeypatch.setattr(
        type(model), "train_step", lambda self, data: steps.append(0) or original(self, data)
    )
    model.fit(tf.data.Dataset.from_tensors((draw_stamps(8), LABELS)).repeat(3), verbose=0)
    assert len(steps) == 1
    assert int(model.optimizer.iterations.numpy()) == 3


@pytest.mark.parametrize("labels", [[1] * 6, [0] * 6, [-1] * 6, [0, 1] * 3, [-1, 1, 0, 0, 1, -1]])
def test_batches_of_every_composition_train(labels):
    model = make_model(RealBogusLoss(lambda_auc=1, lambda_vat=1))
    before = model.get_weights()
    logs = step(model, draw_stamps(6), labels)
    assert np.isfinite([logs["loss"], logs["ce"], logs["vat"]]).all()
    assert (logs["ce"] > 0) == (max(labels) >= 0)
    assert (logs["auc_hinge"] > 0) == ({0, 1} <= set(labels))
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights)
    # Unlabelled stamps alone still teach, by VAT.
    assert any(not np.array_equal(a, b) for a, b in zip(before, weights, strict=True))


def test_unlabelled_stamps_teach_nothing_without_vat():
    stamps = draw_stamps(8, labels=LABELS)
    changed = stamps.copy()
    changed[LABELS == -1] = draw_stamps(3, seed=9)
    results = []
    for batch in (stamps, changed):
        model = make_model(RealBogusLoss(lambda_auc=1))
        step(model, batch, LABELS)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("space", ["normalised", "input"])
@pytest.mark.parametrize("network", MOST_USED)
def test_broken_stamps_train_to_finite_weights(network, space):
    stamps = draw_stamps(8)
    stamps[0] = np.nan
    stamps[1, :, :, 0] = 0.1
    stamps[2, 3:5] = np.inf
    stamps[3] = 0
    stamps[4, 0, 0, 0] = np.nan
    loss = RealBogusLoss(lambda_auc=1, lambda_vat=1, vat_space=space)
    model = make_model(loss, network=network, padding="same")
    for _ in range(2):
        logs = step(model, stamps, LABELS)
    assert np.isfinite(logs["loss"])
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_labelled_terms_are_means_over_labelled_samples():
    labels = np.array([1, 0, 1, 0, -1, -1], np.int32)
    stamps = draw_stamps(6, labels=labels)
    model = make_model(RealBogusLoss(lambda_auc=1.0), learning_rate=0.0)
    whole = step(model, stamps[:4], labels[:4])
    # An epoch of two batches, the second without labels, which says nothing of these terms.
    batches = tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(4)
    logs = model.fit(batches, shuffle=False, verbose=0).history
    assert logs["ce"] == pytest.approx([whole["ce"]], rel=1e-4)
    assert logs["auc_hinge"] == pytest.approx([whole["auc_hinge"]], rel=1e-4)
    assert logs["loss"] == pytest.approx([whole["loss"] * 4 / 6], rel=1e-4)


def test_test_step_measures_the_same_terms():
    stamps = draw_stamps(8)
    model = make_model(RealBogusLoss(lambda_ce=0.5, lambda_auc=2.0, lambda_vat=1.0))
    tested = model.test_on_batch(stamps, LABELS.astype(np.int32), return_dict=True)
    trained = step(model, stamps, LABELS)
    assert "vat" not in tested
    assert tested["ce"] == pytest.approx(trained["ce"], rel=1e-4)
    assert tested["auc_hinge"] == pytest.approx(trained["auc_hinge"], rel=1e-4)
    assert tested["loss"] == pytest.approx(0.5 * tested["ce"] + 2 * tested["auc_hinge"], rel=1e-5)


def test_evaluation_weighs_batches_by_their_labelled_stamps():
    labels = np.array([0, 1, 1, 0, 1, -1, -1, -1, -1, -1, -1, -1], np.int32)
    stamps = draw_stamps(12)
    model = make_model()
    found = model.evaluate(stamps, labels, batch_size=4, verbose=0, return_dict=True)
    expected = float(cross_entropy(labels, model(stamps)))
    assert found["loss"] == pytest.approx(expected, rel=1e-4)


def test_training_learns_a_separable_set():
    labels = np.tile([0, 1, 0, 1, -1], 12).astype(np.int32)
    stamps = draw_stamps(60, labels=np.tile([0, 1, 0, 1, 1], 12))
    loss = RealBogusLoss(lambda_ce=1, lambda_auc=1, lambda_vat=0.1)
    model = make_model(loss, learning_rate=1e-2, eager=False)
    history = model.fit(stamps, labels, batch_size=20, epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["auc"][-1] > 0.95


def test_another_loss_is_refused():
    model = build_classifier(SHAPE, width=0.25)
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ValueError, match="RealBogusLoss"):
        model.train_on_batch(draw_stamps(2), np.array([0, 1]))


def test_unknown_network_is_named():
    with pytest.raises(ValueError, match=r"network: .* got 'huge'"):
        build_classifier(SHAPE, network="huge")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("network", MOST_USED)
def test_mixed_precision_trains_on_raw_counts(network, policy):
    # Beyond the range of float16, so that a cast of the input would show.
    stamps = 1e3 * draw_stamps(8)
    options = {"network": network, "padding": "same"}
    expected = make_model(**options)(stamps)
    previous = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = make_model(RealBogusLoss(lambda_auc=1, lambda_vat=1), **options)
        logits = model(stamps)
        logs = [step(model, stamps, LABELS) for _ in range(2)][-1]
    finally:
        keras.mixed_precision.set_dtype_policy(previous)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=5e-2)
    assert not np.array_equal(logits[0], logits[1])
    assert np.isfinite(logs["loss"])
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    inner = model.optimizer.inner_optimizer if scaled else model.optimizer
    # The first steps of `complex` overflow at the optimizer's first scale and are skipped.
    assert int(inner.iterations) == 2 or (network == "complex" and scaled)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (keras.Model, ("_maybe_symbolic_build", "_get_metrics_result_or_logs", "_loss_tracker")),
        (
            keras.callbacks.BackupAndRestore,
            ("_save_model", "_weights_path", "_training_metadata_path"),
        ),
    ],
)
def test_what_is_overridden_of_keras_is_there(kind, names):
    """Under another name it would do what Keras does, without a word."""
    own = [each for each in kind.__mro__ if each.__module__.startswith("keras.")]
    source = "".join(map(inspect.getsource, own))
    assert all(name in source for name in names)


def test_loading_brings_a_scaled_optimizer_back(tmp_path):
    with precision("mixed_float16"):
        model = make_model(network="simple")
        step(model, draw_stamps(8), LABELS)
    model.save(tmp_path / "model.keras")
    loaded = load_classifier(tmp_path / "model.keras", compile=True)
    assert keras.config.dtype_policy().name == "float32"
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    stored = [np.asarray(variable) for variable in model.optimizer.variables]
    found = [np.asarray(variable) for variable in loaded.optimizer.variables]
    assert len(stored) == len(found)
    assert all(np.array_equal(*pair) for pair in zip(stored, found, strict=True))


def test_networks_compute_in_whole_float32():
    tf.config.experimental.enable_tensor_float_32_execution(True)
    build_classifier((21, 21, 3), network="simple")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize(
    "network", ["simple", "compact", pytest.param("residual", marks=pytest.mark.slow)]
)
def test_clones_and_configs_rebuild_the_network(network):
    model = make_model(network=network, padding="same")
    stamps = draw_stamps(3)
    for copy in (
        keras.models.clone_model(model),
        RealBogusClassifier.from_config(model.get_config()),
    ):
        assert type(copy) is RealBogusClassifier
        copy.set_weights(model.get_weights())
        np.testing.assert_allclose(copy(stamps), model(stamps), atol=1e-6)
        copy.compile(optimizer="sgd", loss=RealBogusLoss(lambda_vat=1))
        assert np.isfinite(step(copy, stamps, [0, 1, -1])["loss"])


def test_checkpoints_load_and_go_on_training(tmp_path):
    labels = np.tile([0, 1], 8).astype(np.int32)
    stamps = draw_stamps(16, labels=labels)
    loss = RealBogusLoss(lambda_auc=0.5, lambda_vat=0.2, vat_space="input")
    model = make_model(loss, eager=False)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    model.fit(stamps, labels, batch_size=8, epochs=2, verbose=0, callbacks=[checkpoint])
    loaded = keras.saving.load_model(tmp_path / "2.keras")
    np.testing.assert_array_equal(loaded(stamps), model(stamps))
    assert loaded.loss.get_config() == model.loss.get_config()
    assert int(loaded.optimizer.iterations) == 4
    logs = step(loaded, stamps, labels)
    assert {"loss", "ce", "auc_hinge", "vat", "auc", "fpr_at_tpr90"} <= set(logs)


def test_backup_and_restore_goes_on_where_it_stopped(tmp_path):
    labels = np.tile([0, 1], 8).astype(np.int32)
    stamps = draw_stamps(16, labels=labels)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def fit(*callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model = make_model(RealBogusLoss(lambda_auc=0.5))
        options = {"batch_size": 8, "epochs": 4, "verbose": 0, "shuffle": False}
        return model, model.fit(stamps, labels, callbacks=[backup, *callbacks], **options)

    whole, _ = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(Stop())
    resumed, history = fit()
    assert history.epoch == [2, 3]
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def run_python(code, *arguments):
    """Run code in a fresh process; return what it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_saved_models_load_in_a_fresh_process(tmp_path):
    stamps = 100 * draw_stamps(5)
    stamps[0, 2:4] = np.nan
    np.save(tmp_path / "stamps.npy", stamps)
    previous = keras.mixed_precision.dtype_policy()
    for network in NETWORKS:
        if network == "compact":
            keras.mixed_precision.set_dtype_policy("mixed_float16")
        try:
            model = make_model(RealBogusLoss(lambda_vat=1), network=network, padding="same")
        finally:
            keras.mixed_precision.set_dtype_policy(previous)
        step(model, stamps, [0, 1, 0, 1, -1])
        model.save(tmp_path / f"{network}.keras")
        np.save(tmp_path / f"{network}.npy", model(stamps))
    code = """
        import sys, pathlib
        from rbkeras.inference import load_classifier
        import numpy as np
        folder = pathlib.Path(sys.argv[1])
        stamps = np.load(folder / "stamps.npy")
        for path in sorted(folder.glob("*.keras")):
            found = load_classifier(path)(stamps)
            np.testing.assert_allclose(found, np.load(path.with_suffix(".npy")), atol=1e-5)
        print("equal")
    """
    assert run_python(code, tmp_path) == "equal"


def measured(method="isotonic"):
    labels = np.tile([0, 1], 50)
    scores = np.random.default_rng(0).normal(3 * (2 * labels - 1), 3)
    return fit_decision(labels, scores, calibration_method=method, label_names={"artifact": 0})


def test_the_decision_travels_with_the_model_to_a_fresh_process(tmp_path):
    model = make_model()
    model.decision = measured()
    step(model, draw_stamps(4), [0, 1, 0, 1])
    model.save(tmp_path / "model.keras")
    (tmp_path / "decision.json").write_text(json.dumps(model.decision.to_json()))
    code = """
        import json, sys, pathlib
        import rbkeras.models.classifier
        import keras
        from rbkeras.decision import Decision
        folder = pathlib.Path(sys.argv[1])
        expected = Decision.from_json(json.loads((folder / "decision.json").read_text()))
        for compile in (False, True):
            model = keras.saving.load_model(
                folder / "model.keras", compile=compile, safe_mode=True
            )
            assert model.decision == expected, model.decision
        print("equal")
    """
    assert run_python(code, tmp_path) == "equal"


def test_models_without_a_decision_load_without(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"decision" not in archive.read("config.json")
    assert load_classifier(tmp_path).decision is None


def test_a_broken_decision_is_one_sentence(tmp_path):
    model = make_model()
    model.decision = measured("temperature")
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["config.json"] = contents["config.json"].replace(b'"temperature": ', b'"hotness": ')
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"model\.keras: .*decision"):
        load_classifier(tmp_path)


def test_a_clone_has_new_weights_and_no_decision():
    model = make_model()
    model.decision = measured()
    assert keras.models.clone_model(model).decision is None
    again = RealBogusClassifier.from_config(model.get_config())
    assert again.decision == model.decision


def test_a_model_with_a_decision_trains_on(tmp_path):
    model = make_model(eager=False)
    model.decision = measured()
    labels = np.tile([0, 1], 8).astype(np.int32)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    stamps = draw_stamps(16, labels=labels)
    model.fit(stamps, labels, epochs=2, verbose=0, callbacks=[backup])
    assert model.decision == measured()


def test_half_precision_learns_as_much_as_single_precision():
    stamps = draw_stamps(8)
    moved = {}
    for policy in ("float32", "mixed_float16"):
        previous = keras.mixed_precision.dtype_policy()
        keras.mixed_precision.set_dtype_policy(policy)
        try:
            model = make_model(RealBogusLoss(), network="simple", dropout=0.0)
            model.compile(keras.optimizers.SGD(0.1), loss=RealBogusLoss())
        finally:
            keras.mixed_precision.set_dtype_policy(previous)
        start = np.concatenate([weights.ravel() for weights in model.get_weights()])
        step(model, stamps, LABELS)
        end = np.concatenate([weights.ravel() for weights in model.get_weights()])
        moved[policy] = end - start
    # Its loss is scaled by 2**15, and its gradients back.
    np.testing.assert_allclose(
        np.linalg.norm(moved["mixed_float16"]), np.linalg.norm(moved["float32"]), rtol=0.05
    )
    assert np.linalg.norm(moved["float32"]) > 1e-3


@pytest.mark.slow
def test_two_replicas_train_as_one_device_does():
    code = """
        import sys
        import rbkeras
        import keras, numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        from rbkeras.losses import RealBogusLoss
        from rbkeras.streaming_metrics import default_metrics
        from rbkeras.models.classifier import build_classifier

        labels = np.tile([0, 1], 16).astype(np.int32)
        stamps = np.random.default_rng(0).normal(size=(32, 13, 13, 2)).astype(np.float32)
        stamps[labels == 1, 5:8, 5:8] += 3
        one = tf.distribute.get_strategy()
        two = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.HierarchicalCopyAllReduce()
        )
        assert two.num_replicas_in_sync == 2
        curves, weights = [], []
        for strategy in (one, two):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                model = build_classifier((13, 13, 2), network="simple", width=0.25, dropout=0.0)
                model.compile(
                    optimizer=keras.optimizers.SGD(0.5), loss=RealBogusLoss(),
                    metrics=default_metrics()[1:2],
                )
            start = np.concatenate([w.ravel() for w in model.get_weights()])
            data = tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(16)
            history = model.fit(data, epochs=4, shuffle=False, verbose=0).history
            curves.append((history["loss"], history["auc"]))
            weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        np.testing.assert_allclose(*curves, rtol=1e-3)
        np.testing.assert_allclose(*weights, atol=1e-4)
        assert np.abs(weights[0] - start).max() > 1e-2
        print("equal")
    """
    assert run_python(code) == "equal"
