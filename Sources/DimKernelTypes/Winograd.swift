/// What the Winograd transforms are asked to do. One tile of F(m x m, r x r) has n = m + r - 1 points a side; "point" below
/// is one of the n*n. Nothing is owned; every stride counts floats; activations are blocked, (image, C/16, H, W, 16).

/// The transforms of one F(m x m, r x r).
package struct WinogradKernels {
    package let m: Int
    package let r: Int
    /// V = B^T d B, windows of n x n at steps of m.
    package let input: (WinogradWindows) -> Void
    /// y = A^T M A and the epilogue.
    package let output: (WinogradOutput) -> Void
    /// U = G g G^T.
    package let weights: (WinogradWeights) -> Void
    /// dM = A dy A^T, windows of m x m at steps of m.
    package let outputGradient: (WinogradWindows) -> Void
    /// dg = G^T dU G.
    package let weightGradient: (WinogradWeightGradient) -> Void

    package init(
        m: Int, r: Int, input: @escaping (WinogradWindows) -> Void, output: @escaping (WinogradOutput) -> Void,
        weights: @escaping (WinogradWeights) -> Void, outputGradient: @escaping (WinogradWindows) -> Void,
        weightGradient: @escaping (WinogradWeightGradient) -> Void
    ) {
        self.m = m
        self.r = r
        self.input = input
        self.output = output
        self.weights = weights
        self.outputGradient = outputGradient
        self.weightGradient = weightGradient
    }

    package var points: Int { (m + r - 1) * (m + r - 1) }

    /// Floats of scratch memory that each transform needs.
    package static let scratch = 2 * 8 * 8 * 16
}

/// Tiles of a batch, numbered (image, row of tiles, column of tiles); those from `first` on are a call's.
package struct WinogradTiles {
    package var rows: Int
    package var columns: Int
    package var first: Int
    package var count: Int

    package init(rows: Int, columns: Int, first: Int, count: Int) {
        self.rows = rows
        self.columns = columns
        self.first = first
        self.count = count
    }
}

/// From windows of an activation to the points of `blocks` blocks of 16 channels:
/// (point, block, tile, 16) at target + point*pointStride + block*blockStride + tile*16.
package struct WinogradWindows {
    package var tiles: WinogradTiles
    package var source: UnsafePointer<Float>
    package var imageStride: Int
    /// From one block of 16 channels to the next.
    package var sourceBlock: Int
    package var height: Int
    package var width: Int
    /// The first tile's window begins so far before the image; pixels outside of it are read as zero.
    package var rowPadding: Int
    package var columnPadding: Int
    /// From one pixel of a window to the next: the stride of the convolution whose phase this is.
    package var step: Int
    package var firstBlock: Int
    package var blocks: Int
    /// A pixel reads as max(x*scale[c] + shift[c], 0) where these are given; padding stays zero.
    package var scale: UnsafePointer<Float>?
    package var shift: UnsafePointer<Float>?
    package var target: UnsafeMutablePointer<Float>
    package var pointStride: Int
    package var blockStride: Int
    package var scratch: UnsafeMutablePointer<Float>

    package init(
        tiles: WinogradTiles, source: UnsafePointer<Float>, imageStride: Int, sourceBlock: Int, height: Int,
        width: Int, rowPadding: Int, columnPadding: Int, step: Int = 1, firstBlock: Int, blocks: Int,
        scale: UnsafePointer<Float>? = nil, shift: UnsafePointer<Float>? = nil,
        target: UnsafeMutablePointer<Float>, pointStride: Int, blockStride: Int, scratch: UnsafeMutablePointer<Float>
    ) {
        self.tiles = tiles
        self.source = source
        self.imageStride = imageStride
        self.sourceBlock = sourceBlock
        self.height = height
        self.width = width
        self.rowPadding = rowPadding
        self.columnPadding = columnPadding
        self.step = step
        self.firstBlock = firstBlock
        self.blocks = blocks
        self.scale = scale
        self.shift = shift
        self.target = target
        self.pointStride = pointStride
        self.blockStride = blockStride
        self.scratch = scratch
    }
}

