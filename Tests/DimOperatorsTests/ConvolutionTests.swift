import DimKernels
import DimOperators
import DimRuntime
import Testing

@Suite(.serialized) struct ConvolutionTests {
    static let shapes = [
        ConvolutionShape(inputChannels: 3, outputChannels: 64, kernel: 4, inputHeight: 11, inputWidth: 9),
        ConvolutionShape(inputChannels: 32, outputChannels: 32, kernel: 4, inputHeight: 4, inputWidth: 4),
        ConvolutionShape(inputChannels: 32, outputChannels: 64, kernel: 4, inputHeight: 12, inputWidth: 10),
        ConvolutionShape(inputChannels: 64, outputChannels: 32, kernel: 3, inputHeight: 9, inputWidth: 13),
    ]

    @Test(arguments: KernelTable.supported.map(\.name), shapes)
    func directForward(table: String, shape: ConvolutionShape) throws {
        let kernels = try #require(KernelTable.named(table))
        let data = try Sample(shape, n: 2, seed: 1)
        let weights = try ConvolutionWeights(shape, .direct, kernels: kernels)
        weights.prepare(from: data.weights.pointer)
        let output = try Buffer(uninitialized: 2 * shape.outputSize)
        try Convolution.forward(data.input.pointer, n: 2, weights, into: output.pointer, ScratchBuffer())
        let expected = data.convolution()
        let error = relativeError(
            planar(output.array, shape.outputChannels, shape.outputHeight * shape.outputWidth), expected)
        #expect(error <= Double(shape.weightCount / shape.outputChannels) * Double(Float.ulpOfOne), "\(table) \(shape)")
    }

    /// Both forms of the loop: two images are few tiles, twenty are many.
    @Test(arguments: KernelTable.supported.map(\.name), shapes)
    func winogradForward(table: String, shape: ConvolutionShape) throws {
        guard !shape.inputIsPlanar else { return }
        let kernels = try #require(KernelTable.named(table))
        let data = try Sample(shape, n: 20, seed: 2)
        let expected = data.convolution()
        for m in winogradSizes(shape.kernel) {
            let weights = try ConvolutionWeights(shape, .winograd(m: m), kernels: kernels)
            weights.prepare(from: data.weights.pointer)
            for n in [2, 20] {
                let output = try Buffer(uninitialized: n * shape.outputSize)
                try Convolution.forward(data.input.pointer, n: n, weights, into: output.pointer, ScratchBuffer())
                let y = planar(output.array, shape.outputChannels, shape.outputHeight * shape.outputWidth)
                expectClose(
                    y, Array(expected[0..<y.count]), shape.inputChannels, m, shape.kernel, "\(table) \(shape) n \(n)")
            }
        }
    }

    /// Values far from 1 lose no accuracy; zeros give zeros; what is too small for float32 gives no NaN.
    @Test(arguments: [Float(1e6), 1e-30, 0x1p-140, 0])
    func extremeValues(scale: Float) throws {
        for shape in ConvolutionTests.shapes {
            let data = try Sample(shape, n: 2, seed: 7, scale: scale)
            let expected = data.convolution()
            for table in KernelTable.supported {
                for algorithm in algorithms(shape) {
                    let weights = try ConvolutionWeights(shape, algorithm, kernels: table)
                    weights.prepare(from: data.weights.pointer)
                    let output = try Buffer(uninitialized: 2 * shape.outputSize)
                    try Convolution.forward(data.input.pointer, n: 2, weights, into: output.pointer, ScratchBuffer())
                    let y = planar(output.array, shape.outputChannels, shape.outputHeight * shape.outputWidth)
                    let comment = "\(table.name) \(shape) \(algorithm)"
                    if scale >= 1e-30 {
                        #expect(relativeError(y, expected) < 1e-4, "\(comment)")
                    } else {
                        // Each of the sum's terms may round by the smallest denormal.
                        let bound = Float(shape.weightCount) * .leastNonzeroMagnitude * (scale == 0 ? 0 : 100)
                        #expect(zip(y, expected).allSatisfy { abs($0 - Float($1)) <= bound }, "\(comment)")
                    }
                }
            }
        }
    }

