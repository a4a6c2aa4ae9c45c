"""Measures how fast a folder of photographs is decoded while a run trains, beside torchvision.

    python -m scripts.bench_streaming [--torch_python .venv-torch/bin/python]

Writes 20,000 JPEGs of 256x256 pixels to a temporary folder: coarse colours with a finer texture.
Then, in interleaved rounds and each in a process of its own: batches of 128 images of 224x224 in
random order, with 1 and 2 workers, by us and by torchvision's ImageFolder and PyTorch's
DataLoader, with Pillow and with torchvision's own decoder. Last, an epoch of training on all, with
its largest memory, and what the parts of decoding take.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from experiments import checks, streams
from experiments.data import Examples, image_files
from experiments.data.encoded import Encoded
from experiments.progress import console, progress_line, track

CLASSES, SIZE, SIDE, BATCH = 10, 256, 224, 128
WORKERS = (1, 2)
OURS, PILLOW, JPEG = "ours", "ImageFolder, Pillow", "ImageFolder, decode_jpeg"
TRAIN = (
    "--config=configs/own.py", f"--config.data.side={SIDE}", "--config.data.decode=files",
    "--config.epochs=1", f"--config.batch_size={BATCH}", "--config.augment.pad=16",
    "--config.augment.flip=True", "--config.model.name=convnet_tiny",
)  # fmt: skip


def write_images(root: pathlib.Path, number: int) -> None:
    def write(i: int) -> None:
        drawn = np.random.default_rng(i)
        coarse, fine = (
            Image.fromarray(drawn.integers(0, 256, (side, side, 3), np.uint8)).resize(
                (SIZE, SIZE), Image.Resampling.BICUBIC
            )
            for side in (6, SIZE // 2)
        )
        file = root / f"class_{i % CLASSES}" / f"{i:06d}.jpg"
        Image.blend(coarse, fine, 0.15).save(file, quality=90)

    for i in range(CLASSES):
        (root / f"class_{i}").mkdir(parents=True)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.map(write, range(number))
        for _ in track(range(number), "writing images"):
            next(done)


def files_of(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(root.rglob("*.jpg"))


def work(root: pathlib.Path, number: int, workers: int) -> None:
    """Streams some images; prints what it took as a line of JSON."""
    import jax

    from experiments.training import devices
    from experiments.training.stream import stream

    files = files_of(root)
    places = np.arange(len(files), dtype=np.int32)

    def image(place: int) -> np.ndarray:
        return image_files.square(str(place), files[place], SIDE).pixels

    images = Encoded(image, places, (SIDE, SIDE, 3))
    data, layout = Examples(images, places, places, places), devices.layout(1)
    order = np.random.default_rng(0).permutation(places)[: number // BATCH * BATCH]
    for _ in stream(data, order[:BATCH].reshape(1, -1), layout, workers):
        pass
    cpu, start, seen = time.process_time(), time.perf_counter(), 0
    for batch, _ in stream(data, order.reshape(-1, BATCH), layout, workers):
        seen += len(jax.block_until_ready(batch.index))
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps({"images": seen, "version": jax.__version__} | took))


def measured(command: list[str]) -> dict:
    """Runs a command in a process of its own; returns its last line and its largest memory."""
    alone = {"XLA_FLAGS": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | alone)
    said = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"said": said.splitlines()[-1], "peak_mb": used.ru_maxrss / 1e3}


def readers(root: pathlib.Path, number: int, torch_python: str | None) -> dict:
    """Returns the command of each way to read the images, by its name and number of workers."""
    found = {}
    for workers in WORKERS:
        own = ["--work", str(root), str(number), str(workers)]
        found[OURS, workers] = [sys.executable, "-m", "scripts.bench_streaming", *own]
        if torch_python:
            script = [torch_python, "scripts/torchvision_folder.py", str(root), str(SIDE)]
            for name, decoder in ((PILLOW, "pil"), (JPEG, "jpeg")):
                found[name, workers] = [*script, str(BATCH), str(number), str(workers), decoder]
    return found


def speeds(commands: dict, rounds: int) -> list[dict]:
    """Returns images a second, by the clock and of CPU time, of each command in each round."""
    found = []
    with progress_line(rounds * len(commands), "reading images") as update:
        for _ in range(rounds):
            one = {}
            for name, command in commands.items():
                took = measured(command)
                said = json.loads(took["said"])
                one[name] = {
                    "wall": said["images"] / said["seconds"],
                    "cpu": said["images"] / said["cpu"],
                    "peak_mb": took["peak_mb"],
                    "version": said["version"],
                }
                update(len(found) * len(commands) + len(one), "reading images")
            found.append(one)
    return found


def table(found: list[dict]) -> str:
    """Medians over rounds; a ratio is the median of the rounds' ratios."""
    lines = [
        "| reader | workers | images/s | times Pillow | images per CPU second | times Pillow |"
    ]
    lines.append("|" + " --- |" * 6)
    for name, workers in found[0]:
        cells = [name, str(workers)]
        for kind in ("wall", "cpu"):
            values = [one[name, workers][kind] for one in found]
            cells.append(f"{statistics.median(values):,.0f}")
            base = [one.get((PILLOW, workers), {}).get(kind) for one in found]
            ratios = [a / b for a, b in zip(values, base, strict=True) if b]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parts(files: list[pathlib.Path]) -> dict[str, float]:
    """Returns the CPU milliseconds an image of reading, decoding and resizing it."""

    def decoded(file):
        with Image.open(file) as image:
            return image.convert("RGB")

    uses = {
        "read": lambda file: file.read_bytes(),
        "read, decode": decoded,
        "read, decode, resize": lambda file: image_files.square(file.name, file, SIDE),
    }
    found: dict[str, list[float]] = {name: [] for name in uses}
    for _ in range(5):
        for name, use in uses.items():
            start = time.process_time()
            for file in files:
                use(file)
            found[name].append((time.process_time() - start) / len(files) * 1e3)
    return {name: statistics.median(values) for name, values in found.items()}


def trained(root: pathlib.Path, place: pathlib.Path) -> dict:
    """Trains an epoch; returns its seconds, and the largest memory in MB."""
    command = [sys.executable, "-m", "experiments.main", *TRAIN, f"--config.data.path={root}"]
    took = measured([*command, f"--workdir={place}"])
    row = json.loads((place / "timing.jsonl").read_text().splitlines()[-1])
    return row | {"peak_mb": took["peak_mb"]}


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torchvision")
    parser.add_argument("--images", type=checks.natural, default=20_000)
    parser.add_argument("--read", type=checks.natural, default=2560, help="images of a round")
    parser.add_argument("--rounds", type=checks.natural, default=5)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        root, number, workers = args.work
        return work(pathlib.Path(root), int(number), int(workers))
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "images"
        write_images(root, args.images)
        files = files_of(root)
        size = sum(file.stat().st_size for file in files) / 1e6
        console.print(f"{len(files)} JPEGs of {SIZE}x{SIZE}, {size:,.0f} MB")
        found = speeds(readers(root, args.read, args.torch_python), args.rounds)
        print(table(found))
        memory = max(one[OURS, workers]["peak_mb"] for one in found for workers in WORKERS)
        print(f"versions {[one['version'] for one in found[0].values()]}")
        print(f"largest memory of our reader: {memory:,.0f} MB")
        for name, milliseconds in parts(files[:500]).items():
            print(f"{name}: {milliseconds:.2f} ms of CPU time an image")
        print(f"an epoch of training: {trained(root, pathlib.Path(folder) / 'run')}")
    return None


if __name__ == "__main__":
    main()
