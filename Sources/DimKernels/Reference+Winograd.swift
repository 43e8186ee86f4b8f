extension Reference {
    /// The points of F(m, r) besides infinity; `tools/build/winograd_transforms.py` has the same.
    package static func winogradPoints(m: Int, r: Int) -> [Double]? {
        switch (m, r) {
        case (2, 2): [0, 1]
        case (4, 2): [0, 1, -0.5, -2]
        case (3, 4), (4, 3): [0, 1, -1, 0.5, -2]
        case (4, 4): [0, 1, -1, 2, -2, 0.5]
        case (5, 4), (6, 3): [0, 1, -1, 2, -2, 0.5, -0.5]
        default: nil
        }
    }

    /// How much larger than the result the sums inside F(m, r) can be, in one dimension: the largest over outputs i of
    ///
    ///     sum over points p of |A^T(i, p)| * (sum over a of |G(p, a)|) * (sum over b of |B^T(p, b)|)
    ///
    /// for operands of magnitude 1. The error of a two-dimensional tile is at most its square times the roundings' number,
    /// epsilon, and the operands' magnitudes. (Balancing the rows multiplies G and divides B^T: it cancels here.)
    package static func winogradGrowth(m: Int, r: Int) -> Double? {
        guard let points = winogradPoints(m: m, r: r) else { return nil }
        func power(_ x: Double, _ n: Int) -> Double { (0..<n).reduce(1) { p, _ in p * x } }
        /// The sum of the magnitudes of the coefficients of prod (x - q).
        func magnitudes(_ roots: [Double]) -> Double {
            var poly = [1.0]
            for q in roots {
                poly = (0...poly.count).map { i in (i > 0 ? poly[i - 1] : 0) - q * (i < poly.count ? poly[i] : 0) }
            }
            return poly.reduce(0) { $0 + abs($1) }
        }
        return (0..<m).map { i in
            var sum = i == m - 1 ? magnitudes(points) : 0  // infinity
            for (j, p) in points.enumerated() {
                let others = points.indices.filter { $0 != j }.map { points[$0] }
                let scale = others.reduce(1) { $0 * (p - $1) }
                let g = (0..<r).reduce(0) { $0 + abs(power(p, $1) / scale) }
                sum += abs(power(p, i)) * g * magnitudes(others)
            }
            return sum
        }.max()
    }
}
