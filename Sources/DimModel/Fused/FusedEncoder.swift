import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

/// Images to vectors (notebook, class Encoder): four 4x4 convolutions, the last three with batch norm, and a linear layer.
///
///     x (n,3,32,32) -c0-> h0 (n,64,29,29) -c1,b1-> features (n,128,26,26) -c2,b2-> (n,256,23,23)
///     -c3,b3-> (n,512,20,20) -l1-> encoded (n,64)
///
/// Activations between the convolutions are blocked, (n, C/16, H, W, 16).
package enum FusedEncoder {
    private static let ids = ParameterIDs(Architecture.notebook.parameters(of: .encoder))
    static let convolutions = [
        ConvolutionShape(inputChannels: 3, outputChannels: 64, kernel: 4, inputHeight: 32, inputWidth: 32),
        ConvolutionShape(inputChannels: 64, outputChannels: 128, kernel: 4, inputHeight: 29, inputWidth: 29),
        ConvolutionShape(inputChannels: 128, outputChannels: 256, kernel: 4, inputHeight: 26, inputWidth: 26),
        ConvolutionShape(inputChannels: 256, outputChannels: 512, kernel: 4, inputHeight: 23, inputWidth: 23),
    ].enumerated().map { FusedConvolution($0, $1, ids) }
    private static let (c0, c1, c2, c3) = (convolutions[0], convolutions[1], convolutions[2], convolutions[3])
    /// Behind c1, c2 and c3.
    private static let norms = [
        BatchNorm(channels: 128, pixels: 26 * 26), BatchNorm(channels: 256, pixels: 23 * 23),
        BatchNorm(channels: 512, pixels: 20 * 20),
    ]
    private static let normIDs = (1...3).map { NormIDs(ids, "b\($0)") }
    private static let l1IDs = LayerIDs(ids, "l1")
    package static let image = 3 * 32 * 32
    package static let featuresSize = 128 * 26 * 26
    package static let encoded = 64
    static let flat = 512 * 20 * 20
    /// Floats from one image's flattened activation to the next: not a multiple of a page's size.
    static let flatRow = flat + 16
    static let l1 = Linear(inputs: flat, outputs: encoded)

    // MARK: Evaluation mode

    /// Batch norm folded into its convolution: y = sum * scale + shift, of b1, b2 and b3 one after another.
    private static func fold(_ state: NetworkState, _ arena: Arena) throws -> [Epilogue] {
        let channels = norms.map(\.channels)
        var at = try arena.floats(.folded, 2 * channels.reduce(0, +))
        return channels.enumerated().map { index, count in
            let (scale, shift) = (at, at + count)
            at += 2 * count
            let norm = normIDs[index]
            BatchNorm.fold(
                channels: count, convolutionBias: state.pointer(convolutions[index + 1].bias),
                weight: state.pointer(norm.weight), bias: state.pointer(norm.bias),
                runningMean: state.pointer(norm.runningMean), runningVariance: state.pointer(norm.runningVariance),
                scale: scale, shift: shift)
            return Epilogue(scale: scale, bias: shift, relu: true)
        }
    }

    /// images (n,3,32,32) -> encoded (n,64), and features, blocked, which stay in the arena.
    package static func evaluate(
        _ state: NetworkState, _ weights: KeptWeights, images: UnsafePointer<Float>, count n: Int,
        encoded: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws -> UnsafeMutablePointer<Float> {
        let folded = try fold(state, arena)
        let h0 = try arena.floats(.h0, n * c0.shape.outputSize)
        let features = try arena.floats(.features, n * c1.shape.outputSize)
        let h2 = try arena.floats(.z2, n * c2.shape.outputSize)
        let h3 = try arena.floats(.z3, n * c3.shape.outputSize)
        let firstBias = Epilogue(bias: state.pointer(c0.bias), relu: true)
        try Convolution.forward(images, n: n, weights[c0], firstBias, into: h0, arena.scratch)
        try Convolution.forward(h0, n: n, weights[c1], folded[0], into: features, arena.scratch)
        try Convolution.forward(features, n: n, weights[c2], folded[1], into: h2, arena.scratch)
        try Convolution.forward(h2, n: n, weights[c3], folded[2], into: h3, arena.scratch)
        let flattened = try arena.floats(.flat, n * flatRow)
        flatten(h3, count: n, into: flattened)
        try linear(state, flattened, count: n, into: encoded, arena)
        return features
    }

    /// (n,32,400,16) to rows of 204800 in PyTorch's order.
    static func flatten(_ h3: UnsafePointer<Float>, count n: Int, into flat: UnsafeMutablePointer<Float>) {
        ThreadPool.shared.parallel(n * 4) { task, _ in
            let (image, quarter) = (task / 4, task % 4)
            BlockedLayout.unblock(
                h3 + image * Self.flat + quarter * Self.flat / 4, channels: 128, pixels: 400,
                into: flat + image * flatRow + quarter * Self.flat / 4)
        }
    }

    private static func linear(
        _ state: NetworkState, _ flat: UnsafePointer<Float>, count n: Int, into encoded: UnsafeMutablePointer<Float>,
        _ arena: Arena
    ) throws {
        l1.forward(
            flat, rows: n, stride: flatRow, weight: state.pointer(l1IDs.weight), bias: state.pointer(l1IDs.bias),
            into: encoded, stride: Self.encoded, scratch: try arena.floats(.linearScratch, l1.forwardScratch(rows: n)))
    }

    // MARK: Training mode

    /// A batch's forward pass: the activations that the backward pass reads. All blocked, in the arena.
    package struct TrainingPass {
        let count: Int
        let images: UnsafePointer<Float>
        let h0: UnsafeMutablePointer<Float>
        /// The convolutions' outputs, before batch norm.
        let z: [UnsafeMutablePointer<Float>]
        let statistics: [BatchNorm.Statistics]
        package let features: UnsafeMutablePointer<Float>
        /// relu(b3(z3)) in rows of PyTorch's order.
        let flat: UnsafeMutablePointer<Float>

        fileprivate func affine(_ index: Int) -> InputAffine {
            InputAffine(scale: statistics[index].scale.pointer, shift: statistics[index].shift.pointer)
        }
    }

    /// Batch statistics; running ones are left to the caller.
    package static func train(
        _ state: NetworkState, _ source: WeightsSource, images: UnsafePointer<Float>, count n: Int,
        encoded: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws -> TrainingPass {
        let h0 = try arena.floats(.h0, n * c0.shape.outputSize)
        let z1 = try arena.floats(.z1, n * c1.shape.outputSize)
        let features = try arena.floats(.features, n * c1.shape.outputSize)
        let z2 = try arena.floats(.z2, n * c2.shape.outputSize)
        let z3 = try arena.floats(.z3, n * c3.shape.outputSize)
        func statistics(_ index: Int, _ z: UnsafePointer<Float>) throws -> BatchNorm.Statistics {
            try norms[index].statistics(
                z, images: n, weight: state.pointer(normIDs[index].weight), bias: state.pointer(normIDs[index].bias))
        }
        func weights(_ layer: FusedConvolution) throws -> ConvolutionWeights {
            try source(layer, .forward, state.pointer(layer.weight))
        }
        func bias(_ layer: FusedConvolution, relu: Bool = false) -> Epilogue {
            Epilogue(bias: state.pointer(layer.bias), relu: relu)
        }
        try Convolution.forward(images, n: n, weights(c0), bias(c0, relu: true), into: h0, arena.scratch)
        try Convolution.forward(h0, n: n, weights(c1), bias(c1), into: z1, arena.scratch)
        let s1 = try statistics(0, z1)
        norms[0].apply(s1, z1, images: n, into: features)
        try Convolution.forward(features, n: n, weights(c2), bias(c2), into: z2, arena.scratch)
        let s2 = try statistics(1, z2)
        let affine2 = InputAffine(scale: s2.scale.pointer, shift: s2.shift.pointer)
        try Convolution.forward(z2, n: n, weights(c3), inputAffine: affine2, bias(c3), into: z3, arena.scratch)
        let s3 = try statistics(2, z3)
        let flat = try arena.floats(.flat, n * flatRow)
        flattenNormalised(z3, s3, count: n, into: flat)
        try linear(state, flat, count: n, into: encoded, arena)
        return TrainingPass(
            count: n, images: images, h0: h0, z: [z1, z2, z3], statistics: [s1, s2, s3], features: features, flat: flat)
    }

    /// relu(b3(z3)) as rows in PyTorch's order.
    private static func flattenNormalised(
        _ z3: UnsafePointer<Float>, _ statistics: BatchNorm.Statistics, count n: Int,
        into flat: UnsafeMutablePointer<Float>
    ) {
        let kernels = DimKernels.selected
        let plane = 400 * BlockedLayout.block
        ThreadPool.shared.parallel(n) { image, _ in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: plane) { scratch in
                let normalised = scratch.baseAddress!
                for block in 0..<32 {
                    let at = image * Self.flat + block * plane
                    kernels.affineReluPlane(
                        z3 + at, 400, statistics.scale.pointer + block * 16, statistics.shift.pointer + block * 16,
                        normalised)
                    BlockedLayout.unblock(
                        normalised, channels: 16, pixels: 400, into: flat + image * flatRow + block * plane)
                }
            }
        }
    }

    package static func statisticSteps(_ pass: TrainingPass) -> StatisticSteps {
        norms.enumerated().flatMap { index, norm in
            let steps = norm.steps(pass.statistics[index])
            return [
                (normIDs[index].runningMean, steps.mean),
                (normIDs[index].runningVariance, steps.variance),
            ]
        }
    }

    // MARK: Backward

    /// From the gradients of encoded (n,64) and features (n,8,676,16) to those of the parameters, added to `gradients`.
    /// Consumes `featuresGradient` and the pass's buffers: a gradient takes the place of an activation that is not read again.
    package static func backward(
        _ state: NetworkState, _ pass: TrainingPass, _ source: WeightsSource, encodedGradient: UnsafePointer<Float>,
        featuresGradient: UnsafeMutablePointer<Float>, _ gradients: any GradientTarget, _ arena: Arena
    ) throws {
        let n = pass.count
        func gradient(_ id: Int) -> UnsafeMutablePointer<Float> { gradients.pointer(.encoder, id) }

        l1.weightGradient(
            encodedGradient, stride: encoded, pass.flat, rows: n, stride: flatRow,
            into: gradient(l1IDs.weight), bias: gradient(l1IDs.bias))
        let dz3 = pass.flat
        try flatGradient(state, encodedGradient, count: n, into: dz3, arena)
        try norm(2, dz3)
        try convolution(c3, input: pass.z[1], affine: pass.affine(1), dz3)
        let dz2 = pass.z[2]
        try dataGradient(c3, dz3, into: dz2)
        try norm(1, dz2)
        try convolution(c2, input: pass.features, affine: nil, dz2)
        let fromC2 = pass.flat
        try dataGradient(c2, dz2, into: fromC2)
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.add(
                fromC2 + image * featuresSize, featuresGradient + image * featuresSize, featuresSize)
        }
        let dz1 = featuresGradient
        try norm(0, dz1)
        try convolution(c1, input: pass.h0, affine: nil, dz1)
        let dh0 = pass.z[1]
        try dataGradient(c1, dz1, into: dh0)
        let size = c0.shape.outputSize
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.reluGradient(pass.h0 + image * size, dh0 + image * size, size)
        }
        try convolution(c0, input: pass.images, affine: nil, dh0)

        func norm(_ index: Int, _ dy: UnsafeMutablePointer<Float>) throws {
            let ids = normIDs[index]
            try norms[index].backward(
                pass.statistics[index], pass.z[index], images: n, weight: state.pointer(ids.weight), gradient: dy,
                weightGradient: gradient(ids.weight), biasGradient: gradient(ids.bias))
        }

        func dataGradient(
            _ layer: FusedConvolution, _ dy: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>
        ) throws {
            let weights = try source(layer, .dataGradient, state.pointer(layer.weight))
            try Convolution.dataGradient(dy, n: n, weights, into: dx, arena.scratch)
        }

        func convolution(
            _ layer: FusedConvolution, input: UnsafePointer<Float>, affine: InputAffine?, _ dy: UnsafePointer<Float>
        ) throws {
            try Convolution.weightGradient(
                layer.shape, Convolution.algorithm(layer.shape, .forward), n: n, input: input, inputAffine: affine,
                outputGradient: dy, into: gradient(layer.weight), accumulate: true, arena.scratch)
            Convolution.biasGradient(
                layer.shape, n: n, outputGradient: dy, into: gradient(layer.bias), accumulate: true)
        }
    }

    /// l1's data gradient in the blocked layout, (n,32,400,16), 16 channels at a time.
    private static func flatGradient(
        _ state: NetworkState, _ encodedGradient: UnsafePointer<Float>, count n: Int,
        into blocked: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let plane = 400 * BlockedLayout.block
        // Images at a time: the planes of this many stay in the cache.
        let rows = 26
        let blocks = Self.flat / plane
        let workers = ThreadPool.shared.threads
        let scratch = try arena.floats(.planes, workers * rows * plane)
        ThreadPool.shared.parallel(blocks * ((n + rows - 1) / rows), workers: workers) { task, worker in
            let first = task / blocks * rows
            let block = task % blocks
            let count = min(rows, n - first)
            let planes = scratch + worker * rows * plane
            l1.inputGradient(
                encodedGradient + first * encoded, rows: count, stride: encoded, weight: state.pointer(l1IDs.weight),
                columns: block * plane..<(block + 1) * plane, into: planes, stride: plane)
            for i in 0..<count {
                BlockedLayout.block(
                    planes + i * plane, channels: 16, pixels: 400,
                    into: blocked + (first + i) * Self.flat + block * plane)
            }
        }
    }
}
