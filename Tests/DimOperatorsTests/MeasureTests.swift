import DimKernels
import DimOperators
import DimRuntime
import Glibc
import Testing

/// The measures against their formulas, written out in double; gradients against central differences of those.
@Suite struct MeasureTests {
    static let tables: [ScoreTable] = [
        (2, 2, 1, ScoreTable.Own.diagonal), (3, 3, 5, .diagonal), (5, 5, 7, .diagonal), (7, 7, 1, .diagonal),
        (3, 2, 3, .first), (5, 3, 1, .first), (1, 4, 9, .first), (2, 6, 17, .first),
    ].map { try! ScoreTable(vectors: $0.0, slots: $0.1, locations: $0.2, own: $0.3) }

    private func scores(_ table: ScoreTable, seed: UInt64, scale: Float = 4) -> [Float] {
        var random = MersenneTwister(seed: seed)
        return (0..<table.count).map { _ in (random.uniform() * 2 - 1) * scale }
    }

    private func evaluate(_ measure: Measure, _ t: [Float], _ table: ScoreTable, weight: Double = 1) throws
        -> (loss: Double, gradient: [Float])
    {
        var gradient = [Float](repeating: .nan, count: t.count)
        let loss = try measure.loss(t, table, gradient: &gradient, weight: weight)
        #expect(try measure.loss(t, table, gradient: nil, weight: weight) == loss)
        return (loss, gradient)
    }

