import DimKernels
import DimRuntime

/// torch.nn.Linear, y = x W^T + b, forward and backward, on PyTorch's weights (out, in) as they are. Rows are samples; the
/// rows of x and y may lie further apart than they are long.
package struct Linear {
    package let inputs: Int
    package let outputs: Int
    /// Floats from one output's weights to the next: more than `inputs` where the layer is a part of a wider one.
    package let weightStride: Int

    package init(inputs: Int, outputs: Int, weightStride: Int? = nil) {
        self.inputs = inputs
        self.outputs = outputs
        self.weightStride = weightStride ?? inputs
    }

    /// Inputs that one chunk of a long sum covers: two operands of 64 rows stay in the second-level cache.
    private static let sumChunk = 2048
    /// Columns of the input (a task's share) in the backward pass.
    private static let columnChunk = 1024

    private var sumChunks: Int { max(1, (inputs + Linear.sumChunk * 3 / 2) / (Linear.sumChunk * 2)) }

    /// Floats that `forward` needs as scratch.
    package func forwardScratch(rows: Int) -> Int { sumChunks > 1 ? sumChunks * rows * outputs : 0 }

    /// y (+)= x W^T (+ b), then ReLU if asked. `scratch` holds `forwardScratch(rows:)` floats.
    ///
    /// A long sum is cut into chunks that depend on `inputs` alone, one task each, and their sums are added in order.
    package func forward(
        _ x: UnsafePointer<Float>, rows: Int, stride xStride: Int, weight: UnsafePointer<Float>,
        bias: UnsafePointer<Float>?, into y: UnsafeMutablePointer<Float>, stride yStride: Int, relu: Bool = false,
        scratch: UnsafeMutablePointer<Float>?
    ) {
        let kernels = DimKernels.selected
        let chunks = sumChunks
        if chunks == 1 {
            // Tasks over outputs: weights are read once.
            let outputChunk = rows * inputs * outputs > 1 << 18 ? 16 : outputs
            ThreadPool.shared.parallel((outputs + outputChunk - 1) / outputChunk) { task, _ in
                let from = task * outputChunk
                let count = min(outputChunk, outputs - from)
                kernels.gemmNT(
                    GemmNT(
                        rows: rows, columns: count, depth: inputs, a: x, aRow: xStride,
                        b: weight + from * weightStride, bRow: weightStride, c: y + from, cRow: yStride))
            }
        } else {
            let partial = scratch!
            let perChunk = (inputs + chunks - 1) / chunks
            let length = (perChunk + 15) & ~15
            ThreadPool.shared.parallel(chunks) { task, _ in
                let c = partial + task * rows * outputs
                var from = min(task * length, inputs)
                let end = min(from + length, inputs)
                c.update(repeating: 0, count: rows * outputs)
                while from < end {
                    let depth = min(Linear.sumChunk, end - from)
                    kernels.gemmNT(
                        GemmNT(
                            rows: rows, columns: outputs, depth: depth, a: x + from, aRow: xStride, b: weight + from,
                            bRow: weightStride, c: c, cRow: outputs, accumulate: true))
                    from += depth
                }
            }
            for row in 0..<rows {
                let target = y + row * yStride
                target.update(from: partial + row * outputs, count: outputs)
                for chunk in 1..<chunks { kernels.add(partial + (chunk * rows + row) * outputs, target, outputs) }
            }
        }
        guard bias != nil || relu else { return }
        for row in 0..<rows {
            for j in 0..<outputs {
                let value = y[row * yStride + j] + (bias?[j] ?? 0)
                y[row * yStride + j] = relu && value < 0 ? 0 : value
            }
        }
    }

    /// dW += dy^T x and, if asked, db += the sum of dy over rows. x may be read 31 floats past a row's end where `inputs` is
    /// no multiple of 32; the values there are ignored.
    package func weightGradient(
        _ dy: UnsafePointer<Float>, stride dyStride: Int, _ x: UnsafePointer<Float>, rows: Int, stride xStride: Int,
        into weightGradient: UnsafeMutablePointer<Float>, bias biasGradient: UnsafeMutablePointer<Float>?
    ) {
        let kernels = DimKernels.selected
        let chunk = Linear.columnChunk
        ThreadPool.shared.parallel((inputs + chunk - 1) / chunk) { task, _ in
            let from = task * chunk
            kernels.gemm(
                Gemm(
                    rows: outputs, columns: min(chunk, inputs - from), depth: rows,
                    a: dy, aRow: 1, aStep: dyStride, aBlock: 16 * dyStride,
                    b: x + from, bRow: xStride, bPanel: 32,
                    c: weightGradient + from, cRow: weightStride, cPanel: 32, accumulate: true))
        }
        if let biasGradient { kernels.addColumnSums(dy, rows, dyStride, outputs, biasGradient) }
    }

    /// dx (+)= dy W for the input columns `columns`, written from `dx` on: dx + row * stride is column `columns.lowerBound`.
    /// Runs in the calling thread.
    package func inputGradient(
        _ dy: UnsafePointer<Float>, rows: Int, stride dyStride: Int, weight: UnsafePointer<Float>, columns: Range<Int>,
        into dx: UnsafeMutablePointer<Float>, stride dxStride: Int, accumulate: Bool = false
    ) {
        DimKernels.selected.gemm(
            Gemm(
                rows: rows, columns: columns.count, depth: outputs,
                a: dy, aRow: dyStride, b: weight + columns.lowerBound, bRow: weightStride, bPanel: 32,
                c: dx, cRow: dxStride, cPanel: 32, accumulate: accumulate))
    }

    /// dx (+)= dy W, all columns, on all threads.
    package func inputGradient(
        _ dy: UnsafePointer<Float>, rows: Int, stride dyStride: Int, weight: UnsafePointer<Float>,
        into dx: UnsafeMutablePointer<Float>, stride dxStride: Int, accumulate: Bool = false
    ) {
        let chunk = Linear.columnChunk
        ThreadPool.shared.parallel((inputs + chunk - 1) / chunk) { task, _ in
            let columns = task * chunk..<min((task + 1) * chunk, inputs)
            inputGradient(
                dy, rows: rows, stride: dyStride, weight: weight, columns: columns,
                into: dx + columns.lowerBound, stride: dxStride, accumulate: accumulate)
        }
    }
}
