import DimKernels
import DimRuntime

/// The R1 penalty, 1/2 mean |grad_x D(x)|^2 over a batch (arXiv:1801.04406), of a discriminator D that is linear layers with
/// ReLU between them and one output, the logit; and its gradient.
///
/// D is linear around almost every x: with z(k) = W(k) h(k-1) + b(k), h(k) = relu(z(k)), h(0) = x and m(k) = [z(k) > 0], the
/// gradient of the logit comes back layer by layer,
///
///     v(K) = 1,   u(k) = W(k)^T v(k),   v(k-1) = m(k-1) * u(k),   grad_x D = u(1)
///
/// and the penalty P's gradient goes forward along the same layers:
///
///     a(1) = u(1) / n,   dP/dW(k) += v(k) a(k)^T,   a(k+1) = m(k) * (W(k) a(k))
///
/// Biases, and x itself, change masks alone: their gradient is 0 almost everywhere. Where D's input is squashed, x is what D
/// reads, behind the squash.
package struct GradientPenalty {
    package struct Layer {
        /// (outputs, inputs)
        package let weight: UnsafePointer<Float>
        package let bias: UnsafePointer<Float>?
        package let inputs: Int
        package let outputs: Int

        package init(weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, inputs: Int, outputs: Int) {
            self.weight = weight
            self.bias = bias
            self.inputs = inputs
            self.outputs = outputs
        }

        fileprivate var linear: Linear { Linear(inputs: inputs, outputs: outputs) }
    }

    private let layers: [Layer]

    /// From the layer that reads x to the one of the logit, which has one output.
    package init(_ layers: [Layer]) {
        precondition(!layers.isEmpty && layers[layers.count - 1].outputs == 1)
        precondition(zip(layers, layers.dropFirst()).allSatisfy { $0.outputs == $1.inputs })
        self.layers = layers
    }

    /// Floats of a row with room for the widest vector past its end, which products may read.
    private static func stride(_ width: Int) -> Int { (width + 31) / 32 * 32 + 32 }

    /// The penalty at x, (rows, inputs), row-major. Where `gradients` has one pointer a layer, weight * dP/dW(k) is added there.
    package func value(
        _ x: UnsafePointer<Float>, rows: Int, weight: Double, gradients: [UnsafeMutablePointer<Float>]?,
        _ memory: ScratchBuffer
    ) throws -> Double {
        let strides = layers.map { GradientPenalty.stride($0.inputs) }
        let widest = strides.max() ?? 0
        let scratchCount = layers.map { $0.linear.forwardScratch(rows: rows) }.max() ?? 0
        var free = try memory.floats(
            rows * (2 * strides.dropFirst().reduce(0, +) + strides[0] + 2 * widest) + GradientPenalty.stride(rows)
                + scratchCount)
        func take(_ count: Int) -> UnsafeMutablePointer<Float> {
            defer { free += count }
            return free
        }
        // Behind a layer k that is not the last: h(k + 1), which it makes, and v for it.
        let h = layers.indices.dropLast().map { take(rows * strides[$0 + 1]) }
        var v = layers.indices.dropLast().map { take(rows * strides[$0 + 1]) }
        let gradient = take(rows * strides[0])
        var a = take(rows * widest)
        var next = take(rows * widest)
        let ones = take(GradientPenalty.stride(rows))
        let scratch = take(scratchCount)
        ones.update(repeating: 1, count: rows)
        v.append(ones)
        let vStrides = Array(strides.dropFirst()) + [1]

        for k in layers.indices.dropLast() {
            layers[k].linear.forward(
                k == 0 ? x : UnsafePointer(h[k - 1]), rows: rows, stride: k == 0 ? layers[0].inputs : strides[k],
                weight: layers[k].weight, bias: layers[k].bias, into: h[k], stride: strides[k + 1], relu: true,
                scratch: scratch)
        }
        for k in layers.indices.reversed() {
            layers[k].linear.inputGradient(
                v[k], rows: rows, stride: vStrides[k], weight: layers[k].weight,
                into: k == 0 ? gradient : v[k - 1], stride: strides[k])
            if k > 0 { mask(v[k - 1], by: h[k - 1], rows: rows, layers[k].inputs, strides[k]) }
        }

        var sum = 0.0
        for row in 0..<rows {
            for i in 0..<layers[0].inputs {
                let g = Double(gradient[row * strides[0] + i])
                sum += g * g
            }
        }
        let value = 0.5 * sum / Double(rows)
        guard let gradients else { return value }

        let scale = Float(weight / Double(rows))
        for row in 0..<rows {
            for i in 0..<layers[0].inputs { a[row * strides[0] + i] = scale * gradient[row * strides[0] + i] }
        }
        for k in layers.indices {
            layers[k].linear.weightGradient(
                v[k], stride: vStrides[k], a, rows: rows, stride: strides[k], into: gradients[k], bias: nil)
            guard k < layers.count - 1 else { break }
            layers[k].linear.forward(
                a, rows: rows, stride: strides[k], weight: layers[k].weight, bias: nil, into: next,
                stride: strides[k + 1], scratch: scratch)
            mask(next, by: h[k], rows: rows, layers[k].outputs, strides[k + 1])
            swap(&a, &next)
        }
        return value
    }

    /// 0 where the ReLU's output was.
    private func mask(
        _ v: UnsafeMutablePointer<Float>, by output: UnsafePointer<Float>, rows: Int, _ width: Int, _ stride: Int
    ) {
        for row in 0..<rows { DimKernels.selected.reluGradient(output + row * stride, v + row * stride, width) }
    }
}
