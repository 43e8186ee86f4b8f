import DimKernels
import DimRuntime

// The convolution by Winograd's algorithm: transform windows of the input, multiply channels by channels at every point,
// transform back. Work goes over blocks of tiles so that the arrays between the three steps stay in cache:
//
//     V (point, C/16, tile, 16)   of a large block of tiles, all input channels: shared by the threads, in the L3 cache
//     M (point, 2, tile, 16)      of a part of the block, 32 output channels: a thread's own, in its L2 cache
//
// The weights are the most memory (33 MB for the encoder's c3) and are read once for every large block, 2 MB of a panel at a
// time, all threads at about the same place. A tile's result depends on nothing but the tile, so blocks may have any size
// without changing a bit of the output.

/// How the memory of the transformed operands is laid out, for one problem and F(m).
struct WinogradPlan {
    let problem: ConvolutionProblem
    let transforms: WinogradKernels

    init(_ problem: ConvolutionProblem, m: Int, _ kernels: KernelTable) {
        guard let transforms = kernels.winograd(m, problem.kernel), !problem.inputIsPlanar else {
            preconditionFailure("no Winograd F(\(m)) for \(problem)")
        }
        self.problem = problem
        self.transforms = transforms
    }

    var points: Int { transforms.points }
    var tileRows: Int { (problem.outputHeight + transforms.m - 1) / transforms.m }
    var tileColumns: Int { (problem.outputWidth + transforms.m - 1) / transforms.m }
    var panels: Int { problem.outputChannels / 32 }
    var inputBlocks: Int { problem.inputChannels / 16 }

    /// Strides are odd multiples of a cache line: those of a power of two would fall into the same sets of the caches.
    private static let pad = 16

    // U, the weights: (panel, point, k, 32).
    var weightPointStride: Int { problem.inputChannels * 32 + WinogradPlan.pad }
    var weightPanelStride: Int { points * weightPointStride }
    var weightCount: Int { panels * weightPanelStride }

    // V for `tiles` tiles.
    func inputBlockStride(_ tiles: Int) -> Int { WinogradPlan.odd(tiles) * 16 }
    func inputPointStride(_ tiles: Int) -> Int { inputBlocks * inputBlockStride(tiles) + WinogradPlan.pad }
    func inputCount(_ tiles: Int) -> Int { points * inputPointStride(tiles) }

    // M for `tiles` tiles.
    func outputHalfStride(_ tiles: Int) -> Int { WinogradPlan.odd(tiles) * 16 }
    func outputPointStride(_ panels: Int, _ tiles: Int) -> Int {
        2 * panels * outputHalfStride(tiles) + WinogradPlan.pad
    }
    func outputCount(_ panels: Int, _ tiles: Int) -> Int { points * outputPointStride(panels, tiles) }

    static func odd(_ n: Int) -> Int { n | 1 }

    /// U from PyTorch's weights. Each panel is its own chunk.
    func transformWeights(
        _ weights: UnsafePointer<Float>, _ direction: ConvolutionDirection, into target: UnsafeMutablePointer<Float>
    ) {
        let area = problem.kernel * problem.kernel
        // (out, in, area) of the forward problem; the data gradient swaps the two.
        let (laneStride, depthStride) =
            direction == .forward ? (problem.inputChannels * area, area) : (area, problem.outputChannels * area)
        ThreadPool.shared.parallel(panels) { panel, _ in
            withScratch { scratch in
                transforms.weights(
                    WinogradWeights(
                        source: weights + panel * 32 * laneStride, taps: WinogradTaps(whole: problem.kernel),
                        laneStride: laneStride, depthStride: depthStride, depth: problem.inputChannels,
                        rotated: direction == .dataGradient,
                        target: target + panel * weightPanelStride, pointStride: weightPointStride, scratch: scratch))
            }
        }
    }
}

/// The size of equal pieces, but for the last, none larger than `most`; so many that each of the threads has as many as the others.
package func equalPiece(of total: Int, atMost most: Int, threads: Int = 1) -> Int {
    let each = max(1, (total + most * threads - 1) / (most * threads))
    return (total + each * threads - 1) / (each * threads)
}

