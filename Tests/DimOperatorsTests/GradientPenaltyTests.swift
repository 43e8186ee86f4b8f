import DimOperators
import DimRuntime
import Testing

@Suite struct GradientPenaltyTests {
    /// A discriminator of the given sizes, and rows of x.
    private struct Network {
        let sizes: [Int]
        let rows: Int
        var weights: [[Float]]
        var biases: [[Float]]
        let x: [Float]

        /// Numbers that the recording script has, too.
        static func pattern(_ count: Int, _ step: Int) -> [Float] {
            (0..<count).map { Float($0 * step % 101 - 50) / 64 }
        }

        init(_ sizes: [Int], rows: Int) {
            self.sizes = sizes
            self.rows = rows
            x = Network.pattern(rows * sizes[0], 29)
            weights = (1..<sizes.count).map { Network.pattern(sizes[$0] * sizes[$0 - 1], 36 + $0) }
            biases = (1..<sizes.count).map { Network.pattern(sizes[$0], 52 + $0) }
        }

        /// Random, of the magnitude that PyTorch draws.
        init(_ sizes: [Int], rows: Int, seed: UInt64) {
            var random = MersenneTwister(seed: seed)
            func draw(_ count: Int, _ bound: Float) -> [Float] {
                (0..<count).map { _ in (random.uniform() * 2 - 1) * bound }
            }
            self.sizes = sizes
            self.rows = rows
            x = draw(rows * sizes[0], 1)
            weights = (1..<sizes.count).map { draw(sizes[$0] * sizes[$0 - 1], 1 / Float(sizes[$0 - 1]).squareRoot()) }
            biases = (1..<sizes.count).map { draw(sizes[$0], 0.1) }
        }

        /// What is added to gradients that are 1 before, and the value.
        func penalty(weight: Double = 1) throws -> (value: Double, gradients: [[Float]]) {
            let memory = try weights.map { try Buffer($0) }, biasMemory = try biases.map { try Buffer($0) }
            let layers = memory.indices.map {
                GradientPenalty.Layer(
                    weight: memory[$0].pointer, bias: biasMemory[$0].pointer, inputs: sizes[$0], outputs: sizes[$0 + 1])
            }
            let gradients = try weights.map { try Buffer([Float](repeating: 1, count: $0.count)) }
            let penalty = GradientPenalty(layers)
            let input = try Buffer(x)
            let scratch = ScratchBuffer()
            return try withExtendedLifetime((memory, biasMemory, gradients, input)) {
                let value = try penalty.value(
                    input.pointer, rows: rows, weight: weight, gradients: gradients.map(\.pointer), scratch)
                let alone = try penalty.value(input.pointer, rows: rows, weight: weight, gradients: nil, scratch)
                #expect(alone == value)
                return (value, gradients.map { $0.array.map { $0 - 1 } })
            }
        }

        /// The definition, in double: the gradient of the logit by the chain rule.
        func reference(_ weights: [[Double]]) -> Double {
            var sum = 0.0
            for row in 0..<rows {
                var h = x[row * sizes[0]..<(row + 1) * sizes[0]].map(Double.init)
                // dz(i) / dx, one row of sizes[0] numbers a unit.
                var slopes = (0..<sizes[0]).map { i in (0..<sizes[0]).map { $0 == i ? 1.0 : 0 } }
                for (k, w) in weights.enumerated() {
                    let (inputs, outputs) = (sizes[k], sizes[k + 1])
                    var z: [Double] = [], dz: [[Double]] = []
                    for o in 0..<outputs {
                        z.append((0..<inputs).reduce(Double(biases[k][o])) { $0 + w[o * inputs + $1] * h[$1] })
                        dz.append(
                            (0..<sizes[0]).map { c in
                                (0..<inputs).reduce(0) { $0 + w[o * inputs + $1] * slopes[$1][c] }
                            })
                    }
                    let last = k == weights.count - 1
                    h = z.map { last ? $0 : max($0, 0) }
                    slopes = zip(z, dz).map { z, dz in last || z > 0 ? dz : dz.map { _ in 0 } }
                }
                sum += slopes[0].reduce(0) { $0 + $1 * $1 }
            }
            return 0.5 * sum / Double(rows)
        }
    }