    @Test(arguments: Measure.allCases, tables.indices)
    func equalsTheFormula(measure: Measure, index: Int) throws {
        let table = MeasureTests.tables[index]
        for (scale, weight) in [(Float(4), 1.0), (0.01, 0.3), (30, -2)] {
            let t = scores(table, seed: UInt64(index), scale: scale)
            let (loss, gradient) = try evaluate(measure, t, table, weight: weight)
            let expected = Reference.loss(measure, t.map(Double.init), table)
            // An exponential's argument, up to 2 * scale + log(count), is rounded once; and a few ULPs for the functions.
            let relative = (2 * Double(scale) + 40) * 0x1p-24
            #expect(
                abs(loss - expected.value) <= relative * expected.magnitude, "\(measure.name) \(table) scale \(scale)")
            for i in t.indices {
                let slope = Reference.slope(measure, t, table, i)
                let found = Double(gradient[i])
                let tolerance = abs(weight) * (relative * abs(slope.value) + slope.error)
                #expect(
                    abs(found - weight * slope.value) <= tolerance, "\(measure.name) \(table) scale \(scale) at \(i)")
            }
        }
    }

    /// A negative's share e^t / sum e^t, which is small where there are many: rounded as t is, not as the sum's logarithm. All
    /// shares rounded alike would leave a sum where positives and negatives cancel.
    @Test(arguments: [Measure.dv, .nce])
    func sharesOfManyNegatives(measure: Measure) throws {
        let table = try ScoreTable(vectors: 20, slots: 20, locations: 25, own: .diagonal)
        let t = scores(table, seed: 5, scale: 0.01)
        let gradient = try evaluate(measure, t, table).gradient
        func indices(_ j: Int) -> (own: Range<Int>, others: [Int]) {
            let (before, after) = table.negativeRanges(j)
            let start = j * table.row + table.ownStart(j)
            return (start..<start + table.locations, (Array(before) + Array(after)).map { j * table.row + $0 })
        }
        let groups = measure == .dv ? [Array(0..<table.vectors)] : (0..<table.vectors).map { [$0] }
        for group in groups {
            let others = group.flatMap { indices($0).others }
            let sum = others.reduce(0) { $0 + exp(Double(t[$1])) }
            let all = -group.flatMap { indices($0).own }.reduce(0) { $0 + Double(gradient[$1]) }
            // The exponential's 1.1 ULP, half of one for the factor and for the product; all's own, of equal terms: half.
            for i in others {
                let share = exp(Double(t[i])) / sum
                #expect(abs(Double(gradient[i]) / all - share) <= 5.2 * 0x1p-24 * share, "\(measure.name) at \(i)")
            }
        }
    }

    /// The fast path itself, along a direction: no reference in between.
    @Test(arguments: Measure.allCases, tables.indices)
    func gradientIsTheSlopeOfTheLoss(measure: Measure, index: Int) throws {
        let table = MeasureTests.tables[index]
        let t = scores(table, seed: 20, scale: 2), direction = scores(table, seed: 21, scale: 1)
        let (loss, gradient) = try evaluate(measure, t, table)
        let slope = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        let h: Float = 0x1p-7
        let up = try measure.loss(zip(t, direction).map { $0 + h * $1 }, table, gradient: nil, weight: 1)
        let down = try measure.loss(zip(t, direction).map { $0 - h * $1 }, table, gradient: nil, weight: 1)
        #expect(abs((up - down) / Double(2 * h) - slope) <= 1e-3 * max(1, abs(loss)), "\(measure.name) \(table)")
    }

    @Test(arguments: tables.indices)
    func theConstantsBetweenMeasures(index: Int) throws {
        let table = MeasureTests.tables[index]
        let t = scores(table, seed: 3)
        let (jsd, jsdGradient) = try evaluate(.jsd, t, table), (gan, ganGradient) = try evaluate(.gan, t, table)
        #expect(jsd == gan - 2 * log(2) && jsdGradient == ganGradient)
        #expect(Measure.jsd.estimate(loss: jsd, table) == Measure.gan.estimate(loss: gan, table))
        #expect(Measure.dv.estimate(loss: 0.75, table) == -0.75)
        let negatives = Double((table.slots - 1) * table.locations)
        #expect(Measure.nce.estimate(loss: 0.5, table) == log(negatives + 1) - 0.5)
        // Equal scores know nothing: every estimate is 0, or would be negative (kl's best constant score is 1).
        let equal = [Float](repeating: 0, count: t.count)
        for measure in Measure.allCases {
            let estimate = measure.estimate(loss: try evaluate(measure, equal, table).loss, table)
            #expect(abs(estimate + (measure == .kl ? exp(-1) : 0)) <= 1e-6, "\(measure.name) \(estimate)")
        }
    }

    /// Scores of a size that no network should have: finite, and right, wherever the formula is.
    @Test(arguments: Measure.allCases, tables.indices)
    func extremeScores(measure: Measure, index: Int) throws {
        let table = MeasureTests.tables[index]
        var random = MersenneTwister(seed: UInt64(index))
        for sizes in [[1e4], [1e4, 0], [-1e4], [-1e4, 0], [1e4, -1e4], [1e4, 100, 0, -100, -1e4], [700, -700]] {
            let t = (0..<table.count).map { _ in Float(sizes[Int(random.uniform() * Float(sizes.count))]) }
            let (loss, gradient) = try evaluate(measure, t, table)
            let expected = Reference.loss(measure, t.map(Double.init), table)
            #expect(!loss.isNaN)
            switch measure {
            case .kl, .rkl, .h2:
                #expect(loss.isFinite == expected.value.isFinite, "\(measure.name) \(table) \(sizes)")
                if !loss.isFinite { #expect(loss == .infinity) }
            case .jsd, .gan, .dv, .nce:
                #expect(loss.isFinite && gradient.allSatisfy { $0.isFinite }, "\(measure.name) \(table) \(sizes)")
                for i in t.indices {
                    let slope = Reference.slope(measure, t, table, i)
                    // A float of 1e4 and a logarithm: the argument of an exponential near 0 is off by 1e4 * 2^-24.
                    #expect(abs(Double(gradient[i]) - slope.value) <= 2e-3 * abs(slope.value) + slope.error + 1e-6)
                }
            }
            guard loss.isFinite else { continue }
            #expect(abs(loss - expected.value) <= 2e-3 * expected.magnitude, "\(measure.name) \(table) \(sizes)")
        }
    }

    /// e^t is no float from 88.73 on. The loss is a double and a share of the gradient is divided by the count.
    @Test func exponentialsBeyondFloats() throws {
        let table = try ScoreTable(vectors: 64, slots: 64, locations: 64, own: .diagonal)
        for (measure, sign) in [(Measure.kl, Float(1)), (.h2, 1), (.h2, -1), (.rkl, -1)] {
            var t = scores(table, seed: 4, scale: 1)
            let own = 3 * table.row + table.ownStart(3), other = 3 * table.row + table.ownStart(3) + table.locations
            t[sign > 0 ? other : own] = 92 * sign
            let (loss, gradient) = try evaluate(measure, t, table)
            let expected = Reference.loss(measure, t.map(Double.init), table)
            #expect(abs(loss - expected.value) <= 1e-4 * expected.magnitude, "\(measure.name)")
            #expect(gradient.allSatisfy { $0.isFinite })
            for i in [own, other, 0, 1, table.locations] {
                let slope = Reference.slope(measure, t, table, i, alone: true)
                #expect(
                    abs(Double(gradient[i]) - slope.value) <= 1e-4 * abs(slope.value) + slope.error,
                    "\(measure.name) \(i)")
            }
        }
    }

    /// A table in parts gives the sums and the gradient of the whole.
    @Test(arguments: Measure.allCases, tables.indices)
    func partsAreTheWhole(measure: Measure, index: Int) throws {
        let table = MeasureTests.tables[index]
        for scale in [Float(4), 200] {
            let t = scores(table, seed: 9, scale: scale)
            let (loss, gradient) = try evaluate(measure, t, table, weight: 0.7)
            var found = [Float](repeating: .nan, count: t.count)
            let parts = [0..<1, 1..<table.vectors].filter { !$0.isEmpty }
            var sums = MeasureSums()
            for pass in 0..<2 {
                let whole = sums
                for part in parts {
                    let range = part.lowerBound * table.row..<part.upperBound * table.row
                    let share = try t[range].withUnsafeBufferPointer { t in
                        try found[range].withUnsafeMutableBufferPointer { g in
                            try measure.sums(
                                t.baseAddress!, table.part(part), gradient: pass == 0 ? nil : g.baseAddress!,
                                weight: 0.7,
                                whole: whole)
                        }
                    }
                    if pass == 0 { sums.add(share) }
                }
            }
            #expect(abs(measure.loss(sums, table) - loss) <= 1e-12 * abs(loss), "\(measure.name) \(table)")
            for i in t.indices where gradient[i].isFinite {
                #expect(abs(found[i] - gradient[i]) <= 1e-6 * abs(gradient[i]), "\(measure.name) \(i)")
            }
            #expect(zip(found, gradient).allSatisfy { $0.isFinite == $1.isFinite }, "\(measure.name) \(table)")
        }
    }

    @Test func notANumberStays() throws {
        let table = MeasureTests.tables[1]
        for measure in Measure.allCases {
            for bad in [Float.nan, .infinity, -.infinity] {
                for at in [0, 7, table.count - 1] {
                    var t = scores(table, seed: 5)
                    t[at] = bad
                    let loss = try measure.loss(t, table, gradient: nil, weight: 1)
                    // An infinite score may be harmless: gan's loss of a negative at -infinity is 0.
                    if bad.isNaN { #expect(!loss.isFinite, "\(measure.name) at \(at)") }
                }
            }
        }
    }

    /// Large enough for several chunks; in place; on 1, 2 and 3 threads.
    @Test(arguments: Measure.allCases)
    func threadsAndPlaceDoNotMatter(measure: Measure) throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        for table in [
            try ScoreTable(vectors: 37, slots: 37, locations: 31, own: .diagonal),
            try ScoreTable(vectors: 301, slots: 5, locations: 13, own: .first),
        ] {
            let t = scores(table, seed: 6)
            ThreadPool.shared.setThreads(1)
            let (loss, gradient) = try evaluate(measure, t, table, weight: 0.5)
            for threads in [2, 3] {
                ThreadPool.shared.setThreads(threads)
                let (again, gradientAgain) = try evaluate(measure, t, table, weight: 0.5)
                #expect(again == loss && gradientAgain == gradient, "\(measure.name)")
            }
            var inPlace = t
            let lossInPlace = try inPlace.withUnsafeMutableBufferPointer {
                try measure.loss($0.baseAddress!, table, gradient: $0.baseAddress!, weight: 0.5)
            }
            #expect(lossInPlace == loss && inPlace == gradient, "\(measure.name)")
            let expected = Reference.loss(measure, t.map(Double.init), table)
            #expect(abs(loss - expected.value) <= 1e-5 * expected.magnitude, "\(measure.name)")
        }
    }

    @Test func namesAndTables() {
        #expect(Measure.allCases.map(\.name) == ["jsd", "gan", "kl", "rkl", "h2", "dv", "nce"])
        for measure in Measure.allCases { #expect(Measure(name: measure.name) == measure) }
        #expect(Measure(name: "JSD") == nil && Measure(name: "") == nil)
        for (n, slots, locations, own) in [
            (1, 1, 1, ScoreTable.Own.diagonal), (2, 3, 1, .diagonal), (3, 1, 1, .first), (0, 2, 1, .first),
            (2, 2, 0, .diagonal), (-1, 2, 2, .first), (1 << 40, 1 << 40, 1, .diagonal), (1 << 31, 2, 2, .first),
        ] {
            #expect(throws: DimError.self, "\(n) \(slots) \(locations)") {
                try ScoreTable(vectors: n, slots: slots, locations: locations, own: own)
            }
        }
    }
}

