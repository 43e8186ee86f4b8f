/// Rows of floats that become words of two bfloat16 each, along the rows or across them (`BFloat16Kernels`).
package struct PairedRows {
    package var source: UnsafePointer<Float>
    package var sourceRow: Int
    package var rows: Int
    /// A multiple of 16.
    package var columns: Int
    /// A word has the size of a float, and moves as one; it may lie where its floats were.
    package var target: UnsafeMutablePointer<Float>
    package var targetRow: Int

    package init(
        _ source: UnsafePointer<Float>, row sourceRow: Int, rows: Int, columns: Int,
        into target: UnsafeMutablePointer<Float>, row targetRow: Int
    ) {
        self.source = source
        self.sourceRow = sourceRow
        self.rows = rows
        self.columns = columns
        self.target = target
        self.targetRow = targetRow
    }
}
