import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime
import Testing

/// What results must not depend on: the other images of a batch, the number of threads, what is done besides.
@Suite(.serialized) struct InvarianceTests {
    private static let sizes: [ConvolutionSize] = [
        .init(
            5, MapShape(channels: 3, height: 19, width: 17), 40, .init(kernel: (4, 4), stride: (2, 2), padding: (1, 1))),
        .init(5, MapShape(channels: 48, height: 9, width: 11), 70, .init(kernel: (3, 3), padding: (1, 1))),
        .init(5, MapShape(channels: 64, height: 13, width: 12), 96),
        .init(5, MapShape(channels: 700), 130),
        .init(5, MapShape(channels: 32, height: 4, width: 4), 64, .init(kernel: (4, 4))),
        // Winograd's: tiles for each thread, and shared.
        .init(
            40, MapShape(channels: 33, height: 12, width: 9), 70,
            .init(kernel: (4, 4), stride: (2, 2), padding: (1, 1)), .winograd(m: 2)),
        .init(
            5, MapShape(channels: 80, height: 9, width: 11), 130,
            .init(kernel: (4, 4), stride: (2, 2), padding: (1, 1)), .winograd(m: 4)),
        .init(
            9, MapShape(channels: 48, height: 9, width: 11), 70, .init(kernel: (3, 3), padding: (1, 1)), .winograd(m: 4)
        ),
    ]

    /// An image's output has the same bytes alone and among others.
    @Test(arguments: KernelTable.supported.map(\.name), sizes.indices)
    func forwardOfOneImage(table: String, index: Int) throws {
        let kernels = try #require(KernelTable.named(table))
        let size = InvarianceTests.sizes[index]
        let values = OperatorTable.convolution(size).arguments.enumerated().map {
            randomValues($1, seed: UInt64(40 + $0))
        }
        let all = try OperatorTable.convolution(size).make(kernels, values)
        try all.forward()
        let y = try all.output.planar()
        let one = ConvolutionSize(1, size.input, size.outputs, size.window, size.algorithm)
        for image in 0..<size.n {
            let x = Array(values[0][image * size.input.size..<(image + 1) * size.input.size])
            let alone = try OperatorTable.convolution(one).make(kernels, [x, values[1], values[2]])
            try alone.forward()
            let expected = Array(y[image * size.output.size..<(image + 1) * size.output.size])
            #expect(try alone.output.planar() == expected, "\(table) \(size) image \(image)")
        }
    }

    /// The operators' outputs and gradients have the same bytes on one, two, three and seven threads.
    @Test func threads() throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        let kernels = DimKernels.selected
        let operations = InvarianceTests.sizes.map(OperatorTable.convolution) + OperatorTable.others
        for (index, operation) in operations.enumerated() {
            let values = operation.arguments.enumerated().map { randomValues($1, seed: UInt64(100 * index + $0)) }
            var first: [[Float]]?
            for threads in [1, 2, 3, 7] {
                ThreadPool.shared.setThreads(threads)
                let trial = try operation.make(kernels, values)
                try trial.forward()
                let y = try trial.output.planar()
                trial.outputGradient.set(randomValues(y.count, seed: 7))
                for part in trial.backward { try part.run() }
                let results = [y] + (try trial.gradients())
                #expect(first == nil || first == results, "\(operation) on \(threads) threads")
                first = first ?? results
            }
        }
    }

    /// More threads than the operator saw when it was made: its scratch memory is enough.
    @Test func moreThreadsThanAtFirst() throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        for size in InvarianceTests.sizes {
            ThreadPool.shared.setThreads(1)
            let operation = OperatorTable.convolution(size)
            let values = operation.arguments.map { randomValues($0, seed: 3) }
            let trial = try operation.make(DimKernels.selected, values)
            trial.outputGradient.set(randomValues(size.n * size.output.size, seed: 4))
            ThreadPool.shared.setThreads(16)
            try trial.forward()
            for part in trial.backward { try part.run() }
            _ = try trial.gradients()
        }
    }

    /// Memory for many images is enough for fewer.
    @Test func scratchGrowsWithImages() {
        for size in OperatorTable.convolutionSizes {
            let layer = PatchConvolution(
                input: size.input, outputs: size.outputs, kernel: size.window.kernel, stride: size.window.stride,
                padding: size.window.padding, weightInputs: size.weightInputs, firstInput: size.first,
                algorithm: size.algorithm)
            let counts = (1...200).map { layer.scratch(images: $0) }
            #expect(zip(counts, counts.dropFirst()).allSatisfy { $0 <= $1 }, "\(size)")
        }
    }
}