/// From the points of 32 output channels, (point, half, tile, 16), to two blocks of an activation, cut off at its edges;
/// y = max(y*scale[c] + bias[c], 0) as far as these are given, from the first of the 32 channels on, or y += where
/// `accumulate`. With `step` s the tiles' pixels are every s-th of the activation's rows and columns, from the offsets on.
package struct WinogradOutput {
    package var tiles: WinogradTiles
    package var source: UnsafePointer<Float>
    package var pointStride: Int
    package var halfStride: Int
    /// The first block of the first image.
    package var target: UnsafeMutablePointer<Float>
    package var imageStride: Int
    package var targetBlock: Int
    package var height: Int
    package var width: Int
    package var step: Int
    package var rowOffset: Int
    package var columnOffset: Int
    package var accumulate: Bool
    package var scale: UnsafePointer<Float>?
    package var bias: UnsafePointer<Float>?
    package var relu: Bool
    package var scratch: UnsafeMutablePointer<Float>

    package init(
        tiles: WinogradTiles, source: UnsafePointer<Float>, pointStride: Int, halfStride: Int,
        target: UnsafeMutablePointer<Float>, imageStride: Int, targetBlock: Int, height: Int, width: Int,
        step: Int = 1, rowOffset: Int = 0, columnOffset: Int = 0, accumulate: Bool = false,
        scale: UnsafePointer<Float>?, bias: UnsafePointer<Float>?, relu: Bool, scratch: UnsafeMutablePointer<Float>
    ) {
        self.tiles = tiles
        self.source = source
        self.pointStride = pointStride
        self.halfStride = halfStride
        self.target = target
        self.imageStride = imageStride
        self.targetBlock = targetBlock
        self.height = height
        self.width = width
        self.step = step
        self.rowOffset = rowOffset
        self.columnOffset = columnOffset
        self.accumulate = accumulate
        self.scale = scale
        self.bias = bias
        self.relu = relu
        self.scratch = scratch
    }
}

/// Which weights of a kernel are the r x r of a transform: those of `rows` and `columns`, at most r each, `rowStep` and
/// `columnStep` floats apart; the others are 0. A phase of a convolution with stride has every s-th row and column.
package struct WinogradTaps {
    package var rows: Int
    package var columns: Int
    package var rowStep: Int
    package var columnStep: Int
    /// Kernels of a panel's 32: beyond these they are 0.
    package var lanes: Int

    package init(rows: Int, columns: Int, rowStep: Int, columnStep: Int, lanes: Int = 32) {
        self.rows = rows
        self.columns = columns
        self.rowStep = rowStep
        self.columnStep = columnStep
        self.lanes = lanes
    }

    /// A whole kernel of r x r.
    package init(whole r: Int) { self.init(rows: r, columns: r, rowStep: r, columnStep: 1) }
}

/// From kernels of r x r floats to the points of 32 of them, a panel of the products' B: (point, k, 32) at
/// target + point*pointStride + k*32. The kernel of (k, lane) is at source + k*depthStride + lane*laneStride.
package struct WinogradWeights {
    package var source: UnsafePointer<Float>
    package var taps: WinogradTaps
    package var laneStride: Int
    package var depthStride: Int
    package var depth: Int
    /// Turned by 180 degrees, for the data gradient.
    package var rotated: Bool
    package var target: UnsafeMutablePointer<Float>
    package var pointStride: Int
    package var scratch: UnsafeMutablePointer<Float>

    package init(
        source: UnsafePointer<Float>, taps: WinogradTaps, laneStride: Int, depthStride: Int, depth: Int, rotated: Bool,
        target: UnsafeMutablePointer<Float>, pointStride: Int, scratch: UnsafeMutablePointer<Float>
    ) {
        self.source = source
        self.taps = taps
        self.laneStride = laneStride
        self.depthStride = depthStride
        self.depth = depth
        self.rotated = rotated
        self.target = target
        self.pointStride = pointStride
        self.scratch = scratch
    }
}

/// The way back from `WinogradWeights` for gradients: from (point, k, 32) to kernels of r x r floats.
package struct WinogradWeightGradient {
    package var source: UnsafePointer<Float>
    package var pointStride: Int
    package var depth: Int
    package var target: UnsafeMutablePointer<Float>
    package var taps: WinogradTaps
    package var laneStride: Int
    package var depthStride: Int
    package var accumulate: Bool
    package var scratch: UnsafeMutablePointer<Float>

    package init(
        source: UnsafePointer<Float>, pointStride: Int, depth: Int, target: UnsafeMutablePointer<Float>,
        taps: WinogradTaps, laneStride: Int, depthStride: Int, accumulate: Bool, scratch: UnsafeMutablePointer<Float>
    ) {
        self.source = source
        self.pointStride = pointStride
        self.depth = depth
        self.target = target
        self.taps = taps
        self.laneStride = laneStride
        self.depthStride = depthStride
        self.accumulate = accumulate
        self.scratch = scratch
    }
}
