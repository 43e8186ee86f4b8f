import DimKernels
import DimOperators
import DimRuntime
import Testing

/// Products by Strassen's algorithm against the definition, in double.
///
/// The plain product's error is below K u of its terms' sum. A level forms sums of up to four entries of either factor
/// (S4, T4), of which the products' rounding errors come back into the result: a factor of 4 a level is generous for random
/// entries, and far from what a wrong sign or a wrong quarter gives.
@Suite struct StrassenTests {
    private func matrix(_ rows: Int, _ columns: Int, seed: UInt64, stride: Int) throws -> (Buffer, StoredMatrix) {
        var random = MersenneTwister(seed: seed)
        let buffer = try Buffer(uninitialized: rows * stride)
        for i in 0..<rows * stride { buffer.pointer[i] = random.uniform() * 2 - 1 }
        return (buffer, StoredMatrix(buffer.pointer, rows: rows, columns: columns, stride: stride))
    }

    private func tolerance(_ depth: Int, _ levels: Int) -> Double {
        (0..<levels).reduce(Double(depth) * 0x1p-24) { bound, _ in bound * 4 }
    }

    @Test(
        arguments: [0, 1, 2],
        [
            (rows: 4, depth: 128, columns: 128), (rows: 52, depth: 256, columns: 128),
            (rows: 36, depth: 128, columns: 256),
        ]
    )
    func product(levels: Int, size: (rows: Int, depth: Int, columns: Int)) throws {
        let (aMemory, a) = try matrix(size.rows, size.depth, seed: 1, stride: size.depth + 16)
        let (cMemory, c) = try matrix(size.rows, size.columns, seed: 2, stride: size.columns + 16)
        let (weight, _) = try matrix(size.depth, size.columns, seed: 3, stride: size.columns)
        let (bias, _) = try matrix(1, size.columns, seed: 4, stride: size.columns)
        for (transposed, epilogue) in [(false, false), (true, true)] {
            let weights = try StrassenWeights(depth: size.depth, columns: size.columns, levels: levels)
            try weights.prepare(weight.pointer, transposed: transposed)
            let scratch = try Buffer(uninitialized: max(1, weights.scratch(rows: size.rows)))
            weights.multiply(
                a, into: c, epilogue ? Epilogue(bias: bias.pointer, relu: true) : Epilogue(), scratch: scratch.pointer)
            let expected = Reference.gemm(
                rows: size.rows, columns: size.columns, depth: size.depth,
                bias: epilogue ? { bias.pointer[$0] } : nil, relu: epilogue,
                a: { aMemory.pointer[$0 * (size.depth + 16) + $1] },
                b: { transposed ? weight.pointer[$1 * size.depth + $0] : weight.pointer[$0 * size.columns + $1] })
            var found: [Float] = []
            for r in 0..<size.rows {
                for j in 0..<size.columns { found.append(cMemory.pointer[r * (size.columns + 16) + j]) }
            }
            #expect(
                relativeError(found, expected) <= tolerance(size.depth, levels),
                "\(size), \(levels) levels, transposed \(transposed)")
        }
    }

    @Test(arguments: [0, 1, 2], [(depth: 4, rows: 128, columns: 128), (depth: 52, rows: 256, columns: 128)])
    func sums(levels: Int, size: (depth: Int, rows: Int, columns: Int)) throws {
        let sums = StrassenSums(rows: size.rows, columns: size.columns, levels: levels)
        let memory = try Buffer(zeros: sums.count)
        let scratch = try Buffer(uninitialized: max(1, sums.scratch(depth: size.depth)))
        let (cMemory, c) = try matrix(size.rows, size.columns, seed: 5, stride: size.columns)
        var expected = cMemory.array.map(Double.init)
        for seed in [6, 8, 10] as [UInt64] {
            let (aMemory, a) = try matrix(size.depth, size.rows, seed: seed, stride: size.rows + 16)
            let (bMemory, b) = try matrix(size.depth, size.columns, seed: seed + 1, stride: size.columns + 16)
            sums.add(a, b, to: memory.pointer, scratch: scratch.pointer)
            let product = Reference.gemm(
                rows: size.rows, columns: size.columns, depth: size.depth,
                a: { aMemory.pointer[$1 * (size.rows + 16) + $0] },
                b: { bMemory.pointer[$0 * (size.columns + 16) + $1] })
            for i in expected.indices { expected[i] += product[i] }
        }
        sums.finish(memory.pointer, into: c)
        #expect(
            relativeError(cMemory.array, expected) <= tolerance(3 * size.depth, levels), "\(size), \(levels) levels")
    }
}
