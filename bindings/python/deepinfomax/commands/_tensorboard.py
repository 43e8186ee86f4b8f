"""TensorBoard's event files, by the package tensorboard."""

from __future__ import annotations

import errno
import itertools
import math
import os
import socket
import time
from dataclasses import fields
from typing import Any

from ..run_folder import Row

#: From this field on a row's are figures by their names.
_FIGURES = [field.name for field in fields(Row)].index("prior_distance")

#: Of the files of this process, which one second may see several of.
_NUMBERS = itertools.count()


class EventFile:
    """What metrics.csv has of a run, as scalars. A row is on the disk when `add` returns; it raises OSError otherwise.

    resumed: the step that a resumed run continues after. TensorBoard drops what earlier files have of later steps, which a killed
    run made after its last checkpoint; metrics.csv loses the same rows.

    Not TensorBoard's EventFileWriter: that writes in a thread, which prints a traceback where the disk is full.
    """

    def __init__(self, folder: str | os.PathLike[str], resumed: int | None = None) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        began = time.time()
        # TensorBoard reads files in the order of their names, and a run may be killed and resumed within a second.
        name = f"events.out.tfevents.{began:017.6f}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self._path = os.path.join(os.fspath(folder), name)
        self._file = open(self._path, "wb", buffering=0)
        self._records: Any = RecordWriter(self)
        self._add(self._event(wall_time=began, file_version="brain.Event:2"))
        if resumed is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            # It drops what is of this step as well.
            self._add(self._event(wall_time=began, step=resumed + 1, session_log=start))

    def write(self, record: bytes) -> None:
        """For RecordWriter."""
        try:
            if self._file.write(record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def add(self, row: Row) -> None:
        scalars = {
            f"{row.phase}/total": row.total,
            f"{row.phase}/local": row.local,
            f"{row.phase}/global": row.global_,
            f"{row.phase}/prior": row.prior,
            "learning_rate": row.learning_rate,
            f"{row.phase}/images_per_second": row.images_per_second,
        }
        scalars |= {f"{row.phase}/linear_probe": row.linear_probe, f"{row.phase}/nearest_neighbours": row.nearest_neighbours}
        scalars |= {f"{row.phase}/{field.name}": getattr(row, field.name) for field in fields(row)[_FIGURES:]}
        scalars = {tag: value for tag, value in scalars.items() if not math.isnan(value)}
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._add(self._event(step=row.step, wall_time=time.time(), summary=self._summary(value=values)))

    def close(self) -> None:
        self._file.close()