    @Test func epilogueAndInputAffine() throws {
        for table in KernelTable.supported {
            for shape in ConvolutionTests.shapes where !shape.inputIsPlanar {
                for algorithm in algorithms(shape) {
                    try checkEpilogue(table, shape, algorithm)
                }
            }
        }
    }

    private func checkEpilogue(_ table: KernelTable, _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm)
        throws
    {
        let data = try Sample(shape, n: 2, seed: 3)
        var random = MersenneTwister(seed: 4)
        func vector(_ n: Int) throws -> Buffer { try Buffer((0..<n).map { _ in random.uniform() * 2 - 1 }) }
        let (inScale, inShift) = (try vector(shape.inputChannels), try vector(shape.inputChannels))
        let (outScale, outBias) = (try vector(shape.outputChannels), try vector(shape.outputChannels))
        let weights = try ConvolutionWeights(shape, algorithm, kernels: table)
        weights.prepare(from: data.weights.pointer)
        let output = try Buffer(uninitialized: 2 * shape.outputSize)
        try Convolution.forward(
            data.input.pointer, n: 2, weights,
            inputAffine: InputAffine(scale: inScale.pointer, shift: inShift.pointer),
            Epilogue(scale: outScale.pointer, bias: outBias.pointer, relu: true), into: output.pointer, ScratchBuffer())
        let (inArea, outArea) = (shape.inputHeight * shape.inputWidth, shape.outputHeight * shape.outputWidth)
        let mapped = data.planarInput.indices.map { i -> Float in
            let c = i / inArea % shape.inputChannels
            return max(data.planarInput[i] * inScale.pointer[c] + inShift.pointer[c], 0)
        }
        let sums = data.convolution(mapped)
        let expected = sums.indices.map { i -> Double in
            let c = i / outArea % shape.outputChannels
            return max(sums[i] * Double(outScale.pointer[c]) + Double(outBias.pointer[c]), 0)
        }
        let y = planar(output.array, shape.outputChannels, outArea)
        let m = if case .winograd(let m) = algorithm { m } else { 1 }
        expectClose(y, expected, shape.inputChannels, m, shape.kernel, "\(table.name) \(shape) \(algorithm)")
    }

    @Test(arguments: KernelTable.supported.map(\.name), shapes)
    func gradients(table: String, shape: ConvolutionShape) throws {
        let kernels = try #require(KernelTable.named(table))
        let n = 7
        let data = try Sample(shape, n: n, seed: 8)
        let expected = data.gradients()
        let pixels = n * shape.outputHeight * shape.outputWidth
        for algorithm in algorithms(shape) {
            let m = if case .winograd(let m) = algorithm { m } else { 1 }
            let comment = "\(table) \(shape) \(algorithm)"
            if !shape.inputIsPlanar {
                let weights = try ConvolutionWeights(shape, algorithm, .dataGradient, kernels: kernels)
                weights.prepare(from: data.weights.pointer)
                let dx = try Buffer(uninitialized: n * shape.inputSize)
                try Convolution.dataGradient(
                    data.outputGradient.pointer, n: n, weights, into: dx.pointer, ScratchBuffer())
                let y = planar(dx.array, shape.inputChannels, shape.inputHeight * shape.inputWidth)
                expectClose(y, expected.dx, shape.outputChannels, m, shape.kernel, comment)
            }
            for accumulate in [false, true] {
                let dw = try Buffer([Float](repeating: 0.5, count: shape.weightCount))
                try Convolution.weightGradient(
                    shape, algorithm, n: n, input: data.input.pointer, outputGradient: data.outputGradient.pointer,
                    into: dw.pointer, accumulate: accumulate, ScratchBuffer(), kernels: kernels)
                expectClose(
                    dw.array, accumulate ? expected.dw.map { $0 + 0.5 } : expected.dw, pixels, m, shape.kernel, comment)
            }
        }
        let db = try Buffer(zeros: shape.outputChannels)
        Convolution.biasGradient(
            shape, n: n, outputGradient: data.outputGradient.pointer, into: db.pointer, kernels: kernels)
        expectClose(db.array, expected.db, pixels, 1, 1, "\(table) \(shape) bias")
    }

