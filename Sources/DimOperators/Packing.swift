import DimKernels
import DimRuntime

/// Matrices in the panels of 32 columns that the GEMM reads: panel p holds rows of columns 32p ..< 32p + 32.
package enum Packing {
    package static let panel = 32

    package static func count(depth: Int, columns: Int) -> Int { (columns + panel - 1) / panel * panel * depth }

    /// B(k, j) = weight[j][k]: the forward pass of weights (out, in). `columns` = outputs is a multiple of 32.
    package static func packTransposed(
        _ weight: UnsafePointer<Float>, stride: Int, depth: Int, columns: Int, into packed: UnsafeMutablePointer<Float>
    ) {
        ThreadPool.shared.parallel(columns / panel) { p, _ in
            BlockedLayout.transpose(
                weight + p * panel * stride, rows: panel, columns: depth, stride: stride,
                into: packed + p * panel * depth, stride: panel)
        }
    }

    /// B(k, j) = weight[k][j]: the data gradient of weights (out, in). `columns` = inputs is a multiple of 32.
    package static func packRows(
        _ weight: UnsafePointer<Float>, stride: Int, depth: Int, columns: Int, into packed: UnsafeMutablePointer<Float>
    ) {
        ThreadPool.shared.parallel(columns / panel) { p, _ in
            for k in 0..<depth {
                (packed + (p * depth + k) * panel).update(from: weight + k * stride + p * panel, count: panel)
            }
        }
    }
}
