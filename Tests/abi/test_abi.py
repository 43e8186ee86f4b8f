#!/usr/bin/env python3
"""Breaks the header in every way that breaks compiled programs and sees that tools/check/abi/abi.py tells, and abidiff too; and
that what may be added, may. usage: test_abi.py (Python's standard library alone; clang, a C compiler and abidiff)
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "check" / "abi"))
import abi  # noqa: E402
import abigail  # noqa: E402

HEADER = (ROOT / "include" / "dim.h").read_text()
MAP = (ROOT / "tools" / "build" / "libdim.map").read_text()


def run(tool: ModuleType, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, within this process: starting Python for each would double the time."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = tool.main(list(arguments))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


class Comparison(unittest.TestCase):
    tool: ModuleType

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        # What is broken below is broken against this very header, whatever it has gained since it was recorded.
        if cls._run(HEADER, MAP, "update").returncode != 0:
            raise AssertionError("this header cannot be recorded")

    @classmethod
    def _run(cls, header: str, version_script: str, command: str) -> subprocess.CompletedProcess[str]:
        (cls.folder / "dim.h").write_text(header)
        (cls.folder / "libdim.map").write_text(version_script)
        files = [("--header", "dim.h"), ("--map", "libdim.map"), ("--recorded", "recorded")]
        options = [text for option, name in files for text in (option, str(cls.folder / name))]
        return run(cls.tool, command, *options)

    def breaks(self, message: str, *changes: tuple[str, str], version_script: str = MAP) -> None:
        done = self._run(changed(HEADER, *changes), version_script, "check")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(message, done.stderr)

    def passes(self, message: str, *changes: tuple[str, str], version_script: str = MAP) -> None:
        done = self._run(changed(HEADER, *changes), version_script, "check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(message, done.stdout)


class Check(Comparison):
    tool = abi

    # ---- What breaks programs

    def test_function_removed(self) -> None:
        self.breaks(
            "function dim_num_threads is gone",
            ("int dim_num_threads(void);", ""),
            version_script=changed(MAP, ("dim_num_threads;", "")),
        )

    def test_function_renamed(self) -> None:
        self.breaks(
            "function dim_num_threads is gone",
            ("int dim_num_threads(void);", "int dim_count_threads(void);"),
            version_script=changed(MAP, ("dim_num_threads;", "dim_count_threads;")),
        )

    def test_argument_added(self) -> None:
        self.breaks("function dim_set_num_threads: was", ("dim_set_num_threads(int n);", "dim_set_num_threads(int n, int m);"))

    def test_argument_of_another_type(self) -> None:
        self.breaks("function dim_set_num_threads: was", ("dim_set_num_threads(int n);", "dim_set_num_threads(long n);"))

    def test_another_result(self) -> None:
        self.breaks("function dim_num_threads: was", ("int dim_num_threads(void);", "size_t dim_num_threads(void);"))

    def test_callback_of_another_type(self) -> None:
        self.breaks(
            "type dim_gradient_callback: was",
            ("(*dim_gradient_callback)(float *values", "(*dim_gradient_callback)(double *values"),
        )

    def test_fields_exchanged(self) -> None:
        self.breaks("field dim_losses.local: was double, offset 8", EXCHANGED_LOSSES)

    def test_field_inserted(self) -> None:
        self.breaks("field dim_trainer_options.seed: was", ("    uint64_t seed; ", "    uint64_t before;\n    uint64_t seed; "))

    def test_field_inserted_into_padding(self) -> None:
        self.breaks(
            "field dim_trainer_options.between is new: it begins within the 152 bytes",
            ("    uint64_t seed; ", "    int between;\n    uint64_t seed; "),
        )

    def test_field_added_in_trailing_padding(self) -> None:
        self.breaks("struct_size cannot tell", ("    bool trainable; ", "    bool trainable;\n    bool quantized; "))

    def test_field_of_another_type(self) -> None:
        self.breaks("field dim_classifier_result.count: was", ("    size_t count; ", "    int64_t count; "))

    def test_field_removed(self) -> None:
        self.breaks("field dim_losses.prior is gone", ("    double prior;\n", ""))

    def test_field_added_to_a_struct_without_size(self) -> None:
        self.breaks("does not begin with struct_size", ("    double prior;\n", "    double prior;\n    double entropy;\n"))

    def test_enumerators_exchanged(self) -> None:
        self.breaks(
            "constant DIM_FLOAT32: was 0; is 1", ("DIM_FLOAT32 = 0", "DIM_FLOAT32 = 1"), ("DIM_INT64 = 1", "DIM_INT64 = 0")
        )

    def test_enumerator_inserted(self) -> None:
        self.breaks("constant DIM_INT64: was 1; is 2", ("DIM_INT64 = 1", "DIM_FLOAT16, DIM_INT64"))

    def test_enumerator_removed(self) -> None:
        self.breaks("constant DIM_CANCELLED is gone", ("    DIM_CANCELLED = 51,", ""))

    def test_enumerator_of_an_anonymous_enum(self) -> None:
        self.breaks("constant DIM_NETWORK_PRIOR_D: was 8; is 64", ("DIM_NETWORK_PRIOR_D = 8", "DIM_NETWORK_PRIOR_D = 64"))

    def test_enum_that_is_wider(self) -> None:
        self.breaks("enum dim_dtype: was 4 bytes; is 8 bytes", ("DIM_INT64 = 1 ", "DIM_WIDE = 1LL << 40, DIM_INT64 = 1 "))

    def test_macro_of_another_value(self) -> None:
        self.breaks(
            "macro DIM_NOTEBOOK_ENCODED_SIZE: was 64; is 128", ("DIM_NOTEBOOK_ENCODED_SIZE 64", "DIM_NOTEBOOK_ENCODED_SIZE 128")
        )

    def test_another_soname(self) -> None:
        self.breaks("soname libdim: was libdim.so.0; is libdim.so.1", version("1.0.0"))

    def test_function_of_another_version_node(self) -> None:
        self.breaks("function dim_encode: was LIBDIM_0.1", version_script=changed(MAP, ("LIBDIM_0.1 {", "LIBDIM_0.2 {")))

    def test_new_function_in_the_node_of_a_released_version(self) -> None:
        self.breaks(
            "it is in the node LIBDIM_0.1; of this version is LIBDIM_0.2",
            ADDED,
            version("0.2.0"),
            version_script=changed(MAP, ("dim_encode;", "dim_encode;\n dim_rotate;")),
        )

    def test_new_function_in_a_patch_release(self) -> None:
        self.breaks(
            "patch release", ADDED, version("0.1.1"), version_script=changed(MAP, ("dim_encode;", "dim_encode;\n dim_rotate;"))
        )

    def test_version_script_forgotten(self) -> None:
        self.breaks("dim_rotate is declared in dim.h and is in no node", ADDED)

    def test_declaration_forgotten(self) -> None:
        self.breaks(
            "not declared in dim.h: dim_rotate", version_script=changed(MAP, ("dim_encode;", "dim_encode;\n dim_rotate;"))
        )

    def test_header_that_does_not_compile(self) -> None:
        self.breaks("error:", ("int dim_num_threads(void);", "int dim_num_threads(void;"))

    def test_library_with_other_exports(self) -> None:
        source = self.folder / "library.c"
        source.write_text("int dim_num_threads(void) { return 1; }\n")
        library = self.folder / "libother.so"
        subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
        done = run(abi, "check", "--library", str(library))
        self.assertEqual(done.returncode, 1)
        self.assertIn("dim_num_threads has the version none; expected LIBDIM_0.1", done.stderr)
        self.assertIn("dim_encode has the version none; expected LIBDIM_0.1", done.stderr)

    # ---- What does not

    def test_nothing(self) -> None:
        self.passes("0 new")

    def test_function_added(self) -> None:
        self.passes("function dim_rotate is new", ADDED, version("0.2.0"), version_script=MAP + NODE)

    def test_field_added_behind_struct_size(self) -> None:
        self.passes("field dim_trainer_options.clip is new", GROWN)

    def test_enumerator_added(self) -> None:
        self.passes("constant DIM_BUSY is new", ("    DIM_CANCELLED = 51,", "    DIM_CANCELLED = 51, DIM_BUSY = 52,"))

    def test_comment_and_argument_names(self) -> None:
        self.passes("0 new", ("dim_set_num_threads(int n);", "dim_set_num_threads(int threads); /* as told */"))


class SecondOpinion(Comparison):
    """What abidiff says of the same."""

    tool = abigail

    def test_function_removed(self) -> None:
        self.breaks(
            "'function int dim_num_threads()'",
            ("int dim_num_threads(void);", ""),
            version_script=changed(MAP, ("dim_num_threads;", "")),
        )

    def test_function_of_another_version_node(self) -> None:
        self.breaks("{dim_encode@@LIBDIM_0.1}", version_script=changed(MAP, ("LIBDIM_0.1 {", "LIBDIM_0.2 {")))

    def test_argument_of_another_type(self) -> None:
        self.breaks(
            "type name changed from 'int' to 'long int'", ("dim_set_num_threads(int n);", "dim_set_num_threads(long n);")
        )

    def test_fields_exchanged(self) -> None:
        self.breaks("'double global' offset changed from 128 to 64", EXCHANGED_LOSSES)

    def test_fields_exchanged_in_a_struct_that_has_grown(self) -> None:
        self.breaks(
            "offset changed",
            GROWN,
            ("    double alpha; ", "    double other; "),
            ("    double beta; ", "    double alpha; "),
            ("    double other; ", "    double beta; "),
        )

    def test_field_added_in_trailing_padding(self) -> None:
        self.breaks("'bool quantized'", ("    bool trainable; ", "    bool trainable;\n    bool quantized; "))

    def test_field_added_to_a_struct_without_size(self) -> None:
        self.breaks("'double entropy'", ("    double prior;\n", "    double prior;\n    double entropy;\n"))

    def test_enumerators_exchanged(self) -> None:
        self.breaks(
            "'dim_dtype::DIM_FLOAT32' from value '0' to '1'",
            ("DIM_FLOAT32 = 0", "DIM_FLOAT32 = 1"),
            ("DIM_INT64 = 1", "DIM_INT64 = 0"),
        )

    def test_function_added(self) -> None:
        functions = len(re.findall(r"\bdim_\w+;", MAP)) + 1
        self.passes(f"nothing broken in {functions} functions", ADDED, version("0.2.0"), version_script=MAP + NODE)

    def test_field_added_behind_struct_size(self) -> None:
        self.passes("nothing broken", GROWN)

    def test_nothing_recorded_differs_from_machine_to_machine(self) -> None:
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "dim.h").write_text(HEADER)
        done = run(abigail, "dump", "--header", str(elsewhere / "dim.h"))
        self.assertEqual(done.stdout, (self.folder / "recorded").read_text())
        self.assertNotIn(str(self.folder), done.stdout)

    def test_abidiff_missing(self) -> None:
        with mock.patch.dict(os.environ, PATH=str(self.folder)):
            done = run(abigail, "check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("make deps installs", done.stderr)


ADDED = ("int dim_num_threads(void);", "int dim_num_threads(void);\nint dim_rotate(int n);")
NODE = "\nLIBDIM_0.2 {\n    global:\n        dim_rotate;\n} LIBDIM_0.1;\n"
GROWN = ("} dim_trainer_options;", "    double clip;\n} dim_trainer_options;")
EXCHANGED_LOSSES = ("    double local;\n    double global;\n", "    double global;\n    double local;\n")


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        if old not in text:
            raise AssertionError(f"the test is out of date: not found: {old!r}")
        text = text.replace(old, new, 1)
    return text


def version(wanted: str) -> tuple[str, str]:
    lines = "\n".join(re.findall(r"^#define DIM_VERSION_\w+ \d+$", HEADER, re.M))
    parts = zip(("MAJOR", "MINOR", "PATCH"), wanted.split("."))
    return lines, "\n".join(f"#define DIM_VERSION_{part} {number}" for part, number in parts)


if __name__ == "__main__":
    unittest.main()
