"""A MentorNet that learns from a run, its file, and the student that it weighs examples for."""

import jax
import numpy as np
import pytest

from configs import mentornet_record, mentornet_train
from experiments.runs import contents, files, identity
from experiments.training import build, mentors
from experiments.training import step as one_step
from tests.program.running import reported

__all__ = ["reported"]
EXAMPLES, EPOCHS, STEPS = 200, 10, 200


@pytest.fixture(scope="module")
def params():
    return mentors.drawn(jax.random.key(0), 3)


def written(path, params, rows=1):
    """Writes a MentorNet with untrained weights; returns the name of its file."""
    own = params._replace(labels=params.labels[:rows])
    mentors.write(path, mentors.Mentor(own, 60.0, (10, 30)))
    return str(path)


def student(path):
    config = mentornet_train.get_config()
    config.loss.learned_mentornet.path = path
    return config


def recorded(path):
    """Writes what a run leaves whose wrong labels have larger losses from the second epoch on."""
    rng = np.random.default_rng(0)
    config = mentornet_record.get_config()
    config.epochs = EPOCHS
    wrong = (rng.random(EXAMPLES) < 0.4).astype(np.int32)
    (path / "losses").mkdir(parents=True)
    files.write_json(path / files.CONFIG, config.to_dict())
    for epoch in range(1, EPOCHS + 1):
        losses = rng.random(EXAMPLES) + 2 * wrong * (epoch > 1)
        np.save(path / "losses" / f"{epoch:04d}.npy", losses.astype(np.float32))
    target = rng.integers(0, 3, EXAMPLES)
    np.savez(path / files.SAMPLES, index=np.arange(EXAMPLES), wrong=wrong, target=target)
    return wrong


def test_it_learns_from_the_known_labels_alone(tmp_path, reported):
    wrong = recorded(tmp_path)
    given = ("mentornet", "--workdir", tmp_path, "--known=0.25", f"--steps={STEPS}", "--last=0.3")
    said = reported(*given)
    found = mentors.read(str(tmp_path / "mentornet.npz"))
    known = np.random.default_rng(0).permutation(EXAMPLES)[:50]
    assert f"from 50 of 200 examples, {wrong[known].sum()} wrong, in 3 epoch(s)" in said
    assert found.percents == (10, 30)
    assert found.percentile == 100 * (wrong[known] == 0).mean()
    assert len(found.params.labels) == 1
    losses = np.load(tmp_path / "losses" / "0003.npy")[None]
    entries = mentors.seen(losses, 0, wrong == 0, [20], found.percentile)
    weights = np.asarray(jax.nn.sigmoid(mentors.logits_of(found.params, entries)))
    assert weights[wrong == 0].min() > 0.9 > 0.1 > weights[wrong == 1].max()
    before = (tmp_path / "mentornet.npz").read_bytes()
    rows = dict(np.load(tmp_path / files.SAMPLES))
    rows["wrong"] = 1 - rows["wrong"]
    rows["wrong"][known] = wrong[known]
    np.savez(tmp_path / files.SAMPLES, **rows)
    reported(*given, "--output", tmp_path / "again.npz")
    again = np.load(tmp_path / "again.npz")
    for name, value in np.load(tmp_path / "mentornet.npz").items():
        np.testing.assert_array_equal(value, again[name])
    assert before == (tmp_path / "mentornet.npz").read_bytes()


def test_features_by_hand():
    losses = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    found = mentors.seen(losses, np.array([2, 0, 1]), np.array([True, True, False]), [10, 20], 50.0)
    assert np.asarray(found.losses).tolist() == [1, 2, 6, 0, 0, 3]
    assert np.asarray(found.differences).tolist() == [-1, 0, 4, 0, 0, 3]
    assert np.asarray(found.labels).tolist() == [2, 0, 1, 2, 0, 1]
    assert np.asarray(found.percents).tolist() == [10, 10, 10, 20, 20, 20]
    assert np.asarray(found.right).tolist() == [1, 1, 0, 1, 1, 0]


