// Activations in place and affine maps, for activations of any shape.

/// x = max(x, 0); NaN stays NaN.
package func reluInPlace(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store(relu(load(x + i)), x + i)
        i &+= lanes
    }
    while i < count {
        if x[i] < 0 { x[i] = 0 }
        i &+= 1
    }
}

/// y *= x
package func multiply(_ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ count: Int) {
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        store(load(x + i) * load(y + i), y + i)
        i &+= lanes
    }
    while i < count {
        y[i] *= x[i]
        i &+= 1
    }
}

/// out = x * scale + shift, then max(., 0) if asked, over rows of 16 channels; NaN stays NaN. `out` may be `x`.
package func affinePlane(
    _ x: UnsafePointer<Float>, _ rows: Int, _ scale: UnsafePointer<Float>, _ shift: UnsafePointer<Float>,
    _ isRelu: Bool,
    _ out: UnsafeMutablePointer<Float>
) {
    var lane = 0
    while lane < 16 {
        let a = load(scale + lane)
        let b = load(shift + lane)
        var p = lane
        let end = rows &* 16
        if isRelu {
            while p < end {
                store(relu(multiplyAdd(load(x + p), a, b)), out + p)
                p &+= 16
            }
        } else {
            while p < end {
                store(multiplyAdd(load(x + p), a, b), out + p)
                p &+= 16
            }
        }
        lane &+= lanes
    }
}

/// x = 1 / (1 + e^-x), for `count` values, a multiple of 16.
///
/// With e = e^-|x|, which cannot overflow: 1 / (1 + e), or e / (1 + e) for negative x. e^x by Cephes' polynomial, 2 ulp;
/// below -86 the result is that of -86, 4e-38.
package func sigmoid(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
    let one = Vector(repeating: 1)
    let floor = Vector(repeating: -86)
    var i = 0
    while i < count {
        let v = load(x + i)
        let e = exponential(maximum(floor, Vector.zero - maximum(v, Vector.zero - v)))
        let numerator = one.replacing(with: e, where: v .< Vector.zero)
        store((numerator / (one + e)).replacing(with: v, where: v .!= v), x + i)
        i &+= lanes
    }
}

/// gradient *= y (1 - y), for `count` values, a multiple of 16.
package func sigmoidGradient(_ y: UnsafePointer<Float>, _ gradient: UnsafeMutablePointer<Float>, _ count: Int) {
    let one = Vector(repeating: 1)
    var i = 0
    while i < count {
        let v = load(y + i)
        store(load(gradient + i) * (v * (one - v)), gradient + i)
        i &+= lanes
    }
}

/// e^x for x in -86 ... 0: 2^k e^r, |r| <= ln 2 / 2.
@inline(__always)
private func exponential(_ x: Vector) -> Vector {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    let magic = Vector(repeating: 0x1.8p23)
    let t = multiplyAdd(x, Vector(repeating: 1.442_695_04), magic)
    let k = t - magic
    let r = multiplyAdd(k, Vector(repeating: 2.121_944_4e-4), multiplyAdd(k, Vector(repeating: -0.693_359_375), x))
    var p = Vector(repeating: 1.987_569_15e-4)
    p = multiplyAdd(p, r, Vector(repeating: 1.398_199_95e-3))
    p = multiplyAdd(p, r, Vector(repeating: 8.333_452e-3))
    p = multiplyAdd(p, r, Vector(repeating: 4.166_579_6e-2))
    p = multiplyAdd(p, r, Vector(repeating: 1.666_666_55e-1))
    p = multiplyAdd(p, r, Vector(repeating: 5.000_000_1e-1))
    p = multiplyAdd(p, r * r, r + Vector(repeating: 1))
    let bits =
        unsafeBitCast(p, to: Vector.MaskStorage.self)
        &+ (unsafeBitCast(t, to: Vector.MaskStorage.self) &<< Vector.MaskStorage(repeating: 23))
    return unsafeBitCast(bits, to: Vector.self)
}

/// Adds to `sums` the sums of 16 channels over `rows` rows, in double: what is summed may all but cancel.
package func addRowSums(_ x: UnsafePointer<Float>, _ rows: Int, _ sums: UnsafeMutablePointer<Double>) {
    var lane = 0
    while lane < 16 {
        addRows(x + lane, rows, sums + lane)
        lane &+= lanes
    }
}
