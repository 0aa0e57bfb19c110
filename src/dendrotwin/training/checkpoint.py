"""What a training writes while it runs: its checkpoint, and its log."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dendrotwin.errors import MissingPackageError, TwinError
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.training.run import Run


def save_checkpoint(path: Path, run: Run) -> None:
    """Write all that a killed training needs to go on, under a temporary name until it is complete.

    Args:
        path: the file.
        run: the training.
    """
    with whole_file(path) as temporary:
        parts = {name: part.state_dict() for name, part in run.parts().items()}
        content = io.BytesIO()  # torch does not say why it cannot write a file
        began = {"identity": run.identity(), "threads": torch.get_num_threads()}
        torch.save({**began, "state": run.state, **parts}, content)
        temporary.write_bytes(content.getbuffer())


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give PyTorch the threads back that it had, after a training that went on with others; see `resume`."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def resume(checkpoint: Path, run: Run) -> None:
    """Go on where a killed run of the same training was, if there is one; another's checkpoint is not used.

    PyTorch gets the number of threads that the training began with.

    Args:
        checkpoint: the file, which need not exist.
        run: a training that has not begun; it gets the weights and counts of the killed one.

    Raises:
        TwinError: the file is damaged.
    """
    if not checkpoint.is_file():
        return
    try:
        saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
        if saved["identity"] != run.identity():
            return
        for name, part in run.parts().items():
            part.load_state_dict(saved[name])
        run.state.update(saved["state"])
        threads = int(saved.get("threads", torch.get_num_threads()))
    except Exception as error:
        raise TwinError(f"the checkpoint {checkpoint} is damaged ({error}); delete it and train again") from error
    if threads != torch.get_num_threads():  # sums over threads have other roundings
        words = f"this training goes on with {threads} threads of PyTorch, as it began: its weights depend on that"
        print(words, file=sys.stderr)
        torch.set_num_threads(threads)


class Log:
    """The rounds of a training as lines of JSON and, if wanted, for TensorBoard.

    Attributes:
        path: the file of JSON lines, beside the twin's folder.
    """

    def __init__(self, out: Path, tensorboard: bool) -> None:
        """Name the files, and see that the first is there; `start` writes it.

        Args:
            out: folder of the twin.
            tensorboard: whether to write for TensorBoard too.

        Raises:
            MissingPackageError: TensorBoard is not installed.
        """
        self.path = out.parent / f"{out.name}.log.jsonl"
        self._points: list[dict[str, Any]] = []
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingPackageError(
                    "--tensorboard needs the package tensorboard: pip install tensorboard"
                ) from error
            self._board = SummaryWriter(str(out.parent / f"{out.name}.tensorboard"))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def start(self, curve: list[dict[str, Any]]) -> None:
        """Begin the file.

        Args:
            curve: the rounds that a resumed run has behind it; see `rounds.end_round`.
        """
        self._points = list(curve)
        self._write()

    def _write(self) -> None:
        """The file anew, whole whatever happens, such as a full disk."""
        with whole_file(self.path) as temporary:
            temporary.write_text("".join(json.dumps(point) + "\n" for point in self._points))

    def add(self, point: dict[str, Any]) -> None:
        """Add the line of a round.

        Args:
            point: see `rounds.end_round`.
        """
        self._points.append(point)
        self._write()
        if self._board is not None:
            for name, value in point.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, point["step"])
            self._board.flush()
