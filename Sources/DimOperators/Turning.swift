// Four by four values: what transposing loops are made of.

@inline(__always)
func turn4(_ a: SIMD4<Float>, _ b: SIMD4<Float>, _ c: SIMD4<Float>, _ d: SIMD4<Float>)
    -> (SIMD4<Float>, SIMD4<Float>, SIMD4<Float>, SIMD4<Float>)
{
    let ac = SIMD8(lowHalf: a, highHalf: c), bd = SIMD8(lowHalf: b, highHalf: d)
    let even = SIMD8(lowHalf: ac.evenHalf, highHalf: bd.evenHalf)  // a0 a2 c0 c2 b0 b2 d0 d2
    let odd = SIMD8(lowHalf: ac.oddHalf, highHalf: bd.oddHalf)  // a1 a3 c1 c3 b1 b3 d1 d3
    let e0 = even.evenHalf, e1 = even.oddHalf  // a0 c0 b0 d0, a2 c2 b2 d2
    let o0 = odd.evenHalf, o1 = odd.oddHalf
    return (
        SIMD4(e0[0], e0[2], e0[1], e0[3]), SIMD4(o0[0], o0[2], o0[1], o0[3]), SIMD4(e1[0], e1[2], e1[1], e1[3]),
        SIMD4(o1[0], o1[2], o1[1], o1[3])
    )
}

@inline(__always)
func load4(_ p: UnsafePointer<Float>) -> SIMD4<Float> {
    UnsafeRawPointer(p).loadUnaligned(as: SIMD4<Float>.self)
}

@inline(__always)
func store4(_ v: SIMD4<Float>, _ p: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(p).storeBytes(of: v, as: SIMD4<Float>.self)
}
