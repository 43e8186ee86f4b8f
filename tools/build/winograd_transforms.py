#!/usr/bin/env python3
"""Writes the Winograd (Cook-Toom) transforms of the kernels as straight-line Swift, from exact fractions.

    tools/build/winograd_transforms.py            # rewrites Sources/DimKernels/Sources/WinogradTransforms.swift
    tools/build/winograd_transforms.py --check    # fails unless the file is what would be written
    tools/build/winograd_transforms.py --errors   # how the points of F(m, r), and of some that were not taken, amplify rounding

One tile of F(m x m, r x r), n = m + r - 1:   y = A^T [ (G g G^T) * (B^T d B) ] A
and its transposes for the gradients:         dg = G^T [ (B^T d B) * (A dy A^T) ] G
Only the points of evaluation below are chosen; everything else follows from them.
"""

import math
import sys
from fractions import Fraction as F
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "Sources/DimKernels/Sources/WinogradTransforms.swift"

# Small points and their reciprocals keep float32 accurate; pairs p, -p share half of their arithmetic. Infinity is implied.
H = F(1, 2)
POINTS = {
    (2, 2): [0, 1],
    (4, 2): [0, 1, -H, -2],
    (3, 4): [0, 1, -1, H, -2],
    (4, 4): [0, 1, -1, 2, -2, H],
    (5, 4): [0, 1, -1, 2, -2, H, -H],
    (4, 3): [0, 1, -1, H, -2],
    (6, 3): [0, 1, -1, 2, -2, H, -H],
}


def matrices(m, r, points=None):
    """A^T (m, n), G (n, r), B^T (n, n), in fractions."""
    points, n = [F(p) for p in points or POINTS[m, r]], m + r - 1
    assert len(points) == n - 1

    def product(roots):
        """Coefficients of prod (x - q), lowest first."""
        poly = [F(1)]
        for q in roots:
            poly = [(poly[i - 1] if i else 0) - q * (poly[i] if i < len(poly) else 0) for i in range(len(poly) + 1)]
        return poly

    AT = [[p**i for p in points] + [F(int(i == m - 1))] for i in range(m)]
    G, BT = [], []
    for j, p in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale = math.prod(p - q for q in others)
        G.append([p**i / scale for i in range(r)])
        BT.append(product(others) + [F(0)])
    G.append([F(0)] * (r - 1) + [F(1)])
    BT.append(product(points))
    for j in range(n):  # balance the rows by powers of two: exact, and it keeps float32 magnitudes alike
        largest = [float(max(map(abs, rows[j]))) for rows in (BT, G)]
        s = F(2) ** round(math.log2(math.sqrt(largest[0] / largest[1])))
        G[j] = [v * s for v in G[j]]
        BT[j] = [v / s for v in BT[j]]
    return AT, G, BT


def fraction(v):
    return f"fraction({v.numerator}, {v.denominator})"


def statements(name, terms):
    """Swift for name = the sum of coefficient * x, beginning with a term that needs no multiplication where there is one."""
    terms = sorted(terms, key=lambda t: t[0] != 1)
    (c, x), rest = terms[0], terms[1:]
    first = x if c == 1 else f"{fraction(c)} * {x}"
    lines = [f"    {'var' if rest else 'let'} {name} = {first}"]
    for c, x in rest:
        if abs(c) == 1:
            lines.append(f"    {name} {'+' if c > 0 else '-'}= {x}")
        else:
            lines.append(f"    {name} = multiplyAdd({fraction(c)}, {x}, {name})")
    return lines


def pairs(vectors):
    """Pairs of vectors whose entries differ in nothing but some signs: they share an even and an odd part."""
    found, used = [], set()
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors[:i]):
            alike = all(abs(p) == abs(q) for p, q in zip(a, b))
            if alike and not used & {i, j} and any(p != q for p, q in zip(a, b)) and any(p == q != 0 for p, q in zip(a, b)):
                found.append((j, i))
                used |= {i, j}
    return found