/// The transforms' scratch memory, on the stack.
func withScratch(_ body: (UnsafeMutablePointer<Float>) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: WinogradKernels.scratch * MemoryLayout<Float>.stride, alignment: 64) {
        body($0.baseAddress!.assumingMemoryBound(to: Float.self))
    }
}

struct WinogradConvolution {
    let plan: WinogradPlan
    let weights: ConvolutionWeights

    init(_ weights: ConvolutionWeights, m: Int) {
        self.weights = weights
        plan = WinogradPlan(weights.problem, m: m, weights.kernels)
    }

    /// Panels of 32 output channels that M holds: as many as a product computes at once.
    private var panelsAtOnce: Int { min(plan.panels, weights.kernels.columnsAtOnce / 32) }
    /// Tiles of a part at most, whole tiles of GEMM rows. M has 8 kB a tile and panel: 640 to 790 kB, or 1.3 MB for a
    /// second-level cache of 2 MB, where that is 3 (AVX2) and 4% (AVX-512) faster.
    private var largestPart: Int {
        let isLarge = Caches.secondLevel >= 2 << 20
        return panelsAtOnce == 1 ? (isLarge ? 156 : 78) : (isLarge ? 78 : 48)
    }
    /// Tiles from which a thread works on its own, weights of any size: at 3 GB/s a thread (notebook, AVX-512) they come
    /// faster than they are used.
    private static let fewestTiles = 26
    /// V of a block that all share at most, in floats: it shares the L3 cache with the weights that stream past it.
    private static let largestV = 2_200_000

    /// How the tiles are divided, and the memory that takes.
    private struct Schedule {
        let workers: Int
        /// Whether the threads share the V of a block; else each has the V of a part.
        let shared: Bool
        /// Tiles of V.
        let block: Int
        /// Tiles of M.
        let part: Int
        let v: Int
        let m: Int
        var floats: Int { shared ? v + workers * m : workers * (v + m) }
    }

    private func schedule(_ tiles: Int) -> Schedule {
        let threads = ThreadPool.shared.threads
        let largest = largestPart
        if tiles >= threads * WinogradConvolution.fewestTiles {
            let part = equalPiece(of: tiles, atMost: largest, threads: threads)
            return Schedule(
                workers: min(threads, (tiles + part - 1) / part), shared: false, block: part, part: part,
                v: plan.inputCount(part), m: plan.outputCount(panelsAtOnce, part))
        }
        let block = equalPiece(
            of: tiles, atMost: max(1, WinogradConvolution.largestV / (plan.points * plan.problem.inputChannels)))
        let part = equalPiece(of: block, atMost: largest)
        return Schedule(
            workers: min(threads, (block + part - 1) / part * groups.parts), shared: true, block: block, part: part,
            v: plan.inputCount(block), m: plan.outputCount(panelsAtOnce, part))
    }

    private var groups: Parts { Parts(count: plan.panels, size: panelsAtOnce) }
    private func tiles(_ n: Int) -> Int { n * plan.tileRows * plan.tileColumns }

    func scratchCount(_ n: Int) -> Int { schedule(tiles(n)).floats }

    func run(
        _ input: UnsafePointer<Float>, _ n: Int, _ affine: InputAffine?, _ epilogue: Epilogue,
        _ output: UnsafeMutablePointer<Float>, _ scratch: ScratchBuffer
    ) throws {
        let call = Call(input: input, affine: affine, epilogue: epilogue, output: output)
        let schedule = schedule(tiles(n))
        let memory = try scratch.floats(schedule.floats)
        if schedule.shared {
            runBlocks(call, tiles(n), schedule, memory)
        } else {
            runParts(call, tiles(n), schedule, memory)
        }
    }

    /// A thread takes a part of the tiles through all three steps: what it writes no other core reads.
    private func runParts(_ call: Call, _ tiles: Int, _ s: Schedule, _ memory: UnsafeMutablePointer<Float>) {
        ThreadPool.shared.parallel((tiles + s.part - 1) / s.part, workers: s.workers) { chunk, worker in
            let range = tileRange(chunk * s.part, min(s.part, tiles - chunk * s.part))
            let v = memory + worker * (s.v + s.m)
            withScratch { scratch in
                for channels in 0..<plan.inputBlocks { transformInput(call, channels, range, v, s.part, scratch) }
                for group in 0..<groups.parts { multiply(call, groups.part(group), range, v, s.part, v + s.v, scratch) }
            }
        }
    }

