import DimKernelTypes

// Pooling of one map and one block of 16 channels.

/// Vectors of Int32, as wide as those of Float.
private typealias Integers = Vector.MaskStorage

/// The largest value of each window and its place: the first in reading order, or a NaN, as in PyTorch.
package func maxPool(_ p: PoolMap) {
    forEachWindow(p) { window, lane, top, bottom, left, right in
        var best = Vector(repeating: -Float.infinity)
        var place = Integers(repeating: Int32(truncatingIfNeeded: top &* p.width &+ left))
        var row = top
        while row < bottom {
            var column = left
            while column < right {
                let pixel = row &* p.width &+ column
                let v = load(p.source + (pixel &* 16 &+ lane))
                let wins = (v .> best) .| (v .!= v)
                best.replace(with: v, where: wins)
                place.replace(with: Integers(repeating: Int32(truncatingIfNeeded: pixel)), where: wins)
                column &+= 1
            }
            row &+= 1
        }
        store(best, p.target + (window &* 16 &+ lane))
        if let indices = p.indices {
            let out = UnsafeMutableRawPointer(indices + (window &* 16 &+ lane)).assumingMemoryBound(to: Float.self)
            store(unsafeBitCast(place, to: Vector.self), out)
        }
    }
}

/// source += target at the pixel that `indices` names.
package func maxPoolGradient(_ p: PoolMap) {
    guard let indices = p.indices else { return }
    forEachWindow(p) { window, lane, top, bottom, left, right in
        let g = load(p.target + (window &* 16 &+ lane))
        let at = UnsafeRawPointer(indices + (window &* 16 &+ lane)).assumingMemoryBound(to: Float.self)
        let place = unsafeBitCast(load(at), to: Integers.self)
        var row = top
        while row < bottom {
            var column = left
            while column < right {
                let pixel = row &* p.width &+ column
                let out = p.source + (pixel &* 16 &+ lane)
                let here = place .== Integers(repeating: Int32(truncatingIfNeeded: pixel))
                store(load(out) + Vector.zero.replacing(with: g, where: here), out)
                column &+= 1
            }
            row &+= 1
        }
    }
}

/// The sum of each window over the kernel's size: padding counts as zeros.
package func averagePool(_ p: PoolMap) {
    let size = Vector(repeating: Float(p.kernelRows &* p.kernelColumns))
    forEachWindow(p) { window, lane, top, bottom, left, right in
        var s = Vector.zero
        var row = top
        while row < bottom {
            var column = left
            while column < right {
                s += load(p.source + ((row &* p.width &+ column) &* 16 &+ lane))
                column &+= 1
            }
            row &+= 1
        }
        store(s / size, p.target + (window &* 16 &+ lane))
    }
}

/// source += target / the kernel's size, at each pixel of the window.
package func averagePoolGradient(_ p: PoolMap) {
    let size = Vector(repeating: Float(p.kernelRows &* p.kernelColumns))
    forEachWindow(p) { window, lane, top, bottom, left, right in
        let g = load(p.target + (window &* 16 &+ lane)) / size
        var row = top
        while row < bottom {
            var column = left
            while column < right {
                let out = p.source + ((row &* p.width &+ column) &* 16 &+ lane)
                store(load(out) + g, out)
                column &+= 1
            }
            row &+= 1
        }
    }
}

/// Each window, cut to the map, and each vector of the block's channels.
@_transparent
private func forEachWindow(
    _ p: PoolMap, _ body: (_ window: Int, _ lane: Int, _ top: Int, _ bottom: Int, _ left: Int, _ right: Int) -> Void
) {
    var i = 0
    while i < p.outputHeight {
        let above = i &* p.rowStride &- p.rowPadding
        let top = above < 0 ? 0 : above
        let below = above &+ p.kernelRows
        let bottom = below < p.height ? below : p.height
        var j = 0
        while j < p.outputWidth {
            let before = j &* p.columnStride &- p.columnPadding
            let left = before < 0 ? 0 : before
            let after = before &+ p.kernelColumns
            let right = after < p.width ? after : p.width
            var lane = 0
            while lane < 16 {
                body(i &* p.outputWidth &+ j, lane, top, bottom, left, right)
                lane &+= lanes
            }
            j &+= 1
        }
        i &+= 1
    }
}
