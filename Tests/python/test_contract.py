"""dim.h through raw ctypes: what a C program may get wrong comes back as a status, outputs untouched."""

import ctypes
import threading
from ctypes import byref, c_bool, c_char_p, c_size_t, c_void_p

import numpy as np
import pytest
from deepinfomax import _library

OK, INVALID_ARGUMENT, INVALID_HANDLE, TOO_LARGE, UNKNOWN_NAME, SIZE_MISMATCH = 0, 10, 11, 12, 13, 14
MISSING_NETWORK, IO = 20, 30
MARK = -12345.5


@pytest.fixture(scope="module")
def lib():
    return _library.library()


@pytest.fixture
def handle(lib):
    out = c_void_p()
    assert lib.dim_model_create(0, byref(out)) == OK
    yield out
    lib.dim_model_free(out)


def floats(*shape):
    """An array in place of an output: any write to it shows."""
    return np.full(shape, MARK, np.float32)


def address(array):
    return None if array is None else array.ctypes.data_as(_library.Floats)


def forward_calls(lib):
    """Name -> (function, inputs' sizes an image, outputs' sizes an image)."""
    return {
        "encode": (lib.dim_encode, (3 * 32 * 32,), (64, 128 * 26 * 26)),
        "score_global": (lib.dim_score_global, (64, 128 * 26 * 26), (1,)),
        "score_local": (lib.dim_score_local, (64, 128 * 26 * 26), (26 * 26,)),
        "score_prior": (lib.dim_score_prior, (64,), (1,)),
        "classify": (lib.dim_classify, (64,), (10,)),
    }


FORWARD = ("encode", "score_global", "score_local", "score_prior", "classify")


def call(lib, name, handle, n, null=None, images=1):
    """The status of a forward pass; argument number `null` is NULL. Asserts that a failure writes nothing."""
    function, inputs, outputs = forward_calls(lib)[name]
    ins = [np.zeros((images, size), np.float32) for size in inputs]
    outs = [floats(images, size) for size in outputs]
    pointers = [address(a) for a in ins + outs]
    if null is not None:
        pointers[null] = None
    status = function(handle, *pointers[: len(ins)], n, *pointers[len(ins) :])
    if status != OK:
        assert all((out == MARK).all() for out in outs), "a failing call wrote to its outputs"
        assert lib.dim_last_error(), "a failing call left no message"
    return status


@pytest.mark.parametrize("name", FORWARD)
def test_forward_refuses_null_handle(lib, name):
    assert call(lib, name, None, 1) == INVALID_HANDLE


@pytest.mark.parametrize("name", FORWARD)
def test_forward_refuses_freed_handle(lib, name):
    out = c_void_p()
    assert lib.dim_model_create(0, byref(out)) == OK
    lib.dim_model_free(out)
    assert call(lib, name, out, 1) == INVALID_HANDLE


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("foreign", [1, 8, 0x1234_5678, 2**64 - 1, 2**63])
def test_forward_refuses_foreign_handle(lib, name, foreign):
    assert call(lib, name, c_void_p(foreign), 1) == INVALID_HANDLE


@pytest.mark.parametrize("name", FORWARD)
def test_forward_refuses_no_images(lib, handle, name):
    assert call(lib, name, handle, 0) == INVALID_ARGUMENT