    /// Few tiles: the threads take the (panels, part) of a block in turn, the parts of the same panels together.
    private func runBlocks(_ call: Call, _ tiles: Int, _ s: Schedule, _ memory: UnsafeMutablePointer<Float>) {
        for first in stride(from: 0, to: tiles, by: s.block) {
            let count = min(s.block, tiles - first)
            let parts = (count + s.part - 1) / s.part
            ThreadPool.shared.parallel(parts * plan.inputBlocks) { chunk, _ in
                let (channels, start) = (chunk / parts, chunk % parts * s.part)
                let range = tileRange(first + start, min(s.part, count - start))
                withScratch { transformInput(call, channels, range, memory + start * 16, s.block, $0) }
            }
            ThreadPool.shared.parallel(parts * groups.parts, workers: s.workers) { chunk, worker in
                let (panels, start) = (groups.part(chunk / parts), chunk % parts * s.part)
                let range = tileRange(first + start, min(s.part, count - start))
                let m = memory + s.v + worker * s.m
                withScratch { multiply(call, panels, range, memory + start * 16, s.block, m, $0) }
            }
        }
    }

    private struct Call {
        let input: UnsafePointer<Float>
        let affine: InputAffine?
        let epilogue: Epilogue
        let output: UnsafeMutablePointer<Float>
    }

    private func tileRange(_ first: Int, _ count: Int) -> WinogradTiles {
        WinogradTiles(rows: plan.tileRows, columns: plan.tileColumns, first: first, count: count)
    }

    /// 16 input channels of some tiles, into their place in a V for `block` tiles.
    private func transformInput(
        _ call: Call, _ channels: Int, _ tiles: WinogradTiles, _ v: UnsafeMutablePointer<Float>, _ block: Int,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        let p = plan.problem
        plan.transforms.input(
            WinogradWindows(
                tiles: tiles, source: call.input, imageStride: p.inputSize,
                sourceBlock: p.inputHeight * p.inputWidth * 16, height: p.inputHeight, width: p.inputWidth,
                rowPadding: p.padding, columnPadding: p.padding, firstBlock: channels, blocks: 1,
                scale: call.affine?.scale, shift: call.affine?.shift, target: v,
                pointStride: plan.inputPointStride(block), blockStride: plan.inputBlockStride(block), scratch: scratch))
    }

    /// Some panels of 32 output channels of the same: the product at every point, and the transform back.
    private func multiply(
        _ call: Call, _ panels: Range<Int>, _ tiles: WinogradTiles, _ v: UnsafePointer<Float>, _ block: Int,
        _ m: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let p = plan.problem
        let count = tiles.count
        for point in 0..<plan.points {
            let b =
                weights.buffer.pointer + panels.lowerBound * plan.weightPanelStride + point * plan.weightPointStride
            weights.kernels.gemm(
                Gemm(
                    rows: count, columns: 32 * panels.count, depth: p.inputChannels,
                    a: v + point * plan.inputPointStride(block), aRow: 16, aBlock: plan.inputBlockStride(block),
                    b: b, bPanel: plan.weightPanelStride, bAfter: b + plan.weightPointStride,
                    c: m + point * plan.outputPointStride(panels.count, count), cRow: 16,
                    cHalf: plan.outputHalfStride(count)))
        }
        for panel in panels {
            plan.transforms.output(
                WinogradOutput(
                    tiles: tiles, source: m + 2 * (panel - panels.lowerBound) * plan.outputHalfStride(count),
                    pointStride: plan.outputPointStride(panels.count, count),
                    halfStride: plan.outputHalfStride(count),
                    target: call.output + 2 * panel * p.outputHeight * p.outputWidth * 16, imageStride: p.outputSize,
                    targetBlock: p.outputHeight * p.outputWidth * 16, height: p.outputHeight, width: p.outputWidth,
                    scale: call.epilogue.scale.map { $0 + panel * 32 },
                    bias: call.epilogue.bias.map { $0 + panel * 32 },
                    relu: call.epilogue.relu, scratch: scratch))
        }
    }
}
