"""The files of runs: training writes them, sweeps and reports read them."""
