import DimKernels
import DimRuntime

/// Products whose terms are rounded to bfloat16 on the way (`Precision.mixed`): both operands become words of two terms in
/// scratch memory, weights once for many products. Products run in the calling thread.
package enum MixedProducts {
    /// An operand of `addTransposed`: rows of floats, sixteen columns at a time, those of a matrix in memory or the pixels of a
    /// blocked activation.
    package struct Rows {
        let pointer: UnsafePointer<Float>
        let row: Int
        let block: Int

        /// `row`: floats from one row to the next; `block`: from sixteen columns to the next sixteen.
        package init(_ pointer: UnsafePointer<Float>, row: Int, block: Int = 16) {
            self.pointer = pointer
            self.row = row
            self.block = block
        }
    }

    private static var kernels: BFloat16Kernels { DimKernels.selected.bfloat16! }

    /// Packed weights, panels of (depth, 32) floats, become words where they are, (depth / 2, 32) at the beginning of each
    /// panel. The threads share the panels.
    package static func round(_ packed: UnsafeMutablePointer<Float>, depth: Int, columns: Int) {
        let kernels = kernels
        ThreadPool.shared.parallel(columns / 32) { index, _ in
            let panel = packed + index * depth * 32
            kernels.pairAcross(PairedRows(panel, row: 32, rows: depth, columns: 32, into: panel, row: 32))
        }
    }

    /// Floats of scratch memory that `multiply` takes.
    package static func scratch(rows: Int, depth: Int) -> Int { rows * (depth + 15) / 16 * 8 }

    /// C (+)= A B, then bias and ReLU. Columns, depth and A, whose rows are stored along k, count floats; B is panels that
    /// `round` has made.
    package static func multiply(_ product: Gemm, scratch: UnsafeMutablePointer<Float>) {
        let block = product.rows * 8
        for index in 0..<(product.depth + 15) / 16 {
            kernels.pairAlong(
                PairedRows(
                    product.a + index * product.aBlock, row: product.aRow, rows: product.rows, columns: 16,
                    into: scratch + index * block, row: 8))
        }
        var words = product
        words.depth = (product.depth + 1) / 2
        (words.a, words.aRow, words.aStep, words.aBlock, words.aRun) = (UnsafePointer(scratch), 8, 1, block, 8)
        kernels.gemm(words)
    }

    /// Floats of scratch memory that `addTransposed` takes.
    package static func scratch(terms: Int, rows: Int, columns: Int) -> Int {
        (terms + 1) / 2 * ((rows + 15) / 16 * 16 + columns)
    }

    /// C(i, j) += the sum over k of A(k, i) B(k, j): `terms` of k, `rows` columns of A, `columns` of B, a multiple of 32.
    package static func addTransposed(
        _ a: Rows, _ b: Rows, terms: Int, rows: Int, columns: Int, to c: UnsafeMutablePointer<Float>, cRow: Int,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let each = (terms + 1) / 2 * 16
        let blocks = (rows + 15) / 16
        let aWords = scratch + columns / 16 * each
        func round(_ from: Rows, _ block: Int, _ target: UnsafeMutablePointer<Float>) {
            kernels.pairAcross(
                PairedRows(
                    from.pointer + block * from.block, row: from.row, rows: terms, columns: 16, into: target, row: 16))
        }
        for block in 0..<columns / 16 { round(b, block, scratch + block * each) }
        for block in 0..<blocks {
            round(a, block, aWords)
            let first = block * 16
            kernels.gemm(
                Gemm(
                    rows: min(16, rows - first), columns: columns, depth: (terms + 1) / 2, a: aWords, aRow: 1,
                    aStep: 16, aBlock: 256, b: scratch, bRow: 16, bHalf: each, bPanel: 2 * each,
                    c: c + first * cRow, cRow: cRow, cPanel: 32, accumulate: true))
        }
    }
}