@pytest.mark.parametrize("name", FORWARD)
def test_forward_refuses_too_many_images(lib, handle, name):
    for n in (2**64 - 1, 2**63, 2**62 // 3, 2**61, lib.dim_max_images() + 1):
        assert call(lib, name, handle, n) == TOO_LARGE


@pytest.mark.parametrize("name", FORWARD)
def test_forward_refuses_null_arrays(lib, handle, name):
    _, inputs, outputs = forward_calls(lib)[name]
    for null in range(len(inputs) + len(outputs)):
        expected = OK if name == "encode" and null == 2 else INVALID_ARGUMENT  # features may be NULL
        assert call(lib, name, handle, 1, null=null) == expected


def test_classify_refuses_one_vector_in_training_mode(lib, handle):
    assert lib.dim_model_set_training(handle, True) == OK
    assert call(lib, "classify", handle, 1) == INVALID_ARGUMENT
    assert call(lib, "classify", handle, 2, images=2) == OK


def test_create_and_open_refuse_null(lib, tmp_path):
    out = c_void_p(77)
    assert lib.dim_model_create(0, None) == INVALID_ARGUMENT
    assert lib.dim_model_open(b"weights.h5", None) == INVALID_ARGUMENT
    assert lib.dim_model_open(None, byref(out)) == INVALID_ARGUMENT
    assert lib.dim_model_open(str(tmp_path / "nothing.h5").encode(), byref(out)) == IO
    assert out.value == 77


def test_files_refuse_null_and_dead_handles(lib, handle, tmp_path):
    path = str(tmp_path / "weights.h5").encode()
    assert lib.dim_model_save(handle, None) == INVALID_ARGUMENT
    assert lib.dim_model_load(handle, None) == INVALID_ARGUMENT
    assert lib.dim_model_save(None, path) == INVALID_HANDLE
    assert lib.dim_model_load(None, path) == INVALID_HANDLE
    assert lib.dim_model_save(handle, str(tmp_path / "no" / "folder.h5").encode()) == IO
    assert not list(tmp_path.iterdir())


def test_modes_refuse_null(lib, handle):
    training = c_bool()
    assert lib.dim_model_set_training(None, True) == INVALID_HANDLE
    assert lib.dim_model_is_training(None, byref(training)) == INVALID_HANDLE
    assert lib.dim_model_is_training(handle, None) == INVALID_ARGUMENT
    assert lib.dim_model_is_training(handle, byref(training)) == OK and not training.value


def test_free_accepts_null_and_dead_handles(lib):
    out = c_void_p()
    assert lib.dim_model_create(0, byref(out)) == OK
    for _ in range(2):
        lib.dim_model_free(out)
    lib.dim_model_free(None)
    lib.dim_model_free(c_void_p(16))
    assert lib.dim_model_networks(out) == 0
    assert lib.dim_model_parameter_count(out) == 0
    assert lib.dim_model_networks(None) == 0


def test_handles_are_never_reused(lib):
    seen = set()
    for _ in range(5):
        out = c_void_p()
        assert lib.dim_model_create(0, byref(out)) == OK
        assert out.value not in seen
        seen.add(out.value)
        lib.dim_model_free(out)


def test_parameter_info_refuses(lib, handle):
    info = _library.ParameterInfo(struct_size=ctypes.sizeof(_library.ParameterInfo))
    count = lib.dim_model_parameter_count(handle)
    assert lib.dim_model_parameter_info(None, 0, byref(info)) == INVALID_HANDLE
    assert lib.dim_model_parameter_info(handle, count, byref(info)) == INVALID_ARGUMENT
    assert lib.dim_model_parameter_info(handle, 2**64 - 1, byref(info)) == INVALID_ARGUMENT
    assert lib.dim_model_parameter_info(handle, 0, None) == INVALID_ARGUMENT
    for size in (0, 1, 8, 2**64 - 1):
        unknown = _library.ParameterInfo(struct_size=size)
        assert lib.dim_model_parameter_info(handle, 0, byref(unknown)) == INVALID_ARGUMENT
        assert unknown.name is None
    assert lib.dim_model_parameter_info(handle, 0, byref(info)) == OK
    assert info.name == b"encoder.c0.weight"


def test_find_parameter(lib, handle):
    index = c_size_t(77)
    assert lib.dim_model_find_parameter(handle, b"", byref(index)) == INVALID_ARGUMENT
    for name in (b"encoder.c9.weight", b"c0.weight", b"encoder.c0.weight ", b"x" * 100_000, b"\xff\xfe"):
        assert lib.dim_model_find_parameter(handle, name, byref(index)) == UNKNOWN_NAME
    assert lib.dim_model_find_parameter(handle, None, byref(index)) == INVALID_ARGUMENT
    assert lib.dim_model_find_parameter(handle, b"encoder.c0.bias", None) == INVALID_ARGUMENT
    assert lib.dim_model_find_parameter(None, b"encoder.c0.bias", byref(index)) == INVALID_HANDLE
    assert index.value == 77
    assert lib.dim_model_find_parameter(handle, b"encoder.c0.bias", byref(index)) == OK and index.value == 1


@pytest.mark.parametrize("function", ["dim_model_get_parameter", "dim_model_set_parameter"])
def test_parameter_access_refuses(lib, handle, function):
    access = getattr(lib, function)
    bias = np.zeros(64, np.float32)
    data = bias.ctypes.data
    assert access(handle, b"encoder.c0.bias", data, 256) == OK
    before = bias.copy()
    for size in (0, 255, 257, 252, 2**64 - 1):
        assert access(handle, b"encoder.c0.bias", data, size) == SIZE_MISMATCH
    assert access(handle, b"encoder.c0.bais", data, 256) == UNKNOWN_NAME
    assert access(handle, None, data, 256) == INVALID_ARGUMENT
    assert access(handle, b"encoder.c0.bias", None, 256) == INVALID_ARGUMENT
    assert access(None, b"encoder.c0.bias", data, 256) == INVALID_HANDLE
    assert (bias == before).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_set_parameter_refuses_values(lib, handle, bad):
    before, after = floats(64), floats(64)
    assert lib.dim_model_get_parameter(handle, b"encoder.c0.bias", before.ctypes.data, 256) == OK
    values = np.zeros(64, np.float32)
    values[63] = bad
    assert lib.dim_model_set_parameter(handle, b"encoder.c0.bias", values.ctypes.data, 256) == INVALID_ARGUMENT
    assert lib.dim_model_get_parameter(handle, b"encoder.c0.bias", after.ctypes.data, 256) == OK
    assert (before == after).all()


def test_set_parameter_refuses_negative_statistics(lib, handle):
    variance = np.ones(128, np.float32)
    variance[5] = -1e-3
    status = lib.dim_model_set_parameter(handle, b"encoder.b1.running_var", variance.ctypes.data, variance.nbytes)
    assert status == INVALID_ARGUMENT
    counter = np.array(-1, np.int64)
    status = lib.dim_model_set_parameter(handle, b"encoder.b1.num_batches_tracked", counter.ctypes.data, 8)
    assert status == INVALID_ARGUMENT


def set_parameters(lib, handle, entries):
    """entries: (name, array or None, bytes)."""
    count = len(entries)
    names = (c_char_p * count)(*(name for name, _, _ in entries))
    data = (c_void_p * count)(*(None if a is None else a.ctypes.data for _, a, _ in entries))
    sizes = (c_size_t * count)(*(size for _, _, size in entries))
    return lib.dim_model_set_parameters(handle, count, names, data, sizes)


def test_set_parameters_is_all_or_nothing(lib, handle):
    good, other = np.full(64, 2, np.float32), np.full(128, 3, np.float32)
    first = (b"encoder.c0.bias", good, 256)
    for second, expected in [
        ((b"encoder.c1.bias", other, 511), SIZE_MISMATCH),
        ((b"encoder.c9.bias", other, 512), UNKNOWN_NAME),
        ((b"encoder.c1.bias", None, 512), INVALID_ARGUMENT),
        ((None, other, 512), INVALID_ARGUMENT),
        ((b"encoder.c1.bias", other * np.float32(np.nan), 512), INVALID_ARGUMENT),
        (first, INVALID_ARGUMENT),  # a name that is listed twice
    ]:
        assert set_parameters(lib, handle, [first, second]) == expected
        found = floats(64)
        assert lib.dim_model_get_parameter(handle, b"encoder.c0.bias", found.ctypes.data, 256) == OK
        assert not (found == 2).any()
    assert set_parameters(lib, None, [first]) == INVALID_HANDLE
    assert set_parameters(lib, handle, [first, (b"encoder.c1.bias", other, 512)]) == OK
    assert lib.dim_model_get_parameter(handle, b"encoder.c0.bias", found.ctypes.data, 256) == OK
    assert (found == 2).all()


def test_threads_range(lib):
    before = lib.dim_num_threads()
    for n in (-1, 1025, -(2**31), 2**31 - 1):
        assert lib.dim_set_num_threads(n) == INVALID_ARGUMENT
        assert lib.dim_num_threads() == before
    assert lib.dim_set_num_threads(1) == OK and lib.dim_num_threads() == 1
    assert lib.dim_set_num_threads(0) == OK and lib.dim_num_threads() >= 1


def test_status_names(lib):
    assert lib.dim_status_name(0) == b"DIM_OK"
    assert lib.dim_status_name(30) == b"DIM_IO"
    for unknown in (1, 9, 33, -1, 2**31 - 1):
        assert lib.dim_status_name(unknown) == b"unknown status"


def test_unaligned_arrays(lib, handle):
    """Pointers need no more alignment than a float's."""
    rng = np.random.default_rng(0)
    images = rng.random((1, 3 * 32 * 32), np.float32)
    expected, found = floats(1, 64), floats(1, 65)
    shifted = np.empty(3 * 32 * 32 + 1, np.float32)[1:]
    shifted[:] = images[0]
    assert lib.dim_encode(handle, address(images), 1, address(expected), None) == OK
    assert lib.dim_encode(handle, address(shifted), 1, address(found[:, 1:]), None) == OK
    assert (found[:, 1:] == expected).all() and found[0, 0] == MARK


def test_last_error_is_of_this_thread(lib):
    assert lib.dim_model_create(0, None) == INVALID_ARGUMENT
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(lib.dim_last_error()))
    thread.start()
    thread.join()
    assert elsewhere == [b""] and lib.dim_last_error() != b""
