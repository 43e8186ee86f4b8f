// AVX-512: sixteen lanes, 32 registers. What the shared kernels need to know about this instruction set.

import CVectors

typealias Vector = SIMD16<Float>
let lanes = 16
/// Rows of the GEMM tile: 13 x 2 accumulators, 2 vectors of B, and A broadcast from memory.
let tileRows = 13
/// Rows of the tile of two panels: 6 x 4 accumulators, 4 vectors of B and one of A.
let broadRows = 6
/// The tile of products along k: 4 x 4 accumulators and the 8 vectors they are made of.
let dotRows = 4

@inline(__always)
func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector { c.addingProduct(a, b) }

@inline(__always)
func load(_ p: UnsafePointer<Float>) -> Vector { dim_load16(p) }

@inline(__always)
func store(_ v: Vector, _ p: UnsafeMutablePointer<Float>) { dim_store16(v, p) }

/// `b` where either is NaN.
@inline(__always)
func maximum(_ a: Vector, _ b: Vector) -> Vector { dim_max16(a, b) }

@inline(__always)
func squareRoot(_ v: Vector) -> Vector { dim_sqrt16(v) }

/// v * 2^k for whole k in -126 ... 128, given as 1.5 * 2^23 + k.
@inline(__always)
func timesPowerOfTwo(_ v: Vector, _ k: Vector) -> Vector { dim_scale16(v, k) }

/// sums += the sums of `lanes` columns over rows that lie 16 floats apart.
@inline(__always)
func addRows(_ x: UnsafePointer<Float>, _ rows: Int, _ sums: UnsafeMutablePointer<Double>) {
    dim_add_rows16(x, rows, 16, sums)
}