def function(name, matrix):
    """One pass over one dimension: y = matrix x, from vectors `stride` apart to vectors `targetStride` apart."""
    lines = [
        "@_transparent",
        f"func {name}(",
        "    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int",
        ") {",
    ]
    inputs = {k: f"x{k}" for k in range(len(matrix[0]))}
    lines += [f"    let x{k} = load(source + {k} &* stride)" for k in inputs]

    row_pairs, column_pairs = pairs(matrix), pairs(transpose(matrix))
    if len(column_pairs) > len(row_pairs):
        # Columns k and l: every row takes the pair's sum or its difference.
        row_pairs = []
        for k, l in column_pairs:
            lines += [f"    let sum{k} = x{k} + x{l}", f"    let difference{k} = x{k} - x{l}"]
    else:
        column_pairs = []

    def terms(row):
        result, paired = [], {k: l for k, l in column_pairs}
        for k, c in enumerate(row):
            if not c or k in paired.values():
                continue
            if k in paired:
                result.append((c, f"sum{k}" if row[paired[k]] == c else f"difference{k}"))
            else:
                result.append((c, f"x{k}"))
        return result

    partner = {i: j for i, j in row_pairs}
    for i, row in enumerate(matrix):
        if i in partner:
            j = partner[i]
            same = [c if c == matrix[j][k] else 0 for k, c in enumerate(row)]
            other = [c if c != matrix[j][k] else 0 for k, c in enumerate(row)]
            lines += statements(f"even{i}", terms(same)) + statements(f"odd{i}", terms(other))
            lines.append(f"    store(even{i} + odd{i}, target + {i} &* targetStride)")
            lines.append(f"    store(even{i} - odd{i}, target + {j} &* targetStride)")
        elif i not in partner.values():
            lines += statements(f"y{i}", terms(row))
            lines.append(f"    store(y{i}, target + {i} &* targetStride)")
    return "\n".join(lines + ["}", ""])


def transpose(matrix):
    return [list(row) for row in zip(*matrix)]


def source():
    out = [
        """\
// Written by tools/build/winograd_transforms.py; change that, not this.
//
// F(m, r) of Winograd and Cook-Toom: one tile of m x m outputs of an r x r kernel by n x n multiplications, n = m + r - 1.

import DimKernelTypes

/// The transforms of F(m x m, r x r), nil where there are none.
package func winogradKernels(m: Int, r: Int) -> WinogradKernels? {
    switch (m, r) {"""
    ]
    for m, r in POINTS:
        out.append(f"""\
    case ({m}, {r}):
        WinogradKernels(
            m: {m}, r: {r}, input: winogradInput{m}x{r}, output: winogradOutput{m}x{r}, weights: winogradWeights{m}x{r},
            outputGradient: winogradOutputGradient{m}x{r}, weightGradient: winogradWeightGradient{m}x{r})""")
    out.append("    default: nil\n    }\n}\n")
    for m, r in POINTS:
        AT, G, BT = matrices(m, r)
        n = m + r - 1
        points = ", ".join(str(p) for p in POINTS[m, r])
        out.append(f"// MARK: F({m} x {m}, {r} x {r}), points {points}, infinity\n")
        s = f"{m}x{r}"
        out.append(f"""\
private func winogradInput{s}(_ w: WinogradWindows) {{
    transformWindows(w, window: {n}, points: {n}, step: {m}, transform: multiplyBT{s})
}}

private func winogradOutputGradient{s}(_ w: WinogradWindows) {{
    transformWindows(w, window: {m}, points: {n}, step: {m}, transform: multiplyA{s})
}}

private func winogradOutput{s}(_ w: WinogradOutput) {{
    transformOutput(w, points: {n}, m: {m}, transform: multiplyAT{s})
}}

private func winogradWeights{s}(_ w: WinogradWeights) {{
    transformWeights(w, points: {n}, r: {r}, transform: multiplyG{s})
}}

private func winogradWeightGradient{s}(_ w: WinogradWeightGradient) {{
    transformWeightGradient(w, points: {n}, r: {r}, transform: multiplyGT{s})
}}
""")
        for name, matrix in (("BT", BT), ("AT", AT), ("G", G), ("A", transpose(AT)), ("GT", transpose(G))):
            out.append(function(f"multiply{name}{s}", matrix))
    return "\n".join(out).rstrip() + "\n"


def amplification(m, r, points):
    """The root mean square of a product's rounding in an output of a tile over that in a direct sum's, for random operands:
    a product at point p is as large as the rows of G and B^T there, and A^T takes it to the output."""
    AT, G, BT = matrices(m, r, points)
    size = [float(sum(g * g for g in gr) * sum(b * b for b in br)) for gr, br in zip(G, BT)]
    return sum(sum(float(a) ** 2 * s for a, s in zip(row, size)) for row in AT) / m / r


def errors():
    others = {(2, 2): [[0, -1]], (4, 2): [[0, 1, -1, 2], [0, 1, -1, H]], (4, 3): [[0, 1, -1, 2, -2]]}
    for (m, r), points in POINTS.items():
        for taken in [points] + others.get((m, r), []):
            text = ", ".join(map(str, taken))
            print(f"F({m}, {r}), points {text}, infinity: {amplification(m, r, taken):.1f}")


if __name__ == "__main__":
    if "--errors" in sys.argv:
        errors()
    elif "--check" in sys.argv:
        if TARGET.read_text() != source():
            sys.exit(f"{TARGET} is not what {sys.argv[0]} writes")
    else:
        TARGET.write_text(source())
