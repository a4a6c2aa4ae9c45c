"""Time and memory of ranking embeddings on the host.

    python -m scripts.bench_ranking --number=100000 --queries=5000

Ranks the first `queries` of random embeddings of 512 dimensions against all. Memory is the
process's peak, the embeddings included; it does not depend on how many are queries.
"""

import argparse
import resource
import time

import numpy as np

from experiments import checks, streams
from experiments.tasks import ranking


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=checks.natural, default=100_000)
    parser.add_argument("--queries", type=checks.natural, default=5_000)
    args = parser.parse_args()
    drawn = np.random.default_rng(0).standard_normal((args.number, 512), dtype=np.float32)
    embeddings = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    del drawn
    rows = ranking.rows_of_a_block(args.number)
    start = time.process_time()
    for first in range(0, args.queries, rows):
        ranking.nearest(embeddings, slice(first, min(first + rows, args.queries)), 8)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    whole = seconds * args.number / args.queries
    print(f"{args.queries} of {args.number} queries: {seconds:.1f} s of CPU, {whole:.0f} s for all")
    print(f"peak of memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
