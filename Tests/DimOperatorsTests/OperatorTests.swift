import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime
import Testing

/// Every operator of the table against its formula, forward and backward, on every instruction set that runs here.
///
/// Gradients are compared with central differences of the formula in double, at places spread over each argument: the
/// formula is differentiated, not the operator, so that nothing is lost to float32.
@Suite(.serialized) struct OperatorTests {
    private static let epsilon = Double(Float.ulpOfOne)
    /// Places of an argument whose derivative is tried; fewer where the formula takes long.
    private static func places(_ operation: OperatorCase) -> Int {
        max(operation.operations, 20 * operation.arguments[0]) > 50_000 ? 3 : 16
    }

    @Test(arguments: OperatorTable.cases.indices)
    func matchesTheFormula(index: Int) throws {
        let operation = OperatorTable.cases[index]
        let values = random(operation, seed: UInt64(index))
        let doubles = values.map { $0.map(Double.init) }
        let expected = operation.reference(doubles)
        let dy = randomValues(expected.count, seed: UInt64(1000 + index))
        let (largest, sizes) = magnitudes(operation, doubles, dy)
        let slopes = values.indices.map { argument in
            differences(operation, doubles, dy, argument).map { ($0, $1, sizes[argument]($0)) }
        }
        for kernels in KernelTable.supported {
            let comment = "\(kernels.name) \(operation)"
            let trial = try operation.make(kernels, values)
            try trial.forward()
            let y = try trial.output.planar()
            try #require(y.count == expected.count)
            for i in y.indices {
                let error = abs(Double(y[i]) - expected[i])
                let bound = operation.bound ?? Double(operation.terms) * OperatorTests.epsilon * largest[i]
                guard error <= bound else {
                    Issue.record("\(comment): output \(i) is \(y[i]), expected \(expected[i]) within \(bound)")
                    return
                }
            }
            if operation.bound != nil { expectSmall(y, expected, "\(comment): outputs") }
            trial.outputGradient.set(dy)
            for part in trial.backward { try part.run() }
            let gradients = try trial.gradients()
            for (argument, slope) in slopes.enumerated() {
                try #require(gradients[argument].count == values[argument].count)
                for (i, derivative, size) in slope {
                    // Sums start from 1; the difference quotient is good to 1e-8 of the terms.
                    let bound =
                        operation.bound
                        ?? (Double(operation.terms + 2) * OperatorTests.epsilon + 2e-8) * (size + 1)
                    let error = abs(Double(gradients[argument][i]) - derivative)
                    guard error <= bound else {
                        Issue.record(
                            """
                            \(comment): gradient \(i) of argument \(argument) is \(gradients[argument][i]), \
                            expected \(derivative) within \(bound)
                            """)
                        return
                    }
                }
            }
        }
    }

    /// The convolution's gradients in full, against their own formulas.
    @Test(arguments: OperatorTable.convolutionSizes.indices)
    func convolutionGradients(index: Int) throws {
        let size = OperatorTable.convolutionSizes[index]
        let operation = OperatorTable.convolution(size)
        let values = random(operation, seed: UInt64(500 + index))
        let (x, w) = (values[0].map(Double.init), values[1].map(Double.init))
        let dy = randomValues(size.n * size.output.size, seed: UInt64(600 + index))
        func gradients(_ map: (Double) -> Double) -> [[Double]] {
            let g = ReferenceOperators.convolutionGradients(
                x.map(map), w.map(map), dy.map { map(Double($0)) }, n: size.n, size.input, outputs: size.outputs,
                weightInputs: size.weightInputs, first: size.first, size.window)
            return [g.dx, g.dw, g.db]
        }
        let (expected, largest) = (gradients { $0 }, gradients(abs))
        for kernels in KernelTable.supported {
            let trial = try operation.make(kernels, values)
            trial.outputGradient.set(dy)
            for part in trial.backward { try part.run() }
            for (argument, found) in try trial.gradients().enumerated() {
                if operation.bound != nil {
                    expectSmall(found, expected[argument], "\(kernels.name) \(operation): argument \(argument)")
                }
                for i in found.indices {
                    let bound =
                        operation.bound
                        ?? Double(operation.terms) * OperatorTests.epsilon * (largest[argument][i] + 1)
                    let error = abs(Double(found[i]) - expected[argument][i])
                    guard error <= bound else {
                        Issue.record("\(kernels.name) \(operation): gradient \(i) of argument \(argument), \(error)")
                        return
                    }
                }
            }
        }
    }

    // MARK: Bounds

    /// The error's root mean square is at most 1e-5 of what is expected, a tenth of what outputs may differ by.
    private func expectSmall(_ found: [Float], _ expected: [Double], _ comment: String) {
        var (errors, squares) = (0.0, 0.0)
        for (a, b) in zip(found, expected) {
            errors += (Double(a) - b) * (Double(a) - b)
            squares += b * b
        }
        #expect(
            found.count == expected.count && errors <= 1e-10 * squares, "\(comment): \((errors / squares).squareRoot())"
        )
    }

    /// The size of the terms of each output, and of each gradient, by argument.
    private func magnitudes(_ operation: OperatorCase, _ values: [[Double]], _ dy: [Float]) -> (
        [Double], [(Int) -> Double]
    ) {
        let y = operation.reference(values)
        guard operation.isMultilinear else {
            // Sums over rows have as many terms as there are rows; each is of the order of the largest dy.
            let largest = y.reduce(1) { max($0, abs($1)) }
            let rows = Double(y.count)
            let sizes = values.indices.map { argument in
                { (_: Int) in argument == 0 ? 8.0 : 8 * max(1, rows / Double(values[argument].count)) }
            }
            return (y.map { _ in largest }, sizes)
        }
        let absolute = values.map { $0.map(abs) }
        let (dyAbsolute, outputs) = (dy.map(abs), operation.reference(absolute))
        let sizes = values.indices.map { argument in
            { (i: Int) in difference(operation, absolute, dyAbsolute, argument, i) }
        }
        return (outputs, sizes)
    }

    /// Derivatives of sum(dy * formula) by an argument, at places spread over it, first and last among them.
    private func differences(_ operation: OperatorCase, _ values: [[Double]], _ dy: [Float], _ argument: Int) -> [(
        Int, Double
    )] {
        let count = values[argument].count
        let step = max(1, (count - 1) / (OperatorTests.places(operation) - 1))
        return Set(stride(from: 0, to: count, by: step).map { $0 } + [count - 1]).map {
            ($0, difference(operation, values, dy, argument, $0))
        }
    }

    private func difference(
        _ operation: OperatorCase, _ values: [[Double]], _ dy: [Float], _ argument: Int, _ i: Int
    ) -> Double {
        let h = 1e-5
        var moved = values
        moved[argument][i] += h
        let above = operation.reference(moved)
        moved[argument][i] = values[argument][i] - h
        let below = operation.reference(moved)
        var sum = 0.0
        for j in above.indices { sum += (above[j] - below[j]) * Double(dy[j]) }
        return sum / (2 * h)
    }

    private func random(_ operation: OperatorCase, seed: UInt64) -> [[Float]] {
        operation.arguments.enumerated().map { randomValues($1, seed: 17 * seed + UInt64($0)) }
    }
}

/// In [-1, 1).
func randomValues(_ count: Int, seed: UInt64) -> [Float] {
    var generator = MersenneTwister(seed: seed)
    return (0..<count).map { _ in generator.uniform() * 2 - 1 }
}
