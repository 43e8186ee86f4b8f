// AVX2 and FMA: eight lanes, 16 registers. What the shared kernels need to know about this instruction set.

import CVectors

typealias Vector = SIMD8<Float>
let lanes = 8
/// Rows of the GEMM tile: 6 x 2 accumulators, 2 vectors of B, and A broadcast.
let tileRows = 6
/// There is no tile of two panels.
let broadRows = 0
/// The tile of products along k: 2 x 4 accumulators.
let dotRows = 2

@inline(__always)
func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector { c.addingProduct(a, b) }

@inline(__always)
func load(_ p: UnsafePointer<Float>) -> Vector { dim_load8(p) }

@inline(__always)
func store(_ v: Vector, _ p: UnsafeMutablePointer<Float>) { dim_store8(v, p) }

/// `b` where either is NaN.
@inline(__always)
func maximum(_ a: Vector, _ b: Vector) -> Vector { dim_max8(a, b) }

@inline(__always)
func squareRoot(_ v: Vector) -> Vector { dim_sqrt8(v) }

/// v * 2^k for whole k in -126 ... 128, given as 1.5 * 2^23 + k.
@inline(__always)
func timesPowerOfTwo(_ v: Vector, _ k: Vector) -> Vector { dim_scale8(v, k) }

/// sums += the sums of `lanes` columns over rows that lie 16 floats apart.
@inline(__always)
func addRows(_ x: UnsafePointer<Float>, _ rows: Int, _ sums: UnsafeMutablePointer<Double>) {
    dim_add_rows8(x, rows, 16, sums)
}
