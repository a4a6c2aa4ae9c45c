"""Runs that have begun and have no result: what a table leaves out."""

import json
import pathlib

from experiments import workdir
from experiments.pool import REASON


def unfinished(root: pathlib.Path) -> list[tuple[str, str]]:
    """Directories of runs without a result, and what is known of them."""
    begun = {path.parent for name in (workdir.CONFIG, REASON) for path in root.glob(f"**/{name}")}
    found = []
    for path in sorted(path for path in begun if not (path / workdir.RESULTS).exists()):
        if (path / REASON).exists():
            said = "failed: " + (path / REASON).read_text().strip()
        elif (path / workdir.FAILED).exists():
            failure = json.loads((path / workdir.FAILED).read_text())
            said = (
                f"failed: step {failure['step']}, not finite: {', '.join(failure['tensors'][:3])}"
            )
        else:
            metrics = path / workdir.METRICS
            epochs = metrics.read_text().count("\n") if metrics.exists() else 0
            said = f"not finished: {epochs} epochs"
        found.append((path.relative_to(root).as_posix(), said))
    return found


def counted(root: pathlib.Path) -> str:
    """What a caption says of them: a run that diverged is not one that was never begun."""
    states = [said.partition(":")[0] for _, said in unfinished(root)]
    parts = [f"{states.count(name)} {name}" for name in sorted({*states})]
    return f"Runs below the directory without a result: {', '.join(parts)}." if parts else ""
