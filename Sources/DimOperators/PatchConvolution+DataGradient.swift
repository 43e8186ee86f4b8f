import DimKernels
import DimRuntime

extension PatchConvolution {
    /// dx (+)= the sum over the kernel's places of (dy W) shifted back: for 32 input channels and one place a product of
    /// some rows of dy, whose result is small enough for the first-level cache and is added to dx where its windows read.
    package func dataGradient(
        _ dy: Activation, packed: UnsafePointer<Float>, precision: Precision = .float32, into dx: Activation,
        accumulate: Bool, scratch: WorkerScratch
    ) {
        if isMixed(precision) {
            return mixedProduct(
                dy, depth: output.channels, packed: packed, into: dx, accumulate: accumulate, scratch: scratch)
        }
        if let phases = phases.dataGradient {
            return phases.dataGradient(dy, packed: packed, into: dx, accumulate: accumulate, scratch: scratch)
        }
        if isPointwise { return pointwiseDataGradient(dy, packed: packed, into: dx, accumulate: accumulate) }
        let panels = Activation.blocks(input.channels) / 2
        let pixels = output.pixels
        // Whole images, so that tasks write to places of their own.
        let images = Parts(count: dy.images, size: max(1, PatchConvolution.slabRows / pixels))
        let outputs = output.channels
        ThreadPool.shared.parallel(images.parts * panels, workers: workers) { task, worker in
            let part = images.part(task / panels)
            let panel = task % panels
            let columns = scratch.share(of: worker, among: workers, floats: PatchConvolution.slabRows * 32)
            if !accumulate {
                for half in 0..<2 {
                    (dx.block(2 * panel + half) + part.lowerBound * input.pixels * 16)
                        .update(repeating: 0, count: part.count * input.pixels * 16)
                }
            }
            let rows = Parts(count: part.count * pixels, size: PatchConvolution.slabRows)
            for slab in 0..<rows.parts {
                let first = part.lowerBound * pixels + rows.part(slab).lowerBound
                let count = rows.part(slab).count
                for place in 0..<places {
                    multiplyChains(
                        Gemm(
                            rows: count, columns: 32, depth: outputs, a: UnsafePointer(dy.pointer + first * 16),
                            aRow: 16,
                            aBlock: dy.blockStride, b: packed + (panel * places + place) * outputs * 32, c: columns,
                            cRow: 32))
                    for half in 0..<2 {
                        kernels.scatterPatches(
                            patches(
                                dx.block(2 * panel + half), place: place, first: first, count: count,
                                target: columns + half * 16, step: 32))
                    }
                }
            }
        }
    }

    /// dx (+)= dy W, in place.
    private func pointwiseDataGradient(
        _ dy: Activation, packed: UnsafePointer<Float>, into dx: Activation, accumulate: Bool
    ) {
        let panels = Activation.blocks(input.channels) / 2
        let threads = ThreadPool.shared.threads
        let rows = Parts(count: dy.rows, size: PatchConvolution.rowsOfSlab(dy.rows, threads))
        let groups = Parts(
            count: panels, size: rows.parts >= 2 * threads ? panels : max(1, panels * rows.parts / (4 * threads)))
        ThreadPool.shared.parallel(rows.parts * groups.parts) { task, _ in
            let part = rows.part(task / groups.parts)
            let group = groups.part(task % groups.parts)
            multiplyChains(
                Gemm(
                    rows: part.count, columns: 32 * group.count, depth: output.channels,
                    a: UnsafePointer(dy.pointer + part.lowerBound * 16), aRow: 16, aBlock: dy.blockStride,
                    b: packed + group.lowerBound * output.channels * 32, bPanel: output.channels * 32,
                    c: dx.block(2 * group.lowerBound) + part.lowerBound * 16, cRow: 16, cHalf: dx.blockStride,
                    accumulate: accumulate))
        }
    }

    /// The product in chains of `chain` terms, over a blocked A and packed panels of B.
    private func multiplyChains(_ whole: Gemm) {
        var product = whole
        for from in Swift.stride(from: 0, to: whole.depth, by: PatchConvolution.chain) {
            product.depth = min(PatchConvolution.chain, whole.depth - from)
            product.a = whole.a + from / 16 * whole.aBlock
            product.b = whole.b + from * 32
            kernels.gemm(product)
            product.accumulate = true
        }
    }

    func dataGradientScratch(images: Int) -> Int { isPointwise ? 0 : workers * PatchConvolution.slabRows * 32 }
}
