import DimKernels
import DimRuntime
import Testing

/// The loops over arrays and planes against the formulas, in double, for every instruction set that runs here.
@Suite struct ElementwiseTests {
    static let tables = KernelTable.supported

    private func values(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
        var generator = MersenneTwister(seed: seed)
        return (0..<count).map { _ in (generator.uniform() - 0.5) * 2 * scale }
    }

    /// One rounding a step: a result of a few operations is good to a few units of the largest operand.
    private func close(_ found: Float, _ expected: Double, _ size: Double, terms: Int = 4) -> Bool {
        abs(Double(found) - expected) <= Double(terms) * 0x1p-24 * max(size, 1e-30)
    }

    @Test(arguments: [1, 3, 15, 16, 17, 33, 130])
    func arrays(count: Int) {
        for table in ElementwiseTests.tables {
            let x = values(count, seed: 1), y = values(count, seed: 2)
            var sum = y, relu = y, masked = y, outer = x
            table.add(x, &sum, count)
            table.addRelu(x, y, &relu, count)
            table.reluGradient(x, &masked, count)
            table.reluOuterGradient(&outer, 3, y, count)
            for i in 0..<count {
                #expect(sum[i] == x[i] + y[i], "\(table.name) add \(i) of \(count)")
                #expect(relu[i] == max(x[i] + y[i], 0), "\(table.name) addRelu \(i) of \(count)")
                #expect(masked[i] == (x[i] > 0 ? y[i] : 0), "\(table.name) reluGradient \(i) of \(count)")
                #expect(outer[i] == (x[i] > 0 ? 3 * y[i] : 0), "\(table.name) reluOuterGradient \(i) of \(count)")
            }
            for bad in [Float.nan, .infinity, 1e20] {
                for at in [0, count / 2, count - 1] {
                    var z = x
                    z[at] = bad
                    #expect(table.allFinite(z, count) == bad.isFinite, "\(table.name) \(bad) at \(at) of \(count)")
                    #expect(!table.squaresFinite(z, count), "\(table.name) \(bad) at \(at) of \(count)")
                }
            }
            #expect(table.allFinite(x, count) && table.squaresFinite(x, count))
        }
    }

    @Test(arguments: [(1, 1), (3, 17), (5, 64)])
    func combinations(rows: Int, columns: Int) {
        let stride = columns + 3
        let x = values(rows * stride, seed: 11), y = values(rows * stride, seed: 12),
            old = values(rows * stride, seed: 13)
        let bias = values(columns, seed: 14)
        for table in ElementwiseTests.tables {
            for choice in 0..<16 {
                let (subtract, accumulate) = (choice & 1 != 0, choice & 2 != 0)
                let (biased, relu) = (choice & 4 != 0, choice & 8 != 0)
                var out = old
                x.withUnsafeBufferPointer { x in
                    y.withUnsafeBufferPointer { y in
                        bias.withUnsafeBufferPointer { bias in
                            out.withUnsafeMutableBufferPointer { out in
                                table.addMatrices(
                                    MatrixSum(
                                        rows: rows, columns: columns, x: x.baseAddress!, xRow: stride,
                                        y: y.baseAddress!, yRow: stride, subtract: subtract, out: out.baseAddress!,
                                        outRow: stride, accumulate: accumulate,
                                        bias: biased ? bias.baseAddress! : nil, relu: relu))
                            }
                        }
                    }
                }
                for i in 0..<rows * stride {
                    var expected = Double(old[i])
                    if i % stride < columns {
                        expected = Double(x[i]) + (subtract ? -1 : 1) * Double(y[i])
                        if accumulate { expected += Double(old[i]) }
                        if biased { expected += Double(bias[i % stride]) }
                        if relu { expected = max(expected, 0) }
                    }
                    #expect(close(out[i], expected, 4), "\(table.name) addMatrices \(choice) at \(i)")
                }
            }
        }
    }

    @Test(arguments: [(1, 1), (3, 17), (40, 33)])
    func columnSums(rows: Int, columns: Int) {
        let stride = columns + 5
        let x = values(rows * stride, seed: 3)
        for table in ElementwiseTests.tables {
            var sums = values(columns, seed: 4)
            let before = sums
            table.addColumnSums(x, rows, stride, columns, &sums)
            for j in 0..<columns {
                let expected = (0..<rows).reduce(Double(before[j])) { $0 + Double(x[$1 * stride + j]) }
                #expect(close(sums[j], expected, Double(rows + 1), terms: rows + 1), "\(table.name) column \(j)")
            }
        }
    }

