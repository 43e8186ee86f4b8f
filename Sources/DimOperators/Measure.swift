import DimKernels
import DimRuntime
import Glibc

/// How well scores tell a pair that belongs together from pairs that do not, as a loss: the bounds on mutual information, and
/// on other divergences between the joint distribution and the product of its marginals, of Deep InfoMax (arXiv:1808.06670,
/// section 3; f-divergences: arXiv:1606.00709). t is a score, a logit; sp(t) = log(1 + e^t); means are over all positives and
/// all negatives of the table.
///
///     gan, jsd, kl, rkl, h2:  mean over negatives of E-(t) - mean over positives of E+(t)
///
///             E+(t)             E-(t)
///     gan     -sp(-t)           sp(t)
///     jsd     log 2 - sp(-t)    sp(t) - log 2
///     kl      t                 e^(t - 1)
///     rkl     -e^(-t)           t - 1
///     h2      1 - e^(-t)        e^t - 1
///
///     dv:   log(mean over negatives of e^t) - mean over positives of t
///     nce:  the mean over vectors j and locations l of  log(e^t(j,l) + sum over j's negatives of e^t) - t(j,l),
///           t(j,l) the score of location l of j's own image
///
/// kl overflows where a negative's score is large, rkl where a positive's is very negative, h2 in both cases: the formula
/// does, in double beyond 709. All others are finite for every finite score.
///
/// X2 and W1 of the authors' code are left out: its X2 is not the pair of functions of a divergence and has no bound from
/// below; W1 needs scores with a Lipschitz constant, which nothing here enforces.
package enum Measure: UInt32, CaseIterable {
    case jsd, gan, kl, rkl, h2, dv, nce

    package var name: String {
        switch self {
        case .jsd: "jsd"
        case .gan: "gan"
        case .kl: "kl"
        case .rkl: "rkl"
        case .h2: "h2"
        case .dv: "dv"
        case .nce: "nce"
        }
    }

    package init?(name: String) {
        guard let found = Measure.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// sum * e^shift: a sum of exponentials, some of which are no double.
package struct ShiftedSum {
    package var sum = 0.0
    package var shift = 0.0

    package mutating func add(_ other: ShiftedSum) {
        if other.sum == 0 { return }
        if sum == 0 { return self = other }
        let top = max(shift, other.shift)
        sum = sum * exp(shift - top) + other.sum * exp(other.shift - top)
        shift = top
    }

    /// Without overflow where the mean has none.
    func mean(_ count: Int) -> Double { shift == 0 ? sum / Double(count) : sum / Double(count) * exp(shift) }
}

/// What a measure adds up over the scores: of a part of a batch, or of all of it.
package struct MeasureSums {
    package var positives = ShiftedSum()
    package var negatives = ShiftedSum()

    package init() {}

    package mutating func add(_ other: MeasureSums) {
        positives.add(other.positives)
        negatives.add(other.negatives)
    }
}

extension Measure {
    /// The loss. Where `gradient` is given, which may be the scores themselves, weight * d loss / d score is written there.
    /// Scores that are not finite give a loss that is not.
    ///
    /// A score's share is rounded as floats are; sums over more than 256 scores are doubles. The result does not depend on
    /// the number of threads.
    package func loss(
        _ scores: UnsafePointer<Float>, _ table: ScoreTable, gradient: UnsafeMutablePointer<Float>?, weight: Double
    ) throws -> Double {
        let sums = try sums(scores, table, gradient: gradient, weight: weight, whole: nil)
        if needsAllSums, gradient != nil {
            _ = try self.sums(scores, table, gradient: gradient, weight: weight, whole: sums)
        }
        return loss(sums, table)
    }

    /// A score's gradient depends on all scores of the batch: where these come in parts, they come twice.
    package var needsAllSums: Bool { self == .dv }

    /// A part's share of the sums, to be added part after part, and its gradient. Where `needsAllSums`, the gradient is
    /// written once `whole` is known.
    package func sums(
        _ scores: UnsafePointer<Float>, _ part: ScoreTable, gradient: UnsafeMutablePointer<Float>?, weight: Double,
        whole: MeasureSums?
    ) throws -> MeasureSums {
        let pass = Pass(scores: scores, table: part, gradient: gradient, weight: weight)
        switch self {
        case .nce: return try pass.nce()
        case .dv:
            if let whole, gradient != nil {
                pass.dvGradient(whole.negatives)
                return whole
            }
            return try pass.dv()
        case .gan, .jsd: return try pass.divergence(.softplus(sign: -1), .softplus(sign: 1))
        case .kl: return try pass.divergence(.linear(sign: -1), .exponential(sign: 1, shift: 1))
        case .rkl: return try pass.divergence(.exponential(sign: -1, shift: 0), .linear(sign: 1))
        case .h2: return try pass.divergence(.exponential(sign: -1, shift: 0), .exponential(sign: 1, shift: 0))
        }
    }

    /// From the sums over all scores.
    package func loss(_ sums: MeasureSums, _ table: ScoreTable) -> Double {
        let positives = sums.positives.mean(table.positives)
        switch self {
        case .nce: return positives
        case .dv:
            return sums.negatives.shift + log(sums.negatives.sum) - log(Double(table.negatives)) - positives
        case .gan, .kl: return positives + sums.negatives.mean(table.negatives)
        case .jsd: return positives + sums.negatives.mean(table.negatives) - 2 * log(2)
        case .rkl: return positives + sums.negatives.mean(table.negatives) - 1
        case .h2: return positives + sums.negatives.mean(table.negatives) - 2
        }
    }

    /// The estimate that belongs to the measure, in nats: a lower bound, up to the batch's chance, which the best scores
    /// reach. It is the mutual information for kl, dv and nce, and another divergence between the joint distribution P and
    /// the product Q of its marginals for the others:
    ///
    ///     kl, dv     -loss                        mutual information, KL(P | Q)
    ///     nce        log(negatives + 1) - loss    mutual information, as far as log(negatives + 1); negatives of one vector
    ///     jsd        -loss                        2 JS(P, Q), at most 2 log 2
    ///     gan        2 log 2 - loss               the same
    ///     rkl        -loss                        KL(Q | P)
    ///     h2         -loss                        the squared Hellinger distance, at most 2
    package func estimate(loss: Double, _ table: ScoreTable) -> Double {
        switch self {
        case .jsd, .kl, .rkl, .h2, .dv: -loss
        case .gan: 2 * log(2) - loss
        case .nce: log(Double(table.negativesOfVector) + 1) - loss
        }
    }
}

/// A function of one score t, up to constants: what is averaged over positives or over negatives.
private enum Term {
    /// sign * t
    case linear(sign: Float)
    /// sp(sign * t)
    case softplus(sign: Float)
    /// e^(sign * t - shift)
    case exponential(sign: Float, shift: Double)
}

/// One evaluation of a measure. Vectors are taken in chunks that depend on the table alone, and their sums added in order.
private struct Pass {
    let scores: UnsafePointer<Float>
    let table: ScoreTable
    let gradient: UnsafeMutablePointer<Float>?
    let weight: Double
    let kernels = DimKernels.selected

    /// Scores that are worth waking a thread for.
    private static let chunk = 1 << 13

    private func forEachVector(_ body: (Int) -> Void) {
        let each = max(1, Pass.chunk / table.row)
        ThreadPool.shared.parallel((table.vectors + each - 1) / each) { task, _ in
            for j in task * each..<min((task + 1) * each, table.vectors) { body(j) }
        }
    }

    /// The sums of `each` over the vectors, in their order.
    private func sums(_ each: (Int) -> MeasureSums) throws -> MeasureSums {
        let found = try DoubleBuffer(zeros: 4 * table.vectors)
        forEachVector { j in
            let one = each(j)
            let s = found.pointer + 4 * j
            (s[0], s[1], s[2], s[3]) = (
                one.positives.sum, one.positives.shift, one.negatives.sum, one.negatives.shift
            )
        }
        var all = MeasureSums()
        for j in 0..<table.vectors {
            let s = found.pointer + 4 * j
            all.positives.add(ShiftedSum(sum: s[0], shift: s[1]))
            all.negatives.add(ShiftedSum(sum: s[2], shift: s[3]))
        }
        return all
    }

    func divergence(_ ofPositive: Term, _ ofNegative: Term) throws -> MeasureSums {
        let perPositive = weight / Double(table.positives)
        let perNegative = weight / Double(table.negatives)
        return try sums { j in
            let own = table.ownStart(j)
            let (before, after) = table.negativeRanges(j)
            var sums = MeasureSums()
            sums.positives = add(ofPositive, range(j, own..<own + table.locations), 0..<0, perPositive)
            sums.negatives = add(ofNegative, range(j, before), range(j, after), perNegative)
            return sums
        }
    }

    /// The sum of a term over the scores of two ranges, and its gradient.
    private func add(_ term: Term, _ a: Range<Int>, _ b: Range<Int>, _ factor: Double) -> ShiftedSum {
        switch term {
        case .linear(let sign):
            let sum = kernels.total(scores + a.lowerBound, a.count) + kernels.total(scores + b.lowerBound, b.count)
            if let gradient {
                let value = Float(Double(sign) * factor)
                (gradient + a.lowerBound).update(repeating: value, count: a.count)
                (gradient + b.lowerBound).update(repeating: value, count: b.count)
            }
            return ShiftedSum(sum: Double(sign) * sum)
        case .softplus(let sign):
            let e = Exponent(sign: sign, factor: Double(sign) * factor)
            return ShiftedSum(sum: evaluate(kernels.softplus, a, b, e))
        case .exponential(let sign, let shift):
            // Ordinary scores are not shifted: no rounding. Large ones are, as far as e^t is no float but its share is.
            let top = max(largest(a, sign), largest(b, sign))
            let by = top > 80 && top.isFinite ? Double(top) - 40 : 0
            let scale = exp(by - shift)
            let e = Exponent(sign: sign, shift: by, factor: Double(sign) * factor * scale)
            let sum = evaluate(kernels.exponentials, a, b, e)
            return by == 0 ? ShiftedSum(sum: sum * scale) : ShiftedSum(sum: sum, shift: by - shift)
        }
    }

    private func largest(_ range: Range<Int>, _ sign: Float) -> Float {
        kernels.largest(scores + range.lowerBound, range.count, sign)
    }

    private func evaluate(
        _ kernel: (UnsafePointer<Float>, Int, Exponent, UnsafeMutablePointer<Float>?) -> Double,
        _ a: Range<Int>, _ b: Range<Int>, _ e: Exponent
    ) -> Double {
        kernel(scores + a.lowerBound, a.count, e, gradient.map { $0 + a.lowerBound })
            + kernel(scores + b.lowerBound, b.count, e, gradient.map { $0 + b.lowerBound })
    }

    private func range(_ j: Int, _ part: Range<Int>) -> Range<Int> {
        j * table.row + part.lowerBound..<j * table.row + part.upperBound
    }

    /// log of the sum of e^t over a vector's negatives, as the largest score and the log of the sum relative to it.
    private func logSumOfNegatives(_ j: Int) -> (top: Double, sum: Double) {
        let (before, after) = table.negativeRanges(j)
        let (a, b) = (range(j, before), range(j, after))
        let top = Double(max(largest(a, 1), largest(b, 1)))
        let e = Exponent(shift: top)
        return (
            top,
            kernels.exponentials(scores + a.lowerBound, a.count, e, nil)
                + kernels.exponentials(scores + b.lowerBound, b.count, e, nil)
        )
    }

    /// factor * e^(t - shift) for a vector's negatives.
    private func writeNegatives(_ j: Int, _ e: Exponent, _ gradient: UnsafeMutablePointer<Float>) {
        let (before, after) = table.negativeRanges(j)
        let (a, b) = (range(j, before), range(j, after))
        _ = kernels.exponentials(scores + a.lowerBound, a.count, e, gradient + a.lowerBound)
        _ = kernels.exponentials(scores + b.lowerBound, b.count, e, gradient + b.lowerBound)
    }

    /// With N = log of the sum of e^t over j's negatives, a location's loss is log(e^t + e^N) - t = sp(N - t).
    func nce() throws -> MeasureSums {
        let each = weight / Double(table.positives)
        return try sums { j in
            let (top, sum) = logSumOfNegatives(j)
            let n = top + log(sum)
            let start = table.ownStart(j)
            let own = range(j, start..<start + table.locations)
            var sums = MeasureSums()
            // d sp(N - t) / dt = -sigmoid(N - t), and +sigmoid for N, of which a negative's share is e^(t - N).
            sums.positives.sum = kernels.softplus(
                scores + own.lowerBound, own.count, Exponent(sign: -1, shift: -n, factor: -each),
                gradient.map { $0 + own.lowerBound })
            if let gradient {
                let ofN = -kernels.total(gradient + own.lowerBound, own.count)
                writeNegatives(j, Exponent(shift: top, factor: ofN / sum), gradient)
            }
            return sums
        }
    }

    /// The sum of the positives' t; that of e^t over the negatives.
    func dv() throws -> MeasureSums {
        try sums { j in
            let (top, sum) = logSumOfNegatives(j)
            var sums = MeasureSums()
            sums.negatives = ShiftedSum(sum: sum, shift: top)
            sums.positives.sum = kernels.total(scores + j * table.row + table.ownStart(j), table.locations)
            return sums
        }
    }

    func dvGradient(_ negatives: ShiftedSum) {
        guard let gradient else { return }
        let e = Exponent(shift: negatives.shift, factor: weight / negatives.sum)
        let ofPositive = Float(-weight / Double(table.positives))
        forEachVector { j in
            writeNegatives(j, e, gradient)
            (gradient + j * table.row + table.ownStart(j)).update(repeating: ofPositive, count: table.locations)
        }
    }
}
