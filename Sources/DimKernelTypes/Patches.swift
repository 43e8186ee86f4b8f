/// One place (u, v) of a convolution's kernel over a range of its windows, for one block of 16 channels. Window r, counted
/// over images, output rows and output columns, reads the pixel
///
///     (image, i * rowStride + rowShift, j * columnStride + columnShift)
///
/// of `source`, (images, height, width, 16), which is outside where the window hangs over the edge.
/// The window's 16 values are at target + (r - first) * targetStep.
package struct PatchRows {
    package var source: UnsafeMutablePointer<Float>
    package var height: Int
    package var width: Int
    package var outputHeight: Int
    package var outputWidth: Int
    package var rowStride: Int
    package var columnStride: Int
    /// u - padding and v - padding.
    package var rowShift: Int
    package var columnShift: Int
    package var first: Int
    package var count: Int
    package var target: UnsafeMutablePointer<Float>
    package var targetStep: Int

    package init(
        source: UnsafeMutablePointer<Float>, height: Int, width: Int, outputHeight: Int, outputWidth: Int,
        rowStride: Int, columnStride: Int, rowShift: Int, columnShift: Int, first: Int, count: Int,
        target: UnsafeMutablePointer<Float>, targetStep: Int
    ) {
        self.source = source
        self.height = height
        self.width = width
        self.outputHeight = outputHeight
        self.outputWidth = outputWidth
        self.rowStride = rowStride
        self.columnStride = columnStride
        self.rowShift = rowShift
        self.columnShift = columnShift
        self.first = first
        self.count = count
        self.target = target
        self.targetStep = targetStep
    }
}

/// A pooling layer over one image's map and one block of 16 channels: `source` (height, width, 16), `target`
/// (outputHeight, outputWidth, 16). What a window has outside of the map is left out of a maximum and is 0 in a mean.
package struct PoolMap {
    package var source: UnsafeMutablePointer<Float>
    package var height: Int
    package var width: Int
    package var target: UnsafeMutablePointer<Float>
    package var outputHeight: Int
    package var outputWidth: Int
    package var kernelRows: Int
    package var kernelColumns: Int
    package var rowStride: Int
    package var columnStride: Int
    package var rowPadding: Int
    package var columnPadding: Int
    /// Of each maximum, the pixel i * width + j of the source, in the target's layout; or nil.
    package var indices: UnsafeMutablePointer<Int32>?

    package init(
        source: UnsafeMutablePointer<Float>, height: Int, width: Int, target: UnsafeMutablePointer<Float>,
        outputHeight: Int, outputWidth: Int, kernelRows: Int, kernelColumns: Int, rowStride: Int, columnStride: Int,
        rowPadding: Int, columnPadding: Int, indices: UnsafeMutablePointer<Int32>?
    ) {
        self.source = source
        self.height = height
        self.width = width
        self.target = target
        self.outputHeight = outputHeight
        self.outputWidth = outputWidth
        self.kernelRows = kernelRows
        self.kernelColumns = kernelColumns
        self.rowStride = rowStride
        self.columnStride = columnStride
        self.rowPadding = rowPadding
        self.columnPadding = columnPadding
        self.indices = indices
    }
}

/// Rows of a blocked activation to be normalised over their channels: (channels/16, rows, 16), a block `blockStride` floats
/// after the last. `statistics` holds mean and 1 / sqrt(var + eps) of each row; weight and bias are PyTorch's, unpadded.
package struct LayerNormRows {
    package var x: UnsafePointer<Float>
    package var blockStride: Int
    package var rows: Int
    package var channels: Int
    package var weight: UnsafePointer<Float>
    /// Forward: not nil.
    package var bias: UnsafePointer<Float>?
    /// Forward: y. Backward: the gradient of y in, of x out.
    package var y: UnsafeMutablePointer<Float>
    package var statistics: UnsafeMutablePointer<Float>

    package init(
        x: UnsafePointer<Float>, blockStride: Int, rows: Int, channels: Int, weight: UnsafePointer<Float>,
        bias: UnsafePointer<Float>?, y: UnsafeMutablePointer<Float>, statistics: UnsafeMutablePointer<Float>
    ) {
        self.x = x
        self.blockStride = blockStride
        self.rows = rows
        self.channels = channels
        self.weight = weight
        self.bias = bias
        self.y = y
        self.statistics = statistics
    }
}
