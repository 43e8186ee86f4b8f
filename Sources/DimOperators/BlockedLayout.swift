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
        let a = load(x), b = load(x + xStride), c = load(x + 2 * xStride), d = load(x + 3 * xStride)
        let ac = SIMD8(lowHalf: a, highHalf: c), bd = SIMD8(lowHalf: b, highHalf: d)
        let even = SIMD8(lowHalf: ac.evenHalf, highHalf: bd.evenHalf)  // a0 a2 c0 c2 b0 b2 d0 d2
        let odd = SIMD8(lowHalf: ac.oddHalf, highHalf: bd.oddHalf)  // a1 a3 c1 c3 b1 b3 d1 d3
        let e0 = even.evenHalf, e1 = even.oddHalf  // a0 c0 b0 d0, a2 c2 b2 d2
        let o0 = odd.evenHalf, o1 = odd.oddHalf
        store(SIMD4(e0[0], e0[2], e0[1], e0[3]), out)
        store(SIMD4(o0[0], o0[2], o0[1], o0[3]), out + outStride)
        store(SIMD4(e1[0], e1[2], e1[1], e1[3]), out + 2 * outStride)
        store(SIMD4(o1[0], o1[2], o1[1], o1[3]), out + 3 * outStride)
    }

    @inline(__always)
    private static func load(_ p: UnsafePointer<Float>) -> SIMD4<Float> {
        UnsafeRawPointer(p).loadUnaligned(as: SIMD4<Float>.self)
    }

    @inline(__always)
    private static func store(_ v: SIMD4<Float>, _ p: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(p).storeBytes(of: v, as: SIMD4<Float>.self)
    }
}