    @Test(arguments: [1, 31, 32, 33, 400, 676])
    func planes(pixels: Int) {
        let offset: Float = 1000  // a mean far from 0
        let x = values(pixels * 16, seed: 5).map { $0 + offset }, dy = values(pixels * 16, seed: 6)
        let pivot = Array(x[0..<16]), mean = [Float](repeating: offset, count: 16)
        let scale = values(16, seed: 7), shift = scale.map { -$0 * offset }
        let (a, b, c) = (values(16, seed: 8), values(16, seed: 9), values(16, seed: 10))
        for table in ElementwiseTests.tables {
            var sums = [Double](repeating: 0, count: 32), gradientSums = sums,
                pixelSums = [Float](repeating: 0, count: 16)
            var y = x, dz = dy
            table.planeStatistics(x, pixels, pivot, &sums)
            table.batchNormGradientSums(x, dy, pixels, scale, shift, mean, &gradientSums)
            table.batchNormGradient(x, &dz, pixels, scale, shift, mean, a, b, c)
            table.affineReluPlane(x, pixels, scale, shift, &y)
            table.sumPixels(dy, pixels, &pixelSums)
            for lane in 0..<16 {
                var s = 0.0, q = 0.0, gs = 0.0, gq = 0.0, ps = 0.0
                for p in 0..<pixels {
                    let at = p * 16 + lane
                    let d = Double(x[at]) - Double(pivot[lane])
                    s += d
                    q += d * d
                    ps += Double(dy[at])
                    let output = Double(x[at]) * Double(scale[lane]) + Double(shift[lane])
                    #expect(close(y[at], max(output, 0), 1000), "\(table.name) affineRelu \(at)")
                    // Where the output rounds to 0 either side is right.
                    guard abs(output) > 1e-3 else { continue }
                    let g = output > 0 ? Double(dy[at]) : 0
                    let centered = Double(x[at]) - Double(offset)
                    let expected = g * Double(a[lane]) + centered * Double(b[lane]) + Double(c[lane])
                    #expect(close(dz[at], expected, 3), "\(table.name) batchNormGradient \(at)")
                    gs += g
                    gq += g * centered
                }
                let bound = 34 * 0x1p-24 * 4 * Double(pixels)
                #expect(abs(sums[lane] - s) <= bound && abs(sums[16 + lane] - q) <= bound, "\(table.name) statistics")
                // Pixels whose output is about 0 are left out above: each counts for at most 1.
                let skipped = Double(
                    (0..<pixels).filter {
                        abs(Double(x[$0 * 16 + lane]) * Double(scale[lane]) + Double(shift[lane])) <= 1e-3
                    }
                    .count)
                #expect(abs(gradientSums[lane] - gs) <= bound + skipped, "\(table.name) gradient sums")
                #expect(abs(gradientSums[16 + lane] - gq) <= bound + skipped, "\(table.name) gradient sums")
                #expect(close(pixelSums[lane], ps, Double(pixels), terms: pixels + 4), "\(table.name) sumPixels")
            }
        }
    }

    @Test(arguments: [1, 16, 45])
    func adam(count: Int) {
        let step = AdamStep(
            learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01,
            rootCorrection: 0.0447, correction1: 0.19)
        for table in ElementwiseTests.tables {
            let w0 = values(count, seed: 11), g0 = values(count, seed: 12), m0 = values(count, seed: 13)
            let v0 = values(count, seed: 14).map { $0 * $0 }
            var w = [Float](repeating: .nan, count: count), m = m0, v = v0
            table.adam(w0, g0, &m, &v, &w, count, step)
            for i in 0..<count {
                let g = Double(g0[i]) + Double(step.weightDecay) * Double(w0[i])
                let newM = Double(m0[i]) + (g - Double(m0[i])) * Double(step.oneMinusBeta1)
                let newV = Double(v0[i]) * Double(step.beta2) + Double(step.oneMinusBeta2) * g * g
                let root = newV.squareRoot() / Double(step.rootCorrection) + Double(step.epsilon)
                let move = Double(step.stepSize) * newM / root
                #expect(close(m[i], newM, 2), "\(table.name) first moment \(i)")
                #expect(close(v[i], newV, 1), "\(table.name) second moment \(i)")
                #expect(close(w[i], Double(w0[i]) - move, 1 + abs(move) * 8), "\(table.name) weight \(i)")
            }
        }
    }
}
