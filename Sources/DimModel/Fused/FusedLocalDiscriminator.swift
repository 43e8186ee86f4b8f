import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

/// Scores at each of the 26x26 locations whether `encoded` and `features` come from one image (notebook, class
/// LocalDiscriminator): three 1x1 convolutions over cat(features, encoded).
///
/// c0 factors: with its weight cut into W_M (over features) and W_y (over encoded), c0(cat(M, y)) = W_M M + (W_y y + b). The
/// bracket, `p` below, is one vector per image instead of one per location, and W_M M serves the true and the rotated
/// pair. Locations ("cells" in this file) are coupled only by the mean of the loss, so forward and backward run over
/// blocks of cells whose hidden activations stay in the cache. See docs/training.md.
package enum FusedLocalDiscriminator {
    private static let ids = ParameterIDs(Architecture.notebook.parameters(of: .localD))
    private static let (c0IDs, c1IDs, c2IDs) = (LayerIDs(ids, "c0"), LayerIDs(ids, "c1"), LayerIDs(ids, "c2"))
    package static let cells = 26 * 26
    static let features = 128
    static let encoded = 64
    static let hidden = 512
    static let inputs = features + encoded

    /// Cells of one block: a multiple of the GEMM tiles' rows (13 or 6), as are its halves nearly, and those of the last block.
    private static let block = 104
    /// The same where both pairs' activations are at work.
    private static let pairBlock = 52
    /// Floats from one cell's hidden activation to the next: not a power of two, which would map all rows to few cache sets.
    private static let row = hidden + 16
    private static let blockedPlane = cells * BlockedLayout.block

    /// c0's feature part and c1, made ready for the forward pass.
    package final class Weights {
        let c0: Buffer
        let c1: HiddenWeights
        let precision: Precision

        package init(_ precision: Precision = .float32) throws {
            self.precision = precision
            c0 = try Buffer(uninitialized: Packing.count(depth: features, columns: hidden))
            c1 = try HiddenWeights(precision)
        }

        package func prepare(_ state: NetworkState) throws {
            Packing.packTransposed(
                state.pointer(c0IDs.weight), stride: inputs, depth: features, columns: hidden, into: c0.pointer)
            if precision == .mixed { MixedProducts.round(c0.pointer, depth: features, columns: hidden) }
            try c1.prepare(state.pointer(c1IDs.weight), transposed: true)
        }

        package convenience init(_ state: NetworkState) throws {
            try self.init()
            try prepare(state)
        }
    }

    /// c0's and c1's weights made ready for the data gradient.
    package final class GradientWeights {
        let c0: Buffer
        let c1: HiddenWeights
        private let precision: Precision

        package init(_ precision: Precision = .float32) throws {
            self.precision = precision
            c0 = try Buffer(uninitialized: Packing.count(depth: hidden, columns: features))
            c1 = try HiddenWeights(precision)
        }

        package func prepare(_ state: NetworkState) throws {
            Packing.packRows(
                state.pointer(c0IDs.weight), stride: inputs, depth: hidden, columns: features, into: c0.pointer)
            if precision == .mixed { MixedProducts.round(c0.pointer, depth: hidden, columns: features) }
            try c1.prepare(state.pointer(c1IDs.weight), transposed: false)
        }
    }

    /// c1's weights in one of the two directions: a square product, by Strassen's algorithm or with terms of bfloat16.
    final class HiddenWeights {
        private enum Kind { case strassen(StrassenWeights), mixed(Buffer) }
        private let kind: Kind

        init(_ precision: Precision) throws {
            kind =
                precision == .mixed
                ? .mixed(try Buffer(uninitialized: hidden * hidden))
                : .strassen(try StrassenWeights(depth: hidden, columns: hidden))
        }

        func prepare(_ weight: UnsafePointer<Float>, transposed: Bool) throws {
            switch kind {
            case .strassen(let weights): try weights.prepare(weight, transposed: transposed)
            case .mixed(let packed):
                let pack = transposed ? Packing.packTransposed : Packing.packRows
                pack(weight, hidden, hidden, hidden, packed.pointer)
                MixedProducts.round(packed.pointer, depth: hidden, columns: hidden)
            }
        }

        /// Floats of scratch memory that a product with `rows` rows takes.
        func scratch(rows: Int) -> Int {
            switch kind {
            case .strassen(let weights): weights.scratch(rows: rows)
            case .mixed: MixedProducts.scratch(rows: rows, depth: hidden)
            }
        }

        /// C = A B, then the epilogue's bias and ReLU. A's rows are even.
        func multiply(
            _ a: StoredMatrix, into c: StoredMatrix, _ epilogue: Epilogue = Epilogue(),
            scratch: UnsafeMutablePointer<Float>
        ) {
            switch kind {
            case .strassen(let weights): weights.multiply(a, into: c, epilogue, scratch: scratch)
            case .mixed(let packed):
                MixedProducts.multiply(
                    Gemm(
                        rows: a.rows, columns: hidden, depth: hidden, a: a.pointer, aRow: a.stride, b: packed.pointer,
                        c: c.pointer, cRow: c.stride, bias: epilogue.bias, relu: epilogue.relu),
                    scratch: scratch)
            }
        }
    }

    // MARK: Forward

    /// encoded (n,64), features (n,128,26,26) in planes -> logits (n,26,26).
    package static func forward(
        _ state: NetworkState, _ weights: Weights, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>,
        count n: Int, logits: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let pool = ThreadPool.shared
        let workers = pool.threads
        let p = try arena.floats(.localEncoded, n * hidden)
        let blocked = try arena.floats(.localFeatures, workers * cells * Self.features)
        let each = 2 * block * row + weights.c1.scratch(rows: block)
        let scratch = try arena.floats(.localHidden, workers * each)
        encodedPart(state, encoded, count: n, into: p)
        pool.parallel(n, workers: workers) { image, worker in
            let m = blocked + worker * cells * Self.features
            let h0 = scratch + worker * each
            let h1 = h0 + block * row
            BlockedLayout.block(
                features + image * Self.features * cells, channels: Self.features, pixels: cells, into: m)
            var from = 0
            while from < cells {
                let rows = min(block, cells - from)
                featurePart(
                    weights, m + from * 16, rows, bias: p + image * hidden, relu: true, into: h0,
                    scratch: h1 + block * row)
                score(state, weights, h0, rows, h1, logits + image * cells + from, scratch: h1 + block * row)
                from += rows
            }
        }
    }

    /// p = W_y y + b, one row an image.
    private static func encodedPart(
        _ state: NetworkState, _ encoded: UnsafePointer<Float>, count n: Int, into p: UnsafeMutablePointer<Float>
    ) {
        Linear(inputs: Self.encoded, outputs: hidden, weightStride: inputs).forward(
            encoded, rows: n, stride: Self.encoded, weight: state.pointer(c0IDs.weight) + Self.features,
            bias: state.pointer(c0IDs.bias), into: p, stride: hidden, scratch: nil)
    }

    /// W_M M for a block of cells, with p and ReLU where given. m: blocked features from the block's first cell on.
    private static func featurePart(
        _ weights: Weights, _ m: UnsafePointer<Float>, _ rows: Int, bias: UnsafePointer<Float>?, relu: Bool,
        into h: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        let product = Gemm(
            rows: rows, columns: hidden, depth: features, a: m, aRow: 16, aBlock: blockedPlane,
            b: weights.c0.pointer, c: h, cRow: row, bias: bias, relu: relu)
        if weights.precision == .mixed {
            MixedProducts.multiply(product, scratch: scratch)
        } else {
            DimKernels.selected.gemm(product)
        }
    }

    /// A hidden activation of `rows` cells.
    private static func activation(_ h: UnsafeMutablePointer<Float>, _ rows: Int) -> StoredMatrix {
        StoredMatrix(h, rows: rows, columns: hidden, stride: row)
    }

    /// h1 = relu(c1(h0)), logits = c2(h1).
    private static func score(
        _ state: NetworkState, _ weights: Weights, _ h0: UnsafeMutablePointer<Float>, _ rows: Int,
        _ h1: UnsafeMutablePointer<Float>, _ logits: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        weights.c1.multiply(
            activation(h0, rows), into: activation(h1, rows),
            Epilogue(bias: state.pointer(c1IDs.bias), relu: true), scratch: scratch)
        DimKernels.selected.gemmNT(
            GemmNT(
                rows: rows, columns: 1, depth: hidden, a: h1, aRow: row, b: state.pointer(c2IDs.weight), bRow: hidden,
                c: logits, cRow: 1))
        let bias = state.pointer(c2IDs.bias)[0]
        for cell in 0..<rows { logits[cell] += bias }
    }

    // MARK: Objective, forward alone

    /// One block's share of the local term: for each of its images the sum over the cells of softplus(-T(y_i, M_i)) and
    /// softplus(T(y_(i-1), M_i)). encoded (count + 1, 64): y of the image before the block, then the block's own.
    /// features (count,8,676,16).
    package static func losses(
        _ state: NetworkState, _ weights: Weights, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>,
        count n: Int, into losses: UnsafeMutablePointer<Double>, _ arena: Arena
    ) throws {
        let pool = ThreadPool.shared
        let p = try arena.floats(.localEncoded, (n + 1) * hidden)
        encodedPart(state, encoded, count: n + 1, into: p)
        let workers = pool.threads
        let scratchCount = BlockBuffers.count(weights)
        let scratch = try arena.floats(.localHidden, workers * scratchCount)
        pool.parallel(n, workers: workers) { image, worker in
            losses[image] = ImagePass(
                state: state, weights: weights, gradientWeights: nil, m: features + image * cells * Self.features,
                positive: p + (image + 1) * hidden, negative: p + image * hidden, scale: 0, sums: nil, dPositive: nil,
                dNegative: nil, dm: nil, buffers: BlockBuffers(scratch + worker * scratchCount)
            ).run()
        }
    }

    // MARK: Objective, forward and backward

    /// The gradients of the local term. The sums over images run in `groups` of images that depend on n alone, each with
    /// accumulators of its own, added in order at the end.
    private static let groups = 8

    /// The local term, mean softplus(-T(y,M)) + mean softplus(T(y,M')), and, scaled by `weight`, its gradients.
    ///
    /// features: (n,8,676,16) blocked, shared by both pairs: image i's cells are the positives of y_i and the negatives of
    /// y_(i-1).
    package static func objective(
        _ state: NetworkState, _ weights: Weights, _ gradientWeights: GradientWeights, encoded: UnsafePointer<Float>,
        features: UnsafePointer<Float>, count n: Int, weight: Double, gradients: any GradientTarget,
        encodedGradient: UnsafeMutablePointer<Float>, featuresGradient: UnsafeMutablePointer<Float>,
        _ arena: Arena
    ) throws -> Double {
        let pool = ThreadPool.shared
        let p = try arena.floats(.localEncoded, n * hidden)
        encodedPart(state, encoded, count: n, into: p)
        let groups = min(n, Self.groups)
        let workers = min(pool.threads, groups)
        let scratchCount = BlockBuffers.count(weights)
        let scratch = try arena.floats(.localHidden, workers * scratchCount)
        let sums = try arena.floats(.localSums, groups * GroupSums.count)
        let dp = try arena.floats(.localEncodedGradient, 2 * n * hidden)
        let losses = try DoubleBuffer(zeros: n)
        pool.parallel(groups, workers: workers) { group, worker in
            let buffers = BlockBuffers(scratch + worker * scratchCount)
            let sums = GroupSums(sums + group * GroupSums.count)
            sums.clear()
            for image in group * n / groups..<(group + 1) * n / groups {
                let pass = ImagePass(
                    state: state, weights: weights, gradientWeights: gradientWeights,
                    m: features + image * cells * Self.features,
                    positive: p + image * hidden, negative: p + (image + n - 1) % n * hidden,
                    scale: weight / Double(n * cells), sums: sums,
                    dPositive: dp + image * hidden, dNegative: dp + (n + image) * hidden,
                    dm: featuresGradient + image * cells * Self.features, buffers: buffers)
                losses.pointer[image] = pass.run()
            }
        }
        collect(state, gradients, sums, groups, weights.precision)
        encodedBackward(state, gradients, dp, encoded: encoded, count: n, into: encodedGradient)
        var total = 0.0
        for image in 0..<n { total += losses.pointer[image] }
        return total / Double(n * cells)
    }

    /// Adds the groups' sums to the gradients, in order.
    private static func collect(
        _ state: NetworkState, _ gradients: any GradientTarget, _ sums: UnsafeMutablePointer<Float>, _ groups: Int,
        _ precision: Precision
    ) {
        let kernels = DimKernels.selected
        let products = GroupSums.products(precision)
        let c0 = gradients.pointer(.localD, c0IDs.weight)
        let first = GroupSums(sums)
        ThreadPool.shared.parallel(hidden) { out, _ in
            let part = products.count / hidden
            for group in 0..<groups {
                let sum = GroupSums(sums + group * GroupSums.count)
                kernels.add(sum.c0 + out * Self.features, c0 + out * inputs, Self.features)
                if group > 0 { kernels.add(sum.c1 + out * part, first.c1 + out * part, part) }
            }
        }
        products.finish(
            first.c1,
            into: StoredMatrix(gradients.pointer(.localD, c1IDs.weight), rows: hidden, columns: hidden, stride: hidden))
        for group in 0..<groups {
            let sum = GroupSums(sums + group * GroupSums.count)
            kernels.add(sum.c1Bias, gradients.pointer(.localD, c1IDs.bias), hidden)
            kernels.add(sum.c2, gradients.pointer(.localD, c2IDs.weight), hidden)
            kernels.add(sum.c2Bias, gradients.pointer(.localD, c2IDs.bias), 1)
        }
    }

    /// From the gradients of p in both uses to those of W_y, c0's bias and y.
    private static func encodedBackward(
        _ state: NetworkState, _ gradients: any GradientTarget, _ dp: UnsafeMutablePointer<Float>,
        encoded: UnsafePointer<Float>,
        count n: Int, into encodedGradient: UnsafeMutablePointer<Float>
    ) {
        let kernels = DimKernels.selected
        for i in 0..<n { kernels.add(dp + (n + (i + 1) % n) * hidden, dp + i * hidden, hidden) }
        let linear = Linear(inputs: Self.encoded, outputs: hidden, weightStride: inputs)
        linear.weightGradient(
            dp, stride: hidden, encoded, rows: n, stride: Self.encoded,
            into: gradients.pointer(.localD, c0IDs.weight) + Self.features, bias: gradients.pointer(.localD, c0IDs.bias)
        )
        linear.inputGradient(
            dp, rows: n, stride: hidden, weight: state.pointer(c0IDs.weight) + Self.features,
            into: encodedGradient, stride: Self.encoded, accumulate: true)
    }

    /// One worker's hidden activations of a block of cells: of both pairs, the positive one's cells first, except for `a`.
    private struct BlockBuffers {
        let a, h0, h1, dh0, logits, products: UnsafeMutablePointer<Float>

        static func count(_ weights: Weights) -> Int {
            let products =
                weights.precision == .mixed
                ? max(
                    MixedProducts.scratch(rows: 2 * pairBlock, depth: hidden),
                    MixedProducts.scratch(terms: 2 * pairBlock, rows: hidden, columns: hidden))
                : max(
                    weights.c1.scratch(rows: 2 * pairBlock),
                    GroupSums.products(.float32).scratch(depth: 2 * pairBlock))
            return 7 * pairBlock * row + 2 * pairBlock + products
        }

        init(_ base: UnsafeMutablePointer<Float>) {
            a = base
            h0 = a + pairBlock * row
            h1 = h0 + 2 * pairBlock * row
            dh0 = h1 + 2 * pairBlock * row
            logits = dh0 + 2 * pairBlock * row
            products = logits + 2 * pairBlock
        }
    }

    /// One group's sums over its images.
    private struct GroupSums {
        private static let strassen = StrassenSums(rows: hidden, columns: hidden)
        private static let plain = StrassenSums(rows: hidden, columns: hidden, levels: 0)
        /// How c1's sums are put together; with mixed precision they are what they are.
        static func products(_ precision: Precision) -> StrassenSums { precision == .mixed ? plain : strassen }
        static let count = hidden * (features + 2) + strassen.count + 16
        let c0, c1, c1Bias, c2, c2Bias: UnsafeMutablePointer<Float>

        init(_ base: UnsafeMutablePointer<Float>) {
            c0 = base
            c1 = c0 + hidden * features
            c1Bias = c1 + GroupSums.strassen.count
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
        let buffers: BlockBuffers

        /// The sum of both softplus over the cells.
        func run() -> Double {
            dPositive?.update(repeating: 0, count: hidden)
            dNegative?.update(repeating: 0, count: hidden)
            var loss = 0.0
            var from = 0
            while from < cells {
                let rows = min(pairBlock, cells - from)
                loss += forward(rows, from)
                backward(rows, from)
                from += rows
            }
            return loss
        }

        /// softplus(-T) of the positive pair and softplus(T) of the negative one, summed over the block. `logits` becomes the
        /// gradient of the logits.
        private func forward(_ rows: Int, _ from: Int) -> Double {
            let kernels = DimKernels.selected
            let (a, h0, logits) = (buffers.a, buffers.h0, buffers.logits)
            featurePart(
                weights, m + from * 16, rows, bias: nil, relu: false, into: a, scratch: buffers.products)
            for cell in 0..<rows {
                kernels.addRelu(a + cell * row, positive, h0 + cell * row, hidden)
                kernels.addRelu(a + cell * row, negative, h0 + (rows + cell) * row, hidden)
            }
            score(state, weights, h0, 2 * rows, buffers.h1, logits, scratch: buffers.products)
            var loss = 0.0
            for cell in 0..<2 * rows {
                let sign = cell < rows ? -1.0 : 1.0
                let t = sign * Double(logits[cell])
                loss += Logistic.softplus(t)
                logits[cell] = Float(sign * Logistic.sigmoid(t) * scale)
            }
            return loss
        }

        /// Adds the block's gradients, where they are asked for.
        private func backward(_ rows: Int, _ from: Int) {
            guard let sums, let gradientWeights, let dPositive, let dNegative, let dm else { return }
            let kernels = DimKernels.selected
            let (h0, h1, dh0, logits) = (buffers.h0, buffers.h1, buffers.dh0, buffers.logits)
            let both = 2 * rows
            // c2, and the ReLU below it: h1 becomes its gradient.
            kernels.gemm(
                Gemm(
                    rows: 1, columns: hidden, depth: both, a: logits, aRow: both, b: h1, bRow: row, bPanel: 32,
                    c: sums.c2, cRow: hidden, accumulate: true))
            kernels.addColumnSums(logits, both, 1, 1, sums.c2Bias)
            let c2 = state.pointer(c2IDs.weight)
            for cell in 0..<both { kernels.reluOuterGradient(h1 + cell * row, logits[cell], c2, hidden) }
            // c1
            let isMixed = weights.precision == .mixed
            if isMixed {
                MixedProducts.addTransposed(
                    MixedProducts.Rows(h1, row: row), MixedProducts.Rows(h0, row: row), terms: both, rows: hidden,
                    columns: hidden, to: sums.c1, cRow: hidden, scratch: buffers.products)
            } else {
                GroupSums.products(.float32).add(
                    activation(h1, both), activation(h0, both), to: sums.c1, scratch: buffers.products)
            }
            kernels.addColumnSums(h1, both, row, hidden, sums.c1Bias)
            gradientWeights.c1.multiply(
                activation(h1, both), into: activation(dh0, both), scratch: buffers.products)
            for cell in 0..<both { kernels.reluGradient(h0 + cell * row, dh0 + cell * row, hidden) }
            kernels.addColumnSums(dh0, rows, row, hidden, dPositive)
            kernels.addColumnSums(dh0 + rows * row, rows, row, hidden, dNegative)
            // c0's feature part: W_M M is the same in both pairs, and their gradients add.
            for cell in 0..<rows { kernels.add(dh0 + (rows + cell) * row, dh0 + cell * row, hidden) }
            let data = Gemm(
                rows: rows, columns: features, depth: hidden, a: dh0, aRow: row, b: gradientWeights.c0.pointer,
                c: dm + from * 16, cRow: 16, cHalf: blockedPlane, accumulate: true)
            if isMixed {
                MixedProducts.addTransposed(
                    MixedProducts.Rows(dh0, row: row),
                    MixedProducts.Rows(m + from * 16, row: 16, block: blockedPlane), terms: rows, rows: hidden,
                    columns: features, to: sums.c0, cRow: features, scratch: buffers.products)
                MixedProducts.multiply(data, scratch: buffers.products)
            } else {
                kernels.gemm(
                    Gemm(
                        rows: hidden, columns: features, depth: rows, a: dh0, aRow: 1, aStep: row, aBlock: 16 * row,
                        b: m + from * 16, bRow: 16, bHalf: blockedPlane, bPanel: 2 * blockedPlane,
                        c: sums.c0, cRow: features, accumulate: true))
                kernels.gemm(data)
            }
        }
    }
}
