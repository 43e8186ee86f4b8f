"""Damaged weights files: random damage, and damage under checksums that are right again, which gets further into libhdf5."""

from __future__ import annotations

import ctypes
import functools
import os
import random
import subprocess
import tempfile
from pathlib import Path

import h5py
from weights_fixtures import state_of

#: A source's bytes and its checksummed blocks.
Source = tuple[bytes, list["Block"]]
#: First byte, end, and the checksum's offset.
Block = tuple[int, int, int]

#: What is damaged where checksums are made right again: the superblock, object headers, heaps, B-trees, indexes of chunks.
_KINDS = (
    b"\x89HDF",
    b"OHDR",
    b"OCHK",
    b"FRHP",
    b"FHDB",
    b"FHIB",
    b"BTHD",
    b"BTLF",
    b"BTIN",
    b"FAHD",
    b"FADB",
    b"EAHD",
    b"EAIB",
)


def sources(folder: Path, checksums: bool = False) -> list[Source]:
    """Valid files in several formats. With `checksums`, those whose metadata is under checksums, and one by libdim."""
    found: list[Source] = []
    path = folder / "source.h5"
    for libver in ("v108", "v110") if checksums else ("earliest", "v108", "v110"):
        for options in ({}, dict(compression="gzip", shuffle=True, fletcher32=True)):
            with h5py.File(path, "w", libver=libver) as file:
                for key, array in state_of("classifier").items():
                    name = key.replace(".", "/", 1) if options else key
                    file.create_dataset(name, data=array, **(options if array.ndim else {}))
            found.append((path.read_bytes(), []))
    if checksums:
        from deepinfomax import Model

        with Model.open(str(path)) as model:
            model.save(str(path))
        found.append((path.read_bytes(), []))
        found = [(content, _blocks(content)) for content, _ in found]
    path.unlink()
    return found


def mutants(folder: Path, chooser: random.Random, count: int, made_of: list[Source] | None = None) -> list[str]:
    """`count` damaged files; their paths. Damage of sources with blocks is inside these, and their checksums are right."""
    made_of = sources(folder) if made_of is None else made_of
    paths = []
    for i in range(count):
        content, blocks = chooser.choice(made_of)
        damaged = _damaged(bytearray(content), blocks, chooser)
        path = folder / f"mutant{i}.h5"
        path.write_bytes(damaged)
        paths.append(str(path))
    return paths


def _damaged(content: bytearray, blocks: list[Block], chooser: random.Random) -> bytearray:
    def place() -> int:
        if not blocks:
            return chooser.randrange(len(content))
        start, end, _ = chooser.choice(blocks)
        return chooser.randrange(start, end)

    original = bytes(content)
    for _ in range(chooser.choice([1, 1, 2, 4, 8])):
        at = place()
        kind = chooser.randrange(4)
        if kind == 0:
            content[at] ^= 1 << chooser.randrange(8)
        elif kind == 1:
            content[at] = chooser.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            number = chooser.choice([0, 1, 1 << 31, (1 << 64) - 1, len(content)])
            content[at : at + 8] = number.to_bytes(8, "little")
        else:
            other = place()
            content[at : at + 16] = content[other : other + 16]
    _mend(content, [block for block in blocks if content[block[0] : block[1]] != original[block[0] : block[1]]])
    return content


# ---- Checksums of HDF5's metadata, by checksums.c


class _Block(ctypes.Structure):
    _fields_ = [("start", ctypes.c_size_t), ("size", ctypes.c_size_t), ("checksum", ctypes.c_size_t)]


@functools.cache
def _checksums() -> ctypes.CDLL:
    """checksums.c, compiled for this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/checksums.so"
        source = Path(__file__).with_name("checksums.c")
        subprocess.run(
            [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-shared", "-fPIC", str(source), "-o", path], check=True
        )
        library = ctypes.CDLL(path)
    blocks = ctypes.POINTER(_Block)
    library.find_blocks.restype = ctypes.c_size_t
    library.find_blocks.argtypes = [ctypes.c_char_p, ctypes.c_size_t, blocks, ctypes.c_size_t]
    library.mend_blocks.restype = None
    library.mend_blocks.argtypes = [ctypes.c_void_p, ctypes.c_size_t, blocks, ctypes.c_size_t]
    return library


def _blocks(content: bytes) -> list[Block]:
    """Those whose checksum is right, in the order of their kinds, from which the mutants of a seed follow."""
    found = (_Block * 4096)()
    count = _checksums().find_blocks(content, len(content), found, len(found))
    blocks = [(block.start, block.start + block.size, block.checksum) for block in found[:count]]
    kinds = {block: content[block[0] : block[0] + 4] for block in blocks}
    return sorted((block for block in blocks if kinds[block] in _KINDS), key=lambda block: (_KINDS.index(kinds[block]), block))


def _mend(content: bytearray, blocks: list[Block]) -> None:
    """Writes the right checksum into each."""
    mended = (_Block * len(blocks))(*((start, end - start, at) for start, end, at in blocks))
    bytes_of = (ctypes.c_char * len(content)).from_buffer(content)
    _checksums().mend_blocks(bytes_of, len(content), mended, len(blocks))
