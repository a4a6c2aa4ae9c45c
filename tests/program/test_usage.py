"""What programs say of a config's keys, of mistakes in a command line, and why they stop."""

import signal

import pytest

from configs import base, digits
from experiments import keys, main, usage
from experiments.runs import lock
from tests.program.test_main import ROOT


def test_every_key_of_the_base_config_has_a_comment():
    told = keys.comments(ROOT / "configs/base.py")
    own = {key for key, value in keys.values(base.get_config().to_dict())
           if not isinstance(value, dict) and not key.startswith("loss.")}  # fmt: skip
    assert own <= told.keys()
    assert told["data.exclude"] == (
        "directory of a finished run: its most suspect examples are left out"
    )
    assert told["loss.jocor.warmup"] == told["loss.co_teaching.warmup"]  # of a variable
    assert told["loss.tau"] == "for constant"  # of the file that base.py builds on


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("[a-z]*.py")), ids=lambda f: f.stem)
def test_every_config_has_the_comments_of_what_it_builds_on(file):
    below = {"epochs"} if file.stem != "losses" else {"method"}
    assert below <= keys.comments(file).keys()


def test_comments_of_a_users_own_config(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from configs.base import get_config as start\n"
        "def get_config():\n"
        "    config = start()\n"
        "    config.width = 32  # units of\n"
        "    # the hidden layer\n"
        "    config.epochs = 3  # short\n"
        "    config.head = dict(a=1) | {'b': 2, 'c': 3}  # of the first key\n"
        "    return config\n"
    )
    told = keys.comments(file)
    assert told["width"] == "units of the hidden layer"
    assert told["epochs"] == "times that each training example is seen"  # its meaning
    assert told["head"] == "of the first key"
    assert "head.b" not in told


@pytest.mark.parametrize(("dotted", "said"), [
    ("loss.methd", "config.loss: expected .*, got 'methd'; did you mean config.loss.method?"),
    ("method", "; did you mean config.loss.method?"),  # in the wrong place
    ("nois.rate", "; did you mean config.noise.rate?"),
    ("noise.seeed", "; did you mean config.noise.seed?"),
    ("optimizer.boundaries[0]", "config.optimizer.boundaries: it is set as a whole"),
    ("epochs.x", "config.epochs: it is a value and has no key 'x'"),
    ("zzz", "got 'zzz'$"),
])  # fmt: skip
def test_an_unknown_key_is_one_sentence_with_those_that_may_be_meant(dotted, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")) as error:
        keys.check(digits.get_config(), dotted)
    assert "\n" not in str(error.value)


def test_what_ml_collections_raises_is_one_sentence():
    config = digits.get_config()
    for wrong in (lambda: config.los.method, lambda: config["los"]):
        with pytest.raises((AttributeError, KeyError)) as error:
            wrong()
        assert keys.in_words(error.value) == "no key 'los'; did you mean loss?"
    config.lock()
    with pytest.raises(KeyError) as error:
        config.loss["methd"] = 1
    assert keys.in_words(error.value) == "no key 'methd'; did you mean method?"
    assert keys.in_words(ValueError("a\nb")) == "b"


@pytest.mark.parametrize(("given", "said"), [
    (["tabel"], "COMMAND: expected one of table, pack, got 'tabel'; did you mean table?"),
    (["table", "--workdri=x"], "unknown option --workdri; did you mean --workdir?"),
    (["table", "--workdir=x", "--nubmer=3"], "unknown option --nubmer; did you mean --number?"),
    (["table", "--workdir=x", "y"], "unexpected argument 'y'"),
])  # fmt: skip
def test_a_mistake_with_argparse_is_one_line(given, said, capsys):
    parser = usage.Parser(prog="x")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("table", "pack"):
        command = commands.add_parser(name)
        command.add_argument("--workdir", required=True)
        command.add_argument("--number", type=int)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(given)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: {said}; --help shows all\n"


def stopped_run(stack):
    raise lock.Stopped(signal.SIGTERM)


def test_a_stop_is_no_error(capsys, monkeypatch):
    monkeypatch.setattr(main, "run", stopped_run)
    with pytest.raises(SystemExit) as stopped:
        main.main(["main"])
    assert stopped.value.code == 143
    said = "stopped  SIGTERM: saved; run the same command again to continue\n"
    assert capsys.readouterr().err == said
