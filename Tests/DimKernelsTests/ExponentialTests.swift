import DimKernels
import DimRuntime
import Glibc
import Testing

/// Exponentials, softplus and sigmoid against Glibc's double functions, in units of the result's last place.
@Suite struct ExponentialTests {
    static let tables = KernelTable.supported

    /// |found - expected| in ULPs of a float of expected's size.
    private func ulps(_ found: Float, _ expected: Double) -> Double {
        abs(Double(found) - expected) / Double(Float(expected).ulp)
    }

    /// One in `step` of all floats up to `limit` in magnitude, both signs.
    private func floats(upTo limit: Float, step: Int = 997) -> [Float] {
        stride(from: 0, through: Int(limit.bitPattern), by: step).flatMap { bits in
            let x = Float(bitPattern: UInt32(bits))
            return [x, -x]
        }
    }

    private struct Worst {
        var error = 0.0
        var at: Float = 0
        mutating func take(_ error: Double, _ x: Float) {
            if error > self.error { (self.error, at) = (error, x) }
        }
    }

    @Test func exponential() {
        let x = floats(upTo: 88.72)
        for table in ExponentialTests.tables {
            var y = x
            _ = table.exponentials(x, x.count, Exponent(), &y)
            var worst = Worst()
            for (x, y) in zip(x, y) {
                let expected = exp(Double(x))
                if expected < 0x1p-126 {
                    #expect(y == 0 || y == 0x1p-126, "\(table.name) exp(\(x)) = \(y)")
                } else {
                    worst.take(ulps(y, expected), x)
                }
            }
            #expect(worst.error <= 1.1, "\(table.name) at \(worst.at)")
        }
    }

    @Test func softplusAndSigmoid() {
        let x = floats(upTo: 87, step: 9973)
        for table in ExponentialTests.tables {
            for sign in [Float(1), -1] {
                var y = x
                _ = table.softplus(x, x.count, Exponent(sign: sign), &y)
                var ofSigmoid = Worst(), ofSoftplus = Worst()
                for (x, y) in zip(x, y) {
                    let a = Double(sign * x)
                    ofSigmoid.take(ulps(y, 1 / (1 + exp(-a))), x)
                    let alone = Float(table.softplus([x], 1, Exponent(sign: sign), nil))
                    ofSoftplus.take(ulps(alone, max(a, 0) + log1p(exp(-abs(a)))), x)
                }
                #expect(ofSoftplus.error <= 2.6, "\(table.name) softplus at \(ofSoftplus.at)")
                #expect(ofSigmoid.error <= 2.1, "\(table.name) sigmoid at \(ofSigmoid.at)")
            }
        }
    }

    @Test(arguments: [1, 3, 4, 7, 8, 15, 16, 17, 31, 255, 256, 257, 1000])
    func sums(count: Int) {
        var random = MersenneTwister(seed: 1)
        let x = (0..<count).map { _ in random.uniform() * 40 - 20 }
        let shift = 3.14159265358979
        for table in ExponentialTests.tables {
            for sign in [Float(1), -1] {
                // Writes what it should and nothing more.
                let e = Exponent(sign: sign, shift: shift, factor: -0.25)
                var y = x + [77], z = x + [77]
                let ofExp = table.exponentials(x, count, e, &y)
                let ofSoftplus = table.softplus(x, count, e, &z)
                #expect(y[count] == 77 && z[count] == 77)
                #expect(ofExp == table.exponentials(x, count, e, nil))
                #expect(ofSoftplus == table.softplus(x, count, e, nil))
                var expSum = 0.0, softplusSum = 0.0, sum = 0.0
                for i in 0..<count {
                    let a = Double(sign) * Double(x[i]) - shift
                    // The argument is rounded once: |a| * 2^-24, and 1 for the shift's first part.
                    let tolerance = (abs(a) + 8) * 0x1p-24
                    #expect(abs(Double(y[i]) + 0.25 * exp(a)) <= 0.25 * exp(a) * tolerance, "\(table.name) \(i)")
                    let sigmoid = 1 / (1 + exp(-a))
                    #expect(abs(Double(z[i]) + 0.25 * sigmoid) <= 0.25 * sigmoid * tolerance, "\(table.name) \(i)")
                    expSum += exp(a)
                    softplusSum += max(a, 0) + log1p(exp(-abs(a)))
                    sum += Double(x[i])
                }
                // Up to 64 floats in a row, then doubles.
                #expect(abs(ofExp - expSum) <= expSum * 96 * 0x1p-24, "\(table.name) \(count)")
                #expect(abs(ofSoftplus - softplusSum) <= softplusSum * 96 * 0x1p-24, "\(table.name) \(count)")
                #expect(abs(table.total(x, count) - sum) <= Double(count) * 20 * 64 * 0x1p-24, "\(table.name) \(count)")
                #expect(table.largest(x, count, sign) == x.map { sign * $0 }.max(), "\(table.name) \(count)")
                // In place is the same.
                var inPlace = x
                inPlace.withUnsafeMutableBufferPointer {
                    #expect(table.exponentials($0.baseAddress!, count, e, $0.baseAddress!) == ofExp)
                }
                #expect(inPlace == Array(y[0..<count]))
            }
        }
    }