    /// The weight gradient sees the input as the forward pass did.
    @Test func weightGradientThroughInputAffine() throws {
        for shape in ConvolutionTests.shapes where !shape.inputIsPlanar {
            let data = try Sample(shape, n: 3, seed: 9)
            let scale = try Buffer((0..<shape.inputChannels).map { Float($0 % 5) * 0.3 - 0.4 })
            let shift = try Buffer((0..<shape.inputChannels).map { Float($0 % 3) * 0.2 - 0.1 })
            let area = shape.inputHeight * shape.inputWidth
            let mapped = data.planarInput.indices.map { i -> Float in
                let c = i / area % shape.inputChannels
                return max(data.planarInput[i] * scale.pointer[c] + shift.pointer[c], 0)
            }
            let expected = data.gradients(mapped).dw
            for algorithm in algorithms(shape) {
                let dw = try Buffer(uninitialized: shape.weightCount)
                try Convolution.weightGradient(
                    shape, algorithm, n: 3, input: data.input.pointer,
                    inputAffine: InputAffine(scale: scale.pointer, shift: shift.pointer),
                    outputGradient: data.outputGradient.pointer, into: dw.pointer, ScratchBuffer())
                let m = if case .winograd(let m) = algorithm { m } else { 1 }
                expectClose(
                    dw.array, expected, 3 * shape.outputHeight * shape.outputWidth, m, shape.kernel, "\(algorithm)")
            }
        }
    }

