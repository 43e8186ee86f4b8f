import DimArchitecture
import DimKernels
import DimRuntime

/// Winograd's algorithm for the convolutions of any architecture, of stride 1 or more.
///
/// A convolution of stride s is the sum of s x s convolutions of stride 1, one for each phase of the image (every s-th row
/// and column) with every s-th row and column of the kernel. So the phases are channels of one convolution of stride 1 with
/// kernels of r x r, r = kernel / s rounded up, and F(m, r) applies. The transforms read and write the activations with steps
/// of s pixels: no phase is ever copied. See docs/kernels.md.
///
/// Sums over (phase, channel) are chains of `chain` terms, added in their order. Tiles do not depend on the batch.
final class PhaseConvolution {
    let input: MapShape
    let output: MapShape
    let kernel: (rows: Int, columns: Int)
    let padding: (rows: Int, columns: Int)
    /// s, of rows and of columns.
    let stride: Int
    /// Floats from an output's weights to the next one's; where the first input's are.
    let weightStride: Int
    let firstWeight: Int
    let transforms: WinogradKernels
    let kernels: KernelTable
    let workers: Int

    /// Terms of a chain: shorter ones take away what the transforms add to the error.
    static let chain = 128

    /// nil where there are no such transforms.
    init?(_ layer: PatchConvolution, m: Int) {
        guard layer.stride.rows == layer.stride.columns, !layer.isCompact, layer.places > 1 else { return nil }
        let s = layer.stride.rows
        let r = (layer.kernel.rows + s - 1) / s
        // Every phase has a row and a column of the kernel.
        guard (layer.kernel.columns + s - 1) / s == r, min(layer.kernel.rows, layer.kernel.columns) >= s,
            let transforms = layer.kernels.winograd(m, r)
        else { return nil }
        (input, output, kernel, padding, stride) = (layer.input, layer.output, layer.kernel, layer.padding, s)
        (weightStride, firstWeight) = (layer.weightStride, layer.firstInput * layer.places)
        (self.transforms, kernels, workers) = (transforms, layer.kernels, layer.workers)
    }

    var m: Int { transforms.m }
    var r: Int { transforms.r }
    var points: Int { transforms.points }
    var phases: Int { stride * stride }
    var inputBlocks: Int { (input.channels + 15) / 16 }
    var outputBlocks: Int { (output.channels + 15) / 16 }

    /// The kernel's rows and columns of a phase.
    func taps(_ phase: Int, lanes: Int) -> WinogradTaps {
        WinogradTaps(
            rows: (kernel.rows - phase / stride + stride - 1) / stride,
            columns: (kernel.columns - phase % stride + stride - 1) / stride,
            rowStep: stride * kernel.columns, columnStep: stride, lanes: lanes)
    }

    /// The position of a phase's first weight in a kernel.
    func firstTap(_ phase: Int) -> Int { phase / stride * kernel.columns + phase % stride }

    /// A phase whose last row or column is missing is 0 at the points at infinity.
    func isUsed(_ phase: Int, at point: Int) -> Bool {
        let (n, taps) = (m + r - 1, taps(phase, lanes: 32))
        return (point / n < n - 1 || taps.rows == r) && (point % n < n - 1 || taps.columns == r)
    }

    // MARK: Passes

    /// One sum of products over all points: from windows of `from`, a phase for each padding, to every s-th pixel of `to`.
    struct Pass {
        var from: MapShape
        var to: MapShape
        var paddings: [(row: Int, column: Int)]
        var step: Int
        var targetStep: Int
        var rowOffset: Int
        var columnOffset: Int
        /// Whose weights; nil for all phases in one sum.
        var phase: Int?
        let tileRows: Int
        let tileColumns: Int

        init(
            _ m: Int, from: MapShape, to: MapShape, paddings: [(row: Int, column: Int)], step: Int = 1,
            targetStep: Int = 1, rowOffset: Int = 0, columnOffset: Int = 0, phase: Int? = nil
        ) {
            (self.from, self.to, self.paddings, self.step) = (from, to, paddings, step)
            (self.targetStep, self.rowOffset, self.columnOffset) = (targetStep, rowOffset, columnOffset)
            self.phase = phase
            tileRows = ((to.height - rowOffset + targetStep - 1) / targetStep + m - 1) / m
            tileColumns = ((to.width - columnOffset + targetStep - 1) / targetStep + m - 1) / m
        }

        /// Tiles of an image.
        var tiles: Int { tileRows * tileColumns }
        var panels: Int { (to.channels + 31) / 32 }
        var blocksOfPhase: Int { (from.channels + 15) / 16 }
        /// Blocks of 16 terms of the sum.
        var blocks: Int { paddings.count * blocksOfPhase }
        var depth: Int { blocks * 16 }
    }

    /// y(i) = the sum over phases q and rows a of x(s (i + a) + q - padding) w(s a + q).
    var forwardPass: Pass {
        Pass(
            m, from: input, to: output,
            paddings: (0..<phases).map { (padding.rows - $0 / stride, padding.columns - $0 % stride) }, step: stride)
    }