    @Test func edges() {
        for table in ExponentialTests.tables {
            let x: [Float] = [
                0, -0.0, 1e-30, .leastNonzeroMagnitude, -87.33, -87.34, -104, -1e4, -.infinity,
                -.greatestFiniteMagnitude,
                88.72, 88.73, 100, 1e4, .infinity, .greatestFiniteMagnitude, .nan,
            ]
            var y = x, z = x
            _ = table.exponentials(x, x.count, Exponent(), &y)
            _ = table.softplus(x, x.count, Exponent(), &z)
            #expect(y[0] == 1 && y[1] == 1 && y[2] == 1 && y[3] == 1)
            #expect(y[4] >= 0x1p-126 && y[5...9].allSatisfy { $0 == 0 }, "\(table.name) \(y)")
            #expect(y[10].isFinite && y[11...15].allSatisfy { $0 == .infinity }, "\(table.name) \(y)")
            #expect(y[16].isNaN && z[16].isNaN)
            #expect(z[0] == 0.5 && z[1] == 0.5 && z[5...9].allSatisfy { $0 == 0 } && z[10...15].allSatisfy { $0 == 1 })
            for (i, x) in x.enumerated() {
                for count in [1, 20] {  // alone, and in a vector
                    let softplus = table.softplus([Float](repeating: x, count: count), count, Exponent(), nil)
                    switch x {
                    case _ where x.isNaN: #expect(softplus.isNaN)
                    case .infinity: #expect(softplus == .infinity)
                    case ...(-87.34): #expect(softplus == 0)
                    case .greatestFiniteMagnitude: #expect(softplus > 3e38)  // 20 of them are no float
                    case 88.72...:
                        #expect(abs(softplus / Double(count) / Double(x) - 1) <= 0x1p-22, "\(table.name) \(i)")
                    default: #expect(softplus > 0)
                    }
                }
            }
            // No product without a float's full precision; no factor that loses more than that.
            for factor in [1e-3, 1e-20, 1e-40, 0, 1e20, -1e-3] {
                var y = [Float](repeating: 0, count: 100)
                let x = (0..<100).map { -Float($0) }
                _ = table.exponentials(x, 100, Exponent(factor: factor), &y)
                for i in 0..<100 {
                    let expected = exp(Double(x[i])) * Double(Float(factor))
                    if abs(expected) < 0x1.001p-126 || exp(Double(x[i])) < 0x1.001p-126 {
                        #expect(abs(y[i]) <= 0x1.002p-126, "\(table.name) \(factor) \(i)")
                    } else {
                        #expect(ulps(y[i], expected) <= 2.5, "\(table.name) \(factor) \(i)")
                    }
                }
            }
        }
    }
}
