import DimArchitecture
import DimOperators
import DimRuntime
import Glibc

/// Predicts the class from `encoded` (notebook, class Classifier): three small linear layers, each with batch norm, the
/// last followed by softmax. They are small enough for plain loops in double.
package enum FusedClassifier {
    static let encoded = 64
    package static let classes = 10

    private static let ids = ParameterIDs(Architecture.notebook.parameters(of: .classifier))
    /// Linear layer, batch norm and their sizes, in order.
    private static let layers = [
        (linear: LayerIDs(ids, "l1"), norm: NormIDs(ids, "bn1"), inputs: 64, outputs: 15),
        (linear: LayerIDs(ids, "l2"), norm: NormIDs(ids, "bn2"), inputs: 15, outputs: 10),
        (linear: LayerIDs(ids, "l3"), norm: NormIDs(ids, "bn3"), inputs: 10, outputs: 10),
    ]

    // MARK: Evaluation mode

    /// encoded (n,64) -> logits (n,10), bn3's output, with running statistics.
    package static func logits(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int, into logits: UnsafeMutablePointer<Float>
    ) {
        let folded = layers.map { layer -> (scale: [Double], shift: [Double]) in
            let weight = state.pointer(layer.norm.weight), bias = state.pointer(layer.norm.bias)
            let mean = state.pointer(layer.norm.runningMean),
                variance = state.pointer(layer.norm.runningVariance)
            let scale = (0..<layer.outputs).map {
                Double(weight[$0]) / (Double(variance[$0]) + BatchNorm.epsilon).squareRoot()
            }
            return (scale, (0..<layer.outputs).map { Double(bias[$0]) - Double(mean[$0]) * scale[$0] })
        }
        var x: [Double] = []
        for row in 0..<n {
            x = (0..<Self.encoded).map { Double(encoded[row * Self.encoded + $0]) }
            for (index, layer) in layers.enumerated() {
                let z = linear(state, layer.linear, x, layer.outputs)
                x = (0..<layer.outputs).map {
                    let y = z[$0] * folded[index].scale[$0] + folded[index].shift[$0]
                    return index < 2 && y < 0 ? 0 : y
                }
            }
            for c in 0..<classes { logits[row * classes + c] = Float(x[c]) }
        }
    }

    private static func linear(_ state: NetworkState, _ layer: LayerIDs, _ x: [Double], _ outputs: Int) -> [Double] {
        let weight = state.pointer(layer.weight), bias = state.pointer(layer.bias)
        return (0..<outputs).map { o in
            var sum = Double(bias[o])
            for k in 0..<x.count { sum += Double(weight[o * x.count + k]) * x[k] }
            return sum
        }
    }

    // MARK: Training mode

    /// One batch's forward pass with batch statistics: what the backward pass needs, and the statistics.
    package struct TrainingPass {
        fileprivate(set) var inputs: [[Double]] = []  // of each layer, (n, inputs)
        fileprivate(set) var normalised: [[Double]] = []  // xhat, (n, outputs)
        fileprivate(set) var inverse: [[Double]] = []
        fileprivate(set) var mean: [[Double]] = []
        fileprivate(set) var variance: [[Double]] = []  // biased
        /// bn3's output, (n, 10).
        package fileprivate(set) var logits: [Double] = []
        let count: Int
    }

    /// Of all arrays that a training step makes, more than enough.
    package static let bytesPerImage = 8 * 1024

    /// n >= 2: one sample has no variance.
    package static func train(_ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int) throws -> TrainingPass
    {
        try requireMemory(n * bytesPerImage)
        var pass = TrainingPass(count: n)
        var x = (0..<n * Self.encoded).map { Double(encoded[$0]) }
        for (index, layer) in layers.enumerated() {
            let weight = state.pointer(layer.norm.weight), bias = state.pointer(layer.norm.bias)
            pass.inputs.append(x)
            var z: [Double] = []
            z.reserveCapacity(n * layer.outputs)
            for row in 0..<n {
                z += linear(state, layer.linear, Array(x[row * layer.inputs..<(row + 1) * layer.inputs]), layer.outputs)
            }
            var mean = [Double](repeating: 0, count: layer.outputs), variance = mean, inverse = mean
            for o in 0..<layer.outputs {
                for row in 0..<n { mean[o] += z[row * layer.outputs + o] / Double(n) }
                for row in 0..<n {
                    let d = z[row * layer.outputs + o] - mean[o]
                    variance[o] += d * d / Double(n)
                }
                inverse[o] = 1 / (variance[o] + BatchNorm.epsilon).squareRoot()
            }
            x = z
            for row in 0..<n {
                for o in 0..<layer.outputs {
                    let at = row * layer.outputs + o
                    z[at] = (z[at] - mean[o]) * inverse[o]
                    let y = z[at] * Double(weight[o]) + Double(bias[o])
                    x[at] = index < 2 && y < 0 ? 0 : y
                }
            }
            pass.normalised.append(z)
            pass.inverse.append(inverse)
            pass.mean.append(mean)
            pass.variance.append(variance)
        }
        pass.logits = x
        return pass
    }

    package static func statisticSteps(_ pass: TrainingPass) -> StatisticSteps {
        let m = BatchNorm.momentum
        let unbiased = Double(pass.count) / Double(pass.count - 1)
        return layers.enumerated().flatMap { index, layer in
            [
                (layer.norm.runningMean, pass.mean[index].map { m * $0 }),
                (layer.norm.runningVariance, pass.variance[index].map { m * $0 * unbiased }),
            ]
        }
    }

    /// From the gradient of the logits (n,10) to those of the parameters, added to `gradients`, and of encoded (n,64).
    package static func backward(
        _ state: NetworkState, _ pass: TrainingPass, logitGradient: [Double], _ gradients: any GradientTarget
    ) -> [Double] {
        var dy = logitGradient
        let n = pass.count
        for (index, layer) in layers.enumerated().reversed() {
            let weight = state.pointer(layer.norm.weight), bias = state.pointer(layer.norm.bias)
            let xhat = pass.normalised[index]
            var dz = [Double](repeating: 0, count: n * layer.outputs)
            for o in 0..<layer.outputs {
                var dBias = 0.0, dWeight = 0.0
                for row in 0..<n {
                    let at = row * layer.outputs + o
                    if index < 2, xhat[at] * Double(weight[o]) + Double(bias[o]) <= 0 { dy[at] = 0 }
                    dBias += dy[at]
                    dWeight += dy[at] * xhat[at]
                }
                gradients.pointer(.classifier, layer.norm.bias)[o] += Float(dBias)
                gradients.pointer(.classifier, layer.norm.weight)[o] += Float(dWeight)
                let factor = Double(weight[o]) * pass.inverse[index][o]
                for row in 0..<n {
                    let at = row * layer.outputs + o
                    dz[at] = factor * (dy[at] - dBias / Double(n) - xhat[at] * dWeight / Double(n))
                }
            }
            let w = state.pointer(layer.linear.weight)
            let dW = gradients.pointer(.classifier, layer.linear.weight)
            let db = gradients.pointer(.classifier, layer.linear.bias)
            let x = pass.inputs[index]
            var dx = [Double](repeating: 0, count: n * layer.inputs)
            for o in 0..<layer.outputs {
                var dBias = 0.0
                for row in 0..<n {
                    let d = dz[row * layer.outputs + o]
                    dBias += d
                    for k in 0..<layer.inputs { dx[row * layer.inputs + k] += d * Double(w[o * layer.inputs + k]) }
                }
                db[o] += Float(dBias)
                for k in 0..<layer.inputs {
                    var sum = 0.0
                    for row in 0..<n { sum += dz[row * layer.outputs + o] * x[row * layer.inputs + k] }
                    dW[o * layer.inputs + k] += Float(sum)
                }
            }
            dy = dx
        }
        return dy
    }
}