    /// A pass for each phase q of dx: at s i + q - padding it is the sum over rows a of dy(i - a) w(s a + q). A kernel that is
    /// a row short is turned about its own rows, so that its 0 comes last.
    var dataGradientPasses: [Pass] {
        (0..<phases).compactMap { phase in
            let taps = taps(phase, lanes: 32)
            func place(_ q: Int, _ padding: Int, _ taps: Int) -> (offset: Int, padding: Int) {
                let offset = ((q - padding) % stride + stride) % stride
                return (offset, taps - 1 - (offset - q + padding) / stride)
            }
            let row = place(phase / stride, padding.rows, taps.rows)
            let column = place(phase % stride, padding.columns, taps.columns)
            guard row.offset < input.height, column.offset < input.width else { return nil }
            return Pass(
                m, from: output, to: input, paddings: [(row.padding, column.padding)], targetStep: stride,
                rowOffset: row.offset, columnOffset: column.offset, phase: phase)
        }
    }

    // MARK: Weights

    /// Strides are odd multiples of a cache line: those of a power of two would fall into the same sets of the caches.
    static let pad = 16

    // U: (panel, point, k, 32), for the data gradient (phase, panel, point, k, 32).
    func weightPointStride(_ depth: Int) -> Int { depth * 32 + PhaseConvolution.pad }
    func weightPanelStride(_ depth: Int) -> Int { points * weightPointStride(depth) }

    func packedCount(_ direction: PatchConvolution.Direction) -> Int {
        switch direction {
        case .forward, .training: (output.channels + 31) / 32 * weightPanelStride(phases * inputBlocks * 16)
        case .dataGradient: phases * (input.channels + 31) / 32 * weightPanelStride(outputBlocks * 16)
        }
    }

    /// The first weights of a pass.
    func packedOffset(_ pass: Pass) -> Int {
        (pass.phase ?? 0) * pass.panels * weightPanelStride(pass.depth)
    }

    func pack(
        _ weights: UnsafePointer<Float>, _ direction: PatchConvolution.Direction,
        into packed: UnsafeMutablePointer<Float>
    ) {
        let places = kernel.rows * kernel.columns
        let isForward = direction != .dataGradient
        let (lanes, depth) = isForward ? (output.channels, input.channels) : (input.channels, output.channels)
        let (laneStride, depthStride) = isForward ? (weightStride, places) : (places, weightStride)
        let padded = (depth + 15) / 16 * 16
        let whole = isForward ? phases * padded : padded
        let (pointStride, panelStride) = (weightPointStride(whole), weightPanelStride(whole))
        let panels = (lanes + 31) / 32
        ThreadPool.shared.parallel(phases * panels) { task, _ in
            // The phases of a panel one after another: they read the same lines.
            let (panel, phase) = (task / phases, task % phases)
            let target =
                packed
                + (isForward ? panel * panelStride + phase * padded * 32 : (phase * panels + panel) * panelStride)
            for point in 0..<points {
                (target + point * pointStride + depth * 32).update(repeating: 0, count: (padded - depth) * 32)
            }
            withScratch { scratch in
                transforms.weights(
                    WinogradWeights(
                        source: weights + firstWeight + panel * 32 * laneStride + firstTap(phase),
                        taps: taps(phase, lanes: min(32, lanes - panel * 32)), laneStride: laneStride,
                        depthStride: depthStride, depth: depth, rotated: !isForward, target: target,
                        pointStride: pointStride, scratch: scratch))
            }
        }
    }

    // MARK: Transformed operands

    static func odd(_ n: Int) -> Int { n | 1 }

    // V (point, block, tile, 16) and M (point, half, tile, 16) for so many tiles.
    func blockStride(_ tiles: Int) -> Int { PhaseConvolution.odd(tiles) * 16 }
    func pointStride(_ blocks: Int, _ tiles: Int) -> Int { blocks * blockStride(tiles) + PhaseConvolution.pad }
    func count(_ blocks: Int, _ tiles: Int) -> Int { points * pointStride(blocks, tiles) }

    /// The windows of one phase, one block of channels, of some tiles, to their place in a V.
    func transformInput(
        _ pass: Pass, _ x: Activation, block: Int, _ tiles: WinogradTiles, into v: UnsafeMutablePointer<Float>,
        blockStride: Int, pointStride: Int, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let (phase, channels) = (block / pass.blocksOfPhase, block % pass.blocksOfPhase)
        transforms.input(
            WinogradWindows(
                tiles: tiles, source: x.block(channels), imageStride: x.shape.pixels * 16, sourceBlock: x.blockStride,
                height: x.shape.height, width: x.shape.width, rowPadding: pass.paddings[phase].row,
                columnPadding: pass.paddings[phase].column, step: pass.step, firstBlock: 0, blocks: 1,
                target: v + block * blockStride, pointStride: pointStride, blockStride: blockStride, scratch: scratch))
    }
}