    /// The same bytes with one thread and with several, and for an image alone and among others.
    @Test func threadsAndPositionDoNotMatter() throws {
        let shape = ConvolutionTests.shapes[2]
        let n = 40
        let data = try Sample(shape, n: n, seed: 6)
        defer { ThreadPool.shared.setThreads(0) }
        for algorithm in algorithms(shape) {
            func run(threads: Int, first: Int, count: Int) throws -> [Float] {
                ThreadPool.shared.setThreads(threads)
                let weights = try ConvolutionWeights(shape, algorithm)
                weights.prepare(from: data.weights.pointer)
                let output = try Buffer(uninitialized: count * shape.outputSize)
                try Convolution.forward(
                    data.input.pointer + first * shape.inputSize, n: count, weights, into: output.pointer,
                    ScratchBuffer())
                return output.array
            }
            func gradient(threads: Int) throws -> [Float] {
                ThreadPool.shared.setThreads(threads)
                let dw = try Buffer(uninitialized: shape.weightCount)
                try Convolution.weightGradient(
                    shape, algorithm, n: n, input: data.input.pointer, outputGradient: data.outputGradient.pointer,
                    into: dw.pointer, ScratchBuffer())
                return dw.array
            }
            let one = try gradient(threads: 1)
            for threads in [2, 3, 8] { #expect(try gradient(threads: threads) == one, "\(algorithm)") }
            let all = try run(threads: 1, first: 0, count: n)
            for threads in [2, 3, 8] { #expect(try run(threads: threads, first: 0, count: n) == all, "\(algorithm)") }
            for image in [0, 17, n - 1] {
                let alone = try run(threads: 2, first: image, count: 1)
                #expect(alone == Array(all[image * shape.outputSize..<(image + 1) * shape.outputSize]), "\(algorithm)")
            }
        }
    }
}

func winogradSizes(_ kernel: Int) -> [Int] { (1...8).filter { DimKernels.selected.winograd($0, kernel) != nil } }

func algorithms(_ shape: ConvolutionShape) -> [ConvolutionAlgorithm] {
    shape.inputIsPlanar ? [.direct] : [.direct] + winogradSizes(shape.kernel).map { .winograd(m: $0) }
}

/// Tests the worst case that the transforms' magnitudes allow, for operands in [-1, 1) over `depth` channels (m 1: direct),
/// and that in the mean square the error is what float32 gives.
func expectClose(_ x: [Float], _ expected: [Double], _ depth: Int, _ m: Int, _ kernel: Int, _ comment: String) {
    let growth = m == 1 ? Double(kernel) : Reference.winogradGrowth(m: m, r: kernel)!
    let roundings = Double(depth + 6 * (m + kernel))
    let bound = roundings * Double(Float.ulpOfOne) * Double(depth) * growth * growth * 2
    var (worst, errors, squares) = (0.0, 0.0, 0.0)
    for (a, b) in zip(x, expected) {
        let error = abs(Double(a) - b)
        worst = max(worst, error.isNaN ? .infinity : error)
        errors += error * error
        squares += b * b
    }
    #expect(x.count == expected.count)
    #expect(worst <= bound, "\(comment)")
    #expect((errors / squares).squareRoot() <= 1e-5, "\(comment): rms error")
}

/// Random tensors of one convolution, blocked for the library and planar for the reference.
struct Sample {
    let shape: ConvolutionShape
    let n: Int
    let planarInput: [Float]
    let planarGradient: [Float]
    let input: Buffer
    let outputGradient: Buffer
    let weights: Buffer

    init(_ shape: ConvolutionShape, n: Int, seed: UInt64, scale: Float = 1) throws {
        var random = MersenneTwister(seed: seed)
        self.shape = shape
        self.n = n
        planarInput = (0..<n * shape.inputSize).map { _ in (random.uniform() * 2 - 1) * scale }
        planarGradient = (0..<n * shape.outputSize).map { _ in random.uniform() * 2 - 1 }
        weights = try Buffer((0..<shape.weightCount).map { _ in random.uniform() * 2 - 1 })
        input = try Buffer(
            shape.inputIsPlanar
                ? planarInput : blocked(planarInput, shape.inputChannels, shape.inputHeight * shape.inputWidth))
        outputGradient = try Buffer(
            blocked(planarGradient, shape.outputChannels, shape.outputHeight * shape.outputWidth))
    }

    func gradients(_ input: [Float]? = nil) -> (dx: [Double], dw: [Double], db: [Double]) {
        Reference.convolutionGradients(
            input ?? planarInput, weights.array, planarGradient, n: n, inputChannels: shape.inputChannels,
            outputChannels: shape.outputChannels, kernel: shape.kernel, height: shape.inputHeight,
            width: shape.inputWidth)
    }

    func convolution(_ input: [Float]? = nil) -> [Double] {
        Reference.convolution(
            input ?? planarInput, weights.array, n: n, inputChannels: shape.inputChannels,
            outputChannels: shape.outputChannels,
            kernel: shape.kernel, height: shape.inputHeight, width: shape.inputWidth)
    }
}

/// (n, C, area) from (n, C/16, area, 16).
func planar(_ x: [Float], _ channels: Int, _ area: Int) -> [Float] {
    var y = x
    for i in x.indices {
        let (block, rest) = (i / (16 * area), i % (16 * area))
        y[block * 16 * area + rest % 16 * area + rest / 16] = x[i]
    }
    return y
}

func blocked(_ x: [Float], _ channels: Int, _ area: Int) -> [Float] {
    var y = x
    for i in x.indices {
        let (block, rest) = (i / (16 * area), i % (16 * area))
        y[i] = x[block * 16 * area + rest % 16 * area + rest / 16]
    }
    return y
}

/// The largest error over the rms of what is expected.
func relativeError(_ x: [Float], _ expected: [Double]) -> Double {
    var (worst, squares) = (0.0, 0.0)
    for (a, b) in zip(x, expected) {
        worst = max(worst, abs(Double(a) - b))
        squares += b * b
    }
    return worst / (squares / Double(expected.count)).squareRoot()
}
