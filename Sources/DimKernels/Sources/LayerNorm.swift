import DimKernelTypes

// Layer norm over the channels of each row of a blocked activation. Lanes past the last channel are zero in x and y.

/// y = (x - mean) / sqrt(var + eps) * weight + bias; `statistics` = (mean, 1 / sqrt(var + eps)) of each row.
package func layerNorm(_ n: LayerNormRows) {
    withTail(n) { weightTail, biasTail, ones in
        let blocks = (n.channels &+ 15) / 16
        let whole = n.channels / 16
        let count = Double(n.channels)
        var row = 0
        while row < n.rows {
            let x = n.x + row &* 16
            let mean = sumBlocks(blocks) { block, lane in load(x + (block &* n.blockStride &+ lane)) } / count
            let center = Vector(repeating: Float(mean))
            let squares = sumBlocks(blocks) { block, lane in
                var c = center
                if block >= whole { c *= load(ones + lane) }
                let d = load(x + (block &* n.blockStride &+ lane)) - c
                return d * d
            }
            // The center is rounded: what that adds to the squares is taken off.
            let off = mean - Double(Float(mean))
            let variance = squares / count - off * off
            let inverse = Float(
                1 / ((variance > 0 ? variance : variance == variance ? 0 : variance) + 1e-5).squareRoot())
            n.statistics[2 &* row] = Float(mean)
            n.statistics[2 &* row &+ 1] = inverse
            let y = n.y + row &* 16
            var block = 0
            while block < blocks {
                let isWhole = block < whole
                let weight = isWhole ? n.weight + block &* 16 : weightTail
                let bias = isWhole ? n.bias.unsafelyUnwrapped + block &* 16 : biasTail
                var lane = 0
                while lane < 16 {
                    let at = block &* n.blockStride &+ lane
                    let normal = (load(x + at) - center) * Vector(repeating: inverse)
                    store(multiplyAdd(normal, load(weight + lane), load(bias + lane)), y + at)
                    lane &+= lanes
                }
                block &+= 1
            }
            row &+= 1
        }
    }
}

/// In place: the gradient of y to that of x. With g = dy weight and xhat = (x - mean) inverse:
/// dx = inverse (g - mean(g) - xhat mean(g xhat)).
package func layerNormGradient(_ n: LayerNormRows) {
    withTail(n) { weightTail, _, ones in
        let blocks = (n.channels &+ 15) / 16
        let whole = n.channels / 16
        let count = Double(n.channels)
        var row = 0
        while row < n.rows {
            let x = n.x + row &* 16
            let dy = n.y + row &* 16
            let center = Vector(repeating: n.statistics[2 &* row])
            let inverse = Vector(repeating: n.statistics[2 &* row &+ 1])
            let first = sumBlocks(blocks) { block, lane in
                let weight = block < whole ? n.weight + block &* 16 : weightTail
                return load(dy + (block &* n.blockStride &+ lane)) * load(weight + lane)
            }
            let second = sumBlocks(blocks) { block, lane in
                let at = block &* n.blockStride &+ lane
                let weight = block < whole ? n.weight + block &* 16 : weightTail
                return load(dy + at) * load(weight + lane) * ((load(x + at) - center) * inverse)
            }
            let m1 = Vector(repeating: Float(first / count))
            let m2 = Vector(repeating: Float(second / count))
            var block = 0
            while block < blocks {
                let isWhole = block < whole
                let weight = isWhole ? n.weight + block &* 16 : weightTail
                var lane = 0
                while lane < 16 {
                    let at = block &* n.blockStride &+ lane
                    let normal = (load(x + at) - center) * inverse
                    let d = (load(dy + at) * load(weight + lane) - m1 - normal * m2) * inverse
                    store(isWhole ? d : d * load(ones + lane), dy + at)
                    lane &+= lanes
                }
                block &+= 1
            }
            row &+= 1
        }
    }
}

/// For one block of 16 channels: adds sum(dy xhat) over rows to `sums` and sum(dy) to `sums + 16`.
package func layerNormGradientSums(
    _ x: UnsafePointer<Float>, _ dy: UnsafePointer<Float>, _ rows: Int, _ statistics: UnsafePointer<Float>,
    _ sums: UnsafeMutablePointer<Double>
) {
    var lane = 0
    while lane < 16 {
        var start = 0
        while start < rows {
            let end = start &+ 32 < rows ? start &+ 32 : rows
            var s = Vector.zero
            var q = Vector.zero
            var r = start
            while r < end {
                let at = r &* 16 &+ lane
                let g = load(dy + at)
                let center = Vector(repeating: statistics[2 &* r])
                let inverse = Vector(repeating: statistics[2 &* r &+ 1])
                q = multiplyAdd(g, (load(x + at) - center) * inverse, q)
                s += g
                r &+= 1
            }
            addLanes(q, sums + lane)
            addLanes(s, sums + (16 &+ lane))
            start = end
        }
        lane &+= lanes
    }
}

@inline(__always)
private func addLanes(_ v: Vector, _ sums: UnsafeMutablePointer<Double>) {
    var i = 0
    while i < lanes {
        sums[i] += Double(v[i])
        i &+= 1
    }
}

/// The sum over all lanes of all blocks: in float over 16 blocks at a time, the rest in double.
@_transparent
private func sumBlocks(_ blocks: Int, _ value: (_ block: Int, _ lane: Int) -> Vector) -> Double {
    var total = 0.0
    var start = 0
    while start < blocks {
        let end = start &+ 16 < blocks ? start &+ 16 : blocks
        var s = Vector.zero
        var block = start
        while block < end {
            var lane = 0
            while lane < 16 {
                s += value(block, lane)
                lane &+= lanes
            }
            block &+= 1
        }
        var i = 0
        while i < lanes {
            total += Double(s[i])
            i &+= 1
        }
        start = end
    }
    return total
}

/// Weight and bias of the last block where it has fewer than 16 channels, zeros past the last, and ones likewise.
@_transparent
private func withTail(
    _ n: LayerNormRows,
    _ body: (_ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ ones: UnsafePointer<Float>) -> Void
) {
    withUnsafeTemporaryAllocation(byteCount: 3 * 16 * 4, alignment: 64) { raw in
        let tail = raw.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self)
        let first = n.channels / 16 &* 16
        var lane = 0
        while lane < 16 {
            let isThere = first &+ lane < n.channels
            tail[lane] = isThere ? n.weight[first &+ lane] : 0
            tail[16 &+ lane] = isThere ? n.bias?[first &+ lane] ?? 0 : 0
            tail[32 &+ lane] = isThere ? 1 : 0
            lane &+= 1
        }
        body(tail, tail + 16, tail + 32)
    }
}
