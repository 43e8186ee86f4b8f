/// The sum or difference of two matrices on its way to a third, as Strassen's products need them. Nothing is owned; strides
/// count floats.
///
///     out(r, j) = max(x(r, j) +- y(r, j) + out(r, j) + bias(j), 0)
///
/// with `out` where `accumulate`, `bias` and the maximum as far as asked for. `out` may be `x` or `y`.
package struct MatrixSum {
    package var rows: Int
    package var columns: Int
    package var x: UnsafePointer<Float>
    package var xRow: Int
    package var y: UnsafePointer<Float>
    package var yRow: Int
    package var subtract: Bool
    package var out: UnsafeMutablePointer<Float>
    package var outRow: Int
    package var accumulate: Bool
    package var bias: UnsafePointer<Float>?
    package var relu: Bool

    package init(
        rows: Int, columns: Int, x: UnsafePointer<Float>, xRow: Int, y: UnsafePointer<Float>, yRow: Int,
        subtract: Bool = false, out: UnsafeMutablePointer<Float>, outRow: Int, accumulate: Bool = false,
        bias: UnsafePointer<Float>? = nil, relu: Bool = false
    ) {
        self.rows = rows
        self.columns = columns
        self.x = x
        self.xRow = xRow
        self.y = y
        self.yRow = yRow
        self.subtract = subtract
        self.out = out
        self.outRow = outRow
        self.accumulate = accumulate
        self.bias = bias
        self.relu = relu
    }
}
