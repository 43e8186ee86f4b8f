// AVX-512 BF16: the products of the shared driver and tile with two bfloat16 terms where those have one float. A vector of A
// or B is sixteen words, two neighbours along k each; only sums are floats. See `BFloat16Kernels`.

import CVectors

typealias Vector = SIMD16<Float>
let lanes = 16
/// As with AVX-512: 13 x 2 accumulators.
let tileRows = 13
let broadRows = 6

/// c + a.second b.second + a.first b.first, each sum rounded to float32.
@inline(__always)
func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector { dim_add_pairs16(a, b, c) }

@inline(__always)
func load(_ p: UnsafePointer<Float>) -> Vector { dim_load16(p) }

@inline(__always)
func store(_ v: Vector, _ p: UnsafeMutablePointer<Float>) { dim_store16(v, p) }

/// `b` where either is NaN.
@inline(__always)
func maximum(_ a: Vector, _ b: Vector) -> Vector { dim_max16(a, b) }
