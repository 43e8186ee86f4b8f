import DimKernels
import DimRuntime

// The gradients of a convolution. That of its input is a convolution again, by weights prepared for `.dataGradient`; those of
// its weights and bias are sums over all images and pixels.

extension Convolution {
    /// dx from dy: `weights` are prepared for `.dataGradient`.
    package static func dataGradient(
        _ outputGradient: UnsafePointer<Float>, n: Int, _ weights: ConvolutionWeights,
        into inputGradient: UnsafeMutablePointer<Float>, _ scratch: ScratchBuffer
    ) throws {
        precondition(weights.direction == .dataGradient)
        try run(outputGradient, n, weights, nil, Epilogue(), inputGradient, scratch)
    }

    /// dw from x (as the forward pass read it, `inputAffine` included) and dy, in PyTorch's layout (out, in, kernel, kernel);
    /// added to what `gradient` holds where `accumulate`.
    package static func weightGradient(
        _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm, n: Int,
        input: UnsafePointer<Float>, inputAffine: InputAffine? = nil, outputGradient: UnsafePointer<Float>,
        into gradient: UnsafeMutablePointer<Float>, accumulate: Bool = false,
        _ scratch: ScratchBuffer, kernels: KernelTable = DimKernels.selected
    ) throws {
        let operands = WeightGradientOperands(
            n: n, input: input, affine: inputAffine, outputGradient: outputGradient, gradient: gradient,
            accumulate: accumulate)
        switch algorithm {
        case .direct:
            try DirectWeightGradient(shape: shape, kernels: kernels).run(operands, scratch)
        case .winograd(let m):
            try WinogradWeightGradients(shape, m: m, kernels).run(operands, scratch)
        }
    }

    /// Floats of scratch memory that `weightGradient` takes.
    package static func weightGradientScratch(
        _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm, n: Int, kernels: KernelTable = DimKernels.selected
    ) -> Int {
        switch algorithm {
        case .direct: DirectWeightGradient(shape: shape, kernels: kernels).scratchCount
        case .winograd(let m): WinogradWeightGradients(shape, m: m, kernels).scratchCount(n)
        }
    }

    /// db(o) = the sum of dy over images and pixels; in double across images.
    package static func biasGradient(
        _ shape: ConvolutionShape, n: Int, outputGradient: UnsafePointer<Float>,
        into gradient: UnsafeMutablePointer<Float>, accumulate: Bool = false, kernels: KernelTable = DimKernels.selected
    ) {
        let pixels = shape.outputHeight * shape.outputWidth
        ThreadPool.shared.parallel(shape.outputChannels / 16) { block, _ in
            var total = SIMD16<Double>.zero
            var sums = SIMD16<Float>.zero
            for image in 0..<n {
                withUnsafeMutableBytes(of: &sums) {
                    kernels.sumPixels(
                        outputGradient + image * shape.outputSize + block * pixels * 16, pixels,
                        $0.baseAddress!.assumingMemoryBound(to: Float.self))
                }
                total += SIMD16<Double>(sums)
            }
            for c in 0..<16 {
                let old = accumulate ? gradient[block * 16 + c] : 0
                gradient[block * 16 + c] = old + Float(total[c])
            }
        }
    }
}

struct WeightGradientOperands {
    let n: Int
    let input: UnsafePointer<Float>
    let affine: InputAffine?
    let outputGradient: UnsafePointer<Float>
    let gradient: UnsafeMutablePointer<Float>
    let accumulate: Bool
}

/// In the transformed domain: dU(point) = V(point)^T dM(point), summed over all tiles of all images, then back once.
///
/// V and dM exist for a block of tiles and a group of output channels at a time, so that memory stays bounded; the price is
/// that V is transformed once a group. Both sizes follow from the shape and the batch alone: they order the sums.
struct WinogradWeightGradients {
    private let shape: ConvolutionShape
    private let plan: WinogradPlan
    private let kernels: KernelTable

    /// Output channels of a group at most.
    private static let groupChannels = 256

    init(_ shape: ConvolutionShape, m: Int, _ kernels: KernelTable) {
        self.shape = shape
        self.kernels = kernels
        plan = WinogradPlan(ConvolutionProblem(shape, .forward), m: m, kernels)
    }

    /// How the sums are divided, and the memory that takes.
    private struct Schedule {
        let tiles: Int
        let block: Int
        let groupPanels: Int
        let v: Int
        let dM: Int
        let dU: Int
        var floats: Int { v + dM + dU }
    }

    private func schedule(_ n: Int) -> Schedule {
        let tiles = n * plan.tileRows * plan.tileColumns
        let groupPanels = min(plan.panels, WinogradWeightGradients.groupChannels / 32)
        let dU = groupPanels * plan.weightPanelStride
        // A large dU should be read and written seldom; with a small one, V and dM should stay in the cache.
        let block = equalPiece(of: tiles, atMost: dU > 1 << 20 ? 256 : 128)
        return Schedule(
            tiles: tiles, block: block, groupPanels: groupPanels, v: plan.inputCount(block),
            dM: plan.points * gradientPointStride(groupPanels, block), dU: dU)
    }

    func scratchCount(_ n: Int) -> Int { schedule(n).floats }

