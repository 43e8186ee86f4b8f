import DimKernels
import DimRuntime

extension PatchConvolution {
    /// dW += dy^T x over the windows; db += the sum of dy.
    ///
    /// The sum over rows is a chain of 256 terms and a sum of chains in their order. Three forms: where a row of PyTorch's
    /// weights is a row of channels, straight into them; for windows of few channels, over fixed shares of the rows; else 32
    /// input channels and up to 128 outputs a task.
    package func weightGradient(
        _ x: Activation, _ dy: Activation, precision: Precision = .float32, into weights: UnsafeMutablePointer<Float>,
        bias: UnsafeMutablePointer<Float>?, scratch: WorkerScratch
    ) {
        if isMixed(precision) {
            mixedWeightGradient(x, dy, into: weights, scratch: scratch)
        } else if let phases = phases.weightGradient {
            phases.weightGradient(x, dy, into: weights, scratch: scratch.pointer)
        } else if isCompact {
            compactWeightGradient(x, dy, into: weights, scratch.pointer)
        } else if isStraight {
            straightWeightGradient(x, dy, into: weights)
        } else {
            blockedWeightGradient(x, dy, into: weights, scratch.pointer)
        }
        if let bias { addBiasGradient(dy, into: bias) }
    }

    /// Enough for fewer images, too.
    func weightGradientScratch(images: Int) -> Int {
        if isCompact {
            let shares = min(PatchConvolution.mostShares, chains(images * output.pixels))
            return gradientWorkers * compactScratch(rows: PatchConvolution.chain) + shares * depth * paddedOutputs
        }
        return isStraight ? 0 : gradientWorkers * (PatchConvolution.chain * 32 + places * 32 * outputGroups.size)
    }

    private static let mostShares = 16
    private func chains(_ rows: Int) -> Int { (rows + PatchConvolution.chain - 1) / PatchConvolution.chain }
    /// Outputs that a task covers.
    private var outputGroups: Parts {
        Parts(count: paddedOutputs, size: min(paddedOutputs, PatchConvolution.gradientOutputs))
    }
    /// No more than there can be tasks.
    private var gradientWorkers: Int {
        min(
            workers,
            isCompact ? PatchConvolution.mostShares : Activation.blocks(input.channels) / 2 * outputGroups.parts)
    }

    // MARK: 1x1 over whole panels

    private var isStraight: Bool { isPointwise && input.channels % 32 == 0 }

    /// dW(o, c), rows of 16 outputs, columns of 32 channels.
    private func straightWeightGradient(_ x: Activation, _ dy: Activation, into weights: UnsafeMutablePointer<Float>) {
        // A chain's operands and the sums of 128 x 128 weights stay in the second-level cache.
        let groups = Parts(count: input.channels / 32, size: 4)
        let blocks = Parts(count: (output.channels + 15) / 16, size: PatchConvolution.gradientOutputs / 16)
        ThreadPool.shared.parallel(groups.parts * blocks.parts) { task, _ in
            let group = groups.part(task / blocks.parts)
            for from in Swift.stride(from: 0, to: dy.rows, by: PatchConvolution.chain) {
                for block in blocks.part(task % blocks.parts) {
                    let first = block * 16
                    kernels.gemm(
                        Gemm(
                            rows: min(16, output.channels - first), columns: 32 * group.count,
                            depth: min(PatchConvolution.chain, dy.rows - from),
                            a: UnsafePointer(dy.block(block) + from * 16), aRow: 1, aStep: 16, aBlock: 256,
                            b: UnsafePointer(x.block(2 * group.lowerBound) + from * 16), bRow: 16, bHalf: x.blockStride,
                            bPanel: 2 * x.blockStride,
                            c: weights + first * weightStride + firstInput + group.lowerBound * 32, cRow: weightStride,
                            cPanel: 32, accumulate: true))
                }
            }
        }
    }

    // MARK: Blocks of channels