def test_a_student_takes_steps(tmp_path, params):
    config = student(written(tmp_path / "mentor.npz", params))
    run = build.build_run(config)
    state = jax.eval_shape(lambda: one_step.initial(run, np.int32(0)))
    host = run.problem.stored(run.dataset.train)
    order = jax.ShapeDtypeStruct((18, 64), np.int32)
    after, _ = jax.eval_shape(one_step.make_train_step(run), state, host, order)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), one) for one in (state, after)]
    assert shapes[0] == shapes[1]


def test_another_file_is_another_run(tmp_path, params):
    found = []
    for rows in (1, 3):
        config = student(written(tmp_path / "mentor.npz", params, rows))
        contents.note(config)
        assert len(config.loss.learned_mentornet.sha256) == 16
        found.append(identity.config_sha256(config.to_dict()))
        config.loss.method = "cross_entropy"  # which the file has no part in
        found.append(identity.config_sha256(config.to_dict()))
    assert found[0] != found[2]
    assert found[1] == found[3]


def test_a_student_s_mistakes(tmp_path, params):
    torn, other = tmp_path / "torn.npz", tmp_path / "other.npz"
    torn.write_text("text")
    np.savez(other, index=np.arange(3))
    short = written(tmp_path / "short.npz", params._replace(bias=np.zeros(3)))
    infinite = written(tmp_path / "nan.npz", params._replace(bias=np.full(4, np.nan)))
    wanted = "expected a MentorNet, as `python -m experiments.report mentornet` writes one"
    for path, message in (
        (None, f"{wanted}, got None"),
        (str(tmp_path / "none.npz"), r"none\.npz: No such file or directory"),
        (str(torn), rf"torn\.npz: {wanted}: .*torn"),
        (str(other), rf"other\.npz: {wanted}: .*percents"),
        (short, rf"short\.npz: {wanted}: params: expected bias of shape \(4,\), got \(3,\)"),
        (infinite, r"nan\.npz: expected finite weights"),
        (written(tmp_path / "three.npz", params, 3), "it has learned from 3 classes, and here are"),
    ):
        with pytest.raises(ValueError, match=rf"learned_mentornet\.path: .*{message}") as error:
            build.build_run(student(path))
        assert "\n" not in str(error.value)
    config = student(written(tmp_path / "mentor.npz", params))
    config.loss.base = "focal"
    with pytest.raises(ValueError, match=r"loss\.base: .*expected cross_entropy, got focal"):
        build.build_run(config)


def test_mistakes_about_the_run(tmp_path, reported, capsys):
    recorded(tmp_path)
    given = ("mentornet", "--workdir", tmp_path)
    rows = dict(np.load(tmp_path / files.SAMPLES))

    def refused(*words, message):
        with pytest.raises(SystemExit) as stopped:
            reported(*given, *words)
        said = capsys.readouterr().err
        assert stopped.value.code == 2
        assert message in said
        assert said.count("\n") == 1

    refused("--known=0.02", message="--known: expected 5 right and 5 wrong labels, got ")
    refused("--known=2", message="--known: expected a number from 1e-09 to 1, got 2.0")
    refused("--last=0.1", message="--last: expected a number from 0.18 to 1, got 0.1")
    np.savez(tmp_path / files.SAMPLES, **rows | {"wrong": np.full(EXAMPLES, -1)})
    refused(message="of 0 that the run knows")
    np.savez(tmp_path / files.SAMPLES, **rows | {"target": np.zeros(EXAMPLES)})
    refused("--labels", "--known=1", message="has no classes")
    np.save(tmp_path / "losses" / "0002.npy", np.full(EXAMPLES, np.nan))
    refused(message="expected a loss of each example in each epoch, got NaN")
    (tmp_path / "losses" / "0010.npy").unlink()
    refused(message="config.report.losses was not set")
    (tmp_path / files.CONFIG).unlink()
    refused(message="expected a finished run")
    assert not (tmp_path / "mentornet.npz").exists()
