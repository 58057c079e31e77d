import keras
import numpy as np
import pytest

from rbkeras.models.backbones import NETWORKS, build_backbone
from rbkeras.models.classifier import build_classifier
from rbkeras.models.normalisation import NORMALISATIONS

SHAPE = (29, 29, 3)


def multiply_adds(model):
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.fixture(scope="module")
def backbones():
    return {name: build_classifier(SHAPE, network=name).get_layer("backbone") for name in NETWORKS}


def test_numbers_of_weights(backbones):
    assert backbones["simple"].count_params() == 234_242
    assert backbones["complex"].count_params() == 2_402_886
    assert backbones["residual"].count_params() == 322_586
    assert backbones["compact"].count_params() == 313_102


def test_middle_costs_more_than_simple_and_less_than_complex(backbones):
    costs = [multiply_adds(backbones[name]) for name in ("simple", "middle", "complex")]
    assert costs == sorted(costs)


def test_compact_costs_a_twentieth_of_complex(backbones):
    full = multiply_adds(backbones["complex"])
    # 216 MFLOP a stamp, two operations per multiply-add.
    assert 2 * full == pytest.approx(216e6, rel=0.05)
    assert multiply_adds(backbones["residual"]) / full == pytest.approx(0.12, abs=0.005)
    assert multiply_adds(backbones["compact"]) / full == pytest.approx(0.05, abs=0.001)


def test_compact_has_the_sequence_that_the_search_found(backbones):
    stem0, stem1, *inception = convolutions(backbones["compact"])
    assert (stem0.filters, stem0.kernel_size, stem0.strides) == (40, (5, 5), (2, 2))
    assert (stem1.filters, stem1.kernel_size, stem1.strides) == (40, (3, 3), (1, 1))
    # Seven convolutions a block, each with a quarter of the block's channels.
    assert [c.filters for c in inception] == [20] * 7 + [40] * 7 + [80] * 7


def test_complex_has_the_published_sequence(backbones):
    filters = [
        (c.filters, c.kernel_size[0], c.strides[0])
        for c in convolutions(backbones["complex"])
        if "scse" not in c.name and "shortcut" not in c.name
    ]
    assert filters == [
        (32, 5, 1), *[(32, 3, 1)] * 4,
        (64, 3, 1), (64, 3, 1), (64, 3, 1),
        (128, 3, 1), (128, 3, 1), (128, 3, 1),
        (128, 3, 1), (256, 3, 2),
        (256, 3, 1), (256, 3, 1),
    ]  # fmt: skip


def test_residual_takes_the_identity_where_shapes_allow(backbones):
    names = [layer.name for layer in backbones["residual"].layers]
    assert "res0_0_shortcut" not in names
    assert {"res1_0_shortcut", "res2_0_shortcut"} <= set(names)


@pytest.mark.parametrize("shape", [SHAPE, (21, 25, 2)])
@pytest.mark.parametrize("kind", NORMALISATIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_takes_every_normalisation_and_shape(network, kind, shape):
    # A quarter of the channels builds the same graph for less.
    model = build_classifier(shape, network=network, normalisation=kind, width=0.25)
    stamps = np.random.default_rng(0).normal(100, 30, (2, *shape)).astype(np.float32)
    logits = model(stamps, training=True).numpy()
    assert logits.shape == (2, 2)
    assert np.isfinite(logits).all()
    assert not np.array_equal(logits[0], logits[1])


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 9, 1), (11, 11, 3)])
@pytest.mark.parametrize("network", ["compact", "middle", "residual"])
def test_small_stamps_fit(network, shape):
    stamps = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    logits = build_backbone(shape, network=network, width=0.25)(stamps).numpy()
    assert not np.array_equal(logits[0], logits[1])


@pytest.mark.parametrize("network", NETWORKS)
def test_width_multiplies_channels(network):
    def channels(width):
        model = build_backbone(SHAPE, network=network, width=width)
        return [c.filters for c in convolutions(model) if "scse" not in c.name]

    assert channels(2.0) == [2 * count for count in channels(1.0)]


@pytest.mark.parametrize("network", NETWORKS)
def test_depth_adds_layers(network):
    # (29 - 2) pixels of a valid `simple` still fit.
    counts = [len(build_backbone(SHAPE, network=network, depth=d).layers) for d in (1, 2, 3)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_kernel_is_the_first_convolutions(network):
    kernels = [c.kernel_size for c in convolutions(build_backbone(SHAPE, network=network))]
    changed = [
        c.kernel_size for c in convolutions(build_backbone(SHAPE, network=network, kernel=7))
    ]
    assert changed[0] == (7, 7) != kernels[0]
    assert changed[1:] == kernels[1:]


@pytest.mark.parametrize("network", NETWORKS)
def test_stride_is_the_first_convolutions(network):
    own = NETWORKS[network].defaults.stride
    first, *others = convolutions(build_backbone((58, 58, 3), network=network, stride=3))
    assert first.strides == (3, 3)
    expected = convolutions(build_backbone((58, 58, 3), network=network))
    assert expected[0].strides == (own, own)
    assert [c.strides for c in others] == [c.strides for c in expected[1:]]


@pytest.mark.parametrize("network", NETWORKS)
def test_excitation_is_an_option_of_the_residual_networks(network):
    def gates(excitation):
        model = build_backbone(SHAPE, network=network, excitation=excitation)
        return [layer for layer in model.layers if isinstance(layer, keras.layers.Multiply)]

    assert len(gates(None)) == {"complex": 8, "residual": 3}.get(network, 0)
    assert not gates(False)


@pytest.mark.parametrize("network", NETWORKS)
def test_padding_changes_the_first_convolution(network):
    sizes = {
        padding: convolutions(build_backbone(SHAPE, network=network, padding=padding, kernel=5))[
            0
        ].output.shape[1]
        for padding in ("same", "valid")
    }
    strided = network in ("compact", "residual")
    assert sizes == ({"same": 15, "valid": 13} if strided else {"same": 29, "valid": 25})


@pytest.mark.parametrize("network", NETWORKS)
def test_dropout_acts_in_training_alone(network):
    stamps = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    model = build_backbone(SHAPE, network=network, dropout=0.5, width=0.5)
    rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.5]
    np.testing.assert_array_equal(model(stamps), model(stamps))
    assert not np.array_equal(model(stamps, training=True), model(stamps, training=True))
    without = build_backbone(SHAPE, network=network, dropout=0.0, width=0.5)
    assert not any(isinstance(x, keras.layers.Dropout) for x in without.layers)


def test_stamps_too_small_are_refused_with_network_and_size():
    with pytest.raises(ValueError, match=r"'simple'.* 5 x 7 pixels"):
        build_classifier((5, 7, 3), network="simple")
    with pytest.raises(ValueError, match=r"'complex'.* 3 x 6 pixels"):
        build_classifier((3, 6, 3), network="complex")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "huge"}, "network: .* got 'huge'"),
        ({"width": 0}, "width: .* got 0"),
        ({"depth": 0}, "depth: .* got 0"),
        ({"kernel": 0}, "kernel: .* got 0"),
        ({"padding": "full"}, "padding: .* got 'full'"),
        ({"stride": 0}, "stride: .* got 0"),
        ({"dropout": 1.0}, "dropout: .* got 1.0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(SHAPE, **options)
    with pytest.raises(ValueError, match=message):
        build_classifier(SHAPE, **options)
