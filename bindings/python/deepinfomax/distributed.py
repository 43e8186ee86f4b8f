"""Several processes, on one machine or many, over MPI: the same bytes as one (docs/distributed.md).

mpi4py is imported when a communicator is used, not before. All communication between processes is in `Group`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from ._arrays import digest
from ._text import shown
from .data.errors import MissingPackage

if TYPE_CHECKING:
    from .model import Model
    from .trainer import Losses, Trainer

T = TypeVar("T")
#: Of a message that a process which fails sends the others.
_MESSAGE = 4000
#: After this the processor is left to others for longer and longer, up to _NAP.
_SPIN = 2e-3
_NAP = 1e-3
#: Seconds for the others to take a message that interrupts their work; for them to end their work when one ends all; and for
#: one to hear who waits in vain, too.
_NOTICE, _LEAVE, _HEAR = 0.5, 2.0, 2.0
#: The tags of messages: what belongs to the work, that a process has ended its own, and that it waits for another one in vain.
_WORK, _END, _WAITS = 0, 1, 2
#: Of a large message at the least, in bytes a second: so long a transfer is looked after without a nap.
_RATE = 2.5e8


#: What mpirun, mpiexec and srun set: how many processes there are, and of srun which this is.
_SIZES, _SRUN_RANK = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"), "PMIX_RANK"
LAUNCHERS = (*_SIZES, _SRUN_RANK)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # mpirun reads no more.
            stream.flush()


class PeerError(RuntimeError):
    """One of the processes failed; all of them raise this. Nothing was changed by the step that it failed in."""

    def __init__(self, message: str, rank: int, kind: str, lasting: bool = False) -> None:
        super().__init__(message, rank, kind, lasting)
        self.message = message
        #: Whose failure it was; -1: that of all.
        self.rank = rank
        #: The name of its exception's class.
        self.kind = kind

    def __str__(self) -> str:
        return self.message


class NotAnswering(RuntimeError):
    """A process did not answer in time: it ended or hangs, or its machine or network failed. Ends the run."""


class Ended(NotAnswering):
    """Another process has ended its work, and with it the run. That process tells why."""


def launched() -> bool:
    """Whether this process was started as one of several: by mpirun, mpiexec or srun."""
    sizes = [os.environ.get(name, "") for name in _SIZES]
    if _SRUN_RANK in os.environ:
        sizes.append(os.environ.get("SLURM_STEP_NUM_TASKS", ""))
    return any(size.isdecimal() and int(size) > 1 for size in sizes)


class Solo:
    """One process: what a `Group` of one does, without MPI."""

    rank, size = 0, 1

    def check(self, error: BaseException | None) -> None:
        if error is not None:
            raise error

    def call(self, function: Callable[[], T]) -> T:
        return function()

    def first(self, function: Callable[[], T]) -> T:
        return function()

    def highest(self, *numbers: int, error: BaseException | None = None) -> tuple[int, ...]:
        self.check(error)
        return numbers

    def ended(self, patience: float = 0.0) -> bool:
        return False

    def gather(self, value: T) -> list[T]:
        return [value]

    def send_bytes(self, content: bytes | None) -> bytes:
        assert content is not None
        return content

    def require_same(self, **values: object) -> None:
        pass

    def part(self, count: int) -> slice:
        return slice(0, count)


class Group(Solo):
    """The processes of an mpi4py communicator. Methods are called by all of them, in the same order.

    timeout: seconds without an answer after which a process gives up, with an error that names whom it waited for.
    """

    def __init__(self, communicator: Any = None, timeout: float = 600.0) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise MissingPackage("mpi4py", "training or encoding in several processes needs", extra="mpi") from error
        self._mpi = MPI
        self.timeout = _arrays.seconds(timeout, "timeout")
        given = MPI.COMM_WORLD if communicator is None else communicator
        if not isinstance(given, MPI.Comm):
            raise TypeError(f"communicator: expected one of mpi4py, MPI.COMM_WORLD for instance, found {type(given).__name__}")
        if given == MPI.COMM_NULL:
            raise ValueError("communicator: expected one that this process belongs to, found MPI.COMM_NULL")
        if given.Is_inter():
            raise ValueError(
                "communicator: expected the processes of one group, found an intercommunicator; its Merge() makes one"
            )
        self.rank, self.size = given.Get_rank(), given.Get_size()
        self.names = [f"rank {rank} of {self.size}" for rank in range(self.size)]
        # Not Dup, which waits for ever for a process that hangs.
        self._communicator: Any = None
        copy, request = given.Idup()
        self._wait([(request, self.rank)])
        self._communicator = copy
        self._scratch = np.empty(0, np.float32)
        hosts = self.gather(MPI.Get_processor_name())
        self.names = [f"{name} on {host}" for name, host in zip(self.names, hosts, strict=True)]

    @property
    def name(self) -> str:
        """Of this process: "rank 1 of 4 on node7"."""
        return self.names[self.rank]

    # ---- Messages

    def _wait(self, requests: list[tuple[Any, int]], size: int = 0) -> None:
        """Until all (request, rank) are done. Naps between two looks: another process may need this core."""
        open_requests = [request for request, _ in requests]
        began = time.monotonic()
        spin = began + _SPIN + size / _RATE
        nap = 0.0
        while not self._done(open_requests):
            now = time.monotonic()
            if now < spin:
                os.sched_yield()
                continue
            if now - began > self.timeout:
                peers = [rank for _, rank in requests]
                silent = {rank for request, rank in zip(open_requests, peers, strict=True) if not request.Test()}
                waiting = {self.rank, *self._waiting()}  # For another one, as this process does.
                known = sorted(silent - waiting) or sorted(set(range(self.size)) - waiting)
                who = ", ".join(self.names[rank] for rank in known) or "another process"
                raise NotAnswering(f"{who}: no answer to {self.name} for {self.timeout:g} seconds")
            if nap and self._communicator is not None and self.ended():
                raise Ended("another process has ended the run")
            nap = min(nap + 5e-5, _NAP)
            time.sleep(nap)

    def _notify(self, tag: int, seconds: float) -> None:
        """Tells all others, as far as they take it in that time."""
        notice = np.zeros(1, np.uint8)
        notices = [self._communicator.Isend(notice, rank, tag) for rank in range(self.size) if rank != self.rank]
        until = time.monotonic() + seconds
        while not self._mpi.Request.Testall(notices) and time.monotonic() < until:
            time.sleep(_NAP)

    def _waiting(self) -> set[int]:
        """The others that wait in vain, which they and this process tell each other."""
        if self._communicator is None:  # Its making is what the process waits for: it may be any.
            return set(range(self.size))
        self._notify(_WAITS, _NOTICE)
        others = set(range(self.size)) - {self.rank}
        until = time.monotonic() + _HEAR
        heard: set[int] = set()
        while heard != others and time.monotonic() < until:
            heard |= {rank for rank in others - heard if self._communicator.Iprobe(rank, _WAITS)}
            time.sleep(_NAP)
        # The first of them ends all, where that is what follows.
        while heard and min(heard) < self.rank and not self.ended() and time.monotonic() < until + 2 * _HEAR:
            time.sleep(_NAP)
        return heard

    def _done(self, requests: list[Any]) -> bool:
        try:
            return bool(self._mpi.Request.Testall(requests))
        except self._mpi.Exception as error:
            raise RuntimeError(
                f"{self.name}: MPI failed ({error}). Its connection to another process is broken, or the processes do not all call "
                "the same methods in the same order"
            ) from error

    def _swap(self, other: int, send: NDArray[Any], receive: NDArray[Any]) -> None:
        communicator = self._communicator
        requests = [communicator.Irecv(receive, other, _WORK), communicator.Isend(send, other, _WORK)]
        self._wait([(request, other) for request in requests], receive.nbytes + send.nbytes)

    def _all(self, row: NDArray[Any]) -> NDArray[Any]:
        """(P, ...): everybody's row, which all have of one shape."""
        rows = np.empty((self.size, *row.shape), row.dtype)
        rows[self.rank] = row
        requests = []
        for distance in range(1, self.size):  # Not all to rank 0 first.
            source, target = (self.rank - distance) % self.size, (self.rank + distance) % self.size
            requests.append((self._communicator.Irecv(rows[source], source, _WORK), source))
            requests.append((self._communicator.Isend(rows[self.rank], target, _WORK), target))
        self._wait(requests, row.nbytes * self.size)
        return rows

    def _bytes_from(self, root: int, content: bytes | None) -> bytes:
        """What `root` gave."""
        size = np.array([len(content) if content is not None else 0], np.int64)
        self._wait([(self._communicator.Ibcast(size, root), root)])
        data = (
            np.frombuffer(content, np.uint8).copy()
            if self.rank == root and content is not None
            else np.empty(int(size[0]), np.uint8)
        )
        self._wait([(self._communicator.Ibcast(data, root), root)], data.nbytes)
        return data.tobytes()

    def gather(self, value: T) -> list[T]:
        """Everybody's value, by rank. The values are pickled."""
        own = pickle.dumps(value)
        lengths = self._all(np.array([len(own)], np.int64))[:, 0]
        buffers = [np.empty(int(length), np.uint8) for length in lengths]
        buffers[self.rank] = np.frombuffer(own, np.uint8)
        requests = []
        for distance in range(1, self.size):
            source, target = (self.rank - distance) % self.size, (self.rank + distance) % self.size
            requests.append((self._communicator.Irecv(buffers[source], source, _WORK), source))
            requests.append((self._communicator.Isend(buffers[self.rank], target, _WORK), target))
        self._wait(requests, int(lengths.sum()))
        return [value if rank == self.rank else pickle.loads(buffer.tobytes()) for rank, buffer in enumerate(buffers)]

    def send_bytes(self, content: bytes | None) -> bytes:
        """Rank 0's bytes, in all."""
        return self._bytes_from(0, content)

    def highest(self, *numbers: int, error: BaseException | None = None) -> tuple[int, ...]:
        """The highest that any process has, of each, once nobody has an error."""
        return tuple(int(number) for number in self.checked(error, np.array(numbers, np.float64)).max(axis=0))

    def receive(self, array: NDArray[Any], source: int) -> None:
        self._wait([(self._communicator.Irecv(array, source, _WORK), source)], array.nbytes)

    def send(self, array: NDArray[Any], target: int) -> None:
        self._wait([(self._communicator.Isend(array, target, _WORK), target)], array.nbytes)

    # ---- Failures

    def check(self, error: BaseException | None) -> None:
        """Raises PeerError in all processes where some have an error."""
        self.checked(error, np.empty(0))

    def checked(self, error: BaseException | None, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """(P, n): everybody's row, once nobody has an error."""
        rows = self._all(np.concatenate([[error is not None], row]))
        failed = np.flatnonzero(rows[:, 0])
        if len(failed) == 0:
            return rows[:, 1:]
        text = "" if error is None else f"{type(error).__name__}\0{_told(error)}"
        told = self._bytes_from(int(failed[0]), text.encode("utf-8", "replace")[:_MESSAGE]).decode("utf-8", "replace")
        kind, _, message = told.partition("\0")
        raise PeerError(f"{self.names[failed[0]]}: {message}", int(failed[0]), kind) from error

    def call(self, function: Callable[[], T]) -> T:
        """The function's result in each process, once it has succeeded in all."""
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except Exception as error:
            failure = error
        self.check(failure)
        return result  # type: ignore[return-value]

    def first(self, function: Callable[[], T]) -> T:
        """The function's result in rank 0, which alone runs it, for all."""
        result: T | None = None
        failure: BaseException | None = None
        if self.rank == 0:
            try:
                result = function()
            except Exception as error:
                failure = error
        self.check(failure)
        return pickle.loads(self._bytes_from(0, pickle.dumps(result) if self.rank == 0 else None))  # type: ignore[no-any-return]

    def end(self) -> None:
        """Tells the others that this process has ended its work, files included, and waits for them to do so.

        Only then may one of them leave: mpirun answers with signals to all, and SIGKILL comes as soon as the first has left.
        """
        _flush()
        self._notify(_END, _NOTICE)
        left = {self.rank}
        until = time.monotonic() + _LEAVE
        while len(left) < self.size and time.monotonic() < until:
            left |= {rank for rank in range(self.size) if rank not in left and self._communicator.Iprobe(rank, _END)}
            time.sleep(_NAP)

    def abort(self, code: int) -> None:
        """Ends all processes: of a failure that the others do not know of."""
        self.end()
        self._communicator.Abort(code)

    def ended(self, patience: float = 0.0) -> bool:
        """Whether another process has ended its work, and has told why: the signal that comes then is mpirun's.

        patience: seconds in which its notice may still come. A first look may miss one that is there, since MPI moves messages
        while it looks.
        """
        until = time.monotonic() + patience
        while not (found := bool(self._communicator.Iprobe(tag=_END))) and time.monotonic() < until:
            time.sleep(_NAP)
        return found

    def leave(self, code: int) -> None:
        """Ends this process once all are here, after a signal: mpirun is on its way out, and MPI's own end would wait for it."""
        self.check(None)
        _flush()
        os._exit(code)

    def require_same(self, **values: object) -> None:
        """Raises PeerError unless all processes have equal values; the error says which differ, and where."""
        rows = self.gather({name: value if isinstance(value, dict) else str(value) for name, value in values.items()})
        for rank, row in enumerate(rows):
            different = [name for name in rows[0] if row.get(name) != rows[0][name]]
            if different:
                names = ", ".join(name.replace("_", " ") for name in different)
                expected, found = _parting(rows[0][different[0]], row.get(different[0]))
                raise PeerError(
                    f"{self.names[rank]}: differs from rank 0 in its {names}: expected {expected}, found {found}",
                    rank,
                    "ValueError",
                )

    # ---- Work

    def part(self, count: int) -> slice:
        """This process's of so many things in a row."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add(self, values: NDArray[np.float32]) -> None:
        """Adds the arrays of all processes in place; their number is a power of two.

        Neighbours first, then pairs of neighbours, and so on: each adds up its share and sends it round (Rabenseifner's
        algorithm). Of every number the sum is made once, in the order of a tree over the ranks.
        """
        low, high = 0, len(values)
        if len(self._scratch) < (high + 1) // 2:
            self._scratch = np.empty((high + 1) // 2, np.float32)
        halves = []
        distance = 1
        while distance < self.size:
            other, middle = self.rank ^ distance, low + (high - low) // 2
            keep, give = ((middle, high), (low, middle)) if self.rank & distance else ((low, middle), (middle, high))
            own = values[slice(*keep)]
            theirs = self._scratch[: len(own)]
            self._swap(other, values[slice(*give)], theirs)
            np.add(own, theirs, out=own)
            halves.append((other, keep, give))
            low, high = keep
            distance *= 2
        for other, keep, give in reversed(halves):
            self._swap(other, values[slice(*keep)], values[slice(*give)])

    def share_threads(self) -> int:
        """Divides the cores of each machine among its processes; returns how many threads this one has now.

        Cores are those that the process may run on and that its control group gives it time for. DIM_NUM_THREADS is left as it
        is.
        """
        from . import num_threads, set_num_threads

        if os.environ.get("DIM_NUM_THREADS", "0") not in ("", "0"):
            return num_threads()
        machine = self._communicator.Split_type(self._mpi.COMM_TYPE_SHARED)
        leader = np.array([self.rank], np.int64)
        self._wait([(machine.Ibcast(leader, 0), self.rank)])
        machine.Free()
        set_num_threads(0)
        mine = (int(leader[0]), frozenset(os.sched_getaffinity(0)), num_threads())
        set_num_threads(threads_of(self.rank, self.gather(mine)))
        return num_threads()


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        return f"{shown(os.fsdecode(error.filename))}: {error.strerror}"
    return str(error)


def _parting(first: object, other: object) -> tuple[str, str]:
    """Of two values that differ what does: of dictionaries the entries, with their names."""
    if not (isinstance(first, dict) and isinstance(other, dict)):
        return str(first), str(other)
    names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
    parts = [(name, *_parting(first.get(name), other.get(name))) for name in names]
    return ", ".join(f"{name} {one}" for name, one, _ in parts), ", ".join(f"{name} {two}" for name, _, two in parts)


def threads_of(rank: int, processes: list[tuple[int, frozenset[int], int]]) -> int:
    """How many threads a process takes. Of each: its machine, the cores it may run on, how many of them it is given time for."""
    machine, cores, available = processes[rank]
    here = [number for number, (other, _, _) in enumerate(processes) if other == machine]
    # A control group's time is for all of its processes, whichever cores they are bound to.
    if available == len(cores):
        here = [number for number in here if processes[number][1] & cores]
    return max(1, available // len(here) + (here.index(rank) < available % len(here)))


# ---- Training


def weights_digest(model: Model, prefix: str = "") -> str:
    """Of the parameters whose names begin so."""
    state = model.state_dict()
    chosen = sorted(name for name in state if name.startswith(prefix))
    return digest(*(part for name in chosen for part in (name.encode(), np.atleast_1d(np.asarray(state[name])))))


def kernels() -> str:
    """Version, kernels and convolution of the library, which decide on every bit; not its threads."""
    from . import build_info

    return ", ".join(build_info().split(", ")[:3])


def check_parts(micro_batches: int, processes: int) -> None:
    """Raises ValueError where so many processes cannot share a step of so many micro-batches."""
    if processes > 1 and (micro_batches & (micro_batches - 1) or micro_batches % processes):
        raise ValueError(
            f"micro_batches is {micro_batches}, and there are {processes} processes: expected powers of two, and at least one "
            "micro-batch for each process"
        )


class SharedSteps:
    """A trainer's steps together with other processes."""

    def __init__(self, group: Group, micro_batches: int) -> None:
        self.group, self._count = group, micro_batches
        self._own = micro_batches // group.size
        self._first = group.rank * self._own

    @classmethod
    def of(cls, trainer: Trainer, communicator: Any, timeout: float) -> SharedSteps:
        group = communicator if isinstance(communicator, Group) else Group(communicator, timeout)
        count = trainer.options.micro_batches
        group.call(lambda: check_parts(count, group.size))
        group.require_same(
            library=kernels(),
            options=asdict(trainer.options),
            steps=trainer.steps,
            architecture=trainer.model.architecture.json(),
            weights=weights_digest(trainer.model),
        )
        return cls(group, count)

    def batches(self, source: Iterator[T]) -> Iterator[T]:
        """This process's parts of batches, for as long as all processes have one."""
        while True:
            batch: T | None = None
            failure: BaseException | None = None
            try:
                batch = next(source, None)
            except Exception as error:
                failure = error
            there = self.group.checked(failure, np.array([batch is not None], np.float64))[:, 0]
            if not there.all() and there.any():
                rank = int(np.flatnonzero(there == 0)[0])
                raise PeerError(f"{self.group.names[rank]}: its batches end before those of others", rank, "ValueError")
            if batch is None:
                return
            yield batch

    def step(self, trainer: Trainer, batch: Any) -> Losses:
        """`batch`: this process's part. Raises PeerError in all processes where one fails; nothing has changed then."""
        from .trainer import Losses

        losses = np.zeros((self._own, 4))
        failure: BaseException | None = None
        n = 0
        try:
            images, _ = _arrays.images(batch, trainer.model.sizes.image)
            n, rest = divmod(len(images), self._own)
            if rest or n < 2:
                raise ValueError(
                    f"{len(images)} images: this process has {self._own} of {self._count} micro-batches; expected a multiple "
                    f"of {self._own}, {2 * self._own} at least"
                )
            for number in range(self._count):
                own = number - self._first
                if 0 <= own < self._own:
                    losses[own] = trainer.accumulate(images[own * n : (own + 1) * n])
                else:
                    trainer.skip(n)
        except Exception as error:
            failure = error
        except BaseException:  # Ctrl-C: the trainer is as before.
            trainer.drop()
            raise
        try:
            rows = self.group.checked(failure, np.concatenate([[n], losses.ravel()]))
            sizes = rows[:, 0]
            if (sizes != sizes[0]).any():
                other = int(np.flatnonzero(sizes != sizes[0])[0])
                raise PeerError(
                    f"{self.group.names[other]}: {int(sizes[other])} images a micro-batch, rank 0 has {int(sizes[0])}; expected equal "
                    "parts",
                    other,
                    "ValueError",
                )
        except BaseException:
            trainer.drop()
            raise
        trainer.update()
        total = np.zeros(4)
        for row in rows[:, 1:].reshape(-1, 4):  # In the order in which one process adds them.
            total += row
        return Losses(*(total / self._count).tolist())
