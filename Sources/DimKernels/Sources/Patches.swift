import DimKernelTypes

// Windows of a convolution to rows of a matrix and back, 16 channels at a time.

/// target = the windows' values, 0 outside of the map.
package func gatherPatches(_ p: PatchRows) { forEachLine(p, scatter: false) }

/// source += target, at the windows' pixels.
package func scatterPatches(_ p: PatchRows) { forEachLine(p, scatter: true) }

/// Copies of `vectors` times 16 floats each, from source + r * sourceStep to target + r * step, in this order: they may
/// overlap what the next one overwrites.
package func copyVectors(
    _ source: UnsafePointer<Float>, _ sourceStep: Int, _ target: UnsafeMutablePointer<Float>, _ step: Int, _ count: Int,
    _ vectors: Int
) {
    var part = 0
    while part < vectors {
        moveRows(source + part &* 16, sourceStep, to: target + part &* 16, step, count, adding: false)
        part &+= 1
    }
}

/// Goes over the output's lines, as far as they belong to the range.
@inline(__always)
private func forEachLine(_ p: PatchRows, scatter: Bool) {
    // Output columns whose pixel is inside: columnShift + j * columnStride in 0 ..< width.
    let from = p.columnShift >= 0 ? 0 : (p.columnStride &- 1 &- p.columnShift) / p.columnStride
    let past = p.width &- p.columnShift
    let to = past <= 0 ? 0 : (past &+ p.columnStride &- 1) / p.columnStride
    var line = p.first / p.outputWidth
    var column = p.first &- line &* p.outputWidth
    var image = line / p.outputHeight
    var i = line &- image &* p.outputHeight
    var left = p.count
    var target = p.target
    while left > 0 {
        let end = p.outputWidth &- column < left ? p.outputWidth : column &+ left
        let row = i &* p.rowStride &+ p.rowShift
        let isInside = row >= 0 && row < p.height
        var first = from > column ? from : column
        if first > end || !isInside { first = end }
        var last = to < end ? to : end
        if last < first { last = first }
        if !scatter { clearRows(target, p.targetStep, first &- column) }
        if last > first {
            let pixel = (image &* p.height &+ row) &* p.width &+ first &* p.columnStride &+ p.columnShift
            let at = target + (first &- column) &* p.targetStep
            let pixels = p.source + pixel &* 16
            if scatter {
                moveRows(at, p.targetStep, to: pixels, p.columnStride &* 16, last &- first, adding: true)
            } else {
                moveRows(pixels, p.columnStride &* 16, to: at, p.targetStep, last &- first, adding: false)
            }
        }
        if !scatter { clearRows(target + (last &- column) &* p.targetStep, p.targetStep, end &- last) }
        target += (end &- column) &* p.targetStep
        left &-= end &- column
        column = 0
        line &+= 1
        i &+= 1
        if i == p.outputHeight {
            i = 0
            image &+= 1
        }
    }
}

@inline(__always)
private func clearRows(_ target: UnsafeMutablePointer<Float>, _ step: Int, _ count: Int) {
    var r = 0
    var out = target
    while r < count {
        var lane = 0
        while lane < 16 {
            store(Vector.zero, out + lane)
            lane &+= lanes
        }
        out += step
        r &+= 1
    }
}

/// Adds to the target, or overwrites it.
@inline(__always)
private func moveRows(
    _ source: UnsafePointer<Float>, _ sourceStep: Int, to target: UnsafeMutablePointer<Float>, _ step: Int,
    _ count: Int,
    adding: Bool
) {
    var r = 0
    var x = source
    var out = target
    while r < count {
        var lane = 0
        while lane < 16 {
            let value = load(x + lane)
            store(adding ? load(out + lane) + value : value, out + lane)
            lane &+= lanes
        }
        x += sourceStep
        out += step
        r &+= 1
    }
}
