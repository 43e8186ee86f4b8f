import DimKernels
import DimRuntime

/// torch.nn.BatchNorm2d, and BatchNorm1d on maps of one pixel, over activations of any shape:
///
///     y = (z - mean) / sqrt(var + eps) * weight + bias, then ReLU if `relu`
///
/// In training mode mean and (biased) variance are the batch's; the running ones move by momentum 0.1 towards them, the
/// variance unbiased.
package struct ActivationBatchNorm {
    package static let epsilon = 1e-5
    package static let momentum = 0.1
    /// Rows that one task sums.
    private static let share = 4096

    package let channels: Int
    let kernels: KernelTable

    package init(channels: Int, kernels: KernelTable = DimKernels.selected) {
        self.channels = channels
        self.kernels = kernels
    }

    private var padded: Int { Activation.blocks(channels) * 16 }

    /// A batch's statistics, per channel: padded, zero past the last channel.
    package struct Statistics {
        package let mean: Buffer
        package let scale: Buffer
        package let shift: Buffer
        /// 1 / sqrt(var + eps)
        package let inverse: Buffer
        /// Of the batch, in double: for the running statistics. Not padded.
        package let exactMean: [Double]
        package let exactVariance: [Double]
        package let count: Int
    }

    /// Statistics of the batch and the affine map that they make. As in PyTorch, a channel needs more than one value.
    package func statistics(_ z: Activation, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>) throws
        -> Statistics
    {
        let count = z.rows
        guard count > 1 else {
            throw DimError(
                .invalidArgument,
                "batch norm in training mode needs more than one value per channel, found \(count): use a larger batch")
        }
        // The first row of the batch serves as pivot.
        let pivot = try Buffer(uninitialized: padded)
        for block in 0..<z.blocks { (pivot.pointer + block * 16).update(from: z.block(block), count: 16) }
        let sums = try sumOverRows(count) { block, rows, sums in
            kernels.planeStatistics(
                z.block(block) + rows.lowerBound * 16, rows.count, pivot.pointer + block * 16, sums)
        }
        var mean: [Double] = [], variance: [Double] = []
        let result = (
            mean: try Buffer(zeros: padded), scale: try Buffer(zeros: padded), shift: try Buffer(zeros: padded),
            inverse: try Buffer(zeros: padded)
        )
        for c in 0..<channels {
            let first = sums.pointer + (c / 16 * 32 + c % 16)
            let offset = first[0] / Double(count)
            let square = first[16] / Double(count) - offset * offset
            mean.append(Double(pivot.pointer[c]) + offset)
            variance.append(square < 0 ? 0 : square)
            let inverse = 1 / (variance[c] + ActivationBatchNorm.epsilon).squareRoot()
            let scale = inverse * Double(weight[c])
            result.mean.pointer[c] = Float(mean[c])
            result.inverse.pointer[c] = Float(inverse)
            result.scale.pointer[c] = Float(scale)
            result.shift.pointer[c] = Float(Double(bias[c]) - mean[c] * scale)
        }
        return Statistics(
            mean: result.mean, scale: result.scale, shift: result.shift, inverse: result.inverse, exactMean: mean,
            exactVariance: variance, count: count)
    }

    /// 32 sums a block over all rows: fixed shares of the rows, added in order.
    private func sumOverRows(
        _ rows: Int, _ body: (_ block: Int, _ rows: Range<Int>, _ sums: UnsafeMutablePointer<Double>) -> Void
    ) throws -> DoubleBuffer {
        let blocks = (channels + 15) / 16
        let shares = Parts(count: rows, size: ActivationBatchNorm.share)
        let sums = try DoubleBuffer(zeros: shares.parts * blocks * 32)
        ThreadPool.shared.parallel(shares.parts * blocks) { task, _ in
            body(task % blocks, shares.part(task / blocks), sums.pointer + task * 32)
        }
        for share in 1..<max(1, shares.parts) {
            for i in 0..<blocks * 32 { sums.pointer[i] += sums.pointer[share * blocks * 32 + i] }
        }
        return sums
    }

    /// What a batch adds to the running statistics, which then are (1 - momentum) old + step.
    package func steps(_ statistics: Statistics) -> (mean: [Double], variance: [Double]) {
        let m = ActivationBatchNorm.momentum
        let unbiased = Double(statistics.count) / Double(statistics.count - 1)
        return (
            statistics.exactMean[..<channels].map { m * $0 },
            statistics.exactVariance[..<channels].map { m * $0 * unbiased }
        )
    }

    /// Evaluation mode: a convolution's bias (nil: none) and the running statistics as one affine map of the bare
    /// convolution, padded with zeros.
    package static func fold(
        channels: Int, bias: UnsafePointer<Float>?, weight: UnsafePointer<Float>, normBias: UnsafePointer<Float>,
        runningMean: UnsafePointer<Float>, runningVariance: UnsafePointer<Float>,
        scale: UnsafeMutablePointer<Float>, shift: UnsafeMutablePointer<Float>
    ) {
        let padded = Activation.blocks(channels) * 16
        for c in 0..<channels {
            let factor = Double(weight[c]) / (Double(runningVariance[c]) + epsilon).squareRoot()
            scale[c] = Float(factor)
            shift[c] = Float((Double(bias?[c] ?? 0) - Double(runningMean[c])) * factor + Double(normBias[c]))
        }
        for c in channels..<padded { (scale[c], shift[c]) = (0, 0) }
    }

    /// y = z * scale + shift, then ReLU if `relu`; `scale` and `shift` are padded. `y` may be `z`.
    package func affine(
        _ z: Activation, scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, relu: Bool, into y: Activation
    ) {
        let shares = Parts(count: z.rows, size: ActivationBatchNorm.share)
        ThreadPool.shared.parallel(shares.parts * z.blocks) { task, _ in
            let (block, rows) = (task % z.blocks, shares.part(task / z.blocks))
            let at = rows.lowerBound * 16
            kernels.affinePlane(
                z.block(block) + at, rows.count, scale + block * 16, shift + block * 16, relu, y.block(block) + at)
        }
    }

    package func apply(_ statistics: Statistics, _ z: Activation, relu: Bool, into y: Activation) {
        affine(z, scale: statistics.scale.pointer, shift: statistics.shift.pointer, relu: relu, into: y)
    }

    /// Backward, in place: `gradient` of y in, of z out. Adds to the gradients of weight and bias.
    ///
    /// With g = gradient (where y > 0, with a ReLU) and xhat = (z - mean) / sqrt(var + eps), over the m rows:
    /// dbias = sum g, dweight = sum g xhat, dz = weight / sqrt(var + eps) (g - dbias/m - xhat dweight/m).
    package func backward(
        _ statistics: Statistics, _ z: Activation, relu: Bool, weight: UnsafePointer<Float>, gradient: Activation,
        weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>
    ) throws {
        // The kernels keep g where z * scale + shift > 0: without a ReLU that is 1 everywhere.
        let factors = try Buffer(zeros: 5 * padded)
        let (a, b, c) = (factors.pointer, factors.pointer + padded, factors.pointer + 2 * padded)
        let (none, one) = (factors.pointer + 3 * padded, factors.pointer + 4 * padded)
        one.update(repeating: 1, count: padded)
        let scale = relu ? statistics.scale.pointer : none
        let shift = relu ? statistics.shift.pointer : one
        let mean = statistics.mean.pointer
        let sums = try sumOverRows(z.rows) { block, rows, sums in
            let (at, lanes) = (rows.lowerBound * 16, block * 16)
            kernels.batchNormGradientSums(
                z.block(block) + at, gradient.block(block) + at, rows.count, scale + lanes, shift + lanes, mean + lanes,
                sums)
        }
        let count = Double(z.rows)
        for channel in 0..<channels {
            let first = sums.pointer + (channel / 16 * 32 + channel % 16)
            let inverse = Double(statistics.inverse.pointer[channel])
            let dBias = first[0]
            let dWeight = first[16] * inverse
            let factor = Double(weight[channel]) * inverse
            weightGradient[channel] += Float(dWeight)
            biasGradient[channel] += Float(dBias)
            a[channel] = Float(factor)
            b[channel] = Float(-factor * inverse * dWeight / count)
            c[channel] = Float(-factor * dBias / count)
        }
        let shares = Parts(count: z.rows, size: ActivationBatchNorm.share)
        ThreadPool.shared.parallel(shares.parts * z.blocks) { task, _ in
            let (block, rows) = (task % z.blocks, shares.part(task / z.blocks))
            let (at, lanes) = (rows.lowerBound * 16, block * 16)
            kernels.batchNormGradient(
                z.block(block) + at, gradient.block(block) + at, rows.count, scale + lanes, shift + lanes, mean + lanes,
                a + lanes, b + lanes, c + lanes)
        }
    }
}