    /// Sums (place, 32 channels, outputs), then turned and added to (outputs, channels, places).
    private func blockedWeightGradient(
        _ x: Activation, _ dy: Activation, into weights: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        let panels = Activation.blocks(input.channels) / 2
        let groups = outputGroups
        let chain = PatchConvolution.chain
        ThreadPool.shared.parallel(panels * groups.parts, workers: gradientWorkers) { task, worker in
            let panel = task / groups.parts
            let group = groups.part(task % groups.parts)
            let channels = min(32, input.channels - panel * 32)
            let columns = scratch + worker * (chain * 32 + places * 32 * groups.size)
            let sums = columns + chain * 32
            for from in Swift.stride(from: 0, to: dy.rows, by: chain) {
                let count = min(chain, dy.rows - from)
                for place in 0..<places {
                    for half in 0..<2 where half * 16 < channels {
                        kernels.gatherPatches(
                            patches(
                                x.block(2 * panel + half), place: place, first: from, count: count,
                                target: columns + half * 16, step: 32))
                    }
                    kernels.gemm(
                        Gemm(
                            rows: channels, columns: group.count, depth: count, a: UnsafePointer(columns), aRow: 1,
                            aStep: 32, aBlock: 512,
                            b: UnsafePointer(dy.block(group.lowerBound / 16) + from * 16), bRow: 16,
                            bHalf: dy.blockStride, bPanel: 2 * dy.blockStride,
                            c: sums + place * 32 * groups.size, cRow: groups.size, cPanel: 32, accumulate: from > 0))
                }
            }
            let outputs = min(group.upperBound, output.channels) - group.lowerBound
            let target = weights + group.lowerBound * weightStride + (firstInput + panel * 32) * places
            addTurned(
                sums, row: { ($0 % places * 32 + $0 / places) * groups.size }, rows: channels * places,
                columns: outputs, to: target, stride: weightStride)
        }
    }

    // MARK: Few channels

    /// Fixed shares of the rows, one task each, at most `mostShares`: a share is whole chains.
    private func rowShares(_ rows: Int) -> Parts {
        let most = PatchConvolution.mostShares
        return Parts(count: rows, size: (chains(rows) + most - 1) / most * PatchConvolution.chain)
    }

    /// Sums (share, k, outputs); the shares are added in order.
    private func compactWeightGradient(
        _ x: Activation, _ dy: Activation, into weights: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        let (outputs, chain) = (paddedOutputs, PatchConvolution.chain)
        let slab = compactScratch(rows: chain)
        let sums = scratch + gradientWorkers * slab
        let shares = rowShares(dy.rows)
        ThreadPool.shared.parallel(shares.parts, workers: gradientWorkers) { share, worker in
            let rows = shares.part(share)
            let columns = scratch + worker * slab
            for from in Swift.stride(from: rows.lowerBound, to: rows.upperBound, by: chain) {
                let to = min(from + chain, rows.upperBound)
                gatherCompact(x, from..<to, most: chain, into: columns)
                kernels.gemm(
                    Gemm(
                        rows: depth, columns: outputs, depth: to - from, a: UnsafePointer(columns), aRow: 1,
                        aStep: compactStep, aBlock: 16 * compactStep, b: UnsafePointer(dy.pointer + from * 16),
                        bRow: 16, bHalf: dy.blockStride, bPanel: 2 * dy.blockStride,
                        c: sums + share * depth * outputs, cRow: outputs, cPanel: 32,
                        accumulate: from > rows.lowerBound))
            }
        }
        for share in 1..<max(1, shares.parts) { kernels.add(sums + share * depth * outputs, sums, depth * outputs) }
        let channels = input.channels
        addTurned(
            sums, row: { ($0 % places * channels + $0 / places) * outputs }, rows: depth, columns: output.channels,
            to: weights + firstInput * places, stride: weightStride)
    }

    // MARK: Bias

    private func addBiasGradient(_ dy: Activation, into bias: UnsafeMutablePointer<Float>) {
        let outputs = output.channels
        ThreadPool.shared.parallel((outputs + 15) / 16) { block, _ in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 16) { sums in
                sums.initialize(repeating: 0)
                kernels.addRowSums(dy.block(block), dy.rows, sums.baseAddress!)
                for lane in 0..<min(16, outputs - block * 16) { bias[block * 16 + lane] += Float(sums[lane]) }
            }
        }
    }
}
