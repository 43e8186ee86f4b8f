import DimKernels
import DimRuntime

extension PatchConvolution {
    /// y = x W^T, times `scale`, plus `bias`, plus `adding`, then ReLU, as far as they are given. `packed` is for `direction`, one of
    /// the two that go forward; `adding` is for where `canAdd`.
    package func forward(
        _ x: Activation, packed: UnsafePointer<Float>, _ direction: Direction = .forward,
        precision: Precision = .float32, scale: UnsafePointer<Float>? = nil, bias: UnsafePointer<Float>? = nil,
        adding: Activation? = nil, relu: Bool = false, into y: Activation, scratch: WorkerScratch
    ) {
        precondition(adding == nil || canAdd(direction, precision))
        if isMixed(precision), scale == nil {
            return mixedProduct(
                x, depth: depth, packed: packed, bias: bias, relu: relu, into: y, scratch: scratch)
        }
        if let phases = phases(direction) {
            return phases.forward(
                x, packed: packed, Epilogue(scale: scale, bias: bias, relu: relu), into: y, scratch: scratch)
        }
        let panels = paddedOutputs / 32
        let threads = min(ThreadPool.shared.threads, workers)
        let rows = Parts(count: y.rows, size: PatchConvolution.rowsOfSlab(y.rows, threads, most: forwardRows))
        // Few rows: the threads share the outputs.
        let groups = Parts(
            count: panels, size: rows.parts >= 2 * threads ? panels : max(1, panels * rows.parts / (2 * threads)))
        let slab = forwardSlab
        ThreadPool.shared.parallel(rows.parts * groups.parts, workers: workers) { task, worker in
            let part = rows.part(task / groups.parts)
            let group = groups.part(task % groups.parts)
            let columns = scratch.share(of: worker, among: workers, floats: slab)
            if isCompact { gatherCompact(x, part, most: forwardRows, into: columns) }
            // So few rows wait for the weights: a panel's are read from the first to the last.
            let isFew = isPointwise && part.count <= PatchConvolution.fewRows
            let panelsAtOnce = isFew ? 1 : group.count
            for panel in Swift.stride(from: group.lowerBound, to: group.upperBound, by: panelsAtOnce) {
                var product = Gemm(
                    rows: part.count, columns: 32 * panelsAtOnce, depth: 0, a: UnsafePointer(x.pointer), aRow: 16,
                    b: packed + panel * depth * 32, bPanel: depth * 32,
                    c: y.block(2 * panel) + part.lowerBound * 16, cRow: 16, cHalf: y.blockStride)
                for from in Swift.stride(from: 0, to: depth, by: PatchConvolution.chain) {
                    let to = min(from + PatchConvolution.chain, depth)
                    product.depth = to - from
                    setWindows(of: &product, x, part, from..<to, columns)
                    if to == depth {
                        product.scale = scale.map { $0 + panel * 32 }
                        product.bias = bias.map { $0 + panel * 32 }
                        product.relu = relu && adding == nil
                    }
                    // A panel's chains follow one another, and so do the panels.
                    if isFew { product.bAfter = product.b + product.depth * 32 }
                    kernels.gemm(product)
                    product.b += product.depth * 32
                    product.accumulate = true
                }
            }
            if let adding { add(adding, group, part, relu: relu, into: y) }
        }
    }

    /// Whether `forward` can add an activation of the output's shape to what it makes, while that is in the cache.
    package func canAdd(_ direction: Direction, _ precision: Precision) -> Bool {
        phases(direction) == nil && !isMixed(precision)
    }

    private func add(_ x: Activation, _ panels: Range<Int>, _ rows: Range<Int>, relu: Bool, into y: Activation) {
        for block in 2 * panels.lowerBound..<2 * panels.upperBound {
            let target = y.block(block) + rows.lowerBound * 16
            kernels.add(x.block(block) + rows.lowerBound * 16, target, rows.count * 16)
            if relu { kernels.reluInPlace(target, rows.count * 16) }
        }
    }

    /// A of a product: the windows `part` over a range of k, where they lie or gathered into `columns`.
    private func setWindows(
        of product: inout Gemm, _ x: Activation, _ part: Range<Int>, _ k: Range<Int>,
        _ columns: UnsafeMutablePointer<Float>
    ) {
        if isCompact {
            product.a = UnsafePointer(columns + k.lowerBound)
            product.aRow = compactStep
            product.aBlock = 16
        } else if isPointwise {
            product.a = UnsafePointer(x.block(k.lowerBound / 16) + part.lowerBound * 16)
            product.aBlock = x.blockStride
        } else {
            let first = k.lowerBound / 16
            let step = Activation.blockStride(rows: part.count)
            for block in first..<(k.upperBound + 15) / 16 {
                kernels.gatherPatches(
                    patches(
                        x.block(block % inputBlocks), place: block / inputBlocks, first: part.lowerBound,
                        count: part.count, target: columns + (block - first) * step, step: 16))
            }
            product.a = UnsafePointer(columns)
            product.aBlock = step
        }
    }

    /// So many rows at most wait for the weights.
    private static let fewRows = 8

    /// At most `most`, so that threads have equally many slabs.
    static func rowsOfSlab(_ rows: Int, _ threads: Int, most: Int = slabRows) -> Int {
        var parts = (rows + most - 1) / most
        if parts > threads / 2 { parts = (parts + threads - 1) / threads * threads }
        return max(1, (rows + parts - 1) / parts)
    }

    private var forwardSlab: Int {
        if isPointwise { return 0 }
        if isCompact { return compactScratch(rows: forwardRows) }
        let blocks = (min(depth, PatchConvolution.chain) + 15) / 16
        return blocks * Activation.blockStride(rows: PatchConvolution.slabRows)
    }

    func forwardScratch(images: Int) -> Int { workers * forwardSlab }
}
