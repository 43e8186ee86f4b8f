import DimRuntime

/// Converts between PyTorch's planes (c, h, w) and the blocked layout (c/16, h, w, 16) that the kernels work on: a
/// vector of 16 channels at each pixel. Channel counts are multiples of 16.
package enum BlockedLayout {
    package static let block = 16

    /// (channels, pixels) to (channels/16, pixels, 16), one image.
    package static func block(
        _ planes: UnsafePointer<Float>, channels: Int, pixels: Int, into blocked: UnsafeMutablePointer<Float>
    ) {
        for c in stride(from: 0, to: channels, by: block) {
            transpose(
                planes + c * pixels, rows: block, columns: pixels, stride: pixels, into: blocked + c * pixels,
                stride: block)
        }
    }

    /// (channels/16, pixels, 16) to (channels, pixels), one image.
    package static func unblock(
        _ blocked: UnsafePointer<Float>, channels: Int, pixels: Int, into planes: UnsafeMutablePointer<Float>
    ) {
        for c in stride(from: 0, to: channels, by: block) {
            transpose(
                blocked + c * pixels, rows: pixels, columns: block, stride: block, into: planes + c * pixels,
                stride: pixels)
        }
    }

    /// out[j][i] = x[i][j], four by four.
    package static func transpose(
        _ x: UnsafePointer<Float>, rows: Int, columns: Int, stride xStride: Int,
        into out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        let wholeRows = rows & ~3
        let wholeColumns = columns & ~3
        var i = 0
        while i < wholeRows {
            let source = x + i * xStride
            var j = 0
            while j < wholeColumns {
                transpose4(source + j, xStride, out + (j * outStride + i), outStride)
                j += 4
            }
            i += 4
        }
        for i in 0..<rows {
            for j in (i < wholeRows ? wholeColumns : 0)..<columns { out[j * outStride + i] = x[i * xStride + j] }
        }
    }

    @inline(__always)
    private static func transpose4(
        _ x: UnsafePointer<Float>, _ xStride: Int, _ out: UnsafeMutablePointer<Float>, _ outStride: Int
    ) {
        let turned = turn4(load4(x), load4(x + xStride), load4(x + 2 * xStride), load4(x + 3 * xStride))
        store4(turned.0, out)
        store4(turned.1, out + outStride)
        store4(turned.2, out + 2 * outStride)
        store4(turned.3, out + 3 * outStride)
    }
}
