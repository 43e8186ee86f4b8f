import DimKernelTypes

// Exponentials, softplus and sigmoid over plain arrays of floats, of any length and alignment.
//
// Goals, in order: no overflow that the result does not have; NaN stays NaN; errors of a few units in the last place; speed.
//
//     exp(a) = 2^k exp(r),  k = round(a / ln 2),  r = a - k ln 2 in two parts,  |r| <= 0.347
//     exp(r) = 1 + r + r^2 q(r),  q of degree 4: minimax in the relative error of exp, 3e-9
//     log(1 + z) = 2 atanh(s) = s (2 + s^2 p(s^2)),  s = z / (2 + z),  0 <= z <= 1, p of degree 4, minimax, 1.2e-10
//     softplus(a) = max(a, 0) + log(1 + exp(-|a|)),  sigmoid(a) = (1 or z) / (1 + z),  z = exp(-|a|)
//
// Error where the result is a normal float, on every instruction set: exp 1.1 ULP, softplus 2.6, sigmoid 2.1. Smaller results,
// below 2^-126, are 0: numbers without a float's full precision are slow on most processors. Measured over one in 997 of
// all floats, softplus one in 9,973, by `Tests/DimKernelsTests/ExponentialTests.swift`.

/// The largest of sign * x; -infinity for no values. Where some are NaN, any of the values.
package func largest(_ x: UnsafePointer<Float>, _ count: Int, _ sign: Float) -> Float {
    let whole = count / lanes &* lanes
    let s = Vector(repeating: sign)
    var top = Vector(repeating: -.infinity)
    var i = 0
    while i < whole {
        top = maximum(s * load(x + i), top)
        i &+= lanes
    }
    if i < count { top = maximum(s * loadPart(x + i, count &- i, -sign * .infinity), top) }
    var result = top[0]
    i = 1
    while i < lanes {
        if top[i] > result { result = top[i] }
        i &+= 1
    }
    return result
}

/// The sum of x.
package func total(_ x: UnsafePointer<Float>, _ count: Int) -> Double {
    var result = 0.0
    var start = 0
    while start < count {
        let end = start &+ run < count ? start &+ run : count
        var s = Vector.zero
        var i = start
        while i &+ lanes <= end {
            s += load(x + i)
            i &+= lanes
        }
        if i < end { s += loadPart(x + i, end &- i, 0) }
        result += sumInDouble(s)
        start = end
    }
    return result
}

/// out = factor * exp(a), where `out` is given, which may be `x`; returns the sum of exp(a). See `Exponent` for a.
package func exponentials(
    _ x: UnsafePointer<Float>, _ count: Int, _ e: Exponent, _ out: UnsafeMutablePointer<Float>?
) -> Double {
    let factor = Vector(repeating: e.factor)
    let tiny = leastWhoseProductIsNormal(e.factor)
    var result = 0.0
    var start = 0
    while start < count {
        let end = start &+ run < count ? start &+ run : count
        var s = Vector.zero
        var i = start
        while i &+ lanes <= end {
            let y = exponential(argument(load(x + i), e))
            s += y
            if let out { store(factor * y.replacing(with: Vector.zero, where: y .< tiny), out + i) }
            i &+= lanes
        }
        if i < end {
            let y = exponential(argument(loadPart(x + i, end &- i, -e.sign * .infinity), e))
            s += y
            if let out { storePart(factor * y.replacing(with: Vector.zero, where: y .< tiny), out + i, end &- i) }
        }
        result += sumInDouble(s)
        start = end
    }
    return result
}

/// out = factor * sigmoid(a), where `out` is given, which may be `x`; returns the sum of softplus(a).
package func softplus(
    _ x: UnsafePointer<Float>, _ count: Int, _ e: Exponent, _ out: UnsafeMutablePointer<Float>?
) -> Double {
    let factor = Vector(repeating: e.factor)
    let tiny = leastWhoseProductIsNormal(e.factor)
    var result = 0.0
    var start = 0
    while start < count {
        let end = start &+ run < count ? start &+ run : count
        var s = Vector.zero
        var i = start
        while i &+ lanes <= end {
            let a = argument(load(x + i), e)
            let z = exponential(minusMagnitude(a))
            s += softplus(a, z)
            if let out {
                let y = sigmoid(a, z)
                store(factor * y.replacing(with: Vector.zero, where: y .< tiny), out + i)
            }
            i &+= lanes
        }
        if i < end {
            let a = argument(loadPart(x + i, end &- i, -e.sign * .infinity), e)
            let z = exponential(minusMagnitude(a))
            s += softplus(a, z)
            if let out {
                let y = sigmoid(a, z)
                storePart(factor * y.replacing(with: Vector.zero, where: y .< tiny), out + i, end &- i)
            }
        }
        result += sumInDouble(s)
        start = end
    }
    return result
}

