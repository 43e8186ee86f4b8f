import DimKernels
import DimLayers
import DimTensor

/// Tells at each of the 26x26 cells whether `encoded` and `features` come from one image (notebook, class LocalDiscriminator):
/// three 1x1 convolutions over cat(features, encoded).
///
/// c0 factors: with its weight cut into W_M (over features) and W_y (over encoded), c0(cat(M, y)) = W_M M + (W_y y + b). The
/// bracket, `p` below, is one vector an image instead of one a cell, and W_M M serves the true and the rotated pair.
/// Nothing couples the cells but the mean of the loss, so forward and backward run over blocks of cells whose hidden
/// activations stay in the cache. See docs/training.md.
package struct LocalDiscriminator {
    static let cells = 26 * 26
    static let features = 128
    static let encoded = 64
    static let hidden = 512
    static let inputs = features + encoded

    /// Cells of one block: a multiple of every GEMM tile's rows that keeps four hidden activations near the core.
    private static let block = 130
    /// Floats from one cell's hidden activation to the next: not a power of two, which would map all rows to few cache sets.
    private static let row = hidden + 16
    private static let blockedPlane = cells * BlockedLayout.block

    /// c0's feature part and c1, packed for the forward pass.
    package final class Weights {
        let c0: Buffer
        let c1: Buffer

        init() throws {
            c0 = try Buffer(uninitialized: Packing.count(depth: features, columns: hidden))
            c1 = try Buffer(uninitialized: Packing.count(depth: hidden, columns: hidden))
        }

        func prepare(_ state: NetworkState) {
            Packing.packTransposed(
                state.pointer("c0.weight"), stride: inputs, depth: features, columns: hidden, into: c0.pointer)
            Packing.packTransposed(
                state.pointer("c1.weight"), stride: hidden, depth: hidden, columns: hidden, into: c1.pointer)
        }

        convenience init(_ state: NetworkState) throws {
            try self.init()
            prepare(state)
        }
    }

    /// c0's and c1's weights packed for the data gradient.
    package final class GradientWeights {
        let c0: Buffer
        let c1: Buffer

        init() throws {
            c0 = try Buffer(uninitialized: Packing.count(depth: hidden, columns: features))
            c1 = try Buffer(uninitialized: Packing.count(depth: hidden, columns: hidden))
        }

        func prepare(_ state: NetworkState) {
            Packing.packRows(
                state.pointer("c0.weight"), stride: inputs, depth: hidden, columns: features, into: c0.pointer)
            Packing.packRows(
                state.pointer("c1.weight"), stride: hidden, depth: hidden, columns: hidden, into: c1.pointer)
        }
    }

    // MARK: Forward

    /// encoded (n,64), features (n,128,26,26) in planes -> logits (n,26,26).
    static func forward(
        _ state: NetworkState, _ weights: Weights, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>,
        count n: Int, logits: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws {
        let pool = ThreadPool.shared
        let workers = pool.threads
        let p = try workspace.floats("local.p", n * hidden)
        let blocked = try workspace.floats("local.features", workers * cells * Self.features)
        let scratch = try workspace.floats("local.hidden", workers * 2 * block * row)
        encodedPart(state, encoded, count: n, into: p)
        pool.parallel(n, workers: workers) { image, worker in
            let m = blocked + worker * cells * Self.features
            let h0 = scratch + worker * 2 * block * row
            let h1 = h0 + block * row
            BlockedLayout.block(
                features + image * Self.features * cells, channels: Self.features, pixels: cells, into: m)
            var from = 0
            while from < cells {
                let rows = min(block, cells - from)
                featurePart(weights, m + from * 16, rows, bias: p + image * hidden, relu: true, into: h0)
                score(state, weights, h0, rows, h1, logits + image * cells + from)
                from += rows
            }
        }
    }

    /// p = W_y y + b, one row an image.
    private static func encodedPart(
        _ state: NetworkState, _ encoded: UnsafePointer<Float>, count n: Int, into p: UnsafeMutablePointer<Float>
    ) {
        Linear(inputs: Self.encoded, outputs: hidden, weightStride: inputs).forward(
            encoded, rows: n, stride: Self.encoded, weight: state.pointer("c0.weight") + Self.features,
            bias: state.pointer("c0.bias"), into: p, stride: hidden, scratch: nil)
    }

    /// W_M M for a block of cells, with p and ReLU where given. m: blocked features from the block's first cell on.
    private static func featurePart(
        _ weights: Weights, _ m: UnsafePointer<Float>, _ rows: Int, bias: UnsafePointer<Float>?, relu: Bool,
        into h: UnsafeMutablePointer<Float>
    ) {
        DimKernels.selected.gemm(
            Gemm(
                rows: rows, columns: hidden, depth: features, a: m, aRow: 16, aBlock: blockedPlane,
                b: weights.c0.pointer, c: h, cRow: row, bias: bias, relu: relu))
    }

    /// h1 = relu(c1(h0)), logits = c2(h1).
    private static func score(
        _ state: NetworkState, _ weights: Weights, _ h0: UnsafePointer<Float>, _ rows: Int,
        _ h1: UnsafeMutablePointer<Float>, _ logits: UnsafeMutablePointer<Float>
    ) {
        let kernels = DimKernels.selected
        kernels.gemm(
            Gemm(
                rows: rows, columns: hidden, depth: hidden, a: h0, aRow: row, b: weights.c1.pointer, c: h1, cRow: row,
                bias: state.pointer("c1.bias"), relu: true))
        kernels.gemmNT(
            GemmNT(
                rows: rows, columns: 1, depth: hidden, a: h1, aRow: row, b: state.pointer("c2.weight"), bRow: hidden,
                c: logits, cRow: 1))
        let bias = state.pointer("c2.bias")[0]
        for cell in 0..<rows { logits[cell] += bias }
    }

    // MARK: Objective, forward and backward

    /// The gradients of the local term. The sums over images run in `groups` of images that depend on n alone, each with
    /// accumulators of its own, added in order at the end.
    private static let groups = 8

    /// The local term, mean softplus(-T(y,M)) + mean softplus(T(y,M')), and, scaled by `weight`, its gradients.
    ///
    /// features: (n,8,676,16) blocked, shared by both pairs: image i's cells are the positives of y_i and the negatives of
    /// y_(i-1). Without `gradients` only the loss is computed.
    static func objective(
        _ state: NetworkState, _ weights: Weights, _ gradientWeights: GradientWeights?, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, weight: Double, gradients: Gradients?,
        encodedGradient: UnsafeMutablePointer<Float>?, featuresGradient: UnsafeMutablePointer<Float>?,
        _ workspace: Workspace
    ) throws -> Double {
        let pool = ThreadPool.shared
        let p = try workspace.floats("local.p", n * hidden)
        encodedPart(state, encoded, count: n, into: p)
        let groups = min(n, Self.groups)
        let workers = min(pool.threads, groups)
        let scratch = try workspace.floats("local.hidden", workers * Scratch.count)
        let sums = gradients == nil ? nil : try workspace.floats("local.sums", groups * GroupSums.count)
        let dp = gradients == nil ? nil : try workspace.floats("local.dp", 2 * n * hidden)
        let losses = try DoubleBuffer(zeros: n)
        pool.parallel(groups, workers: workers) { group, worker in
            let scratch = Scratch(scratch + worker * Scratch.count)
            let sums = sums.map { GroupSums($0 + group * GroupSums.count) }
            sums?.clear()
            for image in group * n / groups..<(group + 1) * n / groups {
                let pass = ImagePass(
                    state: state, weights: weights, gradientWeights: gradientWeights,
                    m: features + image * cells * Self.features,
                    positive: p + image * hidden, negative: p + (image + n - 1) % n * hidden,
                    scale: weight / Double(n * cells), sums: sums,
                    dPositive: dp.map { $0 + image * hidden }, dNegative: dp.map { $0 + (n + image) * hidden },
                    dm: featuresGradient.map { $0 + image * cells * Self.features }, scratch: scratch)
                losses.pointer[image] = pass.run()
            }
        }
        if let gradients, let sums, let dp, let encodedGradient {
            collect(state, gradients, sums, groups)
            encodedBackward(state, gradients, dp, encoded: encoded, count: n, into: encodedGradient)
        }
        var total = 0.0
        for image in 0..<n { total += losses.pointer[image] }
        return total / Double(n * cells)
    }

    /// Adds the groups' sums to the gradients, in order.
    private static func collect(
        _ state: NetworkState, _ gradients: Gradients, _ sums: UnsafeMutablePointer<Float>, _ groups: Int
    ) {
        let kernels = DimKernels.selected
        let c0 = gradients.pointer(.localD, "c0.weight")
        let c1 = gradients.pointer(.localD, "c1.weight")
        ThreadPool.shared.parallel(hidden) { out, _ in
            for group in 0..<groups {
                let sum = GroupSums(sums + group * GroupSums.count)
                kernels.add(sum.c0 + out * Self.features, c0 + out * inputs, Self.features)
                kernels.add(sum.c1 + out * hidden, c1 + out * hidden, hidden)
            }
        }
        for group in 0..<groups {
            let sum = GroupSums(sums + group * GroupSums.count)
            kernels.add(sum.c1Bias, gradients.pointer(.localD, "c1.bias"), hidden)
            kernels.add(sum.c2, gradients.pointer(.localD, "c2.weight"), hidden)
            kernels.add(sum.c2Bias, gradients.pointer(.localD, "c2.bias"), 1)
        }
    }

    /// From the gradients of p in both uses to those of W_y, c0's bias and y.
    private static func encodedBackward(
        _ state: NetworkState, _ gradients: Gradients, _ dp: UnsafeMutablePointer<Float>, encoded: UnsafePointer<Float>,
        count n: Int, into encodedGradient: UnsafeMutablePointer<Float>
    ) {
        let kernels = DimKernels.selected
        for i in 0..<n { kernels.add(dp + (n + (i + 1) % n) * hidden, dp + i * hidden, hidden) }
        let linear = Linear(inputs: Self.encoded, outputs: hidden, weightStride: inputs)
        linear.weightGradient(
            dp, stride: hidden, encoded, rows: n, stride: Self.encoded,
            into: gradients.pointer(.localD, "c0.weight") + Self.features, bias: gradients.pointer(.localD, "c0.bias"))
        linear.inputGradient(
            dp, rows: n, stride: hidden, weight: state.pointer("c0.weight") + Self.features,
            into: encodedGradient, stride: Self.encoded, accumulate: true)
    }

    /// One worker's hidden activations of a block of cells.
    private struct Scratch {
        static let count = 4 * block * row + 2 * block
        let a, h0, h1, da, logits: UnsafeMutablePointer<Float>

        init(_ base: UnsafeMutablePointer<Float>) {
            a = base
            h0 = base + block * row
            h1 = base + 2 * block * row
            da = base + 3 * block * row
            logits = base + 4 * block * row
        }
    }

    /// One group's sums over its images.
    private struct GroupSums {
        static let count = hidden * (features + hidden + 2) + 16
        let c0, c1, c1Bias, c2, c2Bias: UnsafeMutablePointer<Float>

        init(_ base: UnsafeMutablePointer<Float>) {
            c0 = base
            c1 = c0 + hidden * features
            c1Bias = c1 + hidden * hidden
            c2 = c1Bias + hidden
            c2Bias = c2 + hidden
        }

        func clear() { c0.update(repeating: 0, count: GroupSums.count) }
    }

    /// Both pairs of one image, block after block of cells.
    private struct ImagePass {
        let state: NetworkState
        let weights: Weights
        let gradientWeights: GradientWeights?
        let m: UnsafePointer<Float>
        let positive: UnsafePointer<Float>
        let negative: UnsafePointer<Float>
        /// Of one cell in the mean, times the term's weight.
        let scale: Double
        let sums: GroupSums?
        let dPositive: UnsafeMutablePointer<Float>?
        let dNegative: UnsafeMutablePointer<Float>?
        let dm: UnsafeMutablePointer<Float>?
        let scratch: Scratch

        /// The sum of both softplus over the cells.
        func run() -> Double {
            dPositive?.update(repeating: 0, count: hidden)
            dNegative?.update(repeating: 0, count: hidden)
            var loss = 0.0
            var from = 0
            while from < cells {
                let rows = min(block, cells - from)
                featurePart(weights, m + from * 16, rows, bias: nil, relu: false, into: scratch.a)
                loss += pair(rows, positive, sign: -1, gradient: scratch.da, dp: dPositive)
                loss += pair(rows, negative, sign: 1, gradient: scratch.a, dp: dNegative)
                if let sums, let dm { featureBackward(rows, from, sums, dm) }
                from += rows
            }
            return loss
        }

        /// One pair: softplus(sign * T) summed over the block. With gradients, leaves that of W_M M in `gradient`.
        private func pair(
            _ rows: Int, _ p: UnsafePointer<Float>, sign: Double, gradient: UnsafeMutablePointer<Float>,
            dp: UnsafeMutablePointer<Float>?
        ) -> Double {
            let kernels = DimKernels.selected
            let (h0, h1, logits) = (scratch.h0, scratch.h1, scratch.logits)
            for cell in 0..<rows { kernels.addRelu(scratch.a + cell * row, p, h0 + cell * row, hidden) }
            score(state, weights, h0, rows, h1, logits)
            var loss = 0.0
            for cell in 0..<rows {
                let t = sign * Double(logits[cell])
                loss += Losses.softplus(t)
                logits[cell] = Float(sign * Losses.sigmoid(t) * scale)
            }
            guard let sums, let gradientWeights, let dp else { return loss }
            // c2, and the ReLU below it: h1 becomes its gradient.
            kernels.gemm(
                Gemm(
                    rows: 1, columns: hidden, depth: rows, a: logits, aRow: rows, b: h1, bRow: row, bPanel: 32,
                    c: sums.c2, cRow: hidden, accumulate: true))
            kernels.addColumnSums(logits, rows, 1, 1, sums.c2Bias)
            let c2 = state.pointer("c2.weight")
            for cell in 0..<rows { kernels.reluOuterGradient(h1 + cell * row, logits[cell], c2, hidden) }
            // c1
            kernels.gemm(
                Gemm(
                    rows: hidden, columns: hidden, depth: rows, a: h1, aRow: 1, aStep: row, aBlock: 16 * row,
                    b: h0, bRow: row, bPanel: 32, c: sums.c1, cRow: hidden, accumulate: true))
            kernels.addColumnSums(h1, rows, row, hidden, sums.c1Bias)
            kernels.gemm(
                Gemm(
                    rows: rows, columns: hidden, depth: hidden, a: h1, aRow: row, b: gradientWeights.c1.pointer,
                    c: gradient, cRow: row))
            for cell in 0..<rows { kernels.reluGradient(h0 + cell * row, gradient + cell * row, hidden) }
            kernels.addColumnSums(gradient, rows, row, hidden, dp)
            return loss
        }

        /// c0's feature part: `da` and `a` hold the gradients of W_M M from the two pairs.
        private func featureBackward(_ rows: Int, _ from: Int, _ sums: GroupSums, _ dm: UnsafeMutablePointer<Float>) {
            let kernels = DimKernels.selected
            let da = scratch.da
            for cell in 0..<rows { kernels.add(scratch.a + cell * row, da + cell * row, hidden) }
            kernels.gemm(
                Gemm(
                    rows: hidden, columns: features, depth: rows, a: da, aRow: 1, aStep: row, aBlock: 16 * row,
                    b: m + from * 16, bRow: 16, bHalf: blockedPlane, bPanel: 2 * blockedPlane,
                    c: sums.c0, cRow: features, accumulate: true))
            kernels.gemm(
                Gemm(
                    rows: rows, columns: features, depth: hidden, a: da, aRow: row, b: gradientWeights!.c0.pointer,
                    c: dm + from * 16, cRow: 16, cHalf: blockedPlane, accumulate: true))
        }
    }
}
