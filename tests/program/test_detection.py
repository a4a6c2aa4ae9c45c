"""Detection: its losses against loops, and that it trains and resumes as the other tasks do."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data import detection as data
from experiments.data.base import Examples
from experiments.data.detection import Boxes, Pictures
from experiments.runs import identity
from experiments.tasks import boxes, detection
from experiments.tasks.base import UNKNOWN, At
from experiments.training import build, step
from tests.program import shapes
from tests.program.test_identity import Reading
from tests.program.test_main import ROOT

pytest.importorskip("faster_coco_eval", reason="needs the extra detection: faster-coco-eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.make(tmp_path_factory.mktemp("shapes"))


# --- Losses. --------------------------------------------------------------------------------------

WEIGHS = detection.WEIGHS


def drawn(folder, rows=(0, 1, -1), at=None, **overrides):
    """Returns a problem, a batch that ends with padding, and random outputs."""
    config = shapes.config_of(folder, **overrides)
    dataset = data.load(config.data, config.noise)
    problem = detection.build(config, dataset)
    batch = problem.draw(dataset.train, jnp.array(rows, jnp.int32), at)
    rng, number = np.random.default_rng(0), (2 if config.detection.classes == "focal" else 3)
    logits, sides = (rng.normal(size=(len(rows), 64, n)) for n in (number, 4))
    return problem, batch, detection.Outputs(jnp.asarray(logits, jnp.float32),
                                             jnp.asarray(sides, jnp.float32))  # fmt: skip


def cross_entropy(logits, label):
    return -np.log(np.exp(logits[label]) / np.exp(logits).sum())


def focal(logits, label):
    total = 0.0
    for i, logit in enumerate(logits):
        p = 1 / (1 + np.exp(-logit))
        p, alpha = (p, 0.25) if i == label else (1 - p, 0.75)
        total -= alpha * (1 - p) ** 2 * np.log(p)
    return total


@pytest.mark.parametrize("weighs", WEIGHS)
@pytest.mark.parametrize(("classes", "overlap"), [("cross_entropy", "iou"), ("focal", "giou")])
def test_the_losses_are_those_of_a_loop_over_places(folder, weighs, classes, overlap):
    own = {"weighs": weighs, "classes": classes, "boxes": overlap, "box_weight": 2.0}
    problem, batch, outputs = drawn(folder, **{f"detection.{k}": v for k, v in own.items()})
    units = problem.units(outputs, batch)
    loss_of, background = (cross_entropy, 2) if classes == "cross_entropy" else (focal, 2)
    of_box = getattr(boxes, overlap)
    places = boxes.grid(32, 32, (4,))
    found = np.asarray(batch.drawn.found)
    label, box = np.asarray(batch.targets.label), np.asarray(batch.targets.box)
    losses, off, by_object = np.zeros((2, 64)), [], {}
    for i in range(2):
        for j in range(64):
            place = found[i, j]
            kind = background if place < 0 else label[i, place]
            losses[i, j] = loss_of(np.asarray(outputs.logits[i, j], np.float64), kind)
            if place >= 0:
                by_object.setdefault((i, place), []).append(losses[i, j])
                left, top, right, bottom = 4 * np.exp(np.asarray(outputs.sides[i, j], np.float64))
                x, y = places.centre[j]
                own_box = np.array([x - left, y - top, x + right, y + bottom])
                off.append(1 - float(of_box(own_box, box[i, place])))
    assert len(by_object) == (label[:2] >= 0).sum() > 1
    inside = found[:2] >= 0
    rest = 2 * np.mean(off)
    weighted = jnp.where(units.where, 3 * units.losses, 0)
    mean = problem.mean(weighted, units.where, batch)
    number = inside.sum()
    if weighs == "objects":
        expected = {place: np.mean(of) for place, of in by_object.items()}
        assert int(units.where.sum()) == len(expected)
        for place, value in expected.items():
            assert units.losses[place] == pytest.approx(value, rel=1e-5)
        assert float(mean) == pytest.approx(3 * np.mean([*expected.values()]), rel=1e-5)
    else:
        np.testing.assert_allclose(units.losses[:2], losses, rtol=1e-4)
        every = np.ones_like(inside) if weighs == "locations" else inside
        np.testing.assert_array_equal(units.where[:2], every)
        assert float(mean) == pytest.approx(3 * losses[every].sum() / number, rel=1e-5)
    if weighs != "locations":
        rest += losses[~inside].sum() / number
    assert not units.where[2].any()
    assert float(units.rest) == pytest.approx(rest, rel=1e-5)


def test_a_batch_without_boxes_has_losses_and_gradients(folder):
    for weighs in WEIGHS:
        problem, batch, outputs = drawn(folder, rows=(19, 19), **{"detection.weighs": weighs})
        assert not (batch.targets.label >= 0).any()

        def total(outputs, problem=problem, batch=batch):
            units = problem.units(outputs, batch)
            return problem.mean(units.losses, units.where, batch) + units.rest

        value, gradient = jax.value_and_grad(total)(outputs)
        assert value > 0
        assert all(np.isfinite(one).all() for one in gradient)


def test_mirrored_boxes_lie_on_mirrored_squares(folder):
    config = shapes.config_of(folder, **{"noise.rate": 0.0})
    dataset = data.load(config.data, config.noise)
    problem, rows = detection.build(config, dataset), jnp.arange(8, dtype=jnp.int32)
    plain = problem.draw(dataset.train, rows, None)
    batch = problem.draw(dataset.train, rows, At(jnp.int32(0), jnp.int32(0)))
    both = zip(batch.inputs, plain.inputs, strict=True)
    turned = [not np.allclose(one, other, atol=1e-4) for one, other in both]
    assert {*turned} == {True, False}
    bright = dataset.class_names.index("bright")
    for i in range(8):
        if turned[i]:
            np.testing.assert_allclose(batch.inputs[i], plain.inputs[i, :, ::-1], atol=1e-4)
        for box, label in zip(batch.targets.box[i], batch.targets.label[i], strict=True):
            if label >= 0:
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                assert (batch.inputs[i, y, x, 0] > 0) == (label == bright)
        there = batch.drawn.found[i].reshape(8, 8)
        before = plain.drawn.found[i].reshape(8, 8)
        np.testing.assert_array_equal(there, before[:, ::-1] if turned[i] else before)


@pytest.mark.parametrize("weighs", WEIGHS)
def test_records_and_groups_are_of_objects(folder, weighs):
    problem, batch, outputs = drawn(folder, **{"detection.weighs": weighs, "noise.rate": 0.5})
    units, objects = problem.units(outputs, batch), problem.objects
    wrong = problem.groups["wrong"](batch.targets, batch.clean_targets)
    own = units.where & objects.to_units(wrong, batch)
    found = np.asarray(batch.drawn.found)
    losses = objects.of_units(units.losses, units.where, batch)
    predicted = problem.records["predicted"].of(outputs, batch)
    for i, j in np.ndindex(2, 6):
        at = found[i] == j
        if not at.any():
            assert losses[i, j] == UNKNOWN
            continue
        each = [cross_entropy(np.asarray(outputs.logits[i, k], np.float64),
                              batch.targets.label[i, j]) for k in np.flatnonzero(at)]  # fmt: skip
        assert losses[i, j] == pytest.approx(np.mean(each), rel=1e-5)
        scores = jax.nn.softmax(outputs.logits[i, at])[:, :2].mean(axis=0)
        assert predicted[i, j] == scores.argmax()
        mask = own[i, j] if weighs == "objects" else own[i][at].all()
        assert bool(mask) == bool(batch.targets.label[i, j] != batch.clean_targets[i, j])
    assert (losses[2] == UNKNOWN).all()


# --- Configs. -------------------------------------------------------------------------------------

FITTING = ("plain", "superloss", "cauchy", "self_paced", "trimmed", "mentornet")
OF_INDEX = ("trend_superloss", "loss_memory", "early_learning", "self_filter")
OF_CLASSES = ("generalized_cross_entropy", "active_passive", "bootstrap", "focal")


@pytest.mark.parametrize("method", [*FITTING, *OF_CLASSES])
def test_methods_that_fit(folder, method):
    of_objects = {"detection.weighs": "objects"}
    for own in ({}, of_objects) if method in FITTING else ({},):
        build.build_run(shapes.config_of(folder, **{"loss.method": method}, **own))
    if method in OF_CLASSES:
        with pytest.raises(ValueError, match=f"config.loss.method: {method} needs classes"):
            build.build_run(shapes.config_of(folder, **{"loss.method": method}, **of_objects))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        *(({"loss.method": name}, "needs? `?index") for name in OF_INDEX),
        ({"loss.method": "forward_correction"}, "needs the noise's transition matrix"),
        ({"loss.method": "cross_entropy"}, "the loss of a detector without a method is plain"),
        ({"loss.method": "co_teaching"}, "two networks that teach each other need one loss an im"),
        ({"detection.weighs": "boxes"}, "config.detection.weighs: expected one of foreground, loc"),
        ({"detection.classes": "hinge"}, "config.detection.classes: expected one of cross_entropy"),
        ({"detection.boxes": "l1"}, "config.detection.boxes: expected one of iou, giou"),
        ({"detection.radius": 0.0}, "config.detection.radius: expected a finite number > 0"),
        ({"detection.suppression": 2.0}, "config.detection.suppression: expected a number from 0"),
        ({"detection.box_weight": -1.0}, "config.detection.box_weight: expected a number from 0"),
        ({"model.name": "resnet18"}, "config.model.name: expected one of detector_small, "),
        ({"data.height": 34}, "config.data.height, config.data.width: expected multiples of 4"),
    ],
)
def test_mistakes(folder, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(shapes.config_of(folder, **overrides))
    assert "\n" not in str(error.value)


def test_what_is_declared_is_what_is_read(folder, monkeypatch):
    monkeypatch.setattr(identity, "read_part", lambda config: config)
    for overrides in (
        {"loss.method": "plain"},
        {"noise.rate": 0.0},
        {"noise.kind": "given"},
        {"noise.rate": 0.0, "noise.bogus": 0.1},
    ):
        config, read = shapes.config_of(folder, **overrides), set()
        build.build_run(Reading(config, read))
        flat = identity.flattened(config.to_dict())
        declared = {key for key in flat if identity.is_read(key, flat)}
        assert declared - read == {"data.split_seed"}, overrides  # the folder has its own parts
        assert {key for key in read if not identity.is_carried_out(key)} <= declared


def stand_in(height, width, classes):
    """Returns a data set of two black images, for configs whose data are not here."""
    shape = (2, 100)
    targets = Boxes(np.zeros((*shape, 4), np.float32), np.full(shape, -1, np.int32),
                    np.zeros(shape, bool))  # fmt: skip
    inputs = Pictures(np.zeros((2, height, width, 3), np.uint8), np.ones(2, np.float32))
    part = Examples(inputs, targets, targets.label, np.arange(2, dtype=np.int32))
    names = tuple(map(str, range(classes)))
    return data.Detections("", names, part, part.rows(slice(0)), part, (0.0,) * 3, (1.0,) * 3, {},
                           "")  # fmt: skip


@pytest.mark.parametrize("name", ["bccd", "bccd_more", "bccd_tuning", "voc", "coco"])
def test_every_config_builds_also_at_full_scale(name, monkeypatch):
    config = runpy.run_path(str(ROOT / f"configs/detection_{name}.py"))["get_config"]()
    sides, classes = (config.data.height, config.data.width), {"voc": 20, "coco": 80}.get(name, 3)
    monkeypatch.setattr(data, "load", lambda *unused: stand_in(*sides, classes))
    config.batch_size = 2
    run = build.build_run(config)
    state = jax.eval_shape(lambda: step.initial(run, np.int32(0)))
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    expected = {"voc": 32.0e6, "coco": 32.1e6}.get(name, 393e3)  # FCOS on ResNet-50: 32.1 million
    assert size == pytest.approx(expected, rel=0.01)
