import DimKernels
import DimRuntime

// 1x1 convolutions over whole panels with terms of bfloat16 (`Precision.mixed`). Operands are rounded a slab at a time, into
// scratch memory that stays in the second-level cache; sums are chains of 256 terms, each added to the output, as in float32.

extension PatchConvolution {
    /// Whether this layer has such products: where a row of weights is a row of channels, in whole panels.
    private var canBeMixed: Bool { isPointwise && input.channels % 32 == 0 && Precision.hasMixed }

    func isMixed(_ precision: Precision) -> Bool { precision == .mixed && canBeMixed }

    /// Channels that a task of the weight gradient covers, of either side: each value is rounded once for 256 products.
    private static let gradientChannels = 256

    private static let mixedSlab = max(
        MixedProducts.scratch(rows: slabRows, depth: chain),
        MixedProducts.scratch(terms: chain, rows: gradientChannels, columns: gradientChannels))

    func mixedScratch() -> Int { canBeMixed ? workers * PatchConvolution.mixedSlab : 0 }

    /// y (+)= x B, rows of pixels; then bias and ReLU.
    func mixedProduct(
        _ x: Activation, depth: Int, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>? = nil,
        relu: Bool = false, into y: Activation, accumulate: Bool = false, scratch: WorkerScratch
    ) {
        let (panels, chain) = (y.blocks / 2, PatchConvolution.chain)
        let threads = min(ThreadPool.shared.threads, workers)
        let rows = Parts(count: x.rows, size: PatchConvolution.rowsOfSlab(x.rows, threads))
        // Few rows: the threads share the outputs.
        let groups = Parts(
            count: panels, size: rows.parts >= 2 * threads ? panels : max(1, panels * rows.parts / (2 * threads)))
        ThreadPool.shared.parallel(rows.parts * groups.parts, workers: workers) { task, worker in
            let part = rows.part(task / groups.parts)
            let group = groups.part(task % groups.parts)
            for from in Swift.stride(from: 0, to: depth, by: chain) {
                let isLast = from + chain >= depth
                MixedProducts.multiply(
                    Gemm(
                        rows: part.count, columns: 32 * group.count, depth: min(chain, depth - from),
                        a: x.block(from / 16) + part.lowerBound * 16, aRow: 16, aBlock: x.blockStride,
                        b: packed + group.lowerBound * depth * 32 + from / 2 * 32, bPanel: depth * 32,
                        c: y.block(2 * group.lowerBound) + part.lowerBound * 16, cRow: 16, cHalf: y.blockStride,
                        accumulate: accumulate || from > 0,
                        bias: isLast ? bias.map { $0 + group.lowerBound * 32 } : nil, relu: isLast && relu),
                    scratch: scratch.share(of: worker, among: workers, floats: PatchConvolution.mixedSlab))
            }
        }
    }

    /// dW(o, c) += dy^T x.
    func mixedWeightGradient(
        _ x: Activation, _ dy: Activation, into weights: UnsafeMutablePointer<Float>,
        scratch: WorkerScratch
    ) {
        let (chain, most) = (PatchConvolution.chain, PatchConvolution.gradientChannels)
        let inputs = Parts(count: input.channels, size: most), outputs = Parts(count: output.channels, size: most)
        ThreadPool.shared.parallel(inputs.parts * outputs.parts, workers: workers) { task, worker in
            let channels = inputs.part(task / outputs.parts)
            let part = outputs.part(task % outputs.parts)
            for from in Swift.stride(from: 0, to: dy.rows, by: chain) {
                func rows(_ activation: Activation, _ first: Int) -> MixedProducts.Rows {
                    MixedProducts.Rows(
                        activation.block(first / 16) + from * 16, row: 16, block: activation.blockStride)
                }
                MixedProducts.addTransposed(
                    rows(dy, part.lowerBound), rows(x, channels.lowerBound), terms: min(chain, dy.rows - from),
                    rows: part.count, columns: channels.count,
                    to: weights + part.lowerBound * weightStride + firstInput + channels.lowerBound,
                    cRow: weightStride,
                    scratch: scratch.share(of: worker, among: workers, floats: PatchConvolution.mixedSlab))
            }
        }
    }
}