/// Values that are summed in floats, a lane's at most `run / lanes` of them, before they are added to a double.
private let run = 256

@inline(__always)
private func argument(_ x: Vector, _ e: Exponent) -> Vector {
    (x * Vector(repeating: e.sign) - Vector(repeating: e.shift)) - Vector(repeating: e.shiftRest)
}

@inline(__always)
private func minusMagnitude(_ a: Vector) -> Vector { a.replacing(with: -a, where: a .> Vector.zero) }

@inline(__always)
private func exponential(_ a: Vector) -> Vector {
    // 2^-126 and what overflows by less than a factor of 2.
    let least = Vector(repeating: -0x1.5d589ep+6)
    let most = Vector(repeating: 89)
    var x = a.replacing(with: least, where: a .< least)
    x = x.replacing(with: most, where: x .> most)
    // Adding 1.5 * 2^23 rounds to a whole number.
    let rounding = Vector(repeating: 0x1.8p+23)
    let rounded = multiplyAdd(x, Vector(repeating: 0x1.715476p+0), rounding)
    let k = rounded - rounding
    var r = multiplyAdd(k, Vector(repeating: -0x1.63p-1), x)  // exact: 9 bits times 8
    r = multiplyAdd(k, Vector(repeating: 0x1.bd0106p-13), r)
    var q = Vector(repeating: 0x1.6a2f46p-10)
    q = multiplyAdd(q, r, Vector(repeating: 0x1.123a8ap-7))
    q = multiplyAdd(q, r, Vector(repeating: 0x1.5558e6p-5))
    q = multiplyAdd(q, r, Vector(repeating: 0x1.55549p-3))
    q = multiplyAdd(q, r, Vector(repeating: 0x1.fffffcp-2))
    let y = timesPowerOfTwo(multiplyAdd(q * r, r, r) + Vector(repeating: 1), rounded)
    return y.replacing(with: Vector.zero, where: a .< least)
}

/// log(1 + z), 0 <= z <= 1.
@inline(__always)
private func logarithm(onePlus z: Vector) -> Vector {
    let s = z / (z + Vector(repeating: 2))
    let t = s * s
    var p = Vector(repeating: 0x1.f1d1c2p-3)
    p = multiplyAdd(p, t, Vector(repeating: 0x1.b6ce1cp-3))
    p = multiplyAdd(p, t, Vector(repeating: 0x1.2509cep-2))
    p = multiplyAdd(p, t, Vector(repeating: 0x1.9996a6p-2))
    p = multiplyAdd(p, t, Vector(repeating: 0x1.555558p-1))
    return multiplyAdd(p * t, s, s + s)
}

/// z = exp(-|a|)
@inline(__always)
private func softplus(_ a: Vector, _ z: Vector) -> Vector {
    a.replacing(with: Vector.zero, where: a .< Vector.zero) + logarithm(onePlus: z)
}

@inline(__always)
private func sigmoid(_ a: Vector, _ z: Vector) -> Vector {
    z.replacing(with: Vector(repeating: 1), where: a .> Vector.zero) / (z + Vector(repeating: 1))
}

/// What is smaller than this is 0 rather than a product without full precision.
@inline(__always)
private func leastWhoseProductIsNormal(_ factor: Float) -> Vector {
    let magnitude = factor < 0 ? -factor : factor
    return Vector(repeating: magnitude < 1 ? 0x1p-126 / magnitude : 0x1p-126)
}

/// The first `count` lanes from memory, the others `rest`.
@inline(__always)
private func loadPart(_ p: UnsafePointer<Float>, _ count: Int, _ rest: Float) -> Vector {
    var v = Vector(repeating: rest)
    var i = 0
    while i < count {
        v[i] = p[i]
        i &+= 1
    }
    return v
}

@inline(__always)
private func storePart(_ v: Vector, _ p: UnsafeMutablePointer<Float>, _ count: Int) {
    var i = 0
    while i < count {
        p[i] = v[i]
        i &+= 1
    }
}

@inline(__always)
private func sumInDouble(_ v: Vector) -> Double {
    var s = 0.0
    var i = 0
    while i < lanes {
        s += Double(v[i])
        i &+= 1
    }
    return s
}