    /// Recorded by Tests/golden/gradient_penalty.py, PyTorch 2, in float64.
    @Test func equalsPyTorchsDoubleBackward() throws {
        let (value, gradients) = try Network([5, 7, 4, 1], rows: 3).penalty()
        let expected: [[Double]] = [
            [
                0, 0, 0, 0, 0, 0.013690158725, -0.005897663534, -0.007942502697, 0.013137499491, -0.006450322767, 0, 0,
                0,
                0, 0, 0.000620696694, 0.000282964669, 0.000867149793, 0.000529417768, 0.000191685744, -0.000827595592,
                -0.000377286226, -0.001156199723, -0.000705890357, -0.000255580992, -0.018046118319, 0.00777419284,
                0.010469662646, -0.017317612966, 0.008502698193, 0, 0, 0, 0, 0,
            ],
            [
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5.0372444e-05, -0.001518610865, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                -0.058811555306, 0, 0, 0, 0.054546030859, 0,
            ],
            [0, -0.005093640648, 0, -0.084579091519],
        ]
        #expect(abs(value - 0.022904055927938316) <= 1e-8)
        for (found, expected) in zip(gradients, expected) {
            #expect(found.count == expected.count)
            // 1 + gradient is a float.
            for (f, e) in zip(found, expected) { #expect(abs(Double(f) - e) <= 0x1p-23) }
        }
    }

    /// Sizes that fill no vector, and one layer alone: the penalty is then half the weights' square.
    @Test(arguments: [[3, 1], [6, 33, 1], [17, 40, 19, 1], [5, 9, 8, 7, 1]], [1, 2, 7])
    func centralDifferences(sizes: [Int], rows: Int) throws {
        let network = Network(sizes, rows: rows, seed: 3)
        let weight = 0.7
        let (value, gradients) = try network.penalty(weight: weight)
        var w = network.weights.map { $0.map(Double.init) }
        let expected = network.reference(w)
        #expect(abs(value - expected) <= 1e-6 * expected)
        let h = 1e-5
        for k in w.indices {
            for i in stride(from: 0, to: w[k].count, by: max(1, w[k].count / 40)) {
                let center = w[k][i]
                w[k][i] = center + h
                let up = network.reference(w)
                w[k][i] = center - h
                let slope = weight * (up - network.reference(w)) / (2 * h)
                w[k][i] = center
                #expect(
                    abs(Double(gradients[k][i]) - slope) <= 1e-6 * max(1, abs(slope)), "\(sizes) layer \(k) at \(i)")
            }
        }
    }

    /// A unit that is on but does not reach the logit has a gradient all the same: its mask is not its slope.
    @Test func aUnitWithoutInfluence() throws {
        var network = Network([3, 2, 1], rows: 1, seed: 4)
        network.weights[1] = [0, 0.5]
        network.biases[0] = [10, 10]
        let (_, gradients) = try network.penalty()
        let w0 = network.weights[0], u = w0[3...].map { 0.5 * $0 }
        let expected = zip(w0[0..<3], u).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(gradients[1][0] - expected) <= 1e-6 && expected != 0)
    }

    @Test func theNotebooksSizes() throws {
        let network = Network([64, 1000, 200, 1], rows: 64, seed: 5)
        let (value, gradients) = try network.penalty()
        // P is of degree 2 in each layer's weights while masks stay: sum of w * dP/dw = 2 P (Euler).
        for (w, g) in zip(network.weights, gradients) {
            let sum = zip(w, g).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            #expect(abs(sum - 2 * value) <= 2e-3 * value)
        }
    }
}
