"""What is drawn, of arrays that go and that do not."""

import numpy as np
import pytest
from deepinfomax.neighbours import neighbours
from deepinfomax.plots import charts, maps, pictures

IMAGES = np.linspace(0, 1, 4 * 3 * 6 * 5, dtype=np.float32).reshape(4, 3, 6, 5)
PLACES = np.array([[0, 0], [1, 0], [0, 2], [3, 1]], np.float64)


def test_what_goes():
    assert pictures.panel([IMAGES, IMAGES], 2, 1).shape == (2 * 13 - 1, 4 * 11 - 1, 3)
    assert pictures.panel([IMAGES[:, :1].astype(np.float64)]).shape == (6, 20, 3), "grey"
    sheet = pictures.scatter(IMAGES, PLACES, pictures.colours(4), size=100, thumbnail=8)
    assert max(sheet.shape[:2]) == 100 and pictures.png(sheet).startswith(b"\x89PNG")
    assert pictures.scatter(IMAGES[:1], PLACES[:1], size=8, thumbnail=8).shape == (8, 8, 3)
    assert maps.pca(PLACES).places.shape == (4, 2) and maps.fitted(PLACES)[0].shape == (4, 2)
    assert charts.confusion([("counts", np.eye(3, dtype=np.int64))], ["a", "b"], "svg").startswith(b"<?xml")


@pytest.mark.filterwarnings("error")
def test_places_of_any_type_and_unit():
    """int8's differences overflowed, float16's too; of very small units all lay on one place."""
    places = np.array([[-100, 0], [100, 50], [0, 100], [100, -100]])
    expected = pictures.scatter(IMAGES, places.astype(np.float64), size=200, thumbnail=8)
    for same in places.astype(np.int8), places.astype(np.float16), places * 600.0, places * 1e-250, places * 1.5e306:
        assert np.array_equal(pictures.scatter(IMAGES, same, size=200, thumbnail=8), expected), same
    assert np.array_equal(pictures.scatter(IMAGES, (places * 600).astype(np.float16), size=200, thumbnail=8), expected)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: pictures.panel([]), ValueError, "rows: expected one or more, found none"),
        (lambda: pictures.panel([IMAGES[:0]]), ValueError, r"rows: expected shape \(n,c,h,w\), found \(0,3,6,5\)"),
        (lambda: pictures.panel([IMAGES, IMAGES[:2]]), ValueError, r"rows: expected shape \(4,c,6,5\), found \(2,3,6,5\)"),
        (lambda: pictures.panel([IMAGES], 0), ValueError, "scale: expected 1 or more, found 0"),
        (lambda: pictures.panel([IMAGES], gap=-1), ValueError, "gap: expected 0 or more, found -1"),
        (lambda: pictures.stack([]), ValueError, "pictures: expected one or more"),
        (lambda: pictures.stack([np.zeros((2, 2, 3)), np.zeros((3, 2, 3))]), ValueError, r"\(2,2,3\), found \(3,2,3\)"),
        (lambda: pictures.stack([np.zeros((2, 2, 3))], 0), ValueError, "columns: expected 1 or more"),
        (lambda: pictures.scatter(IMAGES, PLACES[:3]), ValueError, r"places: expected shape \(4,2\), found \(3,2\)"),
        (lambda: pictures.scatter(IMAGES[:0], PLACES[:0]), ValueError, "images: expected shape"),
        (lambda: pictures.scatter(IMAGES, PLACES * np.nan), ValueError, "places: expected finite numbers"),
        (lambda: pictures.scatter(IMAGES, PLACES, size=10), ValueError, "size: expected 32 or more, a thumbnail's"),
        (lambda: pictures.scatter(IMAGES, PLACES, pictures.colours(3)), ValueError, r"colours: expected shape \(4,3\)"),
        (lambda: pictures.to_pixels(IMAGES[0]), ValueError, r"images: expected shape \(n,c,h,w\), found \(3,6,5\)"),
        (lambda: pictures.to_pixels(np.array(["x"])), TypeError, "images: expected numbers"),
        (lambda: pictures.png(IMAGES[0]), ValueError, r"picture: expected shape \(h,w,3\)"),
        (lambda: pictures.png(np.zeros((2, 2, 3))), TypeError, "picture: expected uint8, found float64"),
        (lambda: pictures.captioned([IMAGES], [[["a"]]]), ValueError, "captions: expected lines for each image"),
        (lambda: maps.pca(PLACES[:1]), ValueError, "y: expected two vectors or more"),
        (lambda: maps.pca(PLACES[0]), ValueError, r"y: expected shape \(n,d\), found \(2,\)"),
        (lambda: maps.pca(PLACES * np.inf), ValueError, "y: expected finite numbers"),
        (lambda: neighbours(PLACES[0, :1], PLACES), ValueError, r"subject: expected shape \(2,\), found \(1,\)"),
        (lambda: neighbours(PLACES[0], PLACES * np.nan), ValueError, "y: expected finite numbers"),
        (lambda: maps.fitted(IMAGES), ValueError, r"places: expected shape \(n,2\)"),
        (lambda: charts.confusion([], ["a"]), ValueError, "expected a matrix and a class"),
        (
            lambda: charts.confusion([("counts", np.eye(2))], ["a", "b", "c"]),
            ValueError,
            r"counts: .* of 3 classes, found \(2, 2\)",
        ),
        (
            lambda: charts.confusion([("counts", np.eye(2))], ["a"], "gif"),
            ValueError,
            "file_format: expected one of png, svg, pdf",
        ),
    ],
)
def test_what_does_not(call, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        call()


def test_the_size_of_a_picture():
    """Where it is too large, a smaller map may be all that helps; 16001 x 16001 is "256 million" no more."""
    pictures.check_size(1 << 14, 1 << 14)
    with pytest.raises(pictures.PictureTooLarge, match=r"expected 268,435,456 at most; .* or a smaller map"):
        pictures.check_size(1 << 14, (1 << 14) + 1)
