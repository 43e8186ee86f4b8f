import DimKernels
import DimRuntime

/// torch.nn.LayerNorm over the channels at each location, eps 1e-5: y = (x - mean) / sqrt(var + eps) * weight + bias.
package struct ActivationLayerNorm {
    /// Rows of a task.
    private static let share = 64

    package let channels: Int
    let kernels: KernelTable

    package init(channels: Int, kernels: KernelTable = DimKernels.selected) {
        self.channels = channels
        self.kernels = kernels
    }

    /// `statistics`: mean and 1 / sqrt(var + eps) of each row, 2 * rows floats. `y` may be `x`, but backward needs the original x.
    package func forward(
        _ x: Activation, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, into y: Activation,
        statistics: UnsafeMutablePointer<Float>
    ) {
        eachShare(x) { rows in
            kernels.layerNorm(
                LayerNormRows(
                    x: x.pointer + rows.lowerBound * 16, blockStride: x.blockStride, rows: rows.count,
                    channels: channels, weight: weight, bias: bias, y: y.pointer + rows.lowerBound * 16,
                    statistics: statistics + 2 * rows.lowerBound))
        }
        if channels <= Activation.blocks(channels) * 16 - 16 {  // the last block has no channel
            let last = y.block(y.blocks - 1)
            last.update(repeating: 0, count: y.rows * 16)
        }
    }

    /// In place: `gradient` of y in, of x out. Adds to the gradients of weight and bias.
    package func backward(
        _ x: Activation, statistics: UnsafePointer<Float>, weight: UnsafePointer<Float>, gradient: Activation,
        weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>
    ) throws {
        let blocks = (channels + 15) / 16
        let sums = try DoubleBuffer(zeros: blocks * 32)
        ThreadPool.shared.parallel(blocks) { block, _ in
            kernels.layerNormGradientSums(
                x.block(block), gradient.block(block), x.rows, statistics, sums.pointer + block * 32)
        }
        for c in 0..<channels {
            weightGradient[c] += Float(sums.pointer[c / 16 * 32 + c % 16])
            biasGradient[c] += Float(sums.pointer[c / 16 * 32 + 16 + c % 16])
        }
        eachShare(x) { rows in
            kernels.layerNormGradient(
                LayerNormRows(
                    x: x.pointer + rows.lowerBound * 16, blockStride: x.blockStride, rows: rows.count,
                    channels: channels, weight: weight, bias: nil, y: gradient.pointer + rows.lowerBound * 16,
                    statistics: UnsafeMutablePointer(mutating: statistics) + 2 * rows.lowerBound))
        }
    }

    private func eachShare(_ x: Activation, _ body: (Range<Int>) -> Void) {
        let shares = Parts(count: x.rows, size: ActivationLayerNorm.share)
        ThreadPool.shared.parallel(shares.parts) { task, _ in body(shares.part(task)) }
    }
}
