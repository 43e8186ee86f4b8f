// Batch norm over one plane of a blocked activation: `pixels` x 16 channels, channel fastest.
//
// Sums run in float over a few pixels and are then added to doubles: the float part has at most `run` terms, so that the
// result is good to about run * 2^-24 of the largest term, whatever the batch.

private let run = 32

/// Adds to `sums` sum(x - pivot) of each of the 16 channels, and to `sums + 16` sum((x - pivot)^2). The pivot, any value
/// of the channel's order of magnitude, keeps the variance exact where the mean is far from 0.
package func planeStatistics(
    _ x: UnsafePointer<Float>, _ pixels: Int, _ pivot: UnsafePointer<Float>, _ sums: UnsafeMutablePointer<Double>
) {
    var lane = 0
    while lane < 16 {
        let center = load(pivot + lane)
        var start = 0
        while start < pixels {
            let end = start &+ run < pixels ? start &+ run : pixels
            var s = Vector.zero
            var q = Vector.zero
            var p = start
            while p < end {
                let d = load(x + (p &* 16 &+ lane)) - center
                s += d
                q = multiplyAdd(d, d, q)
                p &+= 1
            }
            addToDoubles(s, sums + lane)
            addToDoubles(q, sums + (16 &+ lane))
            start = end
        }
        lane &+= lanes
    }
}

/// out = max(x * scale + shift, 0), one scale and shift a channel. `out` may be `x`.
package func affineReluPlane(
    _ x: UnsafePointer<Float>, _ pixels: Int, _ scale: UnsafePointer<Float>, _ shift: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>
) {
    var lane = 0
    while lane < 16 {
        let a = load(scale + lane)
        let b = load(shift + lane)
        var p = 0
        while p < pixels {
            let at = p &* 16 &+ lane
            store(maximum(multiplyAdd(load(x + at), a, b), Vector.zero), out + at)
            p &+= 1
        }
        lane &+= lanes
    }
}

/// The sums that the backward pass of relu(batchNorm(z)) needs. With g = the gradient where the output is positive, else 0:
/// adds sum(g) to `sums` and sum(g * (z - mean)) to `sums + 16`.
package func batchNormGradientSums(
    _ z: UnsafePointer<Float>, _ gradient: UnsafePointer<Float>, _ pixels: Int,
    _ scale: UnsafePointer<Float>, _ shift: UnsafePointer<Float>, _ mean: UnsafePointer<Float>,
    _ sums: UnsafeMutablePointer<Double>
) {
    var lane = 0
    while lane < 16 {
        let a = load(scale + lane)
        let b = load(shift + lane)
        let center = load(mean + lane)
        var start = 0
        while start < pixels {
            let end = start &+ run < pixels ? start &+ run : pixels
            var s = Vector.zero
            var q = Vector.zero
            var p = start
            while p < end {
                let at = p &* 16 &+ lane
                let v = load(z + at)
                let g = keep(load(gradient + at), where: multiplyAdd(v, a, b))
                s += g
                q = multiplyAdd(g, v - center, q)
                p &+= 1
            }
            addToDoubles(s, sums + lane)
            addToDoubles(q, sums + (16 &+ lane))
            start = end
        }
        lane &+= lanes
    }
}

/// In place: gradient = a * g + b * (z - mean) + c, with g as in `batchNormGradientSums`: the gradient of z.
package func batchNormGradient(
    _ z: UnsafePointer<Float>, _ gradient: UnsafeMutablePointer<Float>, _ pixels: Int,
    _ scale: UnsafePointer<Float>, _ shift: UnsafePointer<Float>, _ mean: UnsafePointer<Float>,
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafePointer<Float>
) {
    var lane = 0
    while lane < 16 {
        let vScale = load(scale + lane)
        let vShift = load(shift + lane)
        let center = load(mean + lane)
        let va = load(a + lane)
        let vb = load(b + lane)
        let vc = load(c + lane)
        var p = 0
        while p < pixels {
            let at = p &* 16 &+ lane
            let v = load(z + at)
            let g = keep(load(gradient + at), where: multiplyAdd(v, vScale, vShift))
            store(multiplyAdd(g, va, multiplyAdd(v - center, vb, vc)), gradient + at)
            p &+= 1
        }
        lane &+= lanes
    }
}

/// `v` where `output` is positive, else 0: the gradient of a ReLU.
@_transparent
private func keep(_ v: Vector, where output: Vector) -> Vector {
    v.replacing(with: Vector.zero, where: output .<= Vector.zero)
}

@_transparent
private func addToDoubles(_ v: Vector, _ sums: UnsafeMutablePointer<Double>) {
    var i = 0
    while i < lanes {
        sums[i] += Double(v[i])
        i &+= 1
    }
}
