import json
import zipfile

import keras
import pytest

from rbkeras.errors import InputError
from rbkeras.inference import load_classifier
from rbkeras.losses import RealBogusLoss
from rbkeras.model_contents import require_known_contents
from rbkeras.models.backbones import NETWORKS
from rbkeras.models.classifier import build_classifier
from rbkeras.models.precision import precision
from rbkeras.training import compile_classifier, make_optimizer

SHAPE = (13, 13, 3)
OPTIMIZERS = [
    {"name": "sgd", "momentum": 0.9},
    {"name": "adam", "schedule": "constant"},
    {"name": "adamw", "warmup": 0.1, "clip_norm": 1.0},
    {"name": "adadelta", "clip_value": 1.0},
]


def save(path, *, network="compact", **optimizer):
    model = build_classifier(SHAPE, network=network, width=0.25)
    optimizer = make_optimizer(**optimizer, total_steps=9)
    compile_classifier(model, optimizer=optimizer, loss=RealBogusLoss(lambda_vat=1.0))
    model.save(path)
    return path


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    path = save(tmp_path_factory.mktemp("model") / "model.keras")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def altered(members, tmp_path):
    """Write the model with another description."""

    def write(alter):
        path = tmp_path / "model.keras"
        content = {**members, "config.json": alter(members["config.json"])}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path

    return write


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_passes(network, tmp_path):
    require_known_contents(save(tmp_path / "model.keras", network=network))


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_every_optimizer_passes(options, tmp_path):
    require_known_contents(save(tmp_path / "model.keras", **options))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_passes(policy, tmp_path):
    with precision(policy):
        require_known_contents(save(tmp_path / "model.keras"))


def test_layers_and_metrics_of_ones_own_choice_pass(tmp_path):
    model = build_classifier(SHAPE, network="simple", width=0.25)
    features = keras.layers.BatchNormalization()(model.output)
    other = keras.Model(model.input, keras.layers.Dense(2)(features))
    other.compile("rmsprop", loss="mse", metrics=["mae", keras.metrics.AUC()])
    other.save(tmp_path / "model.keras")
    require_known_contents(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ({"module": "keras.layers", "class_name": "Lambda"}, "keras.layers.Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "keras.layers.TFSMLayer"),
        ({"module": "os", "class_name": "system"}, "os.system"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "builtins.function"),
        ({"module": "keras.losses", "class_name": "function"}, "keras.losses.function"),
        ({"module": "keras.models", "class_name": "load_model"}, "keras.models.load_model"),
        ({"class_name": "__lambda__", "config": {"value": "print"}}, "None.__lambda__"),
        ({"module": "rbkeras.losses", "class_name": "score"}, "rbkeras.losses.score"),
        ({"module": "keras.losses", "class_name": "deserialize"}, "keras.losses.deserialize"),
        (
            {
                "module": "rbkeras",
                "class_name": "__lambda__",
                "registered_name": "rbkeras>__lambda__",
            },
            "rbkeras>__lambda__",
        ),
        (
            {"module": "evil", "class_name": "Loss", "registered_name": "rbkeras>Loss"},
            "rbkeras>Loss",
        ),
        (
            {"module": "keras.layers", "class_name": "Add", "registered_name": "evil>Add"},
            "evil>Add",
        ),
        ({"module": ["os"], "class_name": "system"}, r"\['os'\].system"),
        ({"class_name": None}, "None.None"),
    ],
)
def test_other_classes_are_named_wherever_they_are(described, named, altered):
    def alter(description):
        whole = json.loads(description)
        whole["config"]["layers"][-1]["config"]["deep"] = [{"within": [described]}]
        return json.dumps(whole)

    with pytest.raises(InputError, match=rf"model\.keras: .* found {named}$"):
        require_known_contents(altered(alter))


@pytest.mark.parametrize(
    "description",
    [b"", b"{", b"\xff", b"[" * 100_000, b" " * (65 * 2**20)],
    ids=["empty", "cut", "no text", "deep", "huge"],
)
def test_descriptions_that_cannot_be_read(description, altered):
    with pytest.raises(InputError, match=r"model\.keras: expected a"):
        require_known_contents(altered(lambda _: description))


def test_nothing_is_built_of_what_is_not_known(altered, tmp_path, monkeypatch):
    """Not even where Keras would let it pass."""

    def alter(description):
        whole = json.loads(description)
        whole["config"]["layers"][0]["module"] = "evil"
        return json.dumps(whole)

    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("was called"))
    with pytest.raises(InputError, match=r"found evil\.InputLayer"):
        load_classifier(altered(alter))