    func run(_ x: WeightGradientOperands, _ scratch: ScratchBuffer) throws {
        let s = schedule(x.n)
        let (tiles, block, groupPanels) = (s.tiles, s.block, s.groupPanels)
        let memory = try scratch.floats(s.floats)
        let (vMemory, dMMemory, dUMemory) = (memory, memory + s.v, memory + s.v + s.dM)
        for group in stride(from: 0, to: plan.panels, by: groupPanels) {
            let panels = group..<min(group + groupPanels, plan.panels)
            for first in stride(from: 0, to: tiles, by: block) {
                let range = WinogradTiles(
                    rows: plan.tileRows, columns: plan.tileColumns, first: first, count: min(block, tiles - first))
                transform(x, range, panels, vMemory, dMMemory)
                multiply(range.count, panels, vMemory, dMMemory, dUMemory, accumulate: first > 0)
            }
            transformBack(x, panels, dUMemory)
        }
    }

    // dM: (point, C/16 of the group, tile, 16).
    private func gradientPointStride(_ panels: Int, _ tiles: Int) -> Int {
        2 * panels * plan.outputHalfStride(tiles) + 16
    }

    private func transform(
        _ x: WeightGradientOperands, _ tiles: WinogradTiles, _ panels: Range<Int>,
        _ v: UnsafeMutablePointer<Float>, _ dM: UnsafeMutablePointer<Float>
    ) {
        let p = plan.problem
        ThreadPool.shared.parallel(plan.inputBlocks + 2 * panels.count) { chunk, _ in
            withScratch { scratch in
                if chunk < plan.inputBlocks {
                    plan.transforms.input(
                        WinogradWindows(
                            tiles: tiles, source: x.input, imageStride: p.inputSize,
                            sourceBlock: p.inputHeight * p.inputWidth * 16, height: p.inputHeight, width: p.inputWidth,
                            rowPadding: 0, columnPadding: 0, firstBlock: chunk, blocks: 1, scale: x.affine?.scale,
                            shift: x.affine?.shift, target: v, pointStride: plan.inputPointStride(tiles.count),
                            blockStride: plan.inputBlockStride(tiles.count), scratch: scratch))
                } else {
                    let source = x.outputGradient + 2 * panels.lowerBound * p.outputHeight * p.outputWidth * 16
                    plan.transforms.outputGradient(
                        WinogradWindows(
                            tiles: tiles, source: source, imageStride: p.outputSize,
                            sourceBlock: p.outputHeight * p.outputWidth * 16, height: p.outputHeight,
                            width: p.outputWidth, rowPadding: 0, columnPadding: 0,
                            firstBlock: chunk - plan.inputBlocks, blocks: 1,
                            target: dM, pointStride: gradientPointStride(panels.count, tiles.count),
                            blockStride: plan.outputHalfStride(tiles.count), scratch: scratch))
                }
            }
        }
    }

    /// dU (panel, point, input channel, 32) (+)= V^T dM: the tiles are the products' k.
    private func multiply(
        _ tiles: Int, _ panels: Range<Int>, _ v: UnsafePointer<Float>, _ dM: UnsafePointer<Float>,
        _ dU: UnsafeMutablePointer<Float>, accumulate: Bool
    ) {
        ThreadPool.shared.parallel(plan.points) { point, _ in
            let v = v + point * plan.inputPointStride(tiles)
            let dM = dM + point * gradientPointStride(panels.count, tiles)
            let dU = dU + point * plan.weightPointStride
            let groups = Parts(count: panels.count, size: kernels.columnsAtOnce / 32)
            for group in 0..<groups.parts {
                let first = groups.part(group).lowerBound
                for block in 0..<plan.inputBlocks {
                    kernels.gemm(
                        Gemm(
                            rows: 16, columns: 32 * groups.part(group).count, depth: tiles,
                            a: v + block * plan.inputBlockStride(tiles), aRow: 1, aStep: 16, aBlock: 256,
                            b: dM + 2 * first * plan.outputHalfStride(tiles), bRow: 16,
                            bHalf: plan.outputHalfStride(tiles), bPanel: 2 * plan.outputHalfStride(tiles),
                            c: dU + first * plan.weightPanelStride + block * 16 * 32, cRow: 32,
                            cPanel: plan.weightPanelStride, accumulate: accumulate))
                }
            }
        }
    }

    private func transformBack(_ x: WeightGradientOperands, _ panels: Range<Int>, _ dU: UnsafePointer<Float>) {
        let area = shape.kernel * shape.kernel
        let channels = 32  // of the input, a chunk
        let chunks = shape.inputChannels / channels
        ThreadPool.shared.parallel(panels.count * chunks) { chunk, _ in
            let (panel, first) = (chunk / chunks, chunk % chunks * channels)
            let kernel = ((panels.lowerBound + panel) * 32 * shape.inputChannels + first) * area
            withScratch { scratch in
                plan.transforms.weightGradient(
                    WinogradWeightGradient(
                        source: dU + panel * plan.weightPanelStride + first * 32, pointStride: plan.weightPointStride,
                        depth: channels, target: x.gradient + kernel, taps: WinogradTaps(whole: shape.kernel),
                        laneStride: shape.inputChannels * area, depthStride: area, accumulate: x.accumulate,
                        scratch: scratch))
            }
        }
    }
}
