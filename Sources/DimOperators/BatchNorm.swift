import DimKernels
import DimRuntime

/// torch.nn.BatchNorm2d over blocked activations, followed by a ReLU, as the encoder has it three times:
///
///     y = relu((z - mean) / sqrt(var + eps) * weight + bias)
///
/// In training mode mean and (biased) variance are the batch's; the running ones move by momentum 0.1 towards them, the
/// variance unbiased. z is stored; y is formed where it is read, from `scale` and `shift`.
package struct BatchNorm {
    package static let epsilon = 1e-5
    package static let momentum = 0.1

    package let channels: Int
    package let pixels: Int

    package init(channels: Int, pixels: Int) {
        self.channels = channels
        self.pixels = pixels
    }

    /// A batch's statistics, per channel.
    package struct Statistics {
        package let mean: Buffer
        package let scale: Buffer
        package let shift: Buffer
        fileprivate let inverse: Buffer
        /// Of the batch, in double: for the running statistics.
        fileprivate let exactMean: [Double]
        fileprivate let exactVariance: [Double]
        fileprivate let count: Int
    }

    private var blocks: Int { channels / BlockedLayout.block }

    private func plane(_ image: Int, _ block: Int) -> Int { (image * blocks + block) * pixels * BlockedLayout.block }

    /// z (n, channels/16, pixels, 16): statistics of the batch and the affine map that they make.
    package func statistics(
        _ z: UnsafePointer<Float>, images n: Int, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>
    ) throws -> Statistics {
        let kernels = DimKernels.selected
        let sums = try DoubleBuffer(zeros: 2 * channels)
        // The first pixel of the batch serves as pivot.
        let pivot = try Buffer(uninitialized: channels)
        for block in 0..<blocks { (pivot.pointer + block * 16).update(from: z + plane(0, block), count: 16) }
        ThreadPool.shared.parallel(blocks) { block, _ in
            for image in 0..<n {
                kernels.planeStatistics(
                    z + plane(image, block), pixels, pivot.pointer + block * 16, sums.pointer + block * 32)
            }
        }
        let count = n * pixels
        var mean: [Double] = [], variance: [Double] = []
        for c in 0..<channels {
            let first = sums.pointer + (c / 16 * 32 + c % 16)
            let offset = first[0] / Double(count)
            mean.append(Double(pivot.pointer[c]) + offset)
            variance.append(max(0, first[16] / Double(count) - offset * offset))
        }
        let result = Statistics(
            mean: try Buffer(uninitialized: channels), scale: try Buffer(uninitialized: channels),
            shift: try Buffer(uninitialized: channels), inverse: try Buffer(uninitialized: channels),
            exactMean: mean, exactVariance: variance, count: count)
        for c in 0..<channels {
            let inverse = 1 / (variance[c] + BatchNorm.epsilon).squareRoot()
            let scale = inverse * Double(weight[c])
            result.mean.pointer[c] = Float(mean[c])
            result.inverse.pointer[c] = Float(inverse)
            result.scale.pointer[c] = Float(scale)
            result.shift.pointer[c] = Float(Double(bias[c]) - mean[c] * scale)
        }
        return result
    }

    /// What a batch adds to the running statistics, which then are (1 - momentum) old + step.
    package func steps(_ statistics: Statistics) -> (mean: [Double], variance: [Double]) {
        let m = BatchNorm.momentum
        let unbiased = Double(statistics.count) / Double(statistics.count - 1)
        return (
            statistics.exactMean[..<channels].map { m * $0 },
            statistics.exactVariance[..<channels].map { m * $0 * unbiased }
        )
    }

    /// Evaluation mode: the convolution's bias and the running statistics as one affine map of the bare convolution.
    package static func fold(
        channels: Int, convolutionBias: UnsafePointer<Float>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
        runningMean: UnsafePointer<Float>, runningVariance: UnsafePointer<Float>,
        scale: UnsafeMutablePointer<Float>, shift: UnsafeMutablePointer<Float>
    ) {
        for c in 0..<channels {
            let factor = Double(weight[c]) / (Double(runningVariance[c]) + epsilon).squareRoot()
            scale[c] = Float(factor)
            shift[c] = Float((Double(convolutionBias[c]) - Double(runningMean[c])) * factor + Double(bias[c]))
        }
    }

    /// y = relu(z * scale + shift), blocked. `y` may be `z`.
    package func apply(
        _ statistics: Statistics, _ z: UnsafePointer<Float>, images n: Int, into y: UnsafeMutablePointer<Float>
    ) {
        let kernels = DimKernels.selected
        ThreadPool.shared.parallel(n) { image, _ in
            for block in 0..<blocks {
                let at = plane(image, block)
                kernels.affineReluPlane(
                    z + at, pixels, statistics.scale.pointer + block * 16, statistics.shift.pointer + block * 16, y + at
                )
            }
        }
    }

    /// Backward through ReLU and batch norm, in place: `gradient` of y in, of z out. Adds to the gradients of weight and bias.
    ///
    /// With g = gradient where y > 0 and xhat = (z - mean) / sqrt(var + eps), over the m = n * pixels values of a channel:
    /// dbias = sum g, dweight = sum g xhat, dz = weight / sqrt(var + eps) (g - dbias/m - xhat dweight/m).
    package func backward(
        _ statistics: Statistics, _ z: UnsafePointer<Float>, images n: Int, weight: UnsafePointer<Float>,
        gradient: UnsafeMutablePointer<Float>, weightGradient: UnsafeMutablePointer<Float>,
        biasGradient: UnsafeMutablePointer<Float>
    ) throws {
        let kernels = DimKernels.selected
        let sums = try DoubleBuffer(zeros: 2 * channels)
        let factors = try Buffer(uninitialized: 3 * channels)
        let count = Double(n * pixels)
        ThreadPool.shared.parallel(blocks) { block, _ in
            let c0 = block * 16
            let scale = statistics.scale.pointer + c0
            let shift = statistics.shift.pointer + c0
            let mean = statistics.mean.pointer + c0
            let sum = sums.pointer + block * 32
            for image in 0..<n {
                let at = plane(image, block)
                kernels.batchNormGradientSums(z + at, gradient + at, pixels, scale, shift, mean, sum)
            }
            let a = factors.pointer + c0, b = a + channels, c = b + channels
            for lane in 0..<16 {
                let inverse = Double(statistics.inverse.pointer[c0 + lane])
                let dBias = sum[lane]
                let dWeight = sum[16 + lane] * inverse
                let factor = Double(weight[c0 + lane]) * inverse
                weightGradient[c0 + lane] += Float(dWeight)
                biasGradient[c0 + lane] += Float(dBias)
                a[lane] = Float(factor)
                b[lane] = Float(-factor * inverse * dWeight / count)
                c[lane] = Float(-factor * dBias / count)
            }
            for image in 0..<n {
                let at = plane(image, block)
                kernels.batchNormGradient(z + at, gradient + at, pixels, scale, shift, mean, a, b, c)
            }
        }
    }
}
