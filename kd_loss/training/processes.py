"""Several devices and several machines, on the JAX backend: `--devices all`, `--distributed host:port`.

Every process runs the same command. The first one writes the run; the others keep a scratch folder. Batches
are sharded by index, so that the global batch, its order and its augmentation are those of one process;
batch normalisation, losses and gradients are over the global batch.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.system.errors import UserError, first_line
from kd_loss.system.messages import LOGGER
from kd_loss.training.options import TrainingOptions

#: seconds of silence after which a process is given up and the others end
HEARTBEAT = 30


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together.

    Attributes:
        index, count: of processes; devices: of all processes together; 1 means no distribution.
    """

    index: int = 0
    count: int = 1
    devices: int = 1

    def check_batch(self, batch_size: int) -> None:
        """Refuse a global batch that the devices cannot share evenly."""
        if batch_size % self.devices:
            raise UserError(f"--batch-size {batch_size} is not a multiple of the {self.devices} devices that share it")

    @contextlib.contextmanager
    def data_parallel(self) -> Iterator[None]:
        """Context in which new networks have the same weights on all devices and `fit` splits each batch among them."""
        if self.devices == 1:
            yield
            return
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    @contextlib.contextmanager
    def first_before_the_others(self) -> Iterator[None]:
        """The first process runs the block, then the others, which find its output on disk."""
        if self.index:
            self._meet("first")
        yield
        if not self.index:
            self._meet("first")

    def agree_on(self, folder: Path) -> Path:
        """The first process's folder, in every process."""
        if self.count == 1:
            return folder
        from jax.experimental import multihost_utils

        text = np.zeros(4096, np.uint8)
        data = str(folder.resolve()).encode()
        text[: len(data)] = np.frombuffer(data, np.uint8)
        agreed = np.asarray(multihost_utils.broadcast_one_to_all(text))
        return Path(bytes(agreed).rstrip(b"\0").decode())

    def _meet(self, name: str) -> None:
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)


_joined: Processes | None = None


def join(options: TrainingOptions) -> Processes:
    """Join the other processes, once per process; raises a `UserError` for impossible options.

    All but the first are silent from then on.

    `--distributed auto` takes address, number and index from Slurm, Open MPI or the cloud, as JAX detects them.
    """
    global _joined
    if not options.distributed and options.devices == "one":
        return Processes()
    if keras.backend.backend() != "jax":
        raise UserError("--devices all and --distributed need the JAX backend: set KERAS_BACKEND=jax")
    if _joined is not None:
        return _joined
    import jax

    if options.distributed:
        given: dict[str, Any] = {}
        if options.distributed != "auto":
            if not re.fullmatch(r"[\w.\-\[\]:]+:\d+", options.distributed):
                raise UserError(f"--distributed {options.distributed} is not host:port (of the first process) or auto")
            if options.processes < 1 or not 0 <= options.process < options.processes:
                raise UserError(f"--process {options.process} is not in 0…{options.processes - 1} (--processes)")
            given = {
                "coordinator_address": options.distributed,
                "num_processes": options.processes,
                "process_id": options.process,
            }
        try:
            jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT, initialization_timeout=120)
        except (RuntimeError, ValueError) as error:
            reason = first_line(error)
            raise UserError(f"--distributed {options.distributed}: the processes did not connect: {reason}") from None
    _joined = Processes(jax.process_index(), jax.process_count(), len(jax.devices()))
    if _joined.index:
        LOGGER.setLevel(logging.ERROR)
    return _joined
