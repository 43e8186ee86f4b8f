// Operations that the shared kernels use on any vector. Always inlined, so that nothing of one instruction set
// gets a symbol that another module could be linked to.

/// NaN stays NaN, as in PyTorch.
@inline(__always)
func relu(_ v: Vector) -> Vector { maximum(.zero, v) }

/// The sum of the lanes, halves first.
@inline(__always)
func sum(_ v: SIMD4<Float>) -> Float {
    let h = v.lowHalf + v.highHalf
    return h[0] + h[1]
}

@inline(__always)
func sum(_ v: SIMD8<Float>) -> Float { sum(v.lowHalf + v.highHalf) }

@inline(__always)
func sum(_ v: SIMD16<Float>) -> Float { sum(v.lowHalf + v.highHalf) }

/// p/q in every lane; a constant after optimisation.
@_transparent
func fraction(_ p: Float, _ q: Float) -> Vector { Vector(repeating: p / q) }
