"""Damaged weights files: random damage, and damage under checksums that are right again, which gets further into libhdf5."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import h5py
from weights_fixtures import state_of

#: A source's bytes and its checksummed blocks.
Source = tuple[bytes, list["Block"]]
#: First byte, end, and where the checksum lies.
Block = tuple[int, int, int]

_SIGNATURES = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"FAHD", b"FADB", b"EAHD", b"EAIB")
#: Longer blocks keep their checksum; the files here have none.
_LONGEST = 4096


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
    """`count` damaged files; their paths. Damage of sources with blocks lies in these, and their checksums are right."""
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
    for start, end, at in blocks:
        if content[start:end] != original[start:end]:
            content[at : at + 4] = _checksum(content, start, end, at).to_bytes(4, "little")
    return content


# ---- Checksums of HDF5's metadata


def _blocks(content: bytes) -> list[Block]:
    """All blocks whose checksum was found: where it is right for these bytes and no others."""
    found = []
    if content[8] >= 2:
        found.append((0, 48, 44))
    for signature in _SIGNATURES:
        at = content.find(signature)
        while at >= 0:
            block = _block(content, at, signature)
            if block is not None:
                found.append(block)
            at = content.find(signature, at + 1)
    return found


def _block(content: bytes, start: int, signature: bytes) -> Block | None:
    """Where a block ends, by trying: the checksum is its last word, or in a direct block of a heap behind its offset."""
    if signature == b"FHDB":
        for size in (256, 512, 1024, 2048, 4096):
            for at in range(start + 14, start + 22):
                if _is_right(content, (start, start + size, at)):
                    return start, start + size, at
        return None
    for end in range(start + 12, min(start + _LONGEST, len(content)) + 1):
        if _is_right(content, (start, end, end - 4)):
            return start, end, end - 4
    return None


def _is_right(content: bytes, block: Block) -> bool:
    start, end, at = block
    return end <= len(content) and _checksum(content, start, end, at) == int.from_bytes(content[at : at + 4], "little")


def _checksum(content: bytes | bytearray, start: int, end: int, at: int) -> int:
    if at == end - 4:
        return lookup3(bytes(content[start:at]))
    return lookup3(bytes(content[start:at]) + bytes(4) + bytes(content[at + 4 : end]))


def _rotate(x: int, by: int) -> int:
    return (x << by | x >> 32 - by) & 0xFFFFFFFF


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hash, which is HDF5's checksum of metadata."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask
    if not data:
        return c
    words = struct.unpack(f"<{(len(data) + 11) // 12 * 3}I", data + bytes(-len(data) % 12))
    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & mask, (b + words[i + 1]) & mask, (c + words[i + 2]) & mask
        a = (a - c) & mask ^ _rotate(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ _rotate(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ _rotate(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ _rotate(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ _rotate(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ _rotate(b, 4)
        b = (b + a) & mask
    a, b, c = (a + words[-3]) & mask, (b + words[-2]) & mask, (c + words[-1]) & mask
    c = (c ^ b) - _rotate(b, 14) & mask
    a = (a ^ c) - _rotate(c, 11) & mask
    b = (b ^ a) - _rotate(a, 25) & mask
    c = (c ^ b) - _rotate(b, 16) & mask
    a = (a ^ c) - _rotate(c, 4) & mask
    b = (b ^ a) - _rotate(a, 14) & mask
    c = (c ^ b) - _rotate(b, 24) & mask
    return c
