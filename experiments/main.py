"""Trains one configuration.

python -m experiments.main --config=configs/digits.py --config.noise.rate=0.4 --workdir=DIR
"""

from absl import app, flags, logging

from experiments.command import CONFIG, DATA_DIR, parse, refuse

WORKDIR = flags.DEFINE_string("workdir", None, "Directory for what the run writes.", required=True)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find
    from experiments import train, workdir  # after the flags: a typo is answered at once

    try:
        path = workdir.prepare(WORKDIR.value)
        run = train.build(CONFIG.value, DATA_DIR.value)
    except (ValueError, TypeError) as error:
        refuse(error)
    try:
        results = train.train(CONFIG.value, run, path)
    except FloatingPointError as error:
        refuse(error, code=1)
    except KeyboardInterrupt:
        refuse(InterruptedError("interrupted; there is no result"), code=130)
    accuracy = results["test_accuracy"].get("last")
    tested = "no test images" if accuracy is None else f"test accuracy {accuracy:.2%}"
    print(f"{tested} in the last epoch; results in {path / workdir.RESULTS}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
