import DimKernels

/// Windows of fewer than 16 channels: (rows, compactStep), k = (place, channel) without the lanes that pad a block.
///
/// The map's lines are first packed, c floats a pixel, with the padding around them; then one line of a window is one piece
/// of memory. A vector always has 16 lanes: what is too much is overwritten by what comes next.
extension PatchConvolution {
    private var packedHeight: Int { input.height + 2 * padding.rows }
    private var packedWidth: Int { input.width + 2 * padding.columns }

    /// Floats for the windows of that many rows, and the packed lines behind them.
    func compactScratch(rows: Int) -> Int {
        let lines = min(output.height, rows / output.width + 2)
        return rows * compactStep + ((lines - 1) * stride.rows + kernel.rows) * packedWidth * input.channels + 32
    }

    /// The windows `rows`, at most `most`, into memory of compactScratch(rows: most) floats.
    func gatherCompact(_ x: Activation, _ rows: Range<Int>, most: Int, into columns: UnsafeMutablePointer<Float>) {
        let channels = input.channels
        let packed = columns + most * compactStep
        let line = packedWidth * channels
        var row = rows.lowerBound
        while row < rows.upperBound {
            // As far as one image goes.
            let image = row / output.pixels
            let end = min(rows.upperBound, (image + 1) * output.pixels)
            let lines = row / output.width..<(end - 1) / output.width + 1
            let top = (lines.lowerBound - image * output.height) * stride.rows
            kernels.gatherPatches(
                PatchRows(
                    source: x.block(0), height: input.height, width: input.width, outputHeight: packedHeight,
                    outputWidth: packedWidth, rowStride: 1, columnStride: 1, rowShift: -padding.rows,
                    columnShift: -padding.columns, first: (image * packedHeight + top) * packedWidth,
                    count: ((lines.count - 1) * stride.rows + kernel.rows) * packedWidth, target: packed,
                    targetStep: channels))
            for i in lines {
                let windows = max(row, i * output.width)..<min(end, (i + 1) * output.width)
                let source =
                    packed + (i - lines.lowerBound) * stride.rows * line
                    + (windows.lowerBound - i * output.width) * stride.columns * channels
                let target = columns + (windows.lowerBound - rows.lowerBound) * compactStep
                for u in 0..<kernel.rows {
                    kernels.copyVectors(
                        source + u * line, stride.columns * channels, target + u * kernel.columns * channels,
                        compactStep, windows.count, (kernel.columns * channels + 15) / 16)
                }
            }
            row = end
        }
    }
}
