import DimKernels
import DimOperators
import DimRuntime

/// Tells whether `encoded` and `features` come from one image (notebook, class GlobalDiscriminator): two 3x3 convolutions over
/// the features, then three linear layers over cat(encoded, h).
///
/// l0 factors as the local discriminator's c0 does: with its weight cut into W_y (the first 64 columns) and W_h,
/// l0(cat(y, h)) = W_h h + (W_y y + b). The convolutions and W_h h run once an image and serve both pairs.
package struct GlobalDiscriminator {
    static let c0 = ConvolutionShape(inputChannels: 128, outputChannels: 64, kernel: 3, inputHeight: 26, inputWidth: 26)
    static let c1 = ConvolutionShape(inputChannels: 64, outputChannels: 32, kernel: 3, inputHeight: 24, inputWidth: 24)
    static let encoded = 64
    static let flat = 32 * 22 * 22
    static let hidden = 512
    private static let pixels = 22 * 22
    private static let inputs = encoded + flat
    /// Floats from one image's flattened h to the next: not a multiple of a page's size.
    private static let flatRow = flat + 16

    private static let overEncoded = Linear(inputs: encoded, outputs: hidden, weightStride: inputs)
    private static let overFlat = Linear(inputs: flat, outputs: hidden, weightStride: inputs)
    private static let l1 = Linear(inputs: hidden, outputs: hidden)
    private static let l2 = Linear(inputs: hidden, outputs: 1)

    /// Forward weights made ready once and kept: for inference.
    package final class Weights {
        private let c0, c1: ConvolutionWeights

        init(_ state: NetworkState) throws {
            c0 = try ConvolutionWeights(GlobalDiscriminator.c0, Convolution.algorithm(GlobalDiscriminator.c0, .forward))
            c1 = try ConvolutionWeights(GlobalDiscriminator.c1, Convolution.algorithm(GlobalDiscriminator.c1, .forward))
            c0.prepare(from: state.pointer("c0.weight"))
            c1.prepare(from: state.pointer("c1.weight"))
        }

        var source: WeightsSource { { name, _, _, _ in name == "c0" ? self.c0 : self.c1 } }
    }

    // MARK: Forward

    /// The part that depends on the image alone. features (n,8,676,16) blocked -> g0 (n,4,576,16), the flattened h
    /// (n, flatRow), and q = W_h h (n,512).
    private struct ImagePart {
        let g0, h, q: UnsafeMutablePointer<Float>

        init(
            _ state: NetworkState, _ source: WeightsSource, features: UnsafePointer<Float>, count n: Int,
            _ workspace: Workspace
        ) throws {
            g0 = try workspace.floats("global.g0", n * c0.outputSize)
            h = try workspace.floats("global.h", n * flatRow)
            q = try workspace.floats("global.q", n * hidden)
            let h = h
            try Convolution.forward(
                features, n: n, source("c0", c0, .forward, state.pointer("c0.weight")),
                Epilogue(bias: state.pointer("c0.bias"), relu: true), into: g0, workspace)
            let g1 = try workspace.floats("global.g1", n * c1.outputSize)
            try Convolution.forward(
                g0, n: n, source("c1", c1, .forward, state.pointer("c1.weight")),
                Epilogue(bias: state.pointer("c1.bias")), into: g1, workspace)
            ThreadPool.shared.parallel(n) { image, _ in
                BlockedLayout.unblock(
                    g1 + image * c1.outputSize, channels: 32, pixels: pixels, into: h + image * flatRow)
            }
            overFlat.forward(
                h, rows: n, stride: flatRow, weight: state.pointer("l0.weight") + encoded, bias: nil, into: q,
                stride: hidden, scratch: try workspace.floats("linear", overFlat.forwardScratch(rows: n)))
        }
    }

    /// encoded (n,64), features (n,8,676,16) blocked -> logits (n).
    static func forward(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>,
        count n: Int, logits: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws {
        let part = try ImagePart(state, source, features: features, count: n, workspace)
        let head = try Head(rows: n, workspace)
        let r = try encodedPart(state, encoded, count: n, workspace)
        for i in 0..<n {
            DimKernels.selected.addRelu(part.q + i * hidden, r + i * hidden, head.z0 + i * hidden, hidden)
        }
        head.forward(state)
        logits.update(from: head.logits, count: n)
    }

    /// r = W_y y + b, one row an image.
    private static func encodedPart(
        _ state: NetworkState, _ encoded: UnsafePointer<Float>, count n: Int, _ workspace: Workspace
    ) throws -> UnsafeMutablePointer<Float> {
        let r = try workspace.floats("global.r", n * hidden)
        overEncoded.forward(
            encoded, rows: n, stride: Self.encoded, weight: state.pointer("l0.weight"), bias: state.pointer("l0.bias"),
            into: r, stride: hidden, scratch: nil)
        return r
    }

    /// What follows l0: `z0` = relu(l0(...)) in, logits out.
    private struct Head {
        let rows: Int
        let z0, z1, logits: UnsafeMutablePointer<Float>

        init(rows: Int, _ workspace: Workspace) throws {
            self.rows = rows
            z0 = try workspace.floats("global.z0", rows * hidden)
            z1 = try workspace.floats("global.z1", rows * hidden)
            logits = try workspace.floats("global.logits", rows)
        }

        func forward(_ state: NetworkState) {
            l1.forward(
                z0, rows: rows, stride: hidden, weight: state.pointer("l1.weight"), bias: state.pointer("l1.bias"),
                into: z1, stride: hidden, relu: true, scratch: nil)
            l2.forward(
                z1, rows: rows, stride: hidden, weight: state.pointer("l2.weight"), bias: state.pointer("l2.bias"),
                into: logits, stride: 1, scratch: nil)
        }

        /// `logits` holds their gradient; leaves that of l0's output in `dz0`.
        func backward(_ state: NetworkState, _ gradients: Gradients, into dz0: UnsafeMutablePointer<Float>) {
            let kernels = DimKernels.selected
            l2.weightGradient(
                logits, stride: 1, z1, rows: rows, stride: hidden, into: gradients.pointer(.globalD, "l2.weight"),
                bias: gradients.pointer(.globalD, "l2.bias"))
            let w2 = state.pointer("l2.weight")
            for row in 0..<rows { kernels.reluOuterGradient(z1 + row * hidden, logits[row], w2, hidden) }
            l1.weightGradient(
                z1, stride: hidden, z0, rows: rows, stride: hidden, into: gradients.pointer(.globalD, "l1.weight"),
                bias: gradients.pointer(.globalD, "l1.bias"))
            l1.inputGradient(
                z1, rows: rows, stride: hidden, weight: state.pointer("l1.weight"), into: dz0, stride: hidden)
            kernels.reluGradient(z0, dz0, rows * hidden)
        }
    }

    // MARK: Objective, forward alone

    /// One block's share of the global term: softplus(-T(y_i, M_i)) and softplus(T(y_(i-1), M_i)) for each of its images.
    /// encoded (count + 1, 64): y of the image before the block, then the block's own. features (count,8,676,16).
    static func losses(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, positives: UnsafeMutablePointer<Double>,
        negatives: UnsafeMutablePointer<Double>, _ workspace: Workspace
    ) throws {
        let part = try ImagePart(state, source, features: features, count: n, workspace)
        let r = try encodedPart(state, encoded, count: n + 1, workspace)
        let head = try Head(rows: 2 * n, workspace)
        for i in 0..<n {
            let q = part.q + i * hidden
            DimKernels.selected.addRelu(q, r + (i + 1) * hidden, head.z0 + i * hidden, hidden)
            DimKernels.selected.addRelu(q, r + i * hidden, head.z0 + (n + i) * hidden, hidden)
        }
        head.forward(state)
        for i in 0..<n {
            positives[i] = Losses.softplus(-Double(head.logits[i]))
            negatives[i] = Losses.softplus(Double(head.logits[n + i]))
        }
    }

    // MARK: Objective, forward and backward

    /// The global term, mean softplus(-T(y,M)) + mean softplus(T(y,M')), and, scaled by `weight`, its gradients. Rows 0 ..< n
    /// are the true pairs (y_i, M_i), rows n ..< 2n the rotated ones (y_i, M_(i+1)).
    ///
    /// Adds to `encodedGradient` and writes `featuresGradient` (n,8,676,16).
    static func objective(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, weight: Double, gradients: Gradients,
        encodedGradient: UnsafeMutablePointer<Float>, featuresGradient: UnsafeMutablePointer<Float>,
        _ workspace: Workspace
    ) throws -> Double {
        let kernels = DimKernels.selected
        let part = try ImagePart(state, source, features: features, count: n, workspace)
        let r = try encodedPart(state, encoded, count: n, workspace)
        let head = try Head(rows: 2 * n, workspace)
        for i in 0..<n {
            let y = r + i * hidden
            kernels.addRelu(part.q + i * hidden, y, head.z0 + i * hidden, hidden)
            kernels.addRelu(part.q + (i + 1) % n * hidden, y, head.z0 + (n + i) * hidden, hidden)
        }
        head.forward(state)
        var loss = 0.0
        for row in 0..<2 * n {
            let sign = row < n ? -1.0 : 1.0
            let t = sign * Double(head.logits[row])
            loss += Losses.softplus(t)
            head.logits[row] = Float(sign * Losses.sigmoid(t) * weight / Double(n))
        }
        loss /= Double(n)

        let dz0 = try workspace.floats("global.dz0", 2 * n * hidden)
        head.backward(state, gradients, into: dz0)
        // l0: every image's h serves two rows, and so does every y.
        let dq = try workspace.floats("global.dq", n * hidden)
        dq.update(from: dz0, count: n * hidden)
        let dr = dz0
        for i in 0..<n {
            kernels.add(dz0 + (n + i) * hidden, dq + (i + 1) % n * hidden, hidden)
        }
        kernels.add(dz0 + n * hidden, dr, n * hidden)
        let dW0 = gradients.pointer(.globalD, "l0.weight")
        overEncoded.weightGradient(
            dr, stride: hidden, encoded, rows: n, stride: Self.encoded, into: dW0,
            bias: gradients.pointer(.globalD, "l0.bias"))
        overEncoded.inputGradient(
            dr, rows: n, stride: hidden, weight: state.pointer("l0.weight"), into: encodedGradient,
            stride: Self.encoded, accumulate: true)
        overFlat.weightGradient(
            dq, stride: hidden, part.h, rows: n, stride: flatRow, into: dW0 + Self.encoded, bias: nil)
        // h is not needed again: its gradient takes its place.
        overFlat.inputGradient(
            dq, rows: n, stride: hidden, weight: state.pointer("l0.weight") + Self.encoded, into: part.h,
            stride: flatRow)
        try convolutionsBackward(state, part, source, features, n, gradients, featuresGradient, workspace)
        return loss
    }

    /// part.h holds the gradient of the flattened h.
    private static func convolutionsBackward(
        _ state: NetworkState, _ part: ImagePart, _ source: WeightsSource, _ features: UnsafePointer<Float>, _ n: Int,
        _ gradients: Gradients, _ featuresGradient: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws {
        let dg1 = try workspace.floats("global.g1", n * c1.outputSize)
        ThreadPool.shared.parallel(n) { image, _ in
            BlockedLayout.block(
                part.h + image * flatRow, channels: 32, pixels: pixels, into: dg1 + image * c1.outputSize)
        }
        try weightGradient("c1", c1, input: part.g0, dg1)
        let dg0 = try workspace.floats("global.dg0", n * c0.outputSize)
        try Convolution.dataGradient(
            dg1, n: n, source("c1", c1, .dataGradient, state.pointer("c1.weight")), into: dg0, workspace)
        let size = c0.outputSize
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.reluGradient(part.g0 + image * size, dg0 + image * size, size)
        }
        try weightGradient("c0", c0, input: features, dg0)
        try Convolution.dataGradient(
            dg0, n: n, source("c0", c0, .dataGradient, state.pointer("c0.weight")), into: featuresGradient, workspace)

        func weightGradient(
            _ name: String, _ shape: ConvolutionShape, input: UnsafePointer<Float>, _ dy: UnsafePointer<Float>
        ) throws {
            try Convolution.weightGradient(
                shape, Convolution.algorithm(shape, .forward), n: n, input: input, outputGradient: dy,
                into: gradients.pointer(.globalD, name + ".weight"), accumulate: true, workspace)
            Convolution.biasGradient(
                shape, n: n, outputGradient: dy, into: gradients.pointer(.globalD, name + ".bias"), accumulate: true)
        }
    }
}
