import DimRuntime
import Glibc

/// A location's place in its map, predicted from h + w numbers at it: logits of its row, then of its column
/// (arXiv:1808.06670, section 4.3). p and q are the softmaxes of rows, or of columns, at a location and at its partner.
///
///     absolute:   -log p(i) - log p(j)                      of a location (i, j)
///     relative:   -log P(i - i') - log P(j - j')            of a location (i, j) and a partner (i', j') in the same map
///                 P(d) = sum over r of p(r) q(r - d)        the correlation of the two predictions
///
/// The loss is the mean over all locations. With w(r) = p(r) q(r - d) / P(d), what the difference d says about the row,
///
///     absolute:   d loss / d logit(r) = p(r) - [r = i]
///     relative:   d loss / d logit(r) = p(r) - w(r),   d loss / d logit'(s) = q(s) - w(s + d)
package enum Coordinates: UInt32, CaseIterable {
    case none, absolute, relative

    package var name: String {
        switch self {
        case .none: "none"
        case .absolute: "absolute"
        case .relative: "relative"
        }
    }

    /// The sum of the losses of all locations of `logits`, (n, h + w, h, w). Adds scale * its gradient to `gradient`.
    /// partners (n, h w), the cell of each location's partner; read by `relative` alone.
    package func sum(
        _ logits: Activation, rows: Int, partners: UnsafePointer<UInt32>?, gradient: Activation?, scale: Double
    ) throws -> Double {
        let sums = try DoubleBuffer(zeros: logits.images)
        let columns = logits.shape.channels - rows
        ThreadPool.shared.parallel(logits.images) { image, _ in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * max(rows, columns)) { memory in
                let own = Prediction(logits, gradient, image, memory.baseAddress!)
                let other = Prediction(logits, gradient, image, memory.baseAddress! + max(rows, columns))
                let cells = logits.shape.pixels
                for cell in 0..<cells {
                    let partner = partners.map { Int($0[image * cells + cell]) } ?? cell
                    let row = Place(first: 0, count: rows, at: cell / columns, partner: partner / columns)
                    let column = Place(first: rows, count: columns, at: cell % columns, partner: partner % columns)
                    for place in [row, column] {
                        sums.pointer[image] +=
                            self == .relative
                            ? own.relative(place, cell, other, partner, scale) : own.absolute(place, cell, scale)
                    }
                }
            }
        }
        return (0..<logits.images).reduce(0) { $0 + sums.pointer[$1] }
    }

    /// The logits first ..< first + count, of rows or of columns; which of them are a location's and its partner's.
    private struct Place {
        let first, count, at, partner: Int
    }

    /// One image's logits, and log p of one location of it.
    private struct Prediction {
        let logits: Activation
        let gradient: Activation?
        let image: Int
        let p: UnsafeMutablePointer<Double>

        init(_ logits: Activation, _ gradient: Activation?, _ image: Int, _ p: UnsafeMutablePointer<Double>) {
            (self.logits, self.gradient, self.image, self.p) = (logits, gradient, image, p)
        }

        private func offset(_ logit: Int, _ cell: Int) -> Int {
            logit / 16 * logits.blockStride + (image * logits.shape.pixels + cell) * 16 + logit % 16
        }

        private func predict(_ place: Place, _ cell: Int) {
            var top = -Double.infinity
            for r in 0..<place.count {
                p[r] = Double(logits.pointer[offset(place.first + r, cell)])
                top = max(top, p[r])
            }
            var total = 0.0
            for r in 0..<place.count { total += exp(p[r] - top) }
            let log = top + Glibc.log(total)
            for r in 0..<place.count { p[r] -= log }
        }

        private func add(_ value: Double, _ place: Place, _ r: Int, _ cell: Int) {
            gradient?.pointer[offset(place.first + r, cell)] += Float(value)
        }

        func absolute(_ place: Place, _ cell: Int, _ scale: Double) -> Double {
            predict(place, cell)
            if gradient != nil {
                for r in 0..<place.count { add(scale * (exp(p[r]) - (r == place.at ? 1 : 0)), place, r, cell) }
            }
            return -p[place.at]
        }

        func relative(_ place: Place, _ cell: Int, _ other: Prediction, _ partner: Int, _ scale: Double) -> Double {
            predict(place, cell)
            other.predict(place, partner)
            let (q, d) = (other.p, place.at - place.partner)
            let both = max(0, d)..<min(place.count, place.count + d)
            var top = -Double.infinity
            for r in both { top = max(top, p[r] + q[r - d]) }
            var total = 0.0
            for r in both { total += exp(p[r] + q[r - d] - top) }
            let log = top + Glibc.log(total)
            if gradient != nil {
                for r in 0..<place.count {
                    let w = both.contains(r) ? exp(p[r] + q[r - d] - log) : 0
                    add(scale * (exp(p[r]) - w), place, r, cell)
                    let v = both.contains(r + d) ? exp(p[r + d] + q[r] - log) : 0
                    add(scale * (exp(q[r]) - v), place, r, partner)
                }
            }
            return -log
        }
    }
}