extension Reference {
    /// A measure's loss as its formula reads; and the sum of its terms' magnitudes, which its rounding errors go with.
    static func loss(_ measure: Measure, _ t: [Double], _ table: ScoreTable) -> (value: Double, magnitude: Double) {
        func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }
        func logSumExp(_ x: [Double]) -> Double {
            let top = x.max()!
            return top + log(x.reduce(0) { $0 + exp($1 - top) })
        }
        func isOwn(_ j: Int, _ slot: Int) -> Bool { slot == (table.own == .diagonal ? j : 0) }
        func at(_ j: Int, _ slot: Int, _ l: Int) -> Double { t[(j * table.slots + slot) * table.locations + l] }
        var positives: [Double] = [], negatives: [[Double]] = []
        for j in 0..<table.vectors {
            negatives.append([])
            for slot in 0..<table.slots {
                for l in 0..<table.locations {
                    if isOwn(j, slot) { positives.append(at(j, slot, l)) } else { negatives[j].append(at(j, slot, l)) }
                }
            }
        }
        func mean(_ x: [Double]) -> Double { x.reduce(0) { $0 + $1 / Double(x.count) } }
        func divergence(_ ofPositive: (Double) -> Double, _ ofNegative: (Double) -> Double) -> (Double, Double) {
            let p = positives.map(ofPositive), n = negatives.flatMap { $0 }.map(ofNegative)
            return (mean(n) - mean(p), mean(n.map(abs)) + mean(p.map(abs)) + 4)
        }
        switch measure {
        case .gan: return divergence({ -softplus(-$0) }, { softplus($0) })
        case .jsd: return divergence({ log(2) - softplus(-$0) }, { softplus($0) - log(2) })
        case .kl: return divergence({ $0 }, { exp($0 - 1) })
        case .rkl: return divergence({ -exp(-$0) }, { $0 - 1 })
        case .h2: return divergence({ 1 - exp(-$0) }, { exp($0) - 1 })
        case .dv:
            let all = negatives.flatMap { $0 }
            return (
                logSumExp(all) - log(Double(all.count)) - mean(positives),
                abs(logSumExp(all)) + mean(positives.map(abs)) + 4
            )
        case .nce:
            let terms = positives.indices.map { i in
                logSumExp([positives[i]] + negatives[i / table.locations]) - positives[i]
            }
            return (mean(terms), mean(terms.map(abs)) + 4)
        }
    }

    /// The derivative to score i by central differences, and its error: of third order, and of rounding. `alone`: from the
    /// terms of vector i / row alone, where the measure is a sum over vectors.
    static func slope(_ measure: Measure, _ t: [Float], _ table: ScoreTable, _ i: Int, alone: Bool = false)
        -> (value: Double, error: Double)
    {
        var x = t.map(Double.init)
        var small = table
        var share = 1.0, index = i
        if alone {
            // The vector's own slot first: a table of one vector.
            let j = i / table.row, own = table.ownStart(j)
            let row = Array(x[j * table.row..<(j + 1) * table.row])
            let range = own..<own + table.locations
            x = Array(row[range]) + Array(row[..<own]) + Array(row[(own + table.locations)...])
            let k = i - j * table.row
            index = range.contains(k) ? k - own : k < own ? k + table.locations : k
            small = try! ScoreTable(vectors: 1, slots: table.slots, locations: table.locations, own: .first)
            share = 1 / Double(table.vectors)
        }
        let h = 1e-4
        let center = x[index]
        x[index] = center + h
        let up = loss(measure, x, small)
        x[index] = center - h
        let down = loss(measure, x, small)
        let slope = (up.value - down.value) / (2 * h) * share
        return (slope, (abs(slope) * h * h + up.magnitude * 0x1p-48 / h) * share)
    }
}
