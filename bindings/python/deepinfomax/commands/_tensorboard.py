"""TensorBoard's event files, by the package tensorboard."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from typing import Any

from ..run_folder import Row

#: From this field on a row's are figures by their names.
_FIGURES = [field.name for field in fields(Row)].index("prior_distance")


class EventFile:
    """What metrics.csv has of a run, as scalars."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        self._writer: Any = EventFileWriter(os.fspath(folder))

    def add(self, row: Row) -> None:
        import time

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
        self._writer.add_event(self._event(step=row.step, wall_time=time.time(), summary=self._summary(value=values)))

    def close(self) -> None:
        self._writer.close()
