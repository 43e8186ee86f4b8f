"""An architecture of vectors, whose features are vectors, too."""

#: Features of a layer behind `flatten`, which comes first; other layers there are a block of linear layers and one more `flatten`.
VECTORS = {
    "image": {"channels": 11, "height": 1, "width": 1, "mean": 0.3},
    "encoder": {
        "norms": "last",
        "layers": [
            {"op": "flatten", "name": "x0", "norm": "layer"},
            {"op": "linear", "name": "l0", "out": 12, "norm": "batch", "activation": "relu"},
            {
                "op": "residual",
                "name": "r0",
                "layers": [
                    {"op": "linear", "name": "l0", "out": 12, "norm": "layer", "activation": "sigmoid"},
                    {"op": "dropout", "dropout": 0.2},
                ],
                "norm": "batch",
            },
            {"op": "flatten", "name": "x1"},
            {"op": "linear", "name": "l1", "out": 4},
        ],
        "features": "l0",
    },
    "local": {"score": "dot", "units": 9},
    "global": {"score": "dot", "net": "copy", "units": 7},
    "prior": {"hidden": [5], "squash": "sigmoid"},
    "coordinates": {"hidden": [3]},
    "classifier": {"hidden": [6], "classes": 3},
}
