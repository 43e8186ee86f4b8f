import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

/// Scores whether `encoded` and `features` come from one image (notebook, class GlobalDiscriminator): two 3x3
/// convolutions over the features, then three linear layers over cat(encoded, h).
///
/// l0 factors as the local discriminator's c0 does: with its weight cut into W_y (the first 64 columns) and W_h,
/// l0(cat(y, h)) = W_h h + (W_y y + b). The convolutions and W_h h run once an image and serve both pairs.
package enum FusedGlobalDiscriminator {
    private static let ids = ParameterIDs(Architecture.notebook.parameters(of: .globalD))
    static let convolutions = [
        ConvolutionShape(inputChannels: 128, outputChannels: 64, kernel: 3, inputHeight: 26, inputWidth: 26),
        ConvolutionShape(inputChannels: 64, outputChannels: 32, kernel: 3, inputHeight: 24, inputWidth: 24),
    ].enumerated().map { FusedConvolution($0, $1, ids) }
    private static let (c0, c1) = (convolutions[0], convolutions[1])
    private static let (l0IDs, l1IDs, l2IDs) = (LayerIDs(ids, "l0"), LayerIDs(ids, "l1"), LayerIDs(ids, "l2"))
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

    // MARK: Forward

    /// The part that depends on the image alone. features (n,8,676,16) blocked -> g0 (n,4,576,16), the flattened h
    /// (n, flatRow), and q = W_h h (n,512).
    private struct ImagePart {
        let g0, h, q: UnsafeMutablePointer<Float>

        init(
            _ state: NetworkState, _ source: WeightsSource, features: UnsafePointer<Float>, count n: Int,
            _ arena: Arena
        ) throws {
            g0 = try arena.floats(.g0, n * c0.shape.outputSize)
            h = try arena.floats(.globalFlat, n * flatRow)
            q = try arena.floats(.globalFeaturePart, n * hidden)
            let h = h
            try Convolution.forward(
                features, n: n, source(c0, .forward, state.pointer(c0.weight)),
                Epilogue(bias: state.pointer(c0.bias), relu: true), into: g0, arena.scratch)
            let g1 = try arena.floats(.g1, n * c1.shape.outputSize)
            try Convolution.forward(
                g0, n: n, source(c1, .forward, state.pointer(c1.weight)),
                Epilogue(bias: state.pointer(c1.bias)), into: g1, arena.scratch)
            ThreadPool.shared.parallel(n) { image, _ in
                BlockedLayout.unblock(
                    g1 + image * c1.shape.outputSize, channels: 32, pixels: pixels, into: h + image * flatRow)
            }
            overFlat.forward(
                h, rows: n, stride: flatRow, weight: state.pointer(l0IDs.weight) + encoded, bias: nil, into: q,
                stride: hidden, scratch: try arena.floats(.linearScratch, overFlat.forwardScratch(rows: n)))
        }
    }

    /// encoded (n,64), features (n,8,676,16) blocked -> logits (n).
    package static func forward(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>,
        count n: Int, logits: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let part = try ImagePart(state, source, features: features, count: n, arena)
        let head = try Head(rows: n, arena)
        let r = try encodedPart(state, encoded, count: n, arena)
        for i in 0..<n {
            DimKernels.selected.addRelu(part.q + i * hidden, r + i * hidden, head.z0 + i * hidden, hidden)
        }
        head.forward(state)
        logits.update(from: head.logits, count: n)
    }

    /// r = W_y y + b, one row an image.
    private static func encodedPart(
        _ state: NetworkState, _ encoded: UnsafePointer<Float>, count n: Int, _ arena: Arena
    ) throws -> UnsafeMutablePointer<Float> {
        let r = try arena.floats(.globalEncodedPart, n * hidden)
        overEncoded.forward(
            encoded, rows: n, stride: Self.encoded, weight: state.pointer(l0IDs.weight),
            bias: state.pointer(l0IDs.bias),
            into: r, stride: hidden, scratch: nil)
        return r
    }

    /// What follows l0: `z0` = relu(l0(...)) in, logits out.
    private struct Head {
        let rows: Int
        let z0, z1, logits: UnsafeMutablePointer<Float>

        init(rows: Int, _ arena: Arena) throws {
            self.rows = rows
            z0 = try arena.floats(.globalZ0, rows * hidden)
            z1 = try arena.floats(.globalZ1, rows * hidden)
            logits = try arena.floats(.globalLogits, rows)
        }

        func forward(_ state: NetworkState) {
            l1.forward(
                z0, rows: rows, stride: hidden, weight: state.pointer(l1IDs.weight), bias: state.pointer(l1IDs.bias),
                into: z1, stride: hidden, relu: true, scratch: nil)
            l2.forward(
                z1, rows: rows, stride: hidden, weight: state.pointer(l2IDs.weight), bias: state.pointer(l2IDs.bias),
                into: logits, stride: 1, scratch: nil)
        }

        /// `logits` holds their gradient; leaves that of l0's output in `dz0`.
        func backward(_ state: NetworkState, _ gradients: any GradientTarget, into dz0: UnsafeMutablePointer<Float>) {
            let kernels = DimKernels.selected
            l2.weightGradient(
                logits, stride: 1, z1, rows: rows, stride: hidden, into: gradients.pointer(.globalD, l2IDs.weight),
                bias: gradients.pointer(.globalD, l2IDs.bias))
            let w2 = state.pointer(l2IDs.weight)
            for row in 0..<rows { kernels.reluOuterGradient(z1 + row * hidden, logits[row], w2, hidden) }
            l1.weightGradient(
                z1, stride: hidden, z0, rows: rows, stride: hidden, into: gradients.pointer(.globalD, l1IDs.weight),
                bias: gradients.pointer(.globalD, l1IDs.bias))
            l1.inputGradient(
                z1, rows: rows, stride: hidden, weight: state.pointer(l1IDs.weight), into: dz0, stride: hidden)
            kernels.reluGradient(z0, dz0, rows * hidden)
        }
    }

    // MARK: Objective, forward alone

    /// One block's share of the global term: softplus(-T(y_i, M_i)) and softplus(T(y_(i-1), M_i)) for each of its images.
    /// encoded (count + 1, 64): y of the image before the block, then the block's own. features (count,8,676,16).
    package static func losses(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, positives: UnsafeMutablePointer<Double>,
        negatives: UnsafeMutablePointer<Double>, _ arena: Arena
    ) throws {
        let part = try ImagePart(state, source, features: features, count: n, arena)
        let r = try encodedPart(state, encoded, count: n + 1, arena)
        let head = try Head(rows: 2 * n, arena)
        for i in 0..<n {
            let q = part.q + i * hidden
            DimKernels.selected.addRelu(q, r + (i + 1) * hidden, head.z0 + i * hidden, hidden)
            DimKernels.selected.addRelu(q, r + i * hidden, head.z0 + (n + i) * hidden, hidden)
        }
        head.forward(state)
        for i in 0..<n {
            positives[i] = Logistic.softplus(-Double(head.logits[i]))
            negatives[i] = Logistic.softplus(Double(head.logits[n + i]))
        }
    }

    // MARK: Objective, forward and backward

    /// The global term, mean softplus(-T(y,M)) + mean softplus(T(y,M')), and, scaled by `weight`, its gradients. Rows 0 ..< n
    /// are the true pairs (y_i, M_i), rows n ..< 2n the rotated ones (y_i, M_(i+1)).
    ///
    /// Adds to `encodedGradient` and writes `featuresGradient` (n,8,676,16).
    package static func objective(
        _ state: NetworkState, _ source: WeightsSource, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, weight: Double, gradients: any GradientTarget,
        encodedGradient: UnsafeMutablePointer<Float>, featuresGradient: UnsafeMutablePointer<Float>,
        _ arena: Arena
    ) throws -> Double {
        let kernels = DimKernels.selected
        let part = try ImagePart(state, source, features: features, count: n, arena)
        let r = try encodedPart(state, encoded, count: n, arena)
        let head = try Head(rows: 2 * n, arena)
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
            loss += Logistic.softplus(t)
            head.logits[row] = Float(sign * Logistic.sigmoid(t) * weight / Double(n))
        }
        loss /= Double(n)

        let dz0 = try arena.floats(.globalZ0Gradient, 2 * n * hidden)
        head.backward(state, gradients, into: dz0)
        // l0: every image's h serves two rows, and so does every y.
        let dq = try arena.floats(.globalFeaturePartGradient, n * hidden)
        dq.update(from: dz0, count: n * hidden)
        let dr = dz0
        for i in 0..<n {
            kernels.add(dz0 + (n + i) * hidden, dq + (i + 1) % n * hidden, hidden)
        }
        kernels.add(dz0 + n * hidden, dr, n * hidden)
        let dW0 = gradients.pointer(.globalD, l0IDs.weight)
        overEncoded.weightGradient(
            dr, stride: hidden, encoded, rows: n, stride: Self.encoded, into: dW0,
            bias: gradients.pointer(.globalD, l0IDs.bias))
        overEncoded.inputGradient(
            dr, rows: n, stride: hidden, weight: state.pointer(l0IDs.weight), into: encodedGradient,
            stride: Self.encoded, accumulate: true)
        overFlat.weightGradient(
            dq, stride: hidden, part.h, rows: n, stride: flatRow, into: dW0 + Self.encoded, bias: nil)
        // h is not needed again: its gradient takes its place.
        overFlat.inputGradient(
            dq, rows: n, stride: hidden, weight: state.pointer(l0IDs.weight) + Self.encoded, into: part.h,
            stride: flatRow)
        try convolutionsBackward(state, part, source, features, n, gradients, featuresGradient, arena)
        return loss
    }

    /// part.h holds the gradient of the flattened h.
    private static func convolutionsBackward(
        _ state: NetworkState, _ part: ImagePart, _ source: WeightsSource, _ features: UnsafePointer<Float>, _ n: Int,
        _ gradients: any GradientTarget, _ featuresGradient: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let dg1 = try arena.floats(.g1, n * c1.shape.outputSize)
        ThreadPool.shared.parallel(n) { image, _ in
            BlockedLayout.block(
                part.h + image * flatRow, channels: 32, pixels: pixels, into: dg1 + image * c1.shape.outputSize)
        }
        try weightGradient(c1, input: part.g0, dg1)
        let dg0 = try arena.floats(.g0Gradient, n * c0.shape.outputSize)
        try Convolution.dataGradient(
            dg1, n: n, source(c1, .dataGradient, state.pointer(c1.weight)), into: dg0, arena.scratch)
        let size = c0.shape.outputSize
        ThreadPool.shared.parallel(n) { image, _ in
            DimKernels.selected.reluGradient(part.g0 + image * size, dg0 + image * size, size)
        }
        try weightGradient(c0, input: features, dg0)
        try Convolution.dataGradient(
            dg0, n: n, source(c0, .dataGradient, state.pointer(c0.weight)), into: featuresGradient, arena.scratch)

        func weightGradient(
            _ layer: FusedConvolution, input: UnsafePointer<Float>, _ dy: UnsafePointer<Float>
        ) throws {
            try Convolution.weightGradient(
                layer.shape, Convolution.algorithm(layer.shape, .forward), n: n, input: input, outputGradient: dy,
                into: gradients.pointer(.globalD, layer.weight), accumulate: true, arena.scratch)
            Convolution.biasGradient(
                layer.shape, n: n, outputGradient: dy, into: gradients.pointer(.globalD, layer.bias), accumulate: true)
        }
    }
}
