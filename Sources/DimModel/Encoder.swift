import DimKernels
import DimOperators
import DimRuntime

/// Images to vectors (notebook, class Encoder): four 4x4 convolutions, the last three with batch norm, and a linear layer.
///
///     x (n,3,32,32) -c0-> h0 (n,64,29,29) -c1,b1-> features (n,128,26,26) -c2,b2-> (n,256,23,23)
///     -c3,b3-> (n,512,20,20) -l1-> encoded (n,64)
///
/// Activations between the convolutions are blocked, (n, C/16, H, W, 16).
package struct Encoder {
    static let c0 = ConvolutionShape(inputChannels: 3, outputChannels: 64, kernel: 4, inputHeight: 32, inputWidth: 32)
    static let c1 = ConvolutionShape(inputChannels: 64, outputChannels: 128, kernel: 4, inputHeight: 29, inputWidth: 29)
    static let c2 = ConvolutionShape(
        inputChannels: 128, outputChannels: 256, kernel: 4, inputHeight: 26, inputWidth: 26)
    static let c3 = ConvolutionShape(
        inputChannels: 256, outputChannels: 512, kernel: 4, inputHeight: 23, inputWidth: 23)
    static let convolutions = [("c0", c0), ("c1", c1), ("c2", c2), ("c3", c3)]
    static let norms = [
        BatchNorm(channels: 128, pixels: 26 * 26), BatchNorm(channels: 256, pixels: 23 * 23),
        BatchNorm(channels: 512, pixels: 20 * 20),
    ]
    static let image = 3 * 32 * 32
    static let featuresSize = 128 * 26 * 26
    static let encoded = 64
    static let flat = 512 * 20 * 20
    /// Floats from one image's flattened activation to the next: not a multiple of a page's size.
    static let flatRow = flat + 16
    static let l1 = Linear(inputs: flat, outputs: encoded)

    /// Forward weights made ready once and kept: for inference.
    package final class Weights {
        fileprivate let byLayer: [String: ConvolutionWeights]

        /// direct: for convolutions as defined, whatever is fastest.
        init(_ state: NetworkState, direct: Bool = false) throws {
            var byLayer: [String: ConvolutionWeights] = [:]
            for (name, shape) in Encoder.convolutions {
                let algorithm = direct ? .direct : Convolution.algorithm(shape, .forward)
                let weights = try ConvolutionWeights(shape, algorithm)
                weights.prepare(from: state.pointer(name + ".weight"))
                byLayer[name] = weights
            }
            self.byLayer = byLayer
        }

        /// For `train`, which asks by layer.
        var source: WeightsSource { { name, _, _, _ in self.byLayer[name]! } }
    }

    // MARK: Evaluation mode

    /// Batch norm folded into its convolution: y = sum * scale + shift, of b1, b2 and b3 one after another.
    private static func fold(_ state: NetworkState, _ workspace: Workspace) throws -> [Epilogue] {
        let channels = norms.map(\.channels)
        var at = try workspace.floats("encoder.fold", 2 * channels.reduce(0, +))
        return channels.enumerated().map { index, count in
            let (scale, shift) = (at, at + count)
            at += 2 * count
            let (c, b) = ("c\(index + 1)", "b\(index + 1)")
            BatchNorm.fold(
                channels: count, convolutionBias: state.pointer(c + ".bias"), weight: state.pointer(b + ".weight"),
                bias: state.pointer(b + ".bias"), runningMean: state.pointer(b + ".running_mean"),
                runningVariance: state.pointer(b + ".running_var"), scale: scale, shift: shift)
            return Epilogue(scale: scale, bias: shift, relu: true)
        }
    }

    /// images (n,3,32,32) -> encoded (n,64), and features, blocked, which stay in the workspace.
    static func evaluate(
        _ state: NetworkState, _ weights: Weights, images: UnsafePointer<Float>, count n: Int,
        encoded: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws -> UnsafeMutablePointer<Float> {
        let folded = try fold(state, workspace)
        let h0 = try workspace.floats("encoder.h0", n * c0.outputSize)
        let features = try workspace.floats("encoder.features", n * c1.outputSize)
        let h2 = try workspace.floats("encoder.h2", n * c2.outputSize)
        let h3 = try workspace.floats("encoder.h3", n * c3.outputSize)
        let firstBias = Epilogue(bias: state.pointer("c0.bias"), relu: true)
        try Convolution.forward(images, n: n, weights.byLayer["c0"]!, firstBias, into: h0, workspace)
        try Convolution.forward(h0, n: n, weights.byLayer["c1"]!, folded[0], into: features, workspace)
        try Convolution.forward(features, n: n, weights.byLayer["c2"]!, folded[1], into: h2, workspace)
        try Convolution.forward(h2, n: n, weights.byLayer["c3"]!, folded[2], into: h3, workspace)
        let flattened = try workspace.floats("encoder.flat", n * flatRow)
        flatten(h3, count: n, into: flattened)
        try linear(state, flattened, count: n, into: encoded, workspace)
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
        _ workspace: Workspace
    ) throws {
        l1.forward(
            flat, rows: n, stride: flatRow, weight: state.pointer("l1.weight"), bias: state.pointer("l1.bias"),
            into: encoded, stride: Self.encoded, scratch: try workspace.floats("linear", l1.forwardScratch(rows: n)))
    }

    // MARK: Training mode

    /// A batch's forward pass: the activations that the backward pass reads. All blocked, in the workspace.
    struct TrainingPass {
        let count: Int
        let images: UnsafePointer<Float>
        let h0: UnsafeMutablePointer<Float>
        /// The convolutions' outputs, before batch norm.
        let z: [UnsafeMutablePointer<Float>]
        let statistics: [BatchNorm.Statistics]
        let features: UnsafeMutablePointer<Float>
        /// relu(b3(z3)) in rows of PyTorch's order.
        let flat: UnsafeMutablePointer<Float>

        fileprivate func affine(_ index: Int) -> InputAffine {
            InputAffine(scale: statistics[index].scale.pointer, shift: statistics[index].shift.pointer)
        }
    }

    /// Batch statistics; running ones are left to the caller.
    static func train(
        _ state: NetworkState, _ source: WeightsSource, images: UnsafePointer<Float>, count n: Int,
        encoded: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws -> TrainingPass {
        let h0 = try workspace.floats("encoder.h0", n * c0.outputSize)
        let z1 = try workspace.floats("encoder.z1", n * c1.outputSize)
        let features = try workspace.floats("encoder.features", n * c1.outputSize)
        let z2 = try workspace.floats("encoder.z2", n * c2.outputSize)
        let z3 = try workspace.floats("encoder.z3", n * c3.outputSize)
        func statistics(_ index: Int, _ z: UnsafePointer<Float>) throws -> BatchNorm.Statistics {
            try norms[index].statistics(
                z, images: n, weight: state.pointer("b\(index + 1).weight"), bias: state.pointer("b\(index + 1).bias"))
        }
        func weights(_ name: String, _ shape: ConvolutionShape) throws -> ConvolutionWeights {
            try source(name, shape, .forward, state.pointer(name + ".weight"))
        }
        func bias(_ name: String, relu: Bool = false) -> Epilogue {
            Epilogue(bias: state.pointer(name + ".bias"), relu: relu)
        }
        try Convolution.forward(images, n: n, weights("c0", c0), bias("c0", relu: true), into: h0, workspace)
        try Convolution.forward(h0, n: n, weights("c1", c1), bias("c1"), into: z1, workspace)
        let s1 = try statistics(0, z1)
        norms[0].apply(s1, z1, images: n, into: features)
        try Convolution.forward(features, n: n, weights("c2", c2), bias("c2"), into: z2, workspace)
        let s2 = try statistics(1, z2)
        let affine2 = InputAffine(scale: s2.scale.pointer, shift: s2.shift.pointer)
        try Convolution.forward(z2, n: n, weights("c3", c3), inputAffine: affine2, bias("c3"), into: z3, workspace)
        let s3 = try statistics(2, z3)
        let flat = try workspace.floats("encoder.flat", n * flatRow)
        flattenNormalised(z3, s3, count: n, into: flat)
        try linear(state, flat, count: n, into: encoded, workspace)
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

    static func statisticSteps(_ state: NetworkState, _ pass: TrainingPass) -> StatisticSteps {
        norms.enumerated().flatMap { index, norm in
            let steps = norm.steps(pass.statistics[index])
            return [
                (state.index("b\(index + 1).running_mean"), steps.mean),
                (state.index("b\(index + 1).running_var"), steps.variance),
            ]
        }
    }

    // MARK: Backward

    /// From the gradients of encoded (n,64) and features (n,8,676,16) to those of the parameters, added to `gradients`.
    /// Consumes `featuresGradient` and the pass's buffers: a gradient takes the place of an activation that is not read again.
    static func backward(
        _ state: NetworkState, _ pass: TrainingPass, _ source: WeightsSource, encodedGradient: UnsafePointer<Float>,
        featuresGradient: UnsafeMutablePointer<Float>, _ gradients: Gradients, _ workspace: Workspace
    ) throws {
        let n = pass.count
        func gradient(_ key: String) -> UnsafeMutablePointer<Float> { gradients.pointer(.encoder, key) }

        l1.weightGradient(
            encodedGradient, stride: encoded, pass.flat, rows: n, stride: flatRow,
            into: gradient("l1.weight"), bias: gradient("l1.bias"))
        let dz3 = pass.flat
        try flatGradient(state, encodedGradient, count: n, into: dz3, workspace)
        try norm(2, dz3)
        try convolution("c3", c3, input: pass.z[1], affine: pass.affine(1), dz3)
        let dz2 = pass.z[2]
        try dataGradient("c3", c3, dz3, into: dz2)
        try norm(1, dz2)
        try convolution("c2", c2, input: pass.features, affine: nil, dz2)
        let fromC2 = pass.flat
        try dataGradient("c2", c2, dz2, into: fromC2)
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.add(
                fromC2 + image * featuresSize, featuresGradient + image * featuresSize, featuresSize)
        }
        let dz1 = featuresGradient
        try norm(0, dz1)
        try convolution("c1", c1, input: pass.h0, affine: nil, dz1)
        let dh0 = pass.z[1]
        try dataGradient("c1", c1, dz1, into: dh0)
        let size = c0.outputSize
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.reluGradient(pass.h0 + image * size, dh0 + image * size, size)
        }
        try convolution("c0", c0, input: pass.images, affine: nil, dh0)

        func norm(_ index: Int, _ dy: UnsafeMutablePointer<Float>) throws {
            let name = "b\(index + 1)"
            try norms[index].backward(
                pass.statistics[index], pass.z[index], images: n, weight: state.pointer(name + ".weight"), gradient: dy,
                weightGradient: gradient(name + ".weight"), biasGradient: gradient(name + ".bias"))
        }

        func dataGradient(
            _ name: String, _ shape: ConvolutionShape, _ dy: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>
        ) throws {
            let weights = try source(name, shape, .dataGradient, state.pointer(name + ".weight"))
            try Convolution.dataGradient(dy, n: n, weights, into: dx, workspace)
        }

        func convolution(
            _ name: String, _ shape: ConvolutionShape, input: UnsafePointer<Float>, affine: InputAffine?,
            _ dy: UnsafePointer<Float>
        ) throws {
            try Convolution.weightGradient(
                shape, Convolution.algorithm(shape, .forward), n: n, input: input, inputAffine: affine,
                outputGradient: dy,
                into: gradient(name + ".weight"), accumulate: true, workspace)
            Convolution.biasGradient(shape, n: n, outputGradient: dy, into: gradient(name + ".bias"), accumulate: true)
        }
    }

    /// l1's data gradient in the blocked layout, (n,32,400,16), 16 channels at a time.
    private static func flatGradient(
        _ state: NetworkState, _ encodedGradient: UnsafePointer<Float>, count n: Int,
        into blocked: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws {
        let plane = 400 * BlockedLayout.block
        // Images at a time: the planes of this many stay in the cache.
        let rows = 26
        let blocks = Self.flat / plane
        let workers = ThreadPool.shared.threads
        let scratch = try workspace.floats("encoder.planes", workers * rows * plane)
        ThreadPool.shared.parallel(blocks * ((n + rows - 1) / rows), workers: workers) { task, worker in
            let first = task / blocks * rows
            let block = task % blocks
            let count = min(rows, n - first)
            let planes = scratch + worker * rows * plane
            l1.inputGradient(
                encodedGradient + first * encoded, rows: count, stride: encoded, weight: state.pointer("l1.weight"),
                columns: block * plane..<(block + 1) * plane, into: planes, stride: plane)
            for i in 0..<count {
                BlockedLayout.block(
                    planes + i * plane, channels: 16, pixels: 400,
                    into: blocked + (first + i) * Self.flat + block * plane)
            }
        }
    }
}
