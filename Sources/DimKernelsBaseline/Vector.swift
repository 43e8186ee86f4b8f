// SSE2, or whatever the platform's baseline is: four lanes, 16 registers. What the shared kernels need to know about it.

import CVectors

typealias Vector = SIMD4<Float>
let lanes = 4
/// Rows of the GEMM tile: 4 x 2 accumulators, 2 vectors of B, A broadcast, and the products.
let tileRows = 4
let broadRows = 0
/// The tile of products along k: 2 x 4 accumulators.
let dotRows = 2

/// No fused multiply-add here: `addingProduct` would call the C library's `fmaf` for every lane.
@inline(__always)
func multiplyAdd(_ a: Vector, _ b: Vector, _ c: Vector) -> Vector { c + a * b }

@inline(__always)
func load(_ p: UnsafePointer<Float>) -> Vector { dim_load4(p) }

@inline(__always)
func store(_ v: Vector, _ p: UnsafeMutablePointer<Float>) { dim_store4(v, p) }

/// `b` where either is NaN.
@inline(__always)
func maximum(_ a: Vector, _ b: Vector) -> Vector { dim_max4(a, b) }

@inline(__always)
func squareRoot(_ v: Vector) -> Vector { dim_sqrt4(v) }

/// v * 2^k for whole k in -126 ... 128, given as 1.5 * 2^23 + k.
@inline(__always)
func timesPowerOfTwo(_ v: Vector, _ k: Vector) -> Vector { dim_scale4(v, k) }

/// sums += the sums of `lanes` columns over rows that lie 16 floats apart.
@inline(__always)
func addRows(_ x: UnsafePointer<Float>, _ rows: Int, _ sums: UnsafeMutablePointer<Double>) {
    dim_add_rows4(x, rows, 16, sums)
}
