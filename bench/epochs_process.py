"""Times epochs in a process of its own, of the batch size that each line on standard input names.

Started by limits.py, with environment variables that say which registers kernels are compiled for.
"""

from __future__ import annotations

import sys

from children import serve

from fastfnn.benchmarks.epochs import Epochs
from fastfnn.config import TrainingConfig
from fastfnn.data import load_dataset
from fastfnn.kernels.processor import MATRICES


def main() -> None:
    name, config, *sizes = sys.argv[1:]
    data, of_all = load_dataset(name), TrainingConfig.from_json(config)
    timers = {size: Epochs(data, of_all.replace(batch_size=int(size))).time_epoch for size in sizes}
    serve(timers, {"matrices": MATRICES})


if __name__ == "__main__":
    main()
